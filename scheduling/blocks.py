"""Time blocks: periods cut out of a provider's or a whole facility's availability."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange
from django.db.models import QuerySet

from accounts import rows
from audit import events, sql
from audit.errors import NotFound
from audit.events import Actor
from scheduling import slots
from scheduling.models import (
    Appointment,
    Facility,
    Provider,
    ProviderFacility,
    Slot,
    TimeBlock,
)

# A block of another provider or place is another block.
CHANGEABLE = frozenset({"starts_at", "ends_at", "reason"})
# What is right because of where it comes from.
CHECKED = frozenset({"id", "tenant", "facility", "provider", "period", "version"})
FARTHEST = timedelta(days=3650)  # near the ends of the calendar, a time is none in another zone


@dataclass(frozen=True, slots=True)
class Blocked:
    """A block made or moved, and the booked appointments under it, which staff must settle."""

    block: TimeBlock
    conflicts: Sequence[Appointment]


@transaction.atomic
def create(
    *, facility_id: UUID, provider_id: UUID | None, starts_at: datetime, ends_at: datetime,
    reason: str, actor: Actor, now: datetime,
) -> Blocked:  # fmt: skip
    """Block a period: open and reserved slots become blocked, held ones once their holds are.

    Locks provider, slot.

    :raises NotFound: if the facility is not there, or the provider does not work at it.
    :raises ValidationError: naming `ends_at` if the period is empty or over, and what is more than
        ten years away.
    """
    period = _period(starts_at=starts_at, ends_at=ends_at, now=now)
    facility = Facility.objects.filter(pk=facility_id).first()
    if facility is None:
        raise NotFound("facility", facility_id)
    posted = ProviderFacility.objects.filter(facility=facility_id)
    if provider_id is not None and not posted.filter(provider=provider_id).exists():
        raise NotFound("provider", provider_id)
    block = TimeBlock(
        tenant_id=facility.tenant_id,
        facility=facility,
        provider_id=provider_id,
        period=period,
        reason=reason,
    )
    block.clean_fields(exclude=CHECKED)
    _lock_providers(block=block)
    under = slots.lock(slot_ids=_under(block=block))
    block.save()
    conflicts = _apply(block=block, under=under, actor=actor, now=now)
    return Blocked(block, conflicts)


@transaction.atomic
def change(
    *, block_id: UUID, changes: Mapping[str, Any], actor: Actor, now: datetime,
    version: int | None = None,
) -> Blocked:  # fmt: skip
    """Change `starts_at`, `ends_at` or `reason`; slots follow, as if it were removed and made anew.

    Locks provider, slot.

    :raises NotFound: if it is not there.
    :raises Stale: if its version is not the wanted one.
    :raises ValidationError: naming `ends_at` if the period is empty or over, or what cannot change.
    """
    if fixed := [name.removesuffix("_id") for name in changes.keys() - CHANGEABLE]:
        raise ValidationError(dict.fromkeys(fixed, "A block keeps this; add another block."))
    found = TimeBlock.objects.all()
    _lock_providers(block=rows.find(rows=found, id=block_id, field="block"))
    block = rows.lock(rows=found, id=block_id, version=version)
    if not changes:
        return Blocked(block, [])
    old = list(_under(block=block))
    starts_at = changes.get("starts_at", block.period.lower)
    ends_at = changes.get("ends_at", block.period.upper)
    moves = (starts_at, ends_at) != (block.period.lower, block.period.upper)
    if moves:
        block.period = _period(starts_at=starts_at, ends_at=ends_at, now=now)
    block.reason = changes.get("reason", block.reason)
    block.clean_fields(exclude=CHECKED)
    locked = slots.lock(slot_ids={*old, *_under(block=block)} if moves else [])
    block.save(update_fields=["period", "reason"])
    block.refresh_from_db()
    if not moves:
        return Blocked(block, [])
    _record(kind="block.removed", block=block, actor=actor, at=now, data={})
    under = set(_under(block=block))
    mine = [slot for slot in locked if slot.pk in under]
    conflicts = _apply(block=block, under=mine, actor=actor, now=now)
    slots.land(slot_ids=old, was=Slot.Status.BLOCKED, actor=actor, now=now)
    return Blocked(block, conflicts)


def _apply(
    *, block: TimeBlock, under: Sequence[Slot], actor: Actor, now: datetime
) -> list[Appointment]:
    """Block the locked slots under a block that was saved; return what is booked among them."""
    reserved = [slot for slot in under if slot.status == Slot.Status.RESERVED]
    slots.drop_reservations(slots=reserved, reason="blocked", actor=actor, now=now)
    ids = [slot.pk for slot in under]
    slots.land(slot_ids=ids, was=Slot.Status.OPEN, actor=actor, now=now)
    booked = [slot.pk for slot in under if slot.status == Slot.Status.BOOKED]
    conflicts = list(
        Appointment.objects.filter(slot__in=booked, status=Appointment.Status.BOOKED).order_by("pk")
    )
    _record(
        kind="block.created",
        block=block,
        actor=actor,
        at=now,
        data={
            "starts_at": block.period.lower.isoformat(),
            "ends_at": block.period.upper.isoformat(),
            "conflicts": len(conflicts),
        },
    )
    return conflicts


@transaction.atomic
def remove(*, block_id: UUID, actor: Actor, now: datetime, version: int | None = None) -> None:
    """Take a block away: its slots open again, unless another block overlaps them. Locks slot.

    :raises NotFound: if it is not there.
    :raises Stale: if its version is not the wanted one.
    """
    found = TimeBlock.objects.all()
    rows.find(rows=found, id=block_id, field="block")
    block = rows.lock(rows=found, id=block_id, version=version)
    under = slots.lock(slot_ids=_under(block=block))
    _record(kind="block.removed", block=block, actor=actor, at=now, data={})
    block.delete()
    ids = [slot.pk for slot in under]
    slots.land(slot_ids=ids, was=Slot.Status.BLOCKED, actor=actor, now=now)


@transaction.atomic
def apply(*, now: datetime, limit: int, facility_id: UUID | None = None) -> int:
    """Block coming open slots that a block overlaps: made while the block was; return how many.

    Locks slot.
    """
    rows = sql.run(
        app="scheduling",
        name="find_open_under_block",
        params={"now": now, "limit": limit, "facility": facility_id},
    )
    found = slots.lock(slot_ids=[slot for (slot,) in rows])
    ids = [slot.pk for slot in found]
    return len(slots.land(slot_ids=ids, was=Slot.Status.OPEN, actor=events.SYSTEM, now=now))


def _period(*, starts_at: datetime, ends_at: datetime, now: datetime) -> DateTimeTZRange:
    """:raises ValidationError: naming `ends_at`, or what is more than ten years away."""
    for name, at in (("starts_at", starts_at), ("ends_at", ends_at)):
        if abs(at - now) > FARTHEST:
            raise ValidationError({name: "This is more than ten years away."})
    if ends_at <= starts_at:
        raise ValidationError({"ends_at": "A block ends after it starts."})
    if ends_at <= now:
        raise ValidationError({"ends_at": "A block ends in the future."})
    return DateTimeTZRange(starts_at, ends_at)


def _lock_providers(*, block: TimeBlock) -> None:
    providers = Provider.objects.filter(providerfacility__facility=block.facility_id)
    if block.provider_id is not None:
        providers = Provider.objects.filter(pk=block.provider_id)
    list(providers.select_for_update(of=("self",), no_key=True).order_by("pk").values_list("pk"))


def _under(*, block: TimeBlock) -> QuerySet[Slot, UUID]:
    found = Slot.objects.filter(facility=block.facility_id, period__overlap=block.period)
    if block.provider_id is not None:
        found = found.filter(provider=block.provider_id)
    return found.exclude(status=Slot.Status.RETIRED).values_list("pk", flat=True)


def _record(
    *, kind: str, block: TimeBlock, actor: Actor, at: datetime, data: dict[str, Any]
) -> None:
    events.record(
        kind=kind,
        tenant_id=block.tenant_id,
        subject_type="block",
        subject_id=block.pk,
        actor=actor,
        at=at,
        facility_id=block.facility_id,
        provider_id=block.provider_id,
        data=data,
    )
