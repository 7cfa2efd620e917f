"""The matrix: a row for each fault, by what breaks."""

from __future__ import annotations

from tests.faults.breaks import (
    AllKilled,
    At,
    ClockSteps,
    Deployed,
    DiskFull,
    Flooded,
    Flushed,
    Killed,
    Locked,
    MailServer,
    MemoryFull,
    ParentKilled,
    Passing,
    ProductSays,
    Stopped,
    While,
)
from tests.faults.faults import Fault
from tests.faults.proxy import Trouble
from tests.faults.stand import PARTS

SQLITE, POSTGRES = ("sqlite",), ("postgres",)
PAST_ITS_LEASE = 62.0  # seconds
UNTIL_DONE = None
REFUSED = Trouble(refuse=True)
HELD = Trouble(hold=True)
SLOW = Trouble(delay=0.3)
CUT = Trouble(cut_after=100)
CUT_SOON = Trouble(cut_after=10)
PRODUCT_AWAY = Passing("handover", "product", REFUSED)
REPLY_TO_COMMIT_LOST = Trouble(after=b"COMMIT", swallow=True, once=True)
COMMIT_UNHEARD = Trouble(after=b"COMMIT", unheard=True, once=True)
REPLY_TO_MAIL_LOST = Trouble(after=b"\r\n.\r\n", swallow=True, once=True)
BYTE_A_SECOND = Trouble(delay=1.0, piece=1)
SECOND_MAIL = {"mail2": "mail"}
SECOND_ADMISSION = {"admission2": "admission"}

WEB = (
    Fault("web killed before joins are committed", At("join.before-commit", "web")),
    Fault("web killed before a join is answered", At("join.committed", "web"), short=True),
    Fault(
        "web killed before a confirmation is committed",
        At("confirm.before-commit", "web"),
        during="confirm",
    ),
    Fault(
        "web killed before a confirmation is answered",
        At("confirm.committed", "web"),
        during="confirm",
    ),
    Fault(
        "web killed when the password is hashed",
        At("completion.hashed", "web"),
        during="complete",
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
        short=True,
    ),
    Fault("all of the web killed while people join", Killed("web"), lasts=1),
    Fault("all of the web killed at the last step", Killed("web"), during="complete", lasts=1),
    Fault(
        "web stopped before joins are committed",
        At("join.before-commit", "web", "stop"),
        lasts=7,
    ),
    Fault(
        "web stopped before the last step is committed",
        At("completion.before-commit", "web", "stop"),
        during="complete",
        lasts=7,
    ),
)

ADMISSION = (
    Fault(
        "admission's job killed under the gate's lock",
        At("admission.locked", "admission"),
        during="admit",
    ),
    Fault(
        "admission's job killed before its commit",
        At("admission.before-commit", "admission"),
        during="admit",
    ),
    Fault(
        "admission's job killed after its commit",
        At("admission.committed", "admission"),
        during="admit",
    ),
    Fault(
        "admission's job killed before the line's removal",
        At("admission.before-removal", "admission"),
        during="admit",
        short=True,
    ),
    Fault(
        "admission's parent killed while its job is before its commit",
        While(At("admission.before-commit", "admission", "sleep"), ParentKilled("admission")),
        during="admit",
    ),
    Fault("all of admission killed", Killed("admission"), during="admit", lasts=1),
    Fault(
        "one of two admitters stopped under the gate's lock",
        At("admission.locked", "admission", "stop"),
        during="admit",
        lasts=8,
        beside=SECOND_ADMISSION,
    ),
    Fault(
        "one of two admitters stopped before the line's removal",
        At("admission.before-removal", "admission", "stop"),
        during="admit",
        lasts=8,
        beside=SECOND_ADMISSION,
    ),
    Fault(
        "an operator's wave killed after its commit",
        At("admission.committed", "command"),
        scene="wave",
        during="wave",
    ),
    Fault(
        "lapsing killed before its commit",
        At("lapse.before-commit", "admission"),
        scene="lapse",
        during="lapse",
    ),
    Fault(
        "lapsing killed after its commit",
        At("lapse.committed", "admission"),
        scene="lapse",
        during="lapse",
    ),
    Fault(
        "an import killed before its commit",
        At("import.before-commit", "command"),
        "import",
        "bring_in",
    ),
)

