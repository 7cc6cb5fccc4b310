"""Appointments: a slot booked for a patient, and what becomes of it."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from audit import events
from audit.errors import NotFound, Refused, check_version
from audit.events import Actor
from scheduling import slots
from scheduling.models import Appointment, Slot

# Why an appointment is cancelled: codes, since the reason is in the event log.
REASONS = (
    ("patient_request", "The patient asked for it"),
    ("provider_unavailable", "The provider is not available"),
    ("facility_closed", "The facility is closed"),
    ("booked_by_mistake", "It was booked by mistake"),
    ("other", "Another reason"),
)


class PatientBusy(Refused):
    """The patient has a booked appointment that overlaps."""

    code = "patient_busy"


class NotBooked(Refused):
    """The appointment was cancelled, completed or missed."""

    code = "appointment_not_booked"


class AppointmentPast(Refused):
    """The appointment has begun, so its patient can no longer cancel or move it."""

    code = "appointment_past"


class NotYourVisit(Refused):
    """A provider may say what became of their own appointments only."""

    code = "not_yours"


class NotBegun(Refused):
    """The appointment lies in the future."""

    code = "appointment_not_begun"


@transaction.atomic
def book(
    *, slot_id: UUID, patient_id: UUID, source: str, actor: Actor, now: datetime
) -> Appointment:
    """Book an open slot, or one that is reserved for this patient, for the patient.

    Locks provider, patient, slot.

    :raises NotFound: if the slot is not there, or the patient not one of its tenant.
    :raises Inactive, SlotTaken, SlotBlocked, SlotPast: see `slots.check_claimable`.
    :raises PatientBusy: if the patient is booked elsewhere at that time.
    """
    [slot] = slots.lock_for_claim(slot_ids=[slot_id], patient_id=patient_id)
    check_bookable(slot=slot, patient_id=patient_id, now=now)
    return create(slot=slot, patient_id=patient_id, source=source, actor=actor, now=now)


def check_bookable(*, slot: Slot, patient_id: UUID, now: datetime) -> None:
    """Check that a slot locked for a claim is open, or reserved for this patient and not lapsed.

    :raises Inactive, SlotTaken, SlotBlocked, SlotPast: see `slots.check_claimable`.
    """
    reserved = slot.status == Slot.Status.RESERVED and slot.reserved_by_id == patient_id
    lapsed = slot.reserved_until is not None and slot.reserved_until <= now
    slots.check_claimable(
        slot=slot, now=now, claim=Slot.Status.RESERVED if reserved and not lapsed else None
    )


def create(
    *, slot: Slot, patient_id: UUID, source: str, actor: Actor, now: datetime,
    service_id: UUID | None = None, **ids: UUID,
) -> Appointment:  # fmt: skip
    """Write the appointment for a slot that is locked, with its patient, and was checked.

    `service_id` is what is done where the slot is for any service. `ids` are further columns of
    the event, such as `entry_id`.

    :raises PatientBusy: if the patient is booked elsewhere at that time.
    """
    _check_free(patient_id=patient_id, slot=slot)
    slots.move(slot=slot, to=Slot.Status.BOOKED)
    appointment = Appointment.objects.create(
        tenant_id=slot.tenant_id,
        slot=slot,
        patient_id=patient_id,
        facility_id=slot.facility_id,
        provider_id=slot.provider_id,
        service_id=slot.service_id or service_id,
        period=slot.period,
        source=source,
    )
    data = {"source": source, **_times(appointment)}
    _record(kind="appointment.booked", appointment=appointment, was=None, actor=actor, at=now,
            data=data, **ids)  # fmt: skip
    return appointment


@transaction.atomic
def cancel(
    *, appointment_id: UUID, reason: str, actor: Actor, now: datetime, version: int | None = None
) -> Appointment:
    """Cancel an appointment and free its slot; who waits for it is found on commit.

    `reason` is a code, such as `patient_request`. Locks slot, appointment.

    :raises NotFound: if it is not there.
    :raises NotBooked: if it is not booked any more.
    :raises AppointmentPast: if it has begun and the actor is a patient.
    :raises Stale: if its version is not the wanted one.
    :raises ValidationError: naming `reason` if it is not a code.
    """
    events.check_code(field="reason", code=reason)
    appointment = lock_booked(appointment_id=appointment_id, version=version)
    _check_coming(appointment=appointment, actor=actor, now=now)
    _close(appointment=appointment, to=Appointment.Status.CANCELLED, actor=actor, now=now,
           kind="appointment.cancelled", data={"reason": reason, **_times(appointment)},
           cancelled_at=now, cancellation_reason=reason)  # fmt: skip
    was = Slot.Status.BOOKED
    slots.land(slot_ids=[appointment.slot_id], was=was, actor=actor, now=now)
    return appointment


@transaction.atomic
def reschedule(
    *, appointment_id: UUID, slot_id: UUID, actor: Actor, now: datetime, version: int | None = None
) -> Appointment:
    """Move an appointment to another slot; the old one is freed first, so the two may overlap.

    Locks provider, patient, slot, appointment.

    :raises NotFound: if the appointment or the slot is not there, or they differ in tenant.
    :raises NotBooked: if the appointment is not booked any more.
    :raises AppointmentPast: if it has begun and the actor is a patient.
    :raises Stale: if its version is not the wanted one.
    :raises Inactive, SlotTaken, SlotBlocked, SlotPast: see `slots.check_claimable`.
    :raises PatientBusy: if the patient is booked elsewhere at that time.
    """
    appointment = _get(appointment_id=appointment_id)
    old_id = appointment.slot_id
    old, new = slots.lock_for_claim(slot_ids=[old_id, slot_id], patient_id=appointment.patient_id)
    appointment = lock_at(appointment_id=appointment_id, slot_id=old.pk, version=version)
    _check_coming(appointment=appointment, actor=actor, now=now)
    if old.pk == new.pk:
        raise slots.SlotTaken(f"Slot {slot_id} is the appointment's own.", field="slot")
    slots.land(slot_ids=[old.pk], was=Slot.Status.BOOKED, actor=actor, now=now)
    check_bookable(slot=new, patient_id=appointment.patient_id, now=now)
    _check_free(patient_id=appointment.patient_id, slot=new, but=appointment)
    slots.move(slot=new, to=Slot.Status.BOOKED)
    appointment.slot = new
    appointment.period = new.period
    appointment.provider_id = new.provider_id
    appointment.facility_id = new.facility_id
    appointment.service_id = new.service_id or appointment.service_id
    appointment.save(update_fields=["slot", "period", "provider", "facility", "service"])
    appointment.refresh_from_db()  # its version
    was = {"from_slot_id": str(old.pk), "from_starts_at": old.period.lower.isoformat()}
    _record(kind="appointment.rescheduled", appointment=appointment, was="booked", actor=actor,
            at=now, data={**was, **_times(appointment)})  # fmt: skip
    return appointment


@transaction.atomic
def complete(
    *, appointment_id: UUID, actor: Actor, now: datetime, version: int | None = None
) -> Appointment:
    """Note that the patient came. Locks slot, appointment.

    :raises NotFound, NotBooked, Stale: as `cancel`.
    :raises NotBegun: if it lies in the future.
    """
    return _end(appointment_id=appointment_id, to=Appointment.Status.COMPLETED,
                kind="appointment.completed", actor=actor, now=now, version=version)  # fmt: skip


@transaction.atomic
def miss(
    *, appointment_id: UUID, actor: Actor, now: datetime, version: int | None = None
) -> Appointment:
    """Note that the patient did not come. Locks slot, appointment.

    :raises NotFound, NotBooked, Stale, NotBegun: as `complete`.
    """
    return _end(appointment_id=appointment_id, to=Appointment.Status.NO_SHOW,
                kind="appointment.no_show", actor=actor, now=now, version=version)  # fmt: skip


def lock_booked(*, appointment_id: UUID, version: int | None = None) -> Appointment:
    """Lock an appointment's slot, then the appointment.

    :raises NotFound: if it is not there.
    :raises NotBooked, Stale: as `lock_at`.
    """
    slot_id = _get(appointment_id=appointment_id).slot_id
    slots.lock(slot_ids=[slot_id])
    return lock_at(appointment_id=appointment_id, slot_id=slot_id, version=version)


def lock_at(*, appointment_id: UUID, slot_id: UUID, version: int | None = None) -> Appointment:
    """Lock an appointment whose slot, as it was read before, is locked.

    :raises NotBooked: if it is not booked any more, or was moved to another slot meanwhile.
    :raises Stale: if its version is not the wanted one.
    """
    appointment = Appointment.objects.select_for_update(no_key=True).get(pk=appointment_id)
    if appointment.status != Appointment.Status.BOOKED or appointment.slot_id != slot_id:
        raise NotBooked(f"Appointment {appointment_id} is not booked.", field="appointment")
    check_version(version=appointment.version, wanted=version)
    return appointment


def _get(*, appointment_id: UUID) -> Appointment:
    appointment = Appointment.objects.filter(pk=appointment_id).first()
    if appointment is None:
        raise NotFound("appointment", appointment_id)
    return appointment


def _check_free(*, patient_id: UUID, slot: Slot, but: Appointment | None = None) -> None:
    """Check the patient's other appointments; every booking of a patient locks the patient."""
    booked = Appointment.objects.filter(
        patient=patient_id, period__overlap=slot.period, status=Appointment.Status.BOOKED
    )
    if but is not None:
        booked = booked.exclude(pk=but.pk)
    if booked.exists():
        raise PatientBusy(f"Patient {patient_id} is booked at that time.", field="patient")


