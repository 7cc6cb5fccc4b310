"""What a file of opening hours calls for, worked out plainly and without the application.

Slots are laid along the local clock and those whose times do not exist left out. That is right for
clocks put forward by a multiple of the slot, which is what happens in the real file's dates.
"""

import csv
from collections import defaultdict
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]


def slot_starts(
    *, hours: Path, zone: str, slot_minutes: int, first: date, last: date
) -> dict[str, list[datetime]]:
    """Return the starts of each practice's slots in UTC, in order."""
    weekly: dict[tuple[str, int], list[str]] = defaultdict(list)
    special: dict[tuple[str, date], list[str]] = defaultdict(list)
    with hours.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            key = row["OrganisationId"]
            times = [row["Times"]] if row["Times"] else []
            if row["OpeningTimeType"] == "General":
                weekly[key, DAYS.index(row["WeekDay"])] += times
            else:
                text = " ".join(row["AdditonalOpeningDate"].split())
                special[key, datetime.strptime(text, "%b %d %Y").date()] += times  # noqa: DTZ007
    starts: dict[str, list[datetime]] = {key: [] for key, _ in [*weekly, *special]}
    dates = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    for key, found in starts.items():
        for day in dates:
            times = special.get((key, day), weekly.get((key, day.weekday()), []))
            for opens, closes in _united(times):
                found += _starts(opens, closes, day, zone, slot_minutes)
        found.sort()
    return starts


def _united(times: list[str]) -> list[tuple[str, str]]:
    """Make one of intervals that overlap. The real file has none that crosses midnight."""
    united: list[tuple[str, str]] = []
    for opens, closes in sorted((one[:5], one[6:]) for one in times):
        if united and opens < united[-1][1]:
            united[-1] = (united[-1][0], max(closes, united[-1][1]))
        else:
            united.append((opens, closes))
    return united


@cache
def _starts(
    opens: str, closes: str, day: date, zone: str, slot_minutes: int
) -> tuple[datetime, ...]:
    slot = timedelta(minutes=slot_minutes)
    local = datetime.combine(day, time.fromisoformat(opens))
    end = datetime.combine(day, time.fromisoformat(closes))
    starts = []
    while local + slot <= end:
        instant = local.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
        if instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None) == local:
            starts.append(instant)
        local += slot
    return tuple(starts)
