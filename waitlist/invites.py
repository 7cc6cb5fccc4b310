"""What staff do by hand: offer a slot or an appointment's vacancy, or book somebody at once."""

from datetime import datetime
from uuid import UUID

from django.db import transaction

from audit.errors import NotFound, Refused, check_version
from audit.events import Actor
from scheduling import appointments, slots
from scheduling.models import Appointment, Slot
from waitlist import candidates, entries, fill, holds
from waitlist.models import Hold, WaitlistEntry, WaitlistPolicy


class DoesNotFit(Refused):
    """The entry does not fit the slot: a rule that must hold does not, or the score is too low."""

    code = "does_not_fit"


class NobodyFits(Refused):
    """Nobody who waits can be offered this slot."""

    code = "nobody_fits"


class TooLate(Refused):
    """The slot begins too soon to leave the time to answer that the policy asks for."""

    code = "too_late"


@transaction.atomic
def invite(*, slot_id: UUID, entry_id: UUID | None, actor: Actor, now: datetime) -> Hold:
    """Offer an open slot to an entry or to the best match; time runs from the end of quiet hours.

    An entry that has another offer gives that back first.
    Locks queue, provider, patient, slot, hold, entry.

    :raises NotFound: if the slot or the entry is not there, or they differ in tenant.
    :raises Inactive, SlotTaken, SlotBlocked, SlotPast: see `slots.check_claimable`.
    :raises EntryClosed: if the entry has ended.
    :raises DoesNotFit, NobodyFits, TooLate: see there.
    """
    found = Slot.objects.filter(pk=slot_id).first()
    if found is None:
        raise NotFound("slot", slot_id)
    if entry_id is None:
        [slot] = slots.lock_for_claim(slot_ids=[slot_id])
    else:
        slot, entry = _lock(slot=found, entry_id=entry_id)
        if Hold.objects.filter(entry=entry, slot=slot, status=Hold.Status.OFFERED).exists():
            raise DoesNotFit(f"Entry {entry_id} is offered slot {slot_id} already.", field="entry")
        _take_back(entry=entry, slot=slot, actor=actor, now=now)
    slots.check_claimable(slot=slot, now=now)
    return _offer(slot=slot, entry_id=entry_id, actor=actor, now=now)


@transaction.atomic
def invite_for(
    *, appointment_id: UUID, entry_id: UUID | None, reason: str, actor: Actor, now: datetime,
    version: int | None = None,
) -> Hold:  # fmt: skip
    """Cancel an appointment and offer its slot, both or neither.

    Locks queue, provider, patient, slot, appointment, hold, entry.

    :raises NotBooked: if the appointment is not booked any more.
    :raises Stale: if the appointment's version is not the wanted one.
    :raises NotFound, Inactive, SlotBlocked, SlotPast, EntryClosed: as `invite`.
    :raises DoesNotFit, NobodyFits, TooLate: as `invite`.
    """
    appointment = Appointment.objects.select_related("slot").filter(pk=appointment_id).first()
    if appointment is None:
        raise NotFound("appointment", appointment_id)
    slot = appointment.slot
    if entry_id is not None:
        slot, entry = _lock(slot=slot, entry_id=entry_id)
        _take_back(entry=entry, slot=slot, actor=actor, now=now)
    else:
        slots.lock_for_claim(slot_ids=[slot.pk])
    appointments.lock_at(appointment_id=appointment_id, slot_id=slot.pk, version=version)
    appointments.cancel(appointment_id=appointment_id, reason=reason, actor=actor, now=now)
    slot.refresh_from_db()
    slots.check_claimable(slot=slot, now=now)
    return _offer(slot=slot, entry_id=entry_id, actor=actor, now=now)


