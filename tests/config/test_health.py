"""The probes, each with the part really failing that it has to name."""

from collections.abc import Iterator

import pytest
from django.db import connection
from django.test import Client
from pytest_django import Settings

from config import health


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """Ask for the migrations again in each test."""
    health.check_migrations.cache_clear()
    yield
    health.check_migrations.cache_clear()


@pytest.fixture
def probe(settings: Settings) -> Client:
    """A client that calls as a probe does: over HTTP, by an address nobody allowed."""
    settings.SECURE_SSL_REDIRECT = True
    settings.ALLOWED_HOSTS = ["backfill.example"]
    return Client(headers={"host": "10.0.0.7:8000"})


def test_healthz_needs_no_server(probe: Client) -> None:
    response = probe.get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "alive"})


def test_other_paths_do_need_an_allowed_host(probe: Client) -> None:
    assert probe.get("/admin/").status_code in {301, 400}


@pytest.mark.django_db
def test_readyz_when_all_is_well(probe: Client) -> None:
    response = probe.get("/readyz")
    assert response.status_code == 200
    assert response.json()["parts"] == {"database": "ok", "valkey": "ok", "migrations": "ok"}


@pytest.mark.django_db
def test_readyz_names_valkey_and_not_its_address(probe: Client, settings: Settings) -> None:
    settings.REDIS_URL = "unix:///nowhere/secret.sock?db=0"
    response = probe.get("/readyz")
    assert response.status_code == 503
    parts = response.json()["parts"]
    assert parts == {"database": "ok", "valkey": "ConnectionError", "migrations": "ok"}
    assert b"secret" not in response.content


def test_readyz_names_the_database(probe: Client) -> None:
    response = probe.get("/readyz")  # a test that did not ask for the database has none
    assert response.status_code == 503
    parts = response.json()["parts"]
    assert parts["database"] != "ok"
    assert parts["valkey"] == "ok"


@pytest.mark.django_db
def test_readyz_names_migrations_that_are_missing(probe: Client) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'waitlist'")
    response = probe.get("/readyz")
    assert response.status_code == 503
    assert response.json()["parts"]["migrations"] == "NotMigrated"
    assert response.json()["parts"]["database"] == "ok"
