"""Sending what the outbox owes, in groups, and telling SQL what became of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, time, timedelta
from time import monotonic
from typing import NamedTuple

import structlog

from waitlist import (
    accepted,
    erasures,
    leasing,
    lifetimes,
    outbox,
    remembered,
    routing,
    switches,
    writing,
)
from waitlist.accepted import Notes
from waitlist.extensions import db, reading
from waitlist.failpoints import failpoint
from waitlist.outbox import Leased
from waitlist.policy.routes import Tried
from waitlist.postage import Told
from waitlist.route import LONGEST, Answer, Outcome, Route
from waitlist.settling import settle
from waitlist.writing import Letter

log = structlog.get_logger()
GROUP = 20  # mails that are leased, and marked, together
FRESH = 0.05  # seconds for which what SQL said of a mail is believed, and SQL isn't told of it
MIDNIGHT = time(0)
SAY_AGAIN = timedelta(hours=1)
UNTRIED = (Outcome.UNSENT, Outcome.UNWRITTEN, Outcome.AWAY)  # which cost nothing of the budgets
LEASE_LEFT = outbox.LEASE - LONGEST  # after which no mail of a group is begun


def deliver(clock: Callable[[], datetime], *, until: datetime) -> bool:
    """Send what is due, one mail after the other, until `until`; whether some may be left."""
    _take_over(now=clock())
    owed: list[_Owed] = []
    with routing.routes() as route_of, Notes() as notes:
        while clock() < until:
            leased = _tell(owed, now=clock(), most=GROUP)
            if not leased:
                _say_if_spent(now=clock())
                return False
            failpoint("mail.leased")
            leased = _apart(leased, now=clock())
            route = route_of(leased[0].route)
            if not _deliver_group(leased, owed, route, notes, clock, until=until):
                return False
        _tell(owed, now=clock())
    return True


def _apart(leased: list[Leased], *, now: datetime) -> list[Leased]:
    """Those that go together; who was lost with a worker goes alone, and the rest goes back.

    If it is what killed the worker, it takes nobody along the next time.
    """
    lost = next((nth for nth, one in enumerate(leased) if one.lost), len(leased))
    together = leased[: max(lost, 1)]
    if together != leased:
        _tell([], now=now, back=leased[len(together) :])
    return together


def _take_over(*, now: datetime) -> None:
    """Settle what a worker left who didn't come back: what the server took, and what it didn't."""
    with reading():
        left = outbox.overdue(now=now)
        letters = writing.read(sorted(accepted.noted(left)), now=now)
    _sent(letters, now=now)
    for one in outbox.reclaim([one for one in left if one not in letters], now=now):
        log.error("a mail is set aside", message=one.id, why="its workers don't come back")
    db.session.commit()


def server_is_away() -> bool:
    """Whether the mail server in force failed within the last quarter of a minute."""
    return routing.is_away(switches.current().route_in_force)


class _Owed(NamedTuple):
    """An answer that SQL isn't told yet."""

    leased: Leased
    letter: Letter
    answer: Answer


def _deliver_group(
    leased: Sequence[Leased],
    owed: list[_Owed],
    route: Route,
    notes: Notes,
    clock: Callable[[], datetime],
    *,
    until: datetime,
) -> bool:
    """Send these, and say what SQL must be told; False, and nothing owed, if the server is away.

    What takes long is told from what SQL said a moment ago: past `FRESH` the rest is read
    again, since it may have been revoked, and what was sent is marked at once. When the lease
    could run out, the time is over, or mail takes another route now, the rest goes back.
    """
    by = leased[0].route
    if switches.current().route_in_force != by:
        switches.forget()  # the lease knows better
    begun, read_at = clock(), monotonic()
    letters = _letters(leased, now=begun)
    for done, one in enumerate(leased):
        ends = clock() >= min(until, begun + LEASE_LEFT)
        if ends or switches.current().route_in_force != by:
            return _give_back(leased[done:], owed, now=clock())
        if monotonic() - read_at > FRESH:
            _tell(owed, now=clock())
            letters, read_at = _letters(leased[done:], now=clock()), monotonic()
        if one not in letters:
            continue  # gone, with its person
        then = letters.get(leased[done + 1]) if done + 1 < len(leased) else None
        answer = _hand_over(letters[one], then, route)
        owed.append(_Owed(one, letters[one], answer))
        if answer.outcome is Outcome.AWAY:
            return not _give_back(leased[done + 1 :], owed, now=clock())
        if answer.outcome is Outcome.REFUSED:
            read_at = 0.0  # of the rest some may be to the same person
        if answer.outcome is Outcome.SENT:
            failpoint("mail.accepted")
            if not notes.add(one):
                _tell(owed, now=clock())
    failpoint("mail.before-mark")
    return True


