"""What keeps the promises of the last step, and what breaks without each."""

GUARDS = {
    "gate-lock": "an admission holds the gate's lock from its budget to its commit",
    "room-under-lock": "free seats are counted under the lock, not when the line is read",
    "waiting": "only who waits is taken (`taking.take`)",
    "one-open": "the unique index of open invitations",
    "completion-lock": "a completion holds the invitation's lock",
    "use-open": "a completion uses an invitation only while it is open",
    "one-registration": "the unique keys of registrations",
    "release-open": "a seat goes back only of an invitation that is open (`seats.give_back`)",
    "stored-answer": "who finds the invitation used is given the stored answer",
    "same-fields": "the stored answer is given for the same fields only",
    "grace": "the seat is held for half an hour after the deadline",
    "lapsed": "only who lapsed is invited again (`invitations.renew`)",
    "late": "only an invitation whose time is over is renewed",
}
ALL = frozenset(GUARDS)

# guards that are taken out, and the promise that is broken then
FAULTS = (
    ("gate-lock", "P3"),
    ("room-under-lock", "P3"),
    ("waiting", "P7"),
    ("waiting gate-lock one-open", "P7"),
    ("completion-lock", "P10"),
    ("completion-lock use-open", "P12"),
    ("completion-lock use-open one-registration", "P10: registered"),
    ("release-open", "P12"),
    ("stored-answer", "P10"),
    ("same-fields", "P10"),
    ("lapsed", "P10"),
    ("grace", "P11"),
    ("late", "P11"),
)
