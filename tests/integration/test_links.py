"""No link ever opens anything but what it was made for (P22)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest
import time_machine
from flask import Flask
from sqlalchemy import delete, select, update

from tests import people, tables
from tests.conftest import NOW, Deliver, MakeApp
from tests.visitors import Browser
from waitlist import links, tokens
from waitlist.extensions import db
from waitlist.models import (
    Audit,
    Entry,
    Invitation,
    LineChange,
    Message,
    PlaceChange,
    Registration,
)
from waitlist.signup import erasing, leaving
from waitlist.tokens import Purpose, Ref

GET_STATUS = dict.fromkeys(Purpose, 200)


@pytest.fixture
def opening(
    app: Flask, now: datetime, deliver: Deliver, clock: time_machine.Traveller
) -> dict[Purpose, str]:
    """A token of each purpose that opens its page, all of one registered person."""
    entry = people.wait_in_line(people.ALICE, now=now)
    leaving.ask_to_act(links.entry_token(Purpose.PLACE, entry), now=now)
    deliver(now)
    people.invite(entry, now=now)
    deliver(now)
    found = {
        purpose: links.entry_token(purpose, entry)
        for purpose in (Purpose.CONFIRM, Purpose.PLACE, Purpose.UNDO)
    }
    found[Purpose.INVITE] = links.invitation_token(people.invitation_of(entry))
    found[Purpose.ACT] = people.act_token(entry)
    found[Purpose.WELCOME] = people.register(entry, "ada", now=now).welcome_token
    registration = db.session.scalars(select(Registration)).one()
    found[Purpose.DISPUTE] = links.to_dispute(registration).rpartition("/")[2]
    db.session.rollback()
    return found


def _statuses(client: Browser, opening: dict[Purpose, str]) -> dict[Purpose, int]:
    return {
        purpose: client.get(f"/{purpose}/{token}").status_code for purpose, token in opening.items()
    }


def _posts(client: Browser, purpose: str, token: str) -> set[int]:
    """What every POST with this token answers, in a form and in JSON."""
    word = "NOT ME" if purpose == Purpose.DISPUTE else "LEAVE"
    fields = {"word": word, "token": token, "handle": "eve", "display_name": "Eve"}
    fields |= {"password": people.PASSWORD, "terms": "yes"}
    if purpose == Purpose.WELCOME:
        return set()
    paths = [f"/{purpose}/{token}"]
    if purpose == Purpose.INVITE:
        paths += [f"/{purpose}/{token}/renew", "/api/v1/completions"]
    found = {client.post(path, data=fields).status_code for path in paths}
    return found | {client.post(path, json=fields).status_code for path in paths}


def test_each_link_opens_its_page(client: Browser, opening: dict[Purpose, str]) -> None:
    assert _statuses(client, opening) == GET_STATUS


@pytest.mark.parametrize("made_for", Purpose)
def test_a_link_opens_no_other_page(
    client: Browser, opening: dict[Purpose, str], made_for: Purpose
) -> None:
    """P22."""
    before = tables.everything()
    for tried_for in set(Purpose) - {made_for}:
        assert client.get(f"/{tried_for}/{opening[made_for]}").status_code == 404
        assert _posts(client, tried_for, opening[made_for]) <= {404}
    assert tables.everything() == before


def _forget_everybody() -> None:
    for model in (Message, Registration, Invitation, PlaceChange, LineChange, Audit, Entry):
        db.session.execute(delete(model))
    db.session.commit()


def _erase_everybody() -> None:
    for address in db.session.scalars(select(Entry.address)).all():
        erasing.erase(address, actor="test", reason="", now=NOW)


def _change_every_nonce() -> None:
    for model in (Message, Registration, Invitation, Entry):
        db.session.execute(update(model).values(nonce="f" * 16))
    db.session.commit()


@pytest.mark.parametrize("lose", [_forget_everybody, _erase_everybody, _change_every_nonce])
def test_a_link_of_a_row_that_is_gone_or_another_opens_nothing(
    client: Browser, opening: dict[Purpose, str], lose: Callable[[], None]
) -> None:
    """P22: a row erased, or one of an older backup under the same id."""
    lose()
    before = tables.everything()
    assert set(_statuses(client, opening).values()) == {404}
    assert {status for p, token in opening.items() for status in _posts(client, p, token)} == {404}
    assert tables.everything() == before


@pytest.mark.parametrize("lose", [_forget_everybody, _erase_everybody])
def test_an_id_is_never_given_twice(
    client: Browser, opening: dict[Purpose, str], now: datetime, lose: Callable[[], None]
) -> None:
    """P22."""
    old = people.find(people.ALICE).id
    lose()
    assert people.join(people.BOB, now=now).id > old
    assert set(_statuses(client, opening).values()) == {404}


def test_a_row_that_took_an_old_id_isnt_opened_by_the_old_link(
    client: Browser, opening: dict[Purpose, str], now: datetime
) -> None:
    """P22: as after a restore, were an id given twice."""
    old = people.find(people.ALICE).id
    _forget_everybody()
    entry = people.join(people.BOB, now=now)
    db.session.execute(delete(Message))
    db.session.execute(update(Entry).where(Entry.id == entry.id).values(id=old))
    db.session.commit()
    assert db.session.scalars(select(Entry.id)).all() == [old]
    assert set(_statuses(client, opening).values()) == {404}


def test_a_leaked_key_without_the_nonce_opens_nothing(
    app: Flask, client: Browser, opening: dict[Purpose, str]
) -> None:
    """P22."""
    keys = app.config["SETTINGS"].secret_keys
    for purpose in Purpose:
        for row_id in range(1, 6):
            forged = tokens.dumps(keys, purpose, Ref(row_id, 1, "0" * 16))
            assert client.get(f"/{purpose}/{forged}").status_code == 404


def test_another_generation_of_an_invitation_isnt_opened_by_the_old_link(
    client: Browser, opening: dict[Purpose, str]
) -> None:
    """P22."""
    db.session.execute(update(Invitation).values(generation=2))
    db.session.commit()
    assert client.get(f"/invite/{opening[Purpose.INVITE]}").status_code == 404


def test_a_mail_that_isnt_for_acting_lets_nobody_act(
    app: Flask, client: Browser, now: datetime, deliver: Deliver
) -> None:
    """P22."""
    people.wait_in_line(people.ALICE, now=now)
    message = db.session.scalars(select(Message).where(Message.kind == "standing")).one()
    token = links.to_act(message).rpartition("/")[2]
    assert client.get(f"/act/{token}").status_code == 404


def test_links_work_on_after_a_rotation_and_end_when_the_key_is_dropped(
    app: Flask, make_app: MakeApp, opening: dict[Purpose, str]
) -> None:
    """P22."""
    old, new = app.config["SETTINGS"].secret_keys[0], "n" * 40
    rotated, dropped = make_app(secret_keys=(new, old)), make_app(secret_keys=(new,))
    assert _statuses(Browser(rotated), opening) == GET_STATUS
    assert set(_statuses(Browser(dropped), opening).values()) == {404}


def test_all_that_isnt_known_gets_one_page(client: Browser, opening: dict[Purpose, str]) -> None:
    token = opening[Purpose.PLACE]
    pages = {
        client.get(f"/place/{wrong}").data
        for wrong in ("x", token[:-6], f"{token}x", token[::-1], opening[Purpose.UNDO])
    }
    assert len(pages) == 1
