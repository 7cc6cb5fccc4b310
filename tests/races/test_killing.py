"""A worker killed in the middle of a fill leaves nothing half done; the next run does it all."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
from django.conf import settings
from django.db import connection
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange

from audit import clock
from audit.models import JobRun
from config.celery import app
from scheduling.models import Facility, Patient, Slot
from tests.races import gate, scene
from waitlist import fill, invariants, tasks
from waitlist.models import Hold, WaitlistEntry

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60.0
PEOPLE = 200

#: Where the broker keeps the messages of the queue, and those that a worker has.
KEYS = ("waitlist", "unacked", "unacked_index", "unacked_mutex")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start workers on this test's database and broker; none outlives it, nor do their messages."""
    workers: list[subprocess.Popen[bytes]] = []
    broker = redis.Redis.from_url(settings.REDIS_URL)
    broker.delete(*KEYS)

    def start(name: str = "config") -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "celery", "-A", name, "worker", "--queues", "waitlist"]
        options = ["--concurrency", "1", "--hostname", f"{len(workers)}@killing"]
        quiet = ["--without-gossip", "--without-mingle", "--loglevel", "WARNING"]
        with open(tmp_path / f"worker{len(workers)}.log", "wb") as log:
            worker = subprocess.Popen(
                [*command, *options, *quiet],
                cwd=ROOT,
                env={**os.environ, "DATABASE_URL": database_url()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        workers.append(worker)
        return worker

    yield start
    for worker in workers:
        kill(worker)
    until(lambda: sessions() == 0)
    broker.delete(*KEYS)
    broker.close()


def database_url() -> str:
    """Return the address of the test's own database."""
    url = urlsplit(os.environ["DATABASE_URL"])
    return url._replace(path=f"/{connection.settings_dict['NAME']}").geturl()


def kill(worker: subprocess.Popen[bytes]) -> None:
    """Kill a worker and its children, unless it is gone already."""
    if worker.poll() is None:
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()


def until(reached: Callable[[], object]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < deadline, "it does not come about"
        time.sleep(0.02)


def sessions() -> int:
    """Count the other sessions in this database."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return int(cursor.fetchone()[0])


@pytest.fixture
def clinic() -> Facility:
    """A clinic with many slots from tomorrow on, and as many people who wait."""
    facility = scene.clinic(look_ahead=timedelta(days=60), max_queue_size=None)
    now = clock.now()
    provider = scene.provider(facility)
    tenant = facility.tenant
    Patient.objects.bulk_create(
        Patient(tenant=tenant, name=f"Patient {number}") for number in range(PEOPLE)
    )
    WaitlistEntry.objects.bulk_create(
        WaitlistEntry(
            tenant=tenant,
            facility=facility,
            patient=who,
            rank_key=0,
            joined_at=now,
            expires_at=now + timedelta(days=90),
        )
        for who in Patient.objects.filter(tenant=tenant)
    )
    starts = now + timedelta(days=1)
    hour = timedelta(hours=1)
    Slot.objects.bulk_create(
        Slot(
            tenant=tenant,
            facility=facility,
            provider=provider,
            period=DateTimeTZRange(starts + hour * number, starts + hour * (number + 1)),
        )
        for number in range(PEOPLE)
    )
    return facility


def check_untouched() -> None:
    """Check that no trace of the fill is there."""
    assert Slot.objects.filter(status="open").count() == PEOPLE
    assert WaitlistEntry.objects.filter(status="waiting").count() == PEOPLE
    assert not Hold.objects.exists()
    assert broken() == []


def check_filled() -> None:
    """Check that everybody has their offer, once."""
    assert Slot.objects.filter(status="held").count() == PEOPLE
    assert WaitlistEntry.objects.filter(status="offered").count() == PEOPLE
    assert Hold.objects.count() == PEOPLE
    assert broken() == []


def broken() -> list[invariants.Breach]:
    """Find breaches; these entries were not made by joining, so no event tells of that."""
    return [breach for breach in invariants.breaches() if "entry that no event" not in breach.what]


def children() -> list[int]:
    """Ask the worker for the processes that run its tasks."""
    [stats] = (app.control.inspect(timeout=5).stats() or {}).values()
    return list(stats["pool"]["processes"])


def test_what_a_killed_process_was_doing_its_worker_does_again(
    clinic: Facility, start: Callable[..., subprocess.Popen[bytes]]
) -> None:
    """The pool's process dies; the worker sees that and gives the message back."""
    start()
    with gate.closed() as open_gate:
        app.send_task("waitlist.tasks.fill_facility", args=[str(clinic.pk)])
        until(gate.find_waiting)
        [child] = children()
        os.kill(child, signal.SIGKILL)
        check_untouched()
        open_gate()
        until(lambda: Hold.objects.exists())
    check_filled()
    until(lambda: JobRun.objects.get().state == JobRun.State.SUCCEEDED)
    assert JobRun.objects.get().attempts > 1


@pytest.mark.parametrize("by", ["redelivery", "scan"])
def test_what_a_killed_worker_was_doing_is_done_by(
    by: str, clinic: Facility, start: Callable[..., subprocess.Popen[bytes]]
) -> None:
    """The whole worker dies, and with it who could give the message back."""
    worker = start()
    with gate.closed() as open_gate:
        app.send_task("waitlist.tasks.fill_facility", args=[str(clinic.pk)])
        until(gate.find_waiting)
        kill(worker)
        check_untouched()
        open_gate()
        until(lambda: sessions() == 0)  # the server has noticed, and rolled back
    check_untouched()
    if by == "scan":
        ids = map(str, fill.facilities(now=clock.now()))
        assert tasks.fill_facilities(*ids)["offers"] == PEOPLE
    else:
        start("tests.races.impatient")
        until(lambda: Hold.objects.exists())
        until(lambda: JobRun.objects.get().state == JobRun.State.SUCCEEDED)
    check_filled()
