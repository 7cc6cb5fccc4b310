"""Daily metrics: a day whose numbers are known, counted in the facility's own zone."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from scheduling import appointments
from scheduling.models import Appointment, Facility
from tests.audit import elsewhere
from tests.waitlist import asking, worlds
from tests.waitlist.worlds import DAY, HOUR, MINUTE, NOW, STAFF, World
from waitlist import entries, holds, metrics, tasks
from waitlist.models import DailyMetric

TODAY = date(2030, 3, 4)
COLUMNS = (
    "queue_depth", "avg_wait_minutes", "offers", "promotions", "expired", "cancelled",
    "conversion_rate", "slots_freed", "slots_refilled", "median_fill_seconds",
)  # fmt: skip


def _day(world: World, day: date = TODAY) -> dict[str, Any]:
    return dict(DailyMetric.objects.filter(facility=world.facility).values(*COLUMNS).get(day=day))


def _cancel(appointment: Appointment, *, now: datetime) -> None:
    appointments.cancel(appointment_id=appointment.pk, reason="moved", actor=STAFF, now=now)


def _refill(world: World, *, day: int, wait_minutes: int, seconds: int) -> None:
    """Free a booked slot at NOW and let somebody accept it after so many seconds."""
    slot = world.slot(at=NOW + day * DAY)
    _cancel(world.book(slot=slot, now=NOW - DAY), now=NOW)
    after = seconds * MINUTE / 60
    entry = world.join(at=NOW + after - wait_minutes * MINUTE)
    worlds.accept(world.offer(slot=slot, entry=entry), now=NOW + after)


def test_a_day_is_counted_as_it_was(clinic: World) -> None:
    for day, (wait, seconds) in enumerate([(60, 30), (120, 90), (240, 300)], start=1):
        _refill(clinic, day=day, wait_minutes=wait, seconds=seconds)
    worlds.decline(clinic.offer(slot=clinic.slot(at=NOW + 10 * DAY)))
    lapsing = clinic.offer(slot=clinic.slot(at=NOW + HOUR))
    holds.expire_due(now=NOW + 30 * MINUTE, limit=10)
    entries.cancel(entry_id=lapsing.entry_id, reason="moved", actor=STAFF, now=NOW + HOUR)
    for _ in range(2):
        clinic.join(latest=NOW + HOUR)
    entries.expire_due(now=NOW + HOUR, limit=10)
    clinic.offer(slot=clinic.slot(at=NOW + 20 * DAY))
    _cancel(clinic.book(slot=clinic.slot(at=NOW + 21 * DAY)), now=NOW)
    assert metrics.roll_up(now=NOW + 2 * HOUR) == 2
    assert _day(clinic) == {
        "queue_depth": 2,  # who declined waits again, and one has an offer
        "avg_wait_minutes": pytest.approx((60 + 120 + 240) / 3),
        "offers": 6,
        "promotions": 3,
        "expired": 2,
        "cancelled": 1,
        "conversion_rate": pytest.approx(3 / 5),
        "slots_freed": 4,
        "slots_refilled": 3,
        "median_fill_seconds": pytest.approx(90),
    }


def test_counting_again_changes_nothing(clinic: World) -> None:
    _refill(clinic, day=1, wait_minutes=60, seconds=30)
    metrics.roll_up(now=NOW + HOUR)
    before = _day(clinic), DailyMetric.objects.count()
    metrics.roll_up(now=NOW + HOUR)
    assert (_day(clinic), DailyMetric.objects.count()) == before


def test_a_day_goes_on_until_it_is_over(clinic: World) -> None:
    clinic.join(at=NOW)
    metrics.roll_up(now=NOW + HOUR)
    assert _day(clinic)["queue_depth"] == 1
    clinic.join(at=NOW + 2 * HOUR)
    metrics.roll_up(now=NOW + DAY)
    assert _day(clinic)["queue_depth"] == 2
    clinic.join(at=NOW + DAY)
    metrics.roll_up(now=NOW + DAY + HOUR)
    assert (_day(clinic)["queue_depth"], _day(clinic, date(2030, 3, 5))["queue_depth"]) == (2, 3)


def test_the_day_before_yesterday_is_closed(clinic: World) -> None:
    clinic.join(at=NOW)
    metrics.roll_up(now=NOW + HOUR)
    DailyMetric.objects.update(queue_depth=77)
    metrics.roll_up(now=NOW + 2 * DAY)
    assert _day(clinic)["queue_depth"] == 77


@pytest.mark.parametrize(
    ("zone", "at", "day"),
    [
        ("Europe/London", datetime(2030, 3, 4, 23, 59, tzinfo=UTC), date(2030, 3, 4)),
        ("Europe/London", datetime(2030, 3, 5, 0, 0, tzinfo=UTC), date(2030, 3, 5)),
        ("America/New_York", datetime(2030, 3, 5, 4, 59, tzinfo=UTC), date(2030, 3, 4)),
        ("America/New_York", datetime(2030, 3, 5, 5, 0, tzinfo=UTC), date(2030, 3, 5)),
        ("Pacific/Auckland", datetime(2030, 3, 4, 10, 59, tzinfo=UTC), date(2030, 3, 4)),
        ("Pacific/Auckland", datetime(2030, 3, 4, 11, 0, tzinfo=UTC), date(2030, 3, 5)),
        # London's clocks went forward on the 31st: its midnight is 23:00 UTC then.
        ("Europe/London", datetime(2030, 3, 31, 22, 59, tzinfo=UTC), date(2030, 3, 31)),
        ("Europe/London", datetime(2030, 3, 31, 23, 0, tzinfo=UTC), date(2030, 4, 1)),
    ],
)
def test_a_day_ends_at_local_midnight(db: None, zone: str, at: datetime, day: date) -> None:
    world = worlds.build(timezone=zone)
    entry = world.join(at=at - HOUR)
    entries.cancel(entry_id=entry.pk, reason="moved", actor=STAFF, now=at)
    metrics.roll_up(now=at + 2 * HOUR)
    counted = dict(DailyMetric.objects.values_list("day", "cancelled"))
    assert {one for one, cancelled in counted.items() if cancelled} == {day}


def test_days_on_which_nothing_happened_have_no_row(clinic: World) -> None:
    assert metrics.roll_up(now=NOW) == 0
    clinic.join(at=NOW)
    metrics.roll_up(now=NOW + HOUR)
    assert list(DailyMetric.objects.values_list("day", flat=True)) == [TODAY]


def test_one_facility_can_be_counted_alone(clinic: World) -> None:
    other = clinic.neighbour()
    clinic.join(at=NOW)
    other.join(at=NOW)
    metrics.roll_up(now=NOW + HOUR, facility_id=other.facility.pk)
    assert set(DailyMetric.objects.values_list("facility", flat=True)) == {other.facility.pk}


def test_a_row_is_its_facilitys_tenants_and_tells_nothing_of_organizers(venue: World) -> None:
    entry = asking.wait(place=venue.facility)
    worlds.without_slot(entry)
    assert metrics.roll_up(now=NOW + HOUR) == 0
    booked = venue.book(now=NOW)
    appointments.cancel(appointment_id=booked.pk, reason="moved", actor=STAFF, now=NOW)
    metrics.roll_up(now=NOW + HOUR)
    row = DailyMetric.objects.get(day=TODAY)
    told = (row.tenant_id, row.slots_freed, row.queue_depth, row.offers)
    assert told == (venue.tenant.pk, 1, 0, 0)


def test_a_closed_facility_is_left_out(clinic: World) -> None:
    clinic.join(at=NOW)
    Facility.objects.update(is_active=False)
    assert metrics.roll_up(now=NOW + HOUR) == 0


def test_a_slot_that_lapsed_first_is_refilled_counted_from_when_it_was_freed(
    clinic: World,
) -> None:
    slot = clinic.slot(at=NOW + DAY)
    _cancel(clinic.book(slot=slot, now=NOW - DAY), now=NOW)
    worlds.decline(clinic.offer(slot=slot), now=NOW + 10 * MINUTE)
    hold = clinic.offer(slot=slot, now=NOW + 10 * MINUTE)
    worlds.accept(hold, now=NOW + 20 * MINUTE)
    metrics.roll_up(now=NOW + HOUR)
    assert (_day(clinic)["slots_refilled"], _day(clinic)["median_fill_seconds"]) == (
        1, pytest.approx(1200)
    )  # fmt: skip


def test_two_counts_do_not_run_at_once(clinic: World) -> None:
    clinic.join(at=NOW)
    with elsewhere.locked("waitlist.metrics"):
        assert metrics.roll_up(now=NOW + HOUR) == 0
    assert metrics.roll_up(now=NOW + HOUR) > 0


def test_the_task_counts_by_the_databases_clock(clinic: World) -> None:
    assert tasks.roll_up_metrics() == {"days": 0}
    clinic.join(at=NOW - 3650 * DAY)
    assert tasks.roll_up_metrics() == {"days": 2}


def test_a_facility_whose_zone_is_unknown_keeps_nobody_from_being_counted(clinic: World) -> None:
    lost = worlds.build()
    for world in (lost, clinic):
        world.join()
    Facility.objects.filter(pk=lost.facility.pk).update(timezone="Mars/Base")
    assert metrics.roll_up(now=NOW) == 2
    assert set(DailyMetric.objects.values_list("facility", flat=True)) == {clinic.facility.pk}
