"""Every failed try at the last step is recorded here, whether by the form or by the API.

Put `@recorded("form")` on the view, right below its route. What it raises is known then; of a
refusal that it answers with a page of its own it says so: `tried.refused(error)`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from flask import g
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from waitlist.errors import FieldsInvalid, InvitationClosed
from waitlist.onboarding import failures
from waitlist.onboarding.failures import Unanswered
from waitlist.web import asked
from waitlist.web.errors import PROBLEMS

MOST_UNANSWERED = 99

View = Callable[..., ResponseReturnValue]


def recorded(via: str) -> Callable[[View], View]:
    """Records what went wrong in a view of the last step, whatever it was; its answer stays."""

    def of(view: View) -> View:
        @functools.wraps(view)
        def tried(**names: str) -> ResponseReturnValue:
            try:
                answer = view(**names)
            except Exception as error:
                _record(error, names.get("token"), via)
                raise
            _record(g.pop("refusal", None), names.get("token"), via)
            return answer

        return tried

    return of


def refused(error: Exception) -> None:
    """Tell that the view refuses with a page of its own."""
    g.refusal = error


def _record(error: Exception | None, token: str | None, via: str) -> None:
    try:
        fields = asked.fields()
    except HTTPException:  # what was sent can't even be read
        fields = {}
    token, unanswered = token or fields.get("token"), _unanswered(fields)
    if isinstance(token, str) and (error is not None or unanswered.times):
        kind = None if error is None else kind_of(error)
        failures.record(token, kind, via=via, unanswered=unanswered, now=asked.now())


def kind_of(error: Exception) -> str:
    """The word for what went wrong: the type of its problem, with the fields that were wrong."""
    if isinstance(error, FieldsInvalid):
        if error.reasons.get("handle") == "handle-taken":
            return "handle-taken"
        return f"fields-invalid:{','.join(sorted(error.reasons))}"
    if isinstance(error, InvitationClosed):
        return f"invitation-{error.state}"
    if isinstance(error, HTTPException):
        return f"http-{error.code}"
    known = (PROBLEMS[kind].type for kind in type(error).__mro__ if kind in PROBLEMS)
    return next(known, "unexpected")


def _unanswered(fields: Mapping[str, Any]) -> Unanswered:
    """What the page tells of its tries before: `unanswered`, a number of up to 99."""
    times, opened = str(fields.get("unanswered", "")), fields.get("opened")
    if not (times.isascii() and times.isdecimal() and len(times) <= len(str(MOST_UNANSWERED))):
        return Unanswered()
    return Unanswered(int(times), opened if isinstance(opened, str) else "")
