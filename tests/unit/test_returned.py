"""Reading mail that came back: what it says, and that junk says nothing."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.returned import absence, complaint, dsn
from waitlist import returnpath
from waitlist.policy.reports import Kind
from waitlist.reports import returned

HOME = "bounces@join.example.com"
PATH = returnpath.address(("a key",), HOME, 7, "0" * 16)


@pytest.mark.parametrize(
    "action, status, kind",
    [
        ("failed", "5.1.1", Kind.BOUNCED),
        ("Failed", "5.7.1 (delivery not authorized)", Kind.BOUNCED),
        ("failed", "5.2.2", Kind.DEFERRED),  # full today
        ("failed", "4.4.7", Kind.DEFERRED),  # given up, and it may be the server
        ("delayed", "4.4.1", Kind.DEFERRED),
        ("delivered", "2.0.0", Kind.DELIVERED),
    ],
)
def test_a_status_says_what_became_of_a_mail(action: str, status: str, kind: Kind) -> None:
    """RFC 3464, sections 2.3.3 and 2.3.4."""
    [report] = returned.read(dsn(PATH, action=action, status=status, diagnosis="x"))
    assert (report.provider, report.kind, report.return_path) == ("dsn", kind, PATH)
    assert report.words == f"{action.lower()} {status[:5]}"


@pytest.mark.parametrize("action", ["relayed", "expanded", "", "exploded"])
def test_other_statuses_say_nothing_yet(action: str) -> None:
    assert returned.read(dsn(PATH, action=action)) == []


def test_nothing_that_names_the_person_is_kept() -> None:
    [report] = returned.read(dsn(PATH, diagnosis="550 alice <alice@example.org> is unknown"))
    assert "alice" not in str(report)


@pytest.mark.parametrize(
    "feedback, kind",
    [
        ("abuse", Kind.COMPLAINED),
        ("fraud", Kind.COMPLAINED),
        ("not-spam", Kind.DEFERRED),
        ("auth-failure", Kind.DEFERRED),
    ],
)
def test_a_complaint_goes_elsewhere_and_names_the_return_path(feedback: str, kind: Kind) -> None:
    """RFC 5965, section 3.1: the fields and what was sent are parts of it."""
    [report] = returned.read(complaint(PATH, feedback=feedback))
    assert (report.kind, report.return_path.strip("<>")) == (kind, PATH)


def test_the_same_mail_is_the_same_report_and_another_isnt() -> None:
    again = dsn(PATH).replace(b"Received:", b"Received: from here\r\nReceived:")
    assert returned.read(dsn(PATH)) == returned.read(again)
    assert returned.read(dsn(PATH)) != returned.read(dsn(PATH, number=2))


@pytest.mark.parametrize("mail", [absence(PATH), b"", b"\xff" * 99, dsn(HOME), complaint(HOME)])
def test_what_names_no_mail_or_is_no_report_says_nothing(mail: bytes) -> None:
    assert returned.read(mail) == []


def test_line_ends_of_either_kind_are_read() -> None:
    mail = dsn(PATH)
    assert returned.read(mail.replace(b"\n", b"\r\n")) == returned.read(mail)


@pytest.mark.parametrize(
    "mail",
    [
        b"Content-Type: multipart/report; boundary=b\n\n" + b"--b\n" * 50_000,
        b"\n".join(
            b'Content-Type: multipart/report; boundary="%d"\n\n--%d' % (n, n) for n in range(5_000)
        ),
        b"Content-Type: multipart/report; boundary=b\n\n--b\nContent-Type: message/rfc822\n\n"
        * 999,
        dsn(PATH).replace(b"us-ascii", b"no-such-charset").replace(b"7bit", b"base65"),
        dsn(PATH).replace(b"To: ", b"To: =?utf-8?q?=ff=?= ", 1),
        dsn(PATH)[:700],
    ],
)
def test_mails_that_are_made_to_be_unreadable_do_no_harm(mail: bytes) -> None:
    returned.read(mail)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.data())
def test_whatever_is_changed_in_a_mail_it_is_read_without_harm(data: st.DataObject) -> None:
    """And it never names another mail."""
    mail = data.draw(st.sampled_from([dsn(PATH), complaint(PATH), absence(PATH)]))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(mail)))
        mail = (
            mail[:at]
            + data.draw(st.binary(max_size=20))
            + mail[at + data.draw(st.integers(0, 40)) :]
        )
    for report in returned.read(mail):
        found = returnpath.found(report.return_path)
        assert found is not None
        assert found.id == 7 or not found.opens(("a key",), "0" * 16)


@given(st.binary(max_size=2_000))
def test_junk_is_no_report(mail: bytes) -> None:
    assert returned.read(mail) == []
