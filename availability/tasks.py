from celery import shared_task

from audit import clock
from availability import rfps, signals, statuses

LIMIT = 500


@shared_task
def close_overdue_rfps() -> dict[str, int]:
    """Beat, hourly: venues that did not answer in time."""
    total = 0
    while done := rfps.close_overdue(now=clock.now(), limit=LIMIT):
        total += done
    return {"rfps": total}


@shared_task
def infer() -> dict[str, int | None]:
    """Beat, every 6 hours: what the answers make of each venue, and how many were lost."""
    found = statuses.infer(now=clock.now())
    return {
        "venues": found.venues, "changed": found.changed, "improved": found.improved,
        "signals_lost": signals.lost(),
    }  # fmt: skip
