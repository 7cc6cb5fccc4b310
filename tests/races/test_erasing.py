"""Races of an erasure: whatever comes in, nothing is left that waits, is booked or known."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.db import ProgrammingError

from audit import events
from audit.errors import NotFound
from config import testing
from scheduling import patients, slots
from scheduling.models import Appointment, Patient, Slot
from tests import factories
from tests.races import race, sabotage, scene
from waitlist import entries, erasure, fill, holds, invariants, invites
from waitlist.models import EntryNote, Hold, WaitlistEntry

ASKED: dict[str, Any] = {"actor": events.SYSTEM, "now": scene.NOW}
Make = Callable[[Hold], race.Call]


def erase(hold: Hold) -> race.Call:
    """Erase the patient of a hold."""
    return partial(erasure.erase, patient_id=patient_of(hold).pk, **ASKED)


def patient_of(hold: Hold) -> Patient:
    assert hold.patient is not None
    return hold.patient


def free(hold: Hold) -> Slot:
    return Slot.objects.get(facility=hold.facility, status="open")


def join(hold: Hold) -> race.Call:
    """Let them wait for something else."""
    return lambda: scene.wait(at=hold.facility, who=patient_of(hold))


def book(hold: Hold) -> race.Call:
    slot = free(hold)
    return lambda: scene.book(place=slot, who=patient_of(hold))


def reserve(hold: Hold) -> race.Call:
    return partial(slots.reserve, slot_id=free(hold).pk, patient_id=patient_of(hold).pk, **ASKED)


def accept(hold: Hold) -> race.Call:
    return partial(holds.accept, hold_id=hold.pk, **ASKED)


def decline(hold: Hold) -> race.Call:
    return partial(holds.decline, hold_id=hold.pk, **ASKED)


def promote(hold: Hold) -> race.Call:
    return partial(invites.promote, entry_id=hold.entry_id, slot_id=free(hold).pk, **ASKED)


def invite(hold: Hold) -> race.Call:
    return partial(invites.invite, entry_id=hold.entry_id, slot_id=free(hold).pk, **ASKED)


def offer(hold: Hold) -> race.Call:
    """Offer what another entry of theirs waits for."""
    return partial(fill.fill, facility_id=hold.facility_id, now=scene.NOW)


def wish(hold: Hold) -> race.Call:
    wishes = {"metadata": {"needs": "a ramp"}}
    return partial(entries.update, entry_id=hold.entry_id, wishes=wishes, **ASKED)


def note(hold: Hold) -> race.Call:
    author = factories.UserFactory.create()
    return partial(
        entries.add_note, entry_id=hold.entry_id, author=author, text="called", now=scene.NOW
    )


def rename(hold: Hold) -> race.Call:
    changes = {"name": "Ada"}
    return partial(patients.update, patient_id=patient_of(hold).pk, changes=changes, **ASKED)


OTHERS = (join, book, reserve, accept, decline, promote, invite, offer, wish, note, rename)
#: What who comes too late is told.
TOLD = {NotFound, entries.EntryClosed, holds.HoldClosed, slots.SlotTaken, invites.DoesNotFit}


def begin() -> Hold:
    """Let a patient have an offer, and wait for another provider, whose slot is open."""
    clinic = scene.clinic()
    hold = scene.offer(at=clinic)
    other = scene.slot(at=clinic, starts_at=scene.TOMORROW.replace(hour=20))
    wishes = {"provider_id": other.provider_id, "provider_required": True}
    scene.wait(at=clinic, who=patient_of(hold), **wishes)
    return Hold.objects.select_related("patient", "facility").get(pk=hold.pk)


def left() -> set[str]:
    """Name what is left of patients who were erased."""
    gone = Patient.objects.exclude(erased_at=None)
    theirs = WaitlistEntry.objects.filter(patient__in=gone)
    found = {
        "entry": theirs.filter(closed_at=None),
        "metadata": theirs.exclude(metadata={}),
        "note": EntryNote.objects.filter(entry__in=theirs),
        "hold": Hold.objects.filter(patient__in=gone, status="offered"),
        "slot": Slot.objects.filter(reserved_by__in=gone),
        "appointment": Appointment.objects.filter(patient__in=gone, status="booked"),
        "name": gone.exclude(name="Erased"),
    }
    return {name for name, rows in found.items() if rows.exists()}


def check(outcomes: list[race.Outcome], *, erased: race.Outcome) -> None:
    """Check that who comes too late was told so, and that nothing is left."""
    assert race.errors(outcomes) <= TOLD, outcomes
    assert erased.won, outcomes
    assert left() == set(), outcomes
    assert invariants.breaches() == []


@pytest.mark.parametrize("other", OTHERS, ids=lambda other: other.__name__)
def test_nothing_is_left_wherever_an_erasure_comes_in(other: Make) -> None:
    hold: list[Hold] = []

    def first() -> race.Call:
        testing.empty_tables()
        hold[:] = [begin()]
        return other(hold[0])

    for outcomes in race.interleave(first=first, then=lambda: erase(hold[0])):
        check(outcomes, erased=outcomes[1])


#: Where an erasure has not locked all that it will.
STEPS = ("queue", "patient", "slot", "appointment", "hold", "waitlistentry")


@pytest.mark.parametrize("other", OTHERS, ids=lambda other: other.__name__)
def test_nothing_is_left_whatever_comes_in_before_a_lock_of_the_erasure(other: Make) -> None:
    for step in STEPS:
        testing.empty_tables()
        hold = begin()
        stop = f'FROM "(scheduling|waitlist)_{step}" (WHERE|INNER) .*FOR NO KEY UPDATE'
        outcomes = race.overtake(erase(hold), other(hold), before=stop)
        check(outcomes, erased=outcomes[0])


@pytest.mark.parametrize(
    ("other", "before", "what"),
    [
        (join, "^INSERT INTO .waitlist_waitlistentry", "entry"),
        (book, '^UPDATE "scheduling_slot"', "appointment"),
        (reserve, '^UPDATE "scheduling_slot"', "slot"),
        (note, "^INSERT INTO .waitlist_entrynote", "note"),
        (rename, '^UPDATE "scheduling_patient"', "name"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_without_locks_something_is(other: Make, before: str, what: str) -> None:
    """Who was on the way in is stopped before the write, and goes on once all is erased."""
    hold = begin()
    with sabotage.no_row_locks():
        outcomes = race.overtake(other(hold), erase(hold), before=before)
    assert all(outcome.won for outcome in outcomes), outcomes
    assert what in left()


def test_without_locks_a_wish_comes_back_to_an_entry_that_has_ended() -> None:
    """Only the trigger of its status stops that, which is no answer for anybody."""
    hold = begin()
    with sabotage.no_row_locks():
        outcomes = race.overtake(wish(hold), erase(hold), before='^UPDATE "waitlist_waitlistentry"')
    assert race.errors(outcomes) == {ProgrammingError}
