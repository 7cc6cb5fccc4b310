"""Rows that staff edit: facilities, providers, services, patients, rules, exceptions, blocks."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries

from accounts.models import Membership
from accounts.roles import Role
from audit import clock
from audit.events import SYSTEM
from audit.models import Event
from scheduling import appointments
from scheduling.models import Facility, Provider, Slot
from tests.api import Api, log_in
from tests.factories import (
    AvailabilityExceptionFactory,
    AvailabilityRuleFactory,
    FacilityFactory,
    PatientFactory,
    ProviderFactory,
    ServiceFactory,
    SlotFactory,
    TimeBlockFactory,
    UserFactory,
    tomorrow,
)
from waitlist.models import Queue

pytestmark = pytest.mark.django_db


@pytest.fixture
def facility() -> Facility:
    return FacilityFactory.create()


@pytest.fixture
def provider(facility: Facility) -> Provider:
    return ProviderFactory.create(tenant=facility.tenant, facilities=[facility])


@pytest.fixture
def staff(facility: Facility) -> Api:
    return log_in(tenant=facility.tenant, role=Role.STAFF)


def test_a_facility_is_made_with_its_queue(facility: Facility, staff: Api) -> None:
    body = {
        "name": "North", "slug": "north", "kind": "salon", "timezone": "Europe/Paris",
        "city": "Lille", "country": "FR",
    }  # fmt: skip
    made = staff.post("facilities/", body, format="json")
    assert made.status_code == 201, made.content
    assert Queue.objects.filter(facility=made.json()["id"]).exists()
    twice = staff.post("facilities/", body, format="json")
    [error] = twice.json()["errors"]
    assert (error["field"], error["code"]) == ("slug", "unique")
    assert error["detail"] == "Another facility has this."
    bad = staff.post(
        "facilities/",
        {**body, "timezone": "Mars/Olympus", "country": "France", "kind": "ship"},
        format="json",
    )
    told = {error["field"]: error["detail"] for error in bad.json()["errors"]}
    assert set(told) == {"timezone", "country", "kind"}
    assert told["kind"] == "Give one of: clinic, salon, venue."
    for name, known in (("kind", "clinic, salon, venue"), ("sort", "created_at, ")):
        [error] = staff.get("facilities/", {name: "ship"}).json()["errors"]
        assert (error["field"], error["code"]) == (name, "invalid_choice")
        assert error["detail"].startswith("Give one of: ")
        assert known in error["detail"]
        assert "ship" not in error["detail"]
    found = staff.get("facilities/", {"search": "LILLE", "kind": "salon", "sort": "-name"}).json()
    assert [row["slug"] for row in found["results"]] == ["north"]


def test_a_facility_keeps_its_zone_and_is_closed_not_deleted(
    facility: Facility, staff: Api
) -> None:
    path = f"facilities/{facility.pk}"
    fixed = staff.patch(path, {"timezone": "Asia/Tokyo"}, format="json")
    assert fixed.json()["errors"][0]["field"] == "timezone"
    same = staff.patch(path, {"timezone": facility.timezone, "city": "Bath"}, format="json")
    assert (same.status_code, same.json()["city"]) == (200, "Bath")
    assert staff.delete(path).status_code == 204
    assert staff.get(path).json()["is_active"] is False
    patient = log_in(tenant=facility.tenant, role=Role.PATIENT)
    assert patient.get(path).status_code == 404


def test_a_provider_works_where_it_is_said(facility: Facility, staff: Api) -> None:
    other = FacilityFactory.create(tenant=facility.tenant)
    made = staff.post(
        "providers/", {"name": "Dr. No", "facilities": [str(facility.pk)]}, format="json"
    )
    assert made.status_code == 201, made.content
    path = made["Location"]
    moved = staff.patch(path, {"facilities": [str(other.pk)]}, format="json")
    assert (moved.json()["facilities"], moved["ETag"]) == ([str(other.pk)], '"2"')
    assert staff.get("providers/", {"facility": facility.pk}).json()["total"] == 0
    foreign = FacilityFactory.create()
    missing = staff.patch(path, {"facilities": [str(foreign.pk)]}, format="json")
    assert missing.status_code == 404
    assert missing.json()["errors"][0]["field"] == "facilities"
    stranger = staff.patch(path, {"user": str(UserFactory.create().pk)}, format="json")
    assert stranger.json()["errors"][0]["field"] == "user"
    member = Membership.objects.get(user=staff.user)
    assert staff.patch(path, {"user": str(member.user_id)}, format="json").status_code == 200
    patient = log_in(tenant=facility.tenant, role=Role.PATIENT)
    assert staff.get(path).json()["user"] == str(member.user_id)
    assert patient.get(path).json()["user"] is None  # which login a provider has is not theirs
    assert staff.patch(path, {"user": None}, format="json").json()["user"] is None


def test_slots_go_with_a_provider_who_goes(
    facility: Facility, provider: Provider, staff: Api
) -> None:
    body = {
        "facility": str(facility.pk), "provider": str(provider.pk), "weekday": 1,
        "start_time": "09:00", "end_time": "12:00", "slot_minutes": 60,
    }  # fmt: skip
    assert staff.post("availability-rules/", body, format="json").status_code == 201
    assert Slot.objects.filter(status="open").count() >= 12
    assert staff.patch(
        f"providers/{provider.pk}", {"facilities": []}, format="json"
    ).status_code == 200  # fmt: skip
    assert not Slot.objects.filter(status="open").exists()


def test_a_service_in_use_stays(facility: Facility, staff: Api) -> None:
    made = staff.post("services/", {"name": "Cut", "duration": "PT45M"}, format="json")
    assert made.status_code == 201, made.content
    assert made.json()["price"] is None
    half = staff.patch(made["Location"], {"price": "10.00"}, format="json")
    assert half.status_code == 400  # a price of which currency?
    both = staff.patch(made["Location"], {"price": "10.00", "currency": "EUR"}, format="json")
    assert both.status_code == 200
    service = ServiceFactory.create(tenant=facility.tenant)
    SlotFactory.create(facility=facility, service=service)
    used = staff.delete(f"services/{service.pk}")
    assert (used.status_code, used.json()["code"]) == (409, "in_use")
    assert staff.delete(made["Location"]).status_code == 204


def test_a_patient_is_made_changed_and_found(facility: Facility, staff: Api) -> None:
    body = {"name": "Ada", "email": "ada@example.org", "phone": "+442071234567", "tier": 2}
    made = staff.post("patients/", body, format="json")
    assert made.status_code == 201, made.content
    assert staff.get("patients/", {"search": "2071234", "tier": 2}).json()["total"] == 1
    path = made["Location"]
    changed = staff.patch(path, {"tier": 3}, format="json", headers={"If-Match": '"1"'})
    assert (changed.json()["tier"], changed["ETag"]) == (3, '"2"')
    assert Event.objects.get(kind="patient.updated").data == {"fields": ["tier"]}
    stale = staff.patch(path, {"tier": 1}, format="json", headers={"If-Match": '"1"'})
    assert stale.status_code == 412
    for bad in ({"tier": 4}, {"phone": "0207"}, {"email": "ada"}, {"language": "la"}):
        response = staff.patch(path, bad, format="json")
        assert response.status_code == 400
        assert {error["field"] for error in response.json()["errors"]} == set(bad)
    for reference in ("P-1", "P-1"):
        response = staff.post("patients/", {"name": "X", "external_ref": reference}, format="json")
    assert response.status_code == 400
    [error] = response.json()["errors"]
    assert (error["field"], error["code"]) == ("external_ref", "unique")
    assert staff.delete(path).status_code == 204


def test_a_rule_makes_slots_and_its_end_retires_them(
    facility: Facility, provider: Provider, staff: Api
) -> None:
    body = {
        "facility": str(facility.pk), "provider": str(provider.pk), "weekday": 3,
        "start_time": "09:00:00", "end_time": "11:00:00", "slot_minutes": 30,
    }  # fmt: skip
    made = staff.post("availability-rules/", body, format="json")
    assert made.status_code == 201, made.content
    count = Slot.objects.filter(status="open").count()
    assert count >= 16
    overlap = staff.post("availability-rules/", body, format="json")
    assert overlap.json()["errors"][0]["field"] == "start_time"
    path = made["Location"]
    longer = staff.patch(
        path, {"slot_minutes": 60}, format="json", headers={"If-Match": made["ETag"]}
    )
    assert longer.status_code == 200, longer.content
    assert Slot.objects.filter(status="open").count() == count / 2
    stale = staff.patch(
        path, {"slot_minutes": 30}, format="json", headers={"If-Match": made["ETag"]}
    )
    assert stale.status_code == 412
    other = ProviderFactory.create(tenant=facility.tenant, facilities=[facility])
    fixed = staff.patch(path, {"provider": str(other.pk)}, format="json")
    assert fixed.status_code == 400
    assert staff.delete(path).status_code == 204
    assert not Slot.objects.filter(status="open").exists()


def test_an_exception_closes_a_date_until_it_is_gone(
    facility: Facility, provider: Provider, staff: Api
) -> None:
    date = (clock.now() + timedelta(days=7)).date()
    rule = {
        "facility": str(facility.pk), "provider": str(provider.pk), "weekday": date.isoweekday(),
        "start_time": "09:00:00", "end_time": "11:00:00", "slot_minutes": 60,
    }  # fmt: skip
    assert staff.post("availability-rules/", rule, format="json").status_code == 201
    count = Slot.objects.filter(status="open").count()
    body = {"facility": str(facility.pk), "date": str(date), "kind": "closed"}
    made = staff.post("availability-exceptions/", body, format="json")
    assert made.status_code == 201, made.content
    assert Slot.objects.filter(status="open").count() == count - 2
    hours = staff.post("availability-exceptions/", {**body, "kind": "special_hours"}, format="json")
    assert {e["field"] for e in hours.json()["errors"]} == {"start_time", "end_time"}
    assert staff.get("availability-exceptions/", {"from": date, "to": date}).json()["total"] == 1
    assert staff.delete(made["Location"]).status_code == 204
    assert Slot.objects.filter(status="open").count() == count


def test_a_block_names_what_is_booked_under_it(facility: Facility, staff: Api) -> None:
    slot = SlotFactory.create(facility=facility)
    patient = PatientFactory.create(tenant=facility.tenant)
    booked = appointments.book(
        slot_id=slot.pk, patient_id=patient.pk, source="staff", actor=SYSTEM, now=clock.now()
    )
    free = SlotFactory.create(facility=facility)
    body = {
        "facility": str(facility.pk), "reason": "flood",
        "starts_at": tomorrow(hour=8).isoformat(), "ends_at": tomorrow(hour=12).isoformat(),
    }  # fmt: skip
    made = staff.post("time-blocks/", body, format="json")
    assert made.status_code == 201, made.content
    assert [row["id"] for row in made.json()["conflicts"]] == [str(booked.pk)]
    assert Slot.objects.get(pk=free.pk).status == "blocked"
    assert staff.get("time-blocks/", {"from": tomorrow(hour=11).isoformat()}).json()["total"] == 1
    assert staff.get("time-blocks/", {"from": tomorrow(hour=13).isoformat()}).json()["total"] == 0
    empty = staff.post("time-blocks/", {**body, "ends_at": body["starts_at"]}, format="json")
    assert empty.json()["errors"][0]["field"] == "ends_at"
    for at in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "10000-01-01T00:00:00Z"):
        response = staff.post("time-blocks/", {**body, "ends_at": at}, format="json")
        assert response.status_code == 400
    assert staff.delete(made["Location"]).status_code == 204
    assert Slot.objects.get(pk=free.pk).status == "open"


MAKE: dict[str, Callable[[Facility, int], Any]] = {
    "facilities/": lambda f, n: FacilityFactory.create(tenant=f.tenant),
    "providers/": lambda f, n: ProviderFactory.create(tenant=f.tenant, facilities=[f]),
    "services/": lambda f, n: ServiceFactory.create(tenant=f.tenant),
    "patients/": lambda f, n: PatientFactory.create(tenant=f.tenant),
    "availability-rules/": lambda f, n: AvailabilityRuleFactory.create(facility=f),
    "availability-exceptions/": lambda f, n: AvailabilityExceptionFactory.create(
        facility=f, date=(clock.now() + timedelta(days=n)).date()
    ),
    "time-blocks/": lambda f, n: TimeBlockFactory.create(facility=f),
}


@pytest.mark.parametrize("path", MAKE)
def test_lists_take_as_many_queries_for_many_rows(
    facility: Facility, staff: Api, path: str, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    extra = {"providers/": 1}.get(path, 0)  # where they work
    there = 1 if path == "facilities/" else 0
    for count in (1, 50):
        for n in range(there, count):
            MAKE[path](facility, n)
        there = count
        with django_assert_num_queries(4 + extra):
            assert len(staff.get(path, {"page_size": 100}).json()["results"]) == count


def test_an_exception_is_changed(facility: Facility, staff: Api) -> None:
    date = (clock.now() + timedelta(days=7)).date()
    body = {"facility": str(facility.pk), "date": str(date), "kind": "closed"}
    made = staff.post("availability-exceptions/", body, format="json")
    path = made["Location"]
    hours = {"kind": "special_hours", "start_time": "10:00:00", "end_time": "12:00:00"}
    changed = staff.patch(
        path, {**body, **hours}, format="json", headers={"If-Match": made["ETag"]}
    )
    assert (changed.status_code, changed["ETag"]) == (200, '"2"'), changed.content
    assert changed.json()["start_time"] == "10:00:00"
    other = FacilityFactory.create(tenant=facility.tenant)
    fixed = staff.patch(path, {"facility": str(other.pk)}, format="json")
    assert fixed.json()["errors"][0]["field"] == "facility"
    for method in (staff.patch, staff.delete):
        stale = method(path, {}, format="json", headers={"If-Match": made["ETag"]})
        assert (stale.status_code, stale.json()["code"]) == (412, "stale")
    assert staff.delete(path, headers={"If-Match": '"2"'}).status_code == 204


def test_a_block_is_moved(facility: Facility, staff: Api) -> None:
    slot = SlotFactory.create(facility=facility)
    body = {
        "facility": str(facility.pk), "starts_at": tomorrow(hour=12).isoformat(),
        "ends_at": tomorrow(hour=13).isoformat(),
    }  # fmt: skip
    made = staff.post("time-blocks/", body, format="json")
    path = made["Location"]
    moved = staff.patch(
        path,
        {"starts_at": tomorrow(hour=8).isoformat(), "facility": str(facility.pk)},
        format="json",
        headers={"If-Match": made["ETag"]},
    )
    assert (moved.status_code, moved["ETag"]) == (200, '"2"'), moved.content
    assert moved.json()["conflicts"] == []
    assert Slot.objects.get(pk=slot.pk).status == "blocked"
    empty = staff.patch(path, {"ends_at": tomorrow(hour=8).isoformat()}, format="json")
    assert empty.json()["errors"][0]["field"] == "ends_at"
    for method in (staff.patch, staff.delete):
        stale = method(path, {}, format="json", headers={"If-Match": made["ETag"]})
        assert (stale.status_code, stale.json()["code"]) == (412, "stale")
    assert staff.delete(path, headers={"If-Match": '"2"'}).status_code == 204
