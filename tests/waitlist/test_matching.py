"""Choosing: against brute force, on plain data and on random worlds in the database."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any
from unittest import mock
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scheduling import models
from scheduling.models import Patient, Provider, Service
from tests import factories
from tests.waitlist import worlds
from tests.waitlist.worlds import DAY, HOUR, MINUTE, NOW, World
from waitlist import candidates, matching
from waitlist.fitting import Slot
from waitlist.matching import Candidate, Pair
from waitlist.models import Hold, WaitlistEntry

ZONE = ZoneInfo("Europe/London")


# Overlaps


@st.composite
def _slots(draw: st.DrawFn) -> list[Slot]:
    found = []
    for n in range(draw(st.integers(0, 10))):
        start = draw(st.integers(0, 12))
        found.append(
            Slot(
                id=f"{draw(st.integers(0, 2**32))} {n}",
                provider=draw(st.sampled_from("xy")),
                service=None,
                start=start,
                end=start + draw(st.integers(1, 5)),
                weekday="1",
                part_of_day="morning",
            )
        )
    return found


def _overlap(one: Slot, other: Slot) -> bool:
    return one.provider == other.provider and one.start < other.end and other.start < one.end


def _largest(slots: Sequence[Slot]) -> int:
    """Count the largest set of slots that do not overlap, by trying all."""
    if not slots:
        return 0
    first, *rest = slots
    return max(_largest(rest), 1 + _largest([one for one in rest if not _overlap(first, one)]))


def _kept(slots: Sequence[Slot], among: int) -> list[Slot]:
    return [
        slots[n] for n in matching.bits(slots=matching.reduce_overlaps(slots=slots, among=among))
    ]


@settings(max_examples=150, deadline=None)
@given(slots=_slots(), data=st.data())
def test_as_many_slots_stay_as_can_without_overlap(slots: list[Slot], data: st.DataObject) -> None:
    among = data.draw(st.integers(0, (1 << len(slots)) - 1))
    kept = _kept(slots, among)
    assert not any(_overlap(one, other) for n, one in enumerate(kept) for other in kept[n + 1 :])
    assert len(kept) == _largest([slots[n] for n in matching.bits(slots=among)])
    assert set(kept) <= {slots[n] for n in matching.bits(slots=among)}


@settings(max_examples=50, deadline=None)
@given(slots=_slots(), seed=st.randoms(use_true_random=False))
def test_what_stays_does_not_depend_on_the_order(slots: list[Slot], seed: Any) -> None:
    shuffled = list(slots)
    seed.shuffle(shuffled)
    among = (1 << len(slots)) - 1
    assert set(_kept(slots, among)) == set(_kept(shuffled, among))


@settings(max_examples=150, deadline=None)
@given(slots=_slots(), data=st.data())
def test_what_is_sure_stays_whatever_else_is_fitted(slots: list[Slot], data: st.DataObject) -> None:
    sure = set(matching.find_sure(slots=slots))
    assert bool(sure) == bool(slots)
    among = data.draw(st.integers(0, (1 << len(slots)) - 1))
    fitted = {slots[n] for n in matching.bits(slots=among)}
    assert sure & fitted <= set(_kept(slots, among))


# Choices, against brute force

SCORES = (50, 60, 70, 100)
#: By (candidate, slot): the score, or none.
Scores = dict[tuple[int, int], int]


@dataclass(frozen=True)
class Case:
    """Up to seven requesters with up to nine entries, and up to seven slots, some of them free."""

    candidates: list[Candidate]
    free: int

    @property
    def scores(self) -> Scores:
        """The score of each pair that exists."""
        return {
            (n, slot): score
            for n, candidate in enumerate(self.candidates)
            for score, slots in candidate.levels
            for slot in matching.bits(slots=slots & self.free)
        }

    @property
    def order(self) -> list[str]:
        """The requesters, each where their first entry is that fits a free slot."""
        return list(dict.fromkeys(self.candidates[n].requester for n, _ in sorted(self.scores)))


def _case(random: Random) -> Case:
    """Make a case; few scores and few people, so that ties and rivals abound."""
    slots = random.randint(0, 7)
    requesters = random.randint(1, 7)
    density = random.choice((0.15, 0.4, 0.8))
    scores = random.choice((SCORES, SCORES[:2], SCORES[:1]))
    found = []
    for n in range(random.randint(0, 9)):
        levels: dict[int, int] = {}
        for slot in range(slots):
            if random.random() < density:
                score = random.choice(scores)
                levels[score] = levels.get(score, 0) | 1 << slot
        requester = f"requester {random.randrange(requesters)}"
        found.append(Candidate(f"entry {n}", 1, requester, sorted(levels.items(), reverse=True)))
    return Case(found, random.getrandbits(slots) if slots else 0)


@pytest.fixture(params=range(5))
def cases(request: pytest.FixtureRequest) -> list[Case]:
    """A thousand cases, the same in every run."""
    random = Random(request.param)
    return [_case(random) for _ in range(1000)]


def _one_by_one(case: Case) -> list[Pair]:
    """Take the best pair that is left, then strike out its slot and its requester, and again."""
    left = dict(case.scores)
    taken = []
    while left:
        n, slot = min(left, key=lambda pair: (-left[pair], *pair))
        taken.append(Pair(slot, n, left[n, slot]))
        requester = case.candidates[n].requester
        left = {
            pair: score
            for pair, score in left.items()
            if pair[1] != slot and case.candidates[pair[0]].requester != requester
        }
    return taken


def test_pairs_are_taken_one_by_one_the_best_first(cases: list[Case]) -> None:
    for case in cases:
        chosen = matching.best_score(candidates=case.candidates, slots=case.free)
        assert chosen == _one_by_one(case)


def _assignments(rows: Sequence[dict[int, int]], free: int) -> Iterator[int]:
    """Give the total of each way in which all rows get a slot."""
    if not rows:
        yield 0
        return
    first, *rest = rows
    for slot, score in first.items():
        if free >> slot & 1:
            for total in _assignments(rest, free & ~(1 << slot)):
                yield score + total


def test_max_fill_serves_the_best_by_order_at_the_highest_total(cases: list[Case]) -> None:
    for case in cases:
        rows: dict[str, dict[int, int]] = {}
        for (n, slot), score in case.scores.items():
            row = rows.setdefault(case.candidates[n].requester, {})
            row[slot] = max(score, row.get(slot, 0))
        served: list[str] = []
        for requester in case.order:
            wanted = [rows.get(one, {}) for one in (*served, requester)]
            if any(True for _ in _assignments(wanted, case.free)):
                served.append(requester)
        best = max(_assignments([rows[one] for one in served], case.free))
        chosen = matching.max_fill(candidates=case.candidates, slots=case.free)
        assert [case.candidates[pair.candidate].requester for pair in chosen] == served
        assert sum(pair.score for pair in chosen) == best
        assert len({pair.slot for pair in chosen}) == len(chosen)
        for pair in chosen:
            assert case.scores[pair.candidate, pair.slot] == pair.score
        assert chosen == matching.max_fill(candidates=case.candidates, slots=case.free)


def _first_ones(case: Case, *, by_score: bool) -> list[Candidate]:
    """Leave each slot its first requesters, as many as slots, and drop who is among none's."""
    scores, count, order = case.scores, case.free.bit_count(), case.order
    kept: set[str] = set()
    for slot in matching.bits(slots=case.free):
        mine = [n for n, other in scores if other == slot]
        if by_score:
            mine.sort(key=lambda n: (-scores[n, slot], n))
        else:
            mine.sort(key=lambda n: order.index(case.candidates[n].requester))
        firsts = list(dict.fromkeys(case.candidates[n].requester for n in mine))[:count]
        kept |= {case.candidates[n].entry for n in mine if case.candidates[n].requester in firsts}
    return [one for one in case.candidates if one.entry in kept]


