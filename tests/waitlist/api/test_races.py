"""Many requests at once, each on a connection of its own."""

from collections import Counter
from typing import Any

import pytest

from audit import clock
from audit.events import SYSTEM
from scheduling.models import Appointment
from tests import factories
from tests.api import Api
from tests.clinics import Clinic, open_clinic
from tests.waitlist.api.calls import URL, at_once, post
from waitlist import invites, offers
from waitlist.models import Hold, WaitlistEntry, WaitlistPolicy

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def clinic(transactional_db: None, settings: Any) -> Clinic:
    """A clinic whose patients may try as often as they like."""
    settings.RATE_LIMITS = settings.RATE_LIMITS | {"join": "1000/minute", "offer": "1000/minute"}
    return open_clinic()


def test_fifty_joins_of_one_patient_make_one_entry(clinic: Clinic) -> None:
    client = clinic.client("patient")
    body = {"facility": str(clinic.facility.pk)}
    answers = Counter(at_once([post(client, URL, body)] * 50))
    assert answers == {(201, ""): 1, (409, "already_waiting"): 49}
    assert WaitlistEntry.objects.count() == 1


def test_fifty_joins_fill_a_queue_of_twenty(clinic: Clinic) -> None:
    WaitlistPolicy.objects.update(max_queue_size=20)
    client = clinic.client("staff")
    bodies = [
        {"facility": str(clinic.facility.pk), "patient": str(clinic.other_patient().pk)}
        for _ in range(50)
    ]
    answers = Counter(at_once([post(client, URL, body) for body in bodies]))
    assert answers == {(201, ""): 20, (409, "queue_full"): 30}
    positions = clinic.client("staff").get(URL, {"page_size": 50}).data["results"]
    assert [one["position"] for one in positions] == list(range(1, 21))


def test_fifty_joins_at_ten_facilities_make_three_entries(clinic: Clinic) -> None:
    places = factories.FacilityFactory.create_batch(10, tenant=clinic.tenant)
    WaitlistPolicy.objects.update(max_active_per_requester=3)
    client = clinic.client("patient")
    calls = [post(client, URL, {"facility": str(place.pk)}) for place in places * 5]
    answers = Counter(at_once(calls))
    assert answers[201, ""] == 3
    assert set(answers) <= {(201, ""), (409, "already_waiting"), (429, "too_many_entries")}
    assert WaitlistEntry.objects.count() == 3


def test_two_admins_promote_to_one_slot(clinic: Clinic) -> None:
    slot = clinic.slot()
    entries = [clinic.join(patient=clinic.other_patient()) for _ in range(10)]
    clients = [clinic.client("admin"), clinic.client("staff")]
    body = {"slot": str(slot.pk)}
    calls = [
        post(client, f"{URL}/{entry.pk}/promote", body) for entry in entries for client in clients
    ]
    answers = Counter(at_once(calls))
    assert answers[200, ""] == 1
    assert set(answers) <= {(200, ""), (409, "slot_taken"), (409, "entry_closed")}
    assert Appointment.objects.count() == 1


def test_two_admins_promote_and_invite_one_entry(clinic: Clinic) -> None:
    """One ends it, whatever the other offered meanwhile: at most one booking, no slot is lost."""
    entry = clinic.join()
    slots = [
        clinic.slot(provider=factories.ProviderFactory.create(tenant=clinic.tenant))
        for _ in range(6)
    ]
    admin, staff = clinic.client("admin"), clinic.client("staff")
    calls = [
        post(admin, f"{URL}/{entry.pk}/promote", {"slot": str(slot.pk)}) for slot in slots[:3]
    ] + [
        post(staff, f"/api/v1/slots/{slot.pk}/waitlist/invite", {"entry": str(entry.pk)})
        for slot in slots
    ]
    answers = Counter(at_once(calls))
    assert answers[200, ""] == 1
    assert all(status in {200, 201, 409} for status, _ in answers)
    entry.refresh_from_db()
    assert entry.status == "converted"
    assert not Hold.objects.filter(status="offered").exists()


def test_two_admins_invite_different_people_to_one_slot(clinic: Clinic) -> None:
    slot = clinic.slot()
    entries = [clinic.join(patient=clinic.other_patient()) for _ in range(8)]
    clients = [clinic.client("admin"), clinic.client("staff")] * 4
    url = f"/api/v1/slots/{slot.pk}/waitlist/invite"
    calls = [
        post(client, url, {"entry": str(entry.pk)})
        for client, entry in zip(clients, entries, strict=True)
    ]
    answers = Counter(at_once(calls))
    assert answers == {(201, ""): 1, (409, "slot_taken"): 7}
    assert Hold.objects.filter(status="offered").count() == 1


def test_twenty_accepts_by_link_book_once(clinic: Clinic) -> None:
    entry = clinic.join()
    hold = invites.invite(
        slot_id=clinic.slot().pk, entry_id=entry.pk, actor=SYSTEM, now=clock.now()
    )
    url = f"/api/v1/offers/{offers.sign(hold_id=hold.pk)}/accept"
    answers = Counter(at_once([post(Api(), url, {})] * 20))
    assert answers == {(200, ""): 1, (409, "hold_closed"): 19}
    assert Appointment.objects.count() == 1


def test_accept_and_decline_by_link_at_once(clinic: Clinic) -> None:
    entry = clinic.join()
    hold = invites.invite(
        slot_id=clinic.slot().pk, entry_id=entry.pk, actor=SYSTEM, now=clock.now()
    )
    url = f"/api/v1/offers/{offers.sign(hold_id=hold.pk)}"
    calls = [post(Api(), f"{url}/{verb}", {}) for verb in ("accept", "decline")] * 5
    answers = Counter(at_once(calls))
    assert answers == {(200, ""): 1, (409, "hold_closed"): 9}
    hold.refresh_from_db()
    assert Appointment.objects.count() == (hold.status == "accepted")


def test_one_key_from_many_joins_once(clinic: Clinic) -> None:
    client = clinic.client("patient")
    body = {"facility": str(clinic.facility.pk)}
    header = client._credentials  # type: ignore[attr-defined]

    def call() -> int:
        mine = Api()
        mine.credentials(**header)
        status: int = mine.post(URL, body, format="json", HTTP_IDEMPOTENCY_KEY="same").status_code
        return status

    answers = Counter(at_once([call] * 10))
    assert answers[201] >= 1
    assert set(answers) <= {201, 409}  # in flight
    assert WaitlistEntry.objects.count() == 1
