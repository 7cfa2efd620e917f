"""One table from what is refused to an HTTP problem: RFC 9457 to programs, a page to people."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import structlog
from flask import Flask, Response, g, make_response, render_template
from flask_babel import lazy_gettext as _
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException

from waitlist import errors
from waitlist.policy import proof
from waitlist.web import asked, words
from waitlist.web.said import Said, alike

log = structlog.get_logger()
RETRY_AFTER = {429: "60", 500: "5", 503: "2"}  # seconds
SOON = "2"  # seconds


class Problem(NamedTuple):
    """A status, the stable name of the kind, and what to say of it."""

    status: int
    type: str
    title: Any
    detail: Any


PROBLEMS: dict[type[Exception], Problem] = {
    errors.LinkInvalid: Problem(
        404,
        "link-unknown",
        _("We don’t know this link"),
        _("It may have been cut off when it was copied. Open it again from the mail we sent you."),
    ),
    errors.LinkOver: Problem(
        410,
        "link-over",
        _("This link’s time is over"),
        _("Ask for a fresh one on the page of your place."),
    ),
    errors.AddressInvalid: Problem(
        422,
        "address-invalid",
        _("We can’t mail this address"),
        _("This doesn’t look like an e-mail address. Please check it for typing errors."),
    ),
    errors.FieldsInvalid: Problem(
        422,
        "fields-invalid",
        _("Some fields need another look"),
        _("Nothing was stored. Correct what is marked and send the form again."),
    ),
    errors.AlreadyCompleted: Problem(
        409,
        "already-completed",
        _("You’re in already"),
        _("This invitation was used before. Sign in with the handle and password chosen then."),
    ),
    errors.KeyReused: Problem(
        422,
        "key-reused",
        _("This key belongs to another request"),
        _("Send a new Idempotency-Key with a new request."),
    ),
    errors.InProgress: Problem(
        409,
        "in-progress",
        _("We’re still working on it"),
        _("Another attempt is under way. Please try again in a moment: you can’t lose your place."),
    ),
    errors.TooMany: Problem(
        429,
        "too-many",
        _("Please wait a minute"),
        _("Very many join from your network just now. Please try again in a minute."),
    ),
    errors.ProofNeeded: Problem(
        403,
        "proof-needed",
        _("One more step"),
        _("Send the same again with the sum of the challenge, or wait and send it with the note."),
    ),
    errors.TooManyTries: Problem(
        429,
        "too-many-tries",
        _("Please wait a moment"),
        _("There were very many tries by this link. Try again soon: you can’t lose your place."),
    ),
    errors.JoiningClosed: Problem(
        403,
        "joining-closed",
        _("Joining is closed for now"),
        _("Nobody can join the line at the moment. Please come back later."),
    ),
    errors.ReportUnsigned: Problem(
        403,
        "report-unsigned",
        _("We don’t know who sent this"),
        _("A delivery report must be signed, and be of what this service was told to listen to."),
    ),
    errors.ReportUnproven: Problem(
        503,
        "report-unproven",
        _("Please send it again"),
        _("We couldn’t check the signature just now."),
    ),
    errors.Busy: Problem(
        503,
        "busy",
        _("Very many people are coming just now"),
        _("More than we can answer at once. Please send it again in a few seconds."),
    ),
    OperationalError: Problem(
        503,
        "unavailable",
        _("Please try again in a moment"),
        _("Something of ours is briefly away. Please try again: you can’t lose your place."),
    ),
}
PROBLEMS[InterfaceError] = PROBLEMS[PoolTimeout] = PROBLEMS[OperationalError]
PROBLEMS[InternalError] = PROBLEMS[OperationalError]  # PostgreSQL waited too long, or only reads
PASSING = ("in-progress", "too-many-tries", "unavailable", "unexpected")  # trying again may do
SAID_TO_ALL = (
    errors.Busy,
    errors.TooMany,
    errors.JoiningClosed,
    OperationalError,
    InterfaceError,
    InternalError,
    PoolTimeout,
)

CLOSED = {
    "expired": Problem(
        410,
        "invitation-expired",
        _("This invitation’s time is over"),
        _("Your place is kept: ask for a fresh invitation."),
    ),
    "superseded": Problem(
        410,
        "invitation-superseded",
        _("There is a newer invitation"),
        _("Open the link in the newest mail we sent you."),
    ),
    "revoked": Problem(
        410,
        "invitation-revoked",
        _("This invitation was taken back"),
        _("The page of your place says how things stand."),
    ),
}

BY_STATUS = {
    400: (_("We didn’t understand that"), _("Please go back and try again.")),
    401: (_("We don’t know you"), _("Send what you were given in the Authorization header.")),
    403: (_("This came from another site"), _("Open the page here and send the form again.")),
    404: (_("There is no such page"), _("Please check the address.")),
    405: (_("That can’t be done here"), _("Please go back and try again.")),
    413: (_("That’s too much at once"), _("At most 64 KB can be sent.")),
    415: (_("We can’t read that"), _("Send a form, or JSON.")),
    500: (_("Something went wrong on our side"), _("Please try again: you can’t lose your place.")),
}


def init_app(app: Flask) -> None:
    """Answer each refusal as its problem."""
    for kind in PROBLEMS:
        app.register_error_handler(kind, _refused)
    app.register_error_handler(errors.InvitationClosed, _closed)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _unexpected)


def keep_typed(page: Callable[[Problem], str]) -> None:
    """Have what passes by told on this page: for a form, so that what was typed isn't lost."""
    g.page_that_keeps = page


