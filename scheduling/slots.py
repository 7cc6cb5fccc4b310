"""Slots: locking, reserving and freeing them.

A claim (reserved, held or booked) is made under its provider's lock, so that the provider is
claimed once at any instant; the exclusion constraint on the table promises it besides.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Case, Exists, F, OuterRef, Q, QuerySet, Subquery, When

from audit import events, sql
from audit.errors import NotFound, Refused
from audit.events import Actor
from audit.models import Event
from scheduling import patients
from scheduling.models import Service, Slot, TimeBlock

RESERVATION = timedelta(minutes=10)
MAX_RESERVED = 3  # by one patient at a time


class SlotTaken(Refused):
    """The slot is not open, or its provider is claimed in an overlapping slot."""

    code = "slot_taken"


class SlotBlocked(Refused):
    """A time block overlaps the slot."""

    code = "slot_blocked"


class SlotPast(Refused):
    """The slot has begun."""

    code = "slot_past"


class Inactive(Refused):
    """The slot's facility or provider is no longer active; `field` says which."""

    code = "inactive"


# What `check_claimable` raises.
UNCLAIMABLE = (Inactive, SlotTaken, SlotBlocked, SlotPast)


class NotReserved(Refused):
    """The slot is not reserved, or it is reserved by somebody else."""

    code = "slot_not_reserved"


class TooManyReserved(Refused):
    """The patient has as many slots reserved as may be at a time."""

    code = "too_many_reserved"


def lock_for_claim(*, slot_ids: Collection[UUID], patient_id: UUID | None = None) -> list[Slot]:
    """Lock the slots' providers, the patient, then the slots; return them as in `slot_ids`.

    :raises NotFound: if a slot is not there, or the patient is not one of the slots' tenant, or
        was erased.
    """
    sql.run(app="scheduling", name="lock_providers", params={"slots": sql.array(values=slot_ids)})
    patient = None
    if patient_id is not None:
        known = patients.known().filter(pk=patient_id)
        patient = known.select_for_update(no_key=True).first()
    slots = {slot.pk: slot for slot in lock(slot_ids=slot_ids)}
    for slot_id in slot_ids:
        if slot_id not in slots:
            raise NotFound("slot", slot_id)
        if patient_id and (patient is None or patient.tenant_id != slots[slot_id].tenant_id):
            raise NotFound("patient", patient_id)
    return [slots[slot_id] for slot_id in slot_ids]


def lock_many_for_claim(*, slot_ids: Collection[str]) -> None:
    """Lock the slots' providers, then the slots, and read nothing."""
    for name in ("lock_providers", "lock_slots"):
        sql.run(app="scheduling", name=name, params={"slots": sql.array(values=slot_ids)})


def lock(*, slot_ids: Collection[UUID]) -> list[Slot]:
    """Lock slots in the order of their ids. Enough for freeing them; a claim locks more."""
    found = Slot.objects.select_for_update(no_key=True, of=("self",)).filter(pk__in=slot_ids)
    return list(found.select_related("facility", "provider").order_by("pk"))


def lock_free(*, slot_ids: Collection[UUID]) -> set[UUID]:
    """Lock those of the slots that nobody has locked, and return them."""
    params = {"slots": sql.array(values=slot_ids)}
    return {slot for (slot,) in sql.run(app="scheduling", name="lock_free_slots", params=params)}


