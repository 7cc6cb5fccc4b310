"""The log cannot be changed; a job run's times go with its state; versions count themselves."""

from typing import Any
from uuid import uuid4

import pytest
from django.db import connection

from accounts.models import Tenant
from audit import events
from audit.models import Event, EventSeq, JobRun, Unrelayed
from tests import factories
from tests.audit import constraints
from tests.audit.refusals import refusal
from tests.waitlist.worlds import NOW

pytestmark = pytest.mark.django_db

LOG = ("audit_event", "audit_eventseq")


@pytest.fixture
def event() -> Event:
    """One event, with its number."""
    events.record(
        kind="slot.retired",
        tenant_id=uuid4(),
        subject_type="slot",
        subject_id=uuid4(),
        actor=events.SYSTEM,
        at=NOW,
    )
    event = Event.objects.get()
    EventSeq.objects.create(event_id=event.pk)
    return event


@pytest.mark.parametrize("table", LOG)
@pytest.mark.parametrize(
    "statement",
    ["UPDATE {table} SET {key} = {key}", "DELETE FROM {table}"],
    ids=["update", "delete"],
)
def test_what_is_in_the_log_stays_as_it_is(event: Event, table: str, statement: str) -> None:
    key = "id" if table == "audit_event" else "event_id"
    assert refusal(statement.format(table=table, key=key)) == (
        f"pgtrigger: Cannot update or delete rows from {table} table"
    )


@pytest.mark.parametrize("table", LOG)
@pytest.mark.parametrize("more", ["", " CASCADE", " RESTART IDENTITY"])
def test_the_log_cannot_be_truncated(table: str, more: str) -> None:
    assert refusal(f"TRUNCATE {table}{more}") == (f"cannot truncate the append-only table {table}")


def test_an_event_is_written_with_its_unrelayed_row(event: Event) -> None:
    assert list(Unrelayed.objects.values_list("event_id", flat=True)) == [event.pk]


def test_an_event_gets_one_number(event: Event) -> None:
    numbered = {"event": event.pk}
    assert refusal("INSERT INTO audit_eventseq (event_id) VALUES (%(event)s)", numbered) == (
        "audit_eventseq_event_id_key"
    )


def test_ids_are_made_by_the_database_and_sort_by_age() -> None:
    made = [factories.TenantFactory.create().pk for _ in range(5)]
    assert made == sorted(made)
    assert {pk.version for pk in made} == {7}


def test_every_update_counts_the_version_and_sets_the_time_whoever_makes_it() -> None:
    tenant = factories.TenantFactory.create()
    before = tenant.updated_at
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE accounts_tenant SET name = 'x', version = 40, updated_at = %s", [NOW]
        )
    tenant.refresh_from_db()
    assert tenant.version == 2
    assert before < tenant.updated_at < NOW
    Tenant.objects.filter(pk=tenant.pk).update(name="y")
    tenant.refresh_from_db()
    assert tenant.version == 3


@pytest.mark.parametrize(
    ("state", "finished_at", "refused"),
    [
        ("running", None, None),
        ("waiting", None, None),
        ("succeeded", NOW, None),
        ("failed", NOW, None),
        ("running", NOW, "jobrun_finished_at"),
        ("waiting", NOW, "jobrun_finished_at"),
        ("succeeded", None, "jobrun_finished_at"),
        ("failed", None, "jobrun_finished_at"),
        ("retried", None, "jobrun_finished_at"),
        ("dismissed", None, "jobrun_finished_at"),
    ],
)
def test_a_run_that_is_over_says_when(state: str, finished_at: Any, refused: str | None) -> None:
    run = JobRun.objects.create(task="x", state=JobRun.State.RUNNING)
    assert refused == refusal(
        "UPDATE audit_jobrun SET state = %(state)s, finished_at = %(finished_at)s"
        " WHERE id = %(run)s",
        {"state": state, "finished_at": finished_at, "run": run.pk},
    )


def test_no_constraint_of_the_log_is_left_out_here() -> None:
    assert constraints.names("audit") == {"jobrun_finished_at"}
