"""Races to slots: who books, reserves and moves where."""

from collections.abc import Collection
from contextlib import AbstractContextManager
from datetime import timedelta
from unittest import mock
from uuid import UUID

import pytest
from django.db import IntegrityError

from audit import events
from config import testing
from scheduling import appointments, blocks, slots
from scheduling.models import Appointment, Patient, Slot
from tests.races import race, sabotage, scene
from waitlist import invariants

HALF = timedelta(minutes=30)


def book(*, slot: Slot, who: Patient) -> race.Call:
    """Book a slot for a patient."""
    return lambda: scene.book(place=slot, who=who)


def reserve(*, slot: Slot, who: Patient) -> race.Call:
    """Reserve a slot for a patient."""
    return lambda: slots.reserve(
        slot_id=slot.pk, patient_id=who.pk, actor=events.SYSTEM, now=scene.NOW
    )


def move(*, appointment: Appointment, to: Slot) -> race.Call:
    """Reschedule an appointment."""
    return lambda: appointments.reschedule(
        appointment_id=appointment.pk, slot_id=to.pk, actor=events.SYSTEM, now=scene.NOW
    )


def cancel(*, appointment: Appointment) -> race.Call:
    """Cancel an appointment."""
    return lambda: appointments.cancel(
        appointment_id=appointment.pk, reason="test", actor=events.SYSTEM, now=scene.NOW
    )


def test_of_fifty_bookings_of_one_slot_one_wins() -> None:
    slot = scene.slot(at=scene.clinic())
    people = [scene.patient(of=slot.facility) for _ in range(50)]
    outcomes = race.run(*(book(slot=slot, who=who) for who in people))
    assert [outcome.won for outcome in outcomes].count(True) == 1
    assert race.errors(outcomes) == {slots.SlotTaken}
    assert Appointment.objects.count() == 1
    assert invariants.breaches() == []


def test_of_bookings_and_reservations_of_overlapping_slots_one_wins() -> None:
    first = scene.slot(at=scene.clinic())
    starts = scene.TOMORROW + HALF
    other = scene.slot(at=first.facility, by=first.provider, starts_at=starts)
    people = [scene.patient(of=first.facility) for _ in range(20)]
    outcomes = race.run(
        *(
            (book if number % 3 else reserve)(slot=[first, other][number % 2], who=who)
            for number, who in enumerate(people)
        )
    )
    assert [outcome.won for outcome in outcomes].count(True) == 1
    assert race.errors(outcomes) == {slots.SlotTaken}
    assert invariants.breaches() == []


def once(*names: str) -> sabotage.Layer:
    """Drop these constraints."""

    def layer() -> AbstractContextManager[None]:
        return sabotage.no_constraints(*names)

    return layer


@pytest.mark.parametrize(
    ("layers", "loser"),
    [
        ([], slots.SlotTaken),
        ([sabotage.no_row_locks, sabotage.no_guard], IntegrityError),
        ([sabotage.no_row_locks, sabotage.no_guard, once("appointment_slot")], None),
    ],
    ids=["as it is", "no locks, no guard", "no constraint either"],
)
def test_of_two_bookings_of_a_slot_the_second_gets_as_far_as_each_layer_lets_it(
    layers: list[sabotage.Layer], loser: type[Exception] | None
) -> None:
    with sabotage.taken_out(layers):
        slot = scene.slot(at=scene.clinic())
        people = [scene.patient(of=slot.facility) for _ in range(2)]
        outcomes = race.run(
            *(book(slot=slot, who=who) for who in people), before=['^UPDATE "scheduling_slot"']
        )
        assert race.errors(outcomes) == ({loser} if loser else set())
        assert Appointment.objects.count() == (1 if loser else 2)
        assert bool(invariants.breaches()) == (loser is None)


@pytest.mark.parametrize(
    ("layers", "loser"),
    [
        ([], slots.SlotTaken),
        ([sabotage.no_row_locks], IntegrityError),
        ([sabotage.no_row_locks, once("slot_provider_claimed_once")], None),
    ],
    ids=["as it is", "no locks", "no constraint either"],
)
def test_of_two_claims_of_a_provider_the_second_gets_as_far_as_each_layer_lets_it(
    layers: list[sabotage.Layer], loser: type[Exception] | None
) -> None:
    """Overlapping slots are two rows: the guard of a row does not help here, the lock does."""
    with sabotage.taken_out(layers):
        slot = scene.slot(at=scene.clinic())
        starts = scene.TOMORROW + HALF
        other = scene.slot(at=slot.facility, by=slot.provider, starts_at=starts)
        outcomes = race.run(
            *(book(slot=one, who=scene.patient(of=slot.facility)) for one in (slot, other)),
            before=['^UPDATE "scheduling_slot"'],
        )
        assert race.errors(outcomes) == ({loser} if loser else set())
        assert bool(invariants.breaches()) == (loser is None)


