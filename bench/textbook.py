"""The loop that a textbook would write: slot by slot, everybody read, four writes."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from django.db import transaction
from django.db.models import Q

from audit import events
from scheduling.models import Appointment, Facility, Slot
from waitlist.models import Hold, WaitlistEntry, WaitlistPolicy

ZONE = ZoneInfo("Europe/London")


def fill(*, facilities: int, now: datetime) -> dict[str, int]:
    """Fill the first facilities."""
    offers = 0
    for facility in Facility.objects.order_by("pk")[:facilities]:
        policy = WaitlistPolicy.objects.get(facility=facility)
        opened = Slot.objects.filter(facility=facility, status="open", period__startswith__gt=now)
        for slot in opened.order_by("period"):
            offers += _fill_one(slot, policy, now)
    return {"offers": offers}


@transaction.atomic
def _fill_one(slot: Slot, policy: WaitlistPolicy, now: datetime) -> bool:
    waiting = WaitlistEntry.objects.select_for_update(skip_locked=True, of=("self",)).filter(
        Q(facility=slot.facility_id) | Q(any_facility=True, tenant=slot.tenant_id),
        status="waiting",
        expires_at__gt=now,
    )
    if slot.service_id:
        waiting = waiting.filter(Q(service=slot.service_id) | Q(service=None))
    fitting = sorted(
        (
            (-_score(entry, slot, policy), -entry.rank_key, entry.joined_at, entry.pk, entry)
            for entry in waiting
            if _fits(entry, slot)
        ),
        key=lambda row: row[:4],
    )
    for score, *_, entry in fitting:
        if -score < policy.min_match_score or _is_busy(entry, slot):
            continue
        deadline = min(now + policy.hold_window, slot.period.lower - timedelta(minutes=30))
        hold = Hold.objects.create(
            tenant_id=slot.tenant_id, facility_id=slot.facility_id, entry=entry, slot=slot,
            patient_id=entry.patient_id, period=slot.period, score=-score, source="scan",
            offered_at=now, expires_at=deadline,
        )  # fmt: skip
        WaitlistEntry.objects.filter(pk=entry.pk).update(status="offered")
        Slot.objects.filter(pk=slot.pk).update(status="held")
        events.record(
            kind="waitlist.hold_offered", tenant_id=slot.tenant_id, subject_type="hold",
            subject_id=hold.pk, actor=events.SYSTEM, at=now, entry_id=entry.pk, hold_id=hold.pk,
            slot_id=slot.pk, facility_id=slot.facility_id, new_status="offered",
        )  # fmt: skip
        return True
    return False


def _fits(entry: WaitlistEntry, slot: Slot) -> bool:
    return (
        (not entry.provider_required or entry.provider_id == slot.provider_id)
        and (entry.earliest is None or entry.earliest <= slot.period.lower)
        and (entry.latest is None or entry.latest >= slot.period.upper)
    )


def _score(entry: WaitlistEntry, slot: Slot, policy: WaitlistPolicy) -> int:
    local = slot.period.lower.astimezone(ZONE)
    part = "morning" if local.hour < 12 else "afternoon" if local.hour < 17 else "evening"
    days = not entry.preferred_days or local.isoweekday() in entry.preferred_days
    return (
        policy.match_service
        + policy.match_provider * (entry.provider_id in (None, slot.provider_id))
        + policy.match_location * (entry.facility_id == slot.facility_id)
        + policy.match_days * (days and entry.preferred_time in ("any", part))
    )


def _is_busy(entry: WaitlistEntry, slot: Slot) -> bool:
    return (
        Hold.objects.filter(entry=entry, slot=slot).exists()
        or Appointment.objects.filter(
            patient=entry.patient_id, status="booked", period__overlap=slot.period
        ).exists()
        or Hold.objects.filter(
            patient=entry.patient_id, status="offered", period__overlap=slot.period
        ).exists()
    )
