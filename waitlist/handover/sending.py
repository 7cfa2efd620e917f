"""One webhook, signed and sent, and what came of it (Standard Webhooks 1.0.0)."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import NamedTuple

import httpcore
from standardwebhooks import Webhook as Signer

from waitlist.errors import AddressRefused
from waitlist.extensions import settings
from waitlist.handover import reaching
from waitlist.handover.reaching import Careful, Resolve
from waitlist.policy import reach, retrying
from waitlist.policy.retrying import Verdict

AT_ONCE = 8  # webhooks that are on their way to one endpoint
MOST_READ = 4096  # bytes of an answer's body, so that the connection can be used again


class Letter(NamedTuple):
    """What is posted: its id, its bytes, and the secrets that sign it, the newest first."""

    webhook_id: str
    body: bytes
    secrets: Sequence[str]
    at: datetime


class Answer(NamedTuple):
    """What an attempt came to, in our words: an answer's own might name people."""

    verdict: Verdict
    status: int | None
    words: str
    milliseconds: int = 0
    retry_after: timedelta | None = None


class Connections:
    """To one endpoint, kept for as long as it is written to; any number of threads may post."""

    def __init__(self, url: str, *, resolve: Resolve = socket.getaddrinfo) -> None:
        self._url = url
        plain = url.lower().startswith("http:")
        allowed = reach.allowed(settings().webhook_allow)
        self._network = Careful(allowed, plain=plain, resolve=resolve)
        self._pool = httpcore.ConnectionPool(
            ssl_context=ssl.create_default_context(),  # what the system trusts, or SSL_CERT_FILE
            max_connections=AT_ONCE,
            keepalive_expiry=1.0,  # seconds; most servers keep one for longer
            network_backend=self._network,
        )

    def __enter__(self) -> Connections:
        return self

    def __exit__(self, *_error: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._pool.close()

    def post(self, letter: Letter) -> Answer:
        """Post it, once. Redirects aren't followed and no proxy of the environment is asked."""
        begun = time.monotonic()
        self._network.deadline.begin()
        answer = self._answer(letter)
        return answer._replace(milliseconds=round((time.monotonic() - begun) * 1000))

    def _answer(self, letter: Letter) -> Answer:
        timeouts = dict.fromkeys(("connect", "pool", "read", "write"), reaching.ANSWER_WITHIN)
        try:
            with self._pool.stream(
                "POST",
                self._url,
                headers=_headers(letter),
                content=letter.body,
                extensions={"timeout": timeouts},
            ) as response:
                found = _understood(response, letter.at)
                _read_on(response)
                return found
        except AddressRefused as error:
            return Answer(Verdict.AWAY, None, f"not sent: {error}")
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as error:
            return Answer(Verdict.AWAY, None, _said_of(error))


def _headers(letter: Letter) -> list[tuple[bytes, bytes]]:
    body = letter.body.decode()
    signatures = [
        Signer(secret).sign(letter.webhook_id, letter.at, body) for secret in letter.secrets
    ]
    said = {
        "content-type": "application/json",
        "user-agent": "waitlist-webhooks/1",
        "webhook-id": letter.webhook_id,
        "webhook-timestamp": str(int(letter.at.timestamp())),
        "webhook-signature": " ".join(signatures),
        "idempotency-key": letter.webhook_id,
    }
    return [(name.encode(), value.encode()) for name, value in said.items()]


def _understood(response: httpcore.Response, now: datetime) -> Answer:
    header = next(
        (value for name, value in response.headers if name.lower() == b"retry-after"), b""
    )
    wait = retrying.retry_after(header.decode("latin-1"), now=now)
    status = response.status
    return Answer(retrying.verdict(status), status, f"answered {status}", retry_after=wait)


def _read_on(response: httpcore.Response) -> None:
    """Read a short body to its end; of a long or slow one nothing is needed."""
    read = 0
    try:
        for some in response.iter_stream():
            read += len(some)
            if read > MOST_READ:
                break
    except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError):
        return


def _said_of(error: Exception) -> str:
    """Why there was no answer, for those who look at the log."""
    reason = error
    while (deeper := reason.__cause__ or reason.__context__) is not None and isinstance(
        deeper, Exception
    ):
        reason = deeper
    match error:
        case httpcore.ConnectTimeout():
            return f"no connection within {reaching.CONNECT_WITHIN:g} s"
        case httpcore.ConnectError() if isinstance(reason, ssl.SSLError):
            return f"no safe connection: {getattr(reason, 'verify_message', '') or reason.reason}"
        case httpcore.ConnectError() if isinstance(reason, socket.gaierror):
            return "no connection: its name can't be found"
        case httpcore.ConnectError():
            return f"no connection: {type(reason).__name__}"
        case httpcore.TimeoutException():
            return f"no answer within {reaching.ANSWER_WITHIN:g} s"
    return f"cut off before an answer: {type(reason).__name__}"
