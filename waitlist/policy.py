"""Pure decisions: addresses, ranks, budgets, shares. Knows no Flask, Redis or SQL."""

from __future__ import annotations

import ipaddress
import math
import re
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from email_validator import EmailNotValidError, validate_email

from waitlist.errors import AddressInvalid

ALLOWANCE_CAP = timedelta(seconds=5)
MAIL_HORIZON = timedelta(minutes=15)
GRACE = timedelta(minutes=30)
OUTAGE = timedelta(seconds=60)
UNDO_WITHIN = timedelta(days=7)
ACT_WITHIN = timedelta(minutes=30)
RENEWALS = 3
EXACT_BELOW = 100  # positions that are shown as they are

PLAIN_LOCAL_PART = re.compile(r"(?=.{1,64}\Z)[A-Za-z0-9_+-]+(\.[A-Za-z0-9_+-]+)*")
ADDRESS_LENGTH = 254
HANDLE = re.compile(r"[a-z0-9_]{3,30}")
RESERVED_HANDLES = frozenset(
    """abuse account admin administrator api app auth billing blog contact dev everyone help here
    info invite join legal line login logout mail me moderator news noreply null official ops
    owner postmaster press privacy register root security settings signup staff status support
    system team terms undefined waitlist webmaster welcome www""".split()  # noqa: SIM905
)
PASSWORD_LENGTH = range(8, 257)
PASSWORD_SCORE = 2


class Address(NamedTuple):
    """An address as typed, the key of its identity, and the form that is mailed."""

    typed: str
    key: str
    mail_to: str


def canonical_address(raw: str) -> Address:
    """The address in its three forms; `AddressInvalid` with the reason.

    The key lower-cases the local part and takes the domain in ASCII (IDNA 2008);
    plus tags and dots are kept. Mail goes to the local part as typed at that domain.
    """
    typed = raw.strip()
    local, _, domain = typed.rpartition("@")
    if PLAIN_LOCAL_PART.fullmatch(local) and len(typed) <= ADDRESS_LENGTH:
        domain = _domain(domain)
    else:
        local, domain = _parts(typed)
    return Address(typed, f"{local.lower()}@{domain}", f"{local}@{domain}")


@lru_cache(maxsize=4096)
def _domain(typed: str) -> str:
    """A domain in ASCII. Most people share a few, and checking one takes longer than the rest."""
    return _parts(f"x@{typed}")[1]


def _parts(typed: str) -> tuple[str, str]:
    try:
        checked = validate_email(
            typed, check_deliverability=False, allow_smtputf8=False, strict=True
        )
    except EmailNotValidError as error:
        raise AddressInvalid(str(error)) from error
    return checked.local_part, checked.ascii_domain.lower()


def network(client: str | None) -> str | None:
    """Whom a limit counts: an IPv4 address, or the /64 of an IPv6 one (RFC 6177), or None."""
    with suppress(OSError, TypeError, ValueError):
        socket.inet_pton(socket.AF_INET, client or "")  # a tenth of the time of what follows
        return client
    try:
        address = ipaddress.ip_address(client or "")
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return str(ipaddress.IPv6Address(int(address) >> 64 << 64))
        address = address.ipv4_mapped
    return str(address)


def language(tag: str, known: Sequence[str]) -> str | None:
    """The one of the known languages that a tag such as `fr-CA` asks for (RFC 5646), or None."""
    primary = tag.replace("_", "-").split("-")[0].lower()
    return primary if primary in known else None


def shown_position(position: int) -> int:
    """The number that people see: exact below 100, then rounded up to 10, 100, 1,000."""
    step = (
        1
        if position < EXACT_BELOW
        else 10
        if position < 1_000
        else 100
        if position < 10_000
        else 1_000
    )
    return math.ceil(position / step) * step


def accrue(allowance: float, rate: int, elapsed: timedelta) -> float:
    """The allowance after `elapsed` at `rate` people an hour, in people and fractions.

    It holds at most 5 seconds of rate (or one person, where that is more), and of a
    longer absence counts 5 seconds: time missed beyond that is lost, never made up for.
    """
    if rate == 0:
        return 0.0
    counted = min(max(elapsed, timedelta()), ALLOWANCE_CAP)
    cap = max(1.0, rate * ALLOWANCE_CAP.total_seconds() / 3600)
    return min(allowance + rate * counted.total_seconds() / 3600, cap)


