"""Zones: names, local dates, and the instants at which clocks change."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.core.exceptions import ValidationError

from scheduling import zones

HOUR = timedelta(hours=1)


@pytest.mark.parametrize("name", ["", "Europe", "Europe/Atlantis", "../etc/passwd", "localtime"])
def test_an_unknown_zone_is_refused_by_name(name: str) -> None:
    with pytest.raises(ValidationError) as refused:
        zones.validate(timezone=name)
    assert list(refused.value.message_dict) == ["timezone"]
    assert repr(name) in refused.value.messages[0]
    with pytest.raises(ValidationError):
        zones.regimes(zone=name, start=date(2030, 1, 1), end=date(2030, 1, 1))
    with pytest.raises(ValidationError):
        zones.today(zone=name, now=datetime(2030, 1, 1, tzinfo=UTC))


def test_known_zones_pass() -> None:
    for name in ("Europe/London", "UTC", "America/Argentina/Buenos_Aires"):
        zones.validate(timezone=name)


@pytest.mark.parametrize(
    ("zone", "day", "change", "before", "after"),
    [
        ("Europe/London", date(2014, 3, 30), "2014-03-30T01:00:00Z", 0, 60),
        ("Europe/London", date(2014, 10, 26), "2014-10-26T01:00:00Z", 60, 0),
        ("Australia/Lord_Howe", date(2024, 4, 7), "2024-04-06T15:00:00Z", 660, 630),
        ("Pacific/Apia", date(2011, 12, 30), "2011-12-30T10:00:00Z", -600, 840),
        ("Asia/Kathmandu", date(1986, 1, 1), "1985-12-31T18:30:00Z", 330, 345),
    ],
)
def test_a_change_is_found_to_the_second(
    zone: str, day: date, change: str, before: int, after: int
) -> None:
    one, other = zones.regimes(zone=zone, start=day, end=day)
    assert (one.offset, other.offset) == (timedelta(minutes=before), timedelta(minutes=after))
    assert one.upper == other.lower == datetime.fromisoformat(change)


def test_a_change_within_a_minute_is_found_as_well() -> None:
    # Until 1972 the clocks of Monrovia were 44 minutes and 30 seconds behind.
    one, other = zones.regimes(zone="Africa/Monrovia", start=date(1972, 1, 7), end=date(1972, 1, 7))
    assert one.offset == -timedelta(minutes=44, seconds=30)
    assert other.lower == datetime(1972, 1, 7, 0, 44, 30, tzinfo=UTC)


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Etc/GMT+12", "Asia/Kolkata"])
def test_regimes_cover_the_local_dates(zone: str) -> None:
    first, last = date(2024, 2, 28), date(2024, 3, 1)
    found = zones.regimes(zone=zone, start=first, end=last)
    assert found[0].lower <= datetime(2024, 2, 28, tzinfo=ZoneInfo(zone))
    assert found[-1].upper >= datetime(2024, 3, 2, tzinfo=ZoneInfo(zone))


def test_today_is_local() -> None:
    now = datetime(2030, 1, 1, 11, tzinfo=UTC)
    assert zones.today(zone="Pacific/Auckland", now=now + HOUR) == date(2030, 1, 2)
    assert zones.today(zone="Pacific/Honolulu", now=now - 2 * HOUR) == date(2029, 12, 31)
