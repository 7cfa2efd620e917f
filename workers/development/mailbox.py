"""The development mailbox: takes every mail over SMTP into the Maildir `INSTANCE/mail`.

A message is on the disk before its 250, so a mail that was accepted is never lost.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from mailbox import Maildir
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

from waitlist.config import load
from waitlist.errors import SettingInvalid
from workers.development.instance import HOST

LARGEST = 1024 * 1024  # bytes of one message


class MaildirSink:
    """What aiosmtpd asks about each message."""

    def __init__(self, folder: Path) -> None:
        self.maildir = Maildir(folder, create=True)

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        """Store the message (`Maildir.add` syncs the file) with its envelope noted on top."""
        self.maildir.add(delivered(envelope))
        return "250 stored"


def delivered(envelope: Envelope) -> bytes:
    """The message as a mail server stores it: the envelope first, lines end in LF."""
    lines = [f"Return-Path: <{envelope.mail_from or ''}>"]
    lines += [f"Delivered-To: {address}" for address in envelope.rcpt_tos]
    content = (envelope.original_content or b"").replace(b"\r\n", b"\n")
    return "".join(f"{line}\n" for line in lines).encode() + content


async def serve(folder: Path, port: int) -> None:
    """Take mail until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    sink, ended = MaildirSink(folder), asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, ended.set)
    server = await loop.create_server(
        lambda: SMTP(sink, hostname="localhost", data_size_limit=LARGEST, loop=loop), HOST, port
    )
    async with server:
        await ended.wait()


def main() -> int:
    """Serve the mailbox of the instance that the environment names."""
    logging.getLogger("mail.log").setLevel(logging.WARNING)
    try:
        settings = load(os.environ)
    except SettingInvalid as refusal:
        print(refusal, file=sys.stderr)
        return 1
    asyncio.run(serve(settings.instance / "mail", settings.mail_port))
    return 0


if __name__ == "__main__":
    sys.exit(main())
