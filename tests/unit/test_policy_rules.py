"""Which cohort a newcomer joins."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waitlist.errors import ValueRefused
from waitlist.policy import rules
from waitlist.policy.rules import NOTHING, Rule, Told

VIP, FRANCE, FRENCH_PHONES = 1, 2, 3
RULES = [
    Rule(VIP, Told(code="VIP2027")),
    Rule(FRENCH_PHONES, Told(country="FR", platform="ios")),
    Rule(FRANCE, Told(country="FR")),
]
few = st.builds(
    Told,
    st.sampled_from([None, "FR", "DE"]),
    st.sampled_from([None, "ios", "web"]),
    st.sampled_from([None, "A", "B"]),
)


@pytest.mark.parametrize(
    "told,cohort",
    [
        (NOTHING, None),
        (Told(code="VIP2027"), VIP),
        (Told(country="FR", platform="ios", code="VIP2027"), VIP),
        (Told(country="FR", platform="ios"), FRENCH_PHONES),
        (Told(country="FR", platform="android"), FRANCE),
        (Told(country="FR", code="VIP2026"), FRANCE),
        (Told(platform="ios"), None),
        (Told(country="DE", code="VIP"), None),
    ],
)
def test_the_first_rule_counts_of_which_everything_fits(told: Told, cohort: int | None) -> None:
    assert rules.cohort_of(told, RULES) == cohort


def test_without_rules_nobody_is_chosen() -> None:
    assert rules.cohort_of(Told(country="FR"), []) is None


@given(few, st.lists(few.filter(lambda asks: asks != NOTHING), max_size=6))
def test_every_rule_before_the_one_that_counts_asks_for_something_else(
    told: Told, asked: list[Told]
) -> None:
    found = rules.cohort_of(told, [Rule(nth, asks) for nth, asks in enumerate(asked)])
    for asks in asked[:found]:
        assert any(want not in (None, said) for want, said in zip(asks, told, strict=True))
    if found is not None:
        assert set(asked[found].attributes().items()) <= set(told.attributes().items())


@pytest.mark.parametrize(
    "fields,expected",
    [
        ({}, NOTHING),
        ({"country": "fr", "platform": " iOS ", "code": " vip2027 "}, ("FR", "ios", "VIP2027")),
        ({"country": "XX"}, NOTHING),
        ({"country": "T1"}, NOTHING),
        ({"country": "EU"}, NOTHING),
        ({"country": "France"}, NOTHING),
        ({"platform": "x" * 21, "code": "x" * 61}, NOTHING),
        ({"platform": "x" * 20, "code": "x" * 60}, (None, "x" * 20, "X" * 60)),
        ({"code": "a\x00b"}, NOTHING),
        ({"code": "a\ud800b"}, NOTHING),
        ({"code": "  ", "platform": ""}, NOTHING),
        ({"country": 7, "platform": ["ios"], "code": {"a": 1}}, NOTHING),
        ({"address": "a@example.org", "name": "FR"}, NOTHING),
    ],
)
def test_what_cant_be_right_is_as_if_it_wasnt_told(fields: dict[str, Any], expected: Told) -> None:
    assert rules.told(fields) == expected


def test_only_what_is_told_is_kept() -> None:
    assert Told(country="FR", code="A").attributes() == {"country": "FR", "code": "A"}
    assert NOTHING.attributes() == {}


def test_the_countries_are_those_of_iso_3166() -> None:
    assert len(rules._countries()) == 249


@pytest.mark.parametrize(
    "asked,sentence",
    [
        ({}, "--country, --platform or --code"),
        ({"country": "UK"}, "Did you mean GB?"),
        ({"country": "France"}, "Did you mean FR?"),
        ({"country": "ZZ"}, "two letters such as FR, not 'ZZ'"),
        ({"country": ""}, "two letters"),
        ({"platform": "x" * 21}, "1 to 20"),
        ({"platform": " "}, "1 to 20"),
        ({"code": "x" * 61}, "1 to 60"),
        ({"country": "FR", "code": ""}, "1 to 60"),
    ],
)
def test_a_rule_that_could_fit_nobody_is_refused(asked: dict[str, str], sentence: str) -> None:
    wanted: dict[str, Any] = dict.fromkeys(Told._fields) | asked
    with pytest.raises(ValueRefused) as refusal:
        rules.asking(**wanted)
    assert sentence in str(refusal.value)


def test_a_rule_asks_in_the_form_in_which_people_are_told_of() -> None:
    asked = rules.asking(country="fr", platform="iOS", code="Vip2027")
    assert asked == rules.told({"country": "FR", "platform": "ios", "code": "vip2027"})
