"""What is kept of a run, and what people do with one that failed."""

import json
import time
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any
from uuid import UUID, uuid4

import pytest
from celery import Task, current_app, shared_task
from celery.contrib.testing.worker import start_worker
from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from pytest_django import DjangoCaptureOnCommitCallbacks

from audit import jobs, tasks
from audit.models import JobRun
from config.celery import app
from tests.audit import broker
from tests.waitlist.worlds import DAY, NOW

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("empty_queues")]

SECRET = "Ada Lovelace, +442071838750"
State = JobRun.State


@shared_task
def count(_id: str) -> dict[str, int]:
    """Do something and say how much."""
    return {"rows": 3}


@shared_task
def say_nothing() -> None:
    """Do something and say nothing of it."""


@shared_task
def fail(_id: str) -> None:
    """Fail for good, with a message that quotes a row."""
    raise ValueError(SECRET)


@shared_task
def lose_connection(_id: str) -> None:
    """Fail in a way that can pass."""
    raise OperationalError(SECRET)


@shared_task(bind=True)
def come_again(self: "Task[[], None]") -> None:
    """Ask for another run without an error, then be content."""
    if self.request.retries == 0:
        raise self.retry(countdown=0)


@shared_task
def run_out_of_time() -> None:
    """Be stopped by the soft limit."""
    raise SoftTimeLimitExceeded


def _run(task: Any, *args: Any, task_id: str | None = None) -> JobRun:
    """Run a task as a worker would, here."""
    key = task_id or str(uuid4())
    task.apply(args=args, task_id=key)
    return JobRun.objects.get(task_id=key)


def _failed(**columns: Any) -> JobRun:
    given = {
        "task": "audit.tasks.prune_job_runs",
        "queue": "default",
        "state": State.FAILED,
        "finished_at": NOW,
    }
    return JobRun.objects.create(**{**given, **columns})


# What is kept


def test_a_run_that_ends_well_keeps_its_counts() -> None:
    run = _run(count, "one")
    assert (run.state, run.attempts, run.counts, run.args) == (
        "succeeded", 1, {"rows": 3}, ["one"]
    )  # fmt: skip
    assert run.task.endswith(".count")
    assert run.finished_at is not None
    assert run.started_at <= run.finished_at
    assert (run.error_class, run.trace) == ("", "")


def test_a_run_without_counts_has_none() -> None:
    assert (_run(say_nothing).counts, _run(say_nothing).state) == ({}, "succeeded")


def test_a_run_that_fails_keeps_where_it_was_and_not_what_it_said() -> None:
    run = _run(fail, "one")
    assert (run.state, run.attempts, run.error_class) == ("failed", 1, "builtins.ValueError")
    assert run.finished_at is not None
    assert "test_jobs.py" in run.trace
    assert " fail" in run.trace
    assert SECRET not in json.dumps([run.trace, run.args, run.counts, run.error_class])
    assert "Lovelace" not in run.trace


def test_what_can_pass_is_tried_three_times_more_and_fails_then() -> None:
    run = _run(lose_connection, "one")
    assert (run.state, run.attempts) == ("failed", 4)
    assert run.error_class == "django.db.utils.OperationalError"
    assert "Lovelace" not in run.trace


def test_between_two_attempts_a_run_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, str, int]] = []
    before_start = jobs.Job.before_start

    def look(self: jobs.Job, task_id: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen.extend(
            JobRun.objects.filter(task_id=task_id).values_list("state", "error_class", "attempts")
        )
        before_start(self, task_id, args, kwargs)

    monkeypatch.setattr(jobs.Job, "before_start", look)
    _run(lose_connection, "one")
    assert seen == [("waiting", "django.db.utils.OperationalError", n) for n in (1, 2, 3)]


def test_a_task_may_ask_to_come_again_without_an_error() -> None:
    run = _run(come_again)
    assert (run.state, run.attempts, run.error_class) == ("succeeded", 2, "")


def test_a_run_that_is_out_of_time_has_failed() -> None:
    run = _run(run_out_of_time)
    assert (run.state, run.error_class) == (
        "failed", "billiard.exceptions.SoftTimeLimitExceeded"
    )  # fmt: skip


def test_a_redelivered_task_is_one_more_attempt_of_the_same_run() -> None:
    key = str(uuid4())
    first, second = _run(fail, "one", task_id=key), _run(count, "one", task_id=key)
    assert first.pk == second.pk
    assert (second.state, second.attempts, second.error_class, second.trace) == (
        "succeeded", 2, "", ""
    )  # fmt: skip
    assert second.started_at == first.started_at


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("hook", "state"), [("on_failure", "failed"), ("on_retry", "waiting")])
def test_a_run_that_lost_its_connection_is_still_written_down(hook: str, state: str) -> None:
    run = JobRun.objects.create(task="x", state=State.RUNNING)
    assert connection.connection is not None
    connection.connection.close()
    try:
        with pytest.raises(OperationalError) as lost:
            JobRun.objects.count()
        getattr(count, hook)(lost.value, str(run.task_id), (), {}, None)
    finally:
        connection.close()
    run.refresh_from_db()
    assert (run.state, run.error_class) == (state, "django.db.utils.OperationalError")


