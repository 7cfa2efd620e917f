"""The tables. SQL is the truth; everything else can be rebuilt from here."""

from waitlist.models.base import new_nonce
from waitlist.models.gate import Gate, Invitation, Registration, Wave
from waitlist.models.imports import Import, ImportRow
from waitlist.models.line import ArrivalCounter, Cohort, Crowd, Entry, LineChange, PlaceChange
from waitlist.models.mail import Message
from waitlist.models.records import Audit, Heartbeat

__all__ = [
    "ArrivalCounter",
    "Audit",
    "Cohort",
    "Crowd",
    "Entry",
    "Gate",
    "Heartbeat",
    "Import",
    "ImportRow",
    "Invitation",
    "LineChange",
    "Message",
    "PlaceChange",
    "Registration",
    "Wave",
    "new_nonce",
]
