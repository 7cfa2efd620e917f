"""The rows of the last step: completions as such, and beside a flood of joins."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from statistics import median

import httpx

from tests.bench import ceilings, wrk
from tests.bench.bars import Pair, Row, Unmeasured, compared
from tests.bench.service import Service
from tests.bench.stand import Stand

PATH = "/api/v1/completions"
INVITEES = 4  # who complete at the same time
EVERY = 0.5  # seconds between two completions of one of them
PATIENCE = 30.0
FLOOD = 4  # times the connections of the join peak
FLOODED = 0.5  # seconds before anything is measured beside the flood
MOST_TO_PAUSE = 2.0  # seconds
CREATED = 201
ASKED_A_SECOND = 200  # more invitations than this nobody completes


def complete(stand: Stand) -> Row:
    """Completions with a password a second."""
    big, seconds = stand.big, stand.scale.seconds
    ready = _forms(stand, big, int(ASKED_A_SECOND * seconds * stand.scale.runs))
    share = len(ready) // stand.scale.runs
    pairs = []
    for run in range(stand.scale.runs):
        lines = [f"POST\t{PATH}\t{form}" for form in ready[run * share : (run + 1) * share]]
        load = wrk.ask(big.url, lines, stand.folder, connections=8, seconds=seconds)
        pairs.append(Pair(load.rate(CREATED), ceilings.hashes(stand.scale.ceiling_seconds)))
    return compared("complete", pairs, size=big.people, p99=load.p99, not_201=load.others)


def last_step_flood(stand: Stand) -> Row:
    """The p99 of completions while four times the peak's connections join, and all must succeed."""
    big, seconds = stand.big, max(2.0, 2 * stand.scale.seconds)
    connections = FLOOD * stand.peak(big).connections
    ready = _forms(stand, big, int(2 * stand.scale.runs * seconds * INVITEES / EVERY) + 100)
    quiet, flooded, pauses = [], [], []
    try:
        for run in range(stand.scale.runs):
            quiet.append(_complete_all(big, ready, seconds))
            with wrk.joining(big.url, connections=connections), ThreadPoolExecutor(1) as operator:
                time.sleep(FLOODED)
                pausing = [operator.submit(_pause, big)] if run < stand.scale.pauses else []
                flooded.append(_complete_all(big, ready, seconds))
                pauses += [paused.result() for paused in pausing]
    finally:
        big.flask("gate", "resume")
    pairs = [Pair(with_.p99, without.p99) for with_, without in zip(flooded, quiet, strict=True)]
    more = _told(flooded, pauses) | {"connections": connections}
    why = _why_not(more)
    return compared("last-step-flood", pairs, size=big.people, unless=why, **more)


@dataclass
class Steps:
    """How completions were answered: seconds of each that was right, and all others' answers."""

    took: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def p99(self) -> float:
        """The 99th percentile in milliseconds."""
        if not self.took:
            raise Unmeasured(f"no completion was answered: {self.wrong[:3]}")
        return 1000 * sorted(self.took)[int(len(self.took) * 0.99)]


def _complete_all(one: Service, ready: list[str], seconds: float) -> Steps:
    """A few invitees who complete in turn, each at a steady pace."""
    steps, until = Steps(), time.monotonic() + seconds
    lock = threading.Lock()

    def work(number: int) -> None:
        due = time.monotonic() + number * EVERY / INVITEES
        with httpx.Client(base_url=one.url, timeout=PATIENCE) as client:
            while due < until:
                time.sleep(max(0.0, due - time.monotonic()))
                with lock:
                    form = ready.pop()
                _complete(client, one.url, form, steps)
                due = max(due + EVERY, time.monotonic())

    with ThreadPoolExecutor(INVITEES) as pool:
        list(pool.map(work, range(INVITEES)))
    return steps


def _complete(client: httpx.Client, origin: str, form: str, steps: Steps) -> None:
    headers = {
        "Content-Type": "application/json",
        "Origin": origin,
        "X-Forwarded-For": f"{random.randint(20, 99)}.{random.randint(0, 255)}.7.7",
    }
    began = time.monotonic()
    try:
        answer = client.post(PATH, content=form, headers=headers)
    except httpx.HTTPError as error:
        steps.wrong.append(type(error).__name__)
        return
    if answer.is_success:
        steps.took.append(time.monotonic() - began)
    else:
        steps.wrong.append(f"{answer.status_code}")


def _forms(stand: Stand, one: Service, wanted: int) -> list[str]:
    """So many bodies of completions, whose invitations are open."""
    stand.tell(f"inviting {wanted:,}")
    one.inside("admit", wanted)
    paths = one.paths("invitations", wanted)
    return [_form(path.rpartition("/")[2], next(stand.handles)) for path in paths]


def _form(token: str, number: int) -> str:
    return json.dumps(
        {
            "token": token,
            "handle": f"guest_{number}",
            "display_name": f"Guest {number}",
            "password": f"a quiet walk by lake {number}",
            "terms": True,
        }
    )


def _pause(one: Service) -> tuple[float, float]:
    """Seconds until the gate is paused by command, and those of a command that does nothing."""
    return one.flask("gate", "pause"), one.flask("gate", "--help")


def _told(flooded: Sequence[Steps], pauses: Sequence[tuple[float, float]]) -> dict[str, object]:
    right = sum(len(steps.took) for steps in flooded)
    wrong = [answer for steps in flooded for answer in steps.wrong]
    return {
        "completions": right + len(wrong),
        "share_right": right / (right + len(wrong)),
        "wrong": sorted(set(wrong)),
        "pause_command": median(paused for paused, _ in pauses),
        "pause": median(max(0.0, paused - start) for paused, start in pauses),
    }


def _why_not(told: dict[str, object]) -> str:
    if told["wrong"]:
        return f"not all completions succeeded: {told['wrong']}"
    pause = told["pause"]
    assert isinstance(pause, float)
    return f"pausing takes {pause:.1f} s" if pause > MOST_TO_PAUSE else ""
