"""What must hold after a fault: the log of the people held against SQL, the mail server and Redis.

Each check gives sentences, one for each thing that is wrong; the promise that it tries is named.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import and_, func, select

from tests import histories
from tests.faults.people import Answer, People
from tests.faults.stand import Stand
from tests.servers import Received
from waitlist import projection
from waitlist.admission import gate as gates
from waitlist.errors import LineUnavailable
from waitlist.extensions import db, reading
from waitlist.mailer import stable_message_id
from waitlist.models import (
    Cohort,
    Crowd,
    Entry,
    Gate,
    Invitation,
    LineChange,
    Message,
    Registration,
    Wave,
    Webhook,
)

CONFIRMED = ("waiting", "invited", "registered", "lapsed", "withdrawn")
ENDED = ("sent", "bounced", "cancelled")


@dataclass
class Verdict:
    """What a fault cost: sentences. `broken` are promises that are neither loss nor doubling."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


class _Person(NamedTuple):
    """Somebody's rows."""

    entry: Entry
    invitations: Sequence[Invitation]
    registration: Registration | None
    messages: Sequence[Message]


def examine(stand: Stand, people: People, *, repeats: int = 0) -> Verdict:
    """What was lost and doubled of these people, and which promise is broken for anybody.

    So many mails may have come twice: those that were in flight when their worker died.
    """
    with stand.app.app_context(), reading():
        rows = _rows_of(people)
        mails = _mails_to(people)
        return Verdict(
            lost=[
                *_lost_answers(people, rows),
                *_lost_mails(rows, mails),
                *_untold(stand, rows),
            ],
            doubled=[
                *_doubled_rows(people, rows),
                *_doubled_mails(rows, mails, repeats),
                *_unequal_answers(people),
                *_told_as_two(stand, rows),
                *_seats(),
            ],
            broken=[*people.log.wrong, *_order(people, rows), *_lines(), *_records()],
        )


def _rows_of(people: People) -> dict[str, _Person]:
    found = {}
    for entry in db.session.scalars(select(Entry).where(Entry.address.in_(people.addresses))):
        found[entry.address] = _Person(
            entry,
            db.session.scalars(select(Invitation).where(Invitation.entry_id == entry.id)).all(),
            db.session.scalar(select(Registration).where(Registration.entry_id == entry.id)),
            db.session.scalars(select(Message).where(Message.entry_id == entry.id)).all(),
        )
    return found


def _mails_to(people: People) -> dict[str, list[Received]]:
    """What the mail server has for these people, by Message-ID."""
    found: dict[str, list[Received]] = defaultdict(list)
    for mail in list(people.stand.sink.messages):
        if mail.envelope.rcpt_tos[0] in people.addresses:
            found[str(mail["Message-ID"])].append(mail)
    return found


def _lost_answers(people: People, rows: dict[str, _Person]) -> Iterator[str]:
    """P1, P10: whatever was answered with success stands."""
    for answer in people.log.answers:
        person = rows.get(answer.who)
        if person is None:
            yield f"{answer.what} of {answer.who} was answered, and nobody knows them"
        elif answer.what == "confirm" and person.entry.state not in CONFIRMED:
            yield f"{answer.who} confirmed, and is {person.entry.state}"
        elif answer.what == "complete" and person.registration is None:
            yield f"{answer.who} finished, and isn't registered"


def _lost_mails(rows: dict[str, _Person], mails: dict[str, list[Received]]) -> Iterator[str]:
    """P8: each mail ends; what is sent arrived; an invitation that was mailed has its deadline."""
    for who, person in rows.items():
        for message in person.messages:
            arrived = mails.get(stable_message_id(message.id))
            if message.state not in ENDED or (message.state != "sent" and not message.reason):
                yield f"mail {message.kind} of {who} is {message.state} ({message.reason})"
            elif message.state == "sent" and not arrived and message.reason != "presumed taken":
                yield f"mail {message.kind} of {who} is sent, and never arrived"
        for invitation in person.invitations:
            told = [one for one in person.messages if one.invitation_id == invitation.id]
            if not told:
                yield f"{who} is invited without a mail"
            was_mailed = any(one.state == "sent" and one.kind == "invitation" for one in told)
            if was_mailed != (invitation.expires_at is not None):
                yield f"the invitation of {who} has no deadline, or one without a mail"


