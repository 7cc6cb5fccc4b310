"""Opening hours of a world, and the slots that are there, briefly."""

from collections.abc import Sequence
from datetime import date, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

from scheduling import generation
from scheduling.models import AvailabilityException, AvailabilityRule, Slot
from tests import factories
from tests.waitlist.worlds import NOW, World

MONDAY = date(2030, 3, 4)  # the date of NOW, 10:00 in London
TUESDAY = date(2030, 3, 5)
FRIDAY = date(2030, 3, 8)
SUNDAY = date(2030, 3, 10)


def times(hours: str) -> dict[str, time]:
    """Read `9:00-12:00` as the times of a rule or of special hours."""
    start, end = (time.fromisoformat(f"{text:0>5}") for text in hours.split("-"))
    return {"start_time": start, "end_time": end}


def rule(world: World, hours: str, *, day: date = TUESDAY, **fields: Any) -> AvailabilityRule:
    """Make a rule for the weekday of a date, in half hours; its slots come with the next run."""
    given = {"facility": world.facility, "provider": world.provider, "weekday": day.isoweekday()}
    return factories.AvailabilityRuleFactory.create(**{**given, **times(hours), **fields})


def exception(
    world: World, kind: str, hours: str = "", *, day: date = TUESDAY, **fields: Any
) -> AvailabilityException:
    """Make an exception of the whole facility, without settling its slots."""
    given = {"facility": world.facility, "kind": kind, "date": day}
    return factories.AvailabilityExceptionFactory.create(
        **{**given, **(times(hours) if hours else {}), **fields}
    )


def generate(
    world: World, first: date = TUESDAY, last: date | None = None, *, now: datetime = NOW
) -> generation.Outcome:
    """Generate a date, or some, of the facility."""
    return generation.generate(
        now=now, facility_id=world.facility.pk, first=first, last=last or first
    )


def slots(world: World, *, status: str = "open") -> list[str]:
    """Return the slots of a status in order, local, with the day of the month: `05T09:00-09:30`."""
    zone = ZoneInfo(world.facility.timezone)
    rows = Slot.objects.filter(facility=world.facility, status=status).order_by("period")
    return [
        f"{slot.period.lower.astimezone(zone):%dT%H:%M}-{slot.period.upper.astimezone(zone):%H:%M}"
        for slot in rows
    ]


def day(*hours: str, number: int = 5) -> Sequence[str]:
    """Return what `slots` does for hours of one day of the month."""
    return [f"{number:02}T{one}" for one in hours]