@pytest.mark.parametrize(
    ("layers", "loser"),
    [
        ([], appointments.PatientBusy),
        ([sabotage.no_row_locks], IntegrityError),
        ([sabotage.no_row_locks, once("appointment_patient_booked_once")], None),
    ],
    ids=["as it is", "no locks", "no constraint either"],
)
def test_of_two_bookings_of_a_patient_the_second_gets_as_far_as_each_layer_lets_it(
    layers: list[sabotage.Layer], loser: type[Exception] | None
) -> None:
    with sabotage.taken_out(layers):
        clinic = scene.clinic()
        who = scene.patient(of=clinic)
        outcomes = race.run(
            *(book(slot=scene.slot(at=clinic), who=who) for _ in range(2)),
            before=['^UPDATE "scheduling_slot"'],
        )
        assert race.errors(outcomes) == ({loser} if loser else set())
        assert bool(invariants.breaches()) == (loser is None)


def test_an_appointment_moves_to_a_slot_that_overlaps_its_own() -> None:
    """10:00-11:00 to 10:30-11:30, four at once: one moves it, the rest find it moved."""
    old = scene.slot(at=scene.clinic())
    new = scene.slot(at=old.facility, by=old.provider, starts_at=scene.TOMORROW + HALF)
    appointment = scene.book(place=old)
    outcomes = race.run(*[move(appointment=appointment, to=new)] * 4)
    assert [outcome.won for outcome in outcomes].count(True) == 1
    assert race.errors(outcomes) <= {appointments.NotBooked, slots.SlotTaken}
    old.refresh_from_db()
    new.refresh_from_db()
    assert (old.status, new.status) == ("open", "booked")
    assert invariants.breaches() == []


def moves_apart() -> list[race.Call]:
    """Move one appointment to two slots."""
    old = scene.slot(at=scene.clinic())
    appointment = scene.book(place=old)
    return [
        move(appointment=appointment, to=scene.slot(at=old.facility, starts_at=starts))
        for starts in (scene.TOMORROW + 4 * HALF, scene.TOMORROW + 8 * HALF)
    ]


def test_of_two_who_move_an_appointment_one_wins() -> None:
    outcomes = race.overtake(*moves_apart(), before='^UPDATE "scheduling_slot"')
    assert race.errors(outcomes) == {appointments.NotBooked}
    assert Slot.objects.filter(status="booked").count() == 1
    assert invariants.breaches() == []


def test_without_locks_a_slot_stays_booked_for_nobody() -> None:
    with sabotage.no_row_locks():
        outcomes = race.overtake(*moves_apart(), before='^UPDATE "scheduling_slot"')
    assert all(outcome.won for outcome in outcomes)
    assert Slot.objects.filter(status="booked").count() == 2
    assert {breach.number for breach in invariants.breaches()} == {3}


def cross() -> list[race.Call]:
    """Move an appointment from each of two providers to a free slot of the other."""
    clinic = scene.clinic()
    mine, yours = scene.provider(clinic), scene.provider(clinic)
    later = scene.TOMORROW + 4 * HALF
    return [
        move(
            appointment=scene.book(place=scene.slot(at=clinic, by=one)),
            to=scene.slot(at=clinic, by=other, starts_at=later),
        )
        for one, other in ((mine, yours), (yours, mine))
    ]


def test_appointments_that_cross_both_move() -> None:
    for _ in range(10):
        testing.empty_tables()
        outcomes = race.run(*cross())
        assert all(outcome.won for outcome in outcomes), outcomes
        assert invariants.breaches() == []


