"""What each setting may be: the value as it is used, or `SettingInvalid` with what to set."""

from __future__ import annotations

import binascii
import re
import subprocess
from base64 import b64decode
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from waitlist import returnpath
from waitlist.errors import SettingInvalid
from waitlist.policy import reach

SECRET_LENGTH = 32  # characters at least
RELEASE_LENGTH = 40
TOPIC = re.compile(r"arn:aws[a-z-]*:sns:[a-z0-9-]{3,30}:\d{12}:[A-Za-z0-9_-]{1,256}")
HEADER = re.compile(r"[A-Za-z0-9-]+")
SELECTOR = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(\._domainkey\.[A-Za-z0-9.-]+)?")


def secret_keys(keys: list[str]) -> tuple[str, ...]:
    """Keys that sign, each long enough."""
    if not keys:
        raise SettingInvalid(
            "SECRET_KEYS is not set. Set it to one long random value (or several, newest first), "
            'such as the output of: python3 -c "import secrets; print(secrets.token_urlsafe(48))"'
        )
    for key in keys:
        if len(key) < SECRET_LENGTH:
            raise SettingInvalid("SECRET_KEYS holds a value shorter than 32 characters: use longer")
    return tuple(keys)


def web_address(name: str, value: str) -> str:
    """The address of a page, without a slash at its end."""
    value = value.rstrip("/")
    if not value:
        raise SettingInvalid(
            f"{name} is not set. Set it to the address in every link, such as "
            "https://join.example.com; on your own machine `make run` does it for you."
        )
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingInvalid(
            f"{name} must be a web address such as https://join.example.com, not {value!r}"
        )
    return value


def database_url(url: str) -> str:
    """SQLAlchemy's form of the URL that platforms hand out (`postgres://…`)."""
    scheme, separator, rest = url.partition("://")
    if scheme in ("postgres", "postgresql", "postgresql+psycopg"):
        return f"postgresql+psycopg://{rest}"
    if scheme == "sqlite" and separator:
        return url
    raise SettingInvalid(f"DATABASE_URL must start with sqlite:/// or postgresql://, not {scheme}")


def redis_url(url: str) -> str:
    """The address of a Redis."""
    if urlsplit(url).scheme in ("redis", "rediss", "unix"):
        return url
    raise SettingInvalid(
        f"REDIS_URL must start with redis://, rediss:// or unix://, not {url!r}: "
        "set it to your Redis, such as redis://localhost:6379/0"
    )


def plain_address(address: str) -> str:
    """A bare mail address."""
    if "@" not in address or any(sign in address for sign in "\r\n<> "):
        raise SettingInvalid(f"MAIL_FROM must be a bare address, not {address!r}")
    return address


def return_path(address: str | None) -> str | None:
    """Where mail that comes back goes: a bare address with room for what names the mail."""
    if address is None:
        return None
    local, _, domain = address.rpartition("@")
    longest = returnpath.LONGEST_LOCAL_PART
    if not (0 < len(local) <= longest and domain) or any(sign in address for sign in "\r\n<> "):
        raise SettingInvalid(
            "MAIL_RETURN must be a bare address such as bounces@join.example.com, with at most "
            f"{longest} characters before the @, not {address!r}"
        )
    return address


def sns_topic(arn: str | None) -> str | None:
    """The name (ARN) of a topic of Amazon SNS."""
    if arn is not None and not TOPIC.fullmatch(arn):
        raise SettingInvalid(
            "MAIL_HOOK_SES_TOPIC must be the ARN of an SNS topic, such as "
            f"arn:aws:sns:eu-west-1:123456789012:mail, not {arn!r}"
        )
    return arn


def name_and_password(both: str | None) -> str | None:
    """A name and a password with a colon between."""
    if both is not None and len(both.partition(":")[2]) < SECRET_LENGTH:
        raise SettingInvalid(
            "MAIL_HOOK_POSTMARK must be name:password, the password of 32 characters at least"
        )
    return both