def _doubled_rows(people: People, rows: dict[str, _Person]) -> Iterator[str]:
    """P2, P7: one entry an address, one invitation a place, one mail of each."""
    keys = [who.lower() for who in people.addresses]
    same = select(Entry.address_key, func.count()).where(func.lower(Entry.address).in_(keys))
    for key, how_many in db.session.execute(same.group_by(Entry.address_key)):
        if how_many > 1:
            yield f"{key} has {how_many} entries"
    for who, person in rows.items():
        good = [one for one in person.invitations if one.state in ("open", "used")]
        if len(good) > 1:
            yield f"{who} has {len(good)} invitations"
        owed = Counter((one.kind, one.invitation_id) for one in person.messages)
        for (kind, _), how_many in owed.items():
            if kind != "standing" and how_many > 1:
                yield f"{who} is owed {how_many} mails {kind}"
        is_used = any(one.state == "used" for one in person.invitations)
        if is_used != (person.registration is not None):
            yield f"the invitation of {who} and the registration disagree"


def _doubled_mails(
    rows: dict[str, _Person], mails: dict[str, list[Received]], repeats: int
) -> Iterator[str]:
    """P8, P9: no mail but those of SQL; a repeat only of what was in flight, and the same."""
    known = {stable_message_id(one.id) for person in rows.values() for one in person.messages}
    for message_id, arrived in mails.items():
        if message_id not in known:
            yield f"mail {message_id} came, and SQL owes none like it"
        if len({one.as_bytes() for one in arrived}) > 1:
            yield f"mail {message_id} came twice, and differs"
    again = [message_id for message_id, arrived in mails.items() for _ in arrived[1:]]
    if len(again) > repeats:
        yield from (f"mail {message_id} came twice" for message_id in again[repeats:])


def _unequal_answers(people: People) -> Iterator[str]:
    """P10: the same form again gets the same answer."""
    places: dict[str, set[str]] = defaultdict(set)
    for answer in people.log.of("complete"):
        places[answer.who].add(answer.location)
    for who, found in places.items():
        if len(found) > 1:
            yield f"{who} was sent to {len(found)} places"


def _untold(stand: Stand, rows: dict[str, _Person]) -> Iterator[str]:
    """Whoever registered is handed over to the product, in the end."""
    told = _told(stand)
    for who, person in rows.items():
        owed = select(Webhook.state).where(Webhook.entry_id == person.entry.id)
        states = db.session.scalars(owed).all()
        if person.registration is not None and list(states) != ["delivered"]:
            yield f"the registration of {who} is owed to the product as {list(states)}"
        if person.registration is not None and not told[str(person.registration.id)]:
            yield f"the product never heard of {who}"


def _told_as_two(stand: Stand, rows: dict[str, _Person]) -> Iterator[str]:
    """P10: one hand-over effect, for the product knows by the id what it was told before."""
    told = _told(stand)
    for who, person in rows.items():
        ids = told[str(person.registration.id)] if person.registration else set()
        if len(ids) > 1:
            yield f"the product was told of {who} as {len(ids)}"


def _told(stand: Stand) -> dict[str, set[str]]:
    """The webhook-ids by which the product was told, by registration."""
    found: dict[str, set[str]] = defaultdict(set)
    for one in list(stand.product.told):
        found[json.loads(one.body)["data"]["id"]].add(one.webhook_id)
    return found


def _seats() -> Iterator[str]:
    """P3, P4, P7, P12: of everybody, not only of those who were there at the fault."""
    gate = db.session.scalars(select(Gate)).one()
    if gate.seats_used > gate.capacity:
        yield f"{gate.seats_used} seats are used, of {gate.capacity}"
    for name, (counter, rows) in gates.verify().items():
        yield f"{name} counts {counter} seats, and {rows} are used"
    twice = (
        select(Invitation.entry_id)
        .where(Invitation.state == "open")
        .group_by(Invitation.entry_id)
        .having(func.count() > 1)
    )
    yield from (f"entry {one} has two open invitations" for one in db.session.scalars(twice))
    both = select(Invitation.id).join(Registration, Registration.invitation_id == Invitation.id)
    for one in db.session.scalars(both.where(Invitation.state != "used")):
        yield f"the seat of invitation {one} is released and used"


