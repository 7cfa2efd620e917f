"""The routes to the mail servers, and what one worker learned of them and tells the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import cache

from waitlist import remembered
from waitlist.policy.routes import FIRST
from waitlist.route import Route, post_office

PROBE_EVERY = timedelta(seconds=15)  # between two tries of a mail server that is away
AWAY_KEY = "waitlist:mail:away"
ALONE_KEY = "waitlist:mail:alone"  # stands while the server is told of one mail at a time
ALONE_FOR = timedelta(hours=1)


@contextmanager
def routes() -> Iterator[Callable[[str], Route]]:
    """Gives the route of a name: opened when first asked for, and closed at the end."""
    with ExitStack() as opened:
        yield cache(lambda name: opened.enter_context(_route(name)))


@contextmanager
def _route(name: str) -> Iterator[Route]:
    """A route to a server, of which it is remembered if it may not be told ahead."""
    alone = _key(ALONE_KEY, name)
    tells = not remembered.stands(alone)
    with post_office(name, tells=tells) as route:
        try:
            yield route
        finally:
            if tells and not route.tells:
                remembered.remember(alone, ALONE_FOR)


def is_away(name: str) -> bool:
    """Whether that server failed within the last quarter of a minute."""
    return remembered.stands(_key(AWAY_KEY, name))


def note_away(name: str) -> None:
    """Let nobody try that server for a quarter of a minute."""
    remembered.remember(_key(AWAY_KEY, name), PROBE_EVERY)


def why_not(name: str) -> str:
    """Why that server would take no mail now, in a word; "" if it would. It is given none."""
    with post_office(name, tells=False) as route:
        return route.why_not()


def _key(key: str, route: str) -> str:
    return key if route == FIRST else f"{key}:{route}"