def test_every_task_of_ours_keeps_its_runs() -> None:
    app.loader.import_default_modules()
    ours = [
        task
        for name, task in app.tasks.items()
        if name.split(".")[0] in {"audit", "scheduling", "waitlist", "notifications"}
    ]
    assert len(ours) >= 12
    assert {isinstance(task, jobs.Job) for task in ours} == {True}
    assert {task.ignore_result for task in ours} == {True}


@pytest.mark.django_db(transaction=True)
def test_a_worker_takes_a_task_from_its_queue_and_keeps_the_run() -> None:
    """Through the real broker; the queue's name is what the message came by."""
    JobRun.objects.create(task="x", state=State.SUCCEEDED, finished_at=NOW - 3650 * DAY)
    sent = tasks.prune_job_runs.delay()
    assert [queue for queue, _, _ in broker.messages()] == ["default"]
    with start_worker(app, pool="solo", perform_ping_check=False, loglevel="ERROR",
                      queues=["default"], shutdown_timeout=30):  # fmt: skip
        for _ in range(200):
            if JobRun.objects.filter(task_id=sent.id, state=State.SUCCEEDED).exists():
                break
            time.sleep(0.02)
    run = JobRun.objects.get(task_id=sent.id)
    assert (run.state, run.queue, run.counts, run.task) == (
        "succeeded", "default", {"runs": 1}, "audit.tasks.prune_job_runs"
    )  # fmt: skip
    assert run.worker != ""


# What people do with one that failed


@pytest.mark.parametrize(("act", "state"), [(jobs.retry, "retried"), (jobs.dismiss, "dismissed")])
def test_a_failed_run_is_settled_once(act: Callable[..., None], state: str) -> None:
    run = _failed()
    act(run_id=run.pk)
    run.refresh_from_db()
    assert run.state == state
    for again in (jobs.retry, jobs.dismiss):
        with pytest.raises(jobs.NotFailed) as caught:
            again(run_id=run.pk)
        assert caught.value.code == "job_not_failed"
    run.refresh_from_db()
    assert run.state == state


@pytest.mark.parametrize("state", ["running", "waiting", "succeeded", "retried", "dismissed"])
def test_only_a_failed_run_can_be_settled(state: str) -> None:
    over = state not in ("running", "waiting")
    run = _failed(state=state, finished_at=NOW if over else None)
    for act in (jobs.retry, jobs.dismiss):
        with pytest.raises(jobs.NotFailed):
            act(run_id=run.pk)
        with pytest.raises(jobs.NotFailed):
            act(run_id=uuid4())


