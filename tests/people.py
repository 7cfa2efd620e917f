"""People who join, confirm and wait, by the very functions that the pages call.

Everything here wants an app context.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any, TypeVar

from flask import Flask
from sqlalchemy import insert, select, update

from tests.servers import Received
from waitlist import cohorts, links, projection
from waitlist.admission import gate, waves
from waitlist.extensions import db
from waitlist.models import Cohort, Entry, Invitation, Message
from waitlist.onboarding import completion, forms, invitations
from waitlist.onboarding.completion import Completed
from waitlist.signup import joining, leaving, people, place
from waitlist.signup.joining import Joining
from waitlist.signup.place import ShownPlace
from waitlist.tokens import Purpose

T = TypeVar("T")

ALICE, BOB, CAROL = "alice@example.org", "bob@example.org", "carol@example.org"
PASSWORD = "correct horse battery staple"


def join(address: str, *, now: datetime, locale: str = "en") -> Entry:
    """Somebody who joined and is known as the entry given."""
    [refusal] = joining.join([Joining(address, locale)], now=now)
    if refusal is not None:
        raise refusal
    return find(address)


def confirm(entry: Entry, *, now: datetime) -> Entry:
    """The entry after its confirm link was pressed."""
    joining.confirm(links.entry_token(Purpose.CONFIRM, entry), now=now)
    return find(entry.address)


def wait_in_line(address: str, *, now: datetime, locale: str = "en") -> Entry:
    """Somebody who joined and confirmed."""
    return confirm(join(address, now=now, locale=locale), now=now)


def crowd(how_many: int, *, now: datetime, cohort: str | None = None, name: str = "p") -> list[int]:
    """The ids of so many people who wait in line, front first; in `cohort`, if one is named."""
    addresses = [f"{name}{number}@example.org" for number in range(how_many)]
    ids = [wait_in_line(address, now=now).id for address in addresses]
    if cohort:
        people.move(addresses, source="general", target=cohort, actor="test", reason="", now=now)
    db.session.rollback()
    return ids


def stand_in_line(how_many: int, *, now: datetime) -> None:
    """So many people in the line already, in one go: how they came is tested elsewhere."""
    rows: list[dict[str, Any]] = [
        {"address": f"p{number}@example.org", "arrival": 100 + number, "rank": 100 + number}
        for number in range(how_many)
    ]
    for row in rows:
        row |= {"address_key": row["address"], "mail_to": row["address"], "cohort_id": 1}
        row |= {"state": "waiting", "joined_at": now, "confirmed_at": now}
    db.session.execute(insert(Entry), rows)
    db.session.commit()
    projection.rebuild(1)


def find(address: str) -> Entry:
    """The entry of an address, as the database has it now; no lock is kept."""
    db.session.rollback()
    entry = people.find(address)
    db.session.refresh(entry)
    db.session.commit()
    return entry


def add_cohort(
    name: str,
    *,
    now: datetime,
    opened: bool = True,
    weight: int = 1,
    quota: int | None = None,
) -> Cohort:
    """A cohort, open since a second unless told otherwise."""
    opens_at = now - timedelta(seconds=1) if opened else None
    return cohorts.add(name, opens_at=opens_at, quota=quota, weight=weight, actor="test", now=now)


def open_gate(capacity: int, rate: int = 0, *, now: datetime) -> None:
    """Open the gate with so many seats, and so many people an hour."""
    gate.change(actor="test", now=now, capacity=capacity, rate=rate, paused=False)


def mails_owed(entry: Entry) -> list[tuple[str, str]]:
    """Kind and state of every mail of a person, oldest first; no lock is kept."""
    db.session.rollback()
    query = select(Message.kind, Message.state).where(Message.entry_id == entry.id)
    found = [(kind, state) for kind, state in db.session.execute(query.order_by(Message.id))]
    db.session.rollback()
    return found


def words_of(mail: Received) -> str:
    """The text form of a mail."""
    body = mail.get_body(("plain",))
    assert body is not None
    return str(body.get_content())


def link_in(mail: Received, path: str) -> str:
    """The address in a mail that leads to `path`, such as "/invite/"; there must be one."""
    found = re.search(rf"https?://[^\s/]+{re.escape(path)}[^\s<>]+", words_of(mail))
    assert found, f"no link to {path} in: {words_of(mail)}"
    return found.group()


def token_in(mail: Received, path: str) -> str:
    """The token of the link in a mail that leads to `path`."""
    return link_in(mail, path).rpartition("/")[2]


def at_once(app: Flask, calls: Sequence[Callable[[], T]]) -> list[T]:
    """What these calls give, all begun at the same moment, each in a thread and app context."""
    db.session.rollback()
    barrier = threading.Barrier(len(calls))

    def call(one: Callable[[], T]) -> T:
        with app.app_context():
            barrier.wait(30)
            return one()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(call, calls))


def admit(how_many: int, *, now: datetime) -> None:
    """Admit the next so many of the line, with as many seats."""
    open_gate(how_many, now=now)
    assert waves.admit(how_many, cohort=None, actor="test", now=now).admitted == how_many


def invite(*entries: Entry, now: datetime) -> list[Invitation]:
    """Open invitations of these people, who stand at the front; nothing is mailed yet."""
    taken = gate.show(now=now).seats_used
    db.session.rollback()
    open_gate(taken + len(entries), now=now)
    waves.admit(len(entries), cohort=None, actor="test", now=now)
    return [invitation_of(entry) for entry in entries]


def invitation_of(entry: Entry) -> Invitation:
    """A person's newest invitation, as the database has it now; no lock is kept."""
    db.session.rollback()
    query = select(Invitation).where(Invitation.entry_id == entry.id)
    found = db.session.scalars(query.order_by(Invitation.id.desc())).first()
    assert found is not None
    db.session.refresh(found)
    db.session.commit()
    return found


