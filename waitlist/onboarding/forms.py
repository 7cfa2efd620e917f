"""What an invitee sends at the last step, and what may be wrong with it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from zxcvbn_rs_py import zxcvbn

from waitlist.errors import FieldsInvalid
from waitlist.policy import credentials

ZXCVBN_LIMIT = 72  # characters of a password that are looked at
NAME_LIMIT = 80


@dataclass(frozen=True)
class Form:
    """What an invitee sends. `opened` is the signed note of when the form was opened."""

    handle: str
    display_name: str
    password: str
    terms: bool
    opened: str = ""

    @property
    def fingerprint(self) -> str:
        """What makes two requests the same, but for the password, which is never in it."""
        fields = [self.handle, self.display_name, self.terms]
        return hashlib.sha256(json.dumps(fields).encode()).hexdigest()


def form_of(fields: Mapping[str, object]) -> Form:
    """The form in what was sent, trimmed; nothing is refused yet."""

    def text(name: str) -> str:
        value = fields.get(name)
        return value.encode(errors="replace").decode() if isinstance(value, str) else ""

    return Form(
        handle=text("handle").strip().lower(),
        display_name=" ".join(text("display_name").split()),
        password=text("password"),
        terms=fields.get("terms") in (True, "yes", "true", "on"),
        opened=text("opened"),
    )


def check(form: Form) -> None:
    """`FieldsInvalid` with a code for each field that is wrong."""
    reasons = {
        "handle": credentials.handle_reason(form.handle),
        "display_name": _name_reason(form.display_name),
        "password": _password_reason(form),
        "terms": None if form.terms else "terms",
    }
    wrong = {field: reason for field, reason in reasons.items() if reason}
    if wrong:
        raise FieldsInvalid(wrong)


def _name_reason(name: str) -> str | None:
    if not name:
        return "missing"
    if len(name) > NAME_LIMIT:
        return "too-long"
    return None if name.isprintable() else "unprintable"


def _password_reason(form: Form) -> str | None:
    if not form.password:
        return "missing"
    if len(form.password) < credentials.PASSWORD_LENGTH.start:
        return "too-short"
    if len(form.password) >= credentials.PASSWORD_LENGTH.stop:
        return "too-long"
    known = [form.handle, form.display_name]
    score = int(zxcvbn(form.password[:ZXCVBN_LIMIT], user_inputs=known).score)
    return None if score >= credentials.PASSWORD_SCORE else "weak"
