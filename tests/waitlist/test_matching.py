"""Choosing: against brute force, on plain data and on random worlds in the database."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scheduling.models import Patient, Provider, Service, Slot
from tests import factories
from tests.waitlist import worlds
from tests.waitlist.worlds import DAY, HOUR, MINUTE, NOW, World
from waitlist import matching
from waitlist.models import Hold, WaitlistEntry

ZONE = ZoneInfo("Europe/London")


# Overlaps


@st.composite
def _slots(draw: st.DrawFn) -> list[matching.Slot]:
    found = []
    for _ in range(draw(st.integers(0, 10))):
        start = draw(st.integers(0, 12))
        found.append(
            matching.Slot(
                id=UUID(int=draw(st.integers(0, 2**32))),
                provider_id=UUID(int=draw(st.integers(0, 1))),
                start=NOW + start * HOUR,
                end=NOW + (start + draw(st.integers(1, 5))) * HOUR,
            )
        )
    return found


def _overlap(one: matching.Slot, other: matching.Slot) -> bool:
    return one.provider_id == other.provider_id and one.start < other.end and other.start < one.end


def _largest(slots: Sequence[matching.Slot]) -> int:
    """Count the largest set of slots that do not overlap, by trying all."""
    if not slots:
        return 0
    first, *rest = slots
    return max(_largest(rest), 1 + _largest([one for one in rest if not _overlap(first, one)]))


@settings(max_examples=150, deadline=None)
@given(slots=_slots())
def test_as_many_slots_stay_as_can_without_overlap(slots: list[matching.Slot]) -> None:
    kept = matching.reduce_overlaps(slots=slots)
    assert not any(_overlap(one, other) for n, one in enumerate(kept) for other in kept[n + 1 :])
    assert len(kept) == _largest(slots)
    assert set(kept) <= set(slots)


@settings(max_examples=50, deadline=None)
@given(slots=_slots(), seed=st.randoms(use_true_random=False))
def test_what_stays_does_not_depend_on_the_order(slots: list[matching.Slot], seed: Any) -> None:
    shuffled = list(slots)
    seed.shuffle(shuffled)
    kept = [matching.reduce_overlaps(slots=some) for some in (slots, shuffled)]
    assert [(one.end, one.id) for one in kept[0]] == [(one.end, one.id) for one in kept[1]]


# Pairs


PAIRS = st.lists(
    st.builds(
        matching.Pair,
        slot_id=st.integers(0, 5).map(lambda n: UUID(int=n)),
        entry_id=st.integers(0, 7).map(lambda n: UUID(int=100 + n)),
        requester_id=st.integers(0, 4).map(lambda n: UUID(int=200 + n)),
        score=st.sampled_from([50, 60, 70, 100]),
        place=st.integers(1, 8),
    ),
    max_size=30,
)


def _one_by_one(
    slots: Sequence[matching.Slot], pairs: Iterable[matching.Pair]
) -> list[matching.Pair]:
    """Take the best pair that is left, then strike out its slot and its requester, and again."""
    start = {slot.id: slot.start for slot in slots}
    left = [pair for pair in pairs if pair.slot_id in start]
    taken = []
    while left:
        best = min(
            left, key=lambda pair: (-pair.score, pair.place, start[pair.slot_id], pair.slot_id)
        )
        taken.append(best)
        left = [
            pair
            for pair in left
            if pair.slot_id != best.slot_id and pair.requester_id != best.requester_id
        ]
    return taken


@settings(max_examples=150, deadline=None)
@given(pairs=PAIRS, starts=st.lists(st.integers(0, 3), min_size=5, max_size=5))
def test_pairs_are_taken_one_by_one_the_best_first(
    pairs: list[matching.Pair], starts: list[int]
) -> None:
    slots = [
        matching.Slot(UUID(int=n), UUID(int=n), NOW + start * HOUR, NOW + (start + 1) * HOUR)
        for n, start in enumerate(starts)
    ]
    chosen = matching.best_score(slots=slots, pairs=pairs)
    assert chosen == _one_by_one(slots, pairs)
    assert len({pair.slot_id for pair in chosen}) == len(chosen)
    assert len({pair.requester_id for pair in chosen}) == len(chosen)


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
        "weights": st.sampled_from([(40, 30, 20, 10), (25, 25, 25, 25), (100, 0, 0, 0)]),
    }
)


def _load(
    world: World, waiting: list[dict[str, Any]], openings: list[dict[str, Any]]
) -> tuple[list[WaitlistEntry], list[Slot]]:
    providers = [world.provider, Provider(id=uuid4(), tenant=world.tenant, name="y")]
    providers[1].save(force_insert=True)
    services = [
        Service(id=uuid4(), tenant=world.tenant, name=f"of {minutes}", duration=minutes * MINUTE)
        for minutes in (30, 60)
    ]
    Service.objects.bulk_create(services)
    elsewhere = factories.FacilityFactory.create(tenant=world.tenant)
    people = [Patient(id=uuid4(), tenant=world.tenant, name="x") for _ in range(9)]
    Patient.objects.bulk_create(people)
    entries: dict[tuple[Any, ...], WaitlistEntry] = {}
    for one in waiting:
        facility = world.facility if one["here"] else elsewhere
        earliest, latest = (
            None if one[name] is None else NOW + one[name] * HOUR for name in ("earliest", "latest")
        )
        provider = None if one["provider"] is None else providers[one["provider"]]
        entry = WaitlistEntry(
            id=uuid4(),
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
    slots: dict[tuple[Any, ...], Slot] = {}
    for one in openings:
        slot = Slot(
            id=uuid4(),
            tenant=world.tenant,
            facility=world.facility,
            provider=providers[one["provider"]],
            service=None if one["service"] is None else services[one["service"]],
            period=worlds.period(NOW + one["start"] * HOUR, one["minutes"]),
        )
        slots.setdefault(
            (slot.provider_id, slot.service_id, slot.period.lower, slot.period.upper), slot
        )
    Slot.objects.bulk_create(slots.values())
    return list(entries.values()), list(slots.values())


def _fits(world: World, slot: Slot, entry: WaitlistEntry) -> bool:
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


def _score(world: World, slot: Slot, entry: WaitlistEntry) -> int:
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


def _expected(
    world: World, slots: list[Slot], entries: list[WaitlistEntry]
) -> set[tuple[UUID, UUID, int]]:
    """Fill by brute force: all pairs, the best first."""
    order = sorted(entries, key=lambda entry: _place(world, entry))
    pairs = [
        matching.Pair(slot.pk, entry.pk, entry.patient_id, score, place)
        for slot in slots
        for place, entry in enumerate(order)
        if entry.patient_id is not None
        and _fits(world, slot, entry)
        and (score := _score(world, slot, entry)) >= world.policy.min_match_score
    ]
    fitting = [
        matching.Slot(slot.pk, slot.provider_id, slot.period.lower, slot.period.upper)
        for slot in slots
        if any(pair.slot_id == slot.pk for pair in pairs)
    ]
    wanted: list[matching.Slot] = []
    for slot in sorted(fitting, key=lambda slot: (slot.end, slot.id)):
        if not any(_overlap(slot, other) for other in wanted):
            wanted.append(slot)
    return {(pair.slot_id, pair.entry_id, pair.score) for pair in _one_by_one(wanted, pairs)}


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    policy=POLICIES,
    waiting=st.lists(WISHES, max_size=14),
    openings=st.lists(OPENINGS, min_size=1, max_size=6),
)
def test_a_pass_offers_what_brute_force_offers(
    clinic: World,
    policy: dict[str, Any],
    waiting: list[dict[str, Any]],
    openings: list[dict[str, Any]],
) -> None:
    """All pairs are tried there; the pass looks at no more requesters per slot than slots."""
    with transaction.atomic():
        provider, location, service, days = policy["weights"]
        type(clinic.policy).objects.filter(facility=clinic.facility).update(
            min_match_score=policy["min_match_score"],
            max_offers_per_entry=policy["max_offers_per_entry"],
            match_provider=provider,
            match_location=location,
            match_service=service,
            match_days=days,
        )
        entries, slots = _load(clinic, waiting, openings)
        expected = _expected(clinic, slots, entries)
        filled = clinic.fill()
        offered = set(Hold.objects.values_list("slot", "entry", "score"))
        assert offered == expected
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
