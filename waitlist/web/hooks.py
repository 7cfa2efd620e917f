"""Where mail providers report what became of a mail, each signed in its own way."""

from __future__ import annotations

import hmac
from base64 import b64encode

import structlog
from flask import Blueprint, abort, current_app, jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized

from waitlist.errors import ReportUnproven, ReportUnsigned
from waitlist.extensions import settings
from waitlist.reports import generic, postmark, ses, sns, taking
from waitlist.reports.report import Report
from waitlist.web import asked

bp = Blueprint("hooks", __name__, url_prefix="/hooks")
log = structlog.get_logger()


@bp.post("/mail/<provider>")
def take_reports(provider: str) -> ResponseReturnValue:
    """Take what a provider says: 200, whatever it is, as long as it is signed.

    What we don't understand would be sent again for ever if it were refused. 404 for a provider
    that isn't set up, 401 or 403 for another's signature, 503 if it is to be sent again.
    """
    read = READERS.get(provider) or abort(404)
    try:
        reports = read(request.get_data())
    except (ReportUnsigned, ReportUnproven) as error:
        log.warning("delivery report refused", by=provider, why=str(error))
        raise
    outcomes = taking.take_all(reports, now=asked.now())
    if not reports:
        log.info("delivery report not understood", by=provider)
    return jsonify(outcomes=outcomes)


def _ses(body: bytes) -> list[Report]:
    topic = settings().mail_hook_ses_topic or abort(404)
    certificates = _certificates()
    message = sns.verified(body, topic=topic, certificates=certificates)
    if message["Type"] == sns.CONFIRMATION:
        sns.confirm(message, fetch=certificates.fetch)
    if message["Type"] != sns.NOTIFICATION:
        log.warning("a topic of SNS", type=message["Type"])
        return []
    return ses.read(message["Message"], sns_id=message["MessageId"])


def _certificates() -> sns.Certificates:
    made = sns.Certificates(sns.fetch)
    kept: sns.Certificates = current_app.extensions.setdefault("sns_certificates", made)
    return kept


def _postmark(body: bytes) -> list[Report]:
    expected = settings().mail_hook_postmark or abort(404)
    scheme, _, sent = request.headers.get("Authorization", "").partition(" ")
    is_right = hmac.compare_digest(sent.strip().encode(), b64encode(expected.encode()))
    if scheme.lower() != "basic" or not is_right:
        raise Unauthorized(www_authenticate=WWWAuthenticate("basic", {"realm": "mail"}))
    return postmark.read(body)


def _generic(body: bytes) -> list[Report]:
    secrets = settings().mail_hook_secrets or abort(404)
    sent = {name: request.headers.get(name, "") for name in generic.HEADERS}
    generic.verify(body, sent, secrets=secrets)
    return generic.read(body, webhook_id=sent["webhook-id"])


READERS = {"ses": _ses, "postmark": _postmark, "generic": _generic}