@transaction.atomic
def promote(
    *, entry_id: UUID, slot_id: UUID, actor: Actor, now: datetime, version: int | None = None
) -> Appointment:
    """Book a slot for a waiting entry at once; an offer it has is taken back first.

    Staff have spoken with the patient, so wishes are not checked.
    Locks queue, provider, patient, slot, hold, entry.

    :raises NotFound: if the slot or the entry is not there, or they differ in tenant.
    :raises EntryClosed: if the entry has ended.
    :raises Stale: if its version is not the wanted one.
    :raises Inactive, SlotTaken, SlotBlocked, SlotPast: see `slots.check_claimable`.
    :raises PatientBusy: if the patient is booked elsewhere at that time.
    """
    found = Slot.objects.filter(pk=slot_id).first()
    if found is None:
        raise NotFound("slot", slot_id)
    slot, entry = _lock(slot=found, entry_id=entry_id, version=version)
    _take_back(entry=entry, slot=slot, actor=actor, now=now)
    if entry.patient_id is None:
        raise NotFound("patient", entry.patient_id)
    appointments.check_bookable(slot=slot, patient_id=entry.patient_id, now=now)
    appointment = appointments.create(
        slot=slot,
        patient_id=entry.patient_id,
        source=Appointment.Source.WAITLIST,
        actor=actor,
        now=now,
        service_id=entry.service_id,
        entry_id=entry.pk,
    )
    holds.convert(entry=entry, to=appointment, actor=actor, now=now)
    return appointment


def _lock(*, slot: Slot, entry_id: UUID, version: int | None = None) -> tuple[Slot, WaitlistEntry]:
    """Lock all that an entry's new claim on a slot concerns."""
    if entries.get(entry_id=entry_id).tenant_id != slot.tenant_id:
        raise NotFound("entry", entry_id)
    entry = entries.lock_active(entry_id=entry_id, slot_id=slot.pk)
    check_version(version=entry.version, wanted=version)
    return slot, entry


def _take_back(*, entry: WaitlistEntry, slot: Slot, actor: Actor, now: datetime) -> None:
    """Take back what a locked entry is offered, before it gets a slot; read the slot again."""
    if entry.status == WaitlistEntry.Status.OFFERED:
        holds.withdraw(entry=entry, reason="replaced", actor=actor, now=now)
    slot.refresh_from_db()


def _offer(*, slot: Slot, entry_id: UUID | None, actor: Actor, now: datetime) -> Hold:
    """Offer a slot that is locked and claimable; quiet hours delay the time to answer."""
    policy = WaitlistPolicy.objects.select_related("facility").get(facility=slot.facility_id)
    start = fill.quiet_until(policy=policy, now=now) or now
    deadline = fill.deadline(policy=policy, slot_start=slot.period.lower, start=start)
    if deadline <= start or deadline - start < policy.min_hold:
        raise TooLate(f"Slot {slot.pk} begins too soon for an offer.", field="slot")
    ahead = slot.period.lower - now <= policy.look_ahead
    board = candidates.board(
        slots=fill.load_slots(slot_ids=[str(slot.pk)] if ahead else [], policy=policy),
        policy=policy,
    )
    if entry_id is None:
        found = candidates.walk(board=board, policy=policy, now=now)
    else:
        holds.give_again(slot_id=slot.pk, entry_id=entry_id)
        found = candidates.find(board=board, policy=policy, now=now, entries=[str(entry_id)])
    choice = fill.choose(board=board, found=found, policy=policy)
    chosen = fill.offers(board=board, choice=choice, found=found)
    if not chosen and entry_id is None:
        raise NobodyFits(f"Nobody waits for slot {slot.pk}.", field="slot")
    if not chosen:
        raise DoesNotFit(
            f"Entry {entry_id} does not fit slot {slot.pk}; the explanations say by which rules.",
            field="entry",
        )
    made = fill.write(
        offers=chosen, policy=policy, start=start, source=Hold.Source.STAFF, actor=actor, now=now
    )
    [offer] = chosen
    if offer.entry not in made:
        raise DoesNotFit(f"Entry {offer.entry} changed meanwhile.", field="entry")
    return Hold.objects.get(pk=made[offer.entry])
