"""The pages of invitees: the form, its answer, and the welcome."""

from __future__ import annotations

from collections.abc import Mapping

from flask import (
    Blueprint,
    Response,
    jsonify,
    make_response,
    redirect,
    render_template,
    url_for,
)
from flask.typing import ResponseReturnValue

from waitlist import links
from waitlist.admission import gate
from waitlist.errors import AlreadyCompleted, FieldsInvalid, InvitationClosed
from waitlist.extensions import reading, settings
from waitlist.handover import showing
from waitlist.onboarding import completion, disputes, forms, invitations, view
from waitlist.onboarding.view import InvitationView
from waitlist.web import asked, words

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
        return _refused(token, shown, fields, form, error)
    response = redirect(url_for("invite.welcome", token=done.welcome_token), 303)
    return mark_replay(make_response(response), done)


@bp.post("/invite/<token>/renew")
def renew(token: str) -> ResponseReturnValue:
    """A fresh link by mail, or back in the line at the old place; the page says which."""
    with reading():
        is_held = gate.held_by_health(now=asked.now()) is not None
    did = invitations.renew(token, is_held=is_held, now=asked.now())
    shown = _look(token)
    if did is None and shown.state in ("open", "used"):
        return redirect(url_for("invite.page", token=token), 303)
    if did is None and asked.wants_json():
        raise InvitationClosed(shown.state)
    if did is None:
        return _closed(token, shown, shown.state)
    if asked.wants_json():
        return jsonify(renewed=did), 202
    return render_template("invite/renewed.html", did=did, place_url=_place_url(shown)), 202


@bp.get("/welcome/<token>")
def welcome(token: str) -> ResponseReturnValue:
    """The page after completion."""
    registration = links.registration_of(token)
    asked.speak_to(registration.entry.locale)
    return render_template(
        "invite/welcome.html",
        handle=registration.handle,
        display_name=registration.display_name,
        handover=showing.registration_state(registration.id, registration.entry_id),
    )


@bp.get("/welcome/<token>/state")
def handover_state(token: str) -> ResponseReturnValue:
    """Whether the product knows of the registration: pending, delivered, needs-attention, none."""
    registration = links.registration_of(token)
    return jsonify(state=showing.registration_state(registration.id, registration.entry_id))


@bp.get("/dispute/<token>")
def dispute_page(token: str) -> ResponseReturnValue:
    """The form that says "this wasn't me", which asks for typed words."""
    return _dispute_page(token, {})


@bp.post("/dispute/<token>")
def dispute(token: str) -> ResponseReturnValue:
    """Note that the registration isn't theirs, if the words are typed. Twice is once."""
    asked.speak_to(disputes.look(token).locale)
    typed = asked.fields().get("word")
    if not isinstance(typed, str) or " ".join(typed.split()).upper() != words.dispute_word():
        reasons = {"word": "word"}
        if asked.wants_json():
            raise FieldsInvalid(reasons)
        return _dispute_page(token, words.sentences(reasons)), 422
    disputes.dispute(token, now=asked.now())
    if asked.wants_json():
        return jsonify(disputed=True)
    return redirect(url_for("invite.dispute_page", token=token), 303)


def _dispute_page(token: str, errors: Mapping[str, str]) -> str:
    shown = disputes.look(token)
    asked.speak_to(shown.locale)
    if shown.disputed:
        return render_template("invite/disputed.html")
    return render_template(
        "invite/dispute.html",
        token=token,
        word=words.dispute_word(),
        errors=errors,
        registered_at=shown.registered_at,
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
        way=shown.way,
        contact=settings().mail_from,
        place_url=_place_url(shown),
    )
    return page, 410


def _place_url(shown: InvitationView) -> str:
    return url_for("public.place_page", token=shown.place_token)
