"""The pages of invitees: the form, its answer, and the welcome."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from flask import Blueprint, Response, jsonify, make_response, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from waitlist import links, tokens
from waitlist.admission import gate
from waitlist.errors import AlreadyCompleted, FieldsInvalid, InvitationClosed
from waitlist.extensions import reading, settings
from waitlist.handover import showing
from waitlist.onboarding import completion, disputes, forms, invitations, view
from waitlist.onboarding.view import InvitationView
from waitlist.tokens import Purpose
from waitlist.web import asked, errors, tried, words

bp = Blueprint("invite", __name__)


@bp.get("/invite/<token>")
def page(token: str) -> ResponseReturnValue:
    """The form, or how the invitation stands; whoever opens it changes nothing.

    As JSON what a form of one's own needs, such as the note of when it was opened.
    """
    shown = _look(token)
    if shown.state not in ("open", "used"):
        return _closed(token, shown, shown.state)
    if asked.wants_json():
        return jsonify(_as_json(shown))
    if shown.state == "used":
        return render_template("invite/already.html")
    return _form(token, {}, {}, shown.opened, shown=shown)


@bp.post("/invite/<token>")
@tried.recorded("form")
def complete(token: str) -> ResponseReturnValue:
    """Finish registration; the same form again goes to the same welcome page."""
    fields = asked.fields()
    form = forms.form_of(fields)
    errors.keep_typed(partial(_again, token, fields, form))
    try:
        done = completion.complete(token, form, now=asked.now())
    except (FieldsInvalid, AlreadyCompleted) as refusal:
        if asked.wants_json():
            raise
        tried.refused(refusal)
        return _refused(token, fields, form, refusal)
    except InvitationClosed as closed:
        tried.refused(closed)
        return _closed(token, _look(token), closed.state)
    response = redirect(url_for("invite.welcome", token=done.welcome_token), 303)
    return mark_replay(make_response(response), done)


@bp.post("/invite/<token>/renew")
def renew(token: str) -> ResponseReturnValue:
    """A fresh link by mail, or back in the line at the old place; the page says which."""
    shown = _look(token)
    if shown.way == "renew" and not words.said_yes():
        return _closed(token, shown, shown.state, words.sentences(words.NOT_TYPED))
    with reading():
        is_held = gate.held_by_health(now=asked.now()) is not None
    did = invitations.renew(token, is_held=is_held, now=asked.now())
    shown = _look(token)
    if did is None and shown.state in ("open", "used"):
        return redirect(url_for("invite.page", token=token), 303)
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
    if not words.was_typed(asked.fields(), words.dispute_word()):
        if asked.wants_json():
            raise FieldsInvalid(words.NOT_TYPED)
        return _dispute_page(token, words.sentences(words.NOT_TYPED)), 422
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
    fields: Mapping[str, object],
    form: forms.Form,
    refusal: FieldsInvalid | AlreadyCompleted,
) -> ResponseReturnValue:
    """The form with what is wrong of it, and nothing typed is lost; or that it is used."""
    shown = _look(token)
    if isinstance(refusal, AlreadyCompleted):
        return render_template("invite/already.html"), 409
    reasons, free = words.sentences(refusal.reasons), refusal.free_handles
    return _form(token, fields, reasons, form.opened or shown.opened, free, shown=shown), 422


def _again(
    token: str, fields: Mapping[str, object], form: forms.Form, problem: errors.Problem
) -> str:
    """The form as it was sent, with what happened above it; asks nobody for anything.

    So it stands even where the database is away. Who had no note of when the form was opened
    gets one: that counts only before the deadline.
    """
    invitation_id = links.ref_of(Purpose.INVITE, token).id
    opened = form.opened or tokens.opened(settings().secret_keys, invitation_id)
    return _form(token, fields, {}, opened, trouble=problem)


def mark_replay(response: Response, done: completion.Completed) -> Response:
    """Say of a repeated answer that it is one."""
    if done.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return response


def _look(token: str) -> InvitationView:
    with reading():
        shown = view.look(token, now=asked.now())
    asked.speak_to(shown.locale)
    return shown


def _form(
    token: str,
    fields: Mapping[str, object],
    wrong: Mapping[str, str],
    opened: str,
    handles: tuple[str, ...] = (),
    *,
    shown: InvitationView | None = None,
    trouble: errors.Problem | None = None,
) -> str:
    return render_template(
        "invite/form.html",
        token=token,
        address=shown and shown.address,
        form={key: fields.get(key, "") for key in ("handle", "display_name", "terms")},
        errors=wrong,
        opened=opened,
        expires_at=shown and shown.expires_at,
        handles=handles,
        trouble=trouble,
    )


def _as_json(shown: InvitationView) -> dict[str, str | None]:
    return {
        "state": shown.state,
        "address": shown.address,
        "expires_at": shown.expires_at.isoformat() if shown.expires_at else None,
        "opened": shown.opened,
    }


def closed_answer(token: str, state: str) -> Response:
    """410 for programs, with the way on, as on the page; and where to renew, if one can."""
    shown = _look(token)
    renew = {"renew": url_for("invite.renew", token=token)} if shown.way == "renew" else {}
    return errors.answer(errors.CLOSED[state], way=shown.way, place=_place_url(shown), **renew)


def _closed(
    token: str, shown: InvitationView, state: str, wrong: Mapping[str, str] | None = None
) -> ResponseReturnValue:
    if asked.wants_json():
        return closed_answer(token, state)
    page = render_template(
        f"invite/{state}.html",
        token=token,
        way=shown.way,
        contact=settings().mail_from,
        place_url=_place_url(shown),
        errors=wrong or {},
        word=words.yes_word(),
    )
    return page, 422 if wrong else 410


def _place_url(shown: InvitationView) -> str:
    return url_for("public.place_page", token=shown.place_token)
