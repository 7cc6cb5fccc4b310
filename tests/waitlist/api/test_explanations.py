"""Explanations over HTTP: staff see who leads, a patient sees their own chances and nobody else."""

from uuid import uuid4

from pytest_django import Settings

from tests.clinics import Clinic, open_clinic

API = "/api/v1"


def test_staff_are_told_who_leads(clinic: Clinic) -> None:
    entry, slot = clinic.join(), clinic.slot()
    answer = clinic.client("staff").get(f"{API}/slots/{slot.pk}/waitlist/explain")
    assert answer.status_code == 200, answer.data
    assert (answer.data["waiting"], answer.data["fitting"]) == (1, 1)
    assert [one["entry"] for one in answer.data["leaders"]] == [str(entry.pk)]
    assert "name" not in answer.content.decode()


def test_owners_are_told_their_chances_alone(clinic: Clinic) -> None:
    entry, slot = clinic.join(), clinic.slot()
    other = clinic.join(patient=clinic.other_patient())
    url = f"{API}/waitlists/{entry.pk}/explain"
    answer = clinic.client("patient").get(url)
    assert answer.status_code == 200, answer.data
    assert [(one["slot"], one["closed"]) for one in answer.data["chances"]] == [(str(slot.pk), [])]
    assert str(other.pk) not in answer.content.decode()
    assert str(other.patient_id) not in answer.content.decode()
    assert clinic.client("staff").get(url).data == answer.data


def test_explain_refusals(clinic: Clinic) -> None:
    entry, slot = clinic.join(), clinic.slot()
    others = clinic.join(patient=clinic.other_patient())
    whole, mine = f"{API}/slots/{slot.pk}/waitlist/explain", f"{API}/waitlists/{entry.pk}/explain"
    for url, role, status in (
        (whole, "none", 401), (whole, "patient", 403), (whole, "provider", 403),
        (mine, "none", 401), (mine, "provider", 403),
        (f"{API}/waitlists/{others.pk}/explain", "patient", 404),
        (f"{API}/slots/{uuid4()}/waitlist/explain", "staff", 404),
    ):  # fmt: skip
        assert clinic.client(role).get(url).status_code == status, (url, role)
    foreign = open_clinic().client("admin")
    assert foreign.get(whole).status_code == foreign.get(mine).status_code == 404


def test_explanations_are_limited_by_user(clinic: Clinic, settings: Settings) -> None:
    entry, slot = clinic.join(), clinic.slot()
    whole, mine = f"{API}/slots/{slot.pk}/waitlist/explain", f"{API}/waitlists/{entry.pk}/explain"
    settings.RATE_LIMITS = settings.RATE_LIMITS | {"explain": "2/minute"}
    staff, patient = clinic.client("staff"), clinic.client("patient")
    answers = [staff.get(url) for url in (whole, mine, whole)]
    assert [one.status_code for one in answers] == [200, 200, 429]
    assert (answers[2].data["code"], int(answers[2]["Retry-After"]) > 0) == ("throttled", True)
    assert patient.get(mine).status_code == 200
    settings.RATE_LIMITS |= {f"explain:{clinic.tenant.pk}": "3/minute"}
    assert staff.get(mine).status_code == 200
