"""Looking changes nothing, whoever looks at what, and the database itself sees to it (P17)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
import time_machine
from flask import Flask
from sqlalchemy import select, update
from sqlalchemy.exc import DBAPIError

from tests import people, tables
from tests.conftest import Deliver
from tests.visitors import Browser
from waitlist import links
from waitlist.extensions import db, reading
from waitlist.models import Entry, Gate, Invitation, Message, Registration
from waitlist.signup import leaving
from waitlist.tokens import Purpose

OPEN_PATHS = ("/", "/?lang=fr", "/line", "/healthz", "/readyz", "/static/site.css", "/nowhere")


def _paths() -> Iterator[str]:
    """Every address of a page, with every token that there is."""
    yield from OPEN_PATHS
    db.session.rollback()
    for entry in db.session.scalars(select(Entry)):
        for purpose in (Purpose.CONFIRM, Purpose.PLACE, Purpose.UNDO):
            yield f"/{purpose}/{links.entry_token(purpose, entry)}"
    for invitation in db.session.scalars(select(Invitation)):
        yield f"/invite/{links.invitation_token(invitation)}"
        yield f"/invite/{links.invitation_token(invitation)}/renew"
    for registration in db.session.scalars(select(Registration)):
        welcome = links.welcome_token(registration.id, registration.nonce)
        yield from (f"/welcome/{welcome}", f"/welcome/{welcome}/state")
        yield f"/dispute/{links.to_dispute(registration).rpartition('/')[2]}"
    for message in db.session.scalars(select(Message).where(Message.kind == "act")):
        yield f"/act/{links.to_act(message).rpartition('/')[2]}"
    yield "/join"
    yield "/api/v1/completions"


def _invitations_in_every_state(now: datetime) -> None:
    """Beside those there are: one open whose time is over, one revoked, one superseded."""
    late = {"expires_at": now - timedelta(minutes=1)}
    for name, values in (
        ("late", late),
        ("revoked", {"state": "revoked"}),
        ("superseded", {"state": "superseded"}),
    ):
        entry = people.wait_in_line(f"{name}@example.org", now=now)
        people.make(people.find("waiting@example.org"), suppressed_at=now)
        people.invite(entry, now=now)
        mine = update(Invitation).where(Invitation.entry_id == entry.id)
        db.session.execute(mine.values(**values))
        db.session.commit()


def test_get_head_and_options_of_every_page_in_every_state_change_nothing(
    app: Flask,
    client: Browser,
    now: datetime,
    deliver: Deliver,
    clock: time_machine.Traveller,
) -> None:
    """P17."""
    entries = people.in_every_state(now=now, deliver=deliver)
    _invitations_in_every_state(now)
    leaving.ask_to_act(links.entry_token(Purpose.PLACE, entries["waiting"]), now=now)
    leaving.ask_to_act(links.entry_token(Purpose.PLACE, entries["invited"]), now=now)
    deliver(now)
    paths = list(_paths())
    before, keys = tables.everything(), tables.all_keys()
    statuses: dict[str, set[int]] = {}
    for path in paths:
        for accept in ("text/html", "application/json"):
            for method in ("GET", "HEAD", "OPTIONS"):
                answer = client.open(path, method=method, headers={"Accept": accept})
                statuses.setdefault(method, set()).add(answer.status_code)
                assert answer.status_code < 500, path
                answer.close()
    assert tables.everything() == before
    assert tables.all_keys() == keys
    assert {200, 404, 405, 410} <= statuses["GET"]
    assert statuses["OPTIONS"] <= {200, 404, 405}


def test_a_form_shown_again_and_again_can_still_be_completed(
    app: Flask, client: Browser, now: datetime, deliver: Deliver, clock: time_machine.Traveller
) -> None:
    """P17: mail scanners open links."""
    entry = people.wait_in_line(people.ALICE, now=now)
    (invitation,) = people.invite(entry, now=now)
    path = f"/invite/{links.invitation_token(invitation)}"
    assert {client.get(path).status_code for _ in range(5)} == {200}
    assert people.register(entry, "ada", now=now).replayed is False


def test_a_write_while_reading_is_refused_by_the_database(app: Flask) -> None:
    """P17."""
    with reading(), pytest.raises(DBAPIError, match=r"read-?only"):
        db.session.execute(update(Gate).values(capacity=5))
    db.session.execute(update(Gate).values(capacity=6))
    db.session.commit()
    assert db.session.scalar(select(Gate.capacity)) == 6


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_a_page_that_would_write_cant(app: Flask, method: str) -> None:
    """P17: not even one that somebody adds tomorrow."""

    def writes() -> str:
        db.session.execute(update(Gate).values(capacity=5))
        db.session.commit()
        return "written"

    app.add_url_rule("/writes", view_func=writes, methods=[method], provide_automatic_options=False)
    answer = Browser(app).open("/writes", method=method)
    assert answer.status_code >= 500
    assert db.session.scalar(select(Gate.capacity)) == 0
