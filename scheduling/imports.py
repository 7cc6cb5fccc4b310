"""Imports: opening hours of practices become facilities with a provider, rules and exceptions.

A facility's slug is the practice's id, so that importing a file again changes nothing. What staff
changed meanwhile stays.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, time
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction

from accounts.models import Tenant
from audit import locks, sql
from scheduling import exceptions, practices, rules, zones
from scheduling.models import AvailabilityException, AvailabilityRule
from scheduling.practices import Practice, Remark, Span

# Reading, writing facilities, sorting out what is there already, writing hours.
STEPS = 4


@dataclass(slots=True)
class Report:
    """What an import made, which rows it left out, and what else should be known."""

    facilities: int = 0
    rules: int = 0
    exceptions: int = 0
    bad_rows: list[Remark] = field(default_factory=list)
    warnings: list[Remark] = field(default_factory=list)


class _Rule(NamedTuple):
    facility_id: UUID
    provider_id: UUID
    weekday: int
    start_time: time
    end_time: time


class _Exception(NamedTuple):
    facility_id: UUID
    date: date
    kind: str
    start_time: time | None
    end_time: time | None


def load(
    *,
    hours: Path,
    directory: Path,
    tenant: str,
    timezone: str,
    slot_minutes: int,
    strict: bool,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Load a file of opening hours for a tenant, by slug, which is made where there is none.

    `directory` knows names and cities. Slots are not made yet. With `strict` nothing at all is
    loaded if any row is bad. `progress` is told how many steps are done, and of how many.

    :raises BadFile, OSError: see `practices.read`.
    :raises ValidationError: naming `tenant`, `timezone` or `slot_minutes` if it is wrong, the zone
        also where a facility that is there already has another.
    """
    zones.validate(timezone=timezone)
    if not 1 <= slot_minutes <= 24 * 60:
        raise ValidationError({"slot_minutes": f"A slot has 1 to {24 * 60} minutes."})
    reading = practices.read(hours=hours, directory=directory, slot_minutes=slot_minutes)
    progress(1, STEPS)
    report = Report(bad_rows=reading.bad_rows, warnings=reading.warnings)
    with transaction.atomic():
        owner = _tenant(slug=tenant)
        locks.wait_lock(name=locks.GENERATE, of=owner.pk)
        _write(
            owner=owner, found=reading.practices, file=hours.name, timezone=timezone,
            slot_minutes=slot_minutes, report=report, progress=progress,
        )  # fmt: skip
        if strict and report.bad_rows:
            transaction.set_rollback(True)
            report.facilities = report.rules = report.exceptions = 0
    for remarks in (report.bad_rows, report.warnings):
        remarks.sort(key=lambda remark: (remark.file, remark.line))
    return report


def _tenant(*, slug: str) -> Tenant:
    tenant = Tenant.objects.filter(slug=slug).first()
    if tenant is None:
        tenant = Tenant(slug=slug, name=slug, kind=Tenant.Kind.CLINIC)
        try:
            tenant.clean_fields()
        except ValidationError as error:
            raise ValidationError({"tenant": error.messages}) from error
        tenant.save()
    return tenant