def check_claimable(*, slot: Slot, now: datetime, claim: Slot.Status | None = None) -> None:
    """Check a slot that `lock_for_claim` returned: open, or under the claim to be taken over.

    :raises Inactive: if its facility or its provider is.
    :raises SlotTaken: if it is not open, or overlaps another claim of its provider.
    :raises SlotBlocked: if a time block overlaps it.
    :raises SlotPast: if it has begun.
    """
    for field, row in (("facility", slot.facility), ("provider", slot.provider)):
        if not row.is_active:  # stays so while the provider is locked
            raise Inactive(f"The {field} {row.pk} is not active.", field=field)
    if slot.period.lower <= now:
        raise SlotPast(f"Slot {slot.pk} has begun.", field="slot")
    if slot.status == Slot.Status.BLOCKED or is_blocked(slot=slot):
        raise SlotBlocked(f"Slot {slot.pk} is blocked.", field="slot")
    others = Slot.objects.filter(
        provider_id=slot.provider_id, period__overlap=slot.period, status__in=Slot.CLAIMED
    )
    if slot.status != (claim or Slot.Status.OPEN) or others.exclude(pk=slot.pk).exists():
        raise SlotTaken(f"Slot {slot.pk} is taken.", field="slot")


def is_blocked(*, slot: Slot) -> bool:
    """Whether a time block overlaps the slot, whatever its status says yet."""
    return TimeBlock.objects.filter(
        Q(provider__isnull=True) | Q(provider=slot.provider_id),
        facility=slot.facility_id,
        period__overlap=slot.period,
    ).exists()


def bookable(*, rows: QuerySet[Slot], now: datetime) -> QuerySet[Slot]:
    """Narrow slots to those that `check_claimable` lets pass, as far as can be seen unlocked."""
    claims = Slot.objects.filter(
        provider=OuterRef("provider"), period__overlap=OuterRef("period"), status__in=Slot.CLAIMED
    )
    blocks = TimeBlock.objects.filter(
        Q(provider__isnull=True) | Q(provider=OuterRef("provider")),
        facility=OuterRef("facility"),
        period__overlap=OuterRef("period"),
    )
    coming = rows.filter(
        status=Slot.Status.OPEN,
        period__startswith__gt=now,
        facility__is_active=True,
        provider__is_active=True,
    )
    # In a CASE, so that each slot is looked up in an index. Bare, the server makes a join of it,
    # which may hold each slot of a provider against each claim of theirs.
    is_free = Case(When(Exists(claims) | Exists(blocks), then=False), default=True)
    return coming.filter(is_free)


def taking(*, rows: QuerySet[Slot], service_id: UUID) -> QuerySet[Slot]:
    """Narrow slots to those of a service, and those of none whose period its duration fits."""
    service = Service.objects.filter(pk=service_id)
    fits = Q(
        service__isnull=True,
        tenant=Subquery(service.values("tenant")),
        length__gte=Subquery(service.values("duration")),
    )
    found = rows.alias(length=F("period__endswith") - F("period__startswith"))
    return found.filter(Q(service=service_id) | fits)


def move(*, slot: Slot, to: Slot.Status, **columns: Any) -> None:
    """Write a locked slot's new status, unless it is not what the lock showed.

    :raises SlotTaken: if it moved, which says that the caller did not lock it.
    """
    moved = Slot.objects.filter(pk=slot.pk, status=slot.status).update(
        status=to, **{"reserved_until": None, "reserved_by": None, **columns}
    )
    if not moved:
        raise SlotTaken(f"Slot {slot.pk} is taken.", field="slot")
    slot.refresh_from_db()


def fact(
    *, kind: str, slot: Slot, was: str | None, actor: Actor, at: datetime, **columns: Any
) -> Event:
    """Make the event of something that happened to a slot."""
    return Event(
        kind=kind,
        tenant_id=slot.tenant_id,
        subject_type="slot",
        subject_id=slot.pk,
        actor_type=actor.type,
        actor_id=actor.id,
        slot_id=slot.pk,
        facility_id=slot.facility_id,
        provider_id=slot.provider_id,
        previous_status=was,
        new_status=slot.status,
        at=at,
        **columns,
    )


