"""What each kind of mail says: the values that its three templates are given."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, select

from waitlist import links, outlook, projection
from waitlist.extensions import db, settings
from waitlist.models import Invitation, Registration
from waitlist.policy import deadlines, wait
from waitlist.tokens import Purpose

Owed = Row[Any]  # a message's columns, with those of its `entry` and of its `invitation`


def context(message: Owed, *, now: datetime) -> dict[str, Any]:
    """What the templates of this kind say."""
    entry = message.entry
    context: dict[str, Any] = {
        "name": entry.name,
        "place_link": links.to_entry(Purpose.PLACE, entry),
        "product_url": settings().product_url,
    }
    return context | _CONTEXTS[message.kind](message, now)


def _confirm(message: Owed, _now: datetime) -> dict[str, Any]:
    return {
        "link": links.to_entry(Purpose.CONFIRM, message.entry),
        "within_hours": hours(settings().confirm_within),
    }


def _invitation(message: Owed, _now: datetime) -> dict[str, Any]:
    return {
        "link": links.to_invitation(message.invitation),
        "within_hours": hours(settings().invite_within),
    }


def _apology(_message: Owed, _now: datetime) -> dict[str, Any]:
    return {}  # the page of their place says the rest


def _sorry(message: Owed, _now: datetime) -> dict[str, Any]:
    """The link of the invitation that has more time or is new; without one, they are in line."""
    invitation = message.invitation
    return {
        "link": links.to_invitation(invitation) if invitation.id is not None else None,
        "within_hours": hours(settings().invite_within),
    }


def _standing(message: Owed, now: datetime) -> dict[str, Any]:
    entry, invitation = message.entry, latest_invitation(message.entry_id)
    invited = invitation is not None and invitation.state == "open"
    position = projection.place_of(entry).position
    shown = position and wait.shown_position(position)
    return {
        "state": entry.state,
        "position": shown,
        "rounded": bool(position and position >= wait.EXACT_BELOW),
        "wait": shown and outlook.range_of(entry.cohort_id, shown, now=now),
        "timezone": message.cohort.timezone,
        "as_of": now.replace(second=0, microsecond=0),  # nobody is told more
        "invite_link": links.to_invitation(invitation) if invitation and invited else None,
        "expires_at": invitation.expires_at if invitation and invited else None,
    }


def _renewal(message: Owed, _now: datetime) -> dict[str, Any]:
    """The link of a re-issue, or once more that of an invitation whose time runs already."""
    invitation = message.invitation
    return {
        "link": links.to_invitation(invitation),
        "within_hours": hours(settings().invite_within),
        "until": _to_the_minute(invitation.expires_at),
    }


def _reminder(message: Owed, _now: datetime) -> dict[str, Any]:
    invitation = message.invitation
    return {
        "link": links.to_invitation(invitation),
        "until": _to_the_minute(invitation.expires_at),
    }


def _lapsed(message: Owed, _now: datetime) -> dict[str, Any]:
    invitation = latest_invitation(message.entry_id)
    assert invitation is not None
    return {"link": links.to_invitation(invitation)}


def _undo(message: Owed, now: datetime) -> dict[str, Any]:
    entry = message.entry
    left_at = entry.left_at or now
    return {
        "link": links.to_entry(Purpose.UNDO, entry),
        "until": left_at + deadlines.UNDO_WITHIN,
        "keeps_place": deadlines.keeps_place(left_at, entry.confirmed_at, entry.renewals, now),
    }


def _act(message: Owed, _now: datetime) -> dict[str, Any]:
    return {
        "link": links.to_act(message),
        "within_minutes": int(deadlines.ACT_WITHIN.total_seconds() // 60),
    }


def _welcome(message: Owed, _now: datetime) -> dict[str, Any]:
    registration = db.session.scalars(
        select(Registration).where(Registration.entry_id == message.entry_id)
    ).one()
    return {
        "handle": registration.handle,
        "address": message.entry.address,
        "dispute_link": links.to_dispute(registration),
    }


_CONTEXTS: dict[str, Callable[[Owed, datetime], dict[str, Any]]] = {
    "confirm": _confirm,
    "invitation": _invitation,
    "standing": _standing,
    "renewal": _renewal,
    "reminder": _reminder,
    "lapsed": _lapsed,
    "apology": _apology,
    "sorry": _sorry,
    "come_back": _undo,
    "left": _undo,
    "act": _act,
    "welcome": _welcome,
}


KINDS = frozenset(_CONTEXTS)  # of mail


def latest_invitation(entry_id: int) -> Invitation | None:
    """The newest invitation of a person, in whatever state."""
    return db.session.scalars(
        select(Invitation).where(Invitation.entry_id == entry_id).order_by(Invitation.id.desc())
    ).first()


def _to_the_minute(at: datetime | None) -> datetime | None:
    """A moment as mails tell it, so that those of one minute are copies of one."""
    return at and at.replace(second=0, microsecond=0)


def hours(duration: timedelta) -> int:
    """A duration in whole hours."""
    return int(duration.total_seconds() // 3600)