REBUILD = (
    Fault(
        "a rebuild killed when the epoch is new",
        At("rebuild.begun", "admission"),
        scene="rebuild",
        during="rebuild",
    ),
    Fault(
        "a rebuild killed after the temporary key",
        At("rebuild.filled", "admission"),
        scene="rebuild",
        during="rebuild",
    ),
    Fault(
        "a rebuild killed before the rename",
        At("rebuild.before-swap", "admission"),
        scene="rebuild",
        during="rebuild",
    ),
    Fault(
        "one of two rebuilds stopped after the temporary key",
        At("rebuild.filled", "admission", "stop"),
        scene="rebuild",
        during="rebuild",
        lasts=8,
        beside=SECOND_ADMISSION,
    ),
    Fault(
        "Redis lost during a rebuild",
        While(At("rebuild.filled", "admission", "stop"), Killed("redis", data=False)),
        scene="rebuild",
        during="rebuild",
    ),
)

MAIL = (
    Fault("mail's job killed after its lease", At("mail.leased", "mail"), during="admit"),
    Fault(
        "mail's job killed after the server's 250",
        At("mail.accepted", "mail"),
        during="admit",
        repeats=1,
    ),
    Fault(
        "mail's job killed before it marks what was sent",
        At("mail.before-mark", "mail"),
        during="admit",
    ),
    Fault(
        "mail's parent killed while its job has a lease",
        While(At("mail.leased", "mail", "sleep"), ParentKilled("mail")),
        during="admit",
    ),
    Fault("all of mail killed", Killed("mail"), during="admit", lasts=1, repeats=1),
    Fault(
        "one of two mail workers stopped past its lease",
        At("mail.leased", "mail", "stop"),
        during="admit",
        lasts=PAST_ITS_LEASE,
        repeats=1,
        beside=SECOND_MAIL,
    ),
    Fault(
        "one of two mail workers stopped past its lease after the server's 250",
        At("mail.accepted", "mail", "stop"),
        during="admit",
        lasts=PAST_ITS_LEASE,
        repeats=1,
        beside=SECOND_MAIL,
    ),
    Fault(
        "Redis lost before sent mails are marked",
        While(At("mail.before-mark", "mail", "stop"), Killed("redis", data=False)),
        during="admit",
    ),
)

MAIL_SERVER = (
    Fault("mail server refuses", Passing("mail", "mail", REFUSED), during="admit", lasts=5),
    Fault("mail server silent", Passing("mail", "mail", HELD), during="admit", lasts=10),
    Fault("mail server answers 421", MailServer("421 not now"), during="admit"),
    Fault("mail server answers 450", MailServer("450 greylisted"), during="admit"),
    Fault("mail server answers 450 after a mail", MailServer("450 later", 1), during="admit"),
    Fault("mail server answers 550 to a mail", MailServer("550 nobody", 1), during="admit"),
    Fault("mail server answers 552 to a mail", MailServer("552 full", 1), during="admit"),
    Fault(
        "mail server takes a mail and drops before its 250",
        MailServer("drop", 1),
        during="admit",
        repeats=1,
    ),
    Fault(
        "the answer to a mail is lost",
        Passing("mail", "mail", REPLY_TO_MAIL_LOST),
        during="admit",
        repeats=1,
    ),
    Fault(
        "mail server drops on QUIT",
        Passing("mail", "mail", Trouble(after=b"quit\r\n", unheard=True)),
        during="admit",
        lasts=1,
    ),
    Fault("mail server cuts", Passing("mail", "mail", CUT), during="admit", lasts=1, repeats=1),
    Fault(
        "mail server says a byte a second",
        Passing("mail", "mail", BYTE_A_SECOND),
        during="admit",
        lasts=20,
        repeats=1,
    ),
    Fault(
        "mail server says a byte a second past a lease, beside another worker",
        Passing("mail", "mail", BYTE_A_SECOND),
        during="admit",
        lasts=75,
        repeats=1,
        beside=SECOND_MAIL,
    ),
)

