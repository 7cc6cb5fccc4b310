"""Generation against a model that walks through every minute, around changes of the clocks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from itertools import zip_longest
from typing import NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scheduling import generation
from scheduling.models import (
    AvailabilityException,
    AvailabilityRule,
    Facility,
    Provider,
    Service,
    Slot,
)
from tests import factories

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
DAYS = 4
NOW = datetime(2010, 1, 1, tzinfo=UTC)  # before all of it: every slot is yet to come

# A zone, and the second of the dates that are tried.
CHANGES = [
    ("Europe/London", date(2014, 3, 30)),
    ("Europe/London", date(2014, 10, 26)),
    ("America/New_York", date(2024, 3, 10)),
    ("America/New_York", date(2024, 11, 3)),
    ("Australia/Lord_Howe", date(2024, 4, 7)),  # by half an hour
    ("Australia/Lord_Howe", date(2024, 10, 6)),
    ("Africa/Casablanca", date(2024, 4, 14)),
    ("Pacific/Apia", date(2011, 12, 30)),  # a date that never was
    ("Asia/Kolkata", date(2024, 3, 10)),  # never
]


@dataclass(frozen=True, slots=True)
class Rule:
    """A weekly opening on the weekday of a date, valid from one to another; dates count from 0.

    Times are minutes since midnight; the service is one of two, or none.
    """

    day: int
    valid: tuple[int, int]
    start: int
    end: int
    slot: int
    buffer: int
    service: int | None


@dataclass(frozen=True, slots=True)
class Special:
    """An exception on one of the dates, of the provider or of the facility."""

    day: int
    own: bool
    hours: tuple[int, int] | None


class Made(NamedTuple):
    """A slot."""

    start: datetime
    end: datetime
    service: int | None


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that says when a provider is open."""

    rules: Sequence[Rule]
    specials: Sequence[Special]


@cache
def clock(zone: str, second: date) -> list[tuple[datetime, datetime]]:
    """Return each minute around the dates, in UTC, and what the clock on the wall shows."""
    start = datetime.combine(second - 3 * DAY, time(), UTC)
    minutes = (start + n * MINUTE for n in range((DAYS + 5) * 24 * 60))
    return [(at, at.astimezone(ZoneInfo(zone)).replace(tzinfo=None)) for at in minutes]


def called_for(*, plan: Plan, zone: str, second: date) -> set[Made]:
    """Work out the slots of a plan."""
    slots = set()
    for number in range(DAYS):
        midnight = datetime.combine(second + (number - 1) * DAY, time())
        for start, end, rule in openings(plan=plan, number=number):
            opens = midnight + start * MINUTE
            closes = midnight + end * MINUTE + (DAY if end <= start else timedelta(0))
            # No zone is further from UTC than 15 hours.
            near = slice((number + 2) * 1440 - 900, (number + 4) * 1440 + 900)
            minutes = [at for at, wall in clock(zone, second)[near] if opens <= wall < closes]
            for first, last in runs(minutes):
                while first + rule.slot * MINUTE <= last:
                    slots.add(Made(first, first + rule.slot * MINUTE, rule.service))
                    first += (rule.slot + rule.buffer) * MINUTE
    return slots


def openings(*, plan: Plan, number: int) -> Iterator[tuple[int, int, Rule]]:
    """Say when the provider is open on a date, and of what kind the slots are."""
    today = [one for one in plan.specials if one.day == number]
    valid = [rule for rule in plan.rules if rule.valid[0] <= number <= rule.valid[1]]
    weekly = [rule for rule in valid if rule.day == number]
    if not today:
        yield from ((rule.start, rule.end, rule) for rule in weekly)
    elif all(one.hours for one in today):
        for one in [one for one in today if one.own] or today:
            for rule in weekly or valid:
                assert one.hours
                yield (*one.hours, rule)


def runs(minutes: Sequence[datetime]) -> Iterator[tuple[datetime, datetime]]:
    """Yield the start and the end of each run of minutes without a gap."""
    start = None
    for at, following in zip_longest(minutes, minutes[1:]):
        start = start or at
        if following != at + MINUTE:
            yield start, at + MINUTE
            start = None


MINUTES = st.integers(0, 24 * 12 - 1).map(lambda fives: fives * 5)
NIGHT = st.integers(0, 4 * 12).map(lambda fives: fives * 5)
HOURS = st.tuples(MINUTES | NIGHT, MINUTES | NIGHT)

