"""Erasure: forgetting who a patient is, wherever something is known of them."""

from contextlib import suppress
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from accounts import rows
from audit.events import Actor
from scheduling import appointments, patients, slots
from scheduling.models import Appointment, Slot
from waitlist import entries, queues
from waitlist.models import ACTIVE, EntryNote, Hold, WaitlistEntry

REASON = "patient_erased"


@transaction.atomic
def erase(*, patient_id: UUID, actor: Actor, now: datetime, version: int | None = None) -> None:
    """End what a patient waits for, has reserved and is booked for, and forget who they are.

    Each place goes on to the next. An appointment that has begun stays, for the team to close.
    Locks queue, patient, slot, appointment, hold, entry.

    :raises NotFound: if the patient is not there, or was erased.
    :raises Stale: if its version is not the wanted one.
    """
    _lock(patient_id=patient_id, version=version, now=now)
    theirs = WaitlistEntry.objects.filter(patient=patient_id)
    for entry_id in theirs.filter(ACTIVE).order_by("pk").values_list("pk", flat=True):
        entries.cancel(entry_id=entry_id, reason=REASON, actor=actor, now=now)
    for booked in _coming(patient_id=patient_id, now=now):
        appointments.cancel(appointment_id=booked.pk, reason=REASON, actor=actor, now=now)
    reserved = list(_reserved(patient_id=patient_id))
    slots.drop_reservations(slots=reserved, reason="released", actor=actor, now=now)
    EntryNote.objects.filter(entry__in=theirs).delete()
    theirs.update(metadata={}, cancellation_notes="")
    patients.erase(patient_id=patient_id, actor=actor, now=now)


class _Moved(Exception):
    """Something came to them while locks were taken: give those back and start again."""


def _lock(*, patient_id: UUID, version: int | None, now: datetime) -> None:
    while True:
        with suppress(_Moved), transaction.atomic():
            return _lock_all(patient_id=patient_id, version=version, now=now)


def _lock_all(*, patient_id: UUID, version: int | None, now: datetime) -> None:
    theirs = WaitlistEntry.objects.filter(patient=patient_id)
    queued = set(theirs.filter(ACTIVE).values_list("facility", flat=True))
    for facility_id in sorted(queued):
        queues.lock(facility_id=facility_id)
    # Who lets them join, reserves or books for them locks them, too.
    rows.lock(rows=patients.known(), id=patient_id, version=version)
    claimed = _claimed(patient_id=patient_id, now=now)
    slots.lock(slot_ids=claimed)
    for found in (
        _coming(patient_id=patient_id, now=now),
        Hold.objects.filter(entry__in=theirs, status=Hold.Status.OFFERED),
        theirs,
    ):
        list(found.select_for_update(no_key=True).order_by("pk").values_list("pk"))
    if not queued.issuperset(theirs.filter(ACTIVE).values_list("facility", flat=True)):
        raise _Moved
    if _claimed(patient_id=patient_id, now=now) - claimed:
        raise _Moved


def _claimed(*, patient_id: UUID, now: datetime) -> set[UUID]:
    """Return the slots that are held, reserved or booked for a patient."""
    held = Hold.objects.filter(
        entry__patient=patient_id, status=Hold.Status.OFFERED, slot__isnull=False
    )
    return {
        *held.values_list("slot", flat=True),
        *_reserved(patient_id=patient_id).values_list("pk", flat=True),
        *_coming(patient_id=patient_id, now=now).values_list("slot", flat=True),
    }


def _reserved(*, patient_id: UUID) -> QuerySet[Slot]:
    return Slot.objects.filter(reserved_by=patient_id, status=Slot.Status.RESERVED)


def _coming(*, patient_id: UUID, now: datetime) -> QuerySet[Appointment]:
    booked = Appointment.objects.filter(patient=patient_id, status=Appointment.Status.BOOKED)
    return booked.filter(period__startswith__gt=now).order_by("pk")