def _give_back(rest: Sequence[Leased], owed: list[_Owed], *, now: datetime) -> bool:
    _tell(owed, now=now, back=rest)
    return True


def _letters(leased: Iterable[Leased], *, now: datetime) -> dict[Leased, Letter]:
    with reading():  # no transaction stays open while the server is talked to
        letters = writing.read(leased, now=now)
    return erasures.let_through(letters, now=now)


def _hand_over(letter: Letter, then: Letter | None, route: Route) -> Answer:
    if letter.mail is None:
        return Answer(Outcome.UNWRITTEN if letter.fault else Outcome.UNSENT, letter.fault)
    next_to = then.to if then is not None and then.mail is not None else None
    return route.deliver(letter.mail, letter.to, then=next_to)


def _tell(
    owed: list[_Owed], *, now: datetime, most: int = 0, back: Sequence[Leased] = ()
) -> list[Leased]:
    """Tell SQL of these answers, so that nothing is owed; and what is due next, leased.

    What goes back wasn't tried. By one transaction, as each takes SQLite's lock from those
    who join.
    """
    if not owed and not back and not most:
        return []
    for one in owed:
        if one.answer.outcome not in (Outcome.SENT, Outcome.UNSENT):
            settle(*one, now=now)  # first, since one of these may take the gate's lock
    _sent({one.leased: one.letter for one in owed if one.answer.outcome is Outcome.SENT}, now=now)
    for one in owed:
        if one.answer.outcome is Outcome.UNSENT and one.letter.waits_until:
            outbox.hand_back(one.leased, due_at=one.letter.waits_until)
        elif one.answer.outcome is Outcome.UNSENT:
            outbox.mark(one.leased, state="cancelled", now=now, reason="no longer true")
    for leased in back:
        outbox.hand_back(leased, due_at=now)
    following = leasing.lease(now=now, most=most, told=_told(owed, back))
    for one in owed:
        if one.answer.outcome is Outcome.AWAY:
            routing.note_away(one.leased.route)
    _log(owed)
    owed.clear()
    return following


def _told(owed: Sequence[_Owed], back: Sequence[Leased]) -> Told:
    """What these answers say of the budgets, and of how invitations fare."""
    became = Counter(one.answer.outcome for one in owed if one.leased.is_invitation)
    untried = [*back, *(one.leased for one in owed if one.answer.outcome in UNTRIED)]
    invitations = sum(one.is_invitation for one in untried)
    return Told(
        sent=became[Outcome.SENT],
        bounced=became[Outcome.REFUSED],
        later=became[Outcome.LATER],
        invitations_back=invitations,
        others_back=len(untried) - invitations,
        tried=_tried(owed),
    )


def _tried(owed: Sequence[_Owed]) -> Tried:
    """How the server fares by these answers, all of which are one's.

    To be refused for good is about the mail, so it says that the server is well.
    """
    if not owed:
        return Tried()
    became = Counter(one.answer.outcome for one in owed)
    return Tried(
        route=owed[0].leased.route,
        taken=became[Outcome.SENT] + became[Outcome.REFUSED],
        refused=became[Outcome.LATER] + became[Outcome.UNKNOWN],
        away=became[Outcome.AWAY],
    )


def _say_if_spent(*, now: datetime) -> None:
    """Log, once in a while, that mail waits for a budget: that is no error, and ends by itself."""
    with reading():
        until = leasing.waits_until(now=now)
    if until is None:
        return
    of = "day" if until.time() == MIDNIGHT else "minute"
    if remembered.is_news(f"waitlist:mail:spent:{of}", max(SAY_AGAIN, until - now)):
        log.info("mail waits for its budget", of=of, until=until.isoformat())


def _log(owed: Sequence[_Owed]) -> None:
    """A line for each outcome of a kind, with the messages that had it."""
    told: dict[tuple[str, str], list[int]] = {}
    for leased, letter, answer in owed:
        outcome = "waits for its hours" if letter.waits_until else str(answer.outcome)
        told.setdefault((letter.kind, outcome), []).append(leased.id)
    for (kind, outcome), messages in told.items():
        route = owed[0].leased.route
        log.info("mail", messages=messages, kind=kind, outcome=outcome, route=route)


def _sent(letters: Mapping[Leased, Letter], *, now: datetime) -> None:
    if letters:
        marked = outbox.mark_sent(list(letters), now=now)
        lifetimes.begin({one.id: letters[one] for one in letters if one.id in marked}, now=now)
