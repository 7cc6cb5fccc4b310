"""Races to a queue: its caps, its one entry for each, and its order while the policy changes."""

from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import pytest

from audit import events
from config import testing
from scheduling.models import Facility, Patient
from tests.races import race, sabotage, scene
from waitlist import entries, invariants, policies, ranking, tasks
from waitlist.models import Queue, WaitlistEntry, WaitlistPolicy


def join(*, at: Facility, who: Patient, **wishes: Any) -> race.Call:
    """Let a patient join."""
    return lambda: scene.wait(at=at, who=who, **wishes)


def change(*, at: Facility, **changes: Any) -> race.Call:
    """Change a policy."""
    return lambda: policies.change(
        facility_id=at.pk, changes=changes, actor=events.SYSTEM, now=scene.NOW
    )


def test_of_fifty_who_join_ten_fill_the_queue() -> None:
    clinic = scene.clinic(max_queue_size=10)
    people = [scene.patient(of=clinic) for _ in range(50)]
    outcomes = race.run(*(join(at=clinic, who=who) for who in people))
    assert [outcome.won for outcome in outcomes].count(True) == 10
    assert race.errors(outcomes) == {entries.QueueFull}
    assert WaitlistEntry.objects.count() == 10
    assert invariants.breaches() == []


def test_without_the_queues_lock_it_overflows() -> None:
    clinic = scene.clinic(max_queue_size=1)
    people = [scene.patient(of=clinic) for _ in range(4)]
    with sabotage.no_row_locks(Queue):
        outcomes = race.run(
            *(join(at=clinic, who=who) for who in people),
            before=["^INSERT INTO .waitlist_waitlistentry"],
        )
    assert all(outcome.won for outcome in outcomes)
    assert WaitlistEntry.objects.count() == 4


def many_queues(*, limit: int, queues: int) -> list[race.Call]:
    """Let one patient join many queues of a tenant at once."""
    first = scene.clinic(max_active_per_requester=limit)
    places = [first]
    for _ in range(queues - 1):
        places.append(scene.clinic(like=first, max_active_per_requester=limit))
    who = scene.patient(of=first)
    return [join(at=place, who=who) for place in places]


def test_a_patient_waits_in_as_many_queues_as_may_be() -> None:
    outcomes = race.run(*many_queues(limit=3, queues=12))
    assert [outcome.won for outcome in outcomes].count(True) == 3
    assert race.errors(outcomes) == {entries.TooManyEntries}
    assert WaitlistEntry.objects.count() == 3
    assert invariants.breaches() == []


def test_without_the_patients_lock_one_waits_in_more() -> None:
    calls = many_queues(limit=1, queues=3)
    with sabotage.no_row_locks(Patient):
        outcomes = race.run(*calls, before=["^INSERT INTO .waitlist_waitlistentry"])
    assert all(outcome.won for outcome in outcomes)
    assert WaitlistEntry.objects.count() == 3


def test_of_twenty_joins_of_a_patient_one_stands() -> None:
    clinic = scene.clinic()
    who = scene.patient(of=clinic)
    outcomes = race.run(*[join(at=clinic, who=who)] * 20)
    assert [outcome.won for outcome in outcomes].count(True) == 1
    assert race.errors(outcomes) == {entries.AlreadyWaiting}
    assert WaitlistEntry.objects.count() == 1
    assert invariants.breaches() == []


def no_constraint() -> AbstractContextManager[None]:
    return sabotage.no_constraints("entry_patient_once")


@pytest.mark.parametrize(
    ("layers", "entries_made"),
    [([sabotage.no_row_locks], 1), ([no_constraint], 4)],
    ids=["no locks", "no constraint"],
)
def test_it_is_the_constraint_that_keeps_a_patient_from_joining_twice(
    layers: list[sabotage.Layer], entries_made: int
) -> None:
    with sabotage.taken_out(layers):
        clinic = scene.clinic()
        who = scene.patient(of=clinic)
        outcomes = race.run(
            *[join(at=clinic, who=who)] * 4, before=["^INSERT INTO .waitlist_waitlistentry"]
        )
        assert race.errors(outcomes) <= {entries.AlreadyWaiting}
        assert WaitlistEntry.objects.count() == entries_made
        assert {breach.number for breach in invariants.breaches()} == (
            set() if entries_made == 1 else {5}
        )


def stale_ranks() -> int:
    """Count the entries whose rank key is not what their queue's policy makes it."""
    found = WaitlistEntry.objects.filter(status__in=["waiting", "offered"])
    return sum(
        entry.rank_key
        != ranking.rank_key(
            entry=entry,
            policy=WaitlistPolicy.objects.get(facility=entry.facility_id),
            patient=entry.patient,
        )
        for entry in found.select_related("patient")
    )


def test_joins_and_fills_go_on_while_the_policy_changes() -> None:
    """Nobody waits in a ring, and everybody stands where the last policy puts them."""
    for number in range(8):
        testing.empty_tables()
        clinic = scene.clinic(urgency=5)
        for _ in range(2):
            scene.slot(at=clinic)
            scene.wait(at=clinic, urgency=1)
        people = [scene.patient(of=clinic) for _ in range(3)]
        outcomes = race.run(
            *(join(at=clinic, who=who, urgency=2) for who in people),
            change(at=clinic, urgency=7 + number),
            change(at=clinic, ordering="fifo" if number % 2 else "score"),
            scene.fill_at(clinic),
            tasks.rerank_queues,
            partial(tasks.rerank_patient, str(people[0].pk)),
        )
        assert race.errors(outcomes) == set(), outcomes
        assert stale_ranks() == 0
        assert invariants.breaches() == []


def ranks_after(*, unlocked: bool) -> set[int]:
    """Let the policy change at each point of a join; give the stale ranks each round leaves."""
    clinic: list[Facility] = []
    stale = set()

    def begin() -> race.Call:
        testing.empty_tables()
        clinic[:] = [scene.clinic(urgency=5)]
        return join(at=clinic[0], who=scene.patient(of=clinic[0]), urgency=2)

    rounds = race.interleave(first=begin, then=lambda: change(at=clinic[0], urgency=9))
    with sabotage.taken_out([lambda: sabotage.no_row_locks(Queue)] if unlocked else []):
        for outcomes in rounds:
            assert race.errors(outcomes) == set(), outcomes
            stale.add(stale_ranks())
    return stale


def test_who_joins_while_the_policy_changes_stands_where_the_new_one_puts_them() -> None:
    assert ranks_after(unlocked=False) == {0}


def test_without_the_queues_lock_they_stand_where_the_old_one_did() -> None:
    assert ranks_after(unlocked=True) == {0, 1}
