"""Reserving a slot, giving it up, and where a slot lands when a claim on it ends."""

from datetime import datetime
from uuid import uuid4

import pytest

from audit.errors import NotFound, Refused
from audit.events import SYSTEM
from audit.models import Event
from scheduling import slots
from scheduling.models import Slot
from tests import factories
from tests.audit import elsewhere
from tests.audit.log import brief, written
from tests.waitlist import worlds
from tests.waitlist.worlds import DAY, HOUR, MINUTE, NOW, SECOND, STAFF, World

START = NOW + DAY


@pytest.fixture
def clinic(db: None) -> World:
    return worlds.build()


def _refused(world: World, slot: Slot, *, now: datetime = NOW) -> str:
    """Try to reserve; return the refusal's code after seeing that nothing changed."""
    slot.refresh_from_db()
    before, events = slot.status, Event.objects.count()
    patient = world.patient()
    with pytest.raises(Refused) as caught:
        slots.reserve(slot_id=slot.pk, patient_id=patient.pk, actor=STAFF, now=now)
    slot.refresh_from_db()
    assert (slot.status, Event.objects.count()) == (before, events)
    return caught.value.code


# Reserving


def test_a_reservation_keeps_a_slot_for_ten_minutes(clinic: World) -> None:
    slot, patient = clinic.slot(), clinic.patient()
    with written() as events:
        reserved = slots.reserve(slot_id=slot.pk, patient_id=patient.pk, actor=STAFF, now=NOW)
    assert (reserved.status, reserved.reserved_until, reserved.reserved_by_id) == (
        "reserved", NOW + 10 * MINUTE, patient.pk
    )  # fmt: skip
    [event] = events
    assert brief(events) == [("reservation.made", "open", "reserved")]
    assert (event.slot_id, event.facility_id, event.provider_id, event.tenant_id) == (
        slot.pk, clinic.facility.pk, clinic.provider.pk, clinic.tenant.pk
    )  # fmt: skip
    assert event.data == {"reserved_until": (NOW + 10 * MINUTE).isoformat()}


def test_a_patient_keeps_three_slots_at_a_time(clinic: World) -> None:
    patient = clinic.patient()
    kept = [
        clinic.reserve(slot=clinic.slot(at=START + n * HOUR), patient=patient) for n in (0, 1, 2)
    ]
    fourth = clinic.slot(at=START + 3 * HOUR)
    with written() as events, pytest.raises(slots.TooManyReserved) as caught:
        clinic.reserve(slot=fourth, patient=patient)
    assert (caught.value.code, caught.value.field) == ("too_many_reserved", "patient")
    fourth.refresh_from_db()
    assert (fourth.status, events) == ("open", [])
    assert clinic.reserve(slot=clinic.slot(at=START + 4 * HOUR)).status == "reserved"  # another's
    slots.release(slot_id=kept[0].pk, actor=STAFF, now=NOW)
    assert clinic.reserve(slot=fourth, patient=patient).status == "reserved"
    later = NOW + 11 * MINUTE  # the sweep has not been there, yet they have lapsed
    fifth = clinic.slot(at=START + 5 * HOUR)
    assert clinic.reserve(slot=fifth, patient=patient, now=later).status == "reserved"


@pytest.mark.parametrize("status", ["booked", "held", "reserved", "blocked", "retired"])
def test_a_slot_that_is_not_open_cannot_be_reserved(clinic: World, status: str) -> None:
    slot = clinic.slot()
    if status == "reserved":
        clinic.reserve(slot=slot)
    else:
        Slot.objects.filter(pk=slot.pk).update(status=status)
    assert _refused(clinic, slot) == ("slot_blocked" if status == "blocked" else "slot_taken")


def test_a_reservation_that_ran_out_stands_until_the_sweep(clinic: World) -> None:
    slot = clinic.reserve()
    later = NOW + 11 * MINUTE
    assert _refused(clinic, slot, now=later) == "slot_taken"
    slots.release_expired(now=later, limit=10)
    assert clinic.reserve(slot=slot, now=later).status == "reserved"