def test_locked_in_the_order_given_appointments_that_cross_wait_for_each_other() -> None:
    lock = slots.lock_for_claim

    def lock_each(*, slot_ids: Collection[UUID], patient_id: UUID | None = None) -> list[Slot]:
        return [lock(slot_ids=[slot_id], patient_id=patient_id)[0] for slot_id in slot_ids]

    of_provider = "^-- Lock the providers"
    with mock.patch.object(slots, "lock_for_claim", lock_each):
        outcomes = race.run(*cross(), before=[of_provider, of_provider])
    assert race.deadlocks(outcomes) == 1


def test_of_two_patients_who_move_to_one_slot_one_wins() -> None:
    for _ in range(10):
        testing.empty_tables()
        clinic = scene.clinic()
        target = scene.slot(at=clinic, starts_at=scene.TOMORROW + 4 * HALF)
        booked = [scene.book(place=scene.slot(at=clinic)) for _ in range(2)]
        outcomes = race.run(*(move(appointment=one, to=target) for one in booked))
        assert [outcome.won for outcome in outcomes].count(True) == 1
        assert race.errors(outcomes) == {slots.SlotTaken}
        assert Appointment.objects.filter(slot=target).count() == 1
        assert Slot.objects.filter(status="booked").count() == 2
        assert invariants.breaches() == []


@pytest.mark.parametrize(
    ("layers", "loser"),
    [
        ([sabotage.no_row_locks, sabotage.no_guard], IntegrityError),
        ([sabotage.no_row_locks, sabotage.no_guard, once("appointment_slot")], None),
    ],
    ids=["no locks, no guard", "no constraint either"],
)
def test_without_locks_two_patients_move_to_one_slot(
    layers: list[sabotage.Layer], loser: type[Exception] | None
) -> None:
    with sabotage.taken_out(layers):
        clinic = scene.clinic()
        target = scene.slot(at=clinic, starts_at=scene.TOMORROW + 4 * HALF)
        booked = [scene.book(place=scene.slot(at=clinic)) for _ in range(2)]
        outcomes = race.run(
            *(move(appointment=one, to=target) for one in booked),
            before=['^UPDATE "scheduling_slot"'],
        )
        assert race.errors(outcomes) == ({loser} if loser else set())
        assert bool(invariants.breaches()) == (loser is None)


def test_a_moved_appointment_is_not_cancelled_half() -> None:
    """Wherever a cancellation comes in, the appointment ends moved and booked, or cancelled."""
    appointment: list[Appointment] = []

    def begin() -> race.Call:
        testing.empty_tables()
        old = scene.slot(at=scene.clinic())
        new = scene.slot(at=old.facility, by=old.provider, starts_at=scene.TOMORROW + HALF)
        appointment[:] = [scene.book(place=old)]
        return move(appointment=appointment[0], to=new)

    for outcomes in race.interleave(first=begin, then=lambda: cancel(appointment=appointment[0])):
        assert race.errors(outcomes) <= {appointments.NotBooked}
        appointment[0].refresh_from_db()
        booked = Slot.objects.filter(status="booked").count()
        assert booked == (appointment[0].status == "booked")
        assert invariants.breaches() == []


def test_a_reschedule_that_comes_late_does_not_wait_in_a_ring() -> None:
    """It locks where the appointment was; where that went meanwhile it must not lock besides."""
    clinic = scene.clinic()
    by = scene.provider(clinic)
    # Where it goes meanwhile comes first in the order of ids.
    elsewhere, old, new = (
        scene.slot(at=clinic, by=by, starts_at=scene.TOMORROW + number * 2 * HALF)
        for number in range(3)
    )
    appointment = scene.book(place=old)
    late = race.Runner(
        move(appointment=appointment, to=new),
        stops=["^-- Lock the providers", 'FROM "scheduling_appointment"'],
    )
    with race.stage(late):
        late.start()
        race.settle(late)
        move(appointment=appointment, to=elsewhere)()
        block = blocks.create(
            facility_id=clinic.pk,
            provider_id=by.pk,
            starts_at=elsewhere.period.lower,
            ends_at=old.period.upper,
            reason="",
            actor=events.SYSTEM,
            now=scene.NOW,
        ).block
        late.go()
        race.settle(late)
        remover = race.Runner(
            lambda: blocks.remove(block_id=block.pk, actor=events.SYSTEM, now=scene.NOW)
        )
        with race.stage(remover):
            remover.start()
            race.settle(late, remover)
            late.free()
    assert race.errors([late.outcome, remover.outcome]) == {appointments.NotBooked}
