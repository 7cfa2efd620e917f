"""Programs that check mail press what they find, in every mail of somebody's life."""

from __future__ import annotations

from datetime import datetime

import time_machine
from flask import Flask

from tests import people, scanning, tables
from tests.conftest import Deliver
from tests.people import ALICE
from tests.scanning import Life, Scanner
from tests.visitors import Browser
from waitlist.admission import gate

SITE = "https://join.example.com"
FIELDS = {"handle": "ada", "display_name": "Ada", "password": people.PASSWORD, "terms": "yes"}


def test_a_scanner_of_every_mail_changes_nothing_but_pending_to_waiting(
    app: Flask, client: Browser, now: datetime, deliver: Deliver, clock: time_machine.Traveller
) -> None:
    """P17; and she finishes all the same (P11)."""

    def finish(link: str) -> None:
        assert client.post(link.removeprefix(SITE), data=FIELDS).status_code == 303

    life, scanner, opened = Life(deliver, finish, now), Scanner(client, SITE), 0
    for mail in life.mails():
        clock.move_to(life.now)
        state, before, keys = people.find(ALICE).state, scanning.unchanged(), tables.all_keys()
        opened += scanner.scan(mail)
        if state == "pending":
            assert people.find(ALICE).state == "waiting"
            continue
        assert scanning.unchanged() == before, mail["Subject"]
        assert tables.all_keys() == keys, mail["Subject"]
    assert people.find(ALICE).state == "registered"
    assert opened > 20
    assert gate.verify() == {}
    assert life.seen == scanning.kinds(), "bring about every kind of mail in tests/scanning.py"