def answer(problem: Problem, **more: Any) -> Response:
    """The problem as whoever asks can read it."""
    if not asked.wants_json():
        return _finish(make_response(_page(problem), problem.status))
    body = {
        "type": f"urn:waitlist:{problem.type}",
        "title": str(problem.title),
        "status": problem.status,
        "detail": str(problem.detail),
        **more,
    }
    return _finish(
        Response(json.dumps(body), problem.status, content_type="application/problem+json")
    )


def _page(problem: Problem) -> str:
    if problem.type in PASSING and "page_that_keeps" in g:
        page: str = g.page_that_keeps(problem)
        return page
    return render_template(
        "errors/problem.html", status=problem.status, title=problem.title, detail=problem.detail
    )


def _finish(response: Response) -> Response:
    if response.status_code in RETRY_AFTER:
        response.headers["Retry-After"] = RETRY_AFTER[response.status_code]
    return response


def said(error: Exception, language: str, wants_json: bool) -> Said:
    """The same for one of `SAID_TO_ALL`, whose words don't depend on who hears them."""
    problem = _problem(error)
    return alike(
        lambda: answer(problem), name=problem.type, language=language, wants_json=wants_json
    )


def _problem(error: Exception) -> Problem:
    problem = next(PROBLEMS[kind] for kind in type(error).__mro__ if kind in PROBLEMS)
    if problem.type == "unavailable":
        log.error("unavailable", error=type(error).__name__)
    return problem


def _refused(error: Exception) -> Response:
    response = answer(_problem(error), **_more(error))
    if isinstance(error, errors.InProgress):
        response.headers["Retry-After"] = SOON
    if isinstance(error, errors.TooManyTries):
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def _more(error: Exception) -> dict[str, Any]:
    """What a program is told beside the problem itself."""
    if isinstance(error, errors.ProofNeeded):
        return {
            "challenge": error.challenge,
            "bits": proof.BITS,
            "waiting": error.waiting,
            "wait_seconds": error.seconds,
        }
    if not isinstance(error, errors.FieldsInvalid):
        return {}
    return {
        "errors": words.field_errors(error.reasons),
        "free_handles": list(error.free_handles),
    }


def _closed(error: errors.InvitationClosed) -> Response:
    return answer(CLOSED[error.state])


def _http(error: HTTPException) -> Response:
    if error.response is not None or error.code is None or error.code < 400:
        return make_response(error.get_response())
    title, detail = BY_STATUS.get(error.code, (error.name, error.description or ""))
    response = answer(Problem(error.code, f"http-{error.code}", title, detail))
    for name, value in error.get_headers():
        if name in ("Allow", "WWW-Authenticate"):
            response.headers[name] = value
    return response


def _unexpected(error: Exception) -> Response:
    # no exc_info of the message: SQL errors quote values
    log.error("unexpected", error=type(error).__name__, where=_where(error))
    title, detail = BY_STATUS[500]
    return answer(Problem(500, "unexpected", title, detail))


def _where(error: Exception) -> list[str]:
    found, traceback = [], error.__traceback__
    while traceback is not None:
        code = traceback.tb_frame.f_code
        found.append(f"{code.co_filename.rsplit('/', 2)[-1]}:{traceback.tb_lineno} {code.co_name}")
        traceback = traceback.tb_next
    return found[-8:]