@transaction.atomic
def reserve(*, slot_id: UUID, patient_id: UUID, actor: Actor, now: datetime) -> Slot:
    """Keep an open slot for a patient for ten minutes. Locks provider, patient, slot.

    :raises NotFound: see `lock_for_claim`.
    :raises Inactive, SlotTaken, SlotBlocked, SlotPast: see `check_claimable`.
    :raises TooManyReserved: if the patient has `MAX_RESERVED` other slots reserved.
    """
    [slot] = lock_for_claim(slot_ids=[slot_id], patient_id=patient_id)
    check_claimable(slot=slot, now=now)
    live = Slot.objects.filter(
        reserved_by=patient_id, status=Slot.Status.RESERVED, reserved_until__gt=now
    )
    if live.count() >= MAX_RESERVED:  # stays so while the patient is locked
        raise TooManyReserved(
            f"Patient {patient_id} has {MAX_RESERVED} slots reserved.", field="patient"
        )
    until = now + RESERVATION
    move(slot=slot, to=Slot.Status.RESERVED, reserved_until=until, reserved_by=patient_id)
    made = fact(
        kind="reservation.made",
        slot=slot,
        was=Slot.Status.OPEN,
        actor=actor,
        at=now,
        data={"reserved_until": until.isoformat()},
    )
    events.record_all(events=[made])
    return slot


@transaction.atomic
def release(*, slot_id: UUID, actor: Actor, now: datetime, patient_id: UUID | None = None) -> Slot:
    """Give a reservation up, for `patient_id` only their own. Locks slot.

    :raises NotFound: if the slot is not there.
    :raises NotReserved: if it is not reserved, or not by this patient.
    """
    slot = next(iter(lock(slot_ids=[slot_id])), None)
    if slot is None:
        raise NotFound("slot", slot_id)
    theirs = patient_id is None or slot.reserved_by_id == patient_id
    if slot.status != Slot.Status.RESERVED or not theirs:
        raise NotReserved(f"Slot {slot_id} is not reserved.", field="slot")
    drop_reservations(slots=[slot], reason="released", actor=actor, now=now)
    slot.refresh_from_db()
    return slot


@transaction.atomic
def release_expired(*, now: datetime, limit: int) -> int:
    """Free reservations that ran out, at most `limit`; return how many.

    Slots that somebody has locked are left for the next run. Locks slot.
    """
    due = Slot.objects.select_for_update(no_key=True, skip_locked=True).filter(
        status=Slot.Status.RESERVED, reserved_until__lte=now
    )
    slots = list(due.order_by("pk")[:limit])
    drop_reservations(slots=slots, reason="lapsed", actor=events.SYSTEM, now=now)
    return len(slots)


def drop_reservations(*, slots: Collection[Slot], reason: str, actor: Actor, now: datetime) -> None:
    """Free locked slots that are reserved, saying why: `released`, `lapsed` or `blocked`."""
    was = Slot.Status.RESERVED
    landed = land(slot_ids=[slot.pk for slot in slots], was=was, actor=actor, now=now)
    released = []
    for slot in slots:
        told = fact(kind="reservation.released", slot=slot, was=was, actor=actor, at=now,
                    data={"reason": reason})  # fmt: skip
        told.new_status = landed[slot.pk]
        released.append(told)
    events.record_all(events=released)


def land(*, slot_ids: Collection[UUID], was: str, actor: Actor, now: datetime) -> dict[UUID, str]:
    """Put locked slots with status `was` where they belong; return the new status of what moved.

    Retired when no rule makes it any longer, blocked when a block overlaps it, else open: this is
    how every claim ends, and how blocks take hold.
    """
    if not slot_ids:
        return {}
    rows = sql.run(
        app="scheduling",
        name="land_slots",
        params={
            "slots": sql.array(values=slot_ids),
            "was": str(was),
            "actor_type": actor.type,
            "actor_id": actor.id,
            "now": now,
        },
    )
    opened: dict[UUID, list[UUID]] = {}
    for slot, status, facility in rows:
        if status == Slot.Status.OPEN:
            opened.setdefault(facility, []).append(slot)
    events.announce(kind="slot.opened", ids=opened, subjects=opened)
    return {slot: status for slot, status, _ in rows}
