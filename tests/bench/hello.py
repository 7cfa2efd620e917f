"""The least that Flask can do: the ceiling of everything that answers over HTTP."""

from __future__ import annotations

from flask import Flask

app = Flask(__name__)


@app.get("/")
def hello() -> str:
    """A short text."""
    return "Hello, world!"
