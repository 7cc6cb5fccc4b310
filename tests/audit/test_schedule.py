"""What runs when: the entries of the database, and the tasks and queues they name."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from celery.schedules import crontab
from django.conf import settings
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from config import schedule
from config.celery import app
from config.schedule import Scheduler

# domain and jobs of this issue: task → when, as jobs-and-events.md says.
JOBS: dict[str, Any] = {
    "waitlist.tasks.fill_open_slots": timedelta(minutes=5),
    "waitlist.tasks.expire_holds": timedelta(seconds=10),
    "waitlist.tasks.withdraw_blocked_holds": timedelta(minutes=5),
    "waitlist.tasks.send_hold_reminders": timedelta(minutes=5),
    "waitlist.tasks.tell_positions": timedelta(minutes=5),
    "waitlist.tasks.expire_entries": timedelta(hours=1),
    "waitlist.tasks.send_nudges": crontab(minute="0", hour="10"),
    "waitlist.tasks.expire_nudges": crontab(minute="0", hour="10"),
    "waitlist.tasks.offer_vacancies": timedelta(minutes=5),
    "waitlist.tasks.deactivate_breakers": crontab(minute="0", hour="0"),
    "waitlist.tasks.roll_up_metrics": None,  # hourly, at a minute of its own
    "scheduling.tasks.generate_slots": crontab(minute="0", hour="1"),
    "scheduling.tasks.release_expired_reservations": timedelta(minutes=1),
    "notifications.tasks.relay_events": timedelta(seconds=5),
    "notifications.tasks.retry_deliveries": timedelta(minutes=1),
    "notifications.tasks.stream_events": timedelta(minutes=1),
}


SCHEDULE: dict[str, dict[str, Any]] = {**settings.CELERY_BEAT_SCHEDULE}


def _scheduled() -> dict[str, Any]:
    return {entry["task"]: entry["schedule"] for entry in SCHEDULE.values()}


def _sync() -> None:
    """Do what beat does when it starts."""
    Scheduler(app=app, lazy=True).setup_schedule()


def test_the_jobs_run_when_the_design_says() -> None:
    scheduled = _scheduled()
    assert {task: scheduled.get(task) for task, when in JOBS.items() if when} == {
        task: when for task, when in JOBS.items() if when
    }
    hourly = scheduled["waitlist.tasks.roll_up_metrics"]
    assert (hourly.hour, len(hourly.minute)) == (set(range(24)), 1)


def test_every_task_that_is_named_exists() -> None:
    app.loader.import_default_modules()
    named = {*_scheduled(), *settings.EVENT_TASKS.values()}
    assert named - set(app.tasks) == set()


def test_every_task_that_is_named_goes_to_a_queue_that_workers_read() -> None:
    queues = {queue.name for queue in settings.CELERY_TASK_QUEUES}
    routed = {
        task: app.amqp.router.route({}, task)["queue"].name
        for task in (*_scheduled(), *settings.EVENT_TASKS.values())
    }
    assert set(routed.values()) <= queues
    expected = {"waitlist": "waitlist", "notifications": "notifications"}
    assert routed == {task: expected.get(task.split(".")[0], "default") for task in routed}


def test_a_job_is_called_like_its_task() -> None:
    assert {name: entry["task"].rsplit(".")[-1] for name, entry in SCHEDULE.items()} == {
        name: name for name in SCHEDULE
    }


@pytest.mark.django_db(transaction=True)
def test_entries_are_made_when_they_are_missing() -> None:
    _sync()
    made = dict(PeriodicTask.objects.values_list("name", "task"))
    assert {name: made.get(name) for name in SCHEDULE} == {
        name: entry["task"] for name, entry in SCHEDULE.items()
    }
    assert all(PeriodicTask.objects.values_list("enabled", flat=True))


@pytest.mark.django_db(transaction=True)
def test_what_runs_often_expires_before_the_next_is_due() -> None:
    """A queue that stood still is not worked off run by run."""
    _sync()
    expiries = dict(PeriodicTask.objects.values_list("name", "expire_seconds"))
    often = {
        name: entry["schedule"].total_seconds()
        for name, entry in SCHEDULE.items()
        if isinstance(entry["schedule"], timedelta) and entry["schedule"] <= timedelta(minutes=5)
    }
    assert often
    assert {name: expiries[name] for name in often} == often


@pytest.mark.django_db(transaction=True)
def test_what_staff_changed_stays_and_what_they_deleted_comes_back() -> None:
    _sync()
    every_minute, _ = IntervalSchedule.objects.get_or_create(every=1, period="minutes")
    PeriodicTask.objects.filter(name="expire_holds").update(enabled=False, interval=every_minute)
    PeriodicTask.objects.filter(name="send_nudges").delete()
    _sync()
    changed = PeriodicTask.objects.get(name="expire_holds")
    assert (changed.enabled, changed.interval_id) == (False, every_minute.pk)
    assert PeriodicTask.objects.filter(name="send_nudges").count() == 1
    count = PeriodicTask.objects.count()
    _sync()
    assert PeriodicTask.objects.count() == count


@pytest.mark.django_db(transaction=True)
def test_what_staff_added_stays() -> None:
    interval, _ = IntervalSchedule.objects.get_or_create(every=1, period="hours")
    PeriodicTask.objects.create(name="own", task="audit.tasks.prune_job_runs", interval=interval)
    _sync()
    assert PeriodicTask.objects.filter(name="own", enabled=True).exists()


def test_tasks_survive_their_worker_and_wait_for_none() -> None:
    assert settings.CELERY_TASK_ACKS_LATE
    assert settings.CELERY_TASK_REJECT_ON_WORKER_LOST
    assert settings.CELERY_WORKER_PREFETCH_MULTIPLIER == 1
    options: dict[str, Any] = {**settings.CELERY_BROKER_TRANSPORT_OPTIONS}
    assert (options["visibility_timeout"], options["unacked_restore_interval"]) == (3600, 5)
    limit = settings.CELERY_TASK_TIME_LIMIT
    assert settings.CELERY_TASK_SOFT_TIME_LIMIT < limit < options["visibility_timeout"]


@pytest.mark.django_db(transaction=True)
def test_beat_shows_that_it_lives(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where the health check of its container looks."""
    looked_at = f"/tmp/{schedule.ALIVE.name}".replace(str(os.getuid()), "$$(id -u)")
    assert looked_at in (settings.BASE_DIR / "docker-compose.yml").read_text()
    monkeypatch.setattr(schedule, "ALIVE", tmp_path / "alive")
    scheduler = Scheduler(app=app, lazy=True)
    scheduler.tick()
    assert (tmp_path / "alive").exists()
