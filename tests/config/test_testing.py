"""The plugin that runs these tests: own servers, own numbers, tables emptied behind a commit."""

import os
from uuid import uuid4

import pytest
from django.contrib.sessions.models import Session
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from audit.models import Event
from config import testing


@pytest.mark.parametrize(
    ("given", "own"),
    [
        ("unix:///run/v.sock?db=0", "unix:///run/v.sock?db=3"),
        ("redis://broker:6379/0", "redis://broker:6379/3"),
        ("redis://broker:6379", "redis://broker:6379/3"),
        ("redis://user:pw@broker/12", "redis://user:pw@broker/3"),
    ],
)
def test_worker_has_its_own_number(given: str, own: str) -> None:
    assert testing.own_database(url=given, number=3) == own


def test_path_that_is_not_there_is_named() -> None:
    testing.check_paths(given=[__file__, f"{__file__}::test_environment_of_the_machine_stays_out"])
    with pytest.raises(pytest.UsageError, match="There is no nosuch in /"):
        testing.check_paths(given=[__file__, "nosuch::test"])


def test_environment_of_the_machine_stays_out() -> None:
    assert os.environ["BACKFILL_ENV"] == "test"
    assert os.environ["SECRET_KEY"] == "for-tests-only"


@pytest.mark.django_db(transaction=True)
def test_large_tables_are_emptied_too_and_migrations_stay() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO django_session (session_key, session_data, expire_date)"
            " SELECT n, repeat('x', 1000), now() FROM generate_series(1, 2000) AS n"
        )
        cursor.execute("SELECT pg_relation_size('django_session')")
        (size,) = cursor.fetchone() or (0,)
        assert size > testing.LARGE
        testing.empty_tables()
        assert not Session.objects.exists()
        cursor.execute("SELECT count(*) FROM django_migrations")
        assert cursor.fetchone() > (0,)


@pytest.mark.django_db(transaction=True)
def test_append_only_tables_are_emptied_too() -> None:
    Event.objects.create(
        tenant_id=uuid4(),
        kind="slot.opened",
        subject_type="slot",
        subject_id=uuid4(),
        actor_type="system",
        at=timezone.now(),
    )
    with pytest.raises(DatabaseError), transaction.atomic():
        Event.objects.all().delete()
    testing.empty_tables()
    assert not Event.objects.exists()
