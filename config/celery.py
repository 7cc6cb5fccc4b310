"""The Celery app: `celery -A config worker` and `celery -A config beat`."""

import os
from typing import Any

import structlog
from celery import Celery, Task, signals
from django.dispatch import receiver
from django.utils.module_loading import import_string
from django_structlog.celery.signals import bind_extra_task_metadata
from django_structlog.celery.steps import DjangoStructLogInitStep

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("backfill", task_cls="audit.jobs:Job")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.steps["worker"].add(DjangoStructLogInitStep)
app.autodiscover_tasks()


@signals.setup_logging.connect
def keep_logging(**_: Any) -> None:
    """Leave logging as the settings made it: Celery sets up its own unless somebody listens."""


@signals.worker_init.connect
def load_channels(**_: Any) -> None:
    """Load what sends, before the processes that do are forked; by name, as below."""
    import_string("notifications.senders.load")(
        channels=import_string("notifications.senders.live")()
    )


@signals.worker_ready.connect
def announce_channels(**_: Any) -> None:
    """Say which channels are off. By name: this module is loaded before the models are."""
    import_string("notifications.senders.announce")()
    import_string("notifications.stream.announce")()


@receiver(bind_extra_task_metadata)
def name_task(task: Task[Any, Any], **_: Any) -> None:
    """Put the task's name on every line that it logs."""
    structlog.contextvars.bind_contextvars(task=task.name)