def form(handle: str = "ada", **changes: str) -> forms.Form:
    """A completion form in which nothing is wrong, but for the changes."""
    right = {"handle": handle, "display_name": "Ada L.", "password": PASSWORD, "terms": "yes"}
    return forms.form_of({**right, **changes})


def register(entry: Entry, handle: str, *, now: datetime) -> Completed:
    """What an invited person gets who finishes registration."""
    done = completion.complete(links.invitation_token(invitation_of(entry)), form(handle), now=now)
    db.session.rollback()
    return done


def make(entry: Entry, **values: object) -> Entry:
    """The entry after its columns were set so, past all rules; its line is told."""
    db.session.rollback()
    db.session.execute(update(Entry).where(Entry.id == entry.id).values(**values))
    projection.note(entry.cohort_id, [entry.id])
    db.session.commit()
    projection.settle(entry.cohort_id)
    return find(entry.address)


def in_every_state(*, now: datetime, deliver: Callable[[datetime], object]) -> dict[str, Entry]:
    """One person in each state an entry can be in, by its name; and one who is suppressed.

    They came there by the real ways, and every mail was delivered.
    """
    early = now - timedelta(days=4)
    names = ("invited", "registered", "lapsed", "withdrawn", "waiting", "suppressed")
    found = {name: wait_in_line(f"{name}@example.org", now=early) for name in names}
    invite(found["invited"], found["registered"], found["lapsed"], now=early)
    deliver(early)
    register(found["registered"], "ada", now=early)
    last = invitation_of(found["lapsed"])
    late = {"expires_at": early + timedelta(days=1)}
    db.session.execute(update(Invitation).where(Invitation.id == last.id).values(**late))
    longer = {"expires_at": now + timedelta(days=1)}
    first = Invitation.entry_id == found["invited"].id
    db.session.execute(update(Invitation).where(first).values(**longer))
    db.session.commit()
    invitations.lapse(now=now - timedelta(days=1))
    leave(found["withdrawn"], now=now - timedelta(days=1), deliver=deliver)
    make(found["suppressed"], suppressed_at=early)
    for name in ("pending", "unconfirmed", "removed"):
        found[name] = join(f"{name}@example.org", now=early)
    make(found["unconfirmed"], state="unconfirmed")
    make(found["removed"], state="removed")
    deliver(now - timedelta(hours=12))
    return {name: find(entry.address) for name, entry in found.items()}


def leave(entry: Entry, *, now: datetime, deliver: Callable[[datetime], object]) -> Entry:
    """The entry after its owner left by the mailed link."""
    leaving.ask_to_act(links.entry_token(Purpose.PLACE, entry), now=now)
    deliver(now)
    leaving.leave(act_token(entry), now=now)
    return find(entry.address)


def act_token(entry: Entry) -> str:
    """The token of the newest mail by which this person may act."""
    db.session.rollback()
    query = select(Message).where(Message.entry_id == entry.id, Message.kind == "act")
    message = db.session.scalars(query.order_by(Message.id.desc())).first()
    assert message is not None
    token = links.to_act(message).rpartition("/")[2]
    db.session.rollback()
    return token


def place_of(entry: Entry, *, now: datetime) -> ShownPlace:
    """What the page of this person's place shows."""
    return place.by_token(links.entry_token(Purpose.PLACE, entry), now=now)
