"""Races of fills: two facilities at once that share a provider, a patient or a visitor."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from uuid import UUID

import pgtrigger
import pytest
from django.db import IntegrityError
from django.db.models.functions import Now

from audit import events
from config import testing
from scheduling import appointments
from scheduling.models import Facility, Provider, Slot
from tests.races import gate, race, sabotage, scene
from waitlist import fill, invariants
from waitlist.models import DryPass, Hold, WaitlistPolicy

HALF = timedelta(minutes=30)
Places = tuple[Facility, Facility]


def fills(*places: Facility) -> list[race.Call]:
    """Fill each of these facilities."""
    return [scene.fill_at(place) for place in places]


def two_clinics() -> Places:
    """Make two facilities of a tenant."""
    first = scene.clinic()
    return first, scene.clinic(like=first)


def undisputed(places: Places) -> Places:
    """Give each facility a slot and somebody for it, whom a lost batch would lose too."""
    for place in places:
        slot = scene.slot(at=place)
        scene.wait(at=place, provider_id=slot.provider_id, provider_required=True)
    return places


def overlap(places: Places, *, by: tuple[Provider, Provider]) -> list[Slot]:
    """Make a slot at each place that overlaps the other's."""
    return [
        scene.slot(at=place, by=one, starts_at=scene.TOMORROW + number * HALF)
        for number, (place, one) in enumerate(zip(places, by, strict=True))
    ]


def shared_provider() -> Places:
    """Let a provider have overlapping slots at two facilities, each with somebody who waits."""
    places = two_clinics()
    shared = scene.provider(*places)
    overlap(places, by=(shared, shared))
    for place in places:
        scene.wait(at=place, provider_id=shared.pk, provider_required=True)
    return undisputed(places)


def shared_patient() -> Places:
    """Let a patient wait at two facilities for slots that overlap."""
    places = two_clinics()
    share_patient(places)
    return undisputed(places)


def share_patient(places: Places) -> None:
    """Let a patient wait at both for overlapping slots, each of a provider of its own."""
    by = (scene.provider(places[0]), scene.provider(places[1]))
    overlap(places, by=by)
    who = scene.patient(of=places[0])
    for place, one in zip(places, by, strict=True):
        scene.wait(at=place, who=who, provider_id=one.pk, provider_required=True)


def shared_visitor() -> Places:
    """Let somebody who waits at a third facility take either of two slots elsewhere."""
    places = two_clinics()
    home = scene.clinic(like=places[0])
    by = (scene.provider(places[0]), scene.provider(places[1]))
    overlap(places, by=by)
    scene.wait(at=home, any_facility=True)
    return undisputed(places)


def check(*, outcomes: list[race.Outcome], disputed: int) -> None:
    """Check that no batch was lost, and that what was disputed was offered so many times."""
    assert race.errors(outcomes) == set(), outcomes
    assert Hold.objects.filter(status="offered").count() == 2 + disputed
    assert invariants.breaches() == []


SCENES = [shared_provider, shared_patient, shared_visitor]


@pytest.mark.parametrize("make", SCENES)
def test_what_two_fills_dispute_is_offered_once_and_no_batch_is_lost(
    make: Callable[[], Places],
) -> None:
    for _ in range(10):
        testing.empty_tables()
        check(outcomes=race.run(*fills(*make())), disputed=1)


@pytest.mark.parametrize("make", SCENES)
def test_it_is_offered_once_wherever_the_other_fill_comes_in(
    make: Callable[[], Places],
) -> None:
    places: list[Facility] = []

    def begin() -> race.Call:
        testing.empty_tables()
        places[:] = make()
        return fills(*places)[0]

    for outcomes in race.interleave(first=begin, then=lambda: fills(*places)[1]):
        check(outcomes=outcomes, disputed=1)


def crowd() -> list[Facility]:
    """Make four facilities that share two providers, patients who wait at all, and visitors."""
    first = scene.clinic()
    places = [first, *(scene.clinic(like=first) for _ in range(3))]
    shared = [scene.provider(*places) for _ in range(2)]
    for number, place in enumerate(places):
        for part in range(4):
            starts_at = scene.TOMORROW + part * 4 * HALF + number * HALF / 2
            scene.slot(at=place, by=shared[part % 2], starts_at=starts_at)
            scene.slot(at=place, starts_at=starts_at)
        scene.wait(at=place)
        scene.wait(at=place, any_facility=True)
    for _ in range(3):
        who = scene.patient(of=first)
        for place in places:
            scene.wait(at=place, who=who, any_facility=True)
    return places


