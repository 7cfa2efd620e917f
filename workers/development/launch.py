"""A launch in small, played on the real parts with real accidents, and what came of it.

`play` starts the service in an instance folder of its own, brings the people in, lets
them finish from their mails, kills parts in the midst of it, and counts at the end.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import httpx

from waitlist.config import ROOT
from workers.development.service import service

SETTLE_WITHIN = 240.0  # seconds for everything to be done after the last accident
PACE = 0.25  # seconds between two looks
INVITE_LINK = re.compile(r"http://\S+?(/invite/[\w.~-]+)")
OPENED = re.compile(r'name="opened" value="([^"]*)"')
PATIENCE = 30.0  # seconds that an invitee or a newcomer goes on trying


@dataclass(frozen=True)
class Plan:
    """What is played: how many seats, how many beta people, what pace, which accidents.

    `accidents` names parts to be killed, each when so many mails have arrived.
    """

    people_file: Path
    beta: int
    capacity: int
    rate: int
    accidents: Mapping[int, str]
    newcomers: int = 20


@dataclass
class Report:
    """What came of it. `trouble` is empty if every promise was kept."""

    imported: dict[str, int] = field(default_factory=dict)
    again: dict[str, int] = field(default_factory=dict)
    gate: dict[str, Any] = field(default_factory=dict)
    killed: list[str] = field(default_factory=list)
    mails: int = 0
    message_ids: int = 0
    addresses: int = 0
    registered: int = 0
    newcomers: int = 0
    newcomers_found: int = 0
    seconds: float = 0.0
    trouble: list[str] = field(default_factory=list)


class Invitation(dict[str, str]):
    """One mail of the mailbox: its Message-ID, whom it went to, the path of its link."""


def play(plan: Plan, folder: Path, port: int, tell: Callable[[str, Report], None]) -> Report:
    """Play the whole launch in the instance `folder`; `tell` hears each step and the state."""
    report, began = Report(), time.monotonic()
    # nobody here takes a wave back, so nobody waits a minute for its mails
    environ = {**os.environ, "INSTANCE": str(folder), "PORT": str(port), "WAVE_UNDO": "0"}
    with service(environ, port):
        stage = Stage(plan, folder, port, environ, report, tell)
        stage.prepare()
        stage.admit_and_finish()
        stage.count()
    report.seconds = time.monotonic() - began
    return report


def read_mailbox(folder: Path, seen: set[str]) -> list[Invitation]:
    """The invitations that arrived since `seen`, which grows by their names."""
    arrived = folder / "mail" / "new"
    names = sorted({path.name for path in arrived.glob("*")} - seen)
    found = []
    for name in names:
        seen.add(name)
        content = (arrived / name).read_bytes()
        mail = message_from_bytes(content, policy=policy.default)
        body = mail.get_body(("plain",))
        link = INVITE_LINK.search(body.get_content()) if body else None
        if link and mail["Feedback-ID"].startswith("invitation"):
            found.append(Invitation(id=mail["Message-ID"], to=mail["To"], path=link[1], file=name))
    return found


class Stage:
    """One running launch: the service at `port`, and what was seen of it so far."""

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        port: int,
        environ: Mapping[str, str],
        report: Report,
        tell: Callable[[str, Report], None],
    ) -> None:
        self.plan, self.folder, self.environ = plan, folder, environ
        self.report, self.tell = report, tell
        self.base = f"http://127.0.0.1:{port}"
        self.seen: set[str] = set()
        self.invitations: list[Invitation] = []
        self.answered: list[str] = []

    def flask(self, *words: str) -> Any:
        """Run a command as an operator does, and give what it prints as JSON."""
        self.tell(f"$ flask {' '.join(words)}", self.report)
        command = [sys.executable, "-m", "flask", "--app", "wsgi", *words, "--json"]
        done = subprocess.run(
            command, cwd=ROOT, env=dict(self.environ), capture_output=True, text=True, check=False
        )
        if done.returncode and not done.stdout:
            raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()[-2000:]}")
        return json.loads(done.stdout)

    def prepare(self) -> None:
        """Cohorts, the pre-order file (twice), the beta people, the gate."""
        plan = self.plan
        self.flask("cohort", "add", "preorder")
        self.flask("cohort", "add", "beta")
        self.report.imported = self._import()
        self.report.again = self._import()
        first = ("--first", str(plan.beta), "--from", "preorder", "--to", "beta")
        self.flask("person", "move", *first)
        self.flask("gate", "set", "--capacity", str(plan.capacity), "--rate", str(plan.rate))
        self.flask("gate", "resume")

    def _import(self) -> dict[str, int]:
        summary = self.flask("import", str(self.plan.people_file), "--cohort", "preorder")
        return {key: summary[key] for key in ("rows", "accepted", "duplicate", "rejected")}

    def admit_and_finish(self) -> None:
        """The beta wave, then the opening; meanwhile people join and finish, and parts die."""
        with ThreadPoolExecutor(max_workers=4) as people:
            newcomers = people.submit(self._join_all)
            self.flask("wave", "admit", str(self.plan.beta), "--cohort", "beta")
            self.flask("cohort", "set", "preorder", "--opens", "now")
            accidents = dict(self.plan.accidents)
            deadline = time.monotonic() + SETTLE_WITHIN
            while not self._is_done(accidents):
                if time.monotonic() > deadline:
                    self.report.trouble.append("not done in time")
                    break
                for invitation in self._arrived():
                    people.submit(self._finish, invitation)
                self._next_accident(accidents)
                self.tell("", self.report)
                time.sleep(PACE)
            newcomers.result()

    def _arrived(self) -> list[Invitation]:
        known = {invitation["path"] for invitation in self.invitations}
        arrived = read_mailbox(self.folder, self.seen)
        self.invitations += arrived
        self.report.mails = len(self.invitations)
        return [invitation for invitation in arrived if invitation["path"] not in known]

    def _is_done(self, accidents: Mapping[int, str]) -> bool:
        finished = self.report.registered >= self.plan.capacity
        return finished and not accidents and self.report.newcomers >= self.plan.newcomers

    def _next_accident(self, accidents: dict[int, str]) -> None:
        due = [after for after in accidents if len(self.invitations) >= after]
        for after in due:
            name = accidents.pop(after)
            pids = json.loads((self.folder / "pids.json").read_text())
            if name in pids:
                os.kill(pids[name], signal.SIGKILL)
                self.report.killed.append(name)
                self.tell(f"kill -9 {name}", self.report)

    def _finish(self, invitation: Invitation) -> None:
        """Open the link, fill in the form, send it; and again if the service is just away."""
        try:
            page = self._patiently("GET", invitation["path"])
            opened = OPENED.search(page.text)
            number = self.invitations.index(invitation) + 1
            form = {
                "handle": f"guest_{number}",
                "display_name": f"Guest {number}",
                "password": f"a quiet walk by lake {number}",
                "terms": "yes",
                "opened": opened[1] if opened else "",
            }
            answer = self._patiently("POST", invitation["path"], data=form)
            if answer.status_code != 303:
                raise RuntimeError(f"the last step answered {answer.status_code}")
            self.report.registered += 1
        except (httpx.HTTPError, RuntimeError) as error:
            self.report.trouble.append(f"{invitation['to']}: {error}")

    def _join_all(self) -> None:
        """Newcomers join all the while; whoever was answered must be found at the end."""
        for number in range(self.plan.newcomers):
            address = f"newcomer{number}@example.com"
            answer = self._patiently("POST", "/join", data={"address": address})
            if answer.status_code == 202:
                self.answered.append(address)
            self.report.newcomers += 1
            time.sleep(PACE)

    def _patiently(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Ask until answered, as a person or the page itself does."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                answer = httpx.request(method, f"{self.base}{path}", timeout=15, **more)
                if answer.status_code != 503 or time.monotonic() > deadline:
                    return answer
            except httpx.TransportError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(PACE)

    def count(self) -> None:
        """What must hold at the end, by the records and by the mailbox."""
        report, plan = self.report, self.plan
        report.gate = self.flask("gate", "show")
        ids = Counter(invitation["id"] for invitation in self.invitations)
        report.message_ids = len(ids)
        report.addresses = len({invitation["to"] for invitation in self.invitations})
        self._expect("people are registered", report.gate["taken"], plan.capacity)
        self._expect("seats are used", report.gate["seats_used"], plan.capacity)
        self._expect("the gate says why it admits no more", report.gate["limit"], "capacity")
        self._expect("distinct Message-IDs", report.message_ids, plan.capacity)
        self._expect("distinct addresses", report.addresses, plan.capacity)
        self._expect("gate verify agrees", self.flask("gate", "verify")["agree"], True)
        self._expect("line check agrees", self.flask("line", "check")["equal"], True)
        repeats = [one for one, times in ids.items() if times > 1]
        if len(repeats) > len(report.killed):
            report.trouble.append(f"{len(repeats)} mails came twice")
        for repeat in repeats:
            self._expect("repeats are identical", len(self._contents(repeat)), 1)
        self._find_newcomers()

    def _contents(self, message_id: str) -> set[bytes]:
        files = (one["file"] for one in self.invitations if one["id"] == message_id)
        return {(self.folder / "mail" / "new" / name).read_bytes() for name in files}

    def _find_newcomers(self) -> None:
        for address in self.answered:
            with contextlib.suppress(RuntimeError):
                self.report.newcomers_found += (
                    self.flask("person", "show", address)["address"] == address
                )
        self._expect("answered joins stand", self.report.newcomers_found, len(self.answered))

    def _expect(self, what: str, found: object, wanted: object) -> None:
        if found != wanted:
            self.report.trouble.append(f"{what}: {found}, not {wanted}")
