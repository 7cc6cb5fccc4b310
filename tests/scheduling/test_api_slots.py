"""Slots over HTTP: what each role sees, and reservations."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries

from accounts.roles import Role
from audit import clock
from audit.events import SYSTEM
from scheduling import appointments, slots
from scheduling.models import Facility, Slot
from tests.api import Api, log_in, patient_of
from tests.factories import (
    FacilityFactory,
    PatientFactory,
    ProviderFactory,
    ServiceFactory,
    SlotFactory,
    TimeBlockFactory,
    tomorrow,
)
from waitlist.models import DailyMetric

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


def ids(response: Any) -> set[str]:
    assert response.status_code == 200, response.content
    return {row["id"] for row in response.json()["results"]}


def test_staff_see_all_slots_and_a_patient_what_is_bookable(
    facility: Facility, staff: Api, patient: Api
) -> None:
    free = SlotFactory.create(facility=facility)
    past = SlotFactory.create(facility=facility, starts_at=datetime(2020, 1, 1, tzinfo=UTC))
    taken = SlotFactory.create(facility=facility, status=Slot.Status.BLOCKED)
    blocked = SlotFactory.create(facility=facility, starts_at=tomorrow(hour=14))
    TimeBlockFactory.create(facility=facility, starts_at=tomorrow(hour=14))
    # Open, but its provider is claimed at that time in another slot.
    claimed = SlotFactory.create(facility=facility, starts_at=tomorrow(hour=16))
    other = SlotFactory.create(
        facility=facility, provider=claimed.provider, starts_at=tomorrow(hour=16), minutes=60
    )
    slots.reserve(
        slot_id=other.pk,
        patient_id=PatientFactory.create(tenant=facility.tenant).pk,
        actor=SYSTEM,
        now=clock.now(),
    )
    all_of_them = {str(one.pk) for one in (free, past, taken, blocked, claimed, other)}
    assert ids(staff.get("slots/")) == all_of_them
    assert ids(patient.get("slots/")) == {str(free.pk)}


def test_a_service_finds_slots_of_any_service_that_it_fits(
    facility: Facility, staff: Api, patient: Api
) -> None:
    service = ServiceFactory.create(tenant=facility.tenant, duration=timedelta(minutes=45))
    stranger = ServiceFactory.create(duration=timedelta(minutes=5))
    own = SlotFactory.create(facility=facility, service=service, minutes=30)
    fits = SlotFactory.create(facility=facility, minutes=45)
    SlotFactory.create(facility=facility, minutes=44)
    SlotFactory.create(
        facility=facility, service=ServiceFactory.create(tenant=facility.tenant), minutes=60
    )
    for client in (staff, patient):
        found = client.get("slots/", {"facility": facility.pk, "service": service.pk})
        assert ids(found) == {str(own.pk), str(fits.pk)}
        assert found.json()["waitlist"] is None
        assert not ids(client.get("slots/", {"service": stranger.pk}))


def test_slots_are_filtered_sorted_and_paged(facility: Facility, staff: Api) -> None:
    day = tomorrow(hour=0)
    provider = ProviderFactory.create(tenant=facility.tenant, facilities=[facility])
    made = [
        SlotFactory.create(facility=facility, provider=provider, starts_at=day + timedelta(hours=n))
        for n in range(6)
    ]
    SlotFactory.create(facility=FacilityFactory.create(tenant=facility.tenant), starts_at=day)
    page = staff.get(
        "slots/",
        {
            "facility": facility.pk,
            "provider": provider.pk,
            "status": "open",
            "from": (day + timedelta(hours=1)).isoformat(),
            "to": (day + timedelta(hours=5)).isoformat(),
            "sort": "-starts_at",
            "page_size": 3,
        },
    ).json()
    assert (page["total"], page["page"], page["page_size"]) == (4, 1, 3)
    assert [row["id"] for row in page["results"]] == [str(made[n].pk) for n in (4, 3, 2)]
    assert staff.get("slots/", {"page": 9}).json()["results"] == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("facility", "x"),
        ("status", "free"),
        ("from", "yesterday"),
        ("from", "9999-99-99"),
        ("sort", "price"),
        ("page", "0"),
        ("page", "9999999999999999999999"),
        ("page_size", "101"),
        ("colour", "red"),
        ("facility", "\0"),
    ],
)
def test_bad_parameters_are_refused_by_name(staff: Api, name: str, value: str) -> None:
    response = staff.get("slots/", {name: value})
    assert response.status_code == 400
    assert response["Content-Type"] == "application/problem+json"
    assert [error["field"] for error in response.json()["errors"]] == [name]


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_absurd_dates_find_nothing(staff: Api, facility: Facility, at: str) -> None:
    SlotFactory.create(facility=facility)
    assert staff.get("slots/", {"from": at, "to": at}).status_code in {200, 400}


def test_a_patient_reserves_for_themselves_and_books(
    facility: Facility, patient: Api, staff: Api
) -> None:
    slot = SlotFactory.create(facility=facility)
    reserved = patient.post(f"slots/{slot.pk}/reserve", {}, format="json")
    assert reserved.status_code == 200, reserved.content
    assert reserved.json()["status"] == "reserved"
    assert reserved.json()["reserved_by"] == str(patient_of(api=patient).pk)
    other = log_in(tenant=facility.tenant, role=Role.PATIENT)
    assert other.post(f"slots/{slot.pk}/reserve", {}, format="json").status_code == 404
    assert other.post(f"slots/{slot.pk}/release").status_code == 404
    taken = staff.post(
        f"slots/{slot.pk}/reserve", {"patient": str(patient_of(api=other).pk)}, format="json"
    )
    assert (taken.status_code, taken.json()["code"]) == (409, "slot_taken")
    assert taken.json()["errors"][0]["field"] == "slot"
    booked = patient.post("appointments/", {"slot": str(slot.pk)}, format="json")
    assert booked.status_code == 201, booked.content
    assert (booked.json()["status"], booked.json()["source"]) == ("booked", "direct")
    assert booked["Location"].endswith(f"appointments/{booked.json()['id']}")
    assert booked["ETag"] == '"1"'


def test_a_patient_cannot_hold_a_whole_clinic(facility: Facility, patient: Api) -> None:
    answers = []
    for hour in (9, 10, 11, 12):
        slot = SlotFactory.create(facility=facility, starts_at=tomorrow(hour=hour))
        answers.append(patient.post(f"slots/{slot.pk}/reserve", {}, format="json"))
    assert [answer.status_code for answer in answers] == [200, 200, 200, 409]
    refused = answers[3].json()
    assert refused["code"] == "too_many_reserved"
    assert refused["errors"][0]["field"] == "patient"


def test_a_reservation_is_released_once(facility: Facility, patient: Api) -> None:
    slot = SlotFactory.create(facility=facility)
    assert patient.post(f"slots/{slot.pk}/reserve", {}, format="json").status_code == 200
    released = patient.post(f"slots/{slot.pk}/release")
    assert (released.status_code, released.json()["status"]) == (200, "open")
    again = patient.post(f"slots/{slot.pk}/release")
    assert (again.status_code, again.json()["code"]) == (409, "slot_not_reserved")


def test_staff_have_to_say_for_whom(facility: Facility, staff: Api) -> None:
    slot = SlotFactory.create(facility=facility)
    response = staff.post(f"slots/{slot.pk}/reserve", {}, format="json")
    assert response.status_code == 400
    assert response.json()["errors"][0]["field"] == "patient"
    stranger = PatientFactory.create()
    response = staff.post(f"slots/{slot.pk}/reserve", {"patient": str(stranger.pk)}, format="json")
    assert response.status_code == 404
    assert response.json()["errors"][0]["field"] == "patient"


def test_a_provider_sees_own_facilities_only(facility: Facility) -> None:
    api = log_in(tenant=facility.tenant, role=Role.PROVIDER)
    ProviderFactory.create(tenant=facility.tenant, user=api.user, facilities=[facility])
    mine = SlotFactory.create(facility=facility)
    foreign = SlotFactory.create(facility=FacilityFactory.create(tenant=facility.tenant))
    assert ids(api.get("slots/")) == {str(mine.pk)}
    assert api.get(f"slots/{foreign.pk}").status_code == 404
    assert ids(api.get("facilities/")) == {str(facility.pk)}


def test_a_patient_does_not_see_who_took_a_slot(facility: Facility, patient: Api) -> None:
    slot = SlotFactory.create(facility=facility)
    made = patient.post("appointments/", {"slot": str(slot.pk)}, format="json").json()
    assert patient.get(f"slots/{slot.pk}").status_code == 200
    cancelled = patient.post(
        f"appointments/{made['id']}/cancel", {"reason": "patient_request"}, format="json"
    )
    assert cancelled.status_code == 200
    other = PatientFactory.create(tenant=facility.tenant)
    appointments.book(
        slot_id=slot.pk, patient_id=other.pk, source="staff", actor=SYSTEM, now=clock.now()
    )
    assert patient.get(f"slots/{slot.pk}").status_code == 404


def test_a_list_takes_as_many_queries_for_many_rows(
    facility: Facility, staff: Api, patient: Api, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for count, api, queries in ((1, staff, 4), (50, staff, 4), (50, patient, 5)):
        for n in range(count - Slot.objects.count()):
            SlotFactory.create(facility=facility, starts_at=tomorrow() + timedelta(hours=n))
        with django_assert_num_queries(queries):
            assert len(api.get("slots/", {"page_size": 100}).json()["results"]) == count


def test_who_finds_nothing_is_told_of_the_waitlist(facility: Facility, patient: Api) -> None:
    asked = {"facility": str(facility.pk)}
    empty = patient.get("slots/", asked).json()
    assert empty["waitlist"] == {"can_join": True, "recent_wait_minutes": None}
    for day, minutes, promotions in ((1, 100, 1), (2, 400, 2), (40, 9999, 5)):
        DailyMetric.objects.create(
            tenant=facility.tenant,
            facility=facility,
            day=(clock.now() - timedelta(days=day)).date(),
            avg_wait_minutes=minutes,
            promotions=promotions,
            **dict.fromkeys(
                ("queue_depth", "offers", "expired", "cancelled", "slots_freed", "slots_refilled"),
                0,
            ),
        )
    assert patient.get("slots/", asked).json()["waitlist"]["recent_wait_minutes"] == 300
    foreign = FacilityFactory.create()
    assert patient.get("slots/", {"facility": str(foreign.pk)}).json()["waitlist"] is None
    SlotFactory.create(facility=facility)
    assert patient.get("slots/", asked).json()["waitlist"] is None
    later = {**asked, "from": tomorrow(hour=20).isoformat()}
    assert patient.get("slots/", later).json()["waitlist"]["can_join"] is True
