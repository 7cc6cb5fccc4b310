"""Availability rules: weekly opening hours. What changes takes effect on coming slots at once."""

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction

from accounts import rows
from audit.events import Actor
from scheduling import generation
from scheduling.models import AvailabilityRule, Facility, ProviderFacility, Service

# A rule of another provider or place is another rule.
CHANGEABLE = frozenset(
    {
        "service_id", "weekday", "start_time", "end_time", "slot_minutes", "buffer_minutes",
        "valid_from", "valid_until", "is_active",
    }
)  # fmt: skip


@transaction.atomic
def add(
    *,
    facility_id: UUID,
    provider_id: UUID,
    weekday: int,
    start_time: time,
    end_time: time,
    slot_minutes: int,
    actor: Actor,
    now: datetime,
    service_id: UUID | None = None,
    buffer_minutes: int = 0,
    valid_from: date | None = None,
    valid_until: date | None = None,
) -> AvailabilityRule:
    """Open a provider weekly, by the local clock; an end at or before the start is next day's.

    Locks provider, slot.

    :raises ValidationError: naming each field that is wrong.
    """
    facility = get_facility(facility_id=facility_id)
    generation.lock(facility=facility, provider_id=provider_id)
    rule = AvailabilityRule(
        tenant_id=facility.tenant_id,
        facility=facility,
        provider_id=provider_id,
        service_id=service_id,
        weekday=weekday,
        start_time=start_time,
        end_time=end_time,
        slot_minutes=slot_minutes,
        buffer_minutes=buffer_minutes,
        valid_from=valid_from,
        valid_until=valid_until,
    )
    check(rule=rule)
    rule.save()
    generation.sync(facility=facility, provider_id=provider_id, actor=actor, now=now)
    return rule


@transaction.atomic
def change(
    *, rule_id: UUID, changes: Mapping[str, Any], actor: Actor, now: datetime,
    version: int | None = None,
) -> AvailabilityRule:  # fmt: skip
    """Change a rule: coming slots that it no longer makes retire, unless they are claimed.

    Locks provider, slot.

    :raises NotFound: if it is not there.
    :raises Stale: if its version is not the wanted one.
    :raises ValidationError: naming each field that is wrong, or cannot be changed.
    """
    if fixed := [name.removesuffix("_id") for name in changes.keys() - CHANGEABLE]:
        raise ValidationError(dict.fromkeys(fixed, "A rule keeps this; add another rule instead."))
    found = AvailabilityRule.objects.select_related("facility")
    rule = rows.find(rows=found, id=rule_id, field="rule")
    facility = rule.facility
    generation.lock(facility=facility, provider_id=rule.provider_id)
    rule = rows.lock(rows=found, id=rule_id, version=version)
    if not changes:
        return rule
    for name, value in changes.items():
        setattr(rule, name, value)
    check(rule=rule)
    rule.save(update_fields=list(changes))
    rule.refresh_from_db()
    generation.sync(facility=facility, provider_id=rule.provider_id, actor=actor, now=now)
    return rule


def deactivate(*, rule_id: UUID, actor: Actor, now: datetime) -> AvailabilityRule:
    """End a rule; it stays, since slots refer to it. Locks provider, slot.

    :raises NotFound: if it is not there.
    """
    return change(rule_id=rule_id, changes={"is_active": False}, actor=actor, now=now)


def check(*, rule: AvailabilityRule) -> None:
    """Check a rule that is about to be saved, under its provider's lock.

    :raises ValidationError: naming each field that is wrong; `start_time` if it overlaps another
        active rule of the provider for the same service, whose id it tells.
    """
    rule.clean_fields()
    errors: dict[str, str] = {}
    if rule.valid_from and rule.valid_until and rule.valid_until < rule.valid_from:
        errors["valid_until"] = f"{rule.valid_until} is before {rule.valid_from}."
    if timedelta(minutes=rule.slot_minutes) > length(start=rule.start_time, end=rule.end_time):
        errors["slot_minutes"] = f"The opening is shorter than a slot of {rule.slot_minutes} min."
    if rule.is_active:  # one that ends may refer to what is not so any longer
        errors |= wrong_references(
            facility=rule.facility, provider_id=rule.provider_id, service_id=rule.service_id
        )
    if errors:
        raise ValidationError(errors)
    if not rule.is_active:
        return
    others = AvailabilityRule.objects.filter(
        is_active=True,
        provider=rule.provider_id,
        service=rule.service_id,
        facility__timezone=rule.facility.timezone,  # local times of two zones do not compare
    )
    for other in others.order_by("pk"):
        if other.pk != rule.pk and overlap(one=rule, other=other):
            raise ValidationError(
                {"start_time": f"It overlaps rule {other.pk} of the same provider and service."}
            )


def wrong_references(
    *, facility: Facility, provider_id: UUID | None, service_id: UUID | None = None
) -> dict[str, str]:
    """Tell which of a provider and a service cannot go with a facility, and why."""
    errors = {}
    posted = ProviderFacility.objects.filter(facility=facility, provider=provider_id)
    if provider_id is not None and not posted.exists():
        errors["provider"] = f"Provider {provider_id} does not work at facility {facility.pk}."
    if service_id is not None:
        services = Service.objects.filter(pk=service_id, tenant=facility.tenant_id)
        if not services.exists():
            errors["service"] = f"There is no service {service_id}."
    return errors


def length(*, start: time, end: time) -> timedelta:
    """Return the time between two clock times; an end at or before the start is next day's."""
    gap = _since_midnight(end) - _since_midnight(start)
    return gap if gap > timedelta(0) else gap + timedelta(days=1)


def overlap(*, one: AvailabilityRule, other: AvailabilityRule) -> bool:
    """Whether two rules are ever open at once, by the clock, on dates on which both are valid."""
    for days in (-1, 0, 1):  # the other's date after the one's
        if (one.weekday + days - other.weekday) % 7:
            continue
        start, other_start = _since_midnight(one.start_time), _since_midnight(other.start_time)
        other_start += timedelta(days=days)
        end = start + length(start=one.start_time, end=one.end_time)
        other_end = other_start + length(start=other.start_time, end=other.end_time)
        if start < other_end and other_start < end and _share_a_date(one, other, days):
            return True
    return False


def _share_a_date(one: AvailabilityRule, other: AvailabilityRule, days: int) -> bool:
    """Whether there is a date of the first rule so many days before one of the other."""
    first = max(_ordinal(one.valid_from, date.min), _ordinal(other.valid_from, date.min) - days)
    last = min(_ordinal(one.valid_until, date.max), _ordinal(other.valid_until, date.max) - days)
    # Day 1 of the calendar was a Monday.
    return first + (one.weekday - first) % 7 <= last


def _ordinal(given: date | None, otherwise: date) -> int:
    return (given or otherwise).toordinal()


def _since_midnight(at: time) -> timedelta:
    return timedelta(
        hours=at.hour, minutes=at.minute, seconds=at.second, microseconds=at.microsecond
    )


def get_facility(*, facility_id: UUID) -> Facility:
    """Return a facility.

    :raises ValidationError: naming `facility` if it is not there.
    """
    facility = Facility.objects.filter(pk=facility_id).first()
    if facility is None:
        raise ValidationError({"facility": f"There is no facility {facility_id}."})
    return facility
