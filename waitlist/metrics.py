"""Daily metrics: what happened in each queue on each local day."""

from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import F, Sum

from audit import locks, sql
from waitlist.models import DailyMetric

LATELY = timedelta(days=30)


@transaction.atomic
def roll_up(*, now: datetime, facility_id: UUID | None = None) -> int:
    """Count local yesterday and today anew, where anything happened; return the rows written."""
    if not locks.try_lock(name=locks.METRICS):
        return 0
    params = {"now": now, "facility": facility_id}
    return len(sql.run(app="waitlist", name="roll_up_metrics", params=params))


def recent_wait(*, facility_id: UUID, now: datetime) -> int | None:
    """Return how many minutes those waited who were served in the last 30 days, on average.

    None while nobody was.
    """
    days = DailyMetric.objects.filter(
        facility=facility_id, day__gt=(now - LATELY).date(), avg_wait_minutes__isnull=False
    )
    sums = days.aggregate(
        waited=Sum(F("avg_wait_minutes") * F("promotions")), served=Sum("promotions")
    )
    return round(sums["waited"] / sums["served"]) if sums["served"] else None
