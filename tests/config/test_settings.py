"""The settings, read anew from an environment of the test's own."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import environ
import pytest
from django.conf import LazySettings
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from kombu.transport.redis import Channel

from config import celery, logs
from notifications import mail_reports

FILE = Path(__file__).resolve().parents[2] / "config" / "settings.py"

PRODUCTION = {
    "SECRET_KEY": "secret",
    "ALLOWED_HOSTS": "backfill.example,www.backfill.example",
    "DATABASE_URL": "postgresql://backfill:password@database:5432/backfill",
    "REDIS_URL": "redis://broker:6379/0",
}

#: Each provider of mail, and what it cannot do without.
MAIL_KEYS = {
    "amazon_ses": "AWS_DEFAULT_REGION",
    "mailgun": "ANYMAIL_MAILGUN_API_KEY",
    "postmark": "ANYMAIL_POSTMARK_SERVER_TOKEN",
    "resend": "ANYMAIL_RESEND_API_KEY",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without any setting; `.env` and logging of the machine stay out of it."""
    for name in (*PRODUCTION, "BACKFILL_ENV", "DEBUG", "CELERY_BROKER_URL", "DATABASE_POOL",
                 "EMAIL_PROVIDER", *MAIL_KEYS.values()):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(environ.Env, "read_env", lambda *_: None)
    monkeypatch.setattr(logs, "settings", lambda **_: {})
    return monkeypatch


def read(environment: pytest.MonkeyPatch, **variables: str) -> ModuleType:
    """Read the settings with these variables set."""
    for name, value in variables.items():
        environment.setenv(name, value)
    spec = spec_from_file_location("settings_under_test", FILE)
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("missing", ["SECRET_KEY", "DATABASE_URL", "REDIS_URL"])
@pytest.mark.parametrize("value", [None, ""])
def test_production_names_what_is_missing(
    environment: pytest.MonkeyPatch, missing: str, value: str | None
) -> None:
    given = {name: text for name, text in PRODUCTION.items() if name != missing}
    if value is not None:
        given[missing] = value
    with pytest.raises(ImproperlyConfigured, match=missing):
        read(environment, **given)


def test_production_is_the_default_and_safe(environment: pytest.MonkeyPatch) -> None:
    settings = read(environment, **PRODUCTION)
    assert settings.ENV == "production"
    assert settings.DEBUG is False
    assert settings.ALLOWED_HOSTS == ["backfill.example", "www.backfill.example"]
    assert settings.SECURE_SSL_REDIRECT is True
    assert settings.SESSION_COOKIE_SECURE is settings.CSRF_COOKIE_SECURE is True


def test_debug_in_production_brings_no_secret(environment: pytest.MonkeyPatch) -> None:
    given = {name: text for name, text in PRODUCTION.items() if name != "SECRET_KEY"}
    with pytest.raises(ImproperlyConfigured, match="SECRET_KEY"):
        read(environment, DEBUG="1", **given)


def test_limits_and_proxies_may_be_empty_or_given(environment: pytest.MonkeyPatch) -> None:
    usual = read(environment, **PRODUCTION, RATE_LIMITS="").RATE_LIMITS
    assert usual["token"] == "5/minute"
    given = {"RATE_LIMITS": "token=7/minute,join:x=1/minute", "PROXIES": "1"}
    settings = read(environment, **PRODUCTION, **given)
    assert {**usual, "token": "7/minute", "join:x": "1/minute"} == settings.RATE_LIMITS
    assert settings.PROXIES == 1


def test_development_needs_nothing_and_connects_to_nothing(
    environment: pytest.MonkeyPatch,
) -> None:
    settings = read(environment, BACKFILL_ENV="development")
    assert settings.DEBUG is True
    assert settings.DATABASES["default"]["HOST"] == "/DATABASE_URL-is-not-set"
    assert settings.REDIS_URL == "unix:///REDIS_URL-is-not-set?db=0"


def test_development_without_debug_has_no_secret(environment: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImproperlyConfigured, match="SECRET_KEY"):
        read(environment, BACKFILL_ENV="development", DEBUG="0")


