"""What an invitation's link shows, whoever opens it and however often: nothing changes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from waitlist import links, tokens
from waitlist.extensions import settings
from waitlist.letters import latest_invitation
from waitlist.models import Entry, Invitation
from waitlist.onboarding.invitations import state_of
from waitlist.policy import deadlines
from waitlist.tokens import Purpose


@dataclass(frozen=True)
class InvitationView:
    """An invitation as its page shows it; `opened` signs the moment of showing.

    `way` is the way on where this link opens no form: "renew" by the button, "newer" (another
    link does), "waits" in line, "registered", "suppressed", "ask" the team, or "place": their
    own page tells.
    """

    state: str
    address: str
    locale: str
    expires_at: datetime | None
    opened: str
    way: str
    place_token: str


def look(token: str, *, now: datetime) -> InvitationView:
    """The invitation that a link names; `LinkInvalid` if it names none."""
    invitation = links.invitation_of(token)
    entry = invitation.entry
    return InvitationView(
        state=state_of(invitation, opened_at=None, now=now),
        address=entry.address,
        locale=entry.locale,
        expires_at=invitation.expires_at,
        opened=tokens.opened(settings().secret_keys, invitation.id),
        way=_way(entry, latest_invitation(entry.id), now=now),
        place_token=links.entry_token(Purpose.PLACE, entry),
    )


def _way(entry: Entry, newest: Invitation | None, *, now: datetime) -> str:
    """The way on, by how the person stands: any of their links leads there."""
    if entry.state == "registered":
        return "registered"
    is_late = newest is not None and deadlines.deadline_passed(newest.expires_at, None, now)
    if entry.state == "invited" and not is_late:
        return "newer"
    if entry.suppressed_at is not None and entry.state in ("waiting", "invited", "lapsed"):
        return "suppressed"
    if entry.state in ("invited", "lapsed"):
        return "renew" if entry.renewals < deadlines.RENEWALS else "ask"
    return "waits" if entry.state == "waiting" else "place"