def mail_budget(per_hour: int, queued: int) -> int:
    """How many more mails can go out within 15 minutes."""
    return max(0, int(per_hour * MAIL_HORIZON / timedelta(hours=1)) - queued)


class Budget(NamedTuple):
    """How many may be admitted, and the word for what limits it."""

    people: int
    limit: str


def tick_budget(*, paused: bool, allowance: float, free: int, mails: int) -> Budget:
    """What one tick may admit: the least of the rate's allowance, free seats and mails."""
    if paused:
        return Budget(0, "paused")
    if free <= 0:
        return Budget(0, "capacity")
    bounds = {"rate": math.floor(allowance + 1e-9), "capacity": free, "mail": mails}
    limit = min(bounds, key=lambda name: bounds[name])
    return Budget(max(0, bounds[limit]), limit)


def wave_budget(*, paused: bool, asked: int, free: int) -> Budget:
    """What an operator's wave may admit: the rate doesn't bind it, the seats do."""
    if paused:
        return Budget(0, "paused")
    return Budget(max(0, min(asked, free)), "asked" if asked <= free else "capacity")


@dataclass(frozen=True)
class Claim:
    """What a cohort brings to the sharing of a budget. `room` is what its quota leaves."""

    weight: int
    waiting: int
    credit: float = 0.0
    room: int | None = None

    @property
    def most(self) -> int:
        """How many it could use."""
        return self.waiting if self.room is None else max(0, min(self.waiting, self.room))


class Shares(NamedTuple):
    """How many each cohort gets, and the credit that it takes to the next sharing."""

    people: dict[int, int]
    credit: dict[int, float]


def shares(budget: int, claims: Mapping[int, Claim]) -> Shares:
    """The budget shared among cohorts by weight; what one can't use is lent to the others.

    Smooth weighted round-robin (nginx, 2012): each seat credits every claimant its weight's
    share and goes to the one with most credit. The credit carried over keeps the shares
    right, and nobody starved, when a budget is a single seat.
    """
    people = dict.fromkeys(claims, 0)
    credit = {name: claim.credit for name, claim in claims.items()}
    while (left := budget - sum(people.values())) > 0:
        able = [name for name, claim in claims.items() if people[name] < claim.most]
        if len(able) < 2:  # whoever is alone gets all the rest, and no credit moves
            people |= {name: min(people[name] + left, claims[name].most) for name in able}
            break
        total = sum(claims[name].weight for name in able)
        for name in able:
            credit[name] += claims[name].weight / total
        winner = max(able, key=lambda name: credit[name])
        credit[winner] -= 1
        people[winner] += 1
    return Shares(people, credit)


def deadline_passed(expires_at: datetime | None, opened_at: datetime | None, now: datetime) -> bool:
    """Whether an invitation's time is over for this form.

    Not before `expires_at`; and who opened the form before it has 30 minutes more.
    Unmailed, an invitation has no deadline.
    """
    if expires_at is None or now < expires_at:
        return False
    in_grace = opened_at is not None and opened_at < expires_at and now < expires_at + GRACE
    return not in_grace


def confirmed_in_time(confirm_by: datetime | None, now: datetime) -> bool:
    """Whether the place counts from the joining; the time runs from the mail's sending."""
    return confirm_by is None or now <= confirm_by


def keeps_place(
    left_at: datetime | None, confirmed_at: datetime | None, renewals: int, now: datetime
) -> bool:
    """Whether coming back now gives the old place back.

    Who never confirmed had none, and who left an invitation more often than it can be
    renewed doesn't get to the front once more.
    """
    had_one = left_at is not None and confirmed_at is not None and renewals <= RENEWALS
    return had_one and left_at is not None and now <= left_at + UNDO_WITHIN


def handle_reason(handle: str) -> str | None:
    """The code of what is wrong with a handle, or None."""
    if not handle:
        return "missing"
    if not HANDLE.fullmatch(handle):
        return "handle-form"
    return "handle-reserved" if handle in RESERVED_HANDLES else None


def handle_proposals(handle: str, taken: Sequence[str]) -> tuple[str, ...]:
    """Up to three handles near the wished one that are not among `taken`."""
    return tuple(name for name in handle_candidates(handle) if name not in set(taken))[:3]


def handle_candidates(handle: str) -> tuple[str, ...]:
    """Handles near the wished one, the nearest first, all of the right form."""
    stem = handle[:27]
    return tuple(f"{stem}_{number}" for number in range(2, 12))