@pytest.mark.parametrize("matching", ["best_score", "max_fill"])
def test_eight_workers_offer_no_slot_and_nobody_twice(matching: str) -> None:
    """Four facilities, each filled by two at once: who comes late is busy, and no batch is lost."""
    for _ in range(5):
        testing.empty_tables()
        places = crowd()
        WaitlistPolicy.objects.update(matching=matching)
        outcomes = race.run(*fills(*places, *places))
        assert race.errors(outcomes) <= {fill.Busy}
        done = [outcome.value for outcome in outcomes if isinstance(outcome.value, fill.Filled)]
        offers = sum(filled.offers for filled in done)
        # One of each pair went through: there is enough for all who wait at one place alone.
        assert len(done) >= len(places)
        assert Hold.objects.filter(status="offered").count() == offers >= len(places)
        assert invariants.breaches() == []
        clashes = sum(filled.clashes for filled in done)
        for _ in range(1 + clashes):  # what clashed is found by the next scan
            outcomes = race.run(*fills(*places))
        assert race.errors(outcomes) == set()
        assert invariants.breaches() == []
        served = Hold.objects.filter(status="offered").values("patient").distinct().count()
        assert served == 2 * len(places) + 3


def no_conflict_clause() -> AbstractContextManager[None]:
    """Let a hold that clashes raise."""
    return sabotage.statement("write_offers", without="ON CONFLICT DO NOTHING")


def no_entry_lock() -> AbstractContextManager[None]:
    """Let two fills read an entry at once."""
    return sabotage.statement("write_offers", without="FOR NO KEY UPDATE OF entry SKIP LOCKED")


def no_patient_constraint() -> AbstractContextManager[None]:
    return sabotage.no_constraints("hold_patient_once_at_a_time")


def no_hold_constraints() -> AbstractContextManager[None]:
    return sabotage.no_constraints("hold_patient_once_at_a_time", "hold_entry_once")


def no_claim_constraint() -> AbstractContextManager[None]:
    return sabotage.no_constraints("slot_provider_claimed_once")


@pytest.mark.parametrize(
    ("make", "layers", "breach"),
    [
        (shared_provider, [sabotage.no_row_locks], None),
        (shared_provider, [sabotage.no_row_locks, no_claim_constraint], 1),
        (shared_patient, [no_conflict_clause], None),
        (shared_patient, [no_patient_constraint], 2),
        (shared_visitor, [no_conflict_clause, no_entry_lock], None),
        (shared_visitor, [no_hold_constraints, no_entry_lock], 2),
    ],
)
def test_without_its_layers_a_batch_is_lost_and_then_an_invariant(
    make: Callable[[], Places], layers: list[sabotage.Layer], breach: int | None
) -> None:
    """The provider's lock, the clause and the entry's lock keep the batch; constraints the rows."""
    with sabotage.taken_out(layers):
        one, other = fills(*make())
        outcomes = race.overtake(race.held_back(one), other, before=race.COMMIT)
        assert race.errors(outcomes) == (set() if breach else {IntegrityError})
        assert {found.number for found in invariants.breaches()} >= ({breach} if breach else set())
        if breach is None:
            assert Hold.objects.count() == 2  # one disputed, one not; the other fill lost its own


def own_order(place: Facility) -> AbstractContextManager[None]:
    """Let fills of one place insert in the order of the patients, and others against it."""
    return sabotage.statement(
        "write_offers",
        without="ORDER BY entry.patient_id",
        put=f"ORDER BY CASE slot.facility_id WHEN '{place.pk}' THEN entry.patient_id END,"
        " entry.patient_id DESC",
    )


@pytest.mark.parametrize("in_order", [True, False], ids=["as it is", "each in an order of its own"])
def test_holds_are_inserted_in_the_order_of_the_patients(in_order: bool) -> None:
    """Two fills that share two patients: in one order the second waits, in two both do."""
    places = two_clinics()
    share_patient(places)
    share_patient(places)
    runners = [race.Runner(call) for call in fills(*places)]
    layers = [] if in_order else [lambda: own_order(places[0])]
    with sabotage.taken_out(layers), gate.closed() as open_gate, race.stage(*runners):
        for runner in runners:
            runner.start()
        race.settle(*runners, holds_lock=True)
        open_gate()
    outcomes = [runner.outcome for runner in runners]
    if in_order:
        assert all(outcome.won for outcome in outcomes)
        assert Hold.objects.count() == 2
    else:
        assert race.deadlocks(outcomes) == 1


def test_without_the_fill_lock_the_rows_are_right_all_the_same() -> None:
    """The advisory lock saves work only: two passes over one facility offer each slot once."""
    with sabotage.no_advisory_locks():
        for _ in range(5):
            testing.empty_tables()
            place, _other = undisputed(two_clinics())
            scene.wait(at=place)
            outcomes = race.run(*fills(place, place))
            assert race.errors(outcomes) == set(), outcomes
            assert Hold.objects.count() == 1
            assert invariants.breaches() == []


