"""A program of ours under a clock that is off: `python -m tests.faults.shifted HOURS MODULE …`."""

from __future__ import annotations

import runpy
import sys
from datetime import UTC, datetime, timedelta

import time_machine


def main() -> None:
    """Run the module as its own command would, so many hours from now."""
    hours, module, *words = sys.argv[1:]
    then = datetime.now(UTC) + timedelta(hours=float(hours))
    sys.argv = [module, *words]
    with time_machine.travel(then, tick=True):
        runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