@pytest.mark.parametrize(
    ("starts_at", "taken"),
    [
        (START - 29 * MINUTE, True),
        (START + 29 * MINUTE, True),
        (START - 30 * MINUTE, False),
        (START + 30 * MINUTE, False),
    ],
)
def test_a_provider_is_claimed_once_at_any_instant(
    clinic: World, starts_at: datetime, taken: bool
) -> None:
    clinic.reserve(slot=clinic.slot(at=starts_at))
    slot = clinic.slot(at=START)
    if taken:
        assert _refused(clinic, slot) == "slot_taken"
    else:
        assert clinic.reserve(slot=slot).status == "reserved"


def test_a_claim_at_another_facility_counts(clinic: World) -> None:
    elsewhere = clinic.neighbour()
    elsewhere.book(slot=elsewhere.slot(at=START, provider=clinic.provider))
    assert _refused(clinic, clinic.slot(at=START)) == "slot_taken"


def test_a_slot_under_a_block_it_does_not_know_of_cannot_be_reserved(clinic: World) -> None:
    slot = clinic.slot(at=START)
    factories.TimeBlockFactory.create(facility=clinic.facility, starts_at=START + 29 * MINUTE)
    assert _refused(clinic, slot) == "slot_blocked"


@pytest.mark.parametrize(
    ("start", "past"), [(NOW, True), (NOW - HOUR, True), (NOW + SECOND, False)]
)
def test_a_slot_that_has_begun_cannot_be_reserved(
    clinic: World, start: datetime, past: bool
) -> None:
    slot = clinic.slot(at=start)
    if past:
        assert _refused(clinic, slot) == "slot_past"
    else:
        assert clinic.reserve(slot=slot).status == "reserved"


def test_who_or_what_is_not_there_is_named(clinic: World) -> None:
    wrong, slot, patient = uuid4(), clinic.slot(), clinic.patient()
    stranger = worlds.build().patient()
    for field, slot_id, patient_id in (
        ("slot", wrong, patient.pk),
        ("patient", slot.pk, wrong),
        ("patient", slot.pk, stranger.pk),
    ):
        with pytest.raises(NotFound) as caught:
            slots.reserve(slot_id=slot_id, patient_id=patient_id, actor=STAFF, now=NOW)
        assert caught.value.field == field
    slot.refresh_from_db()
    assert slot.status == "open"


# Giving up


def test_a_reservation_can_be_given_up(clinic: World) -> None:
    slot = clinic.reserve()
    with written() as events:
        released = slots.release(
            slot_id=slot.pk, patient_id=slot.reserved_by_id, actor=STAFF, now=NOW
        )
    assert (released.status, released.reserved_until, released.reserved_by_id) == (
        "open", None, None
    )  # fmt: skip
    assert [(event.kind, event.data) for event in events] == [
        ("slot.opened", {}), ("reservation.released", {"reason": "released"})
    ]  # fmt: skip
    for event in events:
        assert (event.previous_status, event.new_status) == ("reserved", "open")


def test_a_patient_gives_up_their_own_reservation_only(clinic: World) -> None:
    slot = clinic.reserve()
    with pytest.raises(slots.NotReserved) as caught:
        slots.release(slot_id=slot.pk, patient_id=clinic.patient().pk, actor=STAFF, now=NOW)
    assert (caught.value.code, caught.value.field) == ("slot_not_reserved", "slot")
    slot.refresh_from_db()
    assert slot.status == "reserved"
    assert slots.release(slot_id=slot.pk, actor=STAFF, now=NOW).status == "open"


@pytest.mark.parametrize("status", ["open", "booked", "held", "blocked", "retired"])
def test_what_is_not_reserved_cannot_be_given_up(clinic: World, status: str) -> None:
    slot = clinic.slot()
    Slot.objects.filter(pk=slot.pk).update(status=status)
    with pytest.raises(slots.NotReserved):
        slots.release(slot_id=slot.pk, actor=STAFF, now=NOW)
    with pytest.raises(NotFound):
        slots.release(slot_id=uuid4(), actor=STAFF, now=NOW)