def _write(
    *, owner: Tenant, found: Mapping[str, Practice], file: str, timezone: str,
    slot_minutes: int, report: Report, progress: Callable[[int, int], None],
) -> None:  # fmt: skip
    """Write what is not there yet: facilities with their providers, then rules and exceptions."""
    desks = _find_desks(owner=owner, found=found)
    for slug, (_, zone, _) in desks.items():
        if zone != timezone:
            raise ValidationError({"timezone": f"Practice {slug} is in {zone} already."})
    new = {slug: practice for slug, practice in found.items() if slug not in desks}
    sql.run(
        app="scheduling",
        name="add_practices",
        params={
            "tenant": owner.pk,
            "timezone": timezone,
            "slugs": list(new),
            "names": [practice.name for practice in new.values()],
            "cities": [practice.city for practice in new.values()],
        },
    )
    progress(2, STEPS)
    desks = _find_desks(owner=owner, found=found)
    weekly: dict[_Rule, int] = {}
    dated: dict[_Exception, int] = {}
    for slug, practice in found.items():
        facility, _, provider = desks[slug]
        if provider is None:
            reason = f"nobody works at facility {facility}"
            report.bad_rows.append(Remark(file, practice.line, reason))
            continue
        weekly |= _rules(practice=practice, facility=facility, provider=provider)
        dated |= _exceptions(practice=practice, facility=facility)
    known_rules = AvailabilityRule.objects.filter(
        tenant=owner, facility__slug__in=found, service=None, slot_minutes=slot_minutes
    ).values_list(*_Rule._fields)
    known_exceptions = AvailabilityException.objects.filter(
        tenant=owner, facility__slug__in=found, provider=None
    ).values_list(*_Exception._fields)
    for rule in known_rules:
        weekly.pop(_Rule(*rule), None)
    for exception in known_exceptions:
        dated.pop(_Exception(*exception), None)
    _leave_out_clashes(weekly=weekly, dated=dated, file=file, report=report)
    progress(3, STEPS)
    sql.run(
        app="scheduling",
        name="add_opening_hours",
        params={
            "tenant": owner.pk,
            "slot_minutes": slot_minutes,
            **{f"rule_{name}": [rule[place] for rule in weekly]
               for place, name in enumerate(_Rule._fields)},
            **{f"exception_{name}": [exception[place] for exception in dated]
               for place, name in enumerate(_Exception._fields)},
        },
    )  # fmt: skip
    progress(STEPS, STEPS)
    report.facilities, report.rules, report.exceptions = len(new), len(weekly), len(dated)


def _rules(*, practice: Practice, facility: UUID, provider: UUID) -> dict[_Rule, int]:
    return {
        _Rule(facility, provider, weekday, *_times(span)): span.line
        for weekday, spans in practice.weekly.items()
        for span in spans
    }


def _exceptions(*, practice: Practice, facility: UUID) -> dict[_Exception, int]:
    closed = {
        _Exception(facility, on, "closed", None, None): line for on, line in practice.closed.items()
    }
    special = {
        _Exception(facility, on, "special_hours", *_times(span)): span.line
        for on, spans in practice.special.items()
        for span in spans
    }
    return closed | special


def _times(span: Span) -> tuple[time, time]:
    (hour, minute), (end_hour, end_minute) = divmod(span.start, 60), divmod(span.end, 60)
    return time(hour % 24, minute), time(end_hour % 24, end_minute)


def _leave_out_clashes(
    *, weekly: dict[_Rule, int], dated: dict[_Exception, int], file: str, report: Report
) -> None:
    """Leave out what overlaps hours that are there: from staff, or with slots of another length."""
    rules_there: dict[UUID, list[AvailabilityRule]] = defaultdict(list)
    for rule in AvailabilityRule.objects.filter(
        provider__in={new.provider_id for new in weekly}, service=None, is_active=True
    ):
        rules_there[rule.provider_id].append(rule)
    hours_there: dict[tuple[UUID, date], list[AvailabilityException]] = defaultdict(list)
    for exception in AvailabilityException.objects.filter(
        facility__in={new.facility_id for new in dated}, provider=None, start_time__isnull=False
    ):
        hours_there[exception.facility_id, exception.date].append(exception)
    for opening, line in list(weekly.items()):
        if there := rules_there.get(opening.provider_id):
            mine = AvailabilityRule(**opening._asdict())
            if other := next((one for one in there if rules.overlap(one=mine, other=one)), None):
                report.bad_rows.append(Remark(file, line, f"overlaps rule {other.pk}"))
                del weekly[opening]
    for hours, line in list(dated.items()):
        special = AvailabilityException(**hours._asdict())
        for exception in hours_there.get((hours.facility_id, hours.date), ()):
            if hours.start_time and exceptions.overlap(one=special, other=exception):
                report.bad_rows.append(Remark(file, line, f"overlaps exception {exception.pk}"))
                del dated[hours]
                break


def _find_desks(
    *, owner: Tenant, found: Mapping[str, Practice]
) -> dict[str, tuple[UUID, str, UUID | None]]:
    """Return the facility, its zone and its first provider of each practice that is there."""
    params = {"tenant": owner.pk, "slugs": list(found)}
    rows = sql.run(app="scheduling", name="find_desks", params=params)
    return {slug: (facility, zone, provider) for slug, facility, zone, provider in rows}
