"""One fault: a row that says what breaks in which scene, and what came of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.faults import history
from tests.faults.breaks import Break
from tests.faults.duties import Duties, seconds_until
from tests.faults.history import Verdict
from tests.faults.parts import wait_until
from tests.faults.people import People
from tests.faults.scenes import SCENES, Stage, still_owed
from tests.faults.stand import Stand

FIRED_WITHIN = 45.0  # seconds
RECOVERED_WITHIN = 60.0  # seconds: P16
SETTLED_WITHIN = 150.0  # seconds until all is done, at the pace of the budgets
BOTH = ("sqlite", "postgres")


@dataclass(frozen=True)
class Fault:
    """A row of the matrix.

    It begins before the step `during` and ends `lasts` seconds after it fired; None: when that
    step is over, which must succeed all the same. `alongside`: the break takes its time, and
    the step goes on meanwhile. `repeats` is how many mails may come twice (P8).
    """

    name: str
    breaks: Break
    scene: str = "way"
    during: str = "join"
    lasts: float | None = 0.0
    people: int = 4
    repeats: int = 0
    databases: tuple[str, ...] = BOTH
    beside: Mapping[str, str] = field(default_factory=dict)  # more parts, and what they are like
    alongside: bool = False
    short: bool = False  # also of `make test`


@dataclass
class Result:
    """What came of a fault, on one database. `why` says what is wrong, if anything is."""

    fault: str
    failpoint: str | None
    database: str
    fired: bool = False
    lost: int = 0
    doubled: int = 0
    recovered_s: float | None = None
    why: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def is_good(self) -> bool:
        """Whether every promise was kept."""
        kept = not (self.lost or self.doubled or self.why)
        return self.fired and kept and self.recovered_s is not None

    def row(self) -> dict[str, Any]:
        """As `build/faults.json` has it."""
        more = ("why", "seconds")
        return {name: value for name, value in asdict(self).items() if name not in more}


def play(fault: Fault, stand: Stand) -> Result:
    """Play the fault's scene on a stand, break it, mend it, and see what came of it."""
    began = time.monotonic()
    result = Result(fault.name, fault.breaks.place, stand.database)
    people = People(stand, f"f{next(stand.serial)}", fault.people)
    for name, like in fault.beside.items():
        stand.add(name, like)
    try:
        _play(fault, Stage(stand, people), result)
    except Exception as error:  # noqa: BLE001  whatever ends a scene is a result of its fault
        result.why.append(f"{type(error).__name__}: {error}")
        result.recovered_s = None
    for name in fault.beside:
        stand.remove(name)
    result.seconds = time.monotonic() - began
    return result


def _play(fault: Fault, stage: Stage, result: Result) -> None:
    mender = _Mender(fault, stage, result)
    try:
        for step in SCENES[fault.scene]:
            if step.__name__ == fault.during:
                mender.begin()
            step(stage)
            if step.__name__ == fault.during:
                mender.step_is_over.set()
    finally:
        mender.finish()
    if seconds_until(lambda: not still_owed(stage.stand), within=SETTLED_WITHIN) is None:
        result.why.append(f"never done: {still_owed(stage.stand)}")
        result.recovered_s = None
    _judge(result, history.examine(stage.stand, stage.people, repeats=fault.repeats))
    result.why += stage.trouble


def _judge(result: Result, verdict: Verdict) -> None:
    result.lost, result.doubled = len(verdict.lost), len(verdict.doubled)
    result.why += [*verdict.lost, *verdict.doubled, *verdict.broken]


class _Mender:
    """Breaks, waits until it is broken, and mends, beside what people do."""

    def __init__(self, fault: Fault, stage: Stage, result: Result) -> None:
        self._fault, self._stage, self._result = fault, stage, result
        self.step_is_over = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._error: BaseException | None = None

    def begin(self) -> None:
        if not self._fault.alongside:
            self._fault.breaks.begin(self._stage.stand)
        self._thread.start()

    def finish(self) -> None:
        """Wait until it is mended and all that was owed then is under way."""
        self.step_is_over.set()
        if self._thread.ident is not None:
            self._thread.join()
        if self._error is not None:
            raise RuntimeError(f"while mending: {self._error}") from self._error

    def _work(self) -> None:
        try:
            self._break_and_mend()
        except BaseException as error:  # noqa: BLE001  raised again by `finish`
            self._error = error

    def _break_and_mend(self) -> None:
        fault, stand = self._fault, self._stage.stand
        if fault.alongside:
            fault.breaks.begin(stand)
        self._result.fired = wait_until(lambda: fault.breaks.fired(stand), within=FIRED_WITHIN)
        if fault.lasts is None:
            self.step_is_over.wait()
        else:
            time.sleep(fault.lasts)
        ended = time.monotonic()
        owed = Duties(stand, self._stage.people)
        fault.breaks.end(stand)
        if seconds_until(owed.are_under_way, within=RECOVERED_WITHIN) is None:
            self._result.why.append(f"not recovered: {still_owed(stand)}")
        else:
            self._result.recovered_s = round(time.monotonic() - ended, 1)
