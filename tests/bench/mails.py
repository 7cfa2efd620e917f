"""The row of mail: one worker's sending, against a connection that is only fed bytes."""

from __future__ import annotations

from tests.bench import ceilings
from tests.bench.bars import Row, Unmeasured, compared, interleaved
from tests.bench.stand import Stand

OWED_A_SECOND = 2_500  # of sending, so that the worker never runs dry


def mail(stand: Stand) -> Row:
    """Mails a second."""
    big, seconds = stand.big, stand.scale.seconds
    first = stand.folder / "first.eml"

    def run() -> float:
        before = big.mails_sent()
        done = big.inside("deliver", seconds)
        return (big.mails_sent() - before) / done.seconds

    def ceiling() -> float:
        if not first.exists():
            raise Unmeasured("no mail arrived")
        return ceilings.smtp(stand.mail_port, first.read_bytes(), seconds)

    big.inside("admit", int(OWED_A_SECOND * seconds * stand.scale.runs))
    pairs = interleaved(stand.scale.runs, run, ceiling)
    return compared("mail", pairs, size=big.people, bytes_of_a_mail=first.stat().st_size)
