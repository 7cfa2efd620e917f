"""Every state of two people and one seat, whoever dies at whatever step (`tests/model`)."""

from __future__ import annotations

from importlib import import_module

import pytest

from tests.model.guards import ALL, FAULTS
from tests.model.last_step import World, broken
from tests.model.search import search
from tests.model.service import STEPS, Service

BEHIND = "one-open use-open one-registration"  # guards that stand behind others


def test_no_promise_is_broken_in_any_state() -> None:
    """P3, P4, P7, P10, P11, P12, P16: and it isn't few that hold them."""
    found = search()
    assert (found.broken, found.trace) == ("", ())
    assert found.states > 150_000


@pytest.mark.parametrize("without,promise", FAULTS, ids=str)
def test_without_a_guard_a_promise_is_broken(without: str, promise: str) -> None:
    """P3, P7, P10, P11, P12: so the model would notice, were the service without it."""
    found = search(without, promise)
    assert found.broken.startswith(promise)
    assert found.last in _led_by(found.trace, Service(ALL - frozenset(without.split())))


def test_the_databases_own_keys_bind_only_where_the_service_is_at_fault() -> None:
    assert search(BEHIND).broken == ""


def test_each_guard_is_taken_out_in_one_of_the_faults() -> None:
    assert {guard for without, _ in FAULTS for guard in without.split()} == ALL


@pytest.mark.parametrize("step", STEPS)
def test_a_step_stands_for_a_function_that_there_is(step: str) -> None:
    module, _, function = step.rpartition(".")
    assert callable(getattr(import_module(f"waitlist.{module}"), function))


def _led_by(trace: tuple[str, ...], service: Service) -> set[World]:
    """Where these steps lead; several may have one name."""
    at = {World()}
    for step in trace:
        at = {after for world in at for name, after in service.moves(world) if name == step}
    assert any(map(broken, at))
    return at
