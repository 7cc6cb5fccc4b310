"""Rules: what may be entered, and what a change does to slots at once."""

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.exceptions import ValidationError
from hypothesis import given, settings
from hypothesis import strategies as st

from audit import locks
from audit.errors import NotFound
from scheduling import rules
from scheduling.models import AvailabilityRule, Facility, ProviderFacility, Slot
from tests import factories
from tests.audit.log import brief, written
from tests.races import race
from tests.scheduling import openings
from tests.scheduling.openings import FRIDAY, MONDAY, TUESDAY, day, generate, rule
from tests.waitlist import worlds
from tests.waitlist.worlds import DAY, NOW, STAFF, World


@pytest.fixture
def world(db: None) -> World:
    return worlds.build()


def add(world: World, hours: str, *, on: date = TUESDAY, **fields: Any) -> AvailabilityRule:
    """Enter a rule for the weekday of a date."""
    given: dict[str, Any] = {
        "facility_id": world.facility.pk,
        "provider_id": world.provider.pk,
        "weekday": on.isoweekday(),
        "slot_minutes": 30,
        **openings.times(hours),
    }
    return rules.add(**{**given, **fields}, actor=STAFF, now=NOW)


def change(rule: AvailabilityRule, **changes: Any) -> AvailabilityRule:
    """Change a rule."""
    return rules.change(rule_id=rule.pk, changes=changes, actor=STAFF, now=NOW)


def refused(call: Any, *args: Any, **fields: Any) -> dict[str, list[str]]:
    """Return what a call says is wrong, by field; it must not have changed anything."""
    before = list(AvailabilityRule.objects.order_by("pk").values())
    with written() as events, pytest.raises(ValidationError) as error:
        call(*args, **fields)
    assert list(AvailabilityRule.objects.order_by("pk").values()) == before
    assert events == []
    return error.value.message_dict


# What a change does


def test_a_new_rule_has_its_slots_at_once(world: World) -> None:
    with written() as events:
        added = add(world, "9:00-10:00", service_id=world.service.pk, buffer_minutes=5)
    assert (added.tenant, added.service, added.version) == (world.tenant, world.service, 1)
    assert [slot[:8] for slot in openings.slots(world)] == [
        "05T09:00", "12T09:00", "19T09:00", "26T09:00", "02T09:00",
    ]  # fmt: skip
    [event] = events
    assert (event.kind, event.actor_id, event.facility_id, event.provider_id) == (
        "slot.generated", STAFF.id, world.facility.pk, world.provider.pk,
    )  # fmt: skip
    assert event.data["slots"] == 5


def test_only_what_is_yet_to_come_is_made(world: World) -> None:
    add(world, "9:00-11:30", on=MONDAY)  # it is ten o'clock on Monday
    assert openings.slots(world)[:2] == day("10:30-11:00", "11:00-11:30", number=4)


def test_what_was_generated_further_ahead_is_kept_in_line_as_well(world: World) -> None:
    made = rule(world, "9:00-9:30")
    generate(world, TUESDAY, TUESDAY + 90 * DAY)
    count = Slot.objects.count()
    change(made, start_time=time(10), end_time=time(10, 30))
    assert len(openings.slots(world)) == len(openings.slots(world, status="retired")) == count


def test_a_night_that_has_begun_is_brought_in_line(world: World) -> None:
    made = add(world, "22:00-6:00", on=MONDAY, slot_minutes=60)
    after_midnight = datetime.combine(TUESDAY, time(1, 30), NOW.tzinfo)
    rules.deactivate(rule_id=made.pk, actor=STAFF, now=after_midnight)
    live = openings.slots(world)
    assert [slot[:6] for slot in live] == ["04T22:", "04T23:", "05T00:", "05T01:"]


def test_a_changed_rule_retires_open_slots_and_leaves_claimed_ones(world: World) -> None:
    added = add(world, "9:00-10:00", valid_until=TUESDAY)
    first, second = Slot.objects.order_by("period")
    world.book(slot=first)
    with written() as events:
        changed = change(added, start_time=time(9, 15), end_time=time(10, 15))
    assert changed.version == added.version + 1
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.status, first.superseded) == ("booked", True)
    assert (second.status, second.superseded) == ("retired", False)
    # 09:15-09:45 overlaps the claim and has to wait for its end.
    assert openings.slots(world) == day("09:45-10:15")
    assert brief(events) == [("slot.retired", "open", "retired"), ("slot.generated", None, None)]