def test_a_retry_sends_the_task_again_with_its_ids_to_its_queue(
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    run = _failed(task="waitlist.tasks.fill_facility", args=["an-id"], queue="waitlist")
    with django_capture_on_commit_callbacks(execute=True):
        jobs.retry(run_id=run.pk)
        assert broker.messages() == []
    assert broker.messages() == [("waitlist", "waitlist.tasks.fill_facility", ["an-id"])]


def test_a_dismissal_sends_nothing(
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    with django_capture_on_commit_callbacks(execute=True) as callbacks:
        jobs.dismiss(run_id=_failed().pk)
    assert callbacks == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("broker_away")
def test_a_retry_that_cannot_be_sent_leaves_the_run_failed() -> None:
    """Failed runs stay until retried, and nothing was."""
    run = _failed()
    with pytest.raises(jobs.BrokerAway) as refused:
        jobs.retry(run_id=run.pk)
    assert refused.value.code == "broker_away"
    run.refresh_from_db()
    assert run.state == "failed"


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("broker_away")
@pytest.mark.parametrize("arguments", [["retry-all"], ["retry-all", "--json"]])
def test_a_command_that_finds_the_broker_away_says_so_in_a_line(arguments: list[str]) -> None:
    run, _ = _failed(), _failed()
    with pytest.raises(CommandError, match=f"^Job run {run.pk} was not sent: the broker is away."):
        _call(*arguments)
    assert JobRun.objects.filter(state="failed").count() == 2


def test_a_run_that_nobody_will_end_has_failed() -> None:
    """Each attempt has an hour, longer than any task may take."""
    limits = [task.time_limit or 0 for task in current_app.tasks.values()]
    limits.append(settings.CELERY_TASK_TIME_LIMIT)
    assert max(limits) < jobs.LONGEST_ATTEMPT.total_seconds()
    long_ago, then = NOW - timedelta(hours=2, seconds=1), NOW - timedelta(hours=2)
    lost = _failed(state=State.RUNNING, attempts=1, started_at=then, finished_at=None)
    waiting = _failed(state=State.WAITING, attempts=2, started_at=long_ago, finished_at=None)
    late = _failed(state=State.RUNNING, attempts=2, started_at=then, finished_at=None)
    ended = _failed(state=State.SUCCEEDED, started_at=long_ago)
    key = str(uuid4())
    tasks.fail_lost_runs.apply(task_id=key)
    assert JobRun.objects.get(task_id=key).counts == {"runs": 0}  # by the clock they are to come
    assert jobs.fail_lost(now=NOW) == 2
    for run in (lost, waiting, late, ended):
        run.refresh_from_db()
    assert [run.state for run in (lost, waiting, late, ended)] == [
        "failed", "failed", "running", "succeeded"
    ]  # fmt: skip
    assert (lost.error_class, lost.finished_at) == ("billiard.exceptions.WorkerLostError", NOW)
    assert str(lost.pk) in _call()


def test_runs_that_ended_well_are_thrown_away_after_a_week_and_failed_ones_stay() -> None:
    old, young = NOW - jobs.KEEP - timedelta(seconds=1), NOW - jobs.KEEP
    for state in State.values:
        for at in (old, young):
            over = state not in ("running", "waiting")
            _failed(state=state, started_at=at, finished_at=at if over else None)
    assert jobs.prune(now=NOW) == 3
    left = sorted(JobRun.objects.values_list("state", "finished_at"), key=str)
    assert left == sorted(
        [("failed", old), ("running", None), ("running", None), ("waiting", None),
         ("waiting", None), *((state, young) for state in State.values
                              if state not in ("running", "waiting"))],
        key=str,
    )  # fmt: skip
    assert jobs.prune(now=NOW) == 0


# The command


def _call(*arguments: str) -> str:
    out = StringIO()
    call_command("failed_jobs", *arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def failed() -> tuple[JobRun, JobRun]:
    """Two failed runs, and one that is none."""
    _failed(state=State.SUCCEEDED, task="fine")
    return (
        _failed(started_at=NOW - DAY, args=["an-id"], error_class="builtins.ValueError"),
        _failed(started_at=NOW, attempts=4),
    )


def test_the_failed_runs_are_listed_the_oldest_first(failed: tuple[JobRun, JobRun]) -> None:
    *lines, total = _call().splitlines()
    assert total == "2 failed runs."
    assert [line.split()[0] for line in lines] == [str(run.pk) for run in failed]
    assert "builtins.ValueError" in lines[0]
    assert "an-id" in lines[0]


def test_the_failed_runs_are_listed_for_machines(failed: tuple[JobRun, JobRun]) -> None:
    [first, second] = json.loads(_call("list", "--json"))["failed"]
    assert first == {
        "id": str(failed[0].pk), "task": "audit.tasks.prune_job_runs", "args": ["an-id"],
        "started_at": (NOW - DAY).isoformat(), "attempts": 1, "error": "builtins.ValueError",
    }  # fmt: skip
    assert (second["id"], second["attempts"]) == (str(failed[1].pk), 4)


def test_chosen_runs_are_retried_and_dismissed(failed: tuple[JobRun, JobRun]) -> None:
    assert _call("retry", str(failed[0].pk)) == "1 retried.\n"
    assert _call("dismiss", str(failed[1].pk)) == "1 dismissed.\n"
    for run in failed:
        run.refresh_from_db()
    assert [run.state for run in failed] == ["retried", "dismissed"]


def test_all_failed_runs_are_retried(
    failed: tuple[JobRun, JobRun],
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        assert json.loads(_call("retry-all", "--json")) == {"retried": 2, "refused": []}
    assert not JobRun.objects.filter(state=State.FAILED).exists()
    assert [task for _, task, _ in broker.messages()] == ["audit.tasks.prune_job_runs"] * 2
    assert _call("retry-all") == "0 retried.\n"
    assert _call() == "0 failed runs.\n"


@pytest.mark.parametrize("action", ["retry", "dismiss"])
def test_a_run_that_is_not_failed_is_named_and_the_others_are_settled(
    failed: tuple[JobRun, JobRun], action: str
) -> None:
    wrong = [str(UUID(int=1)), "no-id", str(JobRun.objects.get(task="fine").pk)]
    with pytest.raises(CommandError) as caught:
        _call(action, wrong[0], str(failed[0].pk), *wrong[1:])
    assert caught.value.returncode == 1
    assert all(one in str(caught.value) for one in wrong)
    assert str(failed[0].pk) not in str(caught.value)
    failed[0].refresh_from_db()
    assert failed[0].state == {"retry": "retried", "dismiss": "dismissed"}[action]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["retry"], "retry: give the ids"),
        (["dismiss"], "dismiss: give the ids"),
        (["list", "x"], "list: it takes no ids"),
        (["retry-all", "x"], "retry-all: it takes no ids"),
    ],
)
def test_ids_belong_to_retry_and_dismiss(arguments: list[str], said: str) -> None:
    with pytest.raises(CommandError, match=said):
        _call(*arguments)


def test_an_unknown_action_is_refused() -> None:
    with pytest.raises(CommandError):
        _call("delete")


def test_the_app_is_this_projects_own() -> None:
    assert current_app.main == "backfill"
