"""`check_invariants` says nothing of a healthy database, and names each row of a broken one."""

import json
from io import StringIO
from typing import Any
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from audit.models import Event, Unrelayed
from availability import rfps, statuses
from availability.models import Rfp, RfpVenue, Signal
from notifications import relay
from scheduling import appointments, blocks, slots
from tests import venues
from tests.audit.refusals import unguarded
from tests.waitlist import asking, worlds
from tests.waitlist.worlds import DAY, HOUR, NOW, STAFF, World
from waitlist import entries, holds, invariants, invites


def _ask() -> None:
    """Let RFPs end in each way."""
    scene = venues.set_scene()
    for number, response in enumerate(("confirmed", "tentative", "unavailable")):
        rfp = scene.send()
        target = scene.answer(rfp, response)
        given: dict[str, Any] = {"rfp_id": rfp.pk, "actor": STAFF, "now": NOW}
        if number == 0:
            rfps.shortlist(**given, rfp_venue_id=target.pk)
            rfps.award(**given, rfp_venue_id=target.pk)
        elif number == 1:
            rfps.close(**given)
    scene.send()
    rfps.close_overdue(now=venues.DEADLINE, limit=10)
    rfps.discard(rfp_id=scene.draft().pk, actor=STAFF, now=NOW)
    scene.draft()
    statuses.infer(now=NOW)
    scene.set("accepting_events")


def _check(*arguments: str) -> str:
    out = StringIO()
    call_command("check_invariants", *arguments, stdout=out)
    return out.getvalue()


def _found() -> set[tuple[int, UUID]]:
    return {(breach.number, breach.id) for breach in invariants.breaches()}


@pytest.fixture
def lived(clinic: World) -> World:
    """A clinic in which everything has happened once, by real calls."""
    for number, way in enumerate(("accept", "decline", "lapse", "withdraw", "block", "live")):
        hold = clinic.offer(slot=clinic.slot(at=NOW + (number + 2) * DAY))
        if way == "accept":
            worlds.accept(hold)
        elif way == "decline":
            worlds.decline(hold)
        elif way == "lapse":
            holds.expire_due(now=NOW + DAY, limit=10)
        elif way == "withdraw":
            entries.cancel(entry_id=hold.entry_id, reason="moved", actor=STAFF, now=NOW)
        elif way == "block":
            start = NOW + (number + 2) * DAY
            blocks.create(facility_id=clinic.facility.pk, provider_id=None, starts_at=start,
                          ends_at=start + HOUR, reason="", actor=STAFF, now=NOW)  # fmt: skip
            holds.withdraw_blocked(now=NOW, limit=10)
    clinic.reserve(slot=clinic.slot(at=NOW + 20 * DAY))
    cancelled = clinic.book(slot=clinic.slot(at=NOW + 21 * DAY))
    appointments.cancel(appointment_id=cancelled.pk, reason="moved", actor=STAFF, now=NOW)
    moved = clinic.book(slot=clinic.slot(at=NOW + 22 * DAY))
    other = clinic.slot(at=NOW + 23 * DAY)
    appointments.reschedule(appointment_id=moved.pk, slot_id=other.pk, actor=STAFF, now=NOW)
    appointments.complete(appointment_id=moved.pk, actor=STAFF, now=NOW + 23 * DAY)
    promoted = clinic.slot(at=NOW + 24 * DAY)
    invites.promote(entry_id=clinic.join().pk, slot_id=promoted.pk, actor=STAFF, now=NOW)
    clinic.join(latest=NOW)
    _ask()
    entries.expire_due(now=NOW, limit=10)
    venue = worlds.build(kind="venue").facility
    for way in ("lapse", "lapse", "convert", "wait"):
        asking.wait(place=venue)
        if way != "wait":
            hold = asking.offer(place=venue)
        if way == "lapse":
            holds.expire_due(now=hold.expires_at, limit=10)
        elif way == "convert":
            asking.convert(hold)
    relay.relay(limit=5, now=NOW)
    return clinic


def test_all_that_can_happen_breaks_no_invariant(lived: World) -> None:
    assert invariants.breaches() == []
    assert invariants.unguarded() == []
    assert "Every invariant holds." in _check()
    assert json.loads(_check("--json")) == {"breaches": [], "unguarded_tables": []}


def test_an_empty_database_breaks_none(db: None) -> None:
    assert "Every invariant holds." in _check()


# How each invariant is broken: statements by raw SQL while the guards sleep.


