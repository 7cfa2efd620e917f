"""The ways to break a stand. Each begins, can tell whether it fired, and ends.

`end` only takes away what breaks, and starts again what is gone, as a supervisor would; all else
the service must do by itself.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from redis.exceptions import OutOfMemoryError

from tests import servers
from tests.faults.parts import GO_ON, STOP, Part, environment, wait_until
from tests.faults.proxy import Trouble
from tests.faults.stand import COMMANDS, PARTS, Stand, lose_everything_of_redis
from tests.products import Answered
from waitlist.handover import endpoints, replaying, showing

GONE = 410  # what the product says that wants no webhook any more
GONE_WITHIN = 20.0  # seconds


class Break(Protocol):
    """One way to break a stand."""

    @property
    def place(self) -> str | None:
        """The failpoint, if there is one."""
        ...

    def begin(self, stand: Stand) -> None:
        """Break it, or see that it will be broken."""
        ...

    def fired(self, stand: Stand) -> bool:
        """Whether it is broken, or was."""
        ...

    def end(self, stand: Stand) -> None:
        """Take away what breaks it."""
        ...


@dataclass(frozen=True)
class At:
    """A part of the service acts at a failpoint: kill, stop, sleep or raise."""

    place: str
    part: str
    action: str = "kill"
    nth: int = 1

    def begin(self, stand: Stand) -> None:
        stand.part(self.part).fired.clear()
        stand.arm(self.part, f"{self.place}:{self.action}@{self.nth}")

    def fired(self, stand: Stand) -> bool:
        return f"failpoint {self.place}: {self.action}" in stand.part(self.part).fired

    def end(self, stand: Stand) -> None:
        stand.disarm(self.part)
        if self.action == "stop":
            for part in stand.alike(self.part):
                part.tell_all(GO_ON)
        stand.mend()


@dataclass(frozen=True)
class Killed:
    """`kill -9` of a part, all of it at once; with `data=False` what Redis kept is lost too."""

    part: str
    data: bool = True
    place: str | None = None

    def begin(self, stand: Stand) -> None:
        stand.part(self.part).kill()
        if not self.data:
            lose_everything_of_redis(stand)

    def fired(self, stand: Stand) -> bool:
        return not stand.part(self.part).is_alive()

    def end(self, stand: Stand) -> None:
        stand.mend()


@dataclass(frozen=True)
class AllKilled:
    """`kill -9` of every process, servers too, as when the machine's power fails."""

    place: str | None = None

    def begin(self, stand: Stand) -> None:
        for part in reversed(list(stand.parts.values())):
            part.kill()

    def fired(self, stand: Stand) -> bool:
        return not any(part.is_alive() for part in stand.parts.values())

    def end(self, stand: Stand) -> None:
        stand.mend()


@dataclass(frozen=True)
class ParentKilled:
    """`kill -9` of a worker's parent, while its job goes on."""

    part: str
    place: str | None = None

    def begin(self, stand: Stand) -> None:
        stand.part(self.part).kill_parent()

    def fired(self, stand: Stand) -> bool:
        return not stand.part(self.part).is_alive()

    def end(self, stand: Stand) -> None:
        stand.mend()


@dataclass(frozen=True)
class Stopped:
    """SIGSTOP of a part, all of it, and SIGCONT in the end."""

    part: str
    place: str | None = None

    def begin(self, stand: Stand) -> None:
        stand.part(self.part).tell_all(STOP)

    def fired(self, stand: Stand) -> bool:
        return all(map(is_stopped, stand.part(self.part).pids()))

    def end(self, stand: Stand) -> None:
        stand.part(self.part).tell_all(GO_ON)


