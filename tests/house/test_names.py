"""What is named by words resolves, and no name says nothing."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

from waitlist.config import ROOT
from waitlist.wake import QUEUES

BANNED = {"utils", "helpers", "manager", "handler", "process", "data", "info", "misc"}
SOURCES = sorted(
    path
    for folder in ("waitlist", "workers", "tests")
    for path in (ROOT / folder).rglob("*.py")
    if "migrations" not in path.parts
)


def _defined(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name.strip("_").lower()


@pytest.mark.parametrize("queue", QUEUES)
def test_every_job_resolves_and_takes_nothing(queue: str) -> None:
    module, _, function = QUEUES[queue].rpartition(".")
    job = getattr(importlib.import_module(module), function)
    assert not inspect.signature(job).parameters


def test_every_queue_has_a_worker_in_the_procfile() -> None:
    procfile = (ROOT / "Procfile").read_text()
    for queue in QUEUES:
        assert f"workers.run {queue}" in procfile


def test_no_file_folder_function_or_class_has_a_name_that_says_nothing() -> None:
    found = {f"{path}: {name}" for path in SOURCES for name in _defined(path) if name in BANNED}
    found |= {str(path) for path in SOURCES if {path.stem, *path.relative_to(ROOT).parts} & BANNED}
    assert not found


def test_no_except_is_bare() -> None:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ExceptHandler):
                assert node.type is not None, f"{path}:{node.lineno}"
