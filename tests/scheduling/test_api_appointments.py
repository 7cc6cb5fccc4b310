"""Appointments over HTTP: booked, moved, ended, by whom it may be."""

from datetime import timedelta
from typing import Any

import pytest
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange
from pytest_django import DjangoAssertNumQueries

from accounts.roles import Role
from audit import clock
from audit.events import SYSTEM
from audit.models import Event
from scheduling import appointments
from scheduling.models import Appointment, Facility, Slot
from tests.api import Api, log_in, patient_of
from tests.factories import (
    FacilityFactory,
    PatientFactory,
    ProviderFactory,
    SlotFactory,
    TimeBlockFactory,
    tomorrow,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def facility() -> Facility:
    return FacilityFactory.create()


@pytest.fixture
def staff(facility: Facility) -> Api:
    return log_in(tenant=facility.tenant, role=Role.STAFF)


@pytest.fixture
def patient(facility: Facility) -> Api:
    return log_in(tenant=facility.tenant, role=Role.PATIENT)


def book(facility: Facility, hour: int = 9, patient: Any = None, **slot: Any) -> Appointment:
    made = SlotFactory.create(facility=facility, starts_at=tomorrow(hour=hour), **slot)
    who = patient or PatientFactory.create(tenant=facility.tenant)
    return appointments.book(
        slot_id=made.pk, patient_id=who.pk, source="staff", actor=SYSTEM, now=clock.now()
    )


def code(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


def test_staff_book_for_a_patient_and_refusals_have_codes(facility: Facility, staff: Api) -> None:
    who = PatientFactory.create(tenant=facility.tenant)
    slot = SlotFactory.create(facility=facility)
    body = {"slot": str(slot.pk), "patient": str(who.pk)}
    made = staff.post("appointments/", body, format="json")
    assert (made.status_code, made.json()["source"]) == (201, "staff")
    assert code(staff.post("appointments/", body, format="json")) == (409, "slot_taken")
    other = SlotFactory.create(facility=facility)
    busy = staff.post("appointments/", {**body, "slot": str(other.pk)}, format="json")
    assert code(busy) == (409, "patient_busy")
    TimeBlockFactory.create(facility=facility, starts_at=tomorrow(hour=14))
    blocked = SlotFactory.create(facility=facility, starts_at=tomorrow(hour=14))
    response = staff.post("appointments/", {**body, "slot": str(blocked.pk)}, format="json")
    assert code(response) == (409, "slot_blocked")
    past = SlotFactory.create(facility=facility, starts_at=clock.now() - timedelta(hours=1))
    response = staff.post("appointments/", {**body, "slot": str(past.pk)}, format="json")
    assert code(response) == (409, "slot_past")
    booked = Event.objects.get(kind="appointment.booked")
    assert staff.user is not None
    assert (booked.actor_type, booked.actor_id) == ("user", staff.user.pk)


def test_a_patient_books_for_nobody_else(facility: Facility, patient: Api) -> None:
    slot = SlotFactory.create(facility=facility)
    other = PatientFactory.create(tenant=facility.tenant)
    body = {"slot": str(slot.pk), "patient": str(other.pk)}
    response = patient.post("appointments/", body, format="json")
    assert code(response) == (404, "not_found")
    assert response.json()["errors"][0]["field"] == "patient"


def test_each_sees_their_own(facility: Facility, staff: Api, patient: Api) -> None:
    mine = book(facility, patient=patient_of(api=patient))
    other = book(facility, hour=11)
    elsewhere = book(FacilityFactory.create(tenant=facility.tenant), hour=13)
    provider = log_in(tenant=facility.tenant, role=Role.PROVIDER)
    ProviderFactory.create(tenant=facility.tenant, user=provider.user, facilities=[facility])
    for api, seen in (
        (staff, {mine, other, elsewhere}),
        (patient, {mine}),
        (provider, {mine, other}),
    ):
        rows = api.get("appointments/").json()["results"]
        assert {row["id"] for row in rows} == {str(one.pk) for one in seen}
    assert patient.get(f"appointments/{other.pk}").status_code == 404
    assert provider.get(f"appointments/{elsewhere.pk}").status_code == 404
    filters = {"patient": other.patient_id, "status": "booked", "provider": other.provider_id}
    assert staff.get("appointments/", filters).json()["total"] == 1
    assert staff.get("appointments/", {"status": "cancelled"}).json()["total"] == 0


def test_a_patient_cancels_with_a_reason(facility: Facility, patient: Api) -> None:
    mine = book(facility, patient=patient_of(api=patient))
    path = f"appointments/{mine.pk}/cancel"
    assert patient.post(path, {"reason": "whim"}, format="json").status_code == 400
    done = patient.post(path, {"reason": "patient_request"}, format="json")
    assert (done.status_code, done.json()["status"]) == (200, "cancelled")
    assert done.json()["cancellation_reason"] == "patient_request"
    again = patient.post(path, {"reason": "patient_request"}, format="json")
    assert code(again) == (409, "appointment_not_booked")
    assert Slot.objects.get(pk=mine.slot_id).status == Slot.Status.OPEN


def test_an_appointment_is_moved(facility: Facility, patient: Api) -> None:
    mine = book(facility, patient=patient_of(api=patient))
    to = SlotFactory.create(facility=facility, starts_at=tomorrow(hour=16))
    path = f"appointments/{mine.pk}/reschedule"
    moved = patient.post(path, {"slot": str(to.pk)}, format="json")
    assert moved.status_code == 200, moved.content
    assert moved.json()["slot"] == str(to.pk)
    assert moved["ETag"] == '"2"'
    assert code(patient.post(path, {"slot": str(to.pk)}, format="json")) == (409, "slot_taken")
    foreign = SlotFactory.create()
    missing = patient.post(path, {"slot": str(foreign.pk)}, format="json")
    assert code(missing) == (404, "not_found")
    assert missing.json()["errors"][0]["field"] == "slot"


def test_a_patient_changes_nothing_that_has_begun(
    facility: Facility, patient: Api, staff: Api
) -> None:
    mine = book(facility, patient=patient_of(api=patient))
    to = SlotFactory.create(facility=facility, starts_at=tomorrow(hour=16))
    now = clock.now()
    Appointment.objects.update(period=DateTimeTZRange(now, now + timedelta(minutes=30)))
    before = Event.objects.count()
    reason = {"reason": "patient_request"}
    for verb, body in (("cancel", reason), ("reschedule", {"slot": str(to.pk)})):
        refused = patient.post(f"appointments/{mine.pk}/{verb}", body, format="json")
        assert code(refused) == (409, "appointment_past"), verb
        assert refused.json()["errors"][0]["field"] == "appointment"
    assert Event.objects.count() == before
    done = staff.post(f"appointments/{mine.pk}/cancel", reason, format="json")
    assert (done.status_code, done.json()["status"]) == (200, "cancelled")


@pytest.mark.parametrize(("action", "status"), [("complete", "completed"), ("no-show", "no_show")])
def test_the_team_says_what_became_of_it(
    facility: Facility, staff: Api, action: str, status: str
) -> None:
    coming = book(facility)
    path = f"appointments/{coming.pk}/{action}"
    assert code(staff.post(path)) == (409, "appointment_not_begun")
    now = clock.now()
    Appointment.objects.update(period=DateTimeTZRange(now - timedelta(hours=1), now))
    done = staff.post(path)
    assert (done.status_code, done.json()["status"]) == (200, status)
    assert code(staff.post(path)) == (409, "appointment_not_booked")


@pytest.mark.parametrize("action", ["complete", "no-show"])
def test_a_provider_says_it_of_their_own_only(facility: Facility, action: str) -> None:
    api = log_in(tenant=facility.tenant, role=Role.PROVIDER)
    me = ProviderFactory.create(tenant=facility.tenant, user=api.user, facilities=[facility])
    mine, colleague_s = book(facility, provider=me), book(facility)
    now = clock.now()
    Appointment.objects.update(period=DateTimeTZRange(now - timedelta(hours=1), now))
    refused = api.post(f"appointments/{colleague_s.pk}/{action}")
    assert code(refused) == (403, "not_yours")
    assert refused.json()["errors"][0]["field"] == "appointment"
    colleague_s.refresh_from_db()
    assert colleague_s.status == "booked"
    assert api.post(f"appointments/{mine.pk}/{action}").status_code == 200


def test_lists_take_as_many_queries_for_many_rows(
    facility: Facility, staff: Api, patient: Api, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    me = patient_of(api=patient)
    for count in (1, 50):
        for _ in range(count - Appointment.objects.count()):
            start = tomorrow() + timedelta(hours=Appointment.objects.count())
            slot = SlotFactory.create(facility=facility, starts_at=start)
            appointments.book(
                slot_id=slot.pk, patient_id=me.pk, source="staff", actor=SYSTEM, now=clock.now()
            )
        for api, queries in ((staff, 4), (patient, 4)):
            with django_assert_num_queries(queries):
                page = api.get("appointments/", {"page_size": 100}).json()
            assert len(page["results"]) == count


@pytest.mark.parametrize("verb", ["cancel", "reschedule", "complete", "no-show", "waitlist/invite"])
def test_who_acts_on_an_appointment_that_changed_is_told(verb: str) -> None:
    slot = SlotFactory.create()
    staff = log_in(tenant=slot.tenant, role=Role.STAFF)
    patient = PatientFactory.create(tenant=slot.tenant)
    body = {"slot": str(slot.pk), "patient": str(patient.pk)}
    made = staff.post("appointments/", body, format="json")
    assert made["ETag"] == '"1"'
    given = {"cancel": {"reason": "other"}, "reschedule": {"slot": str(slot.pk)},
             "waitlist/invite": {"reason": "other"}}.get(verb, {})  # fmt: skip
    path = f"{made['Location']}/{verb}"
    stale = staff.post(path, given, format="json", headers={"If-Match": '"7"'})
    # What lies in the future is not over yet, whatever its version.
    assert (stale.status_code, stale.json()["code"]) == (412, "stale")
    assert staff.post(path, given, format="json").status_code != 412
