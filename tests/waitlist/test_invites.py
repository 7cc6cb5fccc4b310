"""What staff do by hand: invite, offer a vacancy, promote; all of it or nothing."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from audit.errors import NotFound, Refused
from audit.models import Event
from scheduling import appointments, slots
from scheduling.models import Appointment, Slot
from tests import factories
from tests.audit.log import brief, written
from tests.waitlist import asking, worlds
from tests.waitlist.worlds import DAY, HOUR, MINUTE, NOW, SECOND, STAFF, World
from waitlist import entries, holds, invites
from waitlist.models import Hold, Queue, WaitlistEntry

NIGHT = datetime(2030, 3, 4, 22, tzinfo=UTC)
MORNING = datetime(2030, 3, 5, 8, tzinfo=UTC)  # quiet hours are over


def _invite(slot: Slot, entry: WaitlistEntry | None = None, *, now: datetime = NOW) -> Hold:
    return invites.invite(
        slot_id=slot.pk, entry_id=entry.pk if entry else None, actor=STAFF, now=now
    )


def _promote(entry: WaitlistEntry, slot: Slot, *, now: datetime = NOW) -> Appointment:
    return invites.promote(entry_id=entry.pk, slot_id=slot.pk, actor=STAFF, now=now)


def _invite_for(
    appointment: Appointment, entry: WaitlistEntry | None = None, *, now: datetime = NOW
) -> Hold:
    return invites.invite_for(
        appointment_id=appointment.pk,
        entry_id=entry.pk if entry else None,
        reason="patient_request",
        actor=STAFF,
        now=now,
    )


def _refusal(call: Callable[[], Any]) -> str:
    """Return the code of a refusal that changed no row and wrote no event."""

    def rows() -> list[Any]:
        models: list[Any] = [Slot, WaitlistEntry, Hold, Appointment]
        return [
            Event.objects.count(),
            *(sorted(model.objects.values_list("pk", "status")) for model in models),
        ]

    before = rows()
    with pytest.raises(Refused) as caught:
        call()
    assert rows() == before
    return caught.value.code


# Inviting


def test_staff_offer_a_slot_to_whom_they_choose(clinic: World) -> None:
    clinic.join(at=NOW - 9 * DAY)
    slot, entry = clinic.slot(), clinic.join()
    with written() as events:
        hold = _invite(slot, entry)
    assert (hold.entry_id, hold.slot_id, hold.source, hold.score) == (
        entry.pk, slot.pk, "staff", 100
    )  # fmt: skip
    assert hold.expires_at == NOW + DAY - 30 * MINUTE
    assert brief(events) == [("waitlist.hold_offered", None, "offered")]
    assert (events[0].actor_type, events[0].actor_id) == (STAFF.type, STAFF.id)


def test_staff_offer_a_slot_to_the_best_match(clinic: World) -> None:
    clinic.join(at=NOW - 9 * DAY, preferred_days=[7])
    best = clinic.join(at=NOW - 2 * DAY)
    clinic.join(at=NOW - DAY)
    assert _invite(clinic.slot()).entry_id == best.pk


def test_staff_may_invite_where_the_scan_may_not(clinic: World) -> None:
    clinic.change(auto_invite=False)
    assert clinic.offer().status == "offered"


def test_an_invitation_stays_one_of_staff_after_others_had_the_slot(clinic: World) -> None:
    slot = clinic.slot()
    worlds.decline(_invite(slot, clinic.join()))
    assert _invite(slot, clinic.join()).source == "staff"


def test_an_entry_with_another_offer_gives_that_back(clinic: World) -> None:
    first = clinic.offer()
    other = clinic.slot(at=NOW + 2 * DAY)
    with written() as events:
        second = _invite(other, first.entry)
    first.refresh_from_db()
    assert first.slot is not None
    assert (first.status, first.slot.status, second.status) == ("withdrawn", "open", "offered")
    first.entry.refresh_from_db()
    assert (first.entry.status, first.entry.offers_made) == ("offered", 0)
    assert brief(events) == [
        ("waitlist.hold_withdrawn", "offered", "withdrawn"),
        ("slot.opened", "held", "open"),
        ("waitlist.hold_offered", None, "offered"),
    ]
    assert events[0].data == {"reason": "replaced"}


def test_at_night_the_time_to_answer_begins_when_quiet_hours_end(clinic: World) -> None:
    hold = _invite(clinic.slot(at=NOW + 5 * DAY), clinic.join(), now=NIGHT)
    assert (hold.offered_at, hold.expires_at) == (NIGHT, MORNING + DAY)


def test_at_night_the_slot_still_ends_the_time_to_answer(clinic: World) -> None:
    hold = _invite(clinic.slot(at=MORNING + HOUR), clinic.join(), now=NIGHT)
    assert hold.expires_at == MORNING + 30 * MINUTE


@pytest.mark.parametrize(
    ("now", "start", "late"),
    [
        (NOW, NOW + 35 * MINUTE, False),
        (NOW, NOW + 35 * MINUTE - SECOND, True),
        (NOW, NOW + SECOND, True),
        (NIGHT, MORNING + 35 * MINUTE, False),
        (NIGHT, MORNING + 35 * MINUTE - SECOND, True),
        (NIGHT, MORNING - HOUR, True),
    ],
)
def test_a_slot_that_begins_too_soon_cannot_be_offered(
    clinic: World, now: datetime, start: datetime, late: bool
) -> None:
    slot, entry = clinic.slot(at=start), clinic.join()
    if late:
        assert _refusal(lambda: _invite(slot, entry, now=now)) == "too_late"
        assert _refusal(lambda: _invite(slot, now=now)) == "too_late"
    else:
        assert _invite(slot, entry, now=now).status == "offered"


def test_without_a_least_hold_the_deadline_is_still_after_the_offer(clinic: World) -> None:
    clinic.change(min_hold=timedelta(0))
    slot, entry = clinic.slot(at=NOW + 30 * MINUTE), clinic.join()
    assert _refusal(lambda: _invite(slot, entry)) == "too_late"


def test_a_slot_beyond_the_look_ahead_fits_nobody(clinic: World) -> None:
    """Every rule of "Which entry fits which slot" must hold, or the pair does not exist."""
    slot, entry = clinic.slot(at=NOW + 30 * DAY + SECOND), clinic.join()
    assert _refusal(lambda: _invite(slot, entry)) == "does_not_fit"
    assert _refusal(lambda: _invite(slot)) == "nobody_fits"


def test_an_entry_that_does_not_fit_is_refused(clinic: World) -> None:
    other = factories.ServiceFactory.create(tenant=clinic.tenant)
    slot, entry = clinic.slot(), clinic.join(service_id=other.pk)
    assert _refusal(lambda: _invite(slot, entry)) == "does_not_fit"


def test_an_entry_of_too_low_a_score_is_refused(clinic: World) -> None:
    clinic.change(min_match_score=91)
    slot, entry = clinic.slot(), clinic.join(preferred_days=[7])
    assert _refusal(lambda: _invite(slot, entry)) == "does_not_fit"


def test_an_entry_that_does_not_fit_keeps_the_offer_it_has(clinic: World) -> None:
    hold = clinic.offer()
    other = factories.ServiceFactory.create(tenant=clinic.tenant)
    slot = clinic.slot(at=NOW + 2 * DAY, service=other)
    assert _refusal(lambda: _invite(slot, hold.entry)) == "does_not_fit"


def test_the_slot_that_an_entry_is_offered_is_not_offered_to_it_again(clinic: World) -> None:
    hold = clinic.offer()
    assert hold.slot is not None
    slot = hold.slot
    assert _refusal(lambda: _invite(slot, hold.entry)) == "does_not_fit"


def test_a_slot_nobody_waits_for_is_refused(clinic: World) -> None:
    slot = clinic.slot()
    assert _refusal(lambda: _invite(slot)) == "nobody_fits"


@pytest.mark.parametrize("chosen", [True, False])
def test_a_slot_that_cannot_be_claimed_is_refused(clinic: World, chosen: bool) -> None:
    entry = clinic.join()
    to = entry if chosen else None
    reserved, blocked, past = clinic.slot(), clinic.slot(at=NOW + 2 * DAY), clinic.slot(at=NOW)
    clinic.reserve(slot=reserved)
    factories.TimeBlockFactory.create(facility=clinic.facility, starts_at=NOW + 2 * DAY)
    codes = [_refusal(lambda: _invite(slot, to)) for slot in (reserved, blocked, past)]  # noqa: B023
    assert codes == ["slot_taken", "slot_blocked", "slot_past"]


def test_who_is_promoted_is_booked_for_what_they_wait_for(clinic: World) -> None:
    slot = clinic.slot(service=None)
    assert _promote(clinic.join(), slot).service_id == clinic.service.pk


@pytest.mark.parametrize("call", [_invite, lambda slot, entry: _promote(entry, slot)])
def test_an_ended_entry_is_refused(clinic: World, call: Callable[..., Any]) -> None:
    entry, slot = clinic.join(), clinic.slot()
    entries.cancel(entry_id=entry.pk, reason="moved", actor=STAFF, now=NOW)
    assert _refusal(lambda: call(slot, entry)) == "entry_closed"


def test_what_is_not_there_is_named(clinic: World) -> None:
    wrong = uuid4()
    calls: list[tuple[str, Callable[[], Any]]] = [
        ("slot", lambda: invites.invite(slot_id=wrong, entry_id=None, actor=STAFF, now=NOW)),
        ("entry", lambda: invites.invite(
            slot_id=clinic.slot().pk, entry_id=wrong, actor=STAFF, now=NOW)),
        ("slot", lambda: invites.promote(
            slot_id=wrong, entry_id=clinic.join().pk, actor=STAFF, now=NOW)),
        ("entry", lambda: invites.promote(
            slot_id=clinic.slot(minutes=45).pk, entry_id=wrong, actor=STAFF, now=NOW)),
        ("appointment", lambda: invites.invite_for(
            appointment_id=wrong, entry_id=None, reason="x", actor=STAFF, now=NOW)),
    ]  # fmt: skip
    for field, call in calls:
        with pytest.raises(NotFound) as caught:
            call()
        assert caught.value.field == field
        assert str(wrong) in str(caught.value)


def test_another_tenants_entry_is_not_found(clinic: World) -> None:
    stranger, slot = worlds.build().join(), clinic.slot()
    appointment = clinic.book(slot=clinic.slot(at=NOW + 2 * DAY))
    assert _refusal(lambda: _invite(slot, stranger)) == "not_found"
    assert _refusal(lambda: _promote(stranger, slot)) == "not_found"
    assert _refusal(lambda: _invite_for(appointment, stranger)) == "not_found"


# Offering an appointment's vacancy


@pytest.mark.parametrize("chosen", [True, False])
def test_a_vacancy_is_cancelled_and_offered_in_one(clinic: World, chosen: bool) -> None:
    appointment, entry = clinic.book(), clinic.join()
    with written() as events:
        hold = _invite_for(appointment, entry if chosen else None)
    appointment.refresh_from_db()
    assert (appointment.status, appointment.cancellation_reason, appointment.cancelled_at) == (
        "cancelled", "patient_request", NOW
    )  # fmt: skip
    assert (hold.slot_id, hold.entry_id, hold.source) == (
        appointment.slot_id, entry.pk, "staff"
    )  # fmt: skip
    assert Slot.objects.get(pk=appointment.slot_id).status == "held"
    assert brief(events) == [
        ("appointment.cancelled", "booked", "cancelled"),
        ("slot.opened", "booked", "open"),
        ("waitlist.hold_offered", None, "offered"),
    ]


def test_nothing_is_cancelled_when_nobody_fits(clinic: World) -> None:
    appointment = clinic.book()
    assert _refusal(lambda: _invite_for(appointment)) == "nobody_fits"


def test_nothing_is_cancelled_when_the_chosen_one_does_not_fit(clinic: World) -> None:
    other = factories.ServiceFactory.create(tenant=clinic.tenant)
    appointment, entry = clinic.book(), clinic.join(service_id=other.pk)
    assert _refusal(lambda: _invite_for(appointment, entry)) == "does_not_fit"


def test_nothing_is_cancelled_when_the_chosen_one_has_left(clinic: World) -> None:
    appointment, entry = clinic.book(), clinic.join()
    entries.cancel(entry_id=entry.pk, reason="moved", actor=STAFF, now=NOW)
    assert _refusal(lambda: _invite_for(appointment, entry)) == "entry_closed"


@pytest.mark.parametrize(
    ("start", "code"), [(NOW + 34 * MINUTE, "too_late"), (NOW + SECOND, "too_late")]
)
def test_nothing_is_cancelled_when_it_is_too_late(
    clinic: World, start: datetime, code: str
) -> None:
    appointment = clinic.book(slot=clinic.slot(at=start))
    clinic.join()
    assert _refusal(lambda: _invite_for(appointment)) == code


def test_nothing_is_cancelled_when_the_slot_has_begun(clinic: World) -> None:
    appointment = clinic.book(slot=clinic.slot(at=NOW + HOUR))
    clinic.join()
    assert _refusal(lambda: _invite_for(appointment, now=NOW + HOUR)) == "slot_past"


def test_nothing_is_cancelled_when_the_slot_would_be_blocked(clinic: World) -> None:
    appointment = clinic.book()
    factories.TimeBlockFactory.create(facility=clinic.facility, starts_at=appointment.period.lower)
    clinic.join()
    assert _refusal(lambda: _invite_for(appointment)) == "slot_blocked"


def test_nothing_is_cancelled_when_no_rule_makes_the_slot_any_longer(clinic: World) -> None:
    appointment = clinic.book()
    Slot.objects.filter(pk=appointment.slot_id).update(superseded=True)
    clinic.join()
    assert _refusal(lambda: _invite_for(appointment)) == slots.SlotTaken.code


def test_an_appointment_that_is_not_booked_has_no_vacancy(clinic: World) -> None:
    appointment = clinic.book()
    appointments.cancel(appointment_id=appointment.pk, reason="moved", actor=STAFF, now=NOW)
    clinic.join()
    assert _refusal(lambda: _invite_for(appointment)) == "appointment_not_booked"


# Promoting


def test_staff_book_a_slot_for_who_waits(clinic: World) -> None:
    entry, slot = clinic.join(), clinic.slot()
    with written() as events:
        appointment = _promote(entry, slot)
    entry.refresh_from_db()
    slot.refresh_from_db()
    assert (entry.status, entry.closed_at, entry.appointment_id) == (
        "converted", NOW, appointment.pk
    )  # fmt: skip
    assert (slot.status, appointment.source, appointment.patient_id) == (
        "booked", "waitlist", entry.patient_id
    )  # fmt: skip
    assert brief(events) == [
        ("appointment.booked", None, "booked"),
        ("waitlist.converted", "waiting", "converted"),
    ]
    assert {event.entry_id for event in events} == {entry.pk}
    assert {event.hold_id for event in events} == {None}


def test_who_has_an_offer_gives_it_back_when_promoted(clinic: World) -> None:
    hold = clinic.offer()
    appointment = _promote(hold.entry, clinic.slot(at=NOW + 2 * DAY))
    hold.refresh_from_db()
    hold.entry.refresh_from_db()
    assert hold.slot is not None
    assert (hold.status, hold.slot.status, hold.entry.status) == (
        "withdrawn", "open", "converted"
    )  # fmt: skip
    assert hold.entry.appointment_id == appointment.pk


def test_who_is_promoted_to_the_slot_they_are_offered_is_booked_in_it(clinic: World) -> None:
    hold = clinic.offer()
    assert hold.slot is not None
    appointment = _promote(hold.entry, hold.slot)
    hold.refresh_from_db()
    assert (hold.status, appointment.slot_id) == ("withdrawn", hold.slot_id)
    assert Slot.objects.get(pk=appointment.slot_id).status == "booked"


def test_staff_may_promote_against_wishes_and_notice(clinic: World) -> None:
    entry = clinic.join(preferred_days=[7], earliest=NOW + 9 * DAY)
    assert _promote(entry, clinic.slot(at=NOW + MINUTE)).status == "booked"


def test_staff_may_promote_into_what_the_patient_has_reserved(clinic: World) -> None:
    entry, slot = clinic.join(), clinic.slot()
    clinic.reserve(slot=slot, patient=entry.patient)
    assert _promote(entry, slot).status == "booked"


def test_a_slot_that_is_taken_cannot_be_promoted_into_and_the_offer_stays(clinic: World) -> None:
    hold = clinic.offer()
    taken = clinic.slot(at=NOW + 2 * DAY)
    clinic.reserve(slot=taken)
    assert _refusal(lambda: _promote(hold.entry, taken)) == "slot_taken"
    past = clinic.slot(at=NOW)
    assert _refusal(lambda: _promote(hold.entry, past)) == "slot_past"


def test_who_is_booked_at_that_time_cannot_be_promoted(clinic: World) -> None:
    entry, slot = clinic.join(), clinic.slot()
    clinic.neighbour().book(patient=entry.patient)
    assert _refusal(lambda: _promote(entry, slot)) == "patient_busy"


def test_an_organizer_cannot_be_booked_into_a_slot(venue: World) -> None:
    entry = asking.wait(place=venue.facility)
    slot = venue.slot()
    assert _refusal(lambda: _promote(entry, slot)) == "not_found"


# A facility or a provider who is no longer active


@pytest.mark.parametrize("field", ["facility", "provider"])
@pytest.mark.parametrize(
    "way", ["book", "reserve", "move", "invite", "invite for", "promote", "accept"]
)
def test_nothing_is_claimed_where_nobody_is_at_work(clinic: World, way: str, field: str) -> None:
    slot, entry = clinic.slot(), clinic.join()
    patient_id = clinic.patient().pk
    given: dict[str, Any] = {"actor": STAFF, "now": NOW}
    booked = clinic.book(slot=clinic.slot(at=NOW + 2 * DAY))
    elsewhere = clinic.neighbour()
    moving = elsewhere.book()
    held = clinic.offer(slot=clinic.slot(at=NOW + 3 * DAY))
    calls: dict[str, Callable[[], Any]] = {
        "book": partial(appointments.book, slot_id=slot.pk, patient_id=patient_id,
                        source="staff", **given),
        "reserve": partial(slots.reserve, slot_id=slot.pk, patient_id=patient_id, **given),
        "move": partial(appointments.reschedule, appointment_id=moving.pk, slot_id=slot.pk,
                        **given),
        "invite": partial(_invite, slot),
        "invite for": partial(_invite_for, booked, entry),
        "promote": partial(_promote, entry, slot),
        "accept": partial(holds.accept, hold_id=held.pk, **given),
    }  # fmt: skip
    row = clinic.facility if field == "facility" else clinic.provider
    type(row).objects.filter(pk=row.pk).update(is_active=False)
    refused: list[Refused] = []

    def try_it() -> None:
        try:
            calls[way]()
        except Refused as error:
            refused.append(error)
            raise

    assert _refusal(try_it) == "inactive"
    assert refused[0].field == field
    # What is there can still be given up.
    appointments.cancel(appointment_id=booked.pk, reason="facility_closed", **given)
    holds.decline(hold_id=held.pk, **given)


def test_who_waits_in_a_deactivated_queue_visits_nobody(clinic: World) -> None:
    """Neither by the scan nor by hand, though they would take any facility."""
    neighbour = clinic.neighbour()
    entry = neighbour.join(any_facility=True, service_id=clinic.service.pk)
    slot = clinic.slot()
    Queue.objects.filter(facility=neighbour.facility).update(deactivated_at=NOW)
    assert clinic.fill().offers == 0
    assert _refusal(lambda: _invite(slot)) == "nobody_fits"
    assert _refusal(lambda: _invite(slot, entry)) == "does_not_fit"
    Queue.objects.filter(facility=neighbour.facility).update(deactivated_at=None)
    assert _invite(slot, entry).entry_id == entry.pk
