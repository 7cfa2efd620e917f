"""What people do while something breaks: scenes, each of a few named steps.

The way is join, confirm, be admitted, be mailed, finish. There is a seat less than people who
wait, so one of them stays, and is the first whom the next scene on this stand lets in.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from redis.exceptions import RedisError
from sqlalchemy import func, select, update
from sqlalchemy.exc import SQLAlchemyError

from tests.faults import history
from tests.faults.parts import wait_until
from tests.faults.people import People
from tests.faults.stand import RATE, Stand
from waitlist import projection
from waitlist.extensions import db, reading
from waitlist.models import Entry, Gate, Invitation
from waitlist.policy import deadlines

T = TypeVar("T")
QUIET_WITHIN = 150.0  # seconds
AT_ONCE = 8  # people of a stream who are on their way at the same time
IMPORTED = 30  # people of a file


@dataclass
class Stage:
    """A scene on its stand, and whom it is played with."""

    stand: Stand
    people: People
    trouble: list[str] = field(default_factory=list)


Step = Callable[[Stage], None]


def join(stage: Stage) -> None:
    """Everybody joins."""
    stage.people.join()


def confirm(stage: Stage) -> None:
    """Everybody follows the link of the first mail."""
    stage.people.confirm()


def quiet(stage: Stage) -> None:
    """Everything that is owed is done."""
    if not wait_until(lambda: not still_owed(stage.stand), within=QUIET_WITHIN, pace=0.1):
        raise TimeoutError(f"not done: {still_owed(stage.stand)}")


def admit(stage: Stage) -> None:
    """The gate gets a seat less than people wait; the ticks let them in, and they are mailed."""
    _raise_capacity(stage.stand)
    quiet(stage)


def complete(stage: Stage) -> None:
    """Everybody who was invited finishes."""
    stage.people.complete(stage.people.invited())


def rebuild(stage: Stage) -> None:
    """Redis loses everything, and the line is filled anew."""
    stage.stand.redis.flushall()
    quiet(stage)


def lapse(stage: Stage) -> None:
    """The time of half of the invitations, and the grace, was over long ago; the others finish."""
    invited = stage.people.invited()
    late = invited[::2]
    over = datetime.now(UTC) - deadlines.GRACE - timedelta(minutes=1)
    theirs = select(Entry.id).where(Entry.address.in_(late))
    _write(
        stage.stand,
        update(Invitation)
        .where(Invitation.entry_id.in_(theirs), Invitation.state == "open")
        .values(expires_at=over),
    )
    stage.people.complete(invited[1::2])
    quiet(stage)


def wave(stage: Stage) -> None:
    """An operator's wave lets in whom the ticks don't, as the rate is nought."""
    stage.stand.set_gate(rate=0)
    seats = _raise_capacity(stage.stand)
    stage.stand.flask("wave", "admit", str(seats))
    quiet(stage)
    stage.stand.set_gate(rate=RATE)


def bring_in(stage: Stage) -> None:
    """A file of people is imported; and again, if the command ends badly."""
    addresses = [f"{stage.people.name}-i{number}@example.com" for number in range(IMPORTED)]
    file = stage.stand.folder / f"{stage.people.name}.csv"
    file.write_text("email\n" + "".join(f"{one}\n" for one in addresses))
    for _time in range(3):
        if not stage.stand.flask("import", str(file), "--cohort", "general").returncode:
            break
    else:
        stage.trouble.append("the file is never imported")
    with stage.stand.app.app_context(), reading():
        theirs = select(Entry.address).where(Entry.address.in_(addresses))
        found = db.session.scalars(theirs.order_by(Entry.arrival)).all()
    if found != addresses:
        stage.trouble.append(f"{len(found)} of {len(addresses)} of the file are there, in turn")


def stream(stage: Stage) -> None:
    """People come all the while, each on their whole way, while others are on theirs."""
    _stream(stage, stage.people.addresses)


def _stream(stage: Stage, whom: Sequence[str]) -> None:
    people = stage.people
    stand = stage.stand
    _as_soon_as_sql_is_there(lambda: stand.set_gate(capacity=_seats_used(stand) + len(whom) + 1))

    def go(who: str) -> None:
        people.join([who])
        people.confirm([who])
        people.complete([who])

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(go, whom))


def afterwards(stage: Stage) -> None:
    """Others come when it is over, and go the whole way too."""
    newcomers = [f"{stage.people.name}-n{number}@example.com" for number in range(AT_ONCE)]
    stage.people.addresses += newcomers
    _stream(stage, newcomers)


WAY: Sequence[Step] = (join, confirm, quiet, admit, complete)
SCENES: Mapping[str, Sequence[Step]] = {
    "way": WAY,
    "rebuild": (join, confirm, quiet, rebuild, admit, complete),
    "lapse": (join, confirm, quiet, admit, lapse),
    "wave": (join, confirm, quiet, wave, complete),
    "import": (bring_in, join, confirm),
    "stream": (stream,),
    "way and on": (*WAY, afterwards),
}


def still_owed(stand: Stand) -> list[str]:
    """What is to be done yet, or that it can't be told; looked at twice before it is nothing."""
    try:
        return history.unsettled(stand) or history.unsettled(stand)
    except (SQLAlchemyError, RedisError) as error:
        return [type(error).__name__]


def _raise_capacity(stand: Stand) -> int:
    """A seat less than people wait is free now; how many those are."""

    def raise_it() -> int:
        with stand.app.app_context(), reading():
            waiting = db.session.scalar(select(func.count(Entry.id)).where(projection.in_line()))
        seats = max(1, (waiting or 0) - 1)
        stand.set_gate(capacity=_seats_used(stand) + seats)
        return seats

    return _as_soon_as_sql_is_there(raise_it)


def _as_soon_as_sql_is_there(call: Callable[[], T]) -> T:
    """What the call gives; an operator gives it again until it goes."""
    deadline = time.monotonic() + QUIET_WITHIN
    while True:
        try:
            return call()
        except SQLAlchemyError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.1)


def _seats_used(stand: Stand) -> int:
    with stand.app.app_context(), reading():
        return db.session.scalars(select(Gate.seats_used)).one()


def _write(stand: Stand, statement: object) -> None:
    with stand.app.app_context():
        db.session.execute(statement)  # type: ignore[call-overload]
        db.session.commit()
        db.session.remove()
