"""The settings: read once, strictly, from the environment.

Beneath the environment lie two files of the instance folder, `secrets.env` and
`run.env`. `make run` writes them, so that a command run beside it finds the same parts.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dotenv import dotenv_values
from environs import Env, EnvError, validate

from waitlist.errors import SettingInvalid

ROOT = Path(__file__).resolve().parent.parent
LOCALES = ("en", "fr")
SOCKET_PATH_LIMIT = 100  # bytes; the kernel's own limit is 104 to 108 (unix(7))
SECRET_LENGTH = 32  # characters at least
MAX_BODY = 64 * 1024  # bytes of a request
HEADER = re.compile(r"[A-Za-z0-9-]+")


@dataclass(frozen=True)
class Settings:
    """All settings, checked. The defaults are those of `docs/operations.md`."""

    instance: Path
    development: bool
    public_url: str
    secret_keys: tuple[str, ...]
    database_url: str
    redis_url: str
    launch_name: str
    product_url: str | None
    mail_server: str
    mail_port: int
    mail_username: str | None
    mail_password: str | None
    mail_use_tls: bool
    mail_from: str
    mail_per_minute: int
    mail_per_day: int | None
    mail_warm_up: tuple[int, ...]
    mail_bounces_slow: float
    mail_bounces_stop: float
    proxy_hops: int
    country_header: str | None  # None where no proxy could be trusted with it
    timezone: ZoneInfo
    joins_a_minute: int
    web_processes: int
    web_threads: int
    confirm_within: timedelta
    invite_within: timedelta
    health_token: str | None
    health_url: str | None
    health_every: timedelta
    health_stale: timedelta
    health_load: float
    health_p95_ms: float | None
    wave_undo: timedelta

    @property
    def host(self) -> str:
        """The host name of the public address, for Message-IDs."""
        return urlsplit(self.public_url).hostname or "localhost"

    @property
    def hot_threads(self) -> int:
        """How many threads of a web process joins and places may take; the rest is for others."""
        return self.web_threads - max(1, self.web_threads // 4)


def load(environ: Mapping[str, str]) -> Settings:
    """The checked settings; `SettingInvalid` with a sentence that says what to set."""
    instance = Path(environ.get("INSTANCE") or ROOT / "instance").absolute()
    try:
        return _read(_layered(environ, instance), instance)
    except EnvError as error:
        raise SettingInvalid(f"{str(error).rstrip('.')}. See docs/operations.md.") from error


def redis_socket(instance: Path) -> Path:
    """Where the embedded Redis of an instance listens; the same answer to everyone who asks."""
    inside = instance.absolute() / "redis" / "redis.sock"
    if len(str(inside).encode()) <= SOCKET_PATH_LIMIT:
        return inside
    digest = hashlib.sha256(str(instance.absolute()).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"waitlist-{digest}" / "redis.sock"


def _layered(environ: Mapping[str, str], instance: Path) -> dict[str, str]:
    layers = [
        *(dotenv_values(instance / name, interpolate=False) for name in ("run.env", "secrets.env")),
        environ,
    ]
    return {key: value for layer in layers for key, value in layer.items() if value}


def _read(values: Mapping[str, str], instance: Path) -> Settings:
    env = _MappingEnv(values)
    development = (
        env.str("ENVIRONMENT", "production", validate=validate.OneOf(["production", "development"]))
        == "development"
    )
    slow, stop = _bounces(env)
    every, stale = _health_times(env)
    return Settings(
        instance=instance,
        development=development,
        public_url=_web_address(env, "PUBLIC_URL"),
        secret_keys=_secret_keys(env.list("SECRET_KEYS", [])),
        database_url=_database_url(
            env.str("DATABASE_URL", f"sqlite:///{instance / 'waitlist.sqlite3'}")
        ),
        redis_url=_redis_url(
            env.str("REDIS_URL", f"unix://{redis_socket(instance)}" if development else "")
        ),
        launch_name=env.str("LAUNCH_NAME", "Waitlist"),
        product_url=_web_address(env, "PRODUCT_URL") if "PRODUCT_URL" in values else None,
        mail_server=env.str("MAIL_SERVER", "127.0.0.1"),
        mail_port=env.int("MAIL_PORT", 25, validate=validate.Range(1, 65535)),
        mail_username=env.str("MAIL_USERNAME", None),
        mail_password=env.str("MAIL_PASSWORD", None),
        mail_use_tls=env.bool("MAIL_USE_TLS", False),
        mail_from=_plain_address(env.str("MAIL_FROM", "waitlist@localhost.localdomain")),
        mail_per_minute=env.int("MAIL_PER_MINUTE", 6_000, validate=validate.Range(min=1)),
        mail_per_day=env.int("MAIL_PER_DAY", None, validate=validate.Range(min=1)),
        mail_warm_up=_warm_up(env.list("MAIL_WARM_UP", [], subcast=int)),
        mail_bounces_slow=slow,
        mail_bounces_stop=stop,
        proxy_hops=(hops := env.int("PROXY_HOPS", 0, validate=validate.Range(0, 10))),
        country_header=_header(env.str("COUNTRY_HEADER", "")) if hops else None,
        timezone=_timezone(env.str("TIMEZONE", "UTC")),
        joins_a_minute=env.int("JOINS_A_MINUTE", 600, validate=validate.Range(min=1)),
        web_processes=env.int("WEB_CONCURRENCY", 2, validate=validate.Range(1, 256)),
        web_threads=env.int("WEB_THREADS", 16, validate=validate.Range(2, 256)),
        confirm_within=timedelta(
            hours=env.int("CONFIRM_WITHIN", 48, validate=validate.Range(1, 24 * 90))
        ),
        invite_within=timedelta(
            hours=env.int("INVITE_WITHIN", 72, validate=validate.Range(1, 24 * 90))
        ),
        health_token=_health_token(env.str("HEALTH_TOKEN", None)),
        health_url=_health_url(env.str("HEALTH_URL", None)),
        health_every=every,
        health_stale=stale,
        health_load=env.float("HEALTH_LOAD", 0.8, validate=validate.Range(0.1, 0.95)),
        health_p95_ms=env.float("HEALTH_P95_MS", None, validate=validate.Range(min=1)),
        wave_undo=timedelta(
            seconds=env.int("WAVE_UNDO", 60, validate=validate.Range(0, 24 * 3_600))
        ),
    )


class _MappingEnv(Env):
    """An environs reader over a mapping of ours instead of `os.environ`."""

    def __init__(self, values: Mapping[str, str]) -> None:
        super().__init__()
        self.values = values

    def _get_value(self, env_key: str, default: object) -> object:
        return self.values.get(env_key, default)


def _secret_keys(keys: list[str]) -> tuple[str, ...]:
    if not keys:
        raise SettingInvalid(
            "SECRET_KEYS is not set. Set it to one long random value (or several, newest first), "
            'such as the output of: python3 -c "import secrets; print(secrets.token_urlsafe(48))"'
        )
    for key in keys:
        if len(key) < SECRET_LENGTH:
            raise SettingInvalid("SECRET_KEYS holds a value shorter than 32 characters: use longer")
    return tuple(keys)


def _web_address(env: Env, name: str) -> str:
    value = str(env.str(name, "")).rstrip("/")
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


def _database_url(url: str) -> str:
    """SQLAlchemy's form of the URL that platforms hand out (`postgres://…`)."""
    scheme, separator, rest = url.partition("://")
    if scheme in ("postgres", "postgresql", "postgresql+psycopg"):
        return f"postgresql+psycopg://{rest}"
    if scheme == "sqlite" and separator:
        return url
    raise SettingInvalid(f"DATABASE_URL must start with sqlite:/// or postgresql://, not {scheme}")


