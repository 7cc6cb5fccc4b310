"""Booking, cancelling, moving and closing an appointment."""

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest
from django.core.exceptions import ValidationError

from audit.errors import NotFound, Refused
from audit.models import Event
from scheduling import appointments
from scheduling.models import Appointment, Patient, Slot
from tests import factories
from tests.audit.log import brief, written
from tests.waitlist import worlds
from tests.waitlist.worlds import DAY, HOUR, MINUTE, NOW, SECOND, STAFF, World

START = NOW + DAY


@pytest.fixture
def clinic(db: None) -> World:
    return worlds.build()


def _cancel(appointment: Appointment, *, reason: str = "patient_request") -> Appointment:
    return appointments.cancel(appointment_id=appointment.pk, reason=reason, actor=STAFF, now=NOW)


def _move(appointment: Appointment, slot: Slot) -> Appointment:
    return appointments.reschedule(
        appointment_id=appointment.pk, slot_id=slot.pk, actor=STAFF, now=NOW
    )


def _status(slot: Slot) -> str:
    return Slot.objects.values_list("status", flat=True).get(pk=slot.pk)


def _refusal(call: Callable[[], Any]) -> str:
    """Return the code of a refusal that changed no slot and no appointment, and wrote nothing."""

    def rows() -> list[Any]:
        return [
            Event.objects.count(),
            list(Slot.objects.order_by("pk").values_list("pk", "status", "reserved_until")),
            list(Appointment.objects.order_by("pk").values_list("pk", "status", "slot")),
        ]

    before = rows()
    with pytest.raises(Refused) as caught:
        call()
    assert rows() == before
    return caught.value.code


# Booking


def test_an_open_slot_is_booked(clinic: World) -> None:
    slot, patient = clinic.slot(), clinic.patient()
    with written() as events:
        appointment = appointments.book(
            slot_id=slot.pk, patient_id=patient.pk, source="direct", actor=STAFF, now=NOW
        )
    assert (appointment.status, appointment.source, appointment.patient_id) == (
        "booked", "direct", patient.pk
    )  # fmt: skip
    assert (
        appointment.facility_id, appointment.provider_id, appointment.service_id,
        appointment.period, appointment.tenant_id,
    ) == (
        slot.facility_id, slot.provider_id, slot.service_id, slot.period, slot.tenant_id
    )  # fmt: skip
    assert _status(slot) == "booked"
    [event] = events
    assert brief(events) == [("appointment.booked", None, "booked")]
    assert (event.subject_id, event.slot_id, event.facility_id, event.provider_id) == (
        appointment.pk, slot.pk, slot.facility_id, slot.provider_id
    )  # fmt: skip
    assert event.data == {
        "source": "direct",
        "starts_at": START.isoformat(),
        "ends_at": (START + 30 * MINUTE).isoformat(),
    }


def test_a_patient_books_what_is_reserved_for_them(clinic: World) -> None:
    patient = clinic.patient()
    slot = clinic.reserve(patient=patient)
    clinic.book(slot=slot, patient=patient, now=NOW + 10 * MINUTE - SECOND)
    slot.refresh_from_db()
    assert (slot.status, slot.reserved_until, slot.reserved_by_id) == ("booked", None, None)


def test_what_is_reserved_for_another_is_taken(clinic: World) -> None:
    slot = clinic.reserve()
    assert _refusal(lambda: clinic.book(slot=slot)) == "slot_taken"


def test_a_reservation_that_ran_out_books_nothing(clinic: World) -> None:
    patient = clinic.patient()
    slot = clinic.reserve(patient=patient)
    late = NOW + 10 * MINUTE
    assert _refusal(lambda: clinic.book(slot=slot, patient=patient, now=late)) == "slot_taken"


@pytest.mark.parametrize("status", ["held", "booked", "retired", "blocked"])
def test_a_slot_that_is_not_open_is_not_booked(clinic: World, status: str) -> None:
    slot = clinic.slot()
    Slot.objects.filter(pk=slot.pk).update(status=status)
    code = "slot_blocked" if status == "blocked" else "slot_taken"
    assert _refusal(lambda: clinic.book(slot=slot)) == code


def test_a_slot_that_has_begun_is_not_booked(clinic: World) -> None:
    slot = clinic.slot(at=NOW)
    assert _refusal(lambda: clinic.book(slot=slot)) == "slot_past"


def test_a_slot_under_a_block_is_not_booked_even_when_reserved(clinic: World) -> None:
    patient = clinic.patient()
    slot = clinic.reserve(patient=patient)
    factories.TimeBlockFactory.create(facility=clinic.facility, starts_at=START)
    assert _refusal(lambda: clinic.book(slot=slot, patient=patient)) == "slot_blocked"


def test_an_overlapping_slot_of_a_booked_provider_is_not_booked(clinic: World) -> None:
    clinic.book(slot=clinic.slot(at=START, minutes=60))
    slot = clinic.slot(at=START + 30 * MINUTE)
    assert _refusal(lambda: clinic.book(slot=slot)) == "slot_taken"


