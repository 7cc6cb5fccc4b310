"""Time zones: which names are known, and what the clocks of a zone show when."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

from django.core.exceptions import ValidationError

_HOUR = timedelta(hours=1)
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Regime:
    """A stretch of time, `lower` to `upper` in UTC, in which local time is UTC plus `offset`."""

    offset: timedelta
    lower: datetime
    upper: datetime


@cache
def known() -> frozenset[str]:
    """Return the names of all zones."""
    return frozenset(available_timezones() - {"localtime"})


def validate(*, timezone: str) -> None:
    """Check the name of a zone.

    :raises ValidationError: naming `timezone` if there is no such zone.
    """
    if timezone not in known():
        raise ValidationError({"timezone": f"There is no time zone {timezone!r}."})


@lru_cache(maxsize=1024)
def regimes(*, zone: str, start: date, end: date) -> tuple[Regime, ...]:
    """Return a zone's regimes, in order and without a gap, that cover the local dates given.

    The first begins a day too early and the last ends a day too late: no offset is larger. Changes
    are exact to the second.

    :raises ValidationError: as `validate`.
    """
    validate(timezone=zone)
    info = ZoneInfo(zone)
    lower = datetime.combine(start, time(), UTC) - timedelta(days=1)
    upper = datetime.combine(end, time(), UTC) + timedelta(days=2)
    bounds = [lower, *_changes(info=info, lower=lower, upper=upper), upper]
    return tuple(Regime(_offset(info, one), one, other) for one, other in pairwise(bounds))


def today(*, zone: str, now: datetime) -> date:
    """Return the local date.

    :raises ValidationError: as `validate`.
    """
    validate(timezone=zone)
    return now.astimezone(ZoneInfo(zone)).date()


def _changes(*, info: ZoneInfo, lower: datetime, upper: datetime) -> Iterator[datetime]:
    """Find the instants at which the offset changes: zoneinfo does not tell them.

    Looking at each hour, then halving the hour of a change, finds all: nowhere were clocks changed
    twice within an hour.
    """
    while lower < upper:
        before, after = lower, lower + _HOUR
        if _offset(info, before) != _offset(info, after):
            while after - before > _SECOND:
                middle = before + (after - before) // _SECOND // 2 * _SECOND
                if _offset(info, middle) == _offset(info, before):
                    before = middle
                else:
                    after = middle
            if after < upper:
                yield after
        lower += _HOUR


def _offset(info: ZoneInfo, at: datetime) -> timedelta:
    return at.astimezone(info).utcoffset() or timedelta(0)
