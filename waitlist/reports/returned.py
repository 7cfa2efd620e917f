"""Mail that came back: delivery status notifications (RFC 3464) and complaints (ARF, RFC 5965).

Anybody can write such a mail, so only what our signed return path names counts; a Message-ID or
an address in it doesn't.
"""

from __future__ import annotations

from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message as Part

from waitlist import returnpath
from waitlist.policy.reports import Kind
from waitlist.reports.report import Report, digest, words

MOST_READ = 1024 * 1024  # octets: reports come first, and what was sent after them
RECIPIENTS = ("X-Original-To", "Delivered-To", "Envelope-To", "To")  # of what came back
SENDERS = ("Original-Mail-From", "Return-Path")  # of what had been sent
COMPLAINTS = ("abuse", "fraud")
FULL = "5.2.2"  # a mailbox that is full today (RFC 3463 calls it "persistent transient")
ACTIONS = {"delivered": Kind.DELIVERED, "delayed": Kind.DEFERRED, "failed": Kind.DEFERRED}


def read(mail: bytes) -> list[Report]:
    """The report in a mail that came back; none if it is something else, such as an absence."""
    try:
        whole = message_from_bytes(mail[:MOST_READ])
        parts = list(whole.walk())
    except (ValueError, LookupError, RecursionError):  # of mails that are made to be unreadable
        return []
    if whole.get_content_type() != "multipart/report":
        return []
    return_path = _return_path(whole, parts)
    about = _status(parts) or _complaint(parts)
    if return_path is None or about is None:
        return []
    kind, said = about
    report_id = digest(return_path, kind, said, _header(whole, "Message-ID"))
    return [Report("dsn", report_id, kind, return_path=return_path, words=said)]


def _status(parts: list[Part]) -> tuple[Kind, str] | None:
    """What a delivery status says of the one person to whom our mails go."""
    for fields in _fields(parts, "message/delivery-status"):
        action = _header(fields, "Action").lower()
        if action not in ACTIONS:
            continue
        status = _header(fields, "Status").partition(" ")[0]
        for_good = action == "failed" and status.startswith("5.") and status != FULL
        said = words(action, diagnosis=f"{status} {_header(fields, 'Diagnostic-Code')}")
        return (Kind.BOUNCED if for_good else ACTIONS[action]), said
    return None


def _complaint(parts: list[Part]) -> tuple[Kind, str] | None:
    for fields in _fields(parts, "message/feedback-report"):
        feedback = _header(fields, "Feedback-Type").lower()
        return (Kind.COMPLAINED if feedback in COMPLAINTS else Kind.DEFERRED), words(feedback)
    return None


def _fields(parts: list[Part], kind: str) -> Iterator[Part]:
    """The groups of fields in the first part of this kind."""
    for part in parts:
        if part.get_content_type() == kind and part.is_multipart():
            yield from (group for group in part.get_payload() if isinstance(group, Part))
            return


def _return_path(whole: Part, parts: list[Part]) -> str | None:
    """Whom it came back to; a complaint goes elsewhere, and tells it with what was sent."""
    said = [_header(whole, name) for name in RECIPIENTS]
    said += [_header(part, name) for part in parts[1:] for name in SENDERS]
    return next((one for one in said if returnpath.found(one)), None)


def _header(part: Part, name: str) -> str:
    return str(part.get(name, ""))
