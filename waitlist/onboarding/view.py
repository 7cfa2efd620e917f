"""What an invitation's link shows, whoever opens it and however often: nothing changes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from waitlist import links, tokens
from waitlist.extensions import settings
from waitlist.onboarding.invitations import may_renew, state_of
from waitlist.tokens import Purpose


@dataclass(frozen=True)
class InvitationView:
    """An invitation as its page shows it; `opened` signs the moment of showing.

    `waits` says whether its owner stands in line again, and can be invited anew.
    """

    state: str
    address: str
    locale: str
    expires_at: datetime | None
    opened: str
    can_renew: bool
    waits: bool
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
        can_renew=may_renew(invitation, now=now),
        waits=entry.state == "waiting" and entry.suppressed_at is None,
        place_token=links.entry_token(Purpose.PLACE, entry),
    )
