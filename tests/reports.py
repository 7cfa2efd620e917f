"""What mail providers and mail servers say of a mail, signed as they sign it."""

from __future__ import annotations

import base64
import json
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from sqlalchemy import select
from standardwebhooks import Webhook

from tests import people
from tests.people import ALICE
from waitlist import mailer
from waitlist.extensions import db
from waitlist.models import DeliveryReport, Entry, Message

TOPIC = "arn:aws:sns:eu-west-1:123456789012:mail"
SNS = "https://sns.eu-west-1.amazonaws.com"
POSTMARK = "postmark:a-password-of-the-tests-that-is-long"
SECRET = "whsec_" + base64.b64encode(b"a secret of the tests, long enough").decode()
OTHER_SECRET = "whsec_" + base64.b64encode(b"another secret, as long as the first").decode()
BOUNCED_FOR_GOOD = {"bounceType": "Permanent", "bounceSubType": "General"}


@dataclass
class Sns:
    """Amazon SNS: a key, its certificate, and where that lies."""

    key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))
    certificate_url: str = f"{SNS}/SimpleNotificationService-0123456789abcdef.pem"
    version: str = "1"
    topic: str = TOPIC

    @property
    def certificate(self) -> bytes:
        """The certificate of the key, in PEM."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
        at = datetime(2020, 1, 1, tzinfo=UTC)
        made = (
            x509.CertificateBuilder(name, name, self.key.public_key(), 1)
            .not_valid_before(at)
            .not_valid_after(at + timedelta(days=36_500))
            .sign(self.key, SHA256())
        )
        return made.public_bytes(Encoding.PEM)

    def notification(self, message: Any, **changes: str) -> dict[str, str]:
        """A signed notification of this message."""
        text = message if isinstance(message, str) else json.dumps(message)
        fields = {"Type": "Notification", "Message": text} | changes
        return self._signed(fields, ["Message", "MessageId", "Subject"])

    def confirmation(self, **changes: str) -> dict[str, str]:
        """A signed question whether the topic is wanted."""
        url = f"{SNS}/?Action=ConfirmSubscription&TopicArn={self.topic}&Token=t0ken"
        fields = {"Type": "SubscriptionConfirmation", "Message": "Confirm?", "Token": "t0ken"}
        fields |= {"SubscribeURL": url} | changes
        return self._signed(fields, ["Message", "MessageId", "SubscribeURL"])

    def _signed(self, fields: dict[str, str], first: list[str]) -> dict[str, str]:
        common = {"MessageId": str(uuid.uuid4()), "TopicArn": self.topic}
        common |= {"Timestamp": "2027-03-01T12:00:00.000Z"}
        fields = common | fields
        names = [*first, "Timestamp", *(["Token"] if "Token" in fields else []), "TopicArn", "Type"]
        to_sign = "".join(f"{name}\n{fields[name]}\n" for name in names if name in fields)
        algorithm = SHA256() if self.version == "2" else SHA1()  # noqa: S303
        signature = self.key.sign(to_sign.encode(), PKCS1v15(), algorithm)
        more = {"SignatureVersion": self.version, "SigningCertURL": self.certificate_url}
        return fields | more | {"Signature": base64.b64encode(signature).decode()}


def ses(what: str, message: Message, address: str, **about: Any) -> dict[str, Any]:
    """A notification of SES: a Bounce, Complaint or Delivery of this mail."""
    name, whom = {
        "Bounce": ("bounce", "bouncedRecipients"),
        "Complaint": ("complaint", "complainedRecipients"),
        "Delivery": ("delivery", "recipients"),
        "DeliveryDelay": ("deliveryDelay", "delayedRecipients"),
    }[what]
    person: Any = {"emailAddress": address}
    if what == "Bounce":
        person |= {"status": "5.1.1", "diagnosticCode": f"smtp; 550 5.1.1 <{address}> unknown"}
    if what == "Delivery":
        person = address
    headers = [{"name": "From", "value": "line@join.example.com"}]
    headers.append({"name": "Message-ID", "value": mailer.stable_message_id(message.id)})
    mail: dict[str, Any] = {
        "messageId": "0102-ses",
        "source": "line@join.example.com",
        "destination": [address],
    }
    mail |= {"headersTruncated": False, "headers": headers}
    return {"notificationType": what, "mail": mail, name: {whom: [person], **about}}


def postmark(record: str, message: Message, address: str, **more: Any) -> dict[str, Any]:
    """A webhook of Postmark's about this mail."""
    said: dict[str, Any] = {
        "RecordType": record,
        "MessageID": "883953f4-6105-42a2-a16a-77a8eac79483",
    }
    said |= {"Metadata": {"message": mailer.name_of(message.id)}, "MessageStream": "outbound"}
    who = "Email" if record in ("Bounce", "SpamComplaint") else "Recipient"
    return said | {who: address, "Details": f"smtp;550 5.1.1 <{address}> unknown"} | more


def generic(kind: str, message: Message, address: str, **more: Any) -> dict[str, Any]:
    """A report in the JSON of ours about this mail."""
    named = mailer.stable_message_id(message.id)
    return {"kind": kind, "message_id": named, "recipient": address, "status": "5.1.1"} | more


def signed(body: str, *, at: datetime, secret: str = SECRET, webhook_id: str = "1") -> Any:
    """The headers of a Standard Webhook."""
    signature = Webhook(secret).sign(webhook_id, at, body)
    stamp = str(int(at.timestamp()))
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": stamp,
        "webhook-signature": signature,
        "Content-Type": "application/json",
    }


def basic(both: str = POSTMARK) -> dict[str, str]:
    """The header by which Postmark shows name and password."""
    return {"Authorization": "Basic " + base64.b64encode(both.encode()).decode()}


def mail_of(entry: Entry, kind: str) -> Message:
    """The newest mail of this kind to a person, as the database has it now; no lock is kept."""
    db.session.rollback()
    theirs = select(Message).where(Message.entry_id == entry.id, Message.kind == kind)
    found = db.session.scalars(theirs.order_by(Message.id.desc())).first()
    assert found is not None
    db.session.refresh(found)
    db.session.rollback()
    return found


def kept() -> list[tuple[str, str, str]]:
    """Provider, kind and words of every report that was kept, oldest first."""
    db.session.rollback()
    rows = select(DeliveryReport.provider, DeliveryReport.kind, DeliveryReport.words)
    found = [tuple(row) for row in db.session.execute(rows.order_by(DeliveryReport.id))]
    db.session.rollback()
    return found  # type: ignore[return-value]


def untouched() -> bool:
    """Whether no report was kept, and Alice's address is mailed as ever."""
    return kept() == [] and people.find(ALICE).suppressed_at is None


def state_of(alice: Entry) -> str:
    """The state of the mail of her invitation."""
    return mail_of(alice, "invitation").state
