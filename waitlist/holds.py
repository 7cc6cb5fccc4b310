"""Holds: a place kept for one entry until a deadline, and the ways in which that ends.

The timer of a hold is its row: `expire_due` finds what is over, however late it runs.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from audit import events, locks, sql
from audit.errors import NotFound, Refused
from audit.events import Actor
from availability.models import Rfp
from scheduling import appointments, slots
from scheduling.models import Appointment, Slot
from waitlist import breakers, queues
from waitlist.models import Hold, WaitlistEntry


class HoldClosed(Refused):
    """The offer was answered, withdrawn or has lapsed; `state` says which."""

    code = "hold_closed"

    def __init__(self, detail: str, *, state: str) -> None:
        super().__init__(detail, field="hold")
        self.more = {"state": state}


@transaction.atomic
def accept(*, hold_id: UUID, actor: Actor, now: datetime) -> Appointment:
    """Book the held slot for the entry's patient. Locks provider, patient, slot, hold, entry.

    :raises NotFound: if there is no such hold.
    :raises HoldClosed: if it was answered, withdrawn or has lapsed.
    :raises Inactive: if its facility or its provider is not active any longer.
    :raises SlotBlocked: if the slot was blocked meanwhile.
    :raises PatientBusy: if the patient is booked elsewhere at that time.
    """
    hold = get(hold_id=hold_id)
    if hold.slot_id is None:
        raise HoldClosed(f"Hold {hold_id} has no slot to book.", state=hold.status)
    _check_live(hold=hold, now=now)  # before the patient is looked for, who may be erased by now
    [slot] = slots.lock_for_claim(slot_ids=[hold.slot_id], patient_id=hold.patient_id)
    hold = lock_live(hold_id=hold_id, now=now)
    entry = WaitlistEntry.objects.select_for_update(no_key=True).get(pk=hold.entry_id)
    slots.check_claimable(slot=slot, now=now, claim=Slot.Status.HELD)
    assert hold.patient_id is not None
    appointment = appointments.create(
        slot=slot,
        patient_id=hold.patient_id,
        source=Appointment.Source.WAITLIST,
        actor=actor,
        now=now,
        service_id=entry.service_id,
        entry_id=entry.pk,
        hold_id=hold.pk,
    )
    Hold.objects.filter(pk=hold.pk, status=Hold.Status.OFFERED).update(
        status=Hold.Status.ACCEPTED, closed_at=now
    )
    convert(entry=entry, to=appointment, actor=actor, now=now, hold_id=hold.pk)
    return appointment


@transaction.atomic
def decline(*, hold_id: UUID, actor: Actor, now: datetime) -> Hold:
    """Say no to an offer: the slot goes to the next, the entry does what its policy says.

    Locks queue, slot, hold, entry.

    :raises NotFound: if there is no such hold.
    :raises HoldClosed: if it was answered, withdrawn or has lapsed.
    """
    return _end(hold_id=hold_id, to=Hold.Status.DECLINED, actor=actor, now=now)


@transaction.atomic
def take_back(*, hold_id: UUID, reason: str, actor: Actor, now: datetime) -> Hold:
    """Withdraw an offer by hand: the slot goes to the next, the entry waits again, in its place.

    The scan does not come back to the patient with the slot; staff may. A whole place is not taken
    back: its offers are seen by the organizer's own team, who could have theirs made anew for ever.
    `reason` is a code, such as `offered_by_mistake`. Locks queue, slot, hold, entry.

    :raises NotFound, HoldClosed: as `decline`; also closed to this if it has no slot.
    :raises ValidationError: naming `reason` if it is not a code.
    """
    events.check_code(field="reason", code=reason)
    hold = get(hold_id=hold_id)
    if hold.slot_id is None:
        raise HoldClosed(f"Hold {hold_id} has no slot to take back.", state=hold.status)
    hold = _end(hold_id=hold_id, to=Hold.Status.WITHDRAWN, actor=actor, now=now, reason=reason)
    Hold.objects.filter(pk=hold_id, status=Hold.Status.WITHDRAWN).update(taken_back=True)
    hold.refresh_from_db()
    return hold


def give_again(*, slot_id: UUID, entry_id: UUID) -> None:
    """Let a locked slot that was taken back from an entry's patient be offered to them again."""
    taken = Hold.objects.filter(slot=slot_id, taken_back=True)
    taken.filter(patient__waitlistentry=entry_id).update(taken_back=False)


