"""The gate in words: the rows of `flask gate show`, and what is unusual about it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from waitlist.admission.gate import LIMITS, GateView
from waitlist.admission.laststep import LastStepView
from waitlist.admission.mails import BouncesView, MailView, RouteView
from waitlist.cli import health, times
from waitlist.estimates import Coverage

Row = tuple[str, object]


def rows(view: GateView) -> list[Row]:
    """What is known of the gate, each with its name."""
    return [
        ("capacity", f"{view.capacity:,}"),
        ("seats used", f"{view.seats_used:,} ({view.held:,} held, {view.taken:,} taken)"),
        ("seats free", f"{view.seats_free:,}"),
        ("admission rate", _rate(view)),
        ("waiting", f"{view.waiting:,} ({view.waiting_open:,} in open cohorts)"),
        ("limited by", f"{view.limit}: {LIMITS[view.limit]}"),
        *mail_rows(view.mail),
        ("mail's route", route(view.mail.route)),
        ("invitations that came back", _bounces(view.bounces)),
        ("last step", _last_step(view.last_step)),
        ("joining", view.joining),
        *((f"notice ({language})", text) for language, text in view.notices.items()),
        ("referral", "on" if view.referral else "off"),
        ("product's health", _health(view)),
        *health.rows(view.health),
        *_estimates(view.estimates),
        ("last tick", _at(view.ticked_at)),
        ("version", view.version),
    ]


def mail_rows(mail: MailView) -> list[Row]:
    """What went and may go, what is held, what waits, and what can't go on."""
    return [
        ("mail", _mail(mail)),
        ("mail held", ", ".join(mail.held) or "none"),
        ("oldest mail due since", _at(mail.oldest_due_at)),
        ("dead letters", f"{mail.dead:,}: see flask outbox list" if mail.dead else "none"),
    ]


def route(of: RouteView) -> str:
    """By which server mail goes, and why."""
    if not of.has_second:
        return f"{of.in_force}, as there is no second"
    if of.set_to != "auto":
        return f"{of.in_force}, set so by an operator"
    why = f" since {_at(of.since)}: {of.why}" if of.why else ""
    return f"{of.in_force}, by itself{why}"


def unusual(view: GateView) -> Iterator[str]:
    """A sentence for each switch that isn't as usual."""
    if view.joining != "open":
        yield f"Joining is {view.joining}."
    if view.mail.held:
        yield f"Mail is held: {', '.join(view.mail.held)}. All other mail goes on."
    if view.mail.route.in_force != "first" or view.mail.route.set_to != "auto":
        yield f"Mail goes by the {route(view.mail.route)}."
    if view.mail.dead:
        yield f"{view.mail.dead:,} mails can't go on by themselves: see flask outbox list."
    if view.bounces.state != "well":
        yield f"Invitations come back: {_bounces(view.bounces)}."
    if view.last_step.alarm_since:
        yield f"The last step fails: {_last_step(view.last_step)}. See flask invitation stuck."
    if view.health.held:
        yield f"The product's health lets nobody in by ticks: {view.health.why}."
    if view.health_ignored_until:
        yield f"The product's health is {_health(view)}."
    for language, text in view.notices.items():
        yield f"The pages say ({language}): {text}"


def _estimates(fared: Coverage) -> Iterator[Row]:
    """How often those waited as they were told whose settings stayed; the others apart."""
    yield "estimates", _covered(fared.covered, fared.scored, "80% are meant to be")
    if fared.changed_scored:
        why = "the settings changed meanwhile"
        yield "other estimates", _covered(fared.changed_covered, fared.changed_scored, why)


def _covered(covered: int, scored: int, why: str) -> str:
    if not scored:
        return "none was put to the test yet"
    return f"{covered / scored:.0%} of the last {scored:,} were right ({why})"


def _rate(view: GateView) -> str:
    usual = f"{view.rate:,} an hour"
    return usual if view.rate_in_force == view.rate else f"{usual}, now {view.rate_in_force:,.0f}"


def _mail(mail: MailView) -> str:
    day = "" if mail.most_today is None else f" of {mail.most_today:,}"
    waits = f"; none before {_at(mail.waits_until)}" if mail.waits_until else ""
    return (
        f"{mail.sent_today:,}{day} today, at most {mail.a_minute:,} a minute; "
        f"{mail.left_now:,} may go now{waits}"
    )


def _bounces(bounces: BouncesView) -> str:
    total = bounces.sent + bounces.bounced + bounces.later
    wave = f", {bounces.wave_bounced:,} of wave {bounces.wave}" if bounces.wave else ""
    later = f", {bounces.later:,} were refused for now" if bounces.later else ""
    return f"{bounces.state}: {bounces.bounced:,} of the last {total:,}{wave}{later}"


def _last_step(seen: LastStepView) -> str:
    fared = f"{seen.failed:,} of the last {seen.people:,} people met an error of ours"
    since = f"alarm since {_at(seen.alarm_since)}" if seen.alarm_since else "well"
    return f"{since}: {fared} ({100 * seen.limit:g}% are too many)"


def _health(view: GateView) -> str:
    until = view.health_ignored_until
    return f"ignored until {_at(until)}" if until else "heeded"


def _at(moment: str | None) -> str | None:
    return times.shown(datetime.fromisoformat(moment)) if moment else None
