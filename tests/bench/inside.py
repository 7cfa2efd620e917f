"""The only calls into the service, each in a fresh Python: `python -m tests.bench.inside WHAT …`.

Everything else is measured from outside. Prints one JSON object; `seconds` are those of the
call alone, without the start.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import select

from waitlist import create_app, delivery, links, projection
from waitlist.admission import waves
from waitlist.extensions import db, reading
from waitlist.models import Cohort, Entry, Invitation, Message
from waitlist.signup import people_file
from waitlist.tokens import Purpose

Words = list[str]


def ready(_words: Words) -> int:
    """Build the line as the clock's first tick does."""
    projection.require_valid()
    return 0


def rebuild(_words: Words) -> int:
    """Fill the line anew from SQL; how many people are in it."""
    with reading():
        cohort_id = db.session.scalars(select(Cohort.id)).first()
    assert cohort_id is not None
    return projection.rebuild(cohort_id)


def admit(words: Words) -> int:
    """A wave of so many people; how many came in."""
    outcome = waves.admit(int(words[0]), cohort=None, actor="bench", now=datetime.now(UTC))
    return outcome.admitted


def deliver(words: Words) -> int:
    """Send what is due for so many seconds."""
    until = datetime.now(UTC) + timedelta(seconds=float(words[0]))
    delivery.deliver(lambda: datetime.now(UTC), until=until)
    return 0


def read(words: Words) -> int:
    """Read and validate a file of people; how many rows."""
    return sum(1 for _ in people_file.rows(Path(words[0])))


def places(words: Words) -> int:
    """Write the paths of so many places, spread over the whole line."""
    wanted, path = int(words[0]), Path(words[1])
    with reading():
        last = db.session.scalar(select(Entry.id).order_by(Entry.id.desc()).limit(1)) or 1
        spread = Entry.id.in_(range(1, last + 1, max(1, last // wanted)))
        entries = db.session.scalars(select(Entry).where(spread, Entry.state == "waiting"))
        return _write(path, (links.to_entry(Purpose.PLACE, entry) for entry in entries))


def invitations(words: Words) -> int:
    """Write the paths of so many open invitations, the newest."""
    newest = select(Invitation).where(Invitation.state == "open").order_by(Invitation.id.desc())
    with reading():
        found = db.session.scalars(newest.limit(int(words[0])))
        return _write(Path(words[1]), (links.to_invitation(one) for one in found))


def leavers(words: Words) -> int:
    """Write the paths by which so many people may leave, the newest."""
    newest = select(Message).where(Message.kind == "act").order_by(Message.id.desc())
    with reading():
        found = db.session.scalars(newest.limit(int(words[0])))
        return _write(Path(words[1]), (links.to_act(one) for one in found))


def _write(path: Path, urls: Iterable[str]) -> int:
    paths = ["/" + url.split("/", 3)[3] for url in urls]
    path.write_text("\n".join(paths))
    return len(paths)


CALLS: dict[str, Callable[[Words], int]] = {
    call.__name__: call
    for call in (ready, rebuild, admit, deliver, read, places, invitations, leavers)
}


def main() -> None:
    """Make the call that the command line names."""
    call, words = CALLS[sys.argv[1]], sys.argv[2:]
    with create_app().app_context():
        began = time.perf_counter()
        found = call(words)
        print(json.dumps({"seconds": time.perf_counter() - began, "found": found}))


if __name__ == "__main__":
    main()
