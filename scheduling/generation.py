"""Generation: slots are what rules and exceptions call for, made in sets and kept in line.

A run works in batches of facilities, each in a transaction of its own under the generation lock of
its tenant. A rule or exception that changes brings its slots in line at once, under the same lock.
"""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta
from itertools import groupby
from operator import attrgetter
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange
from django.db.models import Max

from accounts.models import Tenant
from audit import events, locks, sql
from audit.errors import NotFound
from audit.events import Actor
from scheduling import zones
from scheduling.models import AvailabilityRule, Facility, Provider, Slot

log = logging.getLogger(__name__)

HORIZON = timedelta(days=30)
# Years that are far from the ends of the calendar, where a date has no day before or after it.
YEARS = range(1900, 2200)
# What one transaction makes at most, but for a facility that makes more by itself.
BATCH_SLOTS = 100_000
BATCH_DAYS = 31
# A run of no more rules than this tells what each of them made.
RULES_TOLD = 50

_DAY = timedelta(days=1)

Progress = Callable[[int, int], None]


@dataclass(slots=True)
class Outcome:
    """How many slots were made, retired and opened again, and which facilities were left out."""

    created: int = 0
    retired: int = 0
    reopened: int = 0
    #: Facilities in a time zone that is unknown; their slots stay as they are.
    skipped: list[UUID] = field(default_factory=list)

    def add(self, other: "Outcome") -> None:
        """Count what another one counted."""
        self.created += other.created
        self.retired += other.retired
        self.reopened += other.reopened


@dataclass(frozen=True, slots=True)
class _Scope:
    """Whose slots a run is about: everybody's where nothing is given."""

    tenant: UUID | None = None
    facility: UUID | None = None
    provider: UUID | None = None

    def __str__(self) -> str:
        given = {name: id for name, id in asdict(self).items() if id is not None}
        return ", ".join(f"{name} {id}" for name, id in given.items()) or "all tenants"


@dataclass(frozen=True, slots=True)
class _Batch:
    """What one transaction does: some facilities of a tenant, from one local date to another."""

    tenant: UUID
    facilities: Sequence[UUID]
    zones: Sequence[str]
    first: date
    last: date
    provider: UUID | None = None
    #: Only later slots are made; past ones too where it is not given.
    since: datetime | None = None


