"""A real DNS server of the tests, on a port of its own, which knows what a test tells it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

WAIT = 0.05  # seconds between two looks at whether the test is over
TTL = 60


@dataclass
class Zone:
    """Records by kind and name, as text. `is_silent`: it hears and never answers."""

    records: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    is_silent: bool = False
    fails_at: str = ""
    heard: int = 0
    address: str = ""

    def txt(self, name: str, *texts: str) -> None:
        """What stands at a name, each text in strings of at most 255 octets (RFC 1035)."""
        self.records["TXT", name] = [
            " ".join(f'"{text[at : at + 255]}"' for at in range(0, len(text), 255))
            for text in texts
        ]

    def answer(self, asked: bytes) -> bytes:
        """The answer to a question, as it goes over the wire."""
        question = dns.message.from_wire(asked)
        reply = dns.message.make_response(question)
        reply.flags |= dns.flags.RA
        [one] = question.question
        kind, name = dns.rdatatype.to_text(one.rdtype), one.name.to_text().rstrip(".").lower()
        if name == self.fails_at:
            reply.set_rcode(dns.rcode.SERVFAIL)
        elif found := self.records.get((kind, name)):
            reply.answer.append(
                dns.rrset.from_text_list(one.name, TTL, dns.rdataclass.IN, one.rdtype, found)
            )
        elif not any(at == name for _, at in self.records):
            reply.set_rcode(dns.rcode.NXDOMAIN)
        return reply.to_wire()


@contextlib.contextmanager
def nameserver() -> Iterator[Zone]:
    """A server that answers from its zone."""
    zone, over = Zone(), threading.Event()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.settimeout(WAIT)
        zone.address = f"127.0.0.1:{listening.getsockname()[1]}"

        def serve() -> None:
            while not over.is_set():
                with contextlib.suppress(TimeoutError):
                    asked, whom = listening.recvfrom(4096)
                    zone.heard += 1
                    if not zone.is_silent:
                        listening.sendto(zone.answer(asked), whom)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield zone
        finally:
            over.set()
            thread.join(5)