@pytest.mark.parametrize(
    ("way", "by_score"), [(matching.best_score, True), (matching.max_fill, False)]
)
def test_the_first_requesters_of_each_slot_are_all_it_needs(
    cases: list[Case], way: Callable[..., list[Pair]], by_score: bool
) -> None:
    for case in cases:
        few = _first_ones(case, by_score=by_score)
        chosen = way(candidates=case.candidates, slots=case.free)
        among_few = way(candidates=few, slots=case.free)
        served = [case.candidates[pair.candidate].requester for pair in chosen]
        assert [few[pair.candidate].requester for pair in among_few] == served
        assert sum(pair.score for pair in among_few) == sum(pair.score for pair in chosen)
        if by_score:
            entries = [(pair.slot, case.candidates[pair.candidate].entry) for pair in chosen]
            assert [(pair.slot, few[pair.candidate].entry) for pair in among_few] == entries


# Random worlds in the database

HOURS = st.integers(0, 40)
WISHES = st.fixed_dictionaries(
    {
        "patient": st.integers(0, 8),
        "here": st.booleans(),
        "any_facility": st.booleans(),
        "provider": st.sampled_from([None, 0, 1]),
        "provider_required": st.booleans(),
        "service": st.sampled_from([None, 0, 1]),
        "preferred_days": st.sampled_from([[], [], [2], [3, 4], [1, 2, 3, 4, 5]]),
        "preferred_time": st.sampled_from(["any", "any", "morning", "afternoon", "evening"]),
        "earliest": st.none() | HOURS,
        "latest": st.none() | HOURS,
        "rank_key": st.sampled_from([-2.0, -1.0, 0.0, 1.0]),
        "joined": st.integers(0, 3),
        "offers_made": st.sampled_from([0, 0, 1]),
    }
)
OPENINGS = st.fixed_dictionaries(
    {
        "provider": st.integers(0, 1),
        "service": st.sampled_from([None, 0, 1]),
        "start": HOURS,
        "minutes": st.sampled_from([30, 60, 120]),
    }
)
POLICIES = st.fixed_dictionaries(
    {
        "min_match_score": st.sampled_from([0, 50, 60, 90]),
        "max_offers_per_entry": st.sampled_from([None, None, 1]),
        "matching": st.sampled_from(["best_score", "max_fill"]),
        "weights": st.sampled_from([(40, 30, 20, 10), (25, 25, 25, 25), (100, 0, 0, 0)]),
    }
)


