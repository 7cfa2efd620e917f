"""The settings: read once, strictly, from the environment.

Beneath the environment lie two files of the instance folder, `secrets.env` and
`run.env`. `make run` writes them, so that a command run beside it finds the same parts.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from dotenv import dotenv_values
from environs import Env, EnvError, validate

from waitlist import settable
from waitlist.errors import SettingInvalid

ROOT = Path(__file__).resolve().parent.parent
LOCALES = ("en", "fr")
SOCKET_PATH_LIMIT = 100  # bytes; the kernel's own limit is 104 to 108 (unix(7))
MAX_BODY = 64 * 1024  # bytes of a request


@dataclass(frozen=True)
class Relay:
    """A mail server that takes our mail, and how to sign in there."""

    server: str
    port: int
    username: str | None
    password: str | None
    use_tls: bool


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
    mail_return: str | None  # where mail that comes back goes
    mail_per_minute: int
    mail_per_day: int | None
    mail_warm_up: tuple[int, ...]
    mail_bounces_slow: float
    mail_bounces_stop: float
    mail2: Relay | None
    mail2_after: timedelta
    mail2_refused: float
    dkim_selectors: tuple[str, ...]
    mail_hook_ses_topic: str | None
    mail_hook_postmark: str | None  # name and password, with a colon between
    mail_hook_secrets: tuple[str, ...]
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
    webhook_allow: tuple[str, ...]
    last_step_alarm: float
    release: str

    @property
    def host(self) -> str:
        """The host name of the public address, for Message-IDs."""
        return urlsplit(self.public_url).hostname or "localhost"

    @property
    def mail1(self) -> Relay:
        """The first mail server."""
        return Relay(
            self.mail_server,
            self.mail_port,
            self.mail_username,
            self.mail_password,
            self.mail_use_tls,
        )

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
    product, percent = env.str("PRODUCT_URL", ""), validate.Range(0, 100)
    return Settings(
        instance=instance,
        development=development,
        public_url=settable.web_address("PUBLIC_URL", env.str("PUBLIC_URL", "")),
        secret_keys=settable.secret_keys(env.list("SECRET_KEYS", [])),
        database_url=settable.database_url(
            env.str("DATABASE_URL", f"sqlite:///{instance / 'waitlist.sqlite3'}")
        ),
        redis_url=settable.redis_url(
            env.str("REDIS_URL", f"unix://{redis_socket(instance)}" if development else "")
        ),
        launch_name=env.str("LAUNCH_NAME", "Waitlist"),
        product_url=settable.web_address("PRODUCT_URL", product) if product else None,
        mail_server=env.str("MAIL_SERVER", "127.0.0.1"),
        mail_port=env.int("MAIL_PORT", 25, validate=validate.Range(1, 65535)),
        mail_username=env.str("MAIL_USERNAME", None),
        mail_password=env.str("MAIL_PASSWORD", None),
        mail_use_tls=env.bool("MAIL_USE_TLS", False),
        mail_from=settable.plain_address(env.str("MAIL_FROM", "waitlist@localhost.localdomain")),
        mail_return=settable.return_path(env.str("MAIL_RETURN", None)),
        mail_per_minute=env.int("MAIL_PER_MINUTE", 6_000, validate=validate.Range(min=1)),
        mail_per_day=env.int("MAIL_PER_DAY", None, validate=validate.Range(min=1)),
        mail_warm_up=settable.warm_up(env.list("MAIL_WARM_UP", [], subcast=int)),
        mail_bounces_slow=(slow := env.float("MAIL_BOUNCES_SLOW", 2.0, validate=percent)),
        mail_bounces_stop=settable.stop_share(
            env.float("MAIL_BOUNCES_STOP", 5.0, validate=percent), slow=slow
        ),
        mail2=_second_relay(env),
        mail2_after=timedelta(
            minutes=env.int("MAIL2_AFTER", 5, validate=validate.Range(1, 24 * 60))
        ),
        mail2_refused=env.float("MAIL2_REFUSED", 50.0, validate=percent),
        dkim_selectors=settable.dkim_selectors(env.list("DKIM_SELECTOR", [])),
        mail_hook_ses_topic=settable.sns_topic(env.str("MAIL_HOOK_SES_TOPIC", None)),
        mail_hook_postmark=settable.name_and_password(env.str("MAIL_HOOK_POSTMARK", None)),
        mail_hook_secrets=settable.webhook_secrets(env.list("MAIL_HOOK_SECRET", [])),
        proxy_hops=(hops := env.int("PROXY_HOPS", 0, validate=validate.Range(0, 10))),
        country_header=settable.header(env.str("COUNTRY_HEADER", "")) if hops else None,
        timezone=settable.timezone(env.str("TIMEZONE", "UTC")),
        joins_a_minute=env.int("JOINS_A_MINUTE", 600, validate=validate.Range(min=1)),
        web_processes=env.int("WEB_CONCURRENCY", 2, validate=validate.Range(1, 256)),
        web_threads=env.int("WEB_THREADS", 16, validate=validate.Range(2, 256)),
        confirm_within=timedelta(
            hours=env.int("CONFIRM_WITHIN", 48, validate=validate.Range(1, 24 * 90))
        ),
        invite_within=timedelta(
            hours=env.int("INVITE_WITHIN", 72, validate=validate.Range(1, 24 * 90))
        ),
        health_token=settable.health_token(env.str("HEALTH_TOKEN", None)),
        health_url=settable.health_url(env.str("HEALTH_URL", None)),
        health_every=timedelta(
            seconds=(every := env.int("HEALTH_EVERY", 10, validate=validate.Range(1, 3600)))
        ),
        health_stale=settable.stale_after(
            env.int("HEALTH_STALE", 60, validate=validate.Range(5, 86_400)), every=every
        ),
        health_load=env.float("HEALTH_LOAD", 0.8, validate=validate.Range(0.1, 0.95)),
        health_p95_ms=env.float("HEALTH_P95_MS", None, validate=validate.Range(min=1)),
        wave_undo=timedelta(
            seconds=env.int("WAVE_UNDO", 60, validate=validate.Range(0, 24 * 3_600))
        ),
        webhook_allow=settable.webhook_allow(
            env.list("WEBHOOK_ALLOW", []), development=development
        ),
        last_step_alarm=env.float("LAST_STEP_ALARM", 5.0, validate=percent),
        release=settable.release(env.str("RELEASE", None), ROOT),
    )


def _second_relay(env: Env) -> Relay | None:
    server = env.str("MAIL2_SERVER", None)
    relay = Relay(
        server or "",
        env.int("MAIL2_PORT", 25, validate=validate.Range(1, 65535)),
        env.str("MAIL2_USERNAME", None),
        env.str("MAIL2_PASSWORD", None),
        env.bool("MAIL2_USE_TLS", False),
    )
    return relay if server else None


class _MappingEnv(Env):
    """An environs reader over a mapping of ours instead of `os.environ`."""

    def __init__(self, values: Mapping[str, str]) -> None:
        super().__init__()
        self.values = values

    def _get_value(self, env_key: str, default: object) -> object:
        return self.values.get(env_key, default)


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
        **_flask_mail(settings.mail1),
        "MAIL2": _flask_mail(settings.mail2 or settings.mail1),
        "MAIL_DEFAULT_SENDER": settings.mail_from,
        "BABEL_TRANSLATION_DIRECTORIES": str(ROOT / "waitlist" / "translations"),
        "BABEL_DEFAULT_TIMEZONE": "UTC",
        "BABEL_DEFAULT_LOCALE": LOCALES[0],
    }


def _flask_mail(relay: Relay) -> dict[str, object]:
    return {
        "MAIL_SERVER": relay.server,
        "MAIL_PORT": relay.port,
        "MAIL_USERNAME": relay.username,
        "MAIL_PASSWORD": relay.password,
        "MAIL_USE_TLS": relay.use_tls,
    }
