"""Promoting, inviting, and answering offers over HTTP."""

from datetime import timedelta
from uuid import uuid4

import pytest

from audit import clock
from audit.events import SYSTEM
from scheduling import appointments
from scheduling.models import Appointment, Slot
from tests import factories
from tests.clinics import Clinic, open_clinic
from waitlist import invites
from waitlist.models import Hold, WaitlistEntry, WaitlistPolicy

API = "/api/v1"


@pytest.mark.parametrize("role", ["staff", "admin", "provider"])
def test_promote_books_at_once(clinic: Clinic, role: str) -> None:
    entry, slot = clinic.join(), clinic.slot()
    url = f"{API}/waitlists/{entry.pk}/promote"
    answer = clinic.client(role).post(url, {"slot": str(slot.pk)}, format="json")
    assert answer.status_code == 200, answer.data
    assert answer.data["status"] == "converted"
    booked = Appointment.objects.get()
    assert answer.data["appointment"]["id"] == str(booked.pk)
    assert (booked.patient, booked.slot, booked.source) == (clinic.patient, slot, "waitlist")
    again = clinic.client(role).post(url, {"slot": str(slot.pk)}, format="json")
    assert (again.status_code, again.data["code"]) == (409, "entry_closed")


def test_promote_refusals(clinic: Clinic) -> None:
    entry = clinic.join()
    client = clinic.client("staff")
    url = f"{API}/waitlists/{entry.pk}/promote"
    past = clinic.slot(starts_at=clock.now() - timedelta(hours=1))
    taken = clinic.slot()
    other = clinic.other_patient()
    appointments.book(
        slot_id=taken.pk, patient_id=other.pk, source="staff", actor=SYSTEM, now=clock.now()
    )
    foreign = open_clinic().slot()
    for slot_id, status, code in (
        (past.pk, 409, "slot_past"),
        (taken.pk, 409, "slot_taken"),
        (foreign.pk, 404, "not_found"),
        (uuid4(), 404, "not_found"),
    ):
        answer = client.post(url, {"slot": str(slot_id)}, format="json")
        assert (answer.status_code, answer.data["code"]) == (status, code)
    assert client.post(url, {}, format="json").status_code == 400
    body = {"slot": str(clinic.slot(starts_at=clock.now() + timedelta(days=2)).pk)}
    for role, status in (("patient", 403), ("none", 401)):
        assert clinic.client(role).post(url, body, format="json").status_code == status
    assert open_clinic().client("admin").post(url, body, format="json").status_code == 404
    entry.refresh_from_db()
    assert entry.status == "waiting"


def test_provider_gives_away_own_slots_only(clinic: Clinic) -> None:
    colleague = factories.ProviderFactory.create(tenant=clinic.tenant, facilities=[clinic.facility])
    entry, slot = clinic.join(), clinic.slot(provider=colleague)
    client = clinic.client("provider")
    for url, body in (
        (f"{API}/waitlists/{entry.pk}/promote", {"slot": str(slot.pk)}),
        (f"{API}/slots/{slot.pk}/waitlist/invite", {}),
        (f"{API}/slots/{slot.pk}/waitlist/invite", {"entry": str(entry.pk)}),
    ):
        answer = client.post(url, body, format="json")
        assert (answer.status_code, answer.data["code"]) == (403, "not_yours")
    mine = clinic.slot()
    answer = client.post(f"{API}/slots/{mine.pk}/waitlist/invite", {}, format="json")
    assert answer.status_code == 201, answer.data


def test_invite_the_best_match_or_one_entry(clinic: Clinic) -> None:
    first, second = clinic.join(), clinic.join(patient=clinic.other_patient())
    client = clinic.client("staff")
    slot = clinic.slot()
    answer = client.post(f"{API}/slots/{slot.pk}/waitlist/invite", {}, format="json")
    assert answer.status_code == 201, answer.data
    assert (answer.data["entry"], answer.data["status"]) == (first.pk, "offered")
    assert (answer.data["source"], answer.data["appointment"]) == ("staff", None)
    other = clinic.slot(starts_at=clock.now() + timedelta(days=2))
    url = f"{API}/slots/{other.pk}/waitlist/invite"
    answer = client.post(url, {"entry": str(second.pk)}, format="json")
    assert (answer.status_code, answer.data["entry"]) == (201, second.pk)
    again = client.post(url, {}, format="json")
    assert (again.status_code, again.data["code"]) == (409, "slot_taken")
    again = client.post(url, {"entry": str(second.pk)}, format="json")  # is offered it already
    assert (again.status_code, again.data["code"]) == (409, "does_not_fit")
    assert Hold.objects.filter(status="offered").count() == 2


def test_invite_refusals(clinic: Clinic) -> None:
    slot = clinic.slot()
    client = clinic.client("staff")
    url = f"{API}/slots/{slot.pk}/waitlist/invite"
    answer = client.post(url, {}, format="json")
    assert (answer.status_code, answer.data["code"]) == (409, "nobody_fits")
    other = factories.ServiceFactory.create(tenant=clinic.tenant)
    entry = clinic.join(service_id=other.pk)
    answer = client.post(url, {"entry": str(entry.pk)}, format="json")
    assert (answer.status_code, answer.data["code"]) == (409, "does_not_fit")
    soon = clinic.slot(starts_at=clock.now() + timedelta(minutes=31))
    answer = client.post(f"{API}/slots/{soon.pk}/waitlist/invite", {}, format="json")
    assert (answer.status_code, answer.data["code"]) == (409, "too_late")
    foreign = open_clinic().join()
    answer = client.post(url, {"entry": str(foreign.pk)}, format="json")
    assert (answer.status_code, answer.data["code"]) == (404, "not_found")
    assert clinic.client("patient").post(url, {}, format="json").status_code == 403