def test_reservations_run_out_after_ten_minutes(clinic: World) -> None:
    first = clinic.reserve()
    second = clinic.reserve(slot=clinic.slot(at=START + HOUR), now=NOW + SECOND)
    assert slots.release_expired(now=NOW + 10 * MINUTE - SECOND, limit=10) == 0
    with written() as events:
        assert slots.release_expired(now=NOW + 10 * MINUTE, limit=10) == 1
    for slot in (first, second):
        slot.refresh_from_db()
    assert (first.status, second.status) == ("open", "reserved")
    assert [(event.kind, event.data, event.actor_type) for event in events] == [
        ("slot.opened", {}, "system"), ("reservation.released", {"reason": "lapsed"}, "system")
    ]  # fmt: skip


def test_a_sweep_frees_no_more_than_its_limit(clinic: World) -> None:
    for number in range(3):
        clinic.reserve(slot=clinic.slot(at=START + number * HOUR))
    due = NOW + HOUR
    assert [slots.release_expired(now=due, limit=2) for _ in range(3)] == [2, 1, 0]


@pytest.mark.django_db(transaction=True)
def test_a_sweep_leaves_a_locked_slot_to_the_next() -> None:
    world = worlds.build()
    locked, free = world.reserve(), world.reserve(slot=world.slot(at=START + HOUR))
    with elsewhere.row_locked("scheduling_slot", "id", locked.pk):
        assert slots.release_expired(now=NOW + HOUR, limit=10) == 1
    for slot in (locked, free):
        slot.refresh_from_db()
    assert (locked.status, free.status) == ("reserved", "open")


# Landing


@pytest.mark.parametrize(
    ("superseded", "blocked", "status"),
    [
        (False, False, "open"),
        (False, True, "blocked"),
        (True, False, "retired"),
        (True, True, "retired"),
    ],
)
def test_a_claim_that_ends_leaves_the_slot_where_it_belongs(
    clinic: World, superseded: bool, blocked: bool, status: str
) -> None:
    slot = clinic.reserve(slot=clinic.slot(at=START))
    Slot.objects.filter(pk=slot.pk).update(superseded=superseded)
    if blocked:
        factories.TimeBlockFactory.create(facility=clinic.facility, starts_at=START)
    with written() as events:
        landed = slots.release(slot_id=slot.pk, actor=STAFF, now=NOW)
    assert (landed.status, landed.superseded) == (status, False)
    kind = "slot.opened" if status == "open" else f"slot.{status}"
    assert brief(events)[0] == (kind, "reserved", status)


def test_only_slots_of_the_named_status_land(clinic: World) -> None:
    still_open, reserved = clinic.slot(), clinic.reserve(slot=clinic.slot(at=START + HOUR))
    with written() as events:
        landed = slots.land(
            slot_ids=[still_open.pk, reserved.pk], was="booked", actor=SYSTEM, now=NOW
        )
    assert (landed, events) == ({}, [])


def test_an_open_slot_that_belongs_there_is_not_touched(clinic: World) -> None:
    slot = clinic.slot()
    with written() as events:
        assert slots.land(slot_ids=[slot.pk], was="open", actor=SYSTEM, now=NOW) == {}
    assert events == []
    assert slots.land(slot_ids=[], was="open", actor=SYSTEM, now=NOW) == {}


def test_a_slot_that_moved_since_it_was_read_is_not_written_over(clinic: World) -> None:
    slot = clinic.slot()
    Slot.objects.filter(pk=slot.pk).update(status="retired")
    with pytest.raises(slots.SlotTaken):
        slots.move(slot=slot, to=Slot.Status.BOOKED)


def test_slots_are_returned_in_the_order_asked_for(clinic: World) -> None:
    made = [clinic.slot(at=START + number * HOUR) for number in range(4)]
    wanted = [made[2].pk, made[0].pk, made[3].pk]
    assert [slot.pk for slot in slots.lock_for_claim(slot_ids=wanted)] == wanted
    assert [slot.pk for slot in slots.lock(slot_ids=wanted)] == sorted(wanted)
