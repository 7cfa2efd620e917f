"""A mail server that takes everything and keeps only the first mail: `python -m tests.bench.sink`.

Prints its port. The first mail's bytes go to the file named on the command line.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

GREETING = b"220 sink\r\n"
EXTENSIONS = b"250-sink\r\n250-PIPELINING\r\n250 8BITMIME\r\n"
ANSWERS = {b"EHLO": EXTENSIONS, b"DATA": b"354 go on\r\n", b"QUIT": b"221 bye\r\n"}
END = b"\r\n.\r\n"


class Sink(asyncio.Protocol):
    """One connection: commands are answered a line each, a mail at its end."""

    first: Path | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport, self.buffer, self.in_mail = transport, b"", False
        transport.write(GREETING)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while self._take_mail() if self.in_mail else self._take_line():
            pass

    def _take_line(self) -> bool:
        line, separator, rest = self.buffer.partition(b"\r\n")
        if not separator:
            return False
        self.buffer, verb = rest, line[:4].upper()
        self.in_mail = verb == b"DATA"
        self.transport.write(ANSWERS.get(verb, b"250 OK\r\n"))
        if verb == b"QUIT":
            self.transport.close()
        return True

    def _take_mail(self) -> bool:
        mail, separator, rest = self.buffer.partition(END)
        if not separator:
            return False
        self.buffer, self.in_mail = rest, False
        if Sink.first is not None:
            Sink.first.write_bytes(mail)
            Sink.first = None
        self.transport.write(b"250 taken\r\n")
        return True


async def serve() -> None:
    """Take mail until ended."""
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    Sink.first = Path(sys.argv[1])
    asyncio.run(serve())