def _load(
    world: World,
    waiting: list[dict[str, Any]],
    openings: list[dict[str, Any]],
    random: Random,
) -> tuple[list[WaitlistEntry], list[models.Slot]]:
    def new() -> UUID:  # of the case, since ids decide ties
        return UUID(int=random.getrandbits(128), version=4)

    providers = [world.provider, Provider(id=new(), tenant=world.tenant, name="y")]
    providers[1].save(force_insert=True)
    services = [
        Service(id=new(), tenant=world.tenant, name=f"of {minutes}", duration=minutes * MINUTE)
        for minutes in (30, 60)
    ]
    Service.objects.bulk_create(services)
    elsewhere = factories.FacilityFactory.create(tenant=world.tenant)
    people = [Patient(id=new(), tenant=world.tenant, name="x") for _ in range(9)]
    Patient.objects.bulk_create(people)
    entries: dict[tuple[Any, ...], WaitlistEntry] = {}
    for one in waiting:
        facility = world.facility if one["here"] else elsewhere
        earliest, latest = (
            None if one[name] is None else NOW + one[name] * HOUR for name in ("earliest", "latest")
        )
        provider = None if one["provider"] is None else providers[one["provider"]]
        entry = WaitlistEntry(
            id=new(),
            tenant=world.tenant,
            facility=facility,
            patient=people[one["patient"]],
            provider=provider,
            provider_required=one["provider_required"] and provider is not None,
            service=None if one["service"] is None else services[one["service"]],
            any_facility=one["any_facility"],
            preferred_days=one["preferred_days"],
            preferred_time=one["preferred_time"],
            earliest=None if earliest and latest and latest <= earliest else earliest,
            latest=latest,
            rank_key=one["rank_key"],
            joined_at=NOW - one["joined"] * HOUR,
            offers_made=one["offers_made"],
            expires_at=NOW + 90 * DAY,
        )
        entries.setdefault((facility.pk, entry.patient_id, entry.provider_id), entry)
    WaitlistEntry.objects.bulk_create(entries.values())
    slots: dict[tuple[Any, ...], models.Slot] = {}
    for one in openings:
        slot = models.Slot(
            id=new(),
            tenant=world.tenant,
            facility=world.facility,
            provider=providers[one["provider"]],
            service=None if one["service"] is None else services[one["service"]],
            period=worlds.period(NOW + one["start"] * HOUR, one["minutes"]),
        )
        slots.setdefault(
            (slot.provider_id, slot.service_id, slot.period.lower, slot.period.upper), slot
        )
    models.Slot.objects.bulk_create(slots.values())
    return list(entries.values()), list(slots.values())


def _fits(world: World, slot: models.Slot, entry: WaitlistEntry) -> bool:
    """Ask domain.md's rules, one by one."""
    policy = world.policy
    start, end = slot.period.lower, slot.period.upper
    service = entry.service or slot.service
    return (
        (entry.facility_id == world.facility.pk or entry.any_facility)
        and (entry.service is None or slot.service is None or entry.service == slot.service)
        and (service is None or service.duration <= end - start)
        and (not entry.provider_required or entry.provider_id == slot.provider_id)
        and (entry.earliest is None or entry.earliest <= start)
        and (entry.latest is None or end <= entry.latest)
        and start > NOW + policy.min_notice
        and start - policy.min_notice - NOW >= policy.min_hold
        and start <= NOW + policy.look_ahead
        and (
            entry.facility_id != world.facility.pk
            or policy.max_offers_per_entry is None
            or entry.offers_made < policy.max_offers_per_entry
        )
    )


