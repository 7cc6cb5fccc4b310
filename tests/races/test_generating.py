"""Races of generation: with itself, with a rule that changes, with claims and with blocks."""

from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import date, time

import pytest
from django.db import IntegrityError

from audit import events
from config import testing
from scheduling import blocks, generation, providers, rules, slots
from scheduling.models import AvailabilityRule, Facility, ProviderFacility, Slot
from tests.factories import AvailabilityRuleFactory
from tests.races import race, sabotage, scene
from waitlist import invariants

FIRST, LAST = date(2030, 1, 14), date(2030, 1, 14)  # the next Monday


def rule(*, at: Facility) -> AvailabilityRule:
    """Make a rule for Mondays, 09:00 to 12:00 in half hours, that has made no slots yet."""
    return AvailabilityRuleFactory.create(
        facility=at, provider=scene.provider(at), start_time=time(9), end_time=time(12)
    )


def generate(row: AvailabilityRule) -> race.Call:
    """Generate the slots of the facility."""
    return lambda: generation.generate(
        now=scene.NOW, facility_id=row.facility_id, first=FIRST, last=LAST
    )


def shorten(row: AvailabilityRule) -> race.Call:
    """End the rule's opening an hour earlier."""
    return lambda: rules.change(
        rule_id=row.pk, changes={"end_time": time(11)}, actor=events.SYSTEM, now=scene.NOW
    )


def test_generated_ten_times_at_once_each_slot_is_there_once() -> None:
    row = rule(at=scene.clinic())
    outcomes = race.run(*[generate(row)] * 10)
    assert race.errors(outcomes) == set(), outcomes
    made = [outcome.value for outcome in outcomes]
    created = [one.created for one in made if isinstance(one, generation.Outcome)]
    assert sorted(created) == [0] * 9 + [6]
    assert Slot.objects.count() == 6
    assert invariants.breaches() == []


def no_conflict_clause() -> AbstractContextManager[None]:
    return sabotage.statement(
        "generate_slots", without="ON CONFLICT ON CONSTRAINT slot_once DO NOTHING"
    )


def no_constraint() -> AbstractContextManager[None]:
    return sabotage.no_constraints("slot_once")


@pytest.mark.parametrize(
    ("layers", "error", "times"),
    [
        ([sabotage.no_advisory_locks], None, 1),
        ([sabotage.no_advisory_locks, no_conflict_clause], IntegrityError, 1),
        ([sabotage.no_advisory_locks, no_conflict_clause, no_constraint], None, 2),
    ],
    ids=["no lock", "no clause either", "no constraint either"],
)
def test_of_two_runs_the_second_gets_as_far_as_each_layer_lets_it(
    layers: list[sabotage.Layer], error: type[Exception] | None, times: int
) -> None:
    with sabotage.taken_out(layers):
        row = rule(at=scene.clinic())
        outcomes = race.overtake(race.held_back(generate(row)), generate(row), before=race.COMMIT)
        assert race.errors(outcomes) == ({error} if error else set())
        assert set(Counter(Slot.objects.values_list("period")).values()) == {times}


def test_a_rule_that_changes_meanwhile_leaves_no_slot_of_the_old_one() -> None:
    row: list[AvailabilityRule] = []

    def begin() -> race.Call:
        testing.empty_tables()
        row[:] = [rule(at=scene.clinic())]
        return generate(row[0])

    for outcomes in race.interleave(first=begin, then=lambda: shorten(row[0])):
        assert race.errors(outcomes) == set(), outcomes
        assert open_hours() == {9, 10}
        assert invariants.breaches() == []


def open_hours() -> set[int]:
    """Return the hours in which slots of that Monday are open."""
    found = Slot.objects.filter(status="open", period__startswith__date=FIRST)
    return {slot.period.lower.hour for slot in found}


def test_without_its_lock_a_run_would_make_slots_of_a_rule_that_has_changed() -> None:
    row = rule(at=scene.clinic())
    with sabotage.no_advisory_locks():
        outcomes = race.overtake(race.held_back(generate(row)), shorten(row), before=race.COMMIT)
    assert race.errors(outcomes) == set(), outcomes
    assert open_hours() == {9, 10, 11}


