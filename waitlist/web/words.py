"""What pages say: filters, globals, and the sentence for each code that a use case gives."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from babel.units import format_unit
from flask import Flask, current_app
from flask_babel import Babel, format_date, format_decimal, format_time, get_locale, gettext
from flask_babel import lazy_gettext as _

from waitlist import switches
from waitlist.config import Settings
from waitlist.policy.wait import ShownRange
from waitlist.switches import Notice
from waitlist.web import asked

FIELD_SENTENCES = {
    "missing": _("Please fill this in."),
    "too-long": _("This is too long."),
    "too-short": _("Please use at least 8 characters."),
    "weak": _("This password is easy to guess. Add a few more words or signs."),
    "unprintable": _("Please use letters, digits and signs only."),
    "terms": _("Please accept the terms to go on."),
    "handle-form": _("Use 3 to 30 of the letters a to z, the digits and _."),
    "handle-reserved": _("This handle is kept for the service. Please choose another."),
    "handle-taken": _("Somebody has this handle already. Please choose another."),
    "address": _("This doesn’t look like an e-mail address. Please check it for typing errors."),
    "word": _("Please type the word exactly as shown."),
    "boolean": _("This must be true or false."),
    "figure": _("This must be a number, and not below zero."),
}
NOT_TYPED = {"word": "word"}  # the field, and the code of what is wrong with it


def init_app(app: Flask) -> None:
    """Give every template its language, filters and globals."""
    Babel(app, locale_selector=asked.language)
    app.add_template_filter(when)
    app.add_template_filter(number)
    app.add_template_filter(wait)
    app.jinja_env.add_extension("jinja2.ext.i18n")
    app.context_processor(_globals)


def when(at: datetime) -> str:
    """A moment in the reader's language, with its time zone."""
    utc = at.astimezone(UTC)
    return f"{format_date(utc, 'long')}, {format_time(utc, 'short', rebase=False)} UTC"


def number(value: int) -> str:
    """A number in the reader's language."""
    return str(format_decimal(value))


def wait(told: ShownRange, zone: str, now: datetime) -> str:
    """A range of time in the reader's language, such as "about 2 to 4 hours"."""
    today = now.astimezone(ZoneInfo(zone)).date()
    ends = ((now + timedelta(seconds=end)).astimezone(ZoneInfo(zone)) for end in told.seconds)
    if {end.date() for end in ends} == {today + timedelta(days=1)}:
        return str(gettext("tomorrow"))
    high = _so_many(told.high, told.unit)
    if not told.low:
        return str(gettext("up to %(wait)s", wait=high))
    same = told.low_unit == told.unit
    low = number(told.low) if same else _so_many(told.low, told.low_unit)
    return str(gettext("about %(low)s to %(high)s", low=low, high=high))


def _so_many(how_many: int, unit: str) -> str:
    """Such as "3 hours", in the reader's language."""
    return format_unit(how_many, f"duration-{unit}", "long", locale=get_locale())


def sentences(reasons: Mapping[str, str]) -> dict[str, str]:
    """The sentence for each field's code, in the reader's language."""
    return {field: str(FIELD_SENTENCES[code]) for field, code in reasons.items()}


def field_errors(reasons: Mapping[str, str]) -> list[dict[str, str]]:
    """The same for programs: each field with its stable code and the sentence."""
    told = sentences(reasons)
    return [
        {"field": field, "code": code, "detail": told[field]} for field, code in reasons.items()
    ]


def leave_word() -> str:
    """The word to type before leaving, in the reader's language."""
    return str(gettext("LEAVE"))


def yes_word() -> str:
    """The word to type before what a mailed link changes, in the reader's language.

    Programs that check mail open its links and press the buttons behind them; so whatever
    one press would change, but for confirming, wants a word as well.
    """
    return str(gettext("YES"))


def said_yes() -> bool:
    """Whether that word was typed, by whoever was asked for it.

    That is who sends the page's form, as people and scanners of mail do: its field comes along,
    empty or not. A program of somebody's own sends none.
    """
    fields = asked.fields()
    return "word" not in fields or was_typed(fields, yes_word())


def was_typed(fields: Mapping[str, Any], word: str) -> bool:
    """Whether the field for it holds this word, in whatever case."""
    typed = fields.get("word")
    return isinstance(typed, str) and typed.strip().upper() == word


def dispute_word() -> str:
    """The word to type before disputing a registration, in the reader's language."""
    return str(gettext("NOT ME"))


def notice() -> Notice | None:
    """What operators have to say, in the page's language if there is such a notice."""
    return switches.current().notice(_locale())


def _locale() -> str:
    return str(get_locale() or "en")


def _globals() -> dict[str, Any]:
    settings: Settings = current_app.config["SETTINGS"]
    return {
        "launch_name": settings.launch_name,
        "product_url": settings.product_url,
        "locale": _locale(),
        "notice": notice,
    }
