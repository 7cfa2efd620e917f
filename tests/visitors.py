"""Who uses the app in tests: a browser and an operator, each as isolated as in production."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from typing import Any, TypeVar

from click.testing import Result
from flask import Flask, has_app_context
from flask.cli import FlaskGroup, ScriptInfo
from flask.testing import FlaskClient, FlaskCliRunner
from werkzeug.test import TestResponse

from waitlist.extensions import db

T = TypeVar("T")


def in_a_loop(scene: Coroutine[Any, Any, T]) -> T:
    """What this gives, in a thread and loop of its own: the main thread's may be Playwright's."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, scene).result()


class Browser(FlaskClient):
    """A client without cookies, whose requests don't share the test's app context.

    Before a request the test's own session ends its transaction, so that it holds no lock
    and sees afterwards what the request did.
    """

    def __init__(self, app: Flask) -> None:
        super().__init__(app, app.response_class, use_cookies=False)

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        if has_app_context():
            db.session.rollback()
        return Context().run(super().open, *args, **kwargs)


class Operator(FlaskCliRunner):
    """Runs `flask …` as the shell does, without sharing the test's app context."""

    def __init__(self, app: Flask) -> None:
        super().__init__(app)
        self.group = FlaskGroup(create_app=lambda: app, load_dotenv=False, set_debug_flag=False)

    def run(self, *words: str, piped: bytes = b"") -> Result:
        """What `flask <words>` gives: `exit_code`, `stdout` and `stderr`."""
        db.session.rollback()
        obj = ScriptInfo(create_app=lambda: self.app, load_dotenv_defaults=False)
        result: Result = Context().run(self.invoke, self.group, words, input=piped, obj=obj)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    def json(self, *words: str) -> Any:
        """The JSON that a command prints; it must succeed."""
        result = self.run(*words, "--json")
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)
