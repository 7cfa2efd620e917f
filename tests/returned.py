"""Mail that came back, as mail servers write it."""

from __future__ import annotations

DSN = """\
Received: from mx.example.org by join.example.com; Mon, 1 Mar 2027 12:00:01 +0000
From: MAILER-DAEMON@mx.example.org (Mail Delivery System)
To: {return_path}
Subject: Undelivered Mail Returned to Sender
Auto-Submitted: auto-replied
Message-ID: <20270301120001.{number}@mx.example.org>
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="=_b"

This is a MIME-encapsulated message.

--=_b
Content-Type: text/plain; charset=us-ascii

I'm sorry to have to inform you that your message could not be delivered.

<alice@example.org>: host mx.example.org said: 550 5.1.1 User unknown

--=_b
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.org
X-Postfix-Sender: rfc822; {return_path}
Arrival-Date: Mon,  1 Mar 2027 12:00:00 +0000 (UTC)

Final-Recipient: rfc822; alice@example.org
Original-Recipient: rfc822;alice@example.org
Action: {action}
Status: {status}
Remote-MTA: dns; mx.example.org
Diagnostic-Code: smtp; {diagnosis}

--=_b
Content-Description: Undelivered Message Headers
Content-Type: text/rfc822-headers

Return-Path: <{return_path}>
From: line@join.example.com
To: alice@example.org
Message-ID: {message_id}

--=_b--
"""

ARF = """\
From: <abuse-desk@mailbox.example>
To: fbl@join.example.com
Subject: FW: You're invited
Message-ID: <{number}@mailbox.example>
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary="=_a"

--=_a
Content-Type: text/plain

This is an email abuse report.

--=_a
Content-Type: message/feedback-report

Feedback-Type: {feedback}
User-Agent: SomeGenerator/1.0
Version: 1
Original-Mail-From: <{return_path}>
Original-Rcpt-To: <alice@example.org>

--=_a
Content-Type: message/rfc822

Return-Path: <{return_path}>
From: line@join.example.com
To: alice@example.org
Message-ID: {message_id}
Subject: You're invited

Hello

--=_a--
"""

ABSENT = """\
From: alice@example.org
To: {return_path}
Subject: Out of office
Auto-Submitted: auto-replied

I'm away until Monday. 550 5.1.1
"""


def dsn(
    return_path: str,
    *,
    action: str = "failed",
    status: str = "5.1.1",
    diagnosis: str = "550 5.1.1 <alice@example.org>: User unknown",
    message_id: str = "<1.0@join.example.com>",
    number: int = 1,
) -> bytes:
    """A delivery status notification to this return path (RFC 3464)."""
    said = {"action": action, "status": status, "diagnosis": diagnosis, "message_id": message_id}
    return DSN.format(return_path=return_path, number=number, **said).encode()


def complaint(
    return_path: str,
    *,
    feedback: str = "abuse",
    message_id: str = "<1.0@join.example.com>",
    number: int = 1,
) -> bytes:
    """A complaint about what was sent with this return path (RFC 5965)."""
    said = {"feedback": feedback, "message_id": message_id, "number": number}
    return ARF.format(return_path=return_path, **said).encode()


def absence(return_path: str) -> bytes:
    """What somebody's mail program answers while they are away."""
    return ABSENT.format(return_path=return_path).encode()
