"""How well an entry fits a slot: each weight counts when its match is there, and not otherwise."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from scheduling.models import Slot
from tests import factories
from tests.waitlist import worlds
from tests.waitlist.worlds import DAY, HOUR, NOW, World
from waitlist import candidates, fill
from waitlist.models import Hold, WaitlistEntry, WaitlistPolicy

PROVIDER, LOCATION, SERVICE, DAYS = 40, 30, 20, 10
EVERYTHING = PROVIDER + LOCATION + SERVICE + DAYS
MONDAY, TUESDAY, SATURDAY, SUNDAY = 1, 2, 6, 7


def _score(slot: Slot, entry: WaitlistEntry, *, now: datetime = NOW) -> int | None:
    policy = WaitlistPolicy.objects.select_related("facility").get(facility=slot.facility_id)
    board = candidates.board(
        slots=fill.load_slots(slot_ids=[str(slot.pk)], policy=policy), policy=policy
    )
    found = candidates.find(board=board, policy=policy, now=now, entries=[str(entry.pk)])
    return found[0].levels[0][0] if found else None


@pytest.fixture
def lenient(clinic: World) -> World:
    """A clinic at which any score will do."""
    clinic.change(min_match_score=0)
    return clinic


def test_no_wish_counts_as_a_match(lenient: World) -> None:
    assert _score(lenient.slot(), lenient.join()) == EVERYTHING


def test_the_wished_provider_matches_and_another_does_not(lenient: World) -> None:
    colleague = factories.ProviderFactory.create(
        tenant=lenient.tenant, facilities=[lenient.facility]
    )
    entry = lenient.join(provider_id=lenient.provider.pk)
    assert _score(lenient.slot(), entry) == EVERYTHING
    assert _score(lenient.slot(provider=colleague), entry) == EVERYTHING - PROVIDER


def test_a_slot_away_from_the_entrys_facility_misses_the_location(lenient: World) -> None:
    entry = lenient.neighbour().join(service_id=None, any_facility=True)
    assert _score(lenient.slot(), entry) == EVERYTHING - LOCATION


def test_a_service_that_fits_counts_whoever_names_it(lenient: World) -> None:
    named, open_to_all = lenient.join(), lenient.join(service_id=None)
    for slot in (lenient.slot(), lenient.slot(at=NOW + 2 * DAY, service=None)):
        assert _score(slot, named) == _score(slot, open_to_all) == EVERYTHING


def test_weights_are_those_of_the_slots_facility(clinic: World) -> None:
    clinic.change(match_provider=5, match_location=15, match_service=25, match_days=55)
    own = clinic.neighbour()
    colleague = own.provider
    entry = own.join(
        service_id=None, any_facility=True, provider_id=colleague.pk, preferred_days=[MONDAY]
    )
    clinic.change(min_match_score=0)
    assert _score(clinic.slot(at=NOW + DAY), entry) == 25
    assert _score(clinic.slot(at=NOW + 7 * DAY), entry) == 25 + 55
    assert _score(clinic.slot(at=NOW + 7 * DAY, provider=colleague), entry) == 25 + 55 + 5


def test_no_match_at_all_still_has_the_service(lenient: World) -> None:
    own = lenient.neighbour()
    entry = own.join(
        service_id=None, any_facility=True, provider_id=own.provider.pk, preferred_days=[SUNDAY]
    )
    assert _score(lenient.slot(), entry) == SERVICE


# Weekday and part of the day, local


@pytest.mark.parametrize(
    ("zone", "start", "weekday", "part"),
    [
        # Local midnight is not that of UTC: west of it, east of it, and at the edge.
        ("America/New_York", datetime(2030, 3, 5, 2, tzinfo=UTC), MONDAY, "evening"),
        ("America/New_York", datetime(2030, 3, 5, 4, 59, tzinfo=UTC), MONDAY, "evening"),
        ("America/New_York", datetime(2030, 3, 5, 5, tzinfo=UTC), TUESDAY, "morning"),
        ("Pacific/Auckland", datetime(2030, 3, 11, 11, tzinfo=UTC), TUESDAY, "morning"),
        ("Pacific/Auckland", datetime(2030, 3, 11, 10, 59, tzinfo=UTC), MONDAY, "evening"),
        ("Asia/Kathmandu", datetime(2030, 3, 10, 18, 15, tzinfo=UTC), MONDAY, "morning"),
        ("Asia/Kathmandu", datetime(2030, 3, 10, 18, 14, tzinfo=UTC), SUNDAY, "evening"),
        # The parts of the day begin at noon and at 17:00.
        ("Europe/London", datetime(2030, 3, 5, 11, 59, 59, tzinfo=UTC), TUESDAY, "morning"),
        ("Europe/London", datetime(2030, 3, 5, 12, tzinfo=UTC), TUESDAY, "afternoon"),
        ("Europe/London", datetime(2030, 3, 5, 16, 59, 59, tzinfo=UTC), TUESDAY, "afternoon"),
        ("Europe/London", datetime(2030, 3, 5, 17, tzinfo=UTC), TUESDAY, "evening"),
        # Noon comes an hour earlier in UTC from the day on which the clocks change.
        ("Europe/London", datetime(2030, 3, 30, 11, 30, tzinfo=UTC), SATURDAY, "morning"),
        ("Europe/London", datetime(2030, 3, 31, 11, 30, tzinfo=UTC), SUNDAY, "afternoon"),
        ("Europe/London", datetime(2030, 3, 31, 0, 30, tzinfo=UTC), SUNDAY, "morning"),
        ("Europe/London", datetime(2030, 3, 31, 23, 30, tzinfo=UTC), MONDAY, "morning"),
        ("Europe/London", datetime(2030, 10, 26, 23, 30, tzinfo=UTC), SUNDAY, "morning"),
        ("Europe/London", datetime(2030, 10, 27, 23, 30, tzinfo=UTC), SUNDAY, "evening"),
        ("America/New_York", datetime(2030, 3, 10, 16, 30, tzinfo=UTC), SUNDAY, "afternoon"),
        ("America/New_York", datetime(2030, 3, 9, 16, 30, tzinfo=UTC), SATURDAY, "morning"),
    ],
)
def test_days_are_the_facilitys_own(
    db: None, zone: str, start: datetime, weekday: int, part: str
) -> None:
    world = worlds.build(timezone=zone)
    slot = world.slot(at=start)
    wishes: dict[str, dict[str, Any]] = {
        "that day": {"preferred_days": [weekday]},
        "that part": {"preferred_time": part},
        "both": {"preferred_days": [weekday], "preferred_time": part},
        "the other days": {"preferred_days": sorted({1, 2, 3, 4, 5, 6, 7} - {weekday})},
        "another part": {"preferred_time": "morning" if part != "morning" else "evening"},
        "only the day": {
            "preferred_days": [weekday],
            "preferred_time": "afternoon" if part != "afternoon" else "evening",
        },
        "only the part": {"preferred_days": [weekday % 7 + 1], "preferred_time": part},
    }
    joined, now = start - 2 * DAY, start - DAY
    scores = {
        name: _score(slot, world.join(at=joined, **wish), now=now) for name, wish in wishes.items()
    }
    assert scores == {
        "that day": EVERYTHING,
        "that part": EVERYTHING,
        "both": EVERYTHING,
        "the other days": EVERYTHING - DAYS,
        "another part": EVERYTHING - DAYS,
        "only the day": EVERYTHING - DAYS,
        "only the part": EVERYTHING - DAYS,
    }


def test_a_visitors_days_are_those_of_the_slots_facility(db: None) -> None:
    here = worlds.build(timezone="America/New_York")
    there = here.neighbour(timezone="Pacific/Auckland")
    entry = there.join(
        service_id=None, any_facility=True, preferred_days=[MONDAY], preferred_time="evening"
    )
    slot = here.slot(at=datetime(2030, 3, 5, 2, tzinfo=UTC))
    assert _score(slot, entry) == EVERYTHING - LOCATION


# The least score, and who comes first


@pytest.mark.parametrize(("least", "fits"), [(70, True), (71, False)])
def test_a_pair_below_the_least_score_does_not_exist(clinic: World, least: int, fits: bool) -> None:
    clinic.change(min_match_score=least)
    entry = clinic.neighbour().join(service_id=None, any_facility=True)
    slot = clinic.slot()
    assert (_score(slot, entry) is not None) == fits
    assert clinic.fill().offers == fits


def _served(world: World, waiting: Sequence[WaitlistEntry]) -> list[WaitlistEntry]:
    """Offer one slot after another, each to who comes first."""
    order = []
    for number in range(len(waiting)):
        slot = world.slot(at=NOW + DAY + number * HOUR)
        assert world.fill().offers == 1
        [hold] = Hold.objects.filter(slot=slot)
        order.append(next(entry for entry in waiting if entry.pk == hold.entry_id))
    return order


def test_a_better_score_goes_before_a_longer_wait(clinic: World) -> None:
    long = clinic.join(at=NOW - 9 * DAY, preferred_days=[SUNDAY])
    short = clinic.join(at=NOW - DAY)
    assert _served(clinic, [long, short]) == [short, long]


def test_among_equal_scores_the_order_of_the_queue_decides(clinic: World) -> None:
    waiting = [clinic.join(at=NOW - number * DAY, urgency=number % 2) for number in (3, 1, 4, 2)]
    expected = sorted(waiting, key=lambda entry: -entry.rank_key)
    assert _served(clinic, waiting) == expected


def test_among_equal_keys_joining_decides_then_the_id(clinic: World) -> None:
    clinic.change(wait_per_day=0)
    late = clinic.join(at=NOW - DAY)
    early = clinic.join(at=NOW - 2 * DAY)
    twins = sorted((clinic.join(at=NOW - 3 * DAY) for _ in range(2)), key=lambda entry: entry.pk)
    assert _served(clinic, [late, early, *twins]) == [*twins, early, late]


def test_people_of_the_facility_go_before_visitors_of_the_same_score(clinic: World) -> None:
    clinic.change(match_provider=70, match_location=0)
    own = clinic.neighbour()
    first = own.join(service_id=None, any_facility=True, at=NOW - 9 * DAY, urgency=3)
    second = own.join(service_id=None, any_facility=True, at=NOW - 8 * DAY)
    local = clinic.join(at=NOW - HOUR)
    assert _served(clinic, [first, second, local]) == [local, first, second]


def test_visitors_go_by_joining_whatever_their_key(clinic: World) -> None:
    one, other = clinic.neighbour(), clinic.neighbour()
    other.change(wait_per_day=500)
    late = one.join(service_id=None, any_facility=True, at=NOW - DAY, urgency=3)
    early = other.join(service_id=None, any_facility=True, at=NOW - 2 * DAY)
    assert late.rank_key > early.rank_key
    assert _served(clinic, [late, early]) == [early, late]


def test_a_visitor_of_a_better_score_goes_before_people_of_the_facility(clinic: World) -> None:
    local = clinic.join(provider_id=clinic.provider.pk, preferred_days=[SUNDAY])
    local_elsewhere = clinic.join(
        provider_id=factories.ProviderFactory.create(
            tenant=clinic.tenant, facilities=[clinic.facility]
        ).pk
    )
    visitor = clinic.neighbour().join(service_id=None, any_facility=True)
    assert _served(clinic, [local, local_elsewhere, visitor]) == [local, visitor, local_elsewhere]


def test_in_one_pass_people_of_the_facility_choose_before_visitors(clinic: World) -> None:
    clinic.change(match_provider=70, match_location=0)
    visitor = clinic.neighbour().join(service_id=None, any_facility=True, at=NOW - 9 * DAY)
    local = clinic.join(at=NOW - HOUR)
    first, second = clinic.slot(at=NOW + DAY), clinic.slot(at=NOW + 2 * DAY)
    clinic.fill()
    assert worlds.offered() == {(first.pk, local.pk), (second.pk, visitor.pk)}


def test_of_a_patients_entries_the_one_that_fits_best_is_offered(clinic: World) -> None:
    colleague = factories.ProviderFactory.create(tenant=clinic.tenant, facilities=[clinic.facility])
    patient = clinic.patient()
    local = clinic.join(patient=patient, provider_id=colleague.pk)
    visitor = clinic.neighbour().join(patient=patient, service_id=None, any_facility=True)
    slot = clinic.slot()
    assert (_score(slot, local), _score(slot, visitor)) == (60, 70)
    clinic.fill()
    assert worlds.offered() == {(slot.pk, visitor.pk)}