def test_vacancy_is_cancelled_and_offered_or_neither(clinic: Clinic) -> None:
    slot = clinic.slot()
    booked = appointments.book(
        slot_id=slot.pk,
        patient_id=clinic.other_patient().pk,
        source="staff",
        actor=SYSTEM,
        now=clock.now(),
    )
    client = clinic.client("staff")
    url = f"{API}/appointments/{booked.pk}/waitlist/invite"
    assert client.post(url, {}, format="json").data["errors"][0]["field"] == "reason"
    body = {"reason": "provider_unavailable"}
    answer = client.post(url, body, format="json")
    assert (answer.status_code, answer.data["code"]) == (409, "nobody_fits")
    booked.refresh_from_db()
    assert booked.status == "booked"
    entry = clinic.join()
    answer = client.post(url, body | {"entry": str(entry.pk)}, format="json")
    assert answer.status_code == 201, answer.data
    booked.refresh_from_db()
    assert (booked.status, booked.cancellation_reason) == ("cancelled", "provider_unavailable")
    assert Slot.objects.get(pk=slot.pk).status == "held"
    answer = client.post(url, body, format="json")
    assert (answer.status_code, answer.data["code"]) == (409, "appointment_not_booked")
    assert clinic.client("provider").post(url, body, format="json").status_code == 403


def offer(clinic: Clinic) -> Hold:
    """Offer a slot to the clinic's patient."""
    entry = clinic.join()
    return invites.invite(
        slot_id=clinic.slot().pk, entry_id=entry.pk, actor=SYSTEM, now=clock.now()
    )


def test_patient_accepts(clinic: Clinic) -> None:
    hold = offer(clinic)
    client = clinic.client("patient")
    answer = client.get(f"{API}/holds/{hold.pk}")
    assert (answer.status_code, answer.data["status"]) == (200, "offered")
    assert answer.data["starts_at"] < answer.data["ends_at"]
    answer = client.post(f"{API}/holds/{hold.pk}/accept")
    assert answer.status_code == 200, answer.data
    assert answer.data["status"] == "accepted"
    assert answer.data["appointment"]["slot"] == hold.slot_id
    assert WaitlistEntry.objects.get().status == "converted"
    for verb in ("accept", "decline"):
        again = client.post(f"{API}/holds/{hold.pk}/{verb}")
        assert (again.status_code, again.data["code"]) == (409, "hold_closed")
        assert again.data["state"] == "accepted"


def test_patient_declines(clinic: Clinic) -> None:
    hold = offer(clinic)
    client = clinic.client("patient")
    answer = client.post(f"{API}/holds/{hold.pk}/decline")
    assert (answer.status_code, answer.data["status"]) == (200, "declined")
    assert WaitlistEntry.objects.get().status == "waiting"
    assert client.post(f"{API}/holds/{hold.pk}/accept").data["state"] == "declined"


def test_late_answer_is_told_that_it_is_late(clinic: Clinic) -> None:
    hold = offer(clinic)
    now = clock.now()
    Hold.objects.update(offered_at=now - timedelta(hours=2), expires_at=now)
    answer = clinic.client("patient").post(f"{API}/holds/{hold.pk}/accept")
    assert (answer.status_code, answer.data["state"]) == (409, "expired")


def test_holds_of_others(clinic: Clinic) -> None:
    hold = offer(clinic)
    url = f"{API}/holds/{hold.pk}"
    stranger = factories.PatientFactory.create(
        tenant=clinic.tenant, user=factories.UserFactory.create()
    )
    assert stranger.user is not None
    clinic.users["patient"] = stranger.user
    for verb in ("accept", "decline"):
        assert clinic.client("patient").post(f"{url}/{verb}").status_code == 404
        assert clinic.client("staff").post(f"{url}/{verb}").status_code == 403
        assert clinic.client("none").post(f"{url}/{verb}").status_code == 401
    assert clinic.client("patient").get(url).status_code == 404
    assert clinic.client("staff").get(url).status_code == 200
    assert open_clinic().client("staff").get(url).status_code == 404


def test_declined_hold_does_not_show_what_came_later(clinic: Clinic) -> None:
    hold = offer(clinic)
    client = clinic.client("patient")
    client.post(f"{API}/holds/{hold.pk}/decline")
    slot = clinic.slot(starts_at=clock.now() + timedelta(days=3))
    invites.promote(entry_id=hold.entry_id, slot_id=slot.pk, actor=SYSTEM, now=clock.now())
    assert client.get(f"{API}/holds/{hold.pk}").data["appointment"] is None


def test_deadline_in_quiet_hours_starts_at_their_end(clinic: Clinic) -> None:
    WaitlistPolicy.objects.update(quiet_from="00:00", quiet_until="23:59:59")
    entry = clinic.join()
    slot = clinic.slot(starts_at=clock.now() + timedelta(days=5))
    url = f"{API}/slots/{slot.pk}/waitlist/invite"
    answer = clinic.client("staff").post(url, {"entry": str(entry.pk)}, format="json")
    assert answer.status_code == 201, answer.data
    hold = Hold.objects.get()
    assert hold.expires_at - hold.offered_at > timedelta(hours=24)
