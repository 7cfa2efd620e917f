"""The pages of invitees: the form, its answer, and the welcome."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Blueprint, Response, make_response, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from waitlist import links
from waitlist.errors import AlreadyCompleted, FieldsInvalid, InvitationClosed
from waitlist.onboarding import completion, forms, invitations, view
from waitlist.onboarding.view import InvitationView
from waitlist.web import asked, tried, words

bp = Blueprint("invite", __name__)


@bp.get("/invite/<token>")
def page(token: str) -> ResponseReturnValue:
    """The form, or how the invitation stands; whoever opens it changes nothing."""
    shown = _look(token)
    if shown.state == "used":
        return render_template("invite/already.html")
    if shown.state != "open":
        return _closed(token, shown, shown.state)
    return _form(token, shown, {}, {}, shown.opened)


@bp.post("/invite/<token>")
@tried.recorded("form")
def complete(token: str) -> ResponseReturnValue:
    """Finish registration; the same form again goes to the same welcome page."""
    fields = asked.fields()
    form = forms.form_of(fields)
    shown = _look(token)
    try:
        done = completion.complete(token, form, now=asked.now())
    except (FieldsInvalid, InvitationClosed, AlreadyCompleted) as error:
        if asked.wants_json():
            raise
        tried.refused(error)
        return _refused(token, shown, fields, form, error)
    response = redirect(url_for("invite.welcome", token=done.welcome_token), 303)
    return mark_replay(make_response(response), done)


@bp.post("/invite/<token>/renew")
def renew(token: str) -> ResponseReturnValue:
    """Back in the line at the old place, after the invitation's time is over."""
    shown = _look(token)
    if not invitations.renew(token, now=asked.now()):
        return (
            _closed(token, shown, "expired")
            if shown.state == "expired"
            else redirect(url_for("invite.page", token=token), 303)
        )
    return render_template("invite/renewed.html", place_url=_place_url(shown)), 202


@bp.get("/welcome/<token>")
def welcome(token: str) -> ResponseReturnValue:
    """The page after completion."""
    registration = links.registration_of(token)
    asked.speak_to(registration.entry.locale)
    return render_template(
        "invite/welcome.html",
        handle=registration.handle,
        display_name=registration.display_name,
    )


def _refused(
    token: str,
    shown: InvitationView,
    fields: Mapping[str, object],
    form: forms.Form,
    refusal: FieldsInvalid | InvitationClosed | AlreadyCompleted,
) -> ResponseReturnValue:
    """The page for each way in which the form can be refused; nothing typed is lost."""
    match refusal:
        case FieldsInvalid():
            opened = form.opened or shown.opened
            reasons = words.sentences(refusal.reasons)
            return _form(token, shown, fields, reasons, opened, refusal.free_handles), 422
        case InvitationClosed():
            return _closed(token, shown, refusal.state)
        case AlreadyCompleted():
            return render_template("invite/already.html"), 409


def mark_replay(response: Response, done: completion.Completed) -> Response:
    """Say of a repeated answer that it is one."""
    if done.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return response


def _look(token: str) -> InvitationView:
    shown = view.look(token, now=asked.now())
    asked.speak_to(shown.locale)
    return shown


def _form(
    token: str,
    shown: InvitationView,
    fields: Mapping[str, object],
    errors: Mapping[str, str],
    opened: str,
    handles: tuple[str, ...] = (),
) -> str:
    return render_template(
        "invite/form.html",
        token=token,
        address=shown.address,
        form={key: fields.get(key, "") for key in ("handle", "display_name", "terms")},
        errors=errors,
        opened=opened,
        expires_at=shown.expires_at,
        handles=handles,
    )


def _closed(token: str, shown: InvitationView, state: str) -> ResponseReturnValue:
    page = render_template(
        f"invite/{state}.html",
        token=token,
        can_renew=shown.can_renew,
        waits=shown.waits,
        place_url=_place_url(shown),
    )
    return page, 410


def _place_url(shown: InvitationView) -> str:
    return url_for("public.place_page", token=shown.place_token)
