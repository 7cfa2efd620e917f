"""The express lane: hot requests that say nothing unusual, answered before Flask's dispatch.

A thread for each who joins costs more than joining does. So the lane, an ASGI app, reads the
plain forms of `POST /join` and `GET /place/<token>` on its event loop and has many of them
done together by what Flask's views call too; and it keeps for a second what a view calls
public. All else goes on to Flask, in threads that joins and places can't take, and so does
every refusal that needs words of its own.
"""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any, TypeVar

from a2wsgi.wsgi import build_environ
from flask import Flask
from werkzeug import Response

from waitlist import log, patience
from waitlist.config import MAX_BODY, Settings
from waitlist.errors import Busy
from waitlist.together import Together
from waitlist.web import errors, hot
from waitlist.web.asked import Asked, plainly
from waitlist.web.said import Said, of_response
from waitlist.web.urgent import Urgent

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Key = tuple[str, str, bool]  # of a public answer: path, language, whether JSON
Answers = list[Said | Exception]
Item = TypeVar("Item")

ROUTES = {"": "/", "join": "/join", "line": "/line", "place": "/place/<token>"}
URGENT = ("api", "confirm", "invite")  # what people do who were told that they may
PATIENT = ["api", "v1", "signals"]  # what programs say of themselves, each second perhaps
JOINS_TOGETHER = 250  # of one transaction, which holds the write lock some 10 ms
JOINS_BESIDE = 100  # the same while people finish: who is next to do so waits for less
PLACES_TOGETHER = 500
MOST_WAITING = 2_000  # joins, or places, that wait for the next group; more are shed
KEPT = 1.0  # seconds


class Lane:
    """An ASGI app before a Flask app."""

    def __init__(self, app: Flask) -> None:
        self._app, self._wsgi = app, app.wsgi_app
        self._settings: Settings = app.config["SETTINGS"]
        self._for_flask = ThreadPoolExecutor(self._settings.web_threads, "flask")
        self._hot_in_flask = 0  # requests that Flask is working on
        self._urgent = Urgent(self._settings.instance / "urgent.lock")  # so are these
        for_groups = ThreadPoolExecutor(2, "together")
        self._joins = Together(self._in_context(hot.join), for_groups, most=JOINS_TOGETHER)
        self._places = Together(self._in_context(hot.place_of), for_groups, most=PLACES_TOGETHER)
        self._kept: dict[Key, tuple[float, Said]] = {}
        self._tally = log.Tally()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])
        begun = time.perf_counter()
        words = scope["path"].removeprefix("/").split("/")
        if words[0] in ROUTES and self._urgent.holds:
            await self._urgent.over()
        try:
            body = await _body(scope, receive)
        except ConnectionAbortedError:
            return
        said = await self._answer(scope, words, body) if words[0] in ROUTES else None
        if said is not None:
            self._tally.note(scope["method"], ROUTES[words[0]], said.status, begun)
        else:
            said = await self._by_flask(scope, words, body)
        await send({"type": "http.response.start", "status": said.status, "headers": said.headers})
        await send({"type": "http.response.body", "body": said.body})

    async def _answer(self, scope: Scope, words: list[str], body: bytes) -> Said | None:
        """What the lane says; None where Flask is to say it."""
        asked = plainly(scope, body, self._settings)
        if asked is None:
            return None
        match scope["method"], words:
            case "GET", ["" | "line"]:
                return self._kept_answer(_key(scope, asked))
            case "GET", ["place", token] if asked.wants_json:
                return await self._done(self._places, (token, asked), asked)
            case "POST", ["join"]:
                lately = self._urgent.was_lately
                self._joins.most = JOINS_BESIDE if lately else JOINS_TOGETHER
                return await self._done(self._joins, asked, asked)
        return None

    async def _done(self, together: Together[Item, Said], item: Item, asked: Asked) -> Said | None:
        if len(together) >= MOST_WAITING:
            return self._refusal(Busy(), asked)
        try:
            return await together.do(item)
        except errors.SAID_TO_ALL as error:
            return self._refusal(error, asked)
        except Exception:  # noqa: BLE001  Flask's view meets it again, and words and logs it
            return None

    def _kept_answer(self, key: Key) -> Said | None:
        """A public answer not a second old. Of those who find it older, one fetches another."""
        until, said = self._kept.get(key, (0.0, None))
        if said is not None and until < time.monotonic():
            self._kept[key] = (time.monotonic() + KEPT, said)
            return None
        return said

    async def _by_flask(self, scope: Scope, words: list[str], body: bytes) -> Said:
        is_hot = words[0] in ROUTES
        asked = plainly({**scope, "query_string": b""}, b"", self._settings)
        if is_hot and asked and self._hot_in_flask >= self._settings.hot_threads:
            return self._refusal(Busy(), asked)
        environ = build_environ(scope, io.BytesIO(body))  # type: ignore[arg-type]
        environ["wsgi.input_terminated"] = True  # type: ignore[typeddict-unknown-key]
        loop = asyncio.get_running_loop()
        self._hot_in_flask += is_hot
        try:
            with self._urgent.under_way() if is_urgent(words) else nullcontext():
                response = await loop.run_in_executor(self._for_flask, self._flask, environ)
        finally:
            self._hot_in_flask -= is_hot
        said = of_response(response)
        is_public = is_hot and scope["method"] == "GET" and response.cache_control.public
        if is_public and (plain := plainly(scope, body, self._settings)):
            self._kept[_key(scope, plain)] = (time.monotonic() + KEPT, said)
        return said

    def _flask(self, environ: Any) -> Response:
        return Response.from_app(self._wsgi, environ, buffered=True)

    def _refusal(self, error: Exception, asked: Asked) -> Said:
        with self._app.app_context():
            return errors.said(error, asked.language, asked.wants_json)

    def _in_context(self, work: Callable[[Sequence[Item]], Answers]) -> Callable[..., Answers]:
        def run(items: Sequence[Item]) -> Answers:
            self._urgent.let_pass()
            bounded = patience.at_most(answer=patience.PAGE_WAIT)
            with bounded, self._app.app_context():
                return work(items)

        return run


def is_urgent(words: list[str]) -> bool:
    """Whether those who only join give way to a request of this path."""
    return words[0] in URGENT and words[:3] != PATIENT


def _key(scope: Scope, asked: Asked) -> Key:
    return (scope["path"], asked.language, asked.wants_json)


async def _body(scope: Scope, receive: Receive) -> bytes:
    """The body, or of one that is too long a little more than may be sent.

    `ConnectionAbortedError` if whoever sends it hangs up in the midst of it.
    """
    if scope["method"] in ("GET", "HEAD"):
        return b""
    body, more = b"", True
    while more and len(body) <= MAX_BODY:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionAbortedError  # half an address would be somebody else's
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body