def test_a_deactivated_rule_retires_its_slots_and_comes_back(world: World) -> None:
    added = add(world, "9:00-10:00", valid_until=TUESDAY)
    assert not rules.deactivate(rule_id=added.pk, actor=STAFF, now=NOW).is_active
    assert openings.slots(world, status="retired") == day("09:00-09:30", "09:30-10:00")
    change(added, is_active=True)
    assert openings.slots(world) == day("09:00-09:30", "09:30-10:00")


def test_a_rule_of_somebody_who_left_can_be_ended(world: World) -> None:
    added = add(world, "9:00-10:00")
    ProviderFacility.objects.all().delete()
    rules.deactivate(rule_id=added.pk, actor=STAFF, now=NOW)
    assert openings.slots(world) == []


def test_others_are_not_touched(world: World) -> None:
    other = factories.ProviderFactory.create(tenant=world.tenant, facilities=[world.facility])
    rule(world, "9:00-9:30", provider=other)
    generate(world)
    AvailabilityRule.objects.update(is_active=False)
    add(world, "9:00-10:00")
    assert Slot.objects.get(provider=other).status == "open"


# What is refused


def test_wrong_values_are_named(world: World) -> None:
    assert list(refused(add, world, "9:00-10:00", weekday=8)) == ["weekday"]
    assert list(refused(add, world, "9:00-10:00", slot_minutes=0)) == ["slot_minutes"]
    assert list(refused(add, world, "9:00-10:00", buffer_minutes=-1)) == ["buffer_minutes"]
    assert list(refused(add, world, "9:00-10:00", start_time="noon")) == ["start_time"]


def test_a_slot_longer_than_the_opening_is_refused(world: World) -> None:
    assert list(refused(add, world, "9:00-9:29")) == ["slot_minutes"]
    assert list(refused(add, world, "23:50-0:19")) == ["slot_minutes"]
    add(world, "23:50-0:20")
    add(world, "9:00-9:00", on=FRIDAY, slot_minutes=1440)


def test_a_validity_that_ends_before_it_starts_is_refused(world: World) -> None:
    wrong = {"valid_from": TUESDAY, "valid_until": MONDAY}
    assert list(refused(add, world, "9:00-10:00", **wrong)) == ["valid_until"]
    assert list(refused(change, add(world, "9:00-10:00"), **wrong)) == ["valid_until"]


def test_ids_that_do_not_belong_together_are_named(world: World) -> None:
    elsewhere = worlds.build()
    nobody = uuid4()
    for field, pk in [
        ("facility", nobody), ("provider", nobody), ("service", nobody),
        ("facility", elsewhere.facility.pk),  # then the provider does not work there
        ("provider", elsewhere.provider.pk), ("service", elsewhere.service.pk),
        ("provider", factories.ProviderFactory.create(tenant=world.tenant).pk),
    ]:  # fmt: skip
        said = refused(add, world, "9:00-10:00", **{f"{field}_id": pk})
        named = "provider" if pk == elsewhere.facility.pk else field
        assert list(said) == [named]
        assert str(pk) in said[named][0]


def test_an_unknown_zone_is_named(world: World) -> None:
    Facility.objects.filter(pk=world.facility.pk).update(timezone="Mars/Olympus")
    assert list(refused(add, world, "9:00-10:00")) == ["timezone"]


def test_who_a_rule_is_for_cannot_be_changed(world: World) -> None:
    said = refused(change, add(world, "9:00-10:00"), provider_id=uuid4(), name="x")
    assert set(said) == {"provider", "name"}


def test_a_rule_that_is_not_there_is_named(db: None) -> None:
    with pytest.raises(NotFound, match=str(UUID(int=7))):
        rules.deactivate(rule_id=UUID(int=7), actor=STAFF, now=NOW)


@pytest.mark.parametrize(
    ("hours", "weekday", "overlaps"),
    [
        ("11:59-13:00", 2, True),
        ("12:00-13:00", 2, False),
        ("8:00-9:01", 2, True),
        ("8:00-9:00", 2, False),
        ("10:00-11:00", 2, True),
        ("8:00-8:00", 2, True),
        ("22:00-9:30", 1, True),  # the night before
        ("22:00-9:00", 1, False),
        ("10:00-11:00", 3, False),
    ],
)
def test_an_overlap_names_the_other_rule(
    world: World, hours: str, weekday: int, overlaps: bool
) -> None:
    other = add(world, "9:00-12:00")
    if overlaps:
        said = refused(add, world, hours, weekday=weekday, slot_minutes=5)
        assert list(said) == ["start_time"]
        assert str(other.pk) in said["start_time"][0]
    else:
        add(world, hours, weekday=weekday, slot_minutes=5)


