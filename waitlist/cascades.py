"""Cascades: a place that is vacant as a whole is offered to one who waits after the other.

Where `vacant_since` is set, nothing is offered without a slot and the breaker is closed, the first
who waits is offered the place. So a cascade begins when a place has room again, goes on when an
offer lapses or is given back, and ends when one is accepted, which fills the place.
"""

from datetime import datetime
from uuid import UUID

from django.db import transaction

from audit import events, locks, sql
from availability.models import VenueAvailability
from waitlist import fill, queues
from waitlist.models import CircuitBreaker, Hold, WaitlistEntry, WaitlistPolicy


class Busy(Exception):
    """The place is being offered to somebody."""


def find(*, now: datetime) -> list[UUID]:
    """Find the places that may be offered to somebody: vacant ones for which somebody waits."""
    return [one for (one,) in sql.run(app="waitlist", name="find_vacant", params={"now": now})]


@transaction.atomic
def go_on(*, facility_id: UUID, now: datetime) -> Hold | None:
    """Offer a place to the first who waits, if it is to be offered. Locks queue, entry.

    :raises Busy: if that is being done.
    """
    if not locks.try_lock(name=locks.CASCADE, of=facility_id):
        raise Busy(str(facility_id))
    queues.lock(facility_id=facility_id)
    return offer_next(facility_id=facility_id, now=now)


def offer_next(*, facility_id: UUID, now: datetime) -> Hold | None:
    """Offer a place, whose queue is locked, to the first who waits, if it is to be offered.

    Nothing is offered in quiet hours, nor where the policy leaves offers to people.
    """
    policy = WaitlistPolicy.objects.select_related("facility__queue").get(facility=facility_id)
    if not fill.is_on(policy=policy) or fill.quiet_until(policy=policy, now=now):
        return None
    since = vacant_since(facility_id=facility_id)
    offers = Hold.objects.filter(facility=facility_id, slot=None)
    if since is None or is_open(facility_id=facility_id):
        return None
    if offers.filter(status=Hold.Status.OFFERED).exists():
        return None
    waiting = WaitlistEntry.objects.filter(
        facility=facility_id, status=WaitlistEntry.Status.WAITING, organizer__isnull=False
    )
    first = waiting.select_for_update(no_key=True).order_by("-rank_key", "joined_at", "pk").first()
    if first is None:
        return None
    last = offers.order_by("-created_at").values_list("offered_at", flat=True).first()
    hold = Hold.objects.create(
        tenant_id=first.tenant_id,
        facility_id=facility_id,
        entry=first,
        source=Hold.Source.CASCADE if last is not None and last >= since else Hold.Source.SCAN,
        offered_at=now,
        expires_at=now + policy.hold_window,
    )
    WaitlistEntry.objects.filter(pk=first.pk, status=WaitlistEntry.Status.WAITING).update(
        status=WaitlistEntry.Status.OFFERED
    )
    events.record(
        kind="waitlist.hold_offered",
        tenant_id=hold.tenant_id,
        subject_type="hold",
        subject_id=hold.pk,
        actor=events.SYSTEM,
        at=now,
        entry_id=first.pk,
        hold_id=hold.pk,
        facility_id=facility_id,
        new_status=hold.status,
        data={
            "source": hold.source, "score": hold.score, "expires_at": hold.expires_at.isoformat(),
        },
    )  # fmt: skip
    return hold


def vacant_since(*, facility_id: UUID) -> datetime | None:
    """Return since when a place has room, as far as seen unlocked; None if it has none."""
    found = VenueAvailability.objects.filter(pk=facility_id)
    return found.values_list("vacant_since", flat=True).first()


def is_open(*, facility_id: UUID) -> bool:
    """Whether a breaker keeps a place, whose queue is locked, from being offered."""
    tripped = CircuitBreaker.objects.exclude(status=CircuitBreaker.Status.RESOLVED)
    return tripped.filter(facility=facility_id).exists()