def generate(
    *,
    now: datetime,
    actor: Actor = events.SYSTEM,
    tenant_id: UUID | None = None,
    facility_id: UUID | None = None,
    provider_id: UUID | None = None,
    first: date | None = None,
    last: date | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Bring the slots of everybody, or of what is given, in line with rules and exceptions.

    `first` and `last` are local dates, by default today in UTC and 30 days later. Past dates are
    filled as well, but what is there and has begun stays as it is. `progress` is told how many
    batches are done, and of how many. Locks slot.

    :raises NotFound: naming the tenant, facility or provider that is not there.
    :raises ValidationError: naming `start_date` or `end_date` if it is in none of `YEARS`, or the
        end is before the start.
    """
    for name, day in (("start_date", first), ("end_date", last)):
        if day is not None and day.year not in YEARS:
            raise ValidationError({name: f"Give a date from {YEARS[0]} to {YEARS[-1]}."})
    first = first or now.date()
    last = last or first + HORIZON
    if last < first:
        raise ValidationError({"end_date": f"The end, {last}, is before the start, {first}."})
    scope = _Scope(tenant=tenant_id, facility=facility_id, provider=provider_id)
    _check(scope=scope)
    log.info("generating for %s, %s to %s", scope, first, last)
    batches, skipped = _plan(scope=scope, first=first, last=last)
    tells = _has_few_rules(scope=scope)
    total, done = Outcome(skipped=skipped), 0
    for tenant, group in groupby(batches, key=attrgetter("tenant")):
        mine, outcome = list(group), Outcome()
        for batch in mine:
            with transaction.atomic():
                locks.wait_lock(name=locks.GENERATE, of=tenant)
                with connection.cursor() as cursor:  # enough to group a batch in memory
                    cursor.execute("SELECT set_config('work_mem', '64MB', true)")
                outcome.add(_run(batch=batch, tells=tells, actor=actor, now=now))
                if batch is mine[-1]:
                    _record(
                        outcome=outcome, tenant_id=tenant, facility_id=facility_id,
                        provider_id=provider_id, first=first, last=last, actor=actor, now=now,
                    )  # fmt: skip
            done += 1
            if progress:
                progress(done, len(batches))
        total.add(outcome)
    log.info(
        "total %d slots, %d retired, %d opened again", total.created, total.retired, total.reopened
    )
    return total


def lock(*, facility: Facility, provider_id: UUID | None) -> None:
    """Take what a change to rules or exceptions holds: the generation lock, then the providers.

    Without a provider these are all of the facility. Called before anything is read, it keeps a run
    that is under way from making slots of what the change takes away.
    """
    locks.wait_lock(name=locks.GENERATE, of=facility.tenant_id)
    providers = Provider.objects.filter(providerfacility__facility=facility)
    if provider_id is not None:
        providers = Provider.objects.filter(pk=provider_id)
    list(providers.select_for_update(of=("self",), no_key=True).order_by("pk").values_list("pk"))


def sync(
    *,
    facility: Facility,
    provider_id: UUID | None,
    actor: Actor,
    now: datetime,
    only: date | None = None,
) -> Outcome:
    """Bring coming slots of a provider, or of a whole facility, in line with what just changed.

    That is on the dates that were generated already, and 30 days at least, or on one of them only.
    The caller has called `lock` and is in its transaction still.

    :raises ValidationError: naming `timezone` if the facility's is unknown.
    """
    today = zones.today(zone=facility.timezone, now=now)
    coming = Slot.objects.filter(facility=facility, period__gt=DateTimeTZRange(now, now, "[]"))
    latest = coming.aggregate(latest=Max("period__startswith"))["latest"] or now
    # From yesterday, since a night that has begun is not over.
    first = today - _DAY
    last = max(today + HORIZON, zones.today(zone=facility.timezone, now=latest))
    if only is not None:
        first, last = max(first, only), min(last, only)
    if last < first:
        return Outcome()
    batch = _Batch(
        tenant=facility.tenant_id, facilities=[facility.pk], zones=[facility.timezone],
        first=first, last=last, provider=provider_id, since=now,
    )  # fmt: skip
    outcome = _run(batch=batch, tells=False, actor=actor, now=now)
    if outcome.created:
        events.announce(kind="slot.opened", ids=[facility.pk])
    _record(
        outcome=outcome, tenant_id=facility.tenant_id, facility_id=facility.pk,
        provider_id=provider_id, first=first, last=last, actor=actor, now=now,
    )  # fmt: skip
    return outcome


def _check(*, scope: _Scope) -> None:
    """Check that what is given is there and of one tenant."""
    tenant = scope.tenant
    if tenant is not None and not Tenant.objects.filter(pk=tenant).exists():
        raise NotFound("tenant", tenant)
    rows = ((Facility, "facility", scope.facility), (Provider, "provider", scope.provider))
    for model, name, pk in rows:
        if pk is None:
            continue
        row = model.objects.filter(pk=pk).first()
        if row is None or row.tenant_id != (tenant or row.tenant_id):
            raise NotFound(name, pk)
        tenant = row.tenant_id


def _plan(*, scope: _Scope, first: date, last: date) -> tuple[list[_Batch], list[UUID]]:
    """Cut a run into batches, those of a tenant together; return also the facilities left out."""
    used = Facility.objects.values_list("timezone", flat=True).distinct()
    unknown = sorted(set(used) - zones.known())
    where = {"timezone__in": unknown, "tenant": scope.tenant, "pk": scope.facility}
    lost = Facility.objects.filter(**{name: value for name, value in where.items() if value})
    skipped = list(lost.values_list("pk", flat=True)) if unknown else []
    for facility in skipped:
        log.error("facility %s is in an unknown time zone and is left out", facility)
    rows = sql.run(
        app="scheduling",
        name="plan_generation",
        params={
            **asdict(scope),
            "unknown_zones": unknown,
            "days": min((last - first).days + 1, BATCH_DAYS),
            "slots": BATCH_SLOTS,
        },
    )
    batches = []
    for tenant, facilities, names in rows:
        start = first
        while start <= last:
            end = min(start + timedelta(days=BATCH_DAYS - 1), last)
            batches.append(_Batch(tenant, facilities, names, start, end, scope.provider))
            start = end + _DAY
    return batches, skipped


def _has_few_rules(*, scope: _Scope) -> bool:
    rules = AvailabilityRule.objects.filter(is_active=True)
    given = {name: id for name, id in asdict(scope).items() if id is not None}
    return rules.filter(**given)[: RULES_TOLD + 1].count() <= RULES_TOLD


def _run(*, batch: _Batch, tells: bool, actor: Actor, now: datetime) -> Outcome:
    """Make what is missing and settle what is out of line, in the caller's transaction."""
    rows = sql.run(
        app="scheduling",
        name="generate_slots",
        params={
            "facilities": list(batch.facilities),
            "provider": batch.provider,
            "first": batch.first,
            "last": batch.last,
            "regimes": json.dumps(_regimes(batch=batch)),
            "since": batch.since,
            "by_rule": tells,
            "now": now,
        },
    )
    outcome = Outcome()
    # Ids as PostgreSQL writes an array: they only go back, and there may be a batch full of them.
    out_of_line = {"stale": "{}", "made": "{}"}
    for what, rule, count, ids in rows:
        if what == "created":
            outcome.created += count
            if tells:
                log.info("created %d slots for rule %s", count, rule)
        else:
            out_of_line[what] = ids
    if not tells:
        log.info("created %d slots at %d facilities, %s to %s", outcome.created,
                 len(batch.facilities), batch.first, batch.last)  # fmt: skip
    if set(out_of_line.values()) != {"{}"}:
        _settle(outcome=outcome, out_of_line=out_of_line, actor=actor, now=now)
    return outcome


def _settle(*, outcome: Outcome, out_of_line: dict[str, str], actor: Actor, now: datetime) -> None:
    rows = sql.run(
        app="scheduling",
        name="settle_slots",
        params={
            **out_of_line,
            "actor_type": actor.type,
            "actor_id": actor.id,
            "now": now,
        },
    )
    for status, _, count in rows:
        if status == Slot.Status.RETIRED:
            outcome.retired += count
        else:
            outcome.reopened += count
    opened = {facility for status, facility, _ in rows if status == Slot.Status.OPEN}
    events.announce(kind="slot.opened", ids=opened)


def _regimes(*, batch: _Batch) -> list[dict[str, str | int]]:
    """Return the clocks of the batch's zones, from the evening before to the night after."""
    return [
        {
            "zone": zone,
            "utc_offset": int(regime.offset.total_seconds()),
            "lower": regime.lower.isoformat(),
            "upper": regime.upper.isoformat(),
        }
        for zone in batch.zones
        for regime in zones.regimes(zone=zone, start=batch.first - _DAY, end=batch.last + 2 * _DAY)
    ]


def _record(
    *, outcome: Outcome, tenant_id: UUID, facility_id: UUID | None, provider_id: UUID | None,
    first: date, last: date, actor: Actor, now: datetime,
) -> None:  # fmt: skip
    events.record(
        kind="slot.generated",
        tenant_id=tenant_id,
        subject_type="tenant",
        subject_id=tenant_id,
        actor=actor,
        at=now,
        facility_id=facility_id,
        provider_id=provider_id,
        data={
            "slots": outcome.created,
            "retired": outcome.retired,
            "reopened": outcome.reopened,
            "start_date": first.isoformat(),
            "end_date": last.isoformat(),
        },
    )