def test_the_week_is_a_circle(world: World) -> None:
    sunday = add(world, "22:00-2:00", weekday=7)
    assert str(sunday.pk) in str(refused(add, world, "1:30-3:00", weekday=1))
    add(world, "2:00-3:00", weekday=1)


def test_only_the_same_provider_service_and_validity_clash(world: World) -> None:
    add(world, "9:00-12:00", valid_until=TUESDAY)
    other = factories.ProviderFactory.create(tenant=world.tenant, facilities=[world.facility])
    add(world, "9:00-12:00", provider_id=other.pk)
    add(world, "9:00-12:00", service_id=world.service.pk)
    later = add(world, "9:00-12:00", valid_from=TUESDAY + DAY)
    assert list(refused(change, later, valid_from=TUESDAY)) == ["start_time"]
    assert list(refused(add, world, "9:30-10:00", service_id=world.service.pk)) == ["start_time"]
    rules.deactivate(rule_id=later.pk, actor=STAFF, now=NOW)
    add(world, "9:00-12:00", valid_from=TUESDAY + DAY)
    assert list(refused(change, later, is_active=True)) == ["start_time"]


def test_a_provider_cannot_be_at_two_places_at_once(world: World) -> None:
    place = world.neighbour().facility
    abroad = world.neighbour(timezone="America/New_York").facility
    for facility in (place, abroad):
        factories.post(provider=world.provider, facility=facility)
    add(world, "9:00-12:00")
    assert list(refused(add, world, "9:00-12:00", facility_id=place.pk)) == ["start_time"]
    add(world, "9:00-12:00", facility_id=abroad.pk)  # another clock


def test_a_rule_does_not_clash_with_itself(world: World) -> None:
    added = add(world, "9:00-12:00")
    assert change(added, end_time=time(13)).end_time == time(13)


# Overlap against a model


def dates(rule: AvailabilityRule) -> Iterator[tuple[datetime, datetime]]:
    """Yield the openings of a rule in the weeks around the dates of validity that are tried."""
    for number in range(-14, 35):
        on = MONDAY + timedelta(days=number)
        first, last = rule.valid_from or date.min, rule.valid_until or date.max
        if on.isoweekday() == rule.weekday and first <= on <= last:
            start = datetime.combine(on, rule.start_time)
            end = datetime.combine(on, rule.end_time)
            yield start, end if end > start else end + timedelta(days=1)


VALID = st.none() | st.integers(0, 14).map(lambda days: MONDAY + timedelta(days=days))
HOURS = st.integers(0, 23).map(time)
RULES = st.builds(
    AvailabilityRule,
    weekday=st.integers(1, 7),
    start_time=HOURS,
    end_time=HOURS,
    valid_from=VALID,
    valid_until=VALID,
).filter(lambda rule: (rule.valid_from or date.min) <= (rule.valid_until or date.max))


@settings(max_examples=300, deadline=None)
@given(one=RULES, other=RULES)
def test_overlap_is_what_a_calendar_shows(one: AvailabilityRule, other: AvailabilityRule) -> None:
    shown = any(
        start < other_end and other_start < end
        for start, end in dates(one)
        for other_start, other_end in dates(other)
    )
    assert rules.overlap(one=one, other=other) == shown
    assert rules.overlap(one=other, other=one) == shown


# At once


@pytest.mark.django_db(transaction=True)
def test_two_overlapping_rules_entered_at_once_are_one() -> None:
    world = worlds.build()
    outcomes = race.run(
        *[lambda: add(world, "9:00-12:00"), lambda: add(world, "11:00-13:00")],
        before=["INSERT INTO .scheduling_availabilityrule"],
    )
    assert sorted(outcome.won for outcome in outcomes) == [False, True]
    assert {type(outcome.error) for outcome in outcomes if outcome.error} == {ValidationError}
    assert AvailabilityRule.objects.count() == 1


def _end_during_a_run() -> list[str]:
    """End a rule while a run that makes its slots has yet to commit; return what is open then."""
    world = worlds.build()
    made = rule(world, "9:00-10:00")
    outcomes = race.overtake(
        race.held_back(lambda: generate(world)),
        lambda: rules.deactivate(rule_id=made.pk, actor=STAFF, now=NOW),
        before=race.COMMIT,
    )
    assert all(outcome.won for outcome in outcomes)
    return openings.slots(world)


@pytest.mark.django_db(transaction=True)
def test_a_rule_that_ends_during_a_run_leaves_no_slots() -> None:
    assert _end_during_a_run() == []


@pytest.mark.django_db(transaction=True)
def test_control_without_the_lock_it_would_leave_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "wait_lock", lambda **_: None)
    assert len(_end_during_a_run()) == 2
