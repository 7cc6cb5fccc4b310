from uuid import UUID

import structlog
from celery import Task, shared_task
from celery.exceptions import SoftTimeLimitExceeded
from django.db import transaction

from audit import clock
from scheduling import blocks
from waitlist import breakers, cascades, entries, fill, holds, metrics, nudges, queues, ranking
from waitlist.models import ACTIVE, WaitlistEntry

LIMIT = 200  # of one transaction, whose locks are so held for less than 200 ms
CHUNK = 50  # facilities that one task fills

log = structlog.get_logger(__name__)


@shared_task
def fill_open_slots() -> dict[str, int]:
    """Beat, every 5 minutes: what a lost message left, and what quiet hours put off.

    The facilities are spread over the workers; what did not begin by the next time is left to that.
    """
    found = [str(facility_id) for facility_id in fill.facilities(now=clock.now())]
    for start in range(0, len(found), CHUNK):
        fill_facilities.apply_async(args=tuple(found[start : start + CHUNK]), expires=300)
    return {"facilities": len(found)}


@shared_task
def fill_facilities(*facility_ids: str) -> dict[str, int]:
    """One facility after the other. What is busy or fails is left to a task of its own."""
    counts = {"offers": 0, "clashes": 0, "busy": 0, "failed": 0}
    for facility_id in facility_ids:
        try:
            for filled in fill.passes(facility_id=UUID(facility_id), clock=clock.now):
                counts["offers"] += filled.offers
                counts["clashes"] += filled.clashes
        except fill.Busy:  # maybe with what changed, and nothing else
            fill_facility.delay(facility_id)
            counts["busy"] += 1
        except SoftTimeLimitExceeded:
            raise
        except Exception as error:
            log.warning("fill failed", facility=facility_id, error=type(error).__name__)
            fill_facility.delay(facility_id)
            counts["failed"] += 1
    return counts


@shared_task(bind=True, max_retries=30)
def fill_facility(
    self: "Task[..., dict[str, int]]", facility_id: str, *changed: str
) -> dict[str, int]:
    """At once on commit, when slots open or somebody waits, who are named unless they are many.

    A pass that is under way may have read before the slot was free, so this one comes again.
    """
    counts = {"offers": 0, "fruitless": 0}
    clashes = 0
    which = [UUID(one) for one in changed] or None
    try:
        for filled in fill.passes(facility_id=UUID(facility_id), clock=clock.now, changed=which):
            counts["offers"] += filled.offers
            counts["fruitless"] += filled.fruitless
            clashes += filled.clashes
    except fill.Busy as busy:
        raise self.retry(countdown=1, exc=busy) from busy
    if clashes:
        raise self.retry(countdown=1)
    return counts


@shared_task
def offer_vacancies() -> dict[str, int]:
    """Beat, every 5 minutes: vacant places that a lost message left, or quiet hours put off."""
    found = cascades.find(now=clock.now())
    for facility_id in found:
        offer_vacancy.apply_async(args=(str(facility_id),), expires=300)
    return {"facilities": len(found)}


@shared_task(bind=True, max_retries=30)
def offer_vacancy(self: "Task[[str], dict[str, int]]", facility_id: str) -> dict[str, int]:
    """At once on commit, when a place has room again, or the offer of it ended without a taker.

    Who is at it may have looked before that, so this one comes again.
    """
    try:
        hold = cascades.go_on(facility_id=UUID(facility_id), now=clock.now())
    except cascades.Busy as busy:
        raise self.retry(countdown=1, exc=busy) from busy
    return {"offers": int(hold is not None)}


@shared_task
def deactivate_breakers() -> dict[str, int]:
    """Beat, daily: queues whose owners were asked and did not answer in time."""
    total = 0
    while done := breakers.deactivate_due(now=clock.now(), limit=LIMIT):
        total += done
    return {"queues": total}


@shared_task
def expire_holds() -> dict[str, int]:
    """Beat, every 10 s. Safe twice or late: the deadline is in the row."""
    total = 0
    while done := holds.expire_due(now=clock.now(), limit=LIMIT):
        total += done
    return {"holds": total}


@shared_task
def withdraw_blocked_holds(facility_id: str | None = None) -> dict[str, int]:
    """At once on commit of a block, and every 5 minutes: held and open slots under a block."""
    where = UUID(facility_id) if facility_id else None
    withdrawn = blocked = 0
    while done := holds.withdraw_blocked(now=clock.now(), limit=LIMIT, facility_id=where):
        withdrawn += done
    while done := blocks.apply(now=clock.now(), limit=LIMIT, facility_id=where):
        blocked += done
    return {"holds": withdrawn, "slots": blocked}


@shared_task
def send_hold_reminders() -> dict[str, int]:
    """Beat, every 5 minutes: once per hold, before its end."""
    total = 0
    while done := holds.remind_due(now=clock.now(), limit=LIMIT):
        total += done
    return {"holds": total}


@shared_task
def expire_entries() -> dict[str, int]:
    """Beat, hourly: entries whose time is over."""
    total = 0
    while done := entries.expire_due(now=clock.now(), limit=LIMIT):
        total += done
    return {"entries": total}


@shared_task
def send_nudges() -> dict[str, int]:
    """Beat, daily: ask those who have waited long whether they still do."""
    total = 0
    while done := nudges.ask_due(now=clock.now(), limit=LIMIT):
        total += done
    return {"entries": total}


@shared_task
def expire_nudges() -> dict[str, int]:
    """Beat, daily: entries of those who were asked and did not answer."""
    total = 0
    while done := nudges.expire_due(now=clock.now(), limit=LIMIT):
        total += done
    return {"entries": total}


@shared_task
def tell_positions(facility_id: str | None = None) -> dict[str, int]:
    """At once on commit when somebody left a queue, and every 5 minutes: who is among the first."""
    where = UUID(facility_id) if facility_id else None
    total = 0
    while done := ranking.tell_positions(now=clock.now(), limit=LIMIT, facility_id=where):
        total += done
    return {"entries": total}


@shared_task
@transaction.atomic
def rerank_patient(patient_id: str) -> dict[str, int]:
    """At once on commit, when what a patient's priority depends on may have changed."""
    mine = WaitlistEntry.objects.filter(ACTIVE, patient=UUID(patient_id))
    facilities = sorted(mine.values_list("facility", flat=True).distinct())
    for facility_id in facilities:
        queues.lock(facility_id=facility_id)
    changed = ranking.rerank(facility_ids=facilities, patient_id=UUID(patient_id))
    queues.revise(facility_ids=facilities, visitors=facilities)
    return {"entries": changed}


@shared_task
def rerank_queues() -> dict[str, int]:
    """Beat, daily: places that a lost message left as they were."""
    changed = 0
    facilities = WaitlistEntry.objects.filter(ACTIVE).values_list("facility", flat=True)
    for facility_id in facilities.distinct():
        with transaction.atomic():
            queues.lock(facility_id=facility_id)
            done = ranking.rerank(facility_ids=[facility_id])
            if done:
                queues.revise(facility_ids=[facility_id], visitors=[facility_id])
            changed += done
    return {"entries": changed}


@shared_task
def roll_up_metrics() -> dict[str, int]:
    """Beat, hourly: today so far, and yesterday as it ended."""
    return {"days": metrics.roll_up(now=clock.now())}