@dataclass(frozen=True)
class While:
    """A part waits at a failpoint while something else breaks, and goes on before that is mended.

    `stays`: it stays where it is until that is mended.
    """

    at: At
    breaks: Break
    stays: bool = False

    @property
    def place(self) -> str:
        """Where the part waits."""
        return self.at.place

    def begin(self, stand: Stand) -> None:
        self.at.begin(stand)

    def fired(self, stand: Stand) -> bool:
        return self.at.fired(stand)

    def end(self, stand: Stand) -> None:
        self.breaks.begin(stand)
        if not self.breaks.fired(stand):
            raise RuntimeError(f"{self.breaks} did nothing")
        if not self.stays and stand.part(self.at.part).is_alive():
            stand.part(self.at.part).tell_all(GO_ON)
        self.breaks.end(stand)
        if stand.part(self.at.part).is_alive():
            stand.part(self.at.part).tell_all(GO_ON)


@dataclass(frozen=True)
class Passing:
    """What passes between a part and a server (redis, sql, mail) is spoiled by the proxy."""

    part: str
    to: str
    trouble: Trouble
    place: str | None = None

    def begin(self, stand: Stand) -> None:
        proxy = stand.proxy(self.part, self.to)
        stand.around.spoil(proxy, self.trouble)
        wait_until(lambda: proxy.trouble is self.trouble, within=GONE_WITHIN, pace=0.005)

    def fired(self, stand: Stand) -> bool:
        return stand.proxy(self.part, self.to).hits > 0

    def end(self, stand: Stand) -> None:
        stand.around.spoil(stand.proxy(self.part, self.to), None)


@dataclass(frozen=True)
class MailServer:
    """The mail server answers so: to so many mails, or to every recipient while it lasts."""

    answer: str
    mails: int = 0  # 0: to every recipient
    place: str | None = None

    def begin(self, stand: Stand) -> None:
        if self.mails:
            stand.sink.answers.extend([self.answer] * self.mails)
        else:
            stand.sink.rcpt_answer = self.answer
            stand.sink.refused = 0

    def fired(self, stand: Stand) -> bool:
        return not stand.sink.answers if self.mails else stand.sink.refused > 0

    def end(self, stand: Stand) -> None:
        stand.sink.answers.clear()
        stand.sink.rcpt_answer = None


@dataclass(frozen=True)
class ProductSays:
    """The product answers so: to so many webhooks, or to all while it lasts.

    What it doesn't want any more an operator sends again, once it does.
    """

    status: int
    times: int = 0  # 0: to all
    place: str | None = None

    def begin(self, stand: Stand) -> None:
        stand.product.answers.clear()
        if self.times:
            stand.product.answers.extend([Answered(self.status)] * self.times)
        else:
            stand.product.answer = Answered(self.status)
        stand.told_before = len(stand.product.told)

    def fired(self, stand: Stand) -> bool:
        return len(stand.product.told) >= stand.told_before + max(1, self.times)

    def end(self, stand: Stand) -> None:
        stand.product.answers.clear()
        stand.product.answer = Answered()
        if self.status == GONE:
            with stand.app.app_context():
                for endpoint in showing.every():
                    endpoints.enable(endpoint["id"], who=stand.operator())
                replaying.that_need_attention(endpoint_id=None, who=stand.operator())


@dataclass(frozen=True)
class Locked:
    """Somebody else holds the locks that every join needs."""

    place: str | None = None

    def begin(self, stand: Stand) -> None:
        holding = servers.locked(stand.database_url)
        holding.__enter__()
        stand.held.append(holding)

    def fired(self, stand: Stand) -> bool:
        return bool(stand.held)

    def end(self, stand: Stand) -> None:
        while stand.held:
            stand.held.pop().__exit__(None, None, None)


@dataclass(frozen=True)
class Flushed:
    """Redis forgets everything (FLUSHALL)."""

    place: str | None = None

    def begin(self, stand: Stand) -> None:
        stand.redis.flushall()

    def fired(self, stand: Stand) -> bool:
        return "cmdstat_flushall" in stand.redis.info("commandstats")

    def end(self, stand: Stand) -> None:
        pass


