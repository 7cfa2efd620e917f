"""The gate's live switches, as every process sees them at most a second later.

Read once a second and process, beside any transaction, so that no hot path has a statement
more, and nothing is restarted when an operator turns one.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import select

from waitlist import lately
from waitlist.extensions import glance, settings
from waitlist.models import Gate, MailPace
from waitlist.policy import routes

KEPT = "switches"


class Notice(NamedTuple):
    """What operators have to say on the pages, and its language."""

    language: str
    text: str


class Switches(NamedTuple):
    """How operators set what is neither pace nor capacity."""

    joining: str
    held_mails: frozenset[str]
    referral: bool
    notices: Mapping[str, str]
    health_ignored_until: datetime | None
    mail_route: str
    mail_route_by_itself: str

    @property
    def route_in_force(self) -> str:
        """By which mail server mail goes: first or second."""
        return routes.in_force(
            self.mail_route, self.mail_route_by_itself, has_second=settings().mail2 is not None
        )

    @property
    def joining_is_closed(self) -> bool:
        """Whether nobody may join."""
        return self.joining == "closed"

    @property
    def joining_is_challenged(self) -> bool:
        """Whether whoever joins must prove that they don't join a thousand times."""
        return self.joining == "challenge"

    def notice(self, language: str) -> Notice | None:
        """The notice in that language, or the first that there is; None if there is none."""
        for tag in (language, *sorted(self.notices)):
            if text := self.notices.get(tag):
                return Notice(tag, text)
        return None


def current() -> Switches:
    """The switches as they stood at most a second ago."""
    return lately.read(KEPT, _read)


def forget() -> None:
    """Read them anew the next time: this process has just changed them."""
    lately.forget(KEPT)


def _read() -> Switches:
    row = glance(
        select(
            *(Gate.joining, Gate.held_mails, Gate.referral, Gate.notices),
            *(Gate.health_ignored_until, Gate.mail_route),
            select(MailPace.route).scalar_subquery().label("by_itself"),
        )
    )
    assert row is not None, "the gate's row is of the migrations"
    return Switches(
        *(row.joining, frozenset(row.held_mails), row.referral, row.notices),
        *(row.health_ignored_until, row.mail_route, row.by_itself),
    )
