"""The short cut of `make faults` that `make test` runs: the most telling faults, on one stand."""

from __future__ import annotations

import os

import pytest

from tests.faults.faults import play
from tests.faults.matrix import FAULTS
from tests.faults.stand import stand

DATABASE = os.environ.get("TEST_DATABASE") or "sqlite"
SHORT = [fault for fault in FAULTS if fault.short and DATABASE in fault.databases]


@pytest.mark.faults
def test_the_most_telling_faults_lose_and_double_nothing() -> None:
    """P1, P3 to P10, P12, P13, P15, P16: one after the other, as each needs a running service."""
    with stand(DATABASE) as one:
        results = [play(fault, one) for fault in SHORT]
    assert [(result.fault, result.why) for result in results if not result.is_good] == []
