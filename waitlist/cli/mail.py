"""`flask mail`: what has to do with mail servers."""

from __future__ import annotations

import click


@click.group("mail")
def group() -> None:
    """Mail."""
