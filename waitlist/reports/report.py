"""A report, whoever made it, and what its readers have in common."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from waitlist.policy.reports import Kind

ENHANCED = re.compile(r"(?<![\w.])[245]\.\d{1,3}\.\d{1,3}(?![\w.])")  # RFC 3463
BASIC = re.compile(r"(?<![\w.])[245]\d\d(?![\w.])")  # RFC 5321, section 4.2
WORD = re.compile(r"[A-Za-z-]{1,40}")


class Report(NamedTuple):
    """What became of a mail, as `provider` says it.

    The mail is named by its Message-ID or what else we named it by (`names`), by its return
    path, or by nothing but the `address` it went to. `id` is the same each time that the same
    is reported.
    """

    provider: str
    id: str
    kind: Kind
    names: str = ""
    return_path: str = ""
    address: str = ""
    words: str = ""


def digest(*parts: object) -> str:
    """What a report with these in it is known by; nothing of them can be read from it."""
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()


def words(*kinds: object, diagnosis: object = "") -> str:
    """What is kept of a server's own words: plain words of these, and codes of the diagnosis.

    All else may hold an address, or half of one.
    """
    said = str(diagnosis)
    codes = ENHANCED.search(said) or BASIC.search(said)
    plain = [str(kind) for kind in kinds if WORD.fullmatch(str(kind))]
    return " ".join([*plain, *([codes[0]] if codes else [])])


def json_object(text: str | bytes) -> Mapping[str, Any]:
    """The JSON object in this text; an empty one if it is none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def part(of: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The object of this name in another; an empty one if there is none."""
    found = of.get(name)
    return found if isinstance(found, dict) else {}


def text(of: Mapping[str, Any], name: str) -> str:
    """The string of this name in an object; an empty one if there is none."""
    found = of.get(name)
    return found if isinstance(found, str) else ""


def objects(of: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """The objects in the list of this name; none if there is no list."""
    found = of.get(name)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
