"""Races to one hold: who accepts it, and what else may become of it meanwhile."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import pytest
from django.db import IntegrityError

from audit import events
from audit.models import Event
from config import testing
from scheduling import blocks, slots
from scheduling.models import Appointment, Slot, TimeBlock
from tests.races import race, sabotage, scene
from waitlist import entries, holds, invariants, invites
from waitlist.models import Hold, WaitlistEntry


def accept(hold: Hold) -> race.Call:
    """Accept in time."""
    return lambda: holds.accept(hold_id=hold.pk, actor=events.SYSTEM, now=scene.NOW)


def decline(hold: Hold) -> race.Call:
    """Decline in time."""
    return lambda: holds.decline(hold_id=hold.pk, actor=events.SYSTEM, now=scene.NOW)


def expire(hold: Hold) -> race.Call:
    """Sweep after the deadline."""
    return lambda: holds.expire_due(now=scene.LATER, limit=100)


def cancel(hold: Hold) -> race.Call:
    """Leave the queue."""
    return lambda: entries.cancel(
        entry_id=hold.entry_id, reason="no_longer_needed", actor=events.SYSTEM, now=scene.NOW
    )


def block(hold: Hold) -> race.Call:
    """Block the time of the slot."""
    assert hold.slot is not None
    period = hold.slot.period
    return lambda: blocks.create(
        facility_id=hold.facility_id,
        provider_id=None,
        starts_at=period.lower,
        ends_at=period.upper,
        reason="",
        actor=events.SYSTEM,
        now=scene.NOW,
    )


def withdraw(hold: Hold) -> race.Call:
    """Withdraw what is held under a block."""
    return lambda: holds.withdraw_blocked(now=scene.NOW, limit=100)


def promote(hold: Hold) -> race.Call:
    """Book another slot for who has the offer."""
    other = scene.slot(at=hold.facility, starts_at=scene.TOMORROW.replace(hour=15))
    return lambda: invites.promote(
        entry_id=hold.entry_id, slot_id=other.pk, actor=events.SYSTEM, now=scene.NOW
    )


Make = Callable[[Hold], race.Call]


def test_of_two_hundred_accepts_one_books() -> None:
    hold = scene.offer(at=scene.clinic())
    outcomes = race.run(*[accept(hold)] * 200)
    assert [outcome.won for outcome in outcomes].count(True) == 1
    assert race.errors(outcomes) == {holds.HoldClosed}
    assert Appointment.objects.get().slot_id == hold.slot_id
    assert invariants.breaches() == []


def no_constraints() -> AbstractContextManager[None]:
    return sabotage.no_constraints("appointment_slot", "appointment_patient_booked_once")


@pytest.mark.parametrize(
    ("layers", "loser"),
    [
        ([], holds.HoldClosed),
        ([sabotage.no_row_locks], slots.SlotTaken),
        ([sabotage.no_row_locks, sabotage.no_guard], IntegrityError),
        ([sabotage.no_row_locks, sabotage.no_guard, no_constraints], None),
    ],
    ids=["as it is", "no locks", "no guard either", "no constraints either"],
)
def test_of_two_accepts_the_second_gets_as_far_as_each_layer_lets_it(
    layers: list[sabotage.Layer], loser: type[Exception] | None
) -> None:
    """The lock makes the clean refusal; the guard and the constraints keep the rows right."""
    with sabotage.taken_out(layers):
        hold = scene.offer(at=scene.clinic())
        outcomes = race.run(*[accept(hold)] * 2, before=['^UPDATE "scheduling_slot"'])
        assert race.errors(outcomes) == ({loser} if loser else set())
        assert Appointment.objects.count() == (1 if loser else 2)
        assert bool(invariants.breaches()) == (loser is None)


REFUSALS: set[type[Exception]] = {
    holds.HoldClosed,
    entries.EntryClosed,
    slots.SlotBlocked,
    slots.SlotTaken,
}


#: How a hold ends that a call ended. A block ends none itself: the sweep does, `withdraw`.
ENDS: dict[Make, str] = {
    accept: "accepted",
    decline: "declined",
    expire: "expired",
    cancel: "withdrawn",
    promote: "withdrawn",
    withdraw: "withdrawn",
}


def check(*, hold: Hold, makers: Sequence[Make], outcomes: list[race.Outcome]) -> None:
    """Check that a hold ended in one way, which a call says it did, and all else accordingly."""
    assert race.errors(outcomes) <= REFUSALS, outcomes
    assert invariants.breaches() == []
    hold.refresh_from_db()
    made = zip(makers, outcomes, strict=True)
    ended = {ENDS[make] for make, one in made if make in ENDS and one.won and one.value != 0}
    # Who is offered again what was declined or lapsed may leave, or be booked elsewhere, besides.
    assert ended - {"withdrawn"} == {hold.status} - {"withdrawn", "offered"}
    assert hold.status in (ended or {"offered"})
    # Only what was blocked first can neither be accepted nor lapse.
    assert ended or (block in makers and set(makers) <= {block, accept, expire})
    slot = Slot.objects.get(holds=hold)
    entry = WaitlistEntry.objects.get(pk=hold.entry_id)
    booked = list(Appointment.objects.filter(slot=slot))
    assert len(booked) == (hold.status == Hold.Status.ACCEPTED)
    if hold.status == Hold.Status.ACCEPTED:
        assert (slot.status, entry.status) == ("booked", "converted")
    elif hold.status != Hold.Status.OFFERED:
        assert slot.status in ("open", "blocked")
        assert entry.status in ("waiting", "cancelled", "converted")
    for outcome in outcomes:
        if isinstance(outcome.value, blocks.Blocked):  # staff hear of every appointment under it
            assert list(outcome.value.conflicts) == booked


@pytest.mark.parametrize(
    ("first", "then"),
    [
        *((accept, then) for then in (expire, cancel, block, decline, promote)),
        *((expire, then) for then in (accept, cancel, decline, promote)),
        *((cancel, then) for then in (accept, block)),
        *((block, then) for then in (accept, expire)),
        *((promote, then) for then in (accept, cancel)),
    ],
)
def test_a_hold_ends_in_one_way_wherever_another_comes_in(first: Make, then: Make) -> None:
    """Stop the first call before each of its statements in turn and let the second in."""
    hold: list[Hold] = []
    ends = []

    def begin() -> race.Call:
        testing.empty_tables()
        hold[:] = [scene.offer(at=scene.clinic())]
        return first(hold[0])

    for outcomes in race.interleave(first=begin, then=lambda: then(hold[0])):
        check(hold=hold[0], makers=(first, then), outcomes=outcomes)
        ends.append(hold[0].status)
    # Before its first statement the one has done nothing yet, after its last it has done all.
    assert ends[0] == ENDS.get(then, "offered" if first is accept else ENDS.get(first))
    assert ends[-1] == ENDS.get(first, "offered" if then is accept else ENDS.get(then))


def test_a_hold_ends_in_one_way_whoever_is_quicker() -> None:
    """All at once, forty times."""
    for _ in range(40):
        testing.empty_tables()
        hold = scene.offer(at=scene.clinic())
        makers = (accept, expire, cancel, block, decline, promote, withdraw)
        check(hold=hold, makers=makers, outcomes=race.run(*(make(hold) for make in makers)))


@pytest.mark.parametrize("then", [expire, cancel])
def test_without_locks_an_answer_and_what_else_ends_the_hold_wait_for_each_other(
    then: Make,
) -> None:
    """One writes the slot and then the hold, the other the hold and then the slot."""
    hold = scene.offer(at=scene.clinic())
    unlocked = sabotage.statement("close_holds", without="FOR NO KEY UPDATE( OF entry)?")
    with sabotage.no_row_locks(), unlocked:
        outcomes = race.overtake(accept(hold), then(hold), before='^UPDATE "waitlist_hold"')
    assert race.deadlocks(outcomes) == 1


def test_without_locks_a_block_misses_the_appointment_that_is_just_being_booked() -> None:
    hold = scene.offer(at=scene.clinic())
    with sabotage.no_row_locks():
        booked, blocked = race.overtake(
            accept(hold), block(hold), before='^UPDATE "scheduling_slot"'
        )
    assert booked.won
    assert isinstance(blocked.value, blocks.Blocked)
    assert blocked.value.conflicts == []


def unblock() -> race.Call:
    """Take the only block away."""
    block_id = TimeBlock.objects.values_list("pk", flat=True).get()
    return lambda: blocks.remove(block_id=block_id, actor=events.SYSTEM, now=scene.NOW)


def was_blocked(hold: Hold) -> bool:
    """Say whether the slot of a hold ever was blocked."""
    return Event.objects.filter(kind="slot.blocked", slot_id=hold.slot_id).exists()


def test_a_hold_is_withdrawn_for_a_block_and_for_none_that_is_gone() -> None:
    hold: list[Hold] = []
    ends = set()

    def begin() -> race.Call:
        testing.empty_tables()
        hold[:] = [scene.offer(at=scene.clinic())]
        block(hold[0])()
        return withdraw(hold[0])

    for outcomes in race.interleave(first=begin, then=unblock):
        assert race.errors(outcomes) == set(), outcomes
        hold[0].refresh_from_db()
        assert (hold[0].status == Hold.Status.WITHDRAWN) == was_blocked(hold[0])
        assert invariants.breaches() == []
        ends.add(hold[0].status)
    assert ends == {Hold.Status.OFFERED, Hold.Status.WITHDRAWN}


def test_without_locks_a_hold_is_withdrawn_for_a_block_that_is_gone() -> None:
    hold = scene.offer(at=scene.clinic())
    block(hold)()
    with sabotage.no_row_locks():
        outcomes = race.overtake(withdraw(hold), unblock(), before="^-- End live holds")
    assert race.errors(outcomes) == set(), outcomes
    hold.refresh_from_db()
    assert (hold.status, was_blocked(hold)) == (Hold.Status.WITHDRAWN, False)