def _redis_url(url: str) -> str:
    if urlsplit(url).scheme in ("redis", "rediss", "unix"):
        return url
    raise SettingInvalid(
        f"REDIS_URL must start with redis://, rediss:// or unix://, not {url!r}: "
        "set it to your Redis, such as redis://localhost:6379/0"
    )


def _plain_address(address: str) -> str:
    if "@" not in address or any(sign in address for sign in "\r\n<> "):
        raise SettingInvalid(f"MAIL_FROM must be a bare address, not {address!r}")
    return address


def _header(name: str) -> str | None:
    if name and not HEADER.fullmatch(name):
        raise SettingInvalid(
            f"COUNTRY_HEADER is a header's name such as CF-IPCountry, not {name!r}"
        )
    return name or None


def _timezone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise SettingInvalid(f"TIMEZONE is a name such as Europe/Paris, not {name!r}") from error


def _warm_up(days: list[int]) -> tuple[int, ...]:
    if any(mails < 1 for mails in days):
        raise SettingInvalid(
            "MAIL_WARM_UP must be the most mails of the first, second, … day, each at least 1, "
            f"such as 200,1000,5000, not {','.join(map(str, days))}"
        )
    return tuple(days)


def _bounces(env: Env) -> tuple[float, float]:
    """The shares past which the gate slows and stops, in percent."""
    percent = validate.Range(0, 100)
    slow = env.float("MAIL_BOUNCES_SLOW", 2.0, validate=percent)
    stop = env.float("MAIL_BOUNCES_STOP", 5.0, validate=percent)
    if slow > stop:
        raise SettingInvalid(
            f"MAIL_BOUNCES_SLOW ({slow:g}) must not be over MAIL_BOUNCES_STOP ({stop:g}): "
            "the gate slows first, and stops when it gets worse"
        )
    return slow, stop


