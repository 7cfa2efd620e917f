"""The API: completing by JSON for a product with its own form, and how the product is."""

from __future__ import annotations

import hmac

from flask import Blueprint, abort, jsonify, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized

from waitlist.admission import health
from waitlist.errors import InvitationClosed
from waitlist.extensions import settings
from waitlist.onboarding import completion, forms
from waitlist.web import asked, tried
from waitlist.web.invite import closed_answer, mark_replay

bp = Blueprint("api", __name__, url_prefix="/api/v1")


@bp.post("/completions")
@tried.recorded("api")
def complete() -> ResponseReturnValue:
    """Finish registration: 201 and where the welcome page is, each time the same."""
    fields = asked.fields()
    sent = fields.get("token")
    token = sent if isinstance(sent, str) else ""
    key = request.headers.get("Idempotency-Key", "")[: completion.KEY_LIMIT] or None
    try:
        done = completion.complete(token, forms.form_of(fields), key=key, now=asked.now())
    except InvitationClosed as closed:
        tried.refused(closed)
        return closed_answer(token, closed.state)
    place = url_for("invite.welcome", token=done.welcome_token, _external=False)
    response = jsonify(handle=done.handle, display_name=done.display_name, welcome=place)
    response.status_code = 201
    response.headers["Location"] = place
    return mark_replay(response, done)


@bp.post("/signals/health")
def take_health() -> ResponseReturnValue:
    """Take the product's word for how it is: 204, and the next tick of the gate goes by it."""
    _require_token(settings().health_token)
    health.report(health.said(asked.fields()), source="pushed", now=asked.now())
    return "", 204


def _require_token(token: str | None) -> None:
    """404 where no token is set, 401 where another or none is sent."""
    if token is None:
        abort(404)
    scheme, _, sent = request.headers.get("Authorization", "").partition(" ")
    is_right = hmac.compare_digest(sent.strip().encode(), token.encode())
    if scheme.lower() != "bearer" or not is_right:
        raise Unauthorized(www_authenticate=WWWAuthenticate("bearer"))