@pytest.mark.parametrize(
    ("starts_at", "busy"),
    [
        (START - 29 * MINUTE, True),
        (START + 29 * MINUTE, True),
        (START - 30 * MINUTE, False),
        (START + 30 * MINUTE, False),
    ],
)
def test_a_patient_is_in_one_place_at_a_time(
    clinic: World, starts_at: datetime, busy: bool
) -> None:
    elsewhere, patient = clinic.neighbour(), clinic.patient()
    elsewhere.book(slot=elsewhere.slot(at=starts_at), patient=patient)
    slot = clinic.slot(at=START)
    if busy:
        assert _refusal(lambda: clinic.book(slot=slot, patient=patient)) == "patient_busy"
    else:
        assert clinic.book(slot=slot, patient=patient).status == "booked"


def test_who_or_what_is_not_there_is_named(clinic: World) -> None:
    stranger = worlds.build().patient()
    for field, slot_id, patient_id in (
        ("slot", uuid4(), clinic.patient().pk),
        ("patient", clinic.slot().pk, uuid4()),
        ("patient", clinic.slot(at=START + HOUR).pk, stranger.pk),
    ):
        with pytest.raises(NotFound) as caught:
            appointments.book(
                slot_id=slot_id, patient_id=patient_id, source="direct", actor=STAFF, now=NOW
            )
        assert caught.value.field == field
    assert not Appointment.objects.exists()


# Cancelling


@pytest.mark.parametrize(
    ("superseded", "blocked", "status"),
    [
        (False, False, "open"),
        (False, True, "blocked"),
        (True, False, "retired"),
        (True, True, "retired"),
    ],
)
def test_a_cancelled_slot_lands_where_it_belongs(
    clinic: World, superseded: bool, blocked: bool, status: str
) -> None:
    appointment = clinic.book(slot=clinic.slot(at=START))
    Slot.objects.filter(pk=appointment.slot_id).update(superseded=superseded)
    if blocked:
        factories.TimeBlockFactory.create(facility=clinic.facility, starts_at=START)
    with written() as events:
        cancelled = _cancel(appointment)
    assert (cancelled.status, cancelled.cancelled_at, cancelled.cancellation_reason) == (
        "cancelled", NOW, "patient_request"
    )  # fmt: skip
    slot = Slot.objects.get(pk=appointment.slot_id)
    assert (slot.status, slot.superseded) == (status, False)
    kind = "slot.opened" if status == "open" else f"slot.{status}"
    assert brief(events) == [
        ("appointment.cancelled", "booked", "cancelled"), (kind, "booked", status)
    ]  # fmt: skip
    assert events[0].data == {
        "reason": "patient_request",
        "starts_at": START.isoformat(),
        "ends_at": (START + 30 * MINUTE).isoformat(),
    }


def test_a_slot_freed_by_a_cancellation_can_be_booked_again(clinic: World) -> None:
    first = clinic.book()
    _cancel(first)
    second = clinic.book(slot=first.slot)
    assert {first.pk, second.pk} == set(
        Appointment.objects.filter(slot=first.slot).values_list("pk", flat=True)
    )


@pytest.mark.parametrize("reason", ["Mrs Smith has died", "x" * 51, ""])
def test_the_reason_is_a_code_since_the_event_tells_it(clinic: World, reason: str) -> None:
    appointment = clinic.book()
    with pytest.raises(ValidationError) as caught:
        _cancel(appointment, reason=reason)
    assert set(caught.value.message_dict) == {"reason"}


# Moving


def test_an_appointment_moves_into_a_slot_that_overlaps_its_own(clinic: World) -> None:
    ten, half_past = START, START + 30 * MINUTE
    old, new = clinic.slot(at=ten, minutes=60), clinic.slot(at=half_past, minutes=60)
    appointment = clinic.book(slot=old)
    with written() as events:
        moved = _move(appointment, new)
    assert moved.pk == appointment.pk
    stored = Appointment.objects.get(pk=appointment.pk)
    assert (stored.slot_id, stored.period, stored.status) == (new.pk, new.period, "booked")
    assert (_status(old), _status(new)) == ("open", "booked")
    assert brief(events) == [
        ("slot.opened", "booked", "open"), ("appointment.rescheduled", "booked", "booked")
    ]  # fmt: skip
    assert events[1].data == {
        "from_slot_id": str(old.pk),
        "from_starts_at": ten.isoformat(),
        "starts_at": half_past.isoformat(),
        "ends_at": (half_past + HOUR).isoformat(),
    }
    assert (events[1].slot_id, events[1].subject_id) == (new.pk, appointment.pk)


def test_an_appointment_moves_to_another_provider_and_facility(clinic: World) -> None:
    elsewhere = clinic.neighbour()
    appointment = clinic.book()
    moved = _move(appointment, elsewhere.slot(service=None))
    assert (moved.facility_id, moved.provider_id, moved.service_id) == (
        elsewhere.facility.pk, elsewhere.provider.pk, clinic.service.pk
    )  # fmt: skip
    service = factories.ServiceFactory.create(tenant=clinic.tenant)
    moved = _move(appointment, clinic.slot(at=START + HOUR, service=service))
    assert moved.service_id == service.pk


