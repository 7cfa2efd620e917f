"""The last step as a model: its states, and the promises that must hold in each.

A state is what SQL has committed, who stands in the Redis line, and what is under way: at most
`HANDS` transactions, each with the rows it has locked and the changes it will commit. Time is how
old an invitation is: unmailed, in time, late (within the half hour of grace), or over.
"""

from __future__ import annotations

from typing import NamedTuple

CAPACITY = 1
HANDS = 2
UNMAILED, IN_TIME, LATE, OVER = range(4)


class Invitation(NamedTuple):
    """An invitation, its mail, and how often its seat went back."""

    state: str = "open"
    age: int = UNMAILED
    mail: str = "queued"
    released: int = 0


class Person(NamedTuple):
    """An entry with its invitations and registrations (which invitation, which fields)."""

    state: str = "waiting"
    renewals: int = 0
    invitations: tuple[Invitation, ...] = ()
    registrations: tuple[tuple[int, str], ...] = ()
    noted: bool = False


class Hand(NamedTuple):
    """A transaction under way. `seen` is what it read before: free seats, or an age."""

    act: str
    person: int
    nth: int = 0
    fields: str = ""
    at: int = 0
    seen: int = 0
    locks: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()


class World(NamedTuple):
    """A state. `broken` is the promise that an answer broke."""

    seats_used: int = 0
    people: tuple[Person, ...] = (Person(), Person())
    line: tuple[int, ...] = (0, 1)
    hands: tuple[Hand, ...] = ()
    broken: str = ""


def broken(world: World) -> str:
    """The promise that doesn't hold in this state; none if all do."""
    if why := world.broken or next(filter(None, map(_broken_of, world.people)), ""):
        return why
    held = sum(one.state == "open" for person in world.people for one in person.invitations)
    taken = sum(len(person.registrations) for person in world.people)
    if held + taken > CAPACITY:
        return "P3: a seat is promised twice"
    return "P4: the counter differs" if world.seats_used != held + taken else ""


def _broken_of(person: Person) -> str:
    if sum(one.state == "open" for one in person.invitations) > 1:
        return "P7: two open invitations"
    if len(person.invitations) > 1 + person.renewals:
        return "P7: admitted twice for one place"
    if len(person.registrations) > 1:
        return "P10: registered twice"
    if person.registrations and person.state != "registered":
        return "P10: a registration is undone"
    used = {nth for nth, _ in person.registrations}
    if any(one.released > (nth not in used) for nth, one in enumerate(person.invitations)):
        return "P12: a seat is released, and released again or used"
    return ""


def answered_wrongly(person: Person, nth: int, fields: str, answer: str) -> str:
    """The promise that this answer to these fields breaks."""
    stored = dict(person.registrations).get(nth)
    if stored is not None and (stored == fields) != (answer == "stored"):
        return f"P10: {answer} is answered to {fields}, and {stored} is stored"
    age, renewed = person.invitations[nth].age, person.renewals > nth
    if answer == "closed" and (age == IN_TIME or (age == LATE and not renewed)):
        return "P11: it is closed to who opened the form in time"
    return ""