def withdraw(*, entry: WaitlistEntry, reason: str, actor: Actor, now: datetime) -> None:
    """Take back what a locked entry is offered; it waits again, in its place.

    The caller has locked the entry's queue, the held slot and the entry. `reason` is a code.
    """
    live = Hold.objects.filter(entry=entry, status=Hold.Status.OFFERED)
    ids = list(live.values_list("pk", flat=True))
    close(hold_ids=ids, to=Hold.Status.WITHDRAWN, actor=actor, now=now, reason=reason)
    entry.refresh_from_db()


@transaction.atomic
def expire_due(*, now: datetime, limit: int) -> int:
    """End holds past their deadline, at most `limit`; return how many.

    Each slot is free for the next, who is found on commit. Queues and slots that somebody has
    locked are left for the next run. Locks queue, slot, hold, entry.
    """
    due = Hold.objects.filter(status=Hold.Status.OFFERED, expires_at__lte=now)
    ids = _lock_free(among=due.order_by("expires_at")[:limit])
    return close(hold_ids=ids, to=Hold.Status.EXPIRED, actor=events.SYSTEM, now=now)


@transaction.atomic
def withdraw_blocked(*, now: datetime, limit: int, facility_id: UUID | None = None) -> int:
    """Withdraw the holds whose slots a block overlaps, at most `limit`; return how many.

    Locks queue, slot, hold, entry.
    """
    found = _find_blocked(limit=limit, facility_id=facility_id)
    locked = _lock_free(among=Hold.objects.filter(pk__in=found))
    # Under the slots' locks no block is taken away, so what is blocked now stays so.
    ids = _find_blocked(limit=limit, hold_ids=locked)
    to, actor = Hold.Status.WITHDRAWN, events.SYSTEM
    return close(hold_ids=ids, to=to, actor=actor, now=now, reason="blocked")


@transaction.atomic
def remind_due(*, now: datetime, limit: int) -> int:
    """Note that live holds near their deadline are to be reminded, once each; return how many.

    Locks hold.
    """
    if not locks.try_lock(name=locks.REMIND):
        return 0
    return len(sql.run(app="waitlist", name="remind_holds", params={"now": now, "limit": limit}))


def state(*, hold: Hold, now: datetime) -> str:
    """Say what a hold is at `now`; one past its deadline is over though no sweep has been there."""
    if hold.status == Hold.Status.OFFERED and hold.expires_at <= now:
        return Hold.Status.EXPIRED
    return hold.status


def get(*, hold_id: UUID) -> Hold:
    """:raises NotFound: if there is no such hold."""
    hold = Hold.objects.select_related("entry").filter(pk=hold_id).first()
    if hold is None:
        raise NotFound("hold", hold_id)
    return hold


def close(
    *,
    hold_ids: Collection[UUID],
    to: Hold.Status,
    actor: Actor,
    now: datetime,
    reason: str | None = None,
) -> int:
    """End live holds of locked queues and slots, settle their entries, free their slots.

    A place that was offered as a whole goes to the next on commit, unless its breaker trips.
    """
    if not hold_ids:
        return 0
    rows = sql.run(
        app="waitlist",
        name="close_holds",
        params={
            "holds": sql.array(values=hold_ids),
            "to": str(to),
            "actor_type": actor.type,
            "actor_id": actor.id,
            "now": now,
            "reason": reason,
        },
    )
    freed = [slot for _, slot, *_ in rows if slot is not None]
    slots.land(slot_ids=freed, was=Slot.Status.HELD, actor=actor, now=now)
    requeued: dict[UUID, list[UUID]] = {}
    for _, slot, _, entry, queue in rows:
        if slot and entry:
            requeued.setdefault(queue, []).append(entry)
    events.announce(kind="waitlist.requeued", ids=requeued, subjects=requeued)
    places = {facility for _, slot, facility, *_ in rows if slot is None}
    if places:
        breakers.trip(facility_ids=places, now=now)
        events.announce(kind=f"waitlist.hold_{to}", ids=places)
    return len(rows)


