"""`flask invitation`: what becomes of invitations, one by one."""

from __future__ import annotations

import click


@click.group("invitation")
def group() -> None:
    """Invitations."""
