"""The matrix: a row for each fault."""

from __future__ import annotations

from tests.faults.breaks import At, Killed
from tests.faults.faults import Fault

FAULTS = (
    Fault("web killed before joins are committed", At("join.before-commit", "web"), short=True),
    Fault("web killed before a join is answered", At("join.committed", "web")),
    Fault(
        "web killed before a confirmation is committed",
        At("confirm.before-commit", "web"),
        during="confirm",
    ),
    Fault(
        "web killed before the last step is committed",
        At("completion.before-commit", "web"),
        during="complete",
    ),
    Fault(
        "web killed before the last step is answered",
        At("completion.committed", "web"),
        during="complete",
    ),
    Fault(
        "admission killed under the gate's lock",
        At("admission.locked", "admission"),
        during="admit",
    ),
    Fault(
        "admission killed before the line's removal",
        At("admission.before-removal", "admission"),
        during="admit",
    ),
    Fault("redis killed", Killed("redis"), during="admit"),
    Fault("redis lost", Killed("redis", data=False), during="admit"),
)
