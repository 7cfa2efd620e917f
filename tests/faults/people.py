"""The people of a fault: they join, follow the links of their mails, and note each answer.

They try again as the pages do: after 503, 429, "in progress", no answer, a cut connection.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import httpx

from tests.faults.stand import Stand
from tests.servers import Received

LINK = re.compile(r"https?://\S+?/(confirm|invite)/([\w.~-]+)")
OPENED = re.compile(r'name="opened" value="([^"]*)"')
PACE = 0.4  # seconds between two tries
PATIENCE = 120.0  # seconds
ASK_WITHIN = 20.0  # seconds that an answer may take
AGAIN = (429, 503)  # and 409 where it is "in progress"
SUCCESS = {"join": (202,), "confirm": (200, 303), "complete": (201, 303)}


class Answer(NamedTuple):
    """A success that somebody was told: of what, to whom, where it sent them, and when."""

    what: str
    who: str
    location: str
    began: float
    ended: float


@dataclass
class Log:
    """What was asked and answered. `asking` are calls without an answer yet, by a number."""

    answers: list[Answer] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)  # answers that nobody should get
    again: int = 0  # tries that were told, or had, to try again
    told_to_wait: int = 0  # of those, which were answered by 503 with Retry-After
    asking: dict[int, tuple[str, str]] = field(default_factory=dict)

    def of(self, what: str) -> list[Answer]:
        """The successes of this kind, in the order of their answers."""
        return [answer for answer in self.answers if answer.what == what]


class People:
    """So many people, whose addresses begin with `name`."""

    def __init__(self, stand: Stand, name: str, size: int) -> None:
        self.stand, self.name = stand, name
        self.addresses = [f"{name}-{number}@example.com" for number in range(size)]
        self.log = Log()
        self._lock = threading.Lock()
        self._calls = 0
        self._read = len(stand.sink.messages)  # mails that were looked at
        self._tokens: dict[tuple[str, str], list[str]] = {}

    def join(self, who: Sequence[str] = ()) -> None:
        """These (or all) join, the first before the others, who come together."""
        first, *others = who or self.addresses
        self._join(first)
        self._all(self._join, others)

    def confirm(self, who: Iterable[str] | None = None) -> None:
        """Everybody who has the mail presses its button."""
        self._all(self._confirm, self.addresses if who is None else who)

    def complete(self, who: Iterable[str]) -> None:
        """These open the form and fill it in, every other by the API; each sends it twice."""
        self._all(self._complete, who)

    def tokens(self, kind: str, who: str) -> list[str]:
        """The tokens of the confirmations or invitations that reached this person."""
        with self._lock:
            arrived = self.stand.sink.messages[self._read :]
            self._read += len(arrived)
            for mail in arrived:
                if link := _link(mail):
                    key = (link[0], mail.envelope.rcpt_tos[0])
                    self._tokens.setdefault(key, []).append(link[1])
        return self._tokens.get((kind, who), [])

    def invited(self) -> list[str]:
        """Those whose invitation arrived."""
        return [who for who in self.addresses if self.tokens("invite", who)]

    def token(self, kind: str, who: str) -> str:
        """The token of this person's mail, which may have to be waited for."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if tokens := self.tokens(kind, who):
                return tokens[-1]
            time.sleep(0.05)
        raise TimeoutError(f"{who} waits for the mail of {kind}")

    def _all(self, call: Callable[[str], object], who: Iterable[str]) -> None:
        whom = list(who)
        if whom:
            with ThreadPoolExecutor(len(whom)) as pool:
                list(pool.map(call, whom))

    def _join(self, who: str) -> None:
        self._ask("join", who, "/join", data={"address": who})

    def _confirm(self, who: str) -> None:
        self._ask("confirm", who, f"/confirm/{self.token('confirm', who)}")

    def _complete(self, who: str) -> None:
        token = self.token("invite", who)
        number = self.addresses.index(who)
        form: dict[str, Any] = {
            "handle": who.partition("@")[0].replace("-", "_"),
            "display_name": f"Guest {number}",
            "password": f"a quiet walk by lake {number}",
            "terms": "yes",
        }
        if number % 2:
            form |= {"token": token, "terms": True}
            call = {"json": form, "headers": {"Idempotency-Key": f"key of {who}"}}
            path = "/api/v1/completions"
        else:
            page = self._patiently("open", who, "GET", f"/invite/{token}")
            opened = OPENED.search(page.text)
            call = {"data": form | {"opened": opened[1] if opened else ""}}
            path = f"/invite/{token}"
        for _time in ("once", "and by a second press"):
            self._ask("complete", who, path, **call)

    def _ask(self, what: str, who: str, path: str, **call: Any) -> None:
        """Ask until it is answered; a success is noted, and what is wrong."""
        began = time.monotonic()
        answer = self._patiently(what, who, "POST", path, **call)
        if answer.status_code in SUCCESS[what]:
            where = answer.headers.get("Location", "")
            self.log.answers.append(Answer(what, who, where, began, time.monotonic()))
        else:
            self.log.wrong.append(f"{what} of {who} was answered {answer.status_code}")

    def _patiently(
        self, what: str, who: str, method: str, path: str, **call: Any
    ) -> httpx.Response:
        deadline = time.monotonic() + PATIENCE
        with self._lock:
            self._calls += 1
            mine = self._calls
        self.log.asking[mine] = (what, who)
        try:
            while True:
                answer = self._once(method, path, **call)
                if answer is not None and not _says_again(answer):
                    return answer
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{what} of {who} is never answered")
                self.log.again += 1
                time.sleep(PACE)
        finally:
            del self.log.asking[mine]

    def _once(self, method: str, path: str, **call: Any) -> httpx.Response | None:
        try:
            url = f"{self.stand.url}{path}"
            answer = httpx.request(method, url, timeout=ASK_WITHIN, **call)
        except httpx.TransportError:
            return None
        if answer.status_code == 503:
            self.log.told_to_wait += 1
            if "Retry-After" not in answer.headers:
                self.log.wrong.append(f"503 of {method} without Retry-After")
        return answer


def _says_again(answer: httpx.Response) -> bool:
    return answer.status_code in AGAIN or (
        answer.status_code == 409 and "Retry-After" in answer.headers
    )


def _link(mail: Received) -> tuple[str, str] | None:
    """What the mail's first link is for, and its token; None if it asks for nothing."""
    body = mail.get_body(("plain",))
    found = LINK.search(body.get_content()) if body else None
    return (found[1], found[2]) if found else None
