import uuid

import pgtrigger
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now

from audit import triggers


class UUIDv7(models.Func):
    """`uuidv7()` of PostgreSQL 18: unique, and sorted by the time of its making."""

    function = "uuidv7"
    output_field = models.UUIDField()


class Event(models.Model):
    """One fact: which transition happened to which ids. Plain ids, so it outlives its subject."""

    id = models.UUIDField(primary_key=True, db_default=UUIDv7(), editable=False)
    tenant_id = models.UUIDField()
    kind = models.CharField(max_length=40)
    subject_type = models.CharField(max_length=30)
    subject_id = models.UUIDField()
    actor_type = models.CharField(max_length=20)
    actor_id = models.UUIDField(null=True)
    entry_id = models.UUIDField(null=True)
    hold_id = models.UUIDField(null=True)
    slot_id = models.UUIDField(null=True)
    facility_id = models.UUIDField(null=True)
    provider_id = models.UUIDField(null=True)
    previous_status = models.CharField(max_length=20, null=True)  # noqa: DJ001
    new_status = models.CharField(max_length=20, null=True)  # noqa: DJ001
    data = models.JSONField(default=dict, db_default={})
    at = models.DateTimeField()

    class Meta:
        indexes = [
            models.Index(fields=["tenant_id", "id"], name="event_tenant"),
            models.Index(fields=["subject_id", "id"], name="event_subject"),
            models.Index(
                fields=["entry_id", "id"],
                name="event_entry",
                condition=models.Q(entry_id__isnull=False),
            ),
        ]
        triggers = [
            *triggers.append_only(),
            pgtrigger.Trigger(
                name="unrelayed",
                level=pgtrigger.Statement,
                when=pgtrigger.After,
                operation=pgtrigger.Insert,
                referencing=pgtrigger.Referencing(new="written"),  # type: ignore[no-untyped-call]
                func=(
                    "INSERT INTO audit_unrelayed (event_id) SELECT id FROM written; RETURN NULL;"
                ),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject_id}"


class Unrelayed(models.Model):
    """An event that the relay has not given its place in the order yet."""

    event_id = models.UUIDField(primary_key=True)

    class Meta:
        verbose_name = "unrelayed event"

    def __str__(self) -> str:
        return str(self.event_id)


class EventSeq(models.Model):
    """The order in which events became visible; ids are not, since commits overtake each other."""

    seq = models.BigAutoField(primary_key=True)
    event_id = models.UUIDField(unique=True)

    class Meta:
        verbose_name = "place in the order of events"
        verbose_name_plural = "order of events"
        triggers = triggers.append_only()

    def __str__(self) -> str:
        return f"{self.seq} {self.event_id}"


class JobRun(models.Model):
    """One task that a worker ran, from its first attempt to its last."""

    class State(models.TextChoices):
        RUNNING = "running"
        WAITING = "waiting"  # between two attempts
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        RETRIED = "retried"  # failed, then sent again by a person
        DISMISSED = "dismissed"  # failed, then put aside by a person

    id = models.UUIDField(primary_key=True, db_default=UUIDv7(), editable=False)
    task_id = models.UUIDField(unique=True, default=uuid.uuid4)
    task = models.CharField(max_length=100)
    queue = models.CharField(max_length=50, blank=True)
    args = ArrayField(models.CharField(max_length=100), default=list)
    worker = models.CharField(max_length=200, blank=True)
    state = models.CharField(max_length=10, choices=State)
    attempts = models.PositiveSmallIntegerField(default=1)
    started_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)
    counts = models.JSONField(default=dict)
    error_class = models.CharField(max_length=200, blank=True)
    trace = models.TextField(blank=True)

    class Meta:
        indexes = [
            models.Index(fields=["task", "-started_at"], name="jobrun_task"),
            models.Index(
                fields=["started_at"],
                name="jobrun_failed",
                condition=models.Q(state="failed"),
            ),
        ]
        constraints = [
            models.CheckConstraint(
                name="jobrun_finished_at",
                condition=models.Q(state__in=["running", "waiting"], finished_at__isnull=True)
                | ~models.Q(state__in=["running", "waiting"]) & models.Q(finished_at__isnull=False),
            )
        ]

    def __str__(self) -> str:
        return f"{self.task} {self.state}"
