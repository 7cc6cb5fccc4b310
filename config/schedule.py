"""What runs when: the scheduler that keeps the entries of the database."""

import os
from collections.abc import Mapping
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from django_celery_beat.models import PeriodicTask
from django_celery_beat.schedulers import DatabaseScheduler

#: Each user's own, since /tmp is everybody's.
ALIVE = Path(gettempdir()) / f"backfill-beat-{os.getuid()}"


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

    def tick(self, *args: Any, **options: Any) -> Any:
        """Send what is due, and show on disk that it still does: the health check looks there."""
        wait = super().tick(*args, **options)
        ALIVE.touch()
        return wait
