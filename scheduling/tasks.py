from celery import shared_task

from audit import clock
from scheduling import generation, slots

LIMIT = 500


@shared_task(soft_time_limit=3000, time_limit=3300)
def generate_slots() -> dict[str, int]:
    """Beat, daily: the slots of the next 30 days."""
    outcome = generation.generate(now=clock.now())
    return {
        "slots": outcome.created,
        "retired": outcome.retired,
        "reopened": outcome.reopened,
        "facilities_skipped": len(outcome.skipped),
    }


@shared_task
def release_expired_reservations() -> dict[str, int]:
    """Beat, every minute: reservations that ran out are open again."""
    total = 0
    while done := slots.release_expired(now=clock.now(), limit=LIMIT):
        total += done
    return {"slots": total}