def _check_coming(*, appointment: Appointment, actor: Actor, now: datetime) -> None:
    """Check a locked appointment that a patient changes; staff may set right what has begun."""
    if actor.type == "patient" and appointment.period.lower <= now:
        raise AppointmentPast(f"Appointment {appointment.pk} has begun.", field="appointment")


def _end(
    *, appointment_id: UUID, to: Appointment.Status, kind: str, actor: Actor, now: datetime,
    version: int | None,
) -> Appointment:  # fmt: skip
    appointment = lock_booked(appointment_id=appointment_id, version=version)
    if appointment.period.lower > now:
        raise NotBegun(f"Appointment {appointment_id} lies in the future.", field="appointment")
    _close(appointment=appointment, to=to, kind=kind, actor=actor, now=now, data={})
    return appointment


def _close(*, appointment: Appointment, to: Appointment.Status, kind: str, data: dict[str, Any],
           actor: Actor, now: datetime, **columns: Any) -> None:  # fmt: skip
    was = appointment.status
    Appointment.objects.filter(pk=appointment.pk, status=was).update(status=to, **columns)
    appointment.refresh_from_db()
    _record(kind=kind, appointment=appointment, was=was, actor=actor, at=now, data=data)


def _times(appointment: Appointment) -> dict[str, str]:
    period = appointment.period
    return {"starts_at": period.lower.isoformat(), "ends_at": period.upper.isoformat()}


def _record(*, kind: str, appointment: Appointment, was: str | None, actor: Actor, at: datetime,
            data: dict[str, Any], **ids: UUID) -> None:  # fmt: skip
    events.record(
        kind=kind,
        tenant_id=appointment.tenant_id,
        subject_type="appointment",
        subject_id=appointment.pk,
        actor=actor,
        at=at,
        slot_id=appointment.slot_id,
        facility_id=appointment.facility_id,
        provider_id=appointment.provider_id,
        previous_status=was,
        new_status=appointment.status,
        data=data,
        **ids,
    )
