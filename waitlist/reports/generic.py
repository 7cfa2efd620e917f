"""What any other program says, in a JSON of ours (docs/integration.md), as Standard Webhooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from standardwebhooks import Webhook, WebhookVerificationError

from waitlist.errors import ReportUnsigned
from waitlist.policy.reports import Kind
from waitlist.reports.report import Report, digest, json_object, text, words

HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")


def verify(body: bytes, sent: Mapping[str, str], *, secrets: Sequence[str]) -> None:
    """Pass if one of the secrets signed this within five minutes; else `ReportUnsigned`."""
    for secret in secrets:
        try:
            Webhook(secret).verify(body, dict(sent), json_parse=False)
        except (WebhookVerificationError, ValueError):  # which it lets through of odd signatures
            continue
        return
    raise ReportUnsigned("none of our secrets signed this")


def read(body: bytes, *, webhook_id: str) -> list[Report]:
    """The report in the body of a webhook; none if it is of a kind that we don't know."""
    said = json_object(body)
    kind = text(said, "kind")
    if kind not in set(Kind):
        return []
    return [
        Report(
            provider="generic",
            id=digest(webhook_id),
            kind=Kind(kind),
            names=text(said, "message_id"),
            return_path=text(said, "return_path"),
            address=text(said, "recipient"),
            words=words(diagnosis=text(said, "status")),
        )
    ]
