"""Alice, whom the tests of the last step have in common."""

from __future__ import annotations

from datetime import datetime

import pytest
import time_machine
from flask import Flask

from tests import people
from tests.conftest import Deliver
from tests.people import ALICE
from waitlist import links
from waitlist.models import Entry


@pytest.fixture
def alice(app: Flask, clock: time_machine.Traveller, now: datetime, deliver: Deliver) -> Entry:
    """Alice, whose invitation was mailed; the clock stands at `now`."""
    entry = people.wait_in_line(ALICE, now=now)
    people.invite(entry, now=now)
    deliver(now)
    return people.find(ALICE)


@pytest.fixture
def token(alice: Entry) -> str:
    """The token of Alice's invitation."""
    return links.invitation_token(people.invitation_of(alice))
