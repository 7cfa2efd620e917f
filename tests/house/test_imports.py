"""Imports run one way, as `docs/architecture.md` draws them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from waitlist.config import ROOT

# from the ground floor up; a module imports from floors below, or from its own room
FLOORS: dict[str, int] = {
    name: floor
    for floor, names in enumerate(
        [
            ["errors", "failpoints", "patience", "prepared", "returnpath", "together"],
            ["members", "policy", "tokens"],
            ["settable"],
            ["config"],
            ["extensions", "line", "log", "rehearsal"],
            ["lately", "limits", "models", "rows", "wake"],
            ["crowds", "notes", "postage", "standing", "switches"],
            ["arrivals", "audit", "links", "mailer", "outbox", "projection"],
            ["cohorts", "experience", "handover", "leasing", "seats"],
            ["bouncing", "outlook"],
            ["estimates"],
            ["accepted", "aside", "copying", "letters", "remembered", "route"],
            ["mailcheck", "routing", "writing"],
            ["erasures", "lifetimes"],
            ["settling"],
            ["delivery", "reports", "undelivered"],
            ["signup", "admission", "onboarding"],
            ["web", "cli"],
            ["__init__"],
            ["asgi"],
        ]
    )
    for name in names
}
WINGS = ("signup", "admission", "onboarding")
FORBIDDEN = {
    "errors": ("flask", "redis", "sqlalchemy", "waitlist"),
    "policy": ("flask", "redis", "sqlalchemy", "rq"),
    "tokens": ("flask", "redis", "sqlalchemy", "rq"),
    "returnpath": ("flask", "redis", "sqlalchemy", "rq", "waitlist"),
    "reports": ("flask", "redis", "rq"),
    "rehearsal": ("flask", "redis", "sqlalchemy", "rq", "waitlist.config", "waitlist.tokens"),
    "line": ("flask", "sqlalchemy", "rq", "waitlist.extensions", "waitlist.models"),
    "models": ("flask", "redis", "rq"),
    "outbox": ("flask", "redis", "rq"),
    "signup": ("flask", "redis", "rq"),
    "admission": ("flask", "redis", "rq"),
    "onboarding": ("flask", "redis", "rq"),
    "projection": ("flask", "redis", "rq"),
    "handover": ("flask", "redis", "rq"),
    "seats": ("flask", "redis", "rq"),
}
MODULES = [
    path
    for path in sorted((ROOT / "waitlist").rglob("*.py"))
    if "migrations" not in path.relative_to(ROOT).parts
]


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def _room(module: str) -> str:
    """The file or folder right below `waitlist` that a module is of."""
    return [*module.split("."), "__init__"][1]


def _imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, by its full name, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path.name} imports relatively"
            module = node.module or ""
            yield from (_of_package(module, alias.name) for alias in node.names)


def _of_package(package: str, name: str) -> str:
    """`package.name` where that is a module of ours, else `package`."""
    folder = ROOT / Path(*package.split("."))
    is_module = (folder / f"{name}.py").exists() or (folder / name / "__init__.py").exists()
    return f"{package}.{name}" if package.startswith("waitlist") and is_module else package


def _ours(path: Path) -> list[str]:
    return sorted({name for name in _imports(path) if name.split(".")[0] == "waitlist"})


def test_every_room_has_its_floor() -> None:
    assert {_room(_module(path)) for path in MODULES} == set(FLOORS)


@pytest.mark.parametrize("path", MODULES, ids=_module)
def test_imports_go_down(path: Path) -> None:
    room = _room(_module(path))
    for imported in _ours(path):
        target = _room(imported)
        if target == room:
            continue
        assert FLOORS[target] < FLOORS[room], f"{_module(path)} imports {imported}"


@pytest.mark.parametrize("path", MODULES, ids=_module)
def test_nothing_of_the_service_imports_the_workers_or_the_tests(path: Path) -> None:
    roots = {name.split(".")[0] for name in _imports(path)}
    assert not roots & {"workers", "tests", "wsgi"}


@pytest.mark.parametrize("path", MODULES, ids=_module)
def test_a_room_doesnt_know_what_it_has_no_business_with(path: Path) -> None:
    for imported in _imports(path):
        for name in FORBIDDEN.get(_room(_module(path)), ()):
            assert imported != name
            assert not imported.startswith(f"{name}."), f"{_module(path)} imports {imported}"


@pytest.mark.parametrize("path", MODULES, ids=_module)
def test_no_wing_imports_another(path: Path) -> None:
    room = _room(_module(path))
    if room in WINGS:
        others = {_room(name) for name in _ours(path)} & set(WINGS) - {room}
        assert not others


def test_only_the_line_names_the_keys_of_the_line() -> None:
    for path in MODULES:
        if path.name != "line.py" or path.parent.name != "waitlist":
            assert "{waitlist:" not in path.read_text(), path
