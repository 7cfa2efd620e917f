"""A program that checks mail, and a life in which every kind of mail arrives to be checked.

Such programs open each link as soon as the mail is there, some in a browser; some follow what
they find and press every button, with nothing or with junk in the fields. Whatever they do
changes nothing but that somebody who joined is confirmed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from html.parser import HTMLParser
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

from sqlalchemy import select, update

from tests import people, tables
from tests.people import ALICE
from tests.servers import Received
from tests.visitors import Browser
from waitlist import letters, links
from waitlist.admission import recall
from waitlist.extensions import db
from waitlist.models import Entry, Invitation, Message
from waitlist.onboarding import failures, invitations, mending, reminding
from waitlist.onboarding.failures import Unanswered
from waitlist.onboarding.stuck import Choice
from waitlist.signup import leaving
from waitlist.tokens import Purpose

JUNK = ("", "test", "aaaaaaaa")
TEXTS = ("text", "email", "password", "search", "tel", "url", "number", "textarea")
BOXES = ("checkbox", "radio")
TELEMETRY = ("finish_failures",)  # what is noted of tries that came to nothing
HOUR = timedelta(hours=1)

Deliver = Callable[[datetime], list[Received]]


class FoundForm(NamedTuple):
    """A form of a page: where it goes, and its fields with their types and values."""

    action: str
    fields: list[tuple[str, str, str]]

    def filled(self, junk: str) -> dict[str, str]:
        """What is sent with junk in each text and each box ticked; with "" all is left empty."""
        sent = {}
        for name, kind, value in self.fields:
            if kind in TEXTS:
                sent[name] = junk
            elif kind not in BOXES or junk:
                sent[name] = value
        return sent


class Found(HTMLParser):
    """The links and the forms of a page or of a mail."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.forms: list[FoundForm] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Note what is of interest."""
        had = {name: value or "" for name, value in attributes}
        if tag == "a" and "href" in had:
            self.links.append(had["href"])
        elif tag == "form":
            self.forms.append(FoundForm(had.get("action", ""), []))
        elif tag in ("input", "textarea", "select") and "name" in had and self.forms:
            kind = had.get("type", "text") if tag == "input" else tag
            self.forms[-1].fields.append((had["name"], kind, had.get("value", "on")))


def links_in(mail: Received, site: str) -> list[str]:
    """Every address of the site that a mail names: in its pages, its text and its headers."""
    html = mail.get_body(("html",))
    assert html is not None
    found = Found(str(html.get_content())).links
    found += [word.strip("<>.,") for word in people.words_of(mail).split()]
    found += [word.strip("<>, ") for word in str(mail.get("List-Unsubscribe", "")).split()]
    return list(dict.fromkeys(one for one in found if one.startswith(f"{site}/")))


class Scanner:
    """Opens, follows and presses everything, without a browser; fast."""

    def __init__(self, client: Browser, site: str) -> None:
        self._client, self._site = client, site

    def scan(self, mail: Received) -> int:
        """Everything that the links of this mail lead to; how many addresses that were."""
        due, seen = links_in(mail, self._site), set[str]()
        while due:
            if (url := due.pop()) not in seen:
                seen.add(url)
                due += self._visit(url)
        return len(seen)

    def _visit(self, url: str) -> list[str]:
        path = url.removeprefix(self._site)
        for method in ("HEAD", "OPTIONS", *["GET"] * 5):
            answer = self._client.open(path, method=method, buffered=True)
        found, leads = Found(answer.text if answer.mimetype == "text/html" else ""), []
        for form in found.forms:
            for junk in JUNK:
                action = urljoin(url, form.action).removeprefix(self._site)
                answer = self._client.post(action, data=form.filled(junk))
                leads += [answer.headers.get("Location", ""), *Found(answer.text).links]
        leads = [urljoin(url, one).partition("#")[0] for one in (*found.links, *leads) if one]
        return [one for one in leads if is_of(one, self._site)]


