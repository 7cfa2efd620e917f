"""Settings: what is missing or wrong stops the start with a sentence."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from waitlist import config
from waitlist.errors import SettingInvalid

RIGHT = {
    "PUBLIC_URL": "https://join.example.com/",
    "SECRET_KEYS": "k" * 32,
    "REDIS_URL": "redis://localhost:6379/0",
}


def load(tmp_path: Path, **changes: str) -> config.Settings:
    return config.load({**RIGHT, "INSTANCE": str(tmp_path), **changes})


def test_the_right_settings_are_read(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert settings.public_url == "https://join.example.com"
    assert settings.host == "join.example.com"
    assert settings.database_url == f"sqlite:///{tmp_path / 'waitlist.sqlite3'}"
    assert settings.confirm_within == timedelta(hours=48)
    assert settings.invite_within == timedelta(hours=72)
    assert not settings.development
    assert (settings.mail_per_minute, settings.mail_per_day) == (6_000, None)
    assert settings.mail_warm_up == ()
    assert (settings.mail_bounces_slow, settings.mail_bounces_stop) == (2, 5)


@pytest.mark.parametrize(
    "name,value",
    [
        ("PUBLIC_URL", "join.example.com"),
        ("PUBLIC_URL", "ftp://join.example.com"),
        ("PUBLIC_URL", "https://"),
        ("PUBLIC_URL", ""),
        ("SECRET_KEYS", ""),
        ("SECRET_KEYS", "changeme"),
        ("SECRET_KEYS", "k" * 31),
        ("SECRET_KEYS", f"{'k' * 32},short"),
        ("ENVIRONMENT", "staging"),
        ("DATABASE_URL", "mysql://db/waitlist"),
        ("DATABASE_URL", "waitlist.sqlite3"),
        ("PRODUCT_URL", "aurora"),
        ("MAIL_PORT", "0"),
        ("MAIL_PORT", "65536"),
        ("MAIL_PORT", "smtp"),
        ("MAIL_USE_TLS", "perhaps"),
        ("MAIL_FROM", "us"),
        ("MAIL_FROM", "Us <us@example.com>"),
        ("MAIL_FROM", "us@example.com\r\nBcc: eve@example.org"),
        ("MAIL_PER_MINUTE", "0"),
        ("MAIL_PER_MINUTE", "-5"),
        ("MAIL_PER_DAY", "0"),
        ("MAIL_WARM_UP", "200,0"),
        ("MAIL_WARM_UP", "200,many"),
        ("MAIL_BOUNCES_SLOW", "101"),
        ("MAIL_BOUNCES_STOP", "-1"),
        ("MAIL_BOUNCES_STOP", "1"),
        ("MAIL2_PORT", "smtp"),
        ("MAIL2_USE_TLS", "perhaps"),
        ("MAIL2_AFTER", "0"),
        ("MAIL2_REFUSED", "101"),
        ("DKIM_SELECTOR", "s1,not a selector"),
        ("CONFIRM_WITHIN", "0"),
        ("CONFIRM_WITHIN", "2d"),
        ("INVITE_WITHIN", "0"),
        ("INVITE_WITHIN", "999999"),
    ],
)
def test_a_wrong_setting_stops_the_start_and_names_itself(
    tmp_path: Path, name: str, value: str
) -> None:
    with pytest.raises(SettingInvalid, match=name):
        load(tmp_path, **{name: value})


def test_a_second_mail_server_is_one_that_has_a_name(tmp_path: Path) -> None:
    assert load(tmp_path, MAIL2_PORT="587").mail2 is None
    second = load(tmp_path, MAIL2_SERVER="smtp.example.net", MAIL2_PORT="587", MAIL2_USE_TLS="yes")
    assert second.mail2 == config.Relay("smtp.example.net", 587, None, None, True)


def test_a_missing_redis_stops_the_start_in_production(tmp_path: Path) -> None:
    with pytest.raises(SettingInvalid, match="REDIS_URL"):
        load(tmp_path, REDIS_URL="")


def test_a_wrong_redis_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingInvalid, match="REDIS_URL"):
        load(tmp_path, REDIS_URL="localhost")


def test_a_secret_is_never_in_the_sentence(tmp_path: Path) -> None:
    with pytest.raises(SettingInvalid) as refused:
        load(tmp_path, SECRET_KEYS="hush-hush")
    assert "hush" not in str(refused.value)


def test_several_keys_are_kept_in_their_order(tmp_path: Path) -> None:
    settings = load(tmp_path, SECRET_KEYS=f"{'new' * 11},{'old' * 11}")
    assert settings.secret_keys == ("new" * 11, "old" * 11)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_a_platforms_postgres_address_is_understood(tmp_path: Path, scheme: str) -> None:
    settings = load(tmp_path, DATABASE_URL=f"{scheme}://u:p@db:5432/waitlist")
    assert settings.database_url == "postgresql+psycopg://u:p@db:5432/waitlist"


def test_the_environment_is_above_run_env_and_that_below_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "run.env").write_text("LAUNCH_NAME=from run.env\nMAIL_PORT=1025\n")
    (tmp_path / "secrets.env").write_text(f"SECRET_KEYS={'s' * 40}\n")
    environ = {"INSTANCE": str(tmp_path), "PUBLIC_URL": RIGHT["PUBLIC_URL"]}
    environ |= {"REDIS_URL": RIGHT["REDIS_URL"], "LAUNCH_NAME": "from the environment"}
    settings = config.load(environ)
    assert settings.launch_name == "from the environment"
    assert settings.mail_port == 1025
    assert settings.secret_keys == ("s" * 40,)


def test_an_empty_variable_hides_nothing(tmp_path: Path) -> None:
    (tmp_path / "run.env").write_text("MAIL_PORT=1025\n")
    assert load(tmp_path, MAIL_PORT="").mail_port == 1025


def test_development_finds_its_redis_by_itself(tmp_path: Path) -> None:
    settings = load(tmp_path, ENVIRONMENT="development", REDIS_URL="")
    assert settings.redis_url == f"unix://{config.redis_socket(tmp_path)}"


def test_a_socket_under_a_long_path_moves_to_a_short_one(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    socket = config.redis_socket(deep)
    assert len(str(socket).encode()) <= config.SOCKET_PATH_LIMIT
    assert socket == config.redis_socket(deep)
    assert socket != config.redis_socket(tmp_path / ("e" * 100))


def test_webhooks_go_where_the_setting_allows_and_in_development_everywhere(
    tmp_path: Path,
) -> None:
    assert load(tmp_path).webhook_allow == ()
    given = load(tmp_path, WEBHOOK_ALLOW="app.internal, 10.0.0.0/8")
    assert given.webhook_allow == ("app.internal", "10.0.0.0/8")
    developing = load(tmp_path, ENVIRONMENT="development")
    assert developing.webhook_allow == ("0.0.0.0/0", "::/0")
    with pytest.raises(SettingInvalid, match="WEBHOOK_ALLOW"):
        load(tmp_path, WEBHOOK_ALLOW="https://app.internal")


@pytest.mark.parametrize(
    "name, value",
    [
        ("MAIL_RETURN", "bounces"),
        ("MAIL_RETURN", "@join.example.com"),
        ("MAIL_RETURN", f"{'b' * 32}@join.example.com"),
        ("MAIL_RETURN", "a b@join.example.com"),
        ("MAIL_HOOK_SES_TOPIC", "mail"),
        ("MAIL_HOOK_SES_TOPIC", "arn:aws:sns:eu-west-1.evil:123456789012:mail"),
        ("MAIL_HOOK_POSTMARK", "hush"),
        ("MAIL_HOOK_POSTMARK", "name:hush"),
        ("MAIL_HOOK_SECRET", "hush"),
        ("MAIL_HOOK_SECRET", "whsec_hush"),
        ("MAIL_HOOK_SECRET", "whsec_aHVzaA=="),
    ],
)
def test_what_reports_come_by_is_checked_and_not_told(
    tmp_path: Path, name: str, value: str
) -> None:
    with pytest.raises(SettingInvalid, match=name) as refused:
        load(tmp_path, **{name: value})
    assert "hush" not in str(refused.value)


def test_a_return_path_may_be_as_long_as_what_is_added_allows(tmp_path: Path) -> None:
    home = f"{'b' * 31}@join.example.com"
    assert load(tmp_path, MAIL_RETURN=home).mail_return == home