def test_of_two_fills_of_a_facility_one_is_busy() -> None:
    place, _other = undisputed(two_clinics())
    one, other = fills(place, place)
    outcomes = race.overtake(race.held_back(one), other, before=race.COMMIT)
    assert race.errors(outcomes) == {fill.Busy}


def join_wherever() -> Iterator[tuple[bool, int]]:
    """Let somebody join at each point of a pass that finds nobody.

    Say whether the scan passes them by, and how many are offered the slot after the next pass.
    """
    places: list[Facility] = []

    def begin() -> race.Call:
        testing.empty_tables()
        places[:] = [scene.clinic()]
        scene.slot(at=places[0])
        with pgtrigger.ignore("scheduling.Slot:touch"):  # else the scan comes by for its sake
            Slot.objects.update(updated_at=Now() - 2 * HALF)
        return fills(places[0])[0]

    def join() -> race.Call:
        who = scene.patient(of=places[0])
        return lambda: scene.wait(at=places[0], who=who)

    for outcomes in race.interleave(first=begin, then=join):
        assert all(outcome.won for outcome in outcomes), outcomes
        is_missed = not Hold.objects.exists() and fill.facilities(now=scene.NOW) == []
        scene.fill_at(places[0])()
        assert invariants.breaches() == []
        yield is_missed, Hold.objects.count()


def test_who_joins_while_a_pass_finds_nobody_is_found_by_the_next() -> None:
    assert set(join_wherever()) == {(False, 1)}


#: The queue as it is when a note is written, not as the pass read it.
LATER = "(SELECT revision FROM waitlist_queue AS queue WHERE queue.facility_id = {}.facility_id)"


def test_a_pass_that_noted_a_later_state_of_the_queue_would_miss_who_just_joined() -> None:
    later = LATER.format("scheduling_slot")
    with sabotage.statement("note_fruitless", without=r"%\(revision\)s", put=later):
        assert {offers for _, offers in join_wherever()} == {0, 1}


def test_a_dry_pass_that_noted_a_later_state_of_the_queue_would_be_passed_by() -> None:
    stored, later = r"    %\(revision\)s, %\(visitors_revision\)s", LATER.format("policy")
    put = f"    {later}, %(visitors_revision)s"
    with sabotage.statement("note_dry", without=stored, put=put):
        assert set(join_wherever()) == {(False, 1), (True, 1)}


def open_late(place: Facility) -> list[UUID]:
    """Let a slot be made before a dry pass and be seen after it; say where the scan goes."""
    scene.wait(at=place)
    outcomes = race.overtake(
        race.held_back(lambda: scene.slot(at=place)), scene.fill_at(place), before=race.COMMIT
    )
    assert [outcome.value for outcome in outcomes[1:]] == [fill.Filled()]
    assert DryPass.objects.count() == 1
    assert Slot.objects.get().updated_at < DryPass.objects.get().updated_at
    return fill.facilities(now=scene.NOW)


def test_a_slot_made_before_a_dry_pass_and_seen_after_it_is_filled() -> None:
    place = scene.clinic()
    assert open_late(place) == [place.pk]
    assert scene.fill_at(place)().offers == 1


def test_without_its_five_minutes_the_scan_would_pass_it_by() -> None:
    with sabotage.statement("find_opened", without="- interval '5 minutes'"):
        assert open_late(scene.clinic()) == []


def show_late(*, tells: bool) -> tuple[list[UUID], Facility]:
    """End a claim after a pass looked at what it hides elsewhere; say where the scan goes."""
    place, there = two_clinics()
    both = scene.provider(place, there)
    theirs = scene.book(place=scene.slot(at=place, by=both))
    scene.slot(at=there, by=both)
    scene.wait(at=there)
    with pgtrigger.ignore("scheduling.Slot:touch"):
        Slot.objects.update(updated_at=Now() - timedelta(hours=1))

    def cancel() -> None:
        with nullcontext() if tells else pgtrigger.ignore("waitlist.CountedSlot:revise"):
            appointments.cancel(
                appointment_id=theirs.pk, reason="moved", actor=events.SYSTEM, now=scene.NOW
            )

    outcomes = race.overtake(race.held_back(cancel), scene.fill_at(there), before=race.COMMIT)
    assert [outcome.value for outcome in outcomes] == [None, fill.Filled()]
    return fill.facilities(now=scene.NOW), there


def test_a_claim_that_ends_while_a_pass_is_under_way_shows_what_it_hid() -> None:
    found, there = show_late(tells=True)
    assert found == [there.pk]
    assert scene.fill_at(there)().offers == 1


def test_a_claim_whose_end_nobody_told_of_would_hide_it_for_a_day() -> None:
    assert show_late(tells=False)[0] == []