def webhook_secrets(secrets: list[str]) -> tuple[str, ...]:
    """Secrets of Standard Webhooks: base64 of 24 octets at least, after `whsec_`."""
    for secret in secrets:
        try:
            octets = b64decode(secret.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            octets = b""
        if len(octets) < 24:
            raise SettingInvalid(
                "MAIL_HOOK_SECRET must be whsec_ and base64 of at least 24 random octets, such as "
                'the output of: python3 -c "import base64, secrets; '
                "print('whsec_' + base64.b64encode(secrets.token_bytes(32)).decode())\""
            )
    return tuple(secrets)


def header(name: str) -> str | None:
    """A header's name, or None for none."""
    if name and not HEADER.fullmatch(name):
        raise SettingInvalid(
            f"COUNTRY_HEADER is a header's name such as CF-IPCountry, not {name!r}"
        )
    return name or None


def timezone(name: str) -> ZoneInfo:
    """A time zone by its name (IANA)."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise SettingInvalid(f"TIMEZONE is a name such as Europe/Paris, not {name!r}") from error


def warm_up(days: list[int]) -> tuple[int, ...]:
    """The most mails of the first days."""
    if any(mails < 1 for mails in days):
        raise SettingInvalid(
            "MAIL_WARM_UP must be the most mails of the first, second, … day, each at least 1, "
            f"such as 200,1000,5000, not {','.join(map(str, days))}"
        )
    return tuple(days)


def dkim_selectors(names: list[str]) -> tuple[str, ...]:
    """The selectors by which the relays sign (RFC 6376, section 3.1)."""
    for name in names:
        if not SELECTOR.fullmatch(name):
            raise SettingInvalid(
                f"DKIM_SELECTOR is a selector such as s1, or s1._domainkey.example.com where "
                f"another domain signs (several: comma between), not {name!r}"
            )
    return tuple(names)


def stop_share(stop: float, *, slow: float) -> float:
    """The share of bounces past which the gate stops, in percent."""
    if slow > stop:
        raise SettingInvalid(
            f"MAIL_BOUNCES_SLOW ({slow:g}) must not be over MAIL_BOUNCES_STOP ({stop:g}): "
            "the gate slows first, and stops when it gets worse"
        )
    return stop


def health_token(token: str | None) -> str | None:
    """The secret with which the product signs in, or None."""
    if token is not None and len(token) < SECRET_LENGTH:
        raise SettingInvalid("HEALTH_TOKEN is shorter than 32 characters: use a longer one")
    return token


def health_url(url: str | None) -> str | None:
    """As it is given: to a product `/health/` may be another page than `/health`."""
    parts = urlsplit(url or "http://none.example")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingInvalid(
            f"HEALTH_URL must be a web address such as https://example.com/healthz, not {url!r}"
        )
    return url


def webhook_allow(words: list[str], *, development: bool) -> tuple[str, ...]:
    """Hosts and networks that webhooks may go to, beside public ones; in development all."""
    given = tuple(word.strip() for word in words)
    try:
        reach.allowed(given)
    except ValueError as error:
        raise SettingInvalid(
            "WEBHOOK_ALLOW must be host names, addresses or networks, comma between, such as "
            f"app.internal,10.0.0.0/8: {error}"
        ) from error
    return (*given, *reach.EVERYTHING) if development else given


def stale_after(stale: int, *, every: int) -> timedelta:
    """How old the product's last word may be; seconds are given."""
    if stale < 2 * every:
        raise SettingInvalid(
            f"HEALTH_STALE ({stale} s) must be at least twice HEALTH_EVERY ({every} s): "
            "else a single answer that is late holds the gate"
        )
    return timedelta(seconds=stale)


def release(name: str | None, folder: Path) -> str:
    """The name of the code that runs: as given, else the commit that git tells, if it does."""
    if name:
        return name[:RELEASE_LENGTH]
    command = ["git", "-C", str(folder), "rev-parse", "--short=12", "HEAD"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return said.stdout.strip()