def _drop(name: str, table: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}")
        cursor.execute(f"DROP INDEX IF EXISTS {name}")


def _set(table: str, row: Any, *, by: str = "id", **columns: Any) -> None:
    settings = ", ".join(f"{column} = %({column})s" for column in columns)
    unguarded(
        f"UPDATE {table} SET {settings} WHERE {by} = %(row)s",  # noqa: S608
        {**columns, "row": row},
    )


def _slot(row: Any, **columns: Any) -> None:
    _set("scheduling_slot", row, **columns)


def _entry(row: Any, **columns: Any) -> None:
    _set("waitlist_waitlistentry", row, **columns)


def _hold(row: Any, **columns: Any) -> None:
    _set("waitlist_hold", row, **columns)


def test_1_a_provider_claimed_twice_at_once(clinic: World) -> None:
    one, other = clinic.reserve(), clinic.slot(minutes=60)
    _drop("slot_provider_claimed_once", "scheduling_slot")
    _slot(other.pk, status="reserved", reserved_until=NOW)
    assert _found() == {(1, one.pk), (1, other.pk)}


def test_2_two_live_holds_of_one_slot_and_of_one_patient(clinic: World) -> None:
    one = clinic.offer()
    other = clinic.offer(slot=clinic.slot(at=NOW + 2 * DAY))
    for name in ("hold_slot_once", "hold_patient_once_at_a_time"):
        _drop(name, "waitlist_hold")
    _hold(other.pk, slot_id=one.slot_id, period=one.period)
    assert (2, one.slot_id) in _found()
    _hold(other.pk, patient_id=one.patient_id)
    assert {(2, one.pk), (2, other.pk)} <= _found()


def test_2_two_live_holds_of_one_entry(clinic: World) -> None:
    one = clinic.offer()
    other = clinic.offer(slot=clinic.slot(at=NOW + 2 * DAY))
    _drop("hold_entry_once", "waitlist_hold")
    _hold(other.pk, entry_id=one.entry_id)
    assert (2, one.entry_id) in _found()


def test_2_two_live_holds_without_slot_in_one_queue(venue: World) -> None:
    waiting = [asking.wait(place=venue.facility) for _ in range(2)]
    _drop("hold_without_slot_once", "waitlist_hold")
    for entry in waiting:
        worlds.without_slot(entry)
    assert (2, venue.facility.pk) in _found()


@pytest.mark.parametrize("status", ["open", "booked", "blocked"])
def test_3_a_live_hold_of_a_slot_that_is_not_held(clinic: World, status: str) -> None:
    hold = clinic.offer()
    assert hold.slot_id is not None
    _slot(hold.slot_id, status=status)
    assert _found() == {(3, hold.slot_id)}


@pytest.mark.parametrize("status", ["held", "booked"])
def test_3_a_claimed_slot_without_its_claim(clinic: World, status: str) -> None:
    slot = clinic.slot()
    _slot(slot.pk, status=status)
    assert _found() == {(3, slot.pk)}


def test_7_an_rfp_whose_events_say_otherwise(db: None) -> None:
    scene = venues.set_scene()
    rfp = scene.send()
    target = scene.target(rfp)
    Rfp.objects.filter(pk=rfp.pk).update(status="closed")
    RfpVenue.objects.filter(pk=target.pk).update(status="no_response")
    assert _found() == {(7, rfp.pk), (7, target.pk)}


def test_9_rfps_and_signals_of_the_wrong_tenant(db: None) -> None:
    scene, other = venues.set_scene(), venues.set_scene()
    rfp, theirs = scene.draft(), other.draft()
    target = scene.target(rfp)
    _set("availability_rfpvenue", target.pk, tenant_id=other.organizer.pk)
    assert _found() == {(9, target.pk)}
    _set("availability_rfpvenue", target.pk, tenant_id=scene.organizer.pk)
    _set("availability_rfp", rfp.pk, duplicated_from_id=theirs.pk)
    assert _found() == {(9, rfp.pk)}
    signal = Signal.objects.create(
        tenant_id=scene.organizer.pk, facility_id=scene.venue.pk, type="manual_available",
        recorded_at=NOW,
    )  # fmt: skip
    assert _found() == {(9, rfp.pk), (9, signal.pk)}
    unguarded("DELETE FROM availability_venueavailability")
    assert {(9, scene.venue.pk), (9, other.venue.pk)} <= _found()


