"""The tables. SQL is the truth; everything else can be rebuilt from here."""

from waitlist.models.base import new_nonce
from waitlist.models.gate import Gate, Invitation, Registration, Wave, WavePerson
from waitlist.models.handover import (
    Webhook,
    WebhookAttempt,
    WebhookEndpoint,
    WebhookSubscription,
)
from waitlist.models.imports import Import, ImportRow
from waitlist.models.learned import Estimate, Experience, Health, NoShows
from waitlist.models.line import (
    ArrivalCounter,
    Cohort,
    CohortRule,
    Crowd,
    Entry,
    LineChange,
    PlaceChange,
)
from waitlist.models.mail import DeliveryReport, MailPace, Message
from waitlist.models.records import Audit, Erasure, FinishFailure, Heartbeat

__all__ = [
    "ArrivalCounter",
    "Audit",
    "Cohort",
    "CohortRule",
    "Crowd",
    "DeliveryReport",
    "Entry",
    "Erasure",
    "Estimate",
    "Experience",
    "FinishFailure",
    "Gate",
    "Health",
    "Heartbeat",
    "Import",
    "ImportRow",
    "Invitation",
    "LineChange",
    "MailPace",
    "Message",
    "NoShows",
    "PlaceChange",
    "Registration",
    "Wave",
    "WavePerson",
    "Webhook",
    "WebhookAttempt",
    "WebhookEndpoint",
    "WebhookSubscription",
    "new_nonce",
]
