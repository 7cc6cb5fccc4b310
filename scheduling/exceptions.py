"""Availability exceptions: dates on which the rules are replaced, for a provider or a facility."""

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction

from accounts import rows
from audit.events import Actor
from scheduling import generation, rules
from scheduling.models import AvailabilityException

# An exception of another provider or place is another exception.
CHANGEABLE = frozenset({"date", "kind", "start_time", "end_time"})


@transaction.atomic
def add(
    *,
    facility_id: UUID,
    date: date,
    kind: str,
    actor: Actor,
    now: datetime,
    provider_id: UUID | None = None,
    start_time: time | None = None,
    end_time: time | None = None,
) -> AvailabilityException:
    """Replace the rules of a local date; without a provider, for all of the facility.

    Coming slots of that date that are not called for any longer retire, unless they are claimed. A
    night belongs to the date on which it begins. Locks provider, slot.

    :raises ValidationError: naming each field that is wrong.
    """
    facility = rules.get_facility(facility_id=facility_id)
    generation.lock(facility=facility, provider_id=provider_id)
    exception = AvailabilityException(
        tenant_id=facility.tenant_id,
        facility=facility,
        provider_id=provider_id,
        date=date,
        kind=kind,
        start_time=start_time,
        end_time=end_time,
    )
    check(exception=exception)
    exception.save()
    generation.sync(
        facility=facility, provider_id=provider_id, actor=actor, now=now, only=exception.date
    )
    return exception


@transaction.atomic
def change(
    *, exception_id: UUID, changes: Mapping[str, Any], actor: Actor, now: datetime,
    version: int | None = None,
) -> AvailabilityException:  # fmt: skip
    """Change what counts on a date, or the date; coming slots follow as in `add`.

    Locks provider, slot.

    :raises NotFound: if it is not there.
    :raises Stale: if its version is not the wanted one.
    :raises ValidationError: naming each field that is wrong, or cannot be changed.
    """
    if fixed := [name.removesuffix("_id") for name in changes.keys() - CHANGEABLE]:
        text = "An exception keeps this; add another exception instead."
        raise ValidationError(dict.fromkeys(fixed, text))
    exception = _lock(exception_id=exception_id, version=version)
    if not changes:
        return exception
    dates = {exception.date, changes.get("date", exception.date)}
    for name, value in changes.items():
        setattr(exception, name, value)
    check(exception=exception)
    exception.save(update_fields=list(changes))
    exception.refresh_from_db()
    facility, provider_id = exception.facility, exception.provider_id
    for one in sorted(dates):
        generation.sync(facility=facility, provider_id=provider_id, actor=actor, now=now, only=one)
    return exception


@transaction.atomic
def remove(*, exception_id: UUID, actor: Actor, now: datetime, version: int | None = None) -> None:
    """Let the rules of the date count again. Locks provider, slot.

    :raises NotFound: if it is not there.
    :raises Stale: if its version is not the wanted one.
    """
    exception = _lock(exception_id=exception_id, version=version)
    facility, provider_id = exception.facility, exception.provider_id
    exception.delete()
    generation.sync(
        facility=facility, provider_id=provider_id, actor=actor, now=now, only=exception.date
    )


def check(*, exception: AvailabilityException) -> None:
    """Check an exception that is about to be saved, under its providers' locks.

    :raises ValidationError: naming each field that is wrong; `date` if it is there already, and
        `start_time` for special hours that overlap others of that date, whose id it tells.
    """
    exception.clean_fields()
    errors = rules.wrong_references(facility=exception.facility, provider_id=exception.provider_id)
    special = exception.kind == AvailabilityException.Kind.SPECIAL_HOURS
    for name in ("start_time", "end_time"):
        if special and getattr(exception, name) is None:
            errors[name] = "Special hours have a start and an end."
        if not special and getattr(exception, name) is not None:
            errors[name] = "Only special hours have times."
    if errors:
        raise ValidationError(errors)
    others = AvailabilityException.objects.filter(
        facility=exception.facility,
        provider=exception.provider_id,
        date=exception.date,
        kind=exception.kind,
    )
    for other in others.exclude(pk=exception.pk).order_by("pk"):
        if not special:
            raise ValidationError({"date": f"Exception {other.pk} says so already."})
        if overlap(one=exception, other=other):
            raise ValidationError({"start_time": f"It overlaps exception {other.pk}."})


def overlap(*, one: AvailabilityException, other: AvailabilityException) -> bool:
    """Whether special hours of one date overlap others of that date."""
    start, end = _span(one)
    other_start, other_end = _span(other)
    return start < other_end and other_start < end


def _lock(*, exception_id: UUID, version: int | None) -> AvailabilityException:
    found = AvailabilityException.objects.select_related("facility")
    exception = rows.find(rows=found, id=exception_id, field="exception")
    generation.lock(facility=exception.facility, provider_id=exception.provider_id)
    return rows.lock(rows=found, id=exception_id, version=version)


def _span(exception: AvailabilityException) -> tuple[timedelta, timedelta]:
    """Return start and end since the midnight of the date."""
    if exception.start_time is None or exception.end_time is None:
        raise ValueError(f"exception {exception.pk} has no hours")
    start = timedelta(hours=exception.start_time.hour, minutes=exception.start_time.minute)
    return start, start + rules.length(start=exception.start_time, end=exception.end_time)
