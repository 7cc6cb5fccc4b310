"""Daily metrics: what happened in each queue on each local day."""

from datetime import datetime
from uuid import UUID

from django.db import transaction

from audit import locks, sql


@transaction.atomic
def roll_up(*, now: datetime, facility_id: UUID | None = None) -> int:
    """Count the local yesterday and today anew, where anything happened; return the rows."""
    if not locks.try_lock(name=locks.METRICS):
        return 0
    params = {"now": now, "facility": facility_id}
    return len(sql.run(app="waitlist", name="roll_up_metrics", params=params))
