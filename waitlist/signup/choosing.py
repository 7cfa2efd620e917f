"""Choosing newcomers' cohorts: the rules that operators give, and whom they fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache

from sqlalchemy import delete, func, select, update

from waitlist import audit, cohorts, lately
from waitlist.errors import RuleUnknown, ValueRefused
from waitlist.extensions import db, reading
from waitlist.models import CohortRule
from waitlist.policy import rules
from waitlist.policy.rules import NOTHING, Rule, Told

KEPT = "rules"
MOST = 10_000  # turns


def cohort_of(told: Told) -> int | None:
    """The cohort for whom this is told of, by rules that may be a second old; None: no rule's."""
    if told == NOTHING:
        return None
    return lately.read(KEPT, _decision)(told)


def every() -> Sequence[CohortRule]:
    """All rules, in the order in which they are asked."""
    return db.session.scalars(select(CohortRule).order_by(CohortRule.turn, CohortRule.id)).all()


def add(
    name: str, asks: Told, *, turn: int | None, actor: str, now: datetime, reason: str = ""
) -> CohortRule:
    """A new rule: the last, unless its turn is named; then it comes before who has that turn.

    `ValueRefused` if another asks for the very same, as only the first would ever count.
    """
    if turn is not None and not 1 <= turn <= MOST:
        raise ValueRefused(f"--turn is a whole number from 1 to {MOST:,}, not {turn}")
    cohort = cohorts.find(name)
    _refuse_twin(asks)
    last = db.session.scalar(select(func.max(CohortRule.turn))) or 0
    turn = min(turn or last + 1, last + 1)
    later = update(CohortRule).where(CohortRule.turn >= turn).values(turn=CohortRule.turn + 1)
    db.session.execute(later)
    rule = CohortRule(turn=turn, cohort=cohort, **asks._asdict())
    db.session.add(rule)
    db.session.flush()
    audit.record(
        "cohort.rule-add",
        f"cohort:{cohort.id}",
        actor=actor,
        now=now,
        after=as_json(rule),
        reason=reason,
    )
    db.session.commit()
    lately.forget(KEPT)
    return rule


def remove(rule_id: int, *, actor: str, now: datetime, reason: str = "") -> CohortRule:
    """The rule that was; `RuleUnknown` if there is none. Who joined by it stays where they are."""
    deleted = delete(CohortRule).where(CohortRule.id == rule_id).returning(CohortRule)
    rule = db.session.scalars(
        deleted, execution_options={"synchronize_session": False}
    ).one_or_none()
    if rule is None:
        raise RuleUnknown(f"there is no rule {rule_id}; see flask cohort rule list")
    audit.record(
        "cohort.rule-remove",
        f"cohort:{rule.cohort_id}",
        actor=actor,
        now=now,
        before=as_json(rule),
        reason=reason,
    )
    db.session.commit()
    lately.forget(KEPT)
    return rule


def as_json(rule: CohortRule) -> dict[str, object]:
    """A rule as JSON."""
    asks = _asks(rule)._asdict()
    return {"id": rule.id, "turn": rule.turn, "cohort": rule.cohort.name, **asks}


def _refuse_twin(asks: Told) -> None:
    for rule in every():
        if _asks(rule) == asks:
            raise ValueRefused(
                f"rule {rule.id} asks for the same, and leads to {rule.cohort.name}. "
                f"To put another in its place: flask cohort rule remove {rule.id}"
            )


def _decision() -> Callable[[Told], int | None]:
    """What the rules of now decide; of the many who are told of alike it asks them once."""
    with reading():
        found = [Rule(rule.cohort_id, _asks(rule)) for rule in every()]
    return lru_cache(maxsize=4096)(lambda told: rules.cohort_of(told, found))


def _asks(rule: CohortRule) -> Told:
    return Told(rule.country, rule.platform, rule.code)
