"""Pages of jobs, their schedule, and the order of the event log; events are in `accounts.admin`."""

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.http import HttpRequest
from django_celery_beat import admin as beat
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    SolarSchedule,
)
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from audit import jobs
from audit.columns import label
from audit.filters import DayFilter
from audit.models import EventSeq, JobRun, Unrelayed
from audit.pages import Admin, Answer, Rows, action


@admin.register(JobRun)
class JobRunAdmin(Admin):
    """What the workers did; a failed run waits here for a person."""

    list_display = (
        "task",
        label(
            field="state",
            colours={
                "running": "info", "waiting": "warning", "succeeded": "success", "failed": "danger",
            },
        ),
        "queue", "started_at", "finished_at", "attempts", "counts", "error_class",
    )  # fmt: skip
    list_filter = ("state", "queue", ("started_at", DayFilter))
    search_fields = ("task", "error_class")
    ids = ("pk", "task_id")
    actions = ("retry", "dismiss")

    @action(description="Retry", status=[JobRun.State.FAILED])
    def retry(self, request: HttpRequest, rows: Rows) -> Answer:
        """Send the tasks of failed runs again."""

        def call(*, run_id: UUID, **_: Any) -> None:
            jobs.retry(run_id=run_id)

        return self.run(request, rows, call, id="run_id", done="Sent again")

    @action(description="Dismiss", status=[JobRun.State.FAILED])
    def dismiss(self, request: HttpRequest, rows: Rows) -> Answer:
        """Put failed runs aside."""

        def call(*, run_id: UUID, **_: Any) -> None:
            jobs.dismiss(run_id=run_id)

        return self.run(request, rows, call, id="run_id", done="Dismissed")


@admin.register(EventSeq)
class EventSeqAdmin(Admin):
    """The order in which events became visible."""

    list_display = ("seq", "event_id")
    ids = ("event_id",)


@admin.register(Unrelayed)
class UnrelayedAdmin(Admin):
    """Events that the relay has yet to see."""

    list_display = ("event_id",)


# The pages of django-celery-beat, as they are, in this admin's dress

SCHEDULES = {
    ClockedSchedule: beat.ClockedScheduleAdmin,
    CrontabSchedule: beat.CrontabScheduleAdmin,
    IntervalSchedule: beat.IntervalScheduleAdmin,
    SolarSchedule: beat.SolarScheduleAdmin,
}
admin.site.unregister([PeriodicTask, *SCHEDULES])
for model, page in SCHEDULES.items():
    admin.site.register(model, type(page.__name__, (page, ModelAdmin), {}))


class TaskSelect(UnfoldAdminSelectWidget, beat.TaskSelectWidget):  # type: ignore[misc]
    """The tasks that there are."""


class PeriodicTaskForm(beat.PeriodicTaskForm):  # type: ignore[misc]
    """A task and its schedule."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["task"].widget = UnfoldAdminTextInputWidget()
        self.fields["regtask"].widget = TaskSelect()


@admin.register(PeriodicTask)
class PeriodicTaskAdmin(beat.PeriodicTaskAdmin, ModelAdmin):  # type: ignore[misc]
    """What runs when."""

    form = PeriodicTaskForm