def _score(world: World, slot: models.Slot, entry: WaitlistEntry) -> int:
    policy, local = world.policy, slot.period.lower.astimezone(ZONE)
    part = "morning" if local.hour < 12 else "afternoon" if local.hour < 17 else "evening"
    days = entry.preferred_days == [] or local.isoweekday() in entry.preferred_days
    return (
        policy.match_provider * (entry.provider_id in (None, slot.provider_id))
        + policy.match_location * (entry.facility_id == world.facility.pk)
        + policy.match_service
        + policy.match_days * (days and entry.preferred_time in ("any", part))
    )


def _place(world: World, entry: WaitlistEntry) -> tuple[bool, float, datetime, UUID]:
    visitor = entry.facility_id != world.facility.pk
    return visitor, 0 if visitor else -entry.rank_key, entry.joined_at, entry.pk


def _brute_force(
    world: World, slots: list[models.Slot], entries: list[WaitlistEntry]
) -> tuple[list[models.Slot], Case, list[WaitlistEntry]]:
    """Ask every pair: the slots by start, the case that they make, and the entries in its order."""
    order = sorted(entries, key=lambda entry: _place(world, entry))
    slots = sorted(slots, key=lambda slot: (slot.period.lower, slot.pk))
    found, fitting = [], 0
    for entry in order:
        levels: dict[int, int] = {}
        for n, slot in enumerate(slots):
            score = _score(world, slot, entry)
            if _fits(world, slot, entry) and score >= world.policy.min_match_score:
                levels[score] = levels.get(score, 0) | 1 << n
                fitting |= 1 << n
        assert entry.patient_id is not None
        found.append(
            Candidate(str(entry.pk), 1, str(entry.patient_id), sorted(levels.items(), reverse=True))
        )
    wanted: list[models.Slot] = []
    for slot in sorted(
        (slots[n] for n in matching.bits(slots=fitting)),
        key=lambda slot: (slot.period.upper, slot.pk),
    ):
        if not any(
            slot.provider_id == other.provider_id
            and slot.period.lower < other.period.upper
            and other.period.lower < slot.period.upper
            for other in wanted
        ):
            wanted.append(slot)
    free = sum(1 << n for n, slot in enumerate(slots) if slot in wanted)
    return slots, Case(found, free), order


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    policy=POLICIES,
    waiting=st.lists(WISHES, max_size=14),
    openings=st.lists(OPENINGS, min_size=1, max_size=6),
    walks=st.booleans(),
    random=st.randoms(use_true_random=True),
)
def test_a_pass_offers_what_brute_force_offers(
    clinic: World,
    policy: dict[str, Any],
    waiting: list[dict[str, Any]],
    openings: list[dict[str, Any]],
    walks: bool,
    random: Random,
) -> None:
    """All pairs are tried there; the pass may walk to each slot's first requesters instead."""
    few: dict[str, Any] = {"WALKED": 6, "HEAD": 0, "LEAST": 0} if walks else {"WALKED": 0}
    with transaction.atomic(), mock.patch.multiple(candidates, **few):
        provider, location, service, days = policy["weights"]
        type(clinic.policy).objects.filter(facility=clinic.facility).update(
            min_match_score=policy["min_match_score"],
            max_offers_per_entry=policy["max_offers_per_entry"],
            matching=policy["matching"],
            match_provider=provider,
            match_location=location,
            match_service=service,
            match_days=days,
        )
        entries, rows = _load(clinic, waiting, openings, random)
        slots, case, order = _brute_force(clinic, rows, entries)
        if policy["matching"] == "best_score":
            expected = {
                (slots[slot].pk, order[n].pk, score) for slot, n, score in _one_by_one(case)
            }
        else:
            expected = {
                (slots[slot].pk, order[n].pk, score)
                for slot, n, score in matching.max_fill(candidates=case.candidates, slots=case.free)
            }
        filled = clinic.fill()
        offered = set(Hold.objects.values_list("slot", "entry", "score"))
        if policy["matching"] == "best_score":
            assert offered == expected
        else:  # which of the best assignments it is may hang on whom it looked at
            people = {entry.pk: entry.patient_id for entry in order}
            assert {people[entry] for _, entry, _ in offered} == {
                people[entry] for _, entry, _ in expected
            }
            assert sum(score for *_, score in offered) == sum(score for *_, score in expected)
        assert (filled.offers, filled.clashes) == (len(expected), 0)
        transaction.set_rollback(True)


def test_a_slot_of_many_takes_whom_the_others_leave(clinic: World) -> None:
    """Each slot looks at as many requesters as there are slots: the best may go elsewhere."""
    slots = [clinic.slot(at=NOW + DAY + n * HOUR) for n in range(6)]
    waiting = [clinic.join(at=NOW - timedelta(hours=20 - n)) for n in range(9)]
    clinic.fill()
    assert worlds.offered() == {
        (slot.pk, entry.pk) for slot, entry in zip(slots, waiting, strict=False)
    }
