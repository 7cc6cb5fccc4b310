"""Races of staff: two of them promote or invite, or one does while something else happens."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from django.db import IntegrityError

from audit import events
from config import testing
from scheduling import appointments, slots
from scheduling.models import Appointment, Slot
from tests.races import race, sabotage, scene
from waitlist import entries, invariants, invites
from waitlist.models import Hold, WaitlistEntry

LATER = scene.TOMORROW.replace(hour=15)


def promote(*, entry: WaitlistEntry, slot: Slot) -> race.Call:
    """Book a slot for an entry."""
    return lambda: invites.promote(
        entry_id=entry.pk, slot_id=slot.pk, actor=events.SYSTEM, now=scene.NOW
    )


def invite(*, entry: WaitlistEntry | None, slot: Slot) -> race.Call:
    """Offer a slot to an entry, or to whom it fits best."""
    return lambda: invites.invite(
        entry_id=entry.pk if entry else None,
        slot_id=slot.pk,
        actor=events.SYSTEM,
        now=scene.NOW,
    )


def test_of_two_admins_who_promote_an_entry_one_wins() -> None:
    for _ in range(10):
        testing.empty_tables()
        clinic = scene.clinic()
        entry = scene.wait(at=clinic)
        targets = [scene.slot(at=clinic), scene.slot(at=clinic, starts_at=LATER)]
        outcomes = race.run(*(promote(entry=entry, slot=slot) for slot in targets))
        assert [outcome.won for outcome in outcomes].count(True) == 1
        assert race.errors(outcomes) == {entries.EntryClosed}
        assert Appointment.objects.count() == 1
        assert invariants.breaches() == []


def test_without_locks_an_entry_is_promoted_twice() -> None:
    clinic = scene.clinic()
    entry = scene.wait(at=clinic)
    targets = [scene.slot(at=clinic), scene.slot(at=clinic, starts_at=LATER)]
    with sabotage.no_row_locks():
        outcomes = race.overtake(
            *(promote(entry=entry, slot=slot) for slot in targets),
            before='^UPDATE "scheduling_slot"',
        )
    assert all(outcome.won for outcome in outcomes)
    assert Appointment.objects.count() == 2
    assert {breach.number for breach in invariants.breaches()} == {4}


def test_of_two_entries_promoted_to_a_slot_one_wins() -> None:
    for _ in range(10):
        testing.empty_tables()
        slot = scene.slot(at=scene.clinic())
        people = [scene.wait(at=slot.facility) for _ in range(2)]
        outcomes = race.run(*(promote(entry=entry, slot=slot) for entry in people))
        assert [outcome.won for outcome in outcomes].count(True) == 1
        assert race.errors(outcomes) == {slots.SlotTaken}
        assert invariants.breaches() == []


def no_constraint() -> AbstractContextManager[None]:
    return sabotage.no_constraints("appointment_slot")


@pytest.mark.parametrize(
    ("layers", "loser"),
    [
        ([sabotage.no_row_locks, sabotage.no_guard], IntegrityError),
        ([sabotage.no_row_locks, sabotage.no_guard, no_constraint], None),
    ],
    ids=["no locks, no guard", "no constraint either"],
)
def test_without_locks_two_entries_are_promoted_to_a_slot(
    layers: list[sabotage.Layer], loser: type[Exception] | None
) -> None:
    with sabotage.taken_out(layers):
        slot = scene.slot(at=scene.clinic())
        outcomes = race.overtake(
            *(promote(entry=scene.wait(at=slot.facility), slot=slot) for _ in range(2)),
            before='^UPDATE "scheduling_slot"',
        )
        assert race.errors(outcomes) == ({loser} if loser else set())
        assert bool(invariants.breaches()) == (loser is None)


def test_an_entry_is_offered_one_place_however_many_invite_it() -> None:
    """The last invitation stands, since each gives back what the one before it offered."""
    for _ in range(5):
        testing.empty_tables()
        clinic = scene.clinic()
        entry = scene.wait(at=clinic)
        targets = [scene.slot(at=clinic) for _ in range(4)]
        outcomes = race.run(
            *(invite(entry=entry, slot=slot) for slot in targets),
            scene.fill_at(clinic),
        )
        assert race.errors(outcomes) <= {slots.SlotTaken, invites.DoesNotFit}, outcomes
        assert Hold.objects.filter(status="offered").count() == 1
        assert invariants.breaches() == []


@pytest.mark.parametrize(
    ("layers", "loser"),
    [([], None), ([sabotage.no_row_locks], invites.DoesNotFit)],
    ids=["as it is", "no locks"],
)
def test_the_later_of_two_invitations_stands(
    layers: list[sabotage.Layer], loser: type[Exception] | None
) -> None:
    """Without locks it finds the entry waiting, and then changed."""
    clinic = scene.clinic()
    entry = scene.wait(at=clinic)
    calls = [invite(entry=entry, slot=scene.slot(at=clinic)) for _ in range(2)]
    with sabotage.taken_out(layers):
        outcomes = race.overtake(race.held_back(calls[0]), calls[1], before=race.COMMIT)
    assert race.errors(outcomes) == ({loser} if loser else set())
    assert Hold.objects.filter(status="offered").count() == 1
    assert invariants.breaches() == []


Make = Callable[[Appointment, Slot], race.Call]


def offer_vacancy(appointment: Appointment, _other: Slot) -> race.Call:
    """Cancel an appointment and offer its slot."""
    return lambda: invites.invite_for(
        appointment_id=appointment.pk,
        entry_id=None,
        reason="test",
        actor=events.SYSTEM,
        now=scene.NOW,
    )


def offer_vacancy_to(appointment: Appointment, _other: Slot) -> race.Call:
    """Cancel an appointment and offer its slot to an entry of choice."""
    entry = WaitlistEntry.objects.latest("pk")
    return lambda: invites.invite_for(
        appointment_id=appointment.pk,
        entry_id=entry.pk,
        reason="test",
        actor=events.SYSTEM,
        now=scene.NOW,
    )


def move(appointment: Appointment, other: Slot) -> race.Call:
    """Reschedule the appointment."""
    return lambda: appointments.reschedule(
        appointment_id=appointment.pk, slot_id=other.pk, actor=events.SYSTEM, now=scene.NOW
    )


def cancel(appointment: Appointment, _other: Slot) -> race.Call:
    """Cancel the appointment."""
    return lambda: appointments.cancel(
        appointment_id=appointment.pk, reason="test", actor=events.SYSTEM, now=scene.NOW
    )


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (offer_vacancy, move),
        (offer_vacancy_to, move),
        (offer_vacancy_to, cancel),
        (move, offer_vacancy_to),
        (offer_vacancy, offer_vacancy_to),
    ],
)
def test_what_is_offered_is_the_place_of_the_appointment_that_was_cancelled(
    first: Make, then: Make
) -> None:
    """An appointment that was moved meanwhile keeps its place, and its old one is not offered."""
    appointment: list[Appointment] = []
    other: list[Slot] = []

    def begin() -> race.Call:
        testing.empty_tables()
        slot = scene.slot(at=scene.clinic())
        appointment[:] = [scene.book(place=slot)]
        other[:] = [scene.slot(at=slot.facility, by=slot.provider, starts_at=LATER)]
        for _ in range(2):
            scene.wait(at=slot.facility)
        return first(appointment[0], other[0])

    def second() -> race.Call:
        return then(appointment[0], other[0])

    for outcomes in race.interleave(first=begin, then=second):
        assert race.errors(outcomes) <= {
            appointments.NotBooked,
            slots.SlotTaken,
            invites.DoesNotFit,
        }, outcomes
        assert invariants.breaches() == []
        for hold in Hold.objects.filter(status="offered"):
            cancelled = Appointment.objects.filter(slot=hold.slot_id, status="cancelled")
            assert cancelled.count() == 1, outcomes
