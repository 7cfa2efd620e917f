"""The pages of prospects: join, confirm, place, leave."""

from __future__ import annotations

from collections.abc import Mapping

from flask import (
    Blueprint,
    Response,
    jsonify,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)
from flask.typing import ResponseReturnValue
from flask_babel import gettext

from waitlist import links, switches
from waitlist.errors import AddressInvalid, FieldsInvalid, LinkOver, ProofNeeded
from waitlist.extensions import reading
from waitlist.models import Entry
from waitlist.policy import deadlines, proof, rules
from waitlist.policy.rules import Told
from waitlist.signup import joining, leaving, place, proving
from waitlist.tokens import Purpose
from waitlist.web import asked, errors, hot, words
from waitlist.web.asked import Asked
from waitlist.web.said import Said

bp = Blueprint("public", __name__)


@bp.get("/")
def home() -> ResponseReturnValue:
    """The join page: the same for everybody, without a cookie."""
    response = make_response(_join_page({}, {}, rules.told(request.args)))
    response.headers["Cache-Control"] = "public, max-age=30"
    response.headers["Vary"] = "Accept-Language"
    return response


@bp.post("/join")
def join() -> ResponseReturnValue:
    """Join the line: 202 and the same words whatever is known of the address."""
    this = asked.this()
    [said] = hot.join([this])
    if isinstance(said, ProofNeeded) and not this.wants_json:
        return _prove_page(this, said), 403
    if not isinstance(said, AddressInvalid):
        return _response(said)
    address = this.fields.get("address")
    reasons = {"address": "address" if address else "missing"}
    if this.wants_json:
        problem = errors.PROBLEMS[AddressInvalid]
        return errors.answer(problem, errors=words.field_errors(reasons))
    form, told = {"address": address or ""}, rules.told(this.fields)
    return _join_page(form, words.sentences(reasons), told), 422


@bp.get("/confirm/<token>")
def confirm_page(token: str) -> ResponseReturnValue:
    """A button; opening the link changes nothing."""
    asked.speak_to(links.entry_of(Purpose.CONFIRM, token).locale)
    return render_template("public/confirm.html", token=token)


@bp.post("/confirm/<token>")
def confirm(token: str) -> ResponseReturnValue:
    """Confirm; twice is the same as once."""
    return _to_place(joining.confirm(token, now=asked.now()))


@bp.get("/line")
def line() -> ResponseReturnValue:
    """The public figures, cacheable."""
    response = jsonify(place.public_figures())
    response.headers["Cache-Control"] = "public, max-age=10"
    return response


@bp.get("/place/<token>")
def place_page(token: str) -> ResponseReturnValue:
    """Where somebody stands, by the one function that rounds it."""
    if asked.wants_json():
        [said] = hot.place_of([(token, asked.this())])
        return _response(said)
    return _place_page(token, {})


@bp.post("/place/<token>")
def ask_to_act(token: str) -> ResponseReturnValue:
    """Mail a link by which to leave, to the address we have, if the word is typed."""
    with reading():
        asked.speak_to(links.entry_of(Purpose.PLACE, token).locale)
    if not words.said_yes():
        return _place_page(token, words.sentences(words.NOT_TYPED)), 422
    leaving.ask_to_act(token, now=asked.now())
    if asked.wants_json():
        return jsonify(message=gettext("We mailed you a link.")), 202
    return render_template("public/act_sent.html"), 202


@bp.get("/act/<token>")
def act_page(token: str) -> ResponseReturnValue:
    """The form to leave, which asks for a typed word."""
    try:
        entry = links.acting_entry(token, now=asked.now())
    except LinkOver:
        return render_template("public/gone.html"), 410
    asked.speak_to(entry.locale)
    return _act_page(token, {})


@bp.post("/act/<token>")
def act(token: str) -> ResponseReturnValue:
    """Leave the line, if the word is typed."""
    asked.speak_to(links.acting_entry(token, now=asked.now()).locale)
    if not words.was_typed(asked.fields(), words.leave_word()):
        if asked.wants_json():
            raise FieldsInvalid(words.NOT_TYPED)
        return _act_page(token, words.sentences(words.NOT_TYPED)), 422
    entry = leaving.leave(token, now=asked.now())
    if asked.wants_json():
        return jsonify(state=entry.state)
    if entry.state != "withdrawn":
        return _to_place(entry)
    return render_template("public/left.html")


@bp.get("/undo/<token>")
def come_back_page(token: str) -> ResponseReturnValue:
    """A button to come back, with the old place or a new one."""
    return _come_back_page(token, {})


@bp.post("/undo/<token>")
def come_back(token: str) -> ResponseReturnValue:
    """Come back, if the word is typed; twice is the same as once."""
    with reading():
        entry = links.entry_of(Purpose.UNDO, token)
        asked.speak_to(entry.locale)
        is_out = entry.state == "withdrawn"
    if is_out and not words.said_yes():
        return _come_back_page(token, words.sentences(words.NOT_TYPED)), 422
    return _to_place(leaving.come_back(token, now=asked.now()))


def _response(said: Said | Exception) -> Response:
    if isinstance(said, Exception):
        raise said
    return said.response()


def _to_place(entry: Entry) -> ResponseReturnValue:
    where = url_for("public.place_page", token=links.entry_token(Purpose.PLACE, entry))
    return jsonify(place=where) if asked.wants_json() else redirect(where, 303)


def _join_page(form: Mapping[str, str], errors: Mapping[str, str], told: Told) -> str:
    """The page, which hands on what its own address told: a link can name an invite code."""
    if switches.current().joining_is_closed:
        return render_template("public/closed.html")
    return render_template(
        "public/join.html",
        form=form,
        errors=errors,
        waiting=place.public_figures()["waiting"],
        handed_on=told.attributes(),
        challenge=proving.challenge() if switches.current().joining_is_challenged else None,
        bits=proof.BITS,
    )


def _prove_page(this: Asked, needed: ProofNeeded) -> str:
    """The page that does a sum by itself, or has who can't wait; with all that was typed."""
    return render_template(
        "public/prove.html",
        address=this.fields.get("address", ""),
        handed_on=rules.told(this.fields).attributes(),
        needed=needed,
        bits=proof.BITS,
    )


def _place_page(token: str, errors: Mapping[str, str]) -> str:
    shown = place.by_token(token, now=asked.now())
    asked.speak_to(shown.locale)
    return render_template(
        "public/place.html",
        token=token,
        place=shown,
        now=asked.now(),
        errors=errors,
        word=words.yes_word(),
    )


def _come_back_page(token: str, errors: Mapping[str, str]) -> str:
    with reading():
        entry = links.entry_of(Purpose.UNDO, token)
        keeps = deadlines.keeps_place(
            entry.left_at, entry.confirmed_at, entry.renewals, asked.now()
        )
        asked.speak_to(entry.locale)
    return render_template(
        "public/come_back.html",
        token=token,
        keeps_place=keeps,
        errors=errors,
        word=words.yes_word(),
    )


def _act_page(token: str, errors: Mapping[str, str]) -> str:
    return render_template("public/act.html", token=token, word=words.leave_word(), errors=errors)
