"""Whether the links in our mails open: PUBLIC_URL, as somebody from outside sees it."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx

from waitlist.mailcheck import names
from waitlist.mailcheck.findings import FAIL, PASS, WARN, Finding

PATIENCE = 5.0  # seconds


def check(public_url: str, author: str) -> Iterator[Finding]:
    """Each finding about the address in every link; `author` is the domain of the mails' From."""
    host = urlsplit(public_url).hostname or ""
    here = names.is_here(host)
    if here:
        yield Finding("links", WARN, f"{public_url} opens on this machine only: set PUBLIC_URL")
    elif not public_url.startswith("https:"):
        yield Finding(
            "links", FAIL, f"{public_url} isn't https: set PUBLIC_URL to an https address"
        )
    else:
        yield Finding("links", *_of_one(host, author))
    if not names.addresses(host):
        yield Finding("service", FAIL, f"{host} has no address: give it one in the DNS")
        return
    yield Finding("service", *_service(public_url))


def _of_one(host: str, author: str) -> tuple[str, str]:
    """Whether the links' host and the From look like one sender's."""
    if host == author or host.endswith(f".{author}") or author.endswith(f".{host}"):
        return PASS, f"they lead to {host}, of one domain with From"
    if host.split(".")[-2:] == author.split(".")[-2:]:
        return PASS, f"they lead to {host}, beside From's {author}"
    return WARN, (
        f"they lead to {host}, but mail is from {author}, which filters and people mistrust: "
        "let PUBLIC_URL and MAIL_FROM be of one domain"
    )


def _service(public_url: str) -> tuple[str, str]:
    asked = f"{public_url}/healthz"
    try:
        answer = httpx.get(
            asked, timeout=PATIENCE, verify=ssl.create_default_context(), trust_env=False
        )
    except httpx.HTTPError as error:
        return (
            FAIL,
            f"{asked} doesn't answer ({_words(error)}): check the proxy and its certificate",
        )
    if answer.status_code != httpx.codes.OK or not _is_ours(answer):
        return FAIL, (
            f"{asked} answers {answer.status_code}, and not as this service does: let the proxy "
            "hand that address on to it"
        )
    return PASS, f"{public_url} is this service"


def _is_ours(answer: httpx.Response) -> bool:
    try:
        return bool(answer.json() == {"status": "ok"})
    except ValueError:
        return False


def _words(error: httpx.HTTPError) -> str:
    return str(error).partition("(_ssl")[0].strip() or type(error).__name__