def _health_token(token: str | None) -> str | None:
    if token is not None and len(token) < SECRET_LENGTH:
        raise SettingInvalid("HEALTH_TOKEN is shorter than 32 characters: use a longer one")
    return token


def _health_url(url: str | None) -> str | None:
    """As it is given: to a product `/health/` may be another page than `/health`."""
    parts = urlsplit(url or "http://none.example")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingInvalid(
            f"HEALTH_URL must be a web address such as https://example.com/healthz, not {url!r}"
        )
    return url


def _health_times(env: Env) -> tuple[timedelta, timedelta]:
    """How often the product is asked, and how old its last word may be."""
    every = env.int("HEALTH_EVERY", 10, validate=validate.Range(1, 3600))
    stale = env.int("HEALTH_STALE", 60, validate=validate.Range(5, 86_400))
    if stale < 2 * every:
        raise SettingInvalid(
            f"HEALTH_STALE ({stale} s) must be at least twice HEALTH_EVERY ({every} s): "
            "else a single answer that is late holds the gate"
        )
    return timedelta(seconds=every), timedelta(seconds=stale)


def flask_config(settings: Settings) -> dict[str, object]:
    """The settings as Flask and its extensions name them."""
    return {
        "SETTINGS": settings,
        "SQLALCHEMY_DATABASE_URI": settings.database_url,
        "SQLALCHEMY_ENGINE_OPTIONS": {
            "pool_size": settings.web_threads + 2,
            "pool_pre_ping": not settings.database_url.startswith("sqlite"),  # a file stays
        },
        "MAX_CONTENT_LENGTH": MAX_BODY,
        "MAX_FORM_MEMORY_SIZE": MAX_BODY,
        "MAIL_SERVER": settings.mail_server,
        "MAIL_PORT": settings.mail_port,
        "MAIL_USERNAME": settings.mail_username,
        "MAIL_PASSWORD": settings.mail_password,
        "MAIL_USE_TLS": settings.mail_use_tls,
        "MAIL_DEFAULT_SENDER": settings.mail_from,
        "BABEL_TRANSLATION_DIRECTORIES": str(ROOT / "waitlist" / "translations"),
        "BABEL_DEFAULT_TIMEZONE": "UTC",
        "BABEL_DEFAULT_LOCALE": LOCALES[0],
    }
