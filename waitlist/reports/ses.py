"""What Amazon SES says, by notifications of an identity or events of a configuration set.

Field names: "Amazon SNS notification contents for Amazon SES" and "Contents of event data that
Amazon SES publishes to Amazon SNS". SES gives a mail another Message-ID; it tells the one that it
had among the mail's headers, where those are included, and the return path as `source`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from waitlist.policy.reports import Kind
from waitlist.reports.report import Report, digest, json_object, objects, part, text, words

ABOUT = {  # in which object, and list of people
    "Bounce": ("bounce", "bouncedRecipients"),
    "Complaint": ("complaint", "complainedRecipients"),
    "Delivery": ("delivery", "recipients"),
    "DeliveryDelay": ("deliveryDelay", "delayedRecipients"),
}
WANTED_AFTER_ALL = "not-spam"  # a "complaint" that says the contrary (RFC 5965, section 7.3)


def read(message: str, *, sns_id: str) -> list[Report]:
    """The reports in the message of an SNS notification; none if it is something else."""
    said = json_object(message)
    what = text(said, "notificationType") or text(said, "eventType")
    if what not in ABOUT:
        return []
    name, whom = ABOUT[what]
    about, mail = part(said, name), part(said, "mail")
    names = _message_ids(mail)
    recipients = objects(about, whom) or [
        {"emailAddress": one} for one in about.get(whom) or [] if isinstance(one, str)
    ]
    return [
        Report(
            provider="ses",
            id=digest(sns_id, text(one, "emailAddress")),
            kind=_kind(what, about),
            names=names,
            return_path=text(mail, "source"),
            address=text(one, "emailAddress"),
            words=_words(about, one),
        )
        for one in recipients
    ]


def _kind(what: str, about: Mapping[str, Any]) -> Kind:
    if what == "Bounce" and about.get("bounceType") == "Permanent":
        return Kind.BOUNCED
    if what == "Complaint" and about.get("complaintFeedbackType") != WANTED_AFTER_ALL:
        return Kind.COMPLAINED
    return Kind.DELIVERED if what == "Delivery" else Kind.DEFERRED


def _words(about: Mapping[str, Any], recipient: Mapping[str, Any]) -> str:
    kinds = ("bounceType", "bounceSubType", "complaintFeedbackType", "delayType")
    said = f"{text(recipient, 'status')} {text(recipient, 'diagnosticCode')}"
    return words(*(text(about, kind) for kind in kinds), diagnosis=said)


def _message_ids(mail: Mapping[str, Any]) -> str:
    """The Message-ID that the mail had when it came to SES."""
    headers = objects(mail, "headers")
    theirs = [text(one, "value") for one in headers if text(one, "name").lower() == "message-id"]
    return " ".join(theirs or [text(part(mail, "commonHeaders"), "messageId")])
