"""The API: completing by JSON, for a product with its own form."""

from __future__ import annotations

from flask import Blueprint, jsonify, request, url_for
from flask.typing import ResponseReturnValue

from waitlist.onboarding import completion, forms
from waitlist.web import asked
from waitlist.web.invite import mark_replay

bp = Blueprint("api", __name__, url_prefix="/api/v1")


@bp.post("/completions")
def complete() -> ResponseReturnValue:
    """Finish registration: 201 and where the welcome page is, each time the same."""
    fields = asked.fields()
    token = fields.get("token")
    key = request.headers.get("Idempotency-Key", "")[: completion.KEY_LIMIT] or None
    done = completion.complete(
        token if isinstance(token, str) else "",
        forms.form_of(fields),
        key=key,
        now=asked.now(),
    )
    place = url_for("invite.welcome", token=done.welcome_token, _external=False)
    response = jsonify(handle=done.handle, display_name=done.display_name, welcome=place)
    response.status_code = 201
    response.headers["Location"] = place
    return mark_replay(response, done)