def test_an_appointment_moves_into_what_is_reserved_for_its_patient(clinic: World) -> None:
    appointment = clinic.book()
    slot = clinic.reserve(slot=clinic.slot(at=START + HOUR), patient=appointment.patient)
    assert _move(appointment, slot).slot_id == slot.pk
    assert _status(slot) == "booked"


@pytest.mark.parametrize(("superseded", "status"), [(True, "retired"), (False, "blocked")])
def test_the_slot_that_was_left_lands_where_it_belongs(
    clinic: World, superseded: bool, status: str
) -> None:
    old = clinic.slot(at=START)
    appointment = clinic.book(slot=old)
    Slot.objects.filter(pk=old.pk).update(superseded=superseded)
    factories.TimeBlockFactory.create(facility=clinic.facility, starts_at=START, minutes=30)
    _move(appointment, clinic.slot(at=START + HOUR))
    assert _status(old) == status


def test_an_appointment_that_cannot_move_stays_where_it_is(clinic: World) -> None:
    appointment = clinic.book(slot=clinic.slot(at=START))
    own, far = appointment.slot, START + 3 * DAY
    reserved, blocked, past = clinic.slot(at=far), clinic.slot(at=far + DAY), clinic.slot(at=NOW)
    clinic.reserve(slot=reserved)
    factories.TimeBlockFactory.create(facility=clinic.facility, starts_at=far + DAY)
    codes = [
        _refusal(lambda: _move(appointment, slot))  # noqa: B023
        for slot in (reserved, blocked, past, own)
    ]
    assert codes == ["slot_taken", "slot_blocked", "slot_past", "slot_taken"]


def test_an_appointment_does_not_move_into_another_of_its_patient(clinic: World) -> None:
    elsewhere = clinic.neighbour()
    appointment = clinic.book(slot=clinic.slot(at=START))
    elsewhere.book(slot=elsewhere.slot(at=START + DAY), patient=appointment.patient)
    slot = clinic.slot(at=START + DAY)
    assert _refusal(lambda: _move(appointment, slot)) == "patient_busy"


def test_an_appointment_does_not_move_to_another_tenant(clinic: World) -> None:
    appointment, slot = clinic.book(), worlds.build().slot()
    assert _refusal(lambda: _move(appointment, slot)) == "not_found"


# Closing


@pytest.mark.parametrize(
    ("close", "status", "kind"),
    [
        (appointments.complete, "completed", "appointment.completed"),
        (appointments.miss, "no_show", "appointment.no_show"),
    ],
)
def test_an_appointment_is_closed_once_it_has_begun(
    clinic: World, close: Callable[..., Appointment], status: str, kind: str
) -> None:
    appointment = clinic.book()
    early = {"appointment_id": appointment.pk, "actor": STAFF, "now": START - SECOND}
    assert _refusal(lambda: close(**early)) == "appointment_not_begun"
    with written() as events:
        closed = close(appointment_id=appointment.pk, actor=STAFF, now=START)
    assert closed.status == status
    assert brief(events) == [(kind, "booked", status)]
    assert _status(appointment.slot) == "booked"


def _calls(appointment_id: Any, slot: Slot) -> list[Callable[[], Any]]:
    """Return all that can be done with an appointment, after its time."""
    late: dict[str, Any] = {"actor": STAFF, "now": START + HOUR}
    return [
        lambda: appointments.cancel(appointment_id=appointment_id, reason="x", **late),
        lambda: appointments.reschedule(appointment_id=appointment_id, slot_id=slot.pk, **late),
        lambda: appointments.complete(appointment_id=appointment_id, **late),
        lambda: appointments.miss(appointment_id=appointment_id, **late),
    ]


@pytest.mark.parametrize("way", ["cancelled", "completed", "no_show"])
def test_an_appointment_that_is_over_stays_so(clinic: World, way: str) -> None:
    appointment, other = clinic.book(), clinic.slot(at=START + 3 * DAY)
    end = {"cancelled": 0, "completed": 2, "no_show": 3}[way]
    _calls(appointment.pk, other)[end]()
    codes = [_refusal(call) for call in _calls(appointment.pk, other)]
    assert codes == ["appointment_not_booked"] * 4
    appointment.refresh_from_db()
    assert appointment.status == way


def test_an_unknown_appointment_is_named(clinic: World) -> None:
    wrong = uuid4()
    for call in _calls(wrong, clinic.slot()):
        with pytest.raises(NotFound) as caught:
            call()
        assert caught.value.field == "appointment"
        assert str(wrong) in str(caught.value)


def test_an_appointment_counts_its_versions(clinic: World) -> None:
    appointment = clinic.book()
    _move(appointment, clinic.slot(at=START + HOUR))
    _cancel(appointment)
    assert Appointment.objects.get(pk=appointment.pk).version == 3
    assert Patient.objects.get(pk=appointment.patient_id).version == 1