RULES = st.builds(
    Rule,
    day=st.integers(-1, DAYS),
    valid=st.just((-9, 9)) | st.tuples(st.integers(-1, 2), st.integers(2, DAYS)),
    start=MINUTES | NIGHT,
    end=MINUTES | NIGHT,
    slot=st.integers(20, 95),
    buffer=st.sampled_from([0, 7]),
    service=st.sampled_from([None, 0, 1]),
)
SPECIALS = st.builds(
    Special, day=st.integers(0, DAYS - 1), own=st.booleans(), hours=st.none() | HOURS
)
PLANS = st.builds(
    Plan,
    rules=st.lists(RULES, min_size=1, max_size=4),
    specials=st.lists(
        SPECIALS, max_size=3, unique_by=lambda one: (one.day, one.own, one.hours and one.hours[0])
    ),
)


@dataclass(frozen=True, slots=True)
class Desk:
    """A provider at a facility, and the services of their tenant."""

    facility: Facility
    provider: Provider
    services: Sequence[Service]

    def enter(self, *, plan: Plan, second: date) -> None:
        """Put a plan in the place of what there was."""
        AvailabilityRule.objects.filter(facility=self.facility).update(is_active=False)
        AvailabilityException.objects.filter(facility=self.facility).delete()
        first = second - DAY
        for rule in plan.rules:
            factories.AvailabilityRuleFactory.create(
                facility=self.facility,
                provider=self.provider,
                service=None if rule.service is None else self.services[rule.service],
                weekday=(first + rule.day * DAY).isoweekday(),
                start_time=at(rule.start),
                end_time=at(rule.end),
                slot_minutes=rule.slot,
                buffer_minutes=rule.buffer,
                valid_from=first + rule.valid[0] * DAY,
                valid_until=first + rule.valid[1] * DAY,
            )
        for special in plan.specials:
            factories.AvailabilityExceptionFactory.create(
                facility=self.facility,
                provider=self.provider if special.own else None,
                date=first + special.day * DAY,
                kind="special_hours" if special.hours else "closed",
                start_time=at(special.hours[0]) if special.hours else None,
                end_time=at(special.hours[1]) if special.hours else None,
            )

    def generate(self, *, second: date) -> generation.Outcome:
        """Bring the slots of the dates in line."""
        return generation.generate(
            now=NOW,
            facility_id=self.facility.pk,
            first=second - DAY,
            last=second + (DAYS - 2) * DAY,
        )

    def slots(self, *, status: str) -> set[Made]:
        """Return the slots of a status."""
        numbers: dict[UUID | None, int] = {
            service.pk: number for number, service in enumerate(self.services)
        }
        rows = Slot.objects.filter(facility=self.facility, status=status)
        return {
            Made(slot.period.lower, slot.period.upper, numbers.get(slot.service_id))
            for slot in rows
        }


def at(minutes: int) -> time:
    """Return a time of day."""
    return time(*divmod(minutes, 60))


@pytest.fixture
def desk(db: None) -> Desk:
    facility = factories.FacilityFactory.create()
    provider = factories.ProviderFactory.create(tenant=facility.tenant, facilities=[facility])
    services = factories.ServiceFactory.create_batch(2, tenant=facility.tenant)
    return Desk(facility, provider, services)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(change=st.sampled_from(CHANGES), plan=PLANS, later=PLANS)
def test_slots_are_what_the_rules_call_for(
    desk: Desk, change: tuple[str, date], plan: Plan, later: Plan
) -> None:
    zone, second = change
    with transaction.atomic():
        Facility.objects.filter(pk=desk.facility.pk).update(timezone=zone)
        desk.enter(plan=plan, second=second)
        wanted = called_for(plan=plan, zone=zone, second=second)
        assert desk.generate(second=second).created == len(wanted)
        assert desk.slots(status="open") == wanted
        assert desk.generate(second=second) == generation.Outcome()

        desk.enter(plan=later, second=second)
        wanted_later = called_for(plan=later, zone=zone, second=second)
        outcome = desk.generate(second=second)
        assert desk.slots(status="open") == wanted_later
        assert desk.slots(status="retired") == wanted - wanted_later
        assert (outcome.created, outcome.retired) == (
            len(wanted_later - wanted),
            len(wanted - wanted_later),
        )

        desk.enter(plan=plan, second=second)
        assert desk.generate(second=second).reopened == len(wanted - wanted_later)
        assert desk.slots(status="open") == wanted
        transaction.set_rollback(True)
