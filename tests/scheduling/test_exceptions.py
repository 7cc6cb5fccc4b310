"""Exceptions: what may be entered, and what one does to the slots of its date at once."""

from datetime import date, datetime, time
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.exceptions import ValidationError

from audit.errors import NotFound
from scheduling import appointments, exceptions
from scheduling.models import AvailabilityException, Slot
from tests import factories
from tests.audit.log import brief, written
from tests.scheduling import openings
from tests.scheduling.openings import MONDAY, TUESDAY, day, generate, rule
from tests.waitlist import worlds
from tests.waitlist.worlds import DAY, NOW, STAFF, World


@pytest.fixture
def world(db: None) -> World:
    return worlds.build()


def add(
    world: World,
    kind: str,
    hours: str = "",
    *,
    on: date = TUESDAY,
    now: datetime = NOW,
    **fields: Any,
) -> AvailabilityException:
    """Enter an exception of the facility."""
    given: dict[str, Any] = {"facility_id": world.facility.pk, "date": on, "kind": kind}
    times = openings.times(hours) if hours else {}
    return exceptions.add(**{**given, **times, **fields}, actor=STAFF, now=now)


def remove(exception: AvailabilityException) -> None:
    """Take an exception away."""
    exceptions.remove(exception_id=exception.pk, actor=STAFF, now=NOW)


def refused(*args: Any, **fields: Any) -> dict[str, list[str]]:
    """Return what is wrong with an exception, by field; nothing must have changed."""
    count = AvailabilityException.objects.count()
    with written() as events, pytest.raises(ValidationError) as error:
        add(*args, **fields)
    assert (AvailabilityException.objects.count(), events) == (count, [])
    return error.value.message_dict


@pytest.mark.parametrize("kind", ["closed", "emergency"])
def test_a_date_that_is_closed_later_loses_its_open_slots(world: World, kind: str) -> None:
    rule(world, "9:00-10:30")
    generate(world, TUESDAY, TUESDAY + 7 * DAY)
    booked, reserved, _ = Slot.objects.order_by("period")[:3]
    appointment = world.book(slot=booked)
    world.reserve(slot=reserved)
    with written() as events:
        closed = add(world, kind)
    assert brief(events) == [("slot.retired", "open", "retired"), ("slot.generated", None, None)]
    assert events[-1].data["start_date"] == events[-1].data["end_date"] == "2030-03-05"
    for slot, status in ((booked, "booked"), (reserved, "reserved")):
        slot.refresh_from_db()
        assert (slot.status, slot.superseded) == (status, True)
    assert len(openings.slots(world)) == 3  # a week later
    appointments.cancel(appointment_id=appointment.pk, reason="x", actor=STAFF, now=NOW)
    assert len(openings.slots(world, status="retired")) == 2
    remove(closed)
    reserved.refresh_from_db()
    assert (reserved.status, reserved.superseded) == ("reserved", False)
    assert openings.slots(world)[:2] == day("09:00-09:30", "10:00-10:30")


def test_special_hours_replace_slots_at_once(world: World) -> None:
    rule(world, "9:00-10:00")
    generate(world)
    special = add(world, "special_hours", "9:30-10:30")
    assert openings.slots(world) == day("09:30-10:00", "10:00-10:30")
    remove(special)
    assert openings.slots(world) == day("09:00-09:30", "09:30-10:00")


def test_a_providers_exception_leaves_the_others(world: World) -> None:
    other = factories.ProviderFactory.create(tenant=world.tenant, facilities=[world.facility])
    rule(world, "9:00-9:30")
    rule(world, "9:00-9:30", provider=other)
    generate(world)
    closed = add(world, "closed", provider_id=world.provider.pk)
    assert Slot.objects.get(status="open").provider == other
    add(world, "closed")
    assert openings.slots(world) == []
    remove(closed)
    assert openings.slots(world) == []


def test_a_night_belongs_to_the_date_it_begins_on(world: World) -> None:
    rule(world, "23:00-1:00", slot_minutes=60)
    rule(world, "0:30-1:30", day=TUESDAY + DAY, slot_minutes=60, service=world.service)
    generate(world, TUESDAY, TUESDAY + DAY)
    add(world, "closed", on=TUESDAY + DAY)
    assert openings.slots(world) == ["05T23:00-00:00", "06T00:00-01:00"]
    add(world, "closed", on=TUESDAY)
    assert openings.slots(world) == []


def test_dates_that_are_over_or_not_generated_yet_are_left(world: World) -> None:
    rule(world, "9:00-9:30")
    generate(world, TUESDAY - 14 * DAY, TUESDAY)
    count = Slot.objects.count()
    with written() as events:
        add(world, "closed", on=TUESDAY - 7 * DAY)
        add(world, "special_hours", "9:00-12:00", on=TUESDAY + 70 * DAY)
    assert events == []
    assert Slot.objects.count() == len(openings.slots(world)) == count
    # When its time comes, it counts.
    generate(world, TUESDAY + 70 * DAY)
    assert len(openings.slots(world)) == count + 6


