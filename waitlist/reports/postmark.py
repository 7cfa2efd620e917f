"""What Postmark says: bounces, complaints, deliveries and changes of its list of suppressed people.

Field names and types: "Webhooks" and "Bounce types" in its developer documentation. It replaces
the Message-ID; `Metadata` has what `mailer.POSTMARK` named the mail by.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from waitlist.policy.reports import Kind
from waitlist.reports.report import Report, digest, json_object, part, text, words

UNWANTED = ("SpamComplaint", "Unsubscribe")
WHY_SUPPRESSED = {
    "HardBounce": Kind.BOUNCED,
    "SpamComplaint": Kind.COMPLAINED,
    "ManualSuppression": Kind.COMPLAINED,  # so too if whoever got it asked for no more
}


def read(body: bytes) -> list[Report]:
    """The report in the body of a webhook; none if it is something else."""
    said = json_object(body)
    kind = _kind(said)
    if kind is None:
        return []
    when = ("ID", "DeliveredAt", "BouncedAt", "ChangedAt")
    address = text(said, "Recipient") or text(said, "Email")
    return [
        Report(
            provider="postmark",
            id=digest(said["RecordType"], said.get("MessageID"), address, *map(said.get, when)),
            kind=kind,
            names=text(part(said, "Metadata"), "message"),
            address=address,
            words=_words(said),
        )
    ]


def _kind(said: Mapping[str, Any]) -> Kind | None:
    match text(said, "RecordType"):
        case "Delivery":
            return Kind.DELIVERED
        case "SpamComplaint":
            return Kind.COMPLAINED
        case "Bounce":
            return _of_bounce(said)
        case "SubscriptionChange" if said.get("SuppressSending") is True:
            return WHY_SUPPRESSED.get(text(said, "SuppressionReason"))
    return None


def _of_bounce(said: Mapping[str, Any]) -> Kind:
    """Of a bounce; whoever is `Inactive` gets no more mail from Postmark, for whatever reason."""
    bounce = text(said, "Type")
    if bounce in UNWANTED:
        return Kind.COMPLAINED
    gone = bounce in ("HardBounce", "BadEmailAddress") or said.get("Inactive") is True
    return Kind.BOUNCED if gone else Kind.DEFERRED


def _words(said: Mapping[str, Any]) -> str:
    kinds = (text(said, "Type"), text(said, "SuppressionReason"), text(said, "Origin"))
    return words(*kinds, diagnosis=text(said, "Details"))
