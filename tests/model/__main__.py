"""Tells what the model found: `python -m tests.model`."""

from __future__ import annotations

from tests.model.guards import FAULTS, GUARDS
from tests.model.search import search

if __name__ == "__main__":
    found = search()
    print(f"with all guards: {found.states:,} states, {found.broken or 'every promise holds'}")
    for without, promise in FAULTS:
        print("\nbut for:", "; ".join(GUARDS[guard] for guard in without.split()))
        bad = search(without, promise)
        print("\n".join(f"  {step}" for step in bad.trace), f"  {bad.broken}", sep="\n")