def test_past_slots_of_today_stay(world: World) -> None:
    rule(world, "9:00-11:30", day=MONDAY)
    generate(world, MONDAY)
    add(world, "emergency", on=MONDAY)
    assert openings.slots(world) == day("09:00-09:30", "09:30-10:00", "10:00-10:30", number=4)


def test_wrong_values_are_named(world: World) -> None:
    assert list(refused(world, "holiday")) == ["kind"]
    assert set(refused(world, "special_hours")) == {"start_time", "end_time"}
    assert list(refused(world, "special_hours", start_time=time(9))) == ["end_time"]
    assert set(refused(world, "closed", "9:00-10:00")) == {"start_time", "end_time"}
    assert list(refused(world, "closed", on="2030-02-30")) == ["date"]


def test_ids_that_do_not_belong_together_are_named(world: World) -> None:
    stranger, nobody = worlds.build().provider.pk, uuid4()
    for field, pk in (("facility", nobody), ("provider", nobody), ("provider", stranger)):
        said = refused(world, "closed", **{f"{field}_id": pk})
        assert list(said) == [field]
        assert str(pk) in said[field][0]


def test_saying_it_twice_is_refused(world: World) -> None:
    closed = add(world, "closed")
    assert str(closed.pk) in refused(world, "closed")["date"][0]
    add(world, "closed", provider_id=world.provider.pk)
    add(world, "emergency")


def test_special_hours_of_a_date_do_not_overlap(world: World) -> None:
    morning = add(world, "special_hours", "9:00-12:00")
    assert str(morning.pk) in refused(world, "special_hours", "11:00-13:00")["start_time"][0]
    assert list(refused(world, "special_hours", "9:00-9:30")) == ["start_time"]
    add(world, "special_hours", "12:00-13:00")
    add(world, "special_hours", "22:00-2:00")
    assert list(refused(world, "special_hours", "23:00-23:30")) == ["start_time"]
    add(world, "special_hours", "1:00-3:00")  # in the morning, before it
    add(world, "special_hours", "11:00-13:00", provider_id=world.provider.pk)


def test_one_that_is_not_there_is_named(db: None) -> None:
    with pytest.raises(NotFound, match=str(UUID(int=7))):
        exceptions.remove(exception_id=UUID(int=7), actor=STAFF, now=NOW)


def test_special_hours_of_the_last_date_of_all(world: World) -> None:
    """Their night would end on a date that is none."""
    night = add(world, "special_hours", "22:00-6:00", on=date.max)
    errors = refused(world, "special_hours", "23:00-23:30", on=date.max)
    assert str(night.pk) in errors["start_time"][0]


# Changing


def _change(exception: AvailabilityException, **changes: Any) -> AvailabilityException:
    return exceptions.change(exception_id=exception.pk, changes=changes, actor=STAFF, now=NOW)


def test_slots_follow_an_exception_that_is_moved_to_another_date(world: World) -> None:
    rule(world, "9:00-10:00")
    rule(world, "9:00-10:00", day=TUESDAY + DAY)
    generate(world, TUESDAY, TUESDAY + DAY)
    exception = add(world, "closed")
    assert openings.slots(world)[:2] == day("09:00-09:30", "09:30-10:00", number=6)
    assert _change(exception, date=TUESDAY + DAY).version == 2
    assert openings.slots(world)[:2] == day("09:00-09:30", "09:30-10:00")


def test_a_closed_date_gets_special_hours_instead(world: World) -> None:
    rule(world, "9:00-10:00")
    generate(world)
    exception = add(world, "closed")
    _change(exception, kind="special_hours", **openings.times("9:30-10:00"))
    assert openings.slots(world)[:1] == day("09:30-10:00")
    assert _change(exception).version == 2


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"kind": "special_hours"}, "start_time"),
        ({"start_time": time(9)}, "start_time"),
        ({"kind": "holiday"}, "kind"),
        ({"date": TUESDAY + DAY}, "date"),
        ({"provider_id": None}, "provider"),
    ],
)
def test_a_bad_change_is_refused_and_changes_nothing(
    world: World, changes: dict[str, Any], field: str
) -> None:
    add(world, "closed", on=TUESDAY + DAY)
    exception = add(world, "closed")
    with written() as events, pytest.raises(ValidationError) as caught:
        _change(exception, **changes)
    assert field in caught.value.message_dict
    assert events == []
    assert AvailabilityException.objects.get(pk=exception.pk).version == 1