def test_a_claim_is_left_alone_wherever_it_comes_in() -> None:
    """A slot that the rule no longer makes is claimed and marked, or retired and refused."""
    row: list[AvailabilityRule] = []

    def begin() -> race.Call:
        testing.empty_tables()
        row[:] = [rule(at=scene.clinic())]
        generate(row[0])()
        return shorten(row[0])

    def last() -> Slot:
        return Slot.objects.get(period__startswith=scene.NOW.replace(day=14, hour=11, minute=30))

    def claim() -> race.Call:
        place = last()
        who = scene.patient(of=place.facility)
        return lambda: scene.book(place=place, who=who)

    for outcomes in race.interleave(first=begin, then=claim):
        assert race.errors(outcomes) <= {slots.SlotTaken}, outcomes
        place = last()
        booked = outcomes[1].won
        assert (place.status, place.superseded) == (
            ("booked", True) if booked else ("retired", False)
        )
        assert invariants.breaches() == []


def test_what_is_made_while_a_block_is_made_is_blocked_by_the_sweep() -> None:
    row: list[AvailabilityRule] = []

    def begin() -> race.Call:
        testing.empty_tables()
        row[:] = [rule(at=scene.clinic())]
        return generate(row[0])

    def block() -> race.Call:
        starts_at = scene.NOW.replace(day=14, hour=10)
        return lambda: blocks.create(
            facility_id=row[0].facility_id,
            provider_id=None,
            starts_at=starts_at,
            ends_at=starts_at.replace(hour=11),
            reason="",
            actor=events.SYSTEM,
            now=scene.NOW,
        )

    for outcomes in race.interleave(first=begin, then=block):
        assert race.errors(outcomes) == set(), outcomes
        blocks.apply(now=scene.NOW, limit=100)
        assert open_hours() == {9, 11}
        assert invariants.breaches() == []


def three_places() -> list[Facility]:
    """Make three clinics at which one provider has rules, and works at the first."""
    first = scene.clinic()
    places = [first, scene.clinic(like=first), scene.clinic(like=first)]
    who = scene.provider(first)
    for number, place in enumerate(places):
        AvailabilityRuleFactory.create(facility=place, provider=who, weekday=1 + number)
    ProviderFacility.objects.exclude(facility=first).delete()
    return places


def move(places: Sequence[Facility], number: int) -> race.Call:
    """Let the provider work at one of the other places, besides the first."""
    return lambda: providers.change(
        provider_id=ProviderFacility.objects.values_list("provider", flat=True)[0],
        changes={},
        facility_ids=[places[0].pk, places[number].pk],
        actor=events.SYSTEM,
        now=scene.NOW,
    )


def has_slots_where_they_work() -> bool:
    """Say whether the places with open slots are those at which the provider works."""
    slots_at = Slot.objects.filter(status="open").values_list("facility", flat=True)
    return set(slots_at) == set(ProviderFacility.objects.values_list("facility", flat=True))


def test_a_provider_who_is_moved_twice_has_slots_where_they_work_and_nowhere_else() -> None:
    """The second to come knows where the first has put them."""
    places: list[Facility] = []

    def begin() -> race.Call:
        testing.empty_tables()
        places[:] = three_places()
        return move(places, 1)

    for outcomes in race.interleave(first=begin, then=lambda: move(places, 2)):
        assert race.errors(outcomes) == set(), outcomes
        assert has_slots_where_they_work()


def test_without_locks_slots_stay_where_the_provider_was_moved_meanwhile() -> None:
    places = three_places()
    with sabotage.no_advisory_locks(), sabotage.no_row_locks():
        outcomes = race.overtake(
            move(places, 1), move(places, 2), before='^DELETE FROM "scheduling_providerfacility"'
        )
    assert race.errors(outcomes) == set(), outcomes
    assert not has_slots_where_they_work()
