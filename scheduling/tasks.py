from celery import shared_task

from audit import clock
from scheduling import slots

LIMIT = 500


@shared_task
def release_expired_reservations() -> dict[str, int]:
    """Beat, every minute: reservations that ran out are open again."""
    total = 0
    while done := slots.release_expired(now=clock.now(), limit=LIMIT):
        total += done
    return {"slots": total}