@pytest.mark.parametrize(("provider", "key"), MAIL_KEYS.items())
def test_a_provider_of_mail_is_ready_with_its_key(
    environment: pytest.MonkeyPatch, settings: LazySettings, provider: str, key: str
) -> None:
    given = {"EMAIL_PROVIDER": provider, key: "eu-west-1"}
    read_anew = read(environment, **PRODUCTION, **given)
    assert read_anew.EMAIL_ON is True
    settings.ANYMAIL = read_anew.ANYMAIL
    backend: Any = mail.get_connection(read_anew.EMAIL_BACKEND)
    backend.open()
    assert f"anymail.backends.{provider}" == type(backend).__module__
    known = backend.client.meta.region_name if provider == "amazon_ses" else vars(backend).values()
    assert "eu-west-1" in known
    backend.close()


@pytest.mark.parametrize("value", [None, ""])
@pytest.mark.parametrize(("provider", "key"), MAIL_KEYS.items())
def test_a_provider_of_mail_without_its_key_is_refused(
    environment: pytest.MonkeyPatch, provider: str, key: str, value: str | None
) -> None:
    given = {"EMAIL_PROVIDER": provider} | ({} if value is None else {key: value})
    with pytest.raises(ImproperlyConfigured, match=f"Set {key} in the environment"):
        read(environment, **PRODUCTION, **given)


def test_an_unknown_provider_of_mail_is_refused(environment: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImproperlyConfigured, match="EMAIL_PROVIDER is 'pigeon': use one of amazon"):
        read(environment, **PRODUCTION, EMAIL_PROVIDER="pigeon")


def test_each_provider_of_mail_reports_what_became_of_mails() -> None:
    assert mail_reports.READERS.keys() == MAIL_KEYS.keys()


def test_unknown_place_is_refused(environment: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImproperlyConfigured, match="BACKFILL_ENV is 'staging'"):
        read(environment, BACKFILL_ENV="staging", **PRODUCTION)


def test_socket_of_the_database_is_its_host(environment: pytest.MonkeyPatch) -> None:
    address = "postgresql://backfill@/backfill?host=/run/postgresql"
    database = read(environment, **PRODUCTION | {"DATABASE_URL": address}).DATABASES["default"]
    assert (database["NAME"], database["USER"]) == ("backfill", "backfill")
    assert database["HOST"] == "/run/postgresql"
    assert "host" not in database["OPTIONS"]
    assert "pool" not in database["OPTIONS"]


@pytest.mark.parametrize(
    ("redis_url", "broker_url"),
    [
        ("redis://broker:6379/0", "redis://broker:6379/0"),
        ("rediss://user:pw@broker/2", "rediss://user:pw@broker/2"),
        ("unix:///run/valkey.sock?db=3", "redis+socket:///run/valkey.sock?virtual_host=3"),
        ("unix:///run/valkey.sock", "redis+socket:///run/valkey.sock?virtual_host=0"),
    ],
)
def test_broker_is_valkey_unless_given(
    environment: pytest.MonkeyPatch, redis_url: str, broker_url: str
) -> None:
    given = PRODUCTION | {"REDIS_URL": redis_url}
    assert broker_url == read(environment, **given).CELERY_BROKER_URL
    given["CELERY_BROKER_URL"] = "redis://other/1"
    assert read(environment, **given).CELERY_BROKER_URL == "redis://other/1"


@pytest.mark.parametrize(
    ("task", "queue"),
    [
        ("waitlist.tasks.expire_holds", "waitlist"),
        ("notifications.tasks.relay_events", "notifications"),
        ("scheduling.tasks.generate_slots", "default"),
    ],
)
def test_task_goes_to_its_own_queue_only(task: str, queue: str) -> None:
    route = celery.app.amqp.router.route({}, task)["queue"]
    assert route.name == queue
    bound = [
        other.name
        for other in celery.app.amqp.queues.values()
        if (other.exchange.name, other.routing_key) == (route.exchange.name, route.routing_key)
    ]
    assert bound == [queue]


def test_broker_knows_the_options_it_is_given() -> None:
    given = celery.app.conf.broker_transport_options
    for_connecting = {"max_retries", "interval_start", "interval_step", "interval_max"}
    assert set(given) <= {*Channel.from_transport_options, *for_connecting}
