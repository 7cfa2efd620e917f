"""Messages of Amazon SNS over HTTPS: whether they are signed, and of the one topic we listen to.

The string that is signed, and the two versions of the signature: "Verifying the signatures of
Amazon SNS messages" in its developer guide. Nothing is fetched but from SNS's own host in
the region of our topic: its certificate must be there, and of the address by which a topic is
confirmed only the token is used.
"""

from __future__ import annotations

import ipaddress
import json
import re
import socket
import threading
from base64 import b64decode
from collections.abc import Callable, Mapping
from urllib.parse import urlencode, urlsplit

import httpx
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm
from cryptography.x509 import load_pem_x509_certificate

from waitlist.errors import ReportUnproven, ReportUnsigned

NOTIFICATION, CONFIRMATION = "Notification", "SubscriptionConfirmation"
TO_SIGN = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
SIGNED = {
    NOTIFICATION: ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    CONFIRMATION: TO_SIGN,
    "UnsubscribeConfirmation": TO_SIGN,
}
HASHES: dict[str, HashAlgorithm] = {"1": SHA1(), "2": SHA256()}  # noqa: S303  SNS's own default
CERTIFICATE = re.compile(r"SimpleNotificationService-[A-Za-z0-9]{1,64}\.pem")
MOST_KEPT = 20
WAIT = 5.0  # seconds
MOST_READ = 64 * 1024  # bytes

Fetch = Callable[[str], bytes]


class Certificates:
    """The certificates that SNS signs with, each fetched once a process, one at a time."""

    def __init__(self, fetch: Fetch) -> None:
        self.fetch = fetch
        self._kept: dict[str, RSAPublicKey] = {}
        self._fetching = threading.Lock()

    def key(self, url: str) -> RSAPublicKey:
        """The key of the certificate there; `ReportUnproven` if it can't be had now."""
        if url in self._kept:
            return self._kept[url]
        if not self._fetching.acquire(blocking=False):  # or forgeries would take every thread
            raise ReportUnproven("another certificate is being fetched")
        try:
            found = load_pem_x509_certificate(self.fetch(url)).public_key()
        except ValueError as error:
            raise ReportUnproven("what came isn't a certificate") from error
        finally:
            self._fetching.release()
        if not isinstance(found, RSAPublicKey):
            raise ReportUnproven("what came isn't a certificate for RSA")
        if len(self._kept) >= MOST_KEPT:
            self._kept.clear()
        self._kept[url] = found
        return found


def verified(body: bytes, *, topic: str, certificates: Certificates) -> Mapping[str, str]:
    """The message, if SNS signed it for this topic; `ReportUnsigned`, `ReportUnproven`."""
    message = _message(body)
    fields = SIGNED.get(message.get("Type", ""))
    algorithm = HASHES.get(message.get("SignatureVersion", ""))
    if fields is None or algorithm is None or message.get("TopicArn") != topic:
        raise ReportUnsigned("it isn't of SNS, or of another topic")
    url = message.get("SigningCertURL", "")
    if not CERTIFICATE.fullmatch(url.removeprefix(f"https://{_host(topic)}/")):
        raise ReportUnsigned("its certificate is elsewhere")
    key = certificates.key(url)
    signed = "".join(f"{name}\n{message[name]}\n" for name in fields if name in message)
    try:
        signature = b64decode(message.get("Signature", ""), validate=True)
        key.verify(signature, signed.encode(), PKCS1v15(), algorithm)
    except (InvalidSignature, ValueError) as error:
        raise ReportUnsigned("the signature is wrong") from error
    return message


def confirm(message: Mapping[str, str], *, fetch: Fetch) -> None:
    """Tell SNS that the messages of this topic are wanted here."""
    topic = message["TopicArn"]
    asked = {"Action": "ConfirmSubscription", "TopicArn": topic, "Token": message.get("Token", "")}
    fetch(f"https://{_host(topic)}/?{urlencode(asked)}")


def fetch(url: str) -> bytes:
    """What is at this address, without redirects; `ReportUnproven` if nothing is."""
    try:
        _refuse_private(urlsplit(url).hostname or "")
        with (
            httpx.Client(timeout=WAIT, follow_redirects=False, trust_env=False) as client,
            client.stream("GET", url) as answer,
        ):
            if answer.status_code != httpx.codes.OK:
                raise ReportUnproven(f"SNS answered {answer.status_code}")
            found = b""
            for piece in answer.iter_bytes():
                found += piece
                if len(found) > MOST_READ:
                    raise ReportUnproven("SNS answered too much")
            return found
    except (OSError, httpx.HTTPError) as error:
        raise ReportUnproven(type(error).__name__) from error


def _message(body: bytes) -> dict[str, str]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ReportUnsigned("it isn't JSON") from error
    if not isinstance(found, dict):
        raise ReportUnsigned("it isn't an object")
    return {name: value for name, value in found.items() if isinstance(value, str)}


def _host(topic: str) -> str:
    """SNS's own host in the region of a topic."""
    _, partition, _, region, *_ = topic.split(":")
    return f"sns.{region}.amazonaws.com{'.cn' if partition == 'aws-cn' else ''}"


def _refuse_private(host: str) -> None:
    for *_, where in socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM):
        if not ipaddress.ip_address(where[0]).is_global:
            raise ReportUnproven("SNS's name leads to a private address")
