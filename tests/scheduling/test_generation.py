"""Generation: which slots are made, what becomes of those that are there, and what is told."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from audit.errors import NotFound
from scheduling import appointments, generation, slots
from scheduling.models import (
    AvailabilityRule,
    Facility,
    ProviderFacility,
    Slot,
)
from tests import factories
from tests.audit.log import brief, written
from tests.races import race
from tests.scheduling import openings
from tests.scheduling.openings import (
    FRIDAY,
    MONDAY,
    SUNDAY,
    TUESDAY,
    day,
    exception,
    generate,
    rule,
)
from tests.waitlist import worlds
from tests.waitlist.worlds import DAY, NOW, STAFF, World


@pytest.fixture
def world(db: None) -> World:
    return worlds.build()


# Which slots are made


def test_slots_follow_each_other_and_a_remainder_is_dropped(world: World) -> None:
    rule(world, "9:00-10:50")
    assert generate(world).created == 3
    assert openings.slots(world) == day("09:00-09:30", "09:30-10:00", "10:00-10:30")


def test_a_buffer_stands_between_slots_and_not_after_the_last(world: World) -> None:
    rule(world, "9:00-10:20", slot_minutes=20, buffer_minutes=10)
    generate(world)
    assert openings.slots(world) == day("09:00-09:20", "09:30-09:50", "10:00-10:20")


def test_a_slot_carries_what_made_it(world: World) -> None:
    made = rule(world, "9:00-9:30", service=world.service)
    generate(world)
    slot = Slot.objects.get()
    assert (slot.tenant, slot.facility, slot.provider) == (
        world.tenant, world.facility, world.provider,
    )  # fmt: skip
    assert (slot.service, slot.rule, slot.superseded) == (world.service, made, False)


def test_only_the_weekday_and_the_dates_of_validity_count(world: World) -> None:
    rule(world, "9:00-9:30")
    rule(world, "10:00-10:30", valid_from=TUESDAY + DAY)
    rule(world, "11:00-11:30", valid_until=TUESDAY)
    rule(world, "12:00-12:30", valid_from=TUESDAY, valid_until=TUESDAY)
    rule(world, "13:00-13:30", is_active=False)
    generate(world, TUESDAY, TUESDAY + 8 * DAY)
    assert openings.slots(world) == [
        *day("09:00-09:30", "11:00-11:30", "12:00-12:30"),
        *day("09:00-09:30", "10:00-10:30", number=12),
    ]


def test_an_opening_across_midnight_belongs_to_the_evening(world: World) -> None:
    rule(world, "23:00-1:00", slot_minutes=60)
    generate(world)
    assert openings.slots(world) == ["05T23:00-00:00", "06T00:00-01:00"]
    # Neither the next date nor the one before takes the other half away.
    assert generate(world, TUESDAY + DAY) == generation.Outcome()
    assert generate(world, TUESDAY) == generation.Outcome()
    rule(world, "0:00-0:30", day=TUESDAY + DAY)
    assert generate(world, TUESDAY + DAY).retired == 0


def test_an_end_at_the_start_is_a_whole_day(world: World) -> None:
    rule(world, "8:00-8:00", slot_minutes=720)
    generate(world)
    assert openings.slots(world) == ["05T08:00-20:00", "05T20:00-08:00"]


def test_in_the_gap_there_is_no_slot(db: None) -> None:
    world = worlds.build(timezone="Europe/London")
    change = date(2030, 3, 31)  # 01:00 is followed by 02:00
    rule(world, "0:30-3:00", day=change)
    generate(world, change)
    assert openings.slots(world) == day("00:30-02:00", "02:00-02:30", "02:30-03:00", number=31)
    assert {slot.period.upper - slot.period.lower for slot in Slot.objects.all()} == {
        timedelta(minutes=30)
    }


def test_an_opening_inside_the_gap_makes_nothing(db: None) -> None:
    world = worlds.build(timezone="Europe/London")
    rule(world, "1:00-2:00", day=date(2030, 3, 31))
    assert generate(world, date(2030, 3, 31)).created == 0


def test_in_the_fold_the_hour_is_there_twice(db: None) -> None:
    world = worlds.build(timezone="Europe/London")
    change = date(2030, 10, 27)  # 02:00 is 01:00 again
    rule(world, "0:30-2:30", day=change)
    generate(world, change)
    assert openings.slots(world) == day(
        "00:30-01:00", "01:00-01:30", "01:30-01:00", "01:00-01:30", "01:30-02:00", "02:00-02:30",
        number=27,
    )  # fmt: skip


def test_an_opening_inside_the_fold_is_two(db: None) -> None:
    world = worlds.build(timezone="Europe/London")
    change = date(2030, 10, 27)
    rule(world, "1:00-1:45", day=change)
    generate(world, change)
    starts = Slot.objects.order_by("period").values_list("period__startswith", flat=True)
    assert list(starts) == [datetime(2030, 10, 27, hour, tzinfo=UTC) for hour in (0, 1)]


def test_two_rules_that_make_the_same_slot_make_one(world: World) -> None:
    rule(world, "9:00-10:00")
    rule(world, "9:30-10:30")
    rule(world, "9:00-9:30", service=world.service)  # another slot
    assert generate(world).created == 4
    assert generate(world) == generation.Outcome()


@pytest.mark.parametrize("of", ["facility", "provider", "posting"])
def test_what_is_not_active_makes_nothing(world: World, of: str) -> None:
    rule(world, "9:00-9:30")
    generate(world)
    if of == "posting":
        ProviderFacility.objects.all().delete()
    else:
        type(getattr(world, of)).objects.filter(pk=getattr(world, of).pk).update(is_active=False)
    assert generate(world, TUESDAY, TUESDAY + 7 * DAY).retired == 1
    assert openings.slots(world) == []


# Exceptions


@pytest.mark.parametrize("kind", ["closed", "emergency"])
@pytest.mark.parametrize("own", [True, False])
def test_a_closed_date_has_no_slots(world: World, kind: str, own: bool) -> None:
    rule(world, "9:00-9:30")
    rule(world, "9:00-9:30", day=TUESDAY + DAY)
    exception(world, kind, provider=world.provider if own else None)
    generate(world, TUESDAY, TUESDAY + DAY)
    assert openings.slots(world) == day("09:00-09:30", number=6)


def test_another_providers_exception_does_not_count(world: World) -> None:
    other = factories.ProviderFactory.create(tenant=world.tenant, facilities=[world.facility])
    rule(world, "9:00-9:30")
    exception(world, "closed", provider=other)
    assert generate(world).created == 1


def test_special_hours_replace_the_rules_in_their_kinds_of_slot(world: World) -> None:
    rule(world, "9:00-12:00")
    rule(world, "13:00-14:00")  # the same kind: half hours without a service
    rule(world, "9:00-12:00", slot_minutes=60, service=world.service)
    rule(world, "9:00-12:00", day=FRIDAY, slot_minutes=45)  # not of this weekday
    exception(world, "special_hours", "18:00-19:00")
    exception(world, "special_hours", "20:00-21:00")
    generate(world)
    assert sorted(openings.slots(world)) == sorted(
        day(
            "18:00-18:30", "18:30-19:00", "18:00-19:00", "20:00-20:30", "20:30-21:00", "20:00-21:00"
        )
    )


def test_special_hours_on_a_free_day_take_the_kinds_of_all_valid_rules(world: World) -> None:
    rule(world, "9:00-12:00", day=FRIDAY)
    rule(world, "9:00-12:00", day=SUNDAY, slot_minutes=60)
    rule(world, "9:00-12:00", day=SUNDAY, slot_minutes=15, valid_until=MONDAY)
    exception(world, "special_hours", "18:00-19:00")
    generate(world)
    assert sorted(openings.slots(world)) == day("18:00-18:30", "18:00-19:00", "18:30-19:00")


def test_the_providers_own_special_hours_beat_the_facilitys(world: World) -> None:
    other = factories.ProviderFactory.create(tenant=world.tenant, facilities=[world.facility])
    rule(world, "9:00-12:00")
    rule(world, "9:00-12:00", provider=other)
    exception(world, "special_hours", "18:00-18:30")
    exception(world, "special_hours", "20:00-20:30", provider=world.provider)
    generate(world)
    assert openings.slots(world) == day("18:00-18:30", "20:00-20:30")
    assert Slot.objects.get(provider=other).period.lower.hour == 18


@pytest.mark.parametrize("own", [True, False])
def test_closed_beats_special_hours(world: World, own: bool) -> None:
    rule(world, "9:00-12:00")
    exception(world, "special_hours", "18:00-18:30", provider=world.provider if own else None)
    exception(world, "emergency", provider=None if own else world.provider)
    assert generate(world).created == 0


def test_special_hours_without_any_rule_make_nothing(world: World) -> None:
    exception(world, "special_hours", "18:00-18:30")
    assert generate(world).created == 0


# Blocks and claims


def test_a_slot_under_a_block_is_made_blocked(world: World) -> None:
    other = factories.ProviderFactory.create(tenant=world.tenant, facilities=[world.facility])
    rule(world, "9:00-11:00")
    rule(world, "9:00-10:00", provider=other)
    nine = datetime(2030, 3, 5, 9, tzinfo=UTC)
    of = {"facility": world.facility, "starts_at": nine + timedelta(minutes=15)}
    factories.TimeBlockFactory.create(**of, minutes=15, provider=world.provider)
    factories.TimeBlockFactory.create(**of, minutes=30, provider=world.provider)
    factories.TimeBlockFactory.create(facility=world.facility, starts_at=nine - DAY)
    factories.TimeBlockFactory.create(starts_at=nine)  # of another facility
    generate(world)
    assert openings.slots(world, status="blocked") == day("09:00-09:30", "09:30-10:00")
    assert openings.slots(world) == day("09:00-09:30", "09:30-10:00", "10:00-10:30", "10:30-11:00")
    assert set(Slot.objects.filter(status="blocked").values_list("provider", flat=True)) == {
        world.provider.pk
    }


def test_a_facilitys_block_is_everybodys(world: World) -> None:
    other = factories.ProviderFactory.create(tenant=world.tenant, facilities=[world.facility])
    rule(world, "9:00-10:00")
    rule(world, "9:00-10:00", provider=other)
    nine = datetime(2030, 3, 5, 9, tzinfo=UTC)
    factories.TimeBlockFactory.create(facility=world.facility, starts_at=nine)
    generate(world)
    assert len(openings.slots(world, status="blocked")) == 4


@pytest.mark.parametrize("elsewhere", [True, False])
def test_a_slot_that_overlaps_a_claim_is_not_made(world: World, elsewhere: bool) -> None:
    place = world
    if elsewhere:
        place = World(world.neighbour().facility, world.provider, world.service)
        factories.post(provider=world.provider, facility=place.facility)
    claimed = place.slot(at=datetime(2030, 3, 5, 9, 15, tzinfo=UTC))
    place.book(slot=claimed)
    rule(world, "9:00-10:30")
    generate(world)
    assert openings.slots(world) == day("10:00-10:30")
    assert generate(world) == generation.Outcome()


def test_a_claimed_slot_that_is_made_is_left_alone(world: World) -> None:
    rule(world, "9:00-10:00")
    generate(world)
    world.book(slot=Slot.objects.order_by("period")[0])
    assert generate(world) == generation.Outcome()
    assert not Slot.objects.filter(superseded=True).exists()


# What is there already


def test_what_nothing_makes_retires_and_comes_back(world: World) -> None:
    made = rule(world, "9:00-10:00")
    generate(world)
    AvailabilityRule.objects.update(is_active=False)
    with written() as events:
        assert generate(world) == generation.Outcome(retired=2)
    assert brief(events) == [
        ("slot.retired", "open", "retired"),
        ("slot.retired", "open", "retired"),
        ("slot.generated", None, None),
    ]
    assert generate(world) == generation.Outcome()
    assert openings.slots(world, status="retired") == day("09:00-09:30", "09:30-10:00")
    AvailabilityRule.objects.update(is_active=True)
    factories.TimeBlockFactory.create(
        facility=world.facility, starts_at=datetime(2030, 3, 5, 9, tzinfo=UTC), minutes=30
    )
    with written() as events:
        assert generate(world) == generation.Outcome(reopened=2)
    assert sorted(brief(events)[:2]) == [
        ("slot.blocked", "retired", "blocked"),
        ("slot.opened", "retired", "open"),
    ]
    assert {event.facility_id for event in events} == {world.facility.pk}
    assert {(slot.status, slot.rule) for slot in Slot.objects.all()} == {
        ("open", made), ("blocked", made),
    }  # fmt: skip


def test_a_blocked_slot_retires_too(world: World) -> None:
    rule(world, "9:00-9:30")
    factories.TimeBlockFactory.create(
        facility=world.facility, starts_at=datetime(2030, 3, 5, 9, tzinfo=UTC)
    )
    generate(world)
    exception(world, "closed")
    assert generate(world).retired == 1


def test_a_retired_slot_under_another_claim_stays_retired(world: World) -> None:
    made = rule(world, "9:00-9:30")
    generate(world)
    AvailabilityRule.objects.update(is_active=False)
    generate(world)
    appointment = world.book(slot=world.slot(at=datetime(2030, 3, 5, 9, 15, tzinfo=UTC)))
    AvailabilityRule.objects.filter(pk=made.pk).update(is_active=True)
    assert generate(world) == generation.Outcome()
    appointments.cancel(appointment_id=appointment.pk, reason="x", actor=STAFF, now=NOW)
    assert generate(world) == generation.Outcome(reopened=1)


def test_a_claimed_slot_keeps_its_status_and_retires_after(world: World) -> None:
    rule(world, "9:00-10:00")
    generate(world)
    first, second = Slot.objects.order_by("period")
    world.reserve(slot=first)
    appointment = world.book(slot=second)
    AvailabilityRule.objects.update(is_active=False)
    with written() as events:
        assert generate(world) == generation.Outcome()
    assert [event.kind for event in events] == ["slot.generated"]
    assert set(Slot.objects.values_list("status", "superseded")) == {
        ("reserved", True), ("booked", True),
    }  # fmt: skip
    slots.release(slot_id=first.pk, actor=STAFF, now=NOW)
    assert Slot.objects.filter(status="retired", superseded=False).get() == first
    AvailabilityRule.objects.update(is_active=True)
    assert generate(world).reopened == 1
    assert not Slot.objects.filter(superseded=True).exists()
    appointments.cancel(appointment_id=appointment.pk, reason="x", actor=STAFF, now=NOW)
    assert openings.slots(world) == day("09:00-09:30", "09:30-10:00")


def test_slots_made_by_hand_stay(world: World) -> None:
    by_hand = world.slot(at=datetime(2030, 3, 5, 9, tzinfo=UTC))
    rule(world, "9:00-9:30", service=world.service)  # the very same
    rule(world, "9:30-10:00")
    assert generate(world).created == 1
    AvailabilityRule.objects.update(is_active=False)
    assert generate(world).retired == 1
    by_hand.refresh_from_db()
    assert by_hand.status == "open"


def test_what_has_begun_is_never_changed_but_past_dates_are_filled(world: World) -> None:
    rule(world, "9:00-11:30", day=MONDAY)  # it is ten o'clock
    generate(world, MONDAY)
    assert len(openings.slots(world)) == 5
    AvailabilityRule.objects.update(is_active=False)
    assert generate(world, MONDAY).retired == 2
    assert openings.slots(world) == day("09:00-09:30", "09:30-10:00", "10:00-10:30", number=4)
    AvailabilityRule.objects.update(is_active=True)
    assert generate(world, MONDAY, now=NOW + DAY) == generation.Outcome()


def test_slots_of_other_dates_and_providers_are_not_looked_at(world: World) -> None:
    other = factories.ProviderFactory.create(tenant=world.tenant, facilities=[world.facility])
    rule(world, "9:00-9:30")
    rule(world, "9:00-9:30", provider=other)
    generate(world, TUESDAY, TUESDAY + 7 * DAY)
    AvailabilityRule.objects.update(is_active=False)
    outcome = generation.generate(
        now=NOW, provider_id=world.provider.pk, first=TUESDAY, last=TUESDAY + DAY
    )
    assert outcome == generation.Outcome(retired=1)
    retired = Slot.objects.get(status="retired")
    assert (retired.provider, retired.period.lower.day) == (world.provider, 5)


# Runs


def test_a_run_cut_into_many_batches_does_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in [world, world.neighbour(), world.neighbour()]:
        for number in range(7):
            rule(place, "22:00-3:00", day=MONDAY + number * DAY, slot_minutes=45)
    monkeypatch.setattr(generation, "BATCH_SLOTS", 20)
    monkeypatch.setattr(generation, "BATCH_DAYS", 4)
    steps: list[tuple[int, int]] = []
    given: dict[str, Any] = {"now": NOW, "tenant_id": world.tenant.pk, "first": MONDAY}
    with written() as events:
        outcome = generation.generate(
            **given, last=MONDAY + 9 * DAY, progress=lambda *step: steps.append(step)
        )
    assert outcome == generation.Outcome(created=3 * 10 * 6)
    assert steps == [(number + 1, len(steps)) for number in range(len(steps))]
    assert len(steps) > 3
    [event] = events
    assert (event.kind, event.subject_id, event.facility_id) == (
        "slot.generated", world.tenant.pk, None,
    )  # fmt: skip
    assert event.data == {
        "slots": 180, "retired": 0, "reopened": 0,
        "start_date": "2030-03-04", "end_date": "2030-03-13",
    }  # fmt: skip
    monkeypatch.undo()
    assert generation.generate(**given, last=MONDAY + 9 * DAY) == generation.Outcome()


def test_each_tenant_has_an_event_of_its_own(world: World) -> None:
    other = worlds.build()
    for place in (world, other):
        rule(place, "9:00-9:30")
    with written() as events:
        assert generation.generate(now=NOW) == generation.Outcome(created=10)
    assert {event.tenant_id for event in events} == {world.tenant.pk, other.tenant.pk}
    assert {event.data["end_date"] for event in events} == {"2030-04-03"}


def test_facilities_in_an_unknown_zone_are_left_out(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    lost = world.neighbour(timezone="Europe/London")
    for place in (world, lost):
        rule(place, "9:00-9:30")
    generation.generate(now=NOW)
    Facility.objects.filter(pk=lost.facility.pk).update(timezone="Mars/Olympus")
    outcome = generation.generate(now=NOW)
    assert outcome == generation.Outcome(skipped=[lost.facility.pk])
    assert Slot.objects.filter(facility=lost.facility, status="open").count() == 5
    assert str(lost.facility.pk) in caplog.text


def test_queries_do_not_grow_with_what_there_is_to_do(world: World) -> None:
    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as found:
            generation.generate(now=NOW, tenant_id=world.tenant.pk)
        return len(found)

    rule(world, "9:00-9:30")
    few = queries()
    for place in [world.neighbour() for _ in range(5)]:
        for number in range(7):
            rule(place, "9:00-17:00", day=MONDAY + number * DAY)
    assert queries() == few
    AvailabilityRule.objects.update(is_active=False)
    assert queries() == few + 1  # what is out of line is settled in one more


def test_waiting_people_hear_of_what_opens_again(
    world: World,
    settings: Settings,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    settings.EVENT_TASKS = {"slot.opened": "waitlist.tasks.fill_facility"}
    rule(world, "9:00-10:00")
    generate(world)
    AvailabilityRule.objects.update(is_active=False)
    with django_capture_on_commit_callbacks() as callbacks:
        generate(world)
    assert callbacks == []
    AvailabilityRule.objects.update(is_active=True)
    with django_capture_on_commit_callbacks() as callbacks:
        generate(world)
    assert len(callbacks) == 1


@pytest.mark.django_db(transaction=True)
def test_two_runs_at_once_make_each_slot_once() -> None:
    world = worlds.build()
    rule(world, "9:00-17:00")
    outcomes = race.run(*[lambda: generate(world)] * 4, before=["INSERT INTO scheduling_slot"])
    made = [outcome.value for outcome in outcomes]
    assert made.count(generation.Outcome(created=16)) == 1
    assert made.count(generation.Outcome()) == 3
    assert len(openings.slots(world)) == 16


# What is refused


def test_an_end_before_the_start_is_refused(world: World) -> None:
    with pytest.raises(ValidationError) as refused:
        generate(world, TUESDAY, MONDAY)
    assert list(refused.value.message_dict) == ["end_date"]


@pytest.mark.parametrize("what", ["tenant", "facility", "provider"])
def test_what_is_not_there_is_named(world: World, what: str) -> None:
    given: dict[str, Any] = {f"{what}_id": uuid4()}
    with pytest.raises(NotFound, match=str(given[f"{what}_id"])) as refused:
        generation.generate(now=NOW, **given)
    assert refused.value.field == what


def test_another_tenants_provider_is_not_there(world: World) -> None:
    stranger = worlds.build().provider
    with pytest.raises(NotFound, match=str(stranger.pk)):
        generation.generate(now=NOW, facility_id=world.facility.pk, provider_id=stranger.pk)
    with pytest.raises(NotFound, match=str(stranger.pk)):
        generation.generate(now=NOW, tenant_id=world.tenant.pk, provider_id=stranger.pk)


# The command


Run = Callable[..., str]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: object) -> str:
        call_command("generate_slots", *map(str, arguments))
        return capsys.readouterr().out

    return run


def test_the_command_says_how_many(
    world: World, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    made = rule(world, "9:00-10:00")
    caplog.set_level("INFO")
    out = run("--start-date", "2030-03-01", "--end-date", "2030-03-14")
    assert out == "Created 4 slots, retired 0, opened 0 again.\n"
    assert "generating for all tenants, 2030-03-01 to 2030-03-14" in caplog.text
    assert f"created 4 slots for rule {made.pk}" in caplog.text
    assert "total 4 slots" in caplog.text


def test_the_command_can_print_json(world: World, run: Run) -> None:
    rule(world, "9:00-10:00")
    out = run("--json", "--tenant", world.tenant.slug, "--facility", world.facility.pk,
              "--provider", world.provider.pk, "--start-date", "2030-03-01",
              "--end-date", "2030-03-14")  # fmt: skip
    assert out == '{"created": 4, "retired": 0, "reopened": 0, "skipped": []}\n'


def test_many_rules_are_told_together(
    world: World, run: Run, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generation, "RULES_TOLD", 1)
    rule(world, "9:00-10:00")
    rule(world, "11:00-12:00")
    caplog.set_level("INFO")
    run("--start-date", "2030-03-05", "--end-date", "2030-03-05")
    assert "for rule" not in caplog.text
    assert "created 4 slots at 1 facilities" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--tenant", "nobody"], "nobody"),
        (["--facility", "xyz"], "--facility: 'xyz'"),
        (["--facility", str(UUID(int=5))], str(UUID(int=5))),
        (["--provider", str(UUID(int=6))], str(UUID(int=6))),
        (["--start-date", "2030-02-30"], "--start-date: '2030-02-30'"),
        (["--start-date", "2030-03-02", "--end-date", "2030-03-01"], "end_date"),
        (["--start-date", "0001-01-01"], "start_date"),
        (["--start-date", "9999-12-30"], "start_date"),
        (["--end-date", "9999-12-30"], "end_date"),
    ],
)
@pytest.mark.django_db
def test_the_command_names_what_is_wrong(run: Run, arguments: list[str], named: str) -> None:
    with pytest.raises(CommandError, match=named):
        run(*arguments)


def test_the_command_fails_for_what_it_left_out(world: World, run: Run) -> None:
    Facility.objects.update(timezone="Mars/Olympus")
    with pytest.raises(CommandError, match="1 facilities"):
        run()
