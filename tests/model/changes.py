"""What a transaction of the model locks, and what its commit changes."""

from __future__ import annotations

from tests.model.last_step import Hand, Invitation, Person, World


def committed(world: World, hand: Hand) -> World:
    """The state after this transaction's commit."""
    for change in hand.changes:
        person = world.people[hand.person]
        match change:
            case "invite":
                changed = _invite(person)._replace(noted=True)
            case "again":
                changed = _invite(person)._replace(renewals=person.renewals + 1)
            case "back":
                changed = person._replace(state="waiting", renewals=person.renewals + 1, noted=True)
            case "release":
                changed = _release(person, hand.nth)
            case _:
                changed = _register(person, hand.nth, hand.fields)
        seats = {"invite": 1, "again": 1, "release": -1}.get(change, 0)
        world = with_person(world, hand.person, changed)._replace(
            seats_used=world.seats_used + seats
        )
    return world


def _invite(person: Person) -> Person:
    return person._replace(state="invited", invitations=(*person.invitations, Invitation()))


def _release(person: Person, nth: int) -> Person:
    one = person.invitations[nth]
    mail = "cancelled" if one.mail == "queued" else one.mail
    ended = one._replace(state="expired", mail=mail, released=one.released + 1)
    state = "lapsed" if person.state == "invited" else person.state
    return replaced(person, nth, ended)._replace(state=state, noted=True)


def _register(person: Person, nth: int, fields: str) -> Person:
    used = replaced(person, nth, person.invitations[nth]._replace(state="used"))
    state = "registered" if person.state == "invited" else person.state
    return used._replace(state=state, registrations=(*person.registrations, (nth, fields)))


def replaced(person: Person, nth: int, one: Invitation) -> Person:
    """The person with this invitation in the place of the nth."""
    invitations = (*person.invitations[:nth], one, *person.invitations[nth + 1 :])
    return person._replace(invitations=invitations)


def open_ones(person: Person) -> int:
    """How many of their invitations are open."""
    return sum(one.state == "open" for one in person.invitations)


def noted(world: World, who: int) -> World:
    """The state with a note of this person, for the line."""
    return with_person(world, who, world.people[who]._replace(noted=True))


def with_person(world: World, who: int, person: Person) -> World:
    """The state with this person as they are now."""
    first, second = world.people
    return world._replace(people=(first, person) if who else (person, second))


def is_free(world: World, *rows: str, but: Hand | None = None) -> bool:
    """Whether nobody else has locked one of these rows."""
    others = list(world.hands)
    if but is not None:
        others.remove(but)
    return not any(row in other.locks for other in others for row in rows)


def begin(world: World, hand: Hand) -> World:
    """The state with this transaction under way."""
    return world._replace(hands=tuple(sorted((*world.hands, hand))))


def end(world: World, hand: Hand) -> World:
    """The state without it, and without its locks; nothing of it is committed."""
    hands = list(world.hands)
    hands.remove(hand)
    return world._replace(hands=tuple(hands))


def go_on(
    world: World, hand: Hand, *, locks: tuple[str, ...], changes: tuple[str, ...] = ()
) -> World:
    """The state with it a step further."""
    moved = hand._replace(at=hand.at + 1, locks=locks, changes=changes)
    return begin(end(world, hand), moved)