@dataclass(frozen=True)
class MemoryFull:
    """Redis has no memory left, and evicts nothing: it refuses every write."""

    place: str | None = None

    def begin(self, stand: Stand) -> None:
        stand.redis.config_set("maxmemory-policy", "noeviction")
        stand.redis.config_set("maxmemory", 1)

    def fired(self, stand: Stand) -> bool:
        try:
            stand.redis.set("waitlist:harness", "1")
        except OutOfMemoryError:
            return True
        return False

    def end(self, stand: Stand) -> None:
        stand.redis.config_set("maxmemory", 0)


@dataclass(frozen=True)
class DiskFull:
    """No file that these parts write may grow: each write fails, as on a full disk.

    A limit on the size of files (setrlimit(2)), which needs neither root nor a disk of its own.
    One of them `says` so.
    """

    parts: tuple[str, ...]
    says: str
    place: str | None = None

    def begin(self, stand: Stand) -> None:
        for part in map(stand.part, self.parts):
            part.said.clear()
            part.wanted = False  # what dies of it can't start before there is room again
        self._limit(stand, "0")

    def fired(self, stand: Stand) -> bool:
        parts = map(stand.part, self.parts)
        return any(self.says in line for part in parts for line in list(part.said))

    def end(self, stand: Stand) -> None:
        self._limit(stand, "unlimited")
        stand.mend()

    def _limit(self, stand: Stand, most: str) -> None:
        """Of each process, as whoever it belongs to."""
        for part in map(stand.part, self.parts):
            for pid in part.pids():
                limit = ["prlimit", f"--pid={pid}", f"--fsize={most}:"]
                subprocess.run(limit, user=part.user, stderr=subprocess.DEVNULL, check=False)


@dataclass(frozen=True)
class Deployed:
    """Each part is asked to end (SIGTERM) and started again, one after the other."""

    parts: tuple[str, ...] = PARTS
    place: str | None = None

    def begin(self, stand: Stand) -> None:
        for name in self.parts:
            stand.part(name).end()
            stand.part(name).start()

    def fired(self, stand: Stand) -> bool:
        return all(stand.part(name).is_alive() for name in self.parts)

    def end(self, stand: Stand) -> None:
        stand.mend()


@dataclass(frozen=True)
class Flooded:
    """Joins come from so many connections at once, each as fast as it is answered."""

    connections: int
    place: str | None = None

    def begin(self, stand: Stand) -> None:
        command = [sys.executable, "-m", "tests.faults.flood", str(stand.port)]
        part = Part("flood", [*command, str(self.connections)], environment({}))
        stand.parts["flood"] = part
        part.start()

    def fired(self, stand: Stand) -> bool:
        return any("answered" in line for line in stand.part("flood").said)

    def end(self, stand: Stand) -> None:
        stand.remove("flood")


@dataclass(frozen=True)
class ClockSteps:
    """The clock of these parts' machine steps by so many hours, and back again in the end."""

    hours: float
    parts: tuple[str, ...] = ("admission", "mail", "handover", "clock")
    place: str | None = None

    def begin(self, stand: Stand) -> None:
        for name in self.parts:
            part = stand.part(name)
            part.kill()
            part.command = shifted(name, self.hours)
            part.start()

    def fired(self, stand: Stand) -> bool:
        return all(stand.part(name).is_alive() for name in self.parts)

    def end(self, stand: Stand) -> None:
        for name in self.parts:
            part = stand.part(name)
            part.kill()
            part.command = COMMANDS[name]
            part.start()


def shifted(name: str, hours: float) -> list[str]:
    """The command of a part whose clock is so many hours off."""
    module, *words = COMMANDS[name][-1].removeprefix("exec python -m ").split()
    return [sys.executable, "-m", "tests.faults.shifted", str(hours), module, *words]


def is_stopped(pid: int) -> bool:
    """Whether this process stands still (proc_pid_stat(5))."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "Tt"
    except FileNotFoundError:
        return True  # it ended
