"""What runs when: the scheduler that keeps the entries of the database."""

from collections.abc import Mapping
from typing import Any

from django_celery_beat.models import PeriodicTask
from django_celery_beat.schedulers import DatabaseScheduler


class Scheduler(DatabaseScheduler):  # type: ignore[misc]
    """Makes entries of `CELERY_BEAT_SCHEDULE` that are missing, and leaves the others alone.

    So what staff change in the admin outlives a deploy. To stop a job they disable its entry; a
    deleted one comes back.
    """

    def update_from_dict(self, mapping: Mapping[str, Any]) -> None:
        """Make the entries that the database has not."""
        known = set(PeriodicTask.objects.values_list("name", flat=True))
        missing = {name: entry for name, entry in mapping.items() if name not in known}
        super().update_from_dict(missing)
