"""Job runs: what the workers did, when, and what failed."""

import traceback
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from billiard.exceptions import WorkerLostError
from celery import Task, current_app
from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import DurationField, ExpressionWrapper, F, Value
from django.db.models.functions import Now

from audit import clock
from audit.errors import Refused
from audit.models import JobRun

KEEP = timedelta(days=7)
#: Longer than the hard time limit of any task, so than any attempt of a run.
LONGEST_ATTEMPT = timedelta(hours=1)


class Job(Task):  # type: ignore[type-arg]
    """The class of every task: retries what can pass, and keeps a `JobRun` of each run.

    A task takes ids as positional arguments and returns its counts, `{"holds": 3}`. A lost
    connection, a deadlock or a lock timeout is tried again three times, later each time.
    """

    ignore_result = True
    autoretry_for = (OperationalError, InterfaceError)
    max_retries = 3
    retry_backoff = True
    retry_backoff_max = 60
    retry_jitter = True

    def before_start(self, task_id: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Write the run down as running; a redelivery or a retry is one more attempt of it."""
        now = clock.now()
        request = self.request
        created = {
            "task": self.name,
            "queue": (request.delivery_info or {}).get("routing_key") or "",
            "args": [str(arg) for arg in args],
            "started_at": now,
        }
        now_running: dict[str, Any] = {
            "state": JobRun.State.RUNNING,
            "worker": request.hostname or "",
            "finished_at": None,
            "error_class": "",
            "trace": "",
        }
        JobRun.objects.update_or_create(
            task_id=task_id,
            defaults={**now_running, "attempts": F("attempts") + 1},
            create_defaults={**now_running, **created},
        )

    def on_success(
        self, retval: Any, task_id: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Close the run with the counts that the task returned."""
        counts = retval if isinstance(retval, dict) else {}
        _close(task_id=task_id, state=JobRun.State.SUCCEEDED, counts=counts)

    def on_retry(
        self,
        exc: Exception | None,
        task_id: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        einfo: Any,
    ) -> None:
        """Note why the attempt failed, or that the task asked for another; the run goes on."""
        _write(
            task_id=task_id,
            state=JobRun.State.WAITING,
            error_class=_name(exc) if exc else "",
            trace=_trace(exc) if exc else "",
        )

    def on_failure(
        self,
        exc: Exception,
        task_id: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        einfo: Any,
    ) -> None:
        """Close the run as failed; it stays until a person retries or dismisses it."""
        _close(
            task_id=task_id,
            state=JobRun.State.FAILED,
            error_class=_name(exc),
            trace=_trace(exc),
        )


def _close(*, task_id: str, **columns: Any) -> None:
    _write(task_id=task_id, finished_at=Now(), **columns)


def _write(*, task_id: str, **columns: Any) -> None:
    if not connection.in_atomic_block and not connection.is_usable():
        connection.close()  # what failed is the connection itself
    JobRun.objects.filter(task_id=task_id).update(**columns)


def _name(exc: BaseException) -> str:
    return f"{type(exc).__module__}.{type(exc).__qualname__}"


def _trace(exc: BaseException) -> str:
    """Where it happened, without what the message says: a database's message quotes the row."""
    frames = traceback.extract_tb(exc.__traceback__)
    return "\n".join(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames)


class NotFailed(Refused):
    """The run is not there, or it did not fail or was retried or dismissed already."""

    code = "job_not_failed"


class BrokerAway(Refused):
    """The task could not be sent: the run stays failed."""

    code = "broker_away"


@transaction.atomic
def retry(*, run_id: UUID) -> None:
    """Send a failed run's task again, once.

    :raises NotFailed: if it has not failed, or somebody was quicker.
    :raises BrokerAway: on commit, if it cannot be sent.
    """
    run = _failed(run_id=run_id)
    run.state = JobRun.State.RETRIED
    run.save(update_fields=["state"])
    transaction.on_commit(lambda: _send(run=run))


def _send(*, run: JobRun) -> None:
    try:
        current_app.send_task(run.task, args=run.args, queue=run.queue or None, retry=False)
    except Exception as error:  # whatever the broker has, the run is as it was
        JobRun.objects.filter(pk=run.pk).update(state=JobRun.State.FAILED)
        raise BrokerAway(f"Job run {run.pk} was not sent: the broker is away.") from error


@transaction.atomic
def dismiss(*, run_id: UUID) -> None:
    """Put a failed run aside.

    :raises NotFailed: as `retry`.
    """
    run = _failed(run_id=run_id)
    run.state = JobRun.State.DISMISSED
    run.save(update_fields=["state"])


def _failed(*, run_id: UUID) -> JobRun:
    run = JobRun.objects.select_for_update().filter(pk=run_id, state=JobRun.State.FAILED).first()
    if run is None:
        raise NotFailed(f"Job run {run_id} is not a failed one.")
    return run


def prune(*, now: datetime) -> int:
    """Delete the runs that ended well, or were seen to, more than `KEEP` ago; return how many."""
    ended = [JobRun.State.SUCCEEDED, JobRun.State.RETRIED, JobRun.State.DISMISSED]
    return JobRun.objects.filter(state__in=ended, finished_at__lt=now - KEEP).delete()[0]


def fail_lost(*, now: datetime) -> int:
    """Fail the runs that cannot be under way any longer; return how many.

    A killed worker's message is given out again, unless it had expired meanwhile: then nobody says
    how the run ended.
    """
    open_runs = JobRun.objects.filter(state__in=[JobRun.State.RUNNING, JobRun.State.WAITING])
    time = ExpressionWrapper(F("attempts") * Value(LONGEST_ATTEMPT), output_field=DurationField())
    return open_runs.filter(started_at__lt=Value(now) - time).update(
        state=JobRun.State.FAILED, finished_at=now, error_class=_name(WorkerLostError())
    )