def _order(people: People, rows: dict[str, _Person]) -> Iterator[str]:
    """P5: who was answered before another asked is in no later wave, and isn't passed over."""
    waves = {wave.id: wave for wave in db.session.scalars(select(Wave))}
    joins = {answer.who: answer for answer in people.log.of("join") if answer.who in rows}
    for later, theirs in joins.items():
        first = _wave_of(rows[later])
        if first is None:
            continue
        for earlier, answer in joins.items():
            was_there = _could_come(rows[earlier], waves[first])
            if not was_there or not _before(answer, theirs):
                continue
            wave = _wave_of(rows[earlier])
            if wave is None or wave > first:
                yield f"{later} was let in before {earlier}"


def _before(one: Answer, other: Answer) -> bool:
    return one.ended < other.began


def _wave_of(person: _Person) -> int | None:
    return min((one.wave_id for one in person.invitations), default=None)


def _could_come(person: _Person, wave: Wave) -> bool:
    """Whether they were confirmed and could be mailed when this wave began."""
    confirmed_at = person.entry.confirmed_at
    return (
        confirmed_at is not None and confirmed_at < wave.at and person.entry.suppressed_at is None
    )


def _records() -> Iterator[str]:
    """P6: the order can be recomputed from the records alone."""
    if histories.ranks_by_the_records() != histories.ranks_as_they_are():
        yield "ranks aren't what the records make of them"


def _lines() -> Iterator[str]:
    """P13: the lines are those of SQL, members and scores."""
    for cohort, missing, extra in differences():
        if missing or extra:
            yield f"the line {cohort} lacks {missing} and has {extra} too many"


def differences() -> Iterator[tuple[str, int, int]]:
    """Of each line how many of SQL aren't in it, and how many are that shouldn't.

    Read past the service: nobody helps it to catch up.
    """
    for cohort in db.session.scalars(select(Cohort)).all():
        waiting = select(Entry.rank, Entry.id).where(
            and_(Entry.cohort_id == cohort.id, projection.in_line())
        )
        wanted = {(rank, id_) for rank, id_ in db.session.execute(waiting)}
        found = set[tuple[int, int]]()
        try:
            line = projection.of(cohort.name, cohort.line_epoch)
            is_valid = line.is_valid()
            found = {one for page in line.pages() for one in page} if is_valid else found
        except LineUnavailable:
            is_valid = False
        yield cohort.name, len(wanted - found) + (not is_valid), len(found - wanted)


def unsettled(stand: Stand) -> list[str]:
    """What is still to be done by the service, whoever it is for; empty when all is done.

    Looked for in the order in which one thing leads to the next, as the truth moves on meanwhile.
    """
    with stand.app.app_context(), reading():
        waves = _count(Wave, Wave.state.in_(("planned", "running")))
        seats = _seats_for_who_waits()
        mails = _count(Message, Message.state.in_(("queued", "sending")))
        webhooks = _count(Webhook, Webhook.state.in_(("pending", "sending")))
        notes = _count(LineChange) + _count(Crowd)
        astray = sum(missing + extra for _, missing, extra in differences())
    found = {
        "waves": waves,
        "seats free while people wait": seats,
        "mails": mails,
        "webhooks": webhooks,
        "notes for the line": notes,
        "people astray in the line": astray,
    }
    return [f"{how_many} {what}" for what, how_many in found.items() if how_many]


def _seats_for_who_waits() -> int:
    waiting = _count(Entry, projection.in_line())
    gate = db.session.scalars(select(Gate)).one()
    free = gate.capacity - gate.seats_used if gate.rate and not gate.paused else 0
    return max(0, min(free, waiting))


def _count(model: type[db.Model], *which: object) -> int:  # type: ignore[name-defined]
    query = select(func.count()).select_from(model)
    return db.session.scalar(query.where(*which)) or 0  # type: ignore[arg-type]