def is_of(url: str, site: str) -> bool:
    """Whether it is a page of the site; of its languages the first will do."""
    return url.startswith(f"{site}/") and "lang=" not in urlsplit(url).query


def unchanged() -> tables.Snapshot:
    """All that is stored, but for telemetry."""
    return {name: rows for name, rows in tables.everything().items() if name not in TELEMETRY}


class Life:
    """Alice's way, by the real ways, from joining until she is in; each mail is scanned.

    `mails` gives what arrives, in turn; whoever looks at one finds the database as it was when
    it arrived. `finish` takes the link of an invitation, and registers her.
    """

    def __init__(self, deliver: Deliver, finish: Callable[[str], None], now: datetime) -> None:
        self._deliver, self._finish, self.now = deliver, finish, now
        self.seen: set[str] = set()

    def mails(self) -> Iterator[Received]:
        """Every mail of her life, as it arrives."""
        people.join(ALICE, now=self.now)
        yield from self._arriving()
        people.confirm(self._alice(), now=self.now)  # if whoever looks at mails didn't
        yield from self._arriving()
        yield from self._invited_and_late()
        yield from self._left_and_back()
        yield from self._in()

    def _invited_and_late(self) -> Iterator[Received]:
        people.invite(self._alice(), now=self.now)
        yield from self._arriving()
        soon = update(Invitation).values(expires_at=self.now + 18 * HOUR)
        db.session.execute(soon)
        db.session.commit()
        reminding.remind(now=self.now)
        yield from self._arriving()
        past = update(Invitation).values(expires_at=self.now - HOUR)
        db.session.execute(past)
        db.session.commit()
        invitations.lapse(now=self.now)
        people.join(ALICE, now=self.now)
        yield from self._arriving()
        assert self._alice().state == "lapsed"
        token = links.invitation_token(people.invitation_of(self._alice()))
        invitations.renew(token, is_held=False, now=self.now)
        yield from self._arriving()
        token = links.invitation_token(people.invitation_of(self._alice()))
        never = Unanswered()
        failures.record(token, "unexpected", via="form", unanswered=never, now=self.now)
        mending.mend(Choice(self.now - HOUR), actor="test", reason="", now=self.now)
        yield from self._arriving()

    def _left_and_back(self) -> Iterator[Received]:
        place = links.entry_token(Purpose.PLACE, self._alice())
        leaving.ask_to_act(place, now=self.now)
        yield from self._arriving()
        leaving.leave(people.act_token(self._alice()), now=self.now)
        yield from self._arriving()
        people.join(ALICE, now=self.now)
        yield from self._arriving()
        assert self._alice().state == "withdrawn"
        leaving.come_back(links.entry_token(Purpose.UNDO, self._alice()), now=self.now)
        yield from self._arriving()

    def _in(self) -> Iterator[Received]:
        people.invite(self._alice(), now=self.now)
        yield from self._arriving()
        wave_id = people.invitation_of(self._alice()).wave_id
        recall.recall(wave_id, revoke=True, actor="test", reason="", now=self.now)
        yield from self._arriving()
        people.invite(self._alice(), now=self.now)
        for mail in self._arrived():
            yield mail
            self._finish(people.link_in(mail, "/invite/"))
        yield from self._arriving()
        assert self._alice().state == "registered"

    def _alice(self) -> Entry:
        return people.find(ALICE)

    def _arriving(self) -> Iterator[Received]:
        arrived = self._arrived()
        assert arrived
        yield from arrived

    def _arrived(self) -> list[Received]:
        """What is owed, as it arrives some hours later."""
        self.now += 9 * HOUR  # strangers can set three mails going a day
        arrived = self._deliver(self.now)
        sent = select(Message.kind).where(Message.state == "sent")
        self.seen |= set(db.session.scalars(sent))
        db.session.rollback()
        return arrived


def kinds() -> set[str]:
    """Every kind of mail that there is."""
    return set(letters.KINDS)
