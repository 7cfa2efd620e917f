"""Every setting is documented, and every string on a page is translated."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from waitlist.config import LOCALES, ROOT
from workers.development import translations

CATALOGS = sorted(translations.CATALOGS.glob("*/LC_MESSAGES/messages.po"))
SETTING = re.compile(r"[A-Z][A-Z0-9_]{3,}")


def _settings_read() -> set[str]:
    """What config.py asks the environment for."""
    tree = ast.parse((ROOT / "waitlist" / "config.py").read_text())
    asked = {
        argument.value
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        for argument in call.args[:2]
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    }
    return {name for name in asked if SETTING.fullmatch(name)}


def test_the_settings_are_found() -> None:
    assert {"PUBLIC_URL", "SECRET_KEYS", "REDIS_URL", "INSTANCE"} <= _settings_read()


def test_every_setting_is_documented() -> None:
    documented = (ROOT / "docs" / "operations.md").read_text()
    missing = {name for name in _settings_read() if f"`{name}`" not in documented}
    assert not missing


def test_every_language_but_the_first_has_a_catalog() -> None:
    assert {path.parent.parent.name for path in CATALOGS} == set(LOCALES[1:])


@pytest.mark.parametrize("path", CATALOGS, ids=str)
def test_every_string_on_a_page_is_translated(path: Path) -> None:
    assert list(translations.faults(path, translations.extracted())) == []
