"""The last step as a model: what the service does, statement by statement.

Admission, expiry, renewal and completion, the mail, the clock and the line; each may die after
every step, and is begun again. A step is named by the function that it stands for. Statements see
what is committed, and wait for a row that another has locked, as in PostgreSQL's READ COMMITTED;
SQLite, whose writers come one after the other, allows only some of this. A request goes by the
time at which it came, however long it takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.model.changes import (
    begin,
    committed,
    end,
    go_on,
    is_free,
    noted,
    open_ones,
    replaced,
    with_person,
)
from tests.model.guards import ALL
from tests.model.last_step import (
    CAPACITY,
    HANDS,
    IN_TIME,
    LATE,
    OVER,
    UNMAILED,
    Hand,
    Invitation,
    Person,
    World,
    answered_wrongly,
)

FIELDS = ("ada", "eve")  # what is sent at the last step
RENEWALS = 1  # of a person

# what each step stands for, beneath `waitlist`
DRAW = "admission.drawing.draw"
BUDGET = "seats.lock"
TAKE = "admission.taking.take"
LAPSE = "onboarding.invitations.lapse"
RENEW = "onboarding.invitations.renew"
REISSUE = "onboarding.reissue.reissue"
END = "onboarding.reissue.end_if_late"
RELEASE = "seats.give_back"
COMPLETE = "onboarding.completion.complete"
LOCK = "onboarding.registering.invited"
REGISTER = "onboarding.registering.register"
LINE = "projection.catch_up"
LEASE = "leasing.lease"
SENT = "lifetimes.begin"
RECLAIM = "outbox.reclaim"

STEPS = (
    *(DRAW, BUDGET, TAKE, LAPSE, RENEW, END, REISSUE, RELEASE, COMPLETE),
    *(LOCK, REGISTER, LINE, LEASE, SENT, RECLAIM),
)

Move = tuple[str, World]


@dataclass(frozen=True)
class Service:
    """The service with these of its guards."""

    guards: frozenset[str] = ALL

    def moves(self, world: World) -> Iterator[Move]:
        """Every next step, and the state that it leads to."""
        yield from _alone(world)
        if len(world.hands) < HANDS:
            yield from self._begun(world)
        on = [move for hand in dict.fromkeys(world.hands) for move in self._steps(world, hand)]
        yield from on
        for hand in dict.fromkeys(world.hands):
            yield f"{hand.act} of {hand.person} dies", end(world, hand)
        if len(world.hands) == HANDS and not on:
            yield "all wait", world._replace(broken="P16: each waits for the other")

    def _begun(self, world: World) -> Iterator[Move]:
        for who, person in enumerate(world.people):
            if who in world.line:
                seen = CAPACITY - world.seats_used
                yield f"{DRAW}: {who}", begin(world, Hand("admit", who, seen=seen))
            if is_free(world, "gate"):
                yield from self._begun_at_the_gate(world, who, person)
            for nth in range(len(person.invitations)):
                for fields in FIELDS:
                    yield from self._asked(world, who, nth, fields)

    def _begun_at_the_gate(self, world: World, who: int, person: Person) -> Iterator[Move]:
        over = OVER if "grace" in self.guards else LATE
        for nth, one in enumerate(person.invitations):
            if one.state == "open" and one.age >= over:
                yield f"{LAPSE}: {who}", begin(world, Hand("lapse", who, nth, locks=("gate",)))
        if person.invitations and person.renewals < RENEWALS:
            nth, one = len(person.invitations) - 1, person.invitations[-1]
            is_late = one.age >= LATE or "late" not in self.guards
            hand = Hand("renew", who, nth, seen=one.state == "open" and is_late, locks=("gate",))
            yield f"{RENEW}: {who}", begin(world, hand)

    def _asked(self, world: World, who: int, nth: int, fields: str) -> Iterator[Move]:
        """Somebody sends the form, which they opened in time."""
        one = world.people[who].invitations[nth]
        hand = Hand("complete", who, nth, fields)
        if one.state != "open":
            yield self._told(world, hand)
        elif one.age <= LATE:
            yield f"{COMPLETE}: {who} sends {fields}", begin(world, hand)

    def _steps(self, world: World, hand: Hand) -> Iterator[Move]:
        steps = {
            "admit": (self._budget, self._take, self._commit),
            "lapse": (self._lapse, self._commit),
            "renew": (self._renew, self._commit),
            "complete": (self._lock, self._register, self._commit),
        }
        yield from steps[hand.act][hand.at](world, hand)

    def _budget(self, world: World, hand: Hand) -> Iterator[Move]:
        """The gate's lock, and how many seats are free."""
        locks = ("gate",) if "gate-lock" in self.guards else ()
        if not is_free(world, *locks):
            return
        free = CAPACITY - world.seats_used if "room-under-lock" in self.guards else hand.seen
        done = go_on(world, hand, locks=locks) if free > 0 else end(world, hand)
        yield f"{BUDGET}: {free} seats are free", done

    def _take(self, world: World, hand: Hand) -> Iterator[Move]:
        """Who still waits is taken and invited."""
        person, row = world.people[hand.person], f"entry {hand.person}"
        if "waiting" in self.guards and person.state != "waiting":
            yield f"{TAKE}: {hand.person} in vain", noted(end(world, hand), hand.person)
        elif not is_free(world, row, "gate", but=hand):
            return
        elif "one-open" in self.guards and open_ones(person):
            yield f"{TAKE}: {hand.person} refused by the index", end(world, hand)
        else:
            locks = tuple(sorted({*hand.locks, row, "gate"}))
            yield f"{TAKE}: {hand.person}", go_on(world, hand, locks=locks, changes=("invite",))

    def _lapse(self, world: World, hand: Hand) -> Iterator[Move]:
        yield from self._released(world, hand, ())

    def _renew(self, world: World, hand: Hand) -> Iterator[Move]:
        """Invited anew if a seat is free, else back in line; first what is over is ended."""
        person = world.people[hand.person]
        free = CAPACITY - world.seats_used + hand.seen
        anew = "again" if free > 0 else "back"
        if hand.seen:
            yield from self._released(world, hand, (anew,))
        elif person.state == "lapsed" or "lapsed" not in self.guards:
            row = f"entry {hand.person}"
            if is_free(world, row):
                locks = tuple(sorted((*hand.locks, row)))
                done = REISSUE if anew == "again" else f"{RENEW}: back in line"
                yield done, go_on(world, hand, locks=locks, changes=(anew,))
        else:
            yield f"{RENEW}: refused", end(world, hand)

    def _released(self, world: World, hand: Hand, then: tuple[str, ...]) -> Iterator[Move]:
        """A guarded update ends the invitation, if it is open still."""
        person = world.people[hand.person]
        rows = f"invitation {hand.person}.{hand.nth}", f"entry {hand.person}"
        if not is_free(world, *rows):
            return
        if "release-open" in self.guards and person.invitations[hand.nth].state != "open":
            yield f"{RELEASE}: nothing", end(world, hand)
        else:
            locks = tuple(sorted((*hand.locks, *rows)))
            is_lapsed = person.state == "invited" or "lapsed" not in self.guards
            changes = ("release", *then) if is_lapsed else ("release",)
            yield END if then else RELEASE, go_on(world, hand, locks=locks, changes=changes)

    def _lock(self, world: World, hand: Hand) -> Iterator[Move]:
        """The invitation's lock, and what it is now."""
        row = f"invitation {hand.person}.{hand.nth}"
        locks = (row,) if "completion-lock" in self.guards else ()
        if not is_free(world, *locks):
            return
        if world.people[hand.person].invitations[hand.nth].state == "open":
            yield LOCK, go_on(world, hand, locks=locks)
        else:
            yield self._told(end(world, hand), hand)

    def _register(self, world: World, hand: Hand) -> Iterator[Move]:
        """The registration, and the invitation used by a guarded update."""
        person = world.people[hand.person]
        who = hand.person
        rows = f"entry {who}", f"invitation {who}.{hand.nth}", f"key {who}"
        if not is_free(world, *rows, but=hand):
            return
        is_known = "one-registration" in self.guards and person.registrations
        is_over = "use-open" in self.guards and person.invitations[hand.nth].state != "open"
        if is_known or is_over:
            yield self._answer(end(world, hand), hand, "an error")
        else:
            yield REGISTER, go_on(world, hand, locks=rows, changes=("register",))

    def _commit(self, world: World, hand: Hand) -> Iterator[Move]:
        yield f"{hand.act} of {hand.person} commits", committed(end(world, hand), hand)

    def _told(self, world: World, hand: Hand) -> Move:
        """What somebody is told whose invitation isn't open."""
        stored = dict(world.people[hand.person].registrations).get(hand.nth)
        if stored is None:
            return self._answer(world, hand, "closed")
        is_same = stored == hand.fields or "same-fields" not in self.guards
        if is_same and "stored-answer" in self.guards:
            return self._answer(world, hand, "stored")
        return self._answer(world, hand, "used already")

    def _answer(self, world: World, hand: Hand, answer: str) -> Move:
        wrong = answered_wrongly(world.people[hand.person], hand.nth, hand.fields, answer)
        told = f"{COMPLETE}: {hand.person} sent {hand.fields}: {answer}"
        return told, world._replace(broken=wrong)


def _alone(world: World) -> Iterator[Move]:
    """What is one step: the mail, the clock, and the line that follows."""
    for who, person in enumerate(world.people):
        if person.noted:
            line = set(world.line) - {who} | ({who} if person.state == "waiting" else set())
            told = with_person(world, who, person._replace(noted=False))
            yield f"{LINE}: {who}", told._replace(line=tuple(sorted(line)))
        for nth, one in enumerate(person.invitations):
            if one.state == "open":
                for name, later in _later(one):
                    yield f"{name}: {who}", with_person(world, who, replaced(person, nth, later))


def _later(one: Invitation) -> Iterator[tuple[str, Invitation]]:
    if one.mail == "queued":
        yield LEASE, one._replace(mail="sending")
    if one.mail == "sending":
        yield SENT, one._replace(mail="sent", age=max(one.age, IN_TIME))
        yield RECLAIM, one._replace(mail="queued")
    if UNMAILED < one.age < OVER:
        yield ("it is late" if one.age == IN_TIME else "it is over"), one._replace(age=one.age + 1)
