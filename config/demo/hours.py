"""Real opening hours: a file of them is imported, and one of the practices is played at."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from django.core.exceptions import ValidationError
from django.db.models import Count, DurationField, ExpressionWrapper, F, Q, Sum

from accounts.models import Tenant
from audit.errors import Refused
from config.demo import seed
from config.demo.narrator import Narrator
from config.demo.seed import Place
from scheduling import imports
from scheduling.models import Appointment, AvailabilityRule

#: The directory of the practices, beside the file of their hours.
PRACTICES = "dentists.csv"
TIMEZONE = "Europe/London"
SLOT_MINUTES = 30

#: A day worth watching: a few hours, with a break.
SHORTEST, LONGEST = timedelta(hours=4), timedelta(hours=8)


class Unusable(Exception):
    """A file is not there, or the story cannot be played on what it holds."""


def check(*, files: Sequence[Path]) -> None:
    """:raises Unusable: naming the file that is not there."""
    for file in files:
        if not file.is_file():
            raise Unusable(f"There is no file {file}.")


def load(
    *, tenant: Tenant, hours: Path, practices: Path, narrator: Narrator, now: datetime
) -> Place:
    """Import all of a file, or what of it is not there yet, and choose where to play.

    :raises Unusable: if the file is of another kind, or no practice has a day to play on.
    """
    try:
        report = imports.load(
            hours=hours,
            directory=practices,
            tenant=tenant.slug,
            timezone=TIMEZONE,
            slot_minutes=SLOT_MINUTES,
            strict=False,
        )
    except (Refused, ValidationError, OSError) as error:
        raise Unusable(f"{hours} cannot be imported: {error}") from error
    narrator.step(
        f"Imported {hours.name}: {report.facilities} new practices, {report.rules} weekly opening"
        f" hours, {report.exceptions} exceptions; {len(report.bad_rows)} bad rows left out,"
        f" {len(report.warnings)} warnings."
    )
    return choose(tenant=tenant, now=now)


def choose(*, tenant: Tenant, now: datetime) -> Place:
    """Choose a practice whose next working day has a break in it, and where nobody is booked yet.

    :raises Unusable: if there is none.
    """
    day = seed.next_day(timezone=TIMEZONE, weekdays=range(1, 6), now=now)
    opening = ExpressionWrapper(F("end_time") - F("start_time"), output_field=DurationField())
    days = (
        AvailabilityRule.objects.filter(tenant=tenant, is_active=True, weekday=day.isoweekday())
        .exclude(facility__in=Appointment.objects.filter(tenant=tenant).values("facility"))
        .values("facility", "provider")
        .annotate(openings=Count("pk"), length=Sum(opening))
        .filter(length__range=(SHORTEST, LONGEST))
    )
    chosen = (
        days.filter(Q(openings=2)).order_by("facility__slug").first()
        or days.order_by("facility__slug").first()
    )
    if chosen is None:
        raise Unusable(f"No practice of {tenant} has a day to play on that was not played on yet.")
    rule = AvailabilityRule.objects.select_related("facility", "provider").filter(
        facility=chosen["facility"], provider=chosen["provider"]
    )[0]
    return Place(facility=rule.facility, provider=rule.provider, service=None, day=day)
