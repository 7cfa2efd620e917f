"""Everything that can be refused, as one tree.

The docstring of each says what the caller should do. `web/errors.py` has the one
table that turns them into HTTP problems; the commands print `str(error)`.
"""

from __future__ import annotations

from collections.abc import Mapping


class WaitlistError(Exception):
    """Base of all that this service refuses on purpose."""


class SettingInvalid(WaitlistError):
    """A setting is missing or wrong: set what the sentence names and start again."""


class AddressInvalid(WaitlistError):
    """The e-mail address can't be mailed: ask for another; `str()` says why, in English."""


class Busy(WaitlistError):
    """No thread is free for this: try the same request again in a few seconds."""


class TooMany(WaitlistError):
    """So many came from one network that they look like a machine: wait and try again."""


class ProofNeeded(WaitlistError):
    """Machines may be joining: send the same again with the sum of `challenge`, or wait and send.

    `waiting` is the note of when waiting began, which is sent too; `seconds` are left of it.
    """

    def __init__(self, challenge: str, waiting: str, seconds: int) -> None:
        super().__init__("a proof of work is needed")
        self.challenge = challenge
        self.waiting = waiting
        self.seconds = seconds


class TooManyTries(WaitlistError):
    """An invitation was tried too often in this minute: try again in `retry_after` seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"tried too often: wait {retry_after} seconds")
        self.retry_after = retry_after


class JoiningClosed(WaitlistError):
    """Nobody may join for now, whoever they are: say so; who has joined isn't concerned."""


class LinkInvalid(WaitlistError):
    """The link is tampered with, foreign or unknown: show the one page for all of these."""


class LinkOver(WaitlistError):
    """The link was right, but its time is over: offer the way to a fresh one."""


class InvitationClosed(WaitlistError):
    """The invitation can't be completed any more: show the page of its `state`."""

    def __init__(self, state: str) -> None:
        super().__init__(f"this invitation is {state}")
        self.state = state


class NotReissued(WaitlistError):
    """No fresh invitation now: `why` is what their entry is, or what keeps a seat from them.

    "paused", "capacity" and "quota" pass: the caller may put them back in line.
    """

    def __init__(self, why: str) -> None:
        super().__init__(f"no fresh invitation can be made: {why}")
        self.why = why


class AlreadyCompleted(WaitlistError):
    """Used already, with other fields: show the way to sign in, never what is stored."""


class KeyReused(WaitlistError):
    """The idempotency key belongs to a success with other fields: use a new key."""


class InProgress(WaitlistError):
    """Another attempt holds the invitation: try the same request again in a moment."""


class FieldsInvalid(WaitlistError):
    """Fields are wrong: show each reason (a code) beside its field; nothing was stored."""

    def __init__(self, reasons: Mapping[str, str], free_handles: tuple[str, ...] = ()) -> None:
        super().__init__(", ".join(f"{field}: {reason}" for field, reason in reasons.items()))
        self.reasons = dict(reasons)
        self.free_handles = free_handles


class LineUnavailable(WaitlistError):
    """The line can't be read now (Redis away, or not yet rebuilt): go on without a position."""


class FileRefused(WaitlistError):
    """The file can't be imported at all: say why; nothing was imported."""


class CohortUnknown(WaitlistError):
    """There is no such cohort: list those there are, or add it first."""


class CohortExists(WaitlistError):
    """There is such a cohort already: change it instead of adding it."""


class RuleUnknown(WaitlistError):
    """There is no rule of that number: list those there are."""


class ValueRefused(WaitlistError):
    """A value given by an operator is out of bounds: the sentence says which are allowed."""


class ScenarioInvalid(WaitlistError):
    """A rehearsal can't be played as written: the sentence names the key and what it can be."""


class VersionStale(WaitlistError):
    """Somebody changed it since it was looked at: look again, and decide anew."""


class PersonUnknown(WaitlistError):
    """Nobody is known by that address."""


class ReportUnsigned(WaitlistError):
    """Nobody whom we know signed this delivery report: change nothing."""


class ReportUnproven(WaitlistError):
    """What is needed to check a delivery report can't be had now: it is to be sent again."""


class WaveUnknown(WaitlistError):
    """There is no wave of that id: list those there are."""


class AddressRefused(WaitlistError):
    """A webhook isn't sent to such an address: use a public one, or allow it by `WEBHOOK_ALLOW`."""


class EndpointUnknown(WaitlistError):
    """There is no webhook endpoint of that id: list those there are."""


class MessagesRefused(WaitlistError):
    """Messages of the outbox can't be changed so, and none was: each line says which, and why."""


class RecordWrong(WaitlistError):
    """A record in the DNS can't be evaluated by anybody: mend what the sentence names."""


class NamesSilent(WaitlistError):
    """The DNS doesn't answer, so nothing can be said of what stands in it: check the network."""
