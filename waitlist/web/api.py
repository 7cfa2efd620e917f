"""The API: completing by JSON, for a product with its own form."""

from __future__ import annotations

from datetime import UTC, datetime

from flask import Blueprint, jsonify, request, url_for
from flask.typing import ResponseReturnValue

from waitlist.errors import FieldsInvalid
from waitlist.onboarding import completion
from waitlist.web import errors, words
from waitlist.web.invite import mark_replay
from waitlist.web.public import sent_fields

bp = Blueprint("api", __name__, url_prefix="/api/v1")


@bp.post("/completions")
def complete() -> ResponseReturnValue:
    """Finish registration: 201 and where the welcome page is, each time the same."""
    fields = sent_fields()
    token = fields.get("token")
    key = request.headers.get("Idempotency-Key")
    if key is not None and len(key) > completion.KEY_LIMIT:
        key = key[: completion.KEY_LIMIT]
    try:
        done = completion.complete(
            token if isinstance(token, str) else "",
            completion.form_of(fields),
            key=key,
            now=datetime.now(UTC),
        )
    except FieldsInvalid as error:
        return _fields_invalid(error)
    place = url_for("invite.welcome", token=done.welcome_token, _external=False)
    response = jsonify(handle=done.handle, display_name=done.display_name, welcome=place)
    response.status_code = 201
    response.headers["Location"] = place
    return mark_replay(response, done)


def _fields_invalid(error: FieldsInvalid) -> ResponseReturnValue:
    told = words.sentences(error.reasons)
    fields = [
        {"field": field, "code": code, "detail": told[field]}
        for field, code in error.reasons.items()
    ]
    problem = errors.PROBLEMS[FieldsInvalid]
    return errors.answer(problem, errors=fields, free_handles=list(error.free_handles))