PRODUCT = (
    Fault(
        "hand-over's job killed after its lease",
        At("handover.leased", "handover"),
        during="complete",
    ),
    Fault(
        "hand-over's job killed after the product's 2xx",
        At("handover.delivered", "handover"),
        during="complete",
    ),
    Fault("all of hand-over killed", Killed("handover"), during="complete", lasts=1),
    Fault(
        "one of two hand-over workers stopped past its lease",
        At("handover.leased", "handover", "stop"),
        during="complete",
        lasts=PAST_ITS_LEASE,
        beside={"handover2": "handover"},
    ),
    Fault("product refuses", Passing("handover", "product", REFUSED), during="complete", lasts=5),
    Fault("product silent", Passing("handover", "product", HELD), during="complete", lasts=20),
    Fault("product slow", Passing("handover", "product", SLOW), during="complete", lasts=3),
    Fault("product cuts", Passing("handover", "product", CUT_SOON), during="complete", lasts=1),
    Fault(
        "the product's answer is lost",
        Passing("handover", "product", Trouble(after=b"/hooks", swallow=True, once=True)),
        during="complete",
    ),
    Fault("product answers 503", ProductSays(503), during="complete", lasts=3),
    Fault("product answers 429", ProductSays(429), during="complete", lasts=3),
    Fault("product answers 500 to one", ProductSays(500, 1), during="complete"),
    Fault("product wants no more (410)", ProductSays(410), during="complete", lasts=3),
    Fault("product away while people finish", PRODUCT_AWAY, during="complete", lasts=UNTIL_DONE),
)

REDIS = (
    Fault("Redis killed while people join", Killed("redis"), lasts=1),
    Fault("Redis lost while people join", Killed("redis", data=False), lasts=1, short=True),
    Fault("Redis killed at an admission", Killed("redis"), during="admit", lasts=1),
    Fault(
        "Redis lost before an admission is committed",
        While(At("admission.before-commit", "admission", "stop"), Killed("redis", data=False)),
        during="admit",
    ),
    Fault(
        "Redis killed before an admission's removal from the line",
        While(At("admission.before-removal", "admission", "stop"), Killed("redis")),
        during="admit",
    ),
    Fault("Redis restarted at an admission", Deployed(("redis",)), during="admit"),
    Fault("Redis flushed while people confirm", Flushed(), during="confirm"),
    Fault("Redis flushed at an admission", Flushed(), during="admit"),
    Fault("Redis away while people join", Killed("redis"), lasts=UNTIL_DONE),
    Fault("Redis away while people finish", Killed("redis"), during="complete", lasts=UNTIL_DONE),
    Fault("Redis frozen while people join", Stopped("redis"), lasts=UNTIL_DONE),
    Fault(
        "Redis frozen while people finish", Stopped("redis"), during="complete", lasts=UNTIL_DONE
    ),
    Fault("Redis frozen at an admission", Stopped("redis"), during="admit", lasts=8),
    Fault("Redis full while people join", MemoryFull(), lasts=UNTIL_DONE),
    Fault("Redis full while people finish", MemoryFull(), during="complete", lasts=UNTIL_DONE),
    Fault("Redis full at an admission", MemoryFull(), during="admit", lasts=5),
    Fault("Redis' disk full at an admission", DiskFull(("redis",), "AOF"), during="admit", lasts=5),
    Fault("Redis resets the web", Passing("web", "redis", REFUSED), lasts=UNTIL_DONE),
    Fault("Redis slow for the web", Passing("web", "redis", SLOW), lasts=UNTIL_DONE),
    Fault("Redis cuts admission", Passing("admission", "redis", CUT), during="admit", lasts=3),
    Fault(
        "Redis' answer to a removal from the line is lost",
        Passing("admission", "redis", Trouble(after=b"EVALSHA", swallow=True, once=True)),
        during="admit",
    ),
    Fault(
        "Redis' answer to a note of a sent mail is lost",
        Passing("mail", "redis", Trouble(after=b"waitlist:accepted", swallow=True, once=True)),
        during="admit",
    ),
)

