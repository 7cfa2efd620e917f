"""What becomes of a mail that the server didn't take, or of which it isn't known."""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog

from waitlist import bouncing, lifetimes, outbox, seats
from waitlist.outbox import Leased
from waitlist.route import Answer, Outcome
from waitlist.writing import Letter

log = structlog.get_logger()
GIVE_UP_AFTER = timedelta(days=5)  # of "refused for now" (RFC 5321, section 4.5.4.1)
MOST_UNKNOWN = 2  # tries cut off before the answer, after which the mail counts as taken
MOST_UNWRITTEN = 3  # tries to write a mail; one that is staged by a newer release needs a minute


def settle(leased: Leased, letter: Letter, answer: Answer, *, now: datetime) -> None:
    """Tell SQL of an answer by which the mail isn't sent, in the caller's transaction."""
    match answer.outcome:
        case Outcome.REFUSED:
            _bounce(leased, letter, answer, now=now)
        case Outcome.AWAY:
            outbox.put_back(leased, now=now, reason=f"away: {answer.words}", delay=False)
        case Outcome.LATER if now - (letter.refused_since or now) >= GIVE_UP_AFTER:
            _bounce(leased, letter, answer, now=now)
        case Outcome.LATER:
            since = letter.refused_since or now
            outbox.put_back(leased, now=now, reason=_said(answer), refused_since=since)
        case Outcome.UNKNOWN if leased.cut_off >= MOST_UNKNOWN:
            if outbox.mark(leased, state="sent", now=now, reason="presumed taken"):
                lifetimes.begin({leased.id: letter}, now=now)
        case Outcome.UNKNOWN:
            cut_off = leased.cut_off + 1
            outbox.put_back(leased, now=now, reason=_said(answer), cut_off=cut_off)
        case Outcome.UNWRITTEN if leased.attempts + 1 >= MOST_UNWRITTEN:
            if outbox.mark(leased, state="dead", now=now, reason=_said(answer)):
                log.error("a mail is set aside", message=leased.id, why=_said(answer))
        case Outcome.UNWRITTEN:
            outbox.put_back(leased, now=now, reason=_said(answer))


def _said(answer: Answer) -> str:
    return f"{answer.outcome}: {answer.words}"


def _bounce(leased: Leased, letter: Letter, answer: Answer, *, now: datetime) -> None:
    """The address can't be mailed: suppress it, and give an invitation's seat back."""
    if letter.invitation_id is not None:
        seats.lock()
    if outbox.mark(leased, state="bounced", now=now, reason=answer.words):
        bouncing.came_back(letter.entry_id, letter.invitation_id, now=now)
