"""The order in a queue: the key, the place, and what changes them."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scheduling import patients
from scheduling.models import Patient
from tests.waitlist import worlds
from tests.waitlist.worlds import DAY, HOUR, NOW, STAFF, World
from waitlist import entries, ranking, tasks
from waitlist.models import WaitlistEntry, WaitlistPolicy

TIMES = st.datetimes(
    min_value=datetime(1990, 1, 1),  # noqa: DTZ001
    max_value=datetime(2100, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)
WEIGHTS = st.fixed_dictionaries(
    {
        "ordering": st.sampled_from(WaitlistPolicy.Ordering.values),
        **{
            name: st.integers(0, 1000)
            for name in ("wait_per_day", "membership", "chronic", "short_window", "urgency")
        },
    }
)
WAITING = st.fixed_dictionaries(
    {
        "joined_at": TIMES,
        "urgency": st.integers(0, 3),
        "tier": st.integers(0, 3),
        "chronic": st.booleans(),
        # Around seven days, to the microsecond, and none.
        "window": st.none()
        | st.timedeltas(timedelta(days=1), timedelta(days=20))
        | st.sampled_from(
            [7 * DAY, 7 * DAY + timedelta.resolution, 7 * DAY - timedelta.resolution]
        ),
    }
)


def _load(world: World, waiting: list[dict[str, Any]]) -> list[WaitlistEntry]:
    """Put entries into a queue as they are, out of order and with wrong keys."""
    people = [
        Patient(
            id=uuid4(),
            tenant=world.tenant,
            name="x",
            tier=one["tier"],
            chronic_condition=one["chronic"],
        )
        for one in waiting
    ]
    Patient.objects.bulk_create(people)
    return WaitlistEntry.objects.bulk_create(
        WaitlistEntry(
            id=uuid4(),
            tenant=world.tenant,
            facility=world.facility,
            patient=patient,
            joined_at=one["joined_at"],
            latest=None if one["window"] is None else one["joined_at"] + one["window"],
            urgency=one["urgency"],
            expires_at=NOW + DAY,
            rank_key=0,
        )
        for one, patient in zip(waiting, people, strict=True)
    )


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(weights=WEIGHTS, waiting=st.lists(WAITING, min_size=8, max_size=8))
def test_python_and_sql_compute_the_same_key_to_the_last_bit(
    clinic: World, weights: dict[str, Any], waiting: list[dict[str, Any]]
) -> None:
    with transaction.atomic():
        WaitlistPolicy.objects.filter(facility=clinic.facility).update(**weights)
        loaded = _load(clinic, waiting)
        ranking.rerank(facility_ids=[clinic.facility.pk])
        policy = clinic.policy
        keys = dict(WaitlistEntry.objects.values_list("pk", "rank_key"))
        assert keys == {
            entry.pk: ranking.rank_key(entry=entry, policy=policy, patient=entry.patient)
            for entry in loaded
        }
        transaction.set_rollback(True)


def test_nothing_is_written_when_no_key_changes(clinic: World) -> None:
    entry = clinic.join()
    assert ranking.rerank(facility_ids=[clinic.facility.pk]) == 0
    assert WaitlistEntry.objects.get(pk=entry.pk).version == entry.version


@pytest.mark.parametrize(
    ("at", "days"),
    [
        (datetime(2000, 1, 1, tzinfo=UTC), 0.0),
        (datetime(2000, 1, 2, 12, tzinfo=UTC), 1.5),
        (datetime(1999, 12, 31, tzinfo=UTC), -1.0),
        (datetime(2000, 1, 2, 2, tzinfo=worlds.NOW.tzinfo) - 2 * HOUR, 1.0),
    ],
)
def test_days_are_counted_from_the_first_of_2000(at: datetime, days: float) -> None:
    assert ranking.days(at=at) == days


def test_each_term_counts_as_the_policy_weighs_it(clinic: World) -> None:
    plain = clinic.join(at=NOW)
    others = {
        "membership": clinic.join(at=NOW, patient=clinic.patient(tier=3)),
        "chronic": clinic.join(at=NOW, patient=clinic.patient(chronic_condition=True)),
        "short_window": clinic.join(at=NOW, latest=NOW + 7 * DAY),
        "urgency": clinic.join(at=NOW, urgency=2),
        "long_window": clinic.join(at=NOW, latest=NOW + 7 * DAY + timedelta.resolution),
        "day_earlier": clinic.join(at=NOW - DAY),
    }
    more = {name: round(entry.rank_key - plain.rank_key, 6) for name, entry in others.items()}
    assert more == {
        "membership": 6,
        "chronic": 3,
        "short_window": 1,
        "urgency": 10,
        "long_window": 0,
        "day_earlier": 1,
    }


def test_in_fifo_only_the_time_of_joining_counts(salon: World) -> None:
    salon.change(membership=100, chronic=100, short_window=100, urgency=100)
    late = salon.join(
        at=NOW,
        patient=salon.patient(tier=3, chronic_condition=True),
        urgency=3,
        latest=NOW + DAY,
    )
    early = salon.join(at=NOW - timedelta(seconds=1))
    assert early.rank_key > late.rank_key
    assert [ranking.position(entry=entry) for entry in (early, late)] == [1, 2]


def test_equal_keys_go_by_joining_then_by_id(clinic: World) -> None:
    clinic.change(wait_per_day=0)
    late = clinic.join(at=NOW)
    same = sorted((clinic.join(at=NOW - HOUR) for _ in range(3)), key=lambda entry: entry.pk)
    assert len({entry.rank_key for entry in [late, *same]}) == 1
    assert [ranking.position(entry=entry) for entry in [*same, late]] == [1, 2, 3, 4]


def test_a_larger_key_goes_before_an_earlier_joining(clinic: World) -> None:
    early = clinic.join(at=NOW - DAY)
    urgent = clinic.join(at=NOW, urgency=1)
    assert [ranking.position(entry=entry) for entry in (urgent, early)] == [1, 2]


def test_places_are_counted_for_one_service_of_one_facility(clinic: World) -> None:
    clinic.join(at=NOW - 3 * DAY)
    other = clinic.join(at=NOW - 2 * DAY, service_id=None)
    clinic.neighbour().join(at=NOW - 9 * DAY)
    third = clinic.join(at=NOW - DAY)
    without = clinic.join(at=NOW - HOUR, service_id=None)
    places = [ranking.position(entry=entry) for entry in (other, third, without)]
    assert places == [1, 2, 2]


def test_an_ended_entry_has_no_place_and_an_offered_one_keeps_its_own(clinic: World) -> None:
    first, second = clinic.join(at=NOW - 2 * DAY), clinic.join(at=NOW - DAY)
    hold = clinic.offer(entry=first)
    assert [ranking.position(entry=entry) for entry in (first, second)] == [1, 2]
    worlds.accept(hold)
    first.refresh_from_db()
    assert [ranking.position(entry=entry) for entry in (first, second)] == [None, 1]


def test_time_alone_changes_no_place(clinic: World) -> None:
    joined = [
        clinic.join(
            at=NOW - number * 7 * HOUR, urgency=number % 3, patient=clinic.patient(tier=tier)
        )
        for number, tier in enumerate([3, 0, 2, 1, 0, 3])
    ]
    policy = clinic.policy

    def order(at: datetime) -> list[Any]:
        scored = [
            (ranking.priority_score(entry=entry, policy=policy, now=at), entry.pk)
            for entry in joined
        ]
        return [pk for _, pk in sorted(scored, reverse=True)]

    assert order(NOW) == order(NOW + 30 * DAY) == order(NOW + 900 * DAY)


def test_what_people_see_grows_by_the_days_they_wait(clinic: World) -> None:
    clinic.change(wait_per_day=3)
    entry = clinic.join(at=NOW, urgency=1)
    policy = clinic.policy
    seen = [
        round(ranking.priority_score(entry=entry, policy=policy, now=NOW + days * DAY), 6)
        for days in (0, 1, 10)
    ]
    assert seen == [5, 8, 35]


def test_a_patients_new_tier_gives_a_new_place(clinic: World) -> None:
    first, second = clinic.join(at=NOW - 2 * DAY), clinic.join(at=NOW - DAY)
    assert second.patient_id is not None
    patients.update(patient_id=second.patient_id, changes={"tier": 2}, actor=STAFF, now=NOW)
    revision = clinic.queue.revision
    assert tasks.rerank_patient(str(second.patient_id)) == {"entries": 1}
    for entry in (first, second):
        entry.refresh_from_db()
    assert [ranking.position(entry=entry) for entry in (second, first)] == [1, 2]
    assert clinic.queue.revision == revision + 1


def test_a_patients_new_condition_counts_in_every_queue_and_for_nobody_else(clinic: World) -> None:
    other, patient = clinic.neighbour(), clinic.patient()
    here, there = clinic.join(patient=patient), other.join(patient=patient)
    nobody = clinic.join()
    patients.update(
        patient_id=patient.pk, changes={"chronic_condition": True}, actor=STAFF, now=NOW
    )
    assert tasks.rerank_patient(str(patient.pk)) == {"entries": 2}
    grown = []
    for entry in (here, there, nobody):
        before = entry.rank_key
        entry.refresh_from_db()
        grown.append(round(entry.rank_key - before, 6))
    assert grown == [3, 3, 0]


def test_the_daily_sweep_finds_what_a_lost_message_left(clinic: World) -> None:
    entry = clinic.join()
    assert entry.patient_id is not None
    patients.update(patient_id=entry.patient_id, changes={"tier": 1}, actor=STAFF, now=NOW)
    assert tasks.rerank_queues() == {"entries": 1}
    assert tasks.rerank_queues() == {"entries": 0}


def test_an_edit_changes_the_key_and_keeps_the_time_of_joining(clinic: World) -> None:
    entry = clinic.join(at=NOW - DAY)
    edited = entries.update(entry_id=entry.pk, wishes={"urgency": 2}, actor=STAFF, now=NOW)
    assert round(edited.rank_key - entry.rank_key, 6) == 10
    assert edited.joined_at == entry.joined_at


def test_who_declines_goes_back_to_the_same_place(clinic: World) -> None:
    first, second = clinic.join(at=NOW - 2 * DAY), clinic.join(at=NOW - DAY)
    worlds.decline(clinic.offer(entry=first))
    key, joined = first.rank_key, first.joined_at
    first.refresh_from_db()
    assert (first.status, first.rank_key, first.joined_at) == ("waiting", key, joined)
    assert [ranking.position(entry=entry) for entry in (first, second)] == [1, 2]


def test_a_rerank_of_one_queue_leaves_the_others(clinic: World) -> None:
    other = clinic.neighbour()
    here, there = clinic.join(), other.join()
    WaitlistEntry.objects.update(rank_key=1)
    assert ranking.rerank(facility_ids=[clinic.facility.pk]) == 1
    here.refresh_from_db()
    there.refresh_from_db()
    assert here.rank_key != 1
    assert there.rank_key == 1