SQL = (
    Fault("PostgreSQL killed while people join", Killed("postgres"), lasts=1, databases=POSTGRES),
    Fault(
        "PostgreSQL killed before an admission is committed",
        While(At("admission.before-commit", "admission", "stop"), Killed("postgres")),
        during="admit",
        databases=POSTGRES,
    ),
    Fault(
        "PostgreSQL killed before the last step is committed",
        While(At("completion.before-commit", "web", "stop"), Killed("postgres")),
        during="complete",
        databases=POSTGRES,
    ),
    Fault(
        "PostgreSQL killed before sent mails are marked",
        While(At("mail.before-mark", "mail", "stop"), Killed("postgres")),
        during="admit",
        databases=POSTGRES,
    ),
    Fault("PostgreSQL stopped while people join", Stopped("postgres"), lasts=7, databases=POSTGRES),
    Fault(
        "the answer to a join's COMMIT is lost",
        Passing("web", "sql", REPLY_TO_COMMIT_LOST),
        databases=POSTGRES,
    ),
    Fault(
        "the answer to a confirmation's COMMIT is lost",
        Passing("web", "sql", REPLY_TO_COMMIT_LOST),
        during="confirm",
        databases=POSTGRES,
    ),
    Fault(
        "the answer to the last step's COMMIT is lost",
        Passing("web", "sql", REPLY_TO_COMMIT_LOST),
        during="complete",
        databases=POSTGRES,
        short=True,
    ),
    Fault(
        "the last step's COMMIT never arrives",
        Passing("web", "sql", COMMIT_UNHEARD),
        during="complete",
        databases=POSTGRES,
    ),
    Fault(
        "the answer to an admission's COMMIT is lost",
        Passing("admission", "sql", REPLY_TO_COMMIT_LOST),
        during="admit",
        databases=POSTGRES,
    ),
    Fault(
        "the answer to mail's COMMIT is lost",
        Passing("mail", "sql", REPLY_TO_COMMIT_LOST),
        during="admit",
        repeats=1,
        databases=POSTGRES,
    ),
    Fault("PostgreSQL resets the web", Passing("web", "sql", REFUSED), lasts=3, databases=POSTGRES),
    Fault(
        "PostgreSQL cuts the web at the last step",
        Passing("web", "sql", CUT),
        during="complete",
        lasts=3,
        databases=POSTGRES,
    ),
    Fault("PostgreSQL slow for the web", Passing("web", "sql", SLOW), lasts=3, databases=POSTGRES),
    Fault("PostgreSQL silent to the web", Passing("web", "sql", HELD), lasts=7, databases=POSTGRES),
    Fault(
        "PostgreSQL's disk full",
        DiskFull(("postgres",), "File too large"),
        lasts=3,
        databases=POSTGRES,
    ),
    Fault(
        "SQLite's disk full while people join",
        DiskFull(PARTS, "unavailable"),
        lasts=3,
        databases=SQLITE,
        short=True,
    ),
    Fault(
        "SQLite's disk full at the last step",
        DiskFull(PARTS, "unavailable"),
        during="complete",
        lasts=3,
        databases=SQLITE,
    ),
    Fault("tables locked while people join", Locked(), lasts=7),
    Fault("tables locked at the last step", Locked(), during="complete", lasts=7),
)

CLOCK_AND_ALL = (
    Fault("clock killed before it wakes", At("clock.before-wake", "clock"), during="admit"),
    Fault("clock stopped", Stopped("clock"), during="admit", lasts=5),
    Fault("clock steps two hours ahead", ClockSteps(2), "way and on", during="admit", lasts=6),
    Fault("clock steps two hours back", ClockSteps(-2), "way and on", during="admit", lasts=6),
    Fault("a deploy under load", Deployed(), "stream", "stream", people=40, alongside=True),
    Fault("power fails under load", AllKilled(), "stream", "stream", people=40, lasts=1, repeats=1),
    Fault("power fails at an admission", AllKilled(), "way and on", "admit", lasts=1, repeats=1),
    Fault("a flood of joins at the last step", Flooded(512), during="complete", lasts=UNTIL_DONE),
)

FAULTS = (*WEB, *ADMISSION, *REBUILD, *MAIL, *MAIL_SERVER, *PRODUCT, *REDIS, *SQL, *CLOCK_AND_ALL)