def test_3_an_appointment_in_a_slot_that_is_not_booked(clinic: World) -> None:
    appointment = clinic.book()
    _slot(appointment.slot_id, status="open")
    assert _found() == {(3, appointment.slot_id)}


def test_3_a_reservation_without_its_end(clinic: World) -> None:
    slot = clinic.reserve()
    _drop("slot_reserved", "scheduling_slot")
    _slot(slot.pk, reserved_until=None)
    assert _found() == {(3, slot.pk)}


def test_4_an_offered_entry_without_an_offer_and_the_reverse(clinic: World) -> None:
    waiting, hold = clinic.join(), clinic.offer()
    _entry(waiting.pk, status="offered")
    _entry(hold.entry_id, status="waiting")
    assert {(4, waiting.pk), (4, hold.entry_id)} <= _found()


def test_4_a_converted_entry_without_an_appointment_and_an_ended_one_without_a_time(
    clinic: World,
) -> None:
    converted, ended = clinic.join(), clinic.join()
    for name in ("entry_converted", "entry_closed_at"):
        _drop(name, "waitlist_waitlistentry")
    _entry(converted.pk, status="converted", closed_at=NOW)
    _entry(ended.pk, status="expired")
    assert {(4, converted.pk), (4, ended.pk)} <= _found()


def test_5_somebody_who_waits_twice_for_the_same(clinic: World) -> None:
    one, other = clinic.join(), clinic.join()
    _drop("entry_patient_once", "waitlist_waitlistentry")
    _entry(other.pk, patient_id=one.patient_id)
    assert _found() == {(5, one.pk), (5, other.pk)}


def test_5_at_a_salon_one_may_wait_for_two_services(salon: World) -> None:
    patient = salon.patient()
    one, other = salon.join(patient=patient), salon.join(patient=patient, service_id=None)
    assert _found() == set()
    _drop("entry_patient_once", "waitlist_waitlistentry")
    _entry(other.pk, service_id=salon.service.pk)
    assert _found() == {(5, one.pk), (5, other.pk)}


def test_6_a_patient_booked_twice_at_once(clinic: World) -> None:
    one = clinic.book()
    elsewhere = clinic.neighbour()
    other = elsewhere.book()
    _drop("appointment_patient_booked_once", "scheduling_appointment")
    _set("scheduling_appointment", other.pk, patient_id=one.patient_id)
    assert _found() == {(6, one.pk), (6, other.pk)}


def test_7_an_event_that_no_relay_will_find(clinic: World) -> None:
    clinic.join()
    event = Event.objects.get()
    Unrelayed.objects.all().delete()
    assert _found() == {(7, event.pk)}
    Unrelayed.objects.create(event_id=event.pk)
    relay.relay(limit=10, now=NOW)
    Unrelayed.objects.create(event_id=event.pk)
    assert _found() == {(7, event.pk)}


def test_7_rows_whose_state_no_event_tells(clinic: World) -> None:
    entry, hold, appointment = (
        clinic.join(), clinic.offer(), clinic.book(slot=clinic.slot(at=NOW + 2 * DAY))
    )  # fmt: skip
    unguarded("DELETE FROM audit_event")
    Unrelayed.objects.all().delete()
    assert _found() == {
        (7, entry.pk), (7, hold.pk), (7, hold.entry_id), (7, appointment.pk)
    }  # fmt: skip


def test_7_a_transition_by_hand_is_missed(clinic: World) -> None:
    entry = clinic.join()
    _entry(entry.pk, status="expired", closed_at=NOW)
    assert _found() == {(7, entry.pk)}


def test_7_a_transition_by_hand_into_what_the_row_was_once_is_missed(clinic: World) -> None:
    """What counts is the last event, not that there was one like it."""
    slot, hold = clinic.reserve(slot=clinic.slot(at=NOW + 2 * DAY)), clinic.offer()
    slots.release(slot_id=slot.pk, actor=STAFF, now=NOW)
    worlds.decline(hold)
    booked = clinic.book(slot=clinic.slot(at=NOW + 3 * DAY))
    appointments.cancel(appointment_id=booked.pk, reason="moved", actor=STAFF, now=NOW)
    assert _found() == set()
    _slot(slot.pk, status="reserved", reserved_until=NOW)
    _slot(hold.slot_id, status="held")
    _hold(hold.pk, status="offered", closed_at=None)
    _entry(hold.entry_id, status="offered")
    _slot(booked.slot_id, status="booked")
    _set(
        "scheduling_appointment", booked.pk, status="booked", cancelled_at=None,
        cancellation_reason="",
    )  # fmt: skip
    assert _found() == {(7, slot.pk), (7, hold.pk), (7, hold.entry_id), (7, booked.pk)}