def convert(
    *,
    entry: WaitlistEntry,
    to: Appointment | Rfp,
    actor: Actor,
    now: datetime,
    hold_id: UUID | None = None,
) -> None:
    """Write that a locked entry got what it waited for."""
    was = entry.status
    told: dict[str, Any]
    if isinstance(to, Rfp):
        got = {"converted_rfp": to.pk}
        told = {"facility_id": entry.facility_id, "data": {"rfp_id": str(to.pk)}}
    else:
        got = {"appointment": to.pk}
        told = {
            "slot_id": to.slot_id,
            "facility_id": to.facility_id,
            "provider_id": to.provider_id,
            "data": {
                "appointment_id": str(to.pk),
                "source": to.source,
                "starts_at": to.period.lower.isoformat(),
            },
        }
    WaitlistEntry.objects.filter(pk=entry.pk, status=was).update(
        status=WaitlistEntry.Status.CONVERTED, closed_at=now, **got
    )
    entry.refresh_from_db()
    events.record(
        kind="waitlist.converted",
        tenant_id=entry.tenant_id,
        subject_type="entry",
        subject_id=entry.pk,
        actor=actor,
        at=now,
        entry_id=entry.pk,
        hold_id=hold_id,
        previous_status=was,
        new_status=entry.status,
        **told,
    )


def _end(
    *, hold_id: UUID, to: Hold.Status, actor: Actor, now: datetime, reason: str | None = None
) -> Hold:
    hold = get(hold_id=hold_id)
    queues.lock(facility_id=hold.entry.facility_id)
    slots.lock(slot_ids=[hold.slot_id] if hold.slot_id else [])
    hold = lock_live(hold_id=hold_id, now=now)
    close(hold_ids=[hold.pk], to=to, actor=actor, now=now, reason=reason)
    hold.refresh_from_db()
    return hold


def lock_live(*, hold_id: UUID, now: datetime) -> Hold:
    """Lock a hold that waits for an answer, after the rows that are locked before it.

    :raises HoldClosed: if it was answered, withdrawn or has lapsed.
    """
    hold = Hold.objects.select_for_update(no_key=True).get(pk=hold_id)
    _check_live(hold=hold, now=now)
    return hold


def _check_live(*, hold: Hold, now: datetime) -> None:
    found = state(hold=hold, now=now)
    if found != Hold.Status.OFFERED:
        raise HoldClosed(f"The offer {hold.pk} is over.", state=found)


def _find_blocked(
    *,
    limit: int,
    facility_id: UUID | None = None,
    hold_ids: Collection[UUID] | None = None,
) -> list[UUID]:
    rows = sql.run(
        app="waitlist",
        name="find_blocked_holds",
        params={
            "facility": facility_id,
            "holds": list(hold_ids) if hold_ids is not None else None,
            "limit": limit,
        },
    )
    return [hold for (hold,) in rows]


def _lock_free(*, among: QuerySet[Hold]) -> list[UUID]:
    """Lock queues and slots of holds; return the holds of which nobody had one locked."""
    found: list[tuple[UUID, UUID, UUID | None]] = list(
        among.values_list("pk", "entry__facility", "slot")
    )
    free = queues.lock_free(facility_ids={queue for _, queue, _ in found})
    locked = slots.lock_free(
        slot_ids=[slot for _, queue, slot in found if queue in free and slot is not None]
    )
    return [
        hold for hold, queue, slot in found if queue in free and (slot is None or slot in locked)
    ]