def test_8_an_event_that_says_too_much(clinic: World) -> None:
    clinic.join()
    clinic.join()
    first, second = Event.objects.order_by("pk")
    unguarded(
        'UPDATE audit_event SET data = \'{"name": "Ada"}\' WHERE id = %(id)s', {"id": first.pk}
    )
    unguarded("UPDATE audit_event SET kind = 'slot.painted' WHERE id = %(id)s", {"id": second.pk})
    assert {(8, first.pk), (8, second.pk)} <= _found()


def test_9_rows_of_two_tenants(clinic: World) -> None:
    stranger = worlds.build()
    hold, entry = clinic.offer(), clinic.join()
    appointment = clinic.book(slot=clinic.slot(at=NOW + 2 * DAY))
    slots = {
        name: clinic.slot(at=NOW + number * DAY)
        for number, name in enumerate(("facility_id", "provider_id", "service_id"), start=3)
    }
    _hold(hold.pk, tenant_id=stranger.tenant.pk)
    _entry(entry.pk, tenant_id=stranger.tenant.pk)
    _set("scheduling_appointment", appointment.pk, patient_id=stranger.patient().pk)
    _slot(slots["facility_id"].pk, facility_id=stranger.facility.pk)
    _slot(slots["provider_id"].pk, provider_id=stranger.provider.pk)
    _slot(slots["service_id"].pk, service_id=stranger.service.pk)
    assert _found() == {(9, row.pk) for row in (hold, entry, appointment, *slots.values())}


def test_9_a_patient_who_waits_at_a_venue(clinic: World, venue: World) -> None:
    entry = clinic.join()
    _set("scheduling_facility", clinic.facility.pk, kind="venue")
    assert _found() == {(9, entry.pk), (9, clinic.facility.pk)}  # nor has it an availability


def test_9_an_organizer_who_waits_at_their_own_venue(venue: World) -> None:
    entry = asking.wait(place=venue.facility)
    _set("scheduling_facility", venue.facility.pk, tenant_id=entry.organizer_id)
    assert (9, entry.pk) in _found()


def test_9_an_organizer_who_waits_at_a_place_that_is_no_venue(clinic: World, venue: World) -> None:
    """Nothing crosses tenants except an organizer's entry at a venue."""
    entry = asking.wait(place=venue.facility)
    assert _found() == set()
    _entry(entry.pk, facility_id=clinic.facility.pk)
    assert _found() == {(9, entry.pk)}


# The command on a broken database


def test_a_breach_is_named_and_the_exit_is_1(clinic: World) -> None:
    slot = clinic.slot()
    _slot(slot.pk, status="held")
    out = StringIO()
    with pytest.raises(CommandError) as caught:
        call_command("check_invariants", stdout=out)
    assert caught.value.returncode == 1
    assert f"invariant 3: slot held without a live hold, or the reverse: {slot.pk}" in (
        out.getvalue()
    )
    out = StringIO()
    with pytest.raises(CommandError):
        call_command("check_invariants", "--json", stdout=out)
    assert json.loads(out.getvalue()) == {
        "breaches": [
            {
                "invariant": 3,
                "what": "slot held without a live hold, or the reverse",
                "id": str(slot.pk),
            }
        ],
        "unguarded_tables": [],
    }


@pytest.mark.parametrize("table", invariants.APPEND_ONLY)
@pytest.mark.parametrize("which", ["append_only", "no_truncate"])
@pytest.mark.parametrize("how", ["disabled", "dropped"])
def test_a_guard_of_the_log_that_is_off_is_named(
    db: None, table: str, which: str, how: str
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tgname FROM pg_trigger WHERE tgrelid = %s::regclass AND tgname LIKE %s",
            [table, f"pgtrigger_{which}%"],
        )
        [(name,)] = cursor.fetchall()
        if how == "disabled":
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER {name}")
        else:
            cursor.execute(f"DROP TRIGGER {name} ON {table}")
    out = StringIO()
    with pytest.raises(CommandError) as caught:
        call_command("check_invariants", stdout=out)
    assert caught.value.returncode == 1
    assert f"the triggers of {table} are missing or off" in out.getvalue()
    assert invariants.unguarded() == [table]
