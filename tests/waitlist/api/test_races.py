"""Many requests at once, each on a connection of its own."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from threading import Barrier
from typing import Any
from unittest import mock

import pytest
from django.core.management import call_command
from django.db import connection
from rest_framework.test import APIClient

from audit import clock
from audit.events import SYSTEM
from scheduling.models import Appointment, Patient, Service
from tests import factories
from tests.clinics import Clinic, open_clinic
from tests.races import race, sabotage
from waitlist import invites, offers
from waitlist.models import Hold, Queue, WaitlistEntry, WaitlistPolicy

URL = "/api/v1/waitlists"

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def clinic(transactional_db: None, settings: Any) -> Clinic:
    """A clinic whose patients may try as often as they like."""
    settings.RATE_LIMITS = settings.RATE_LIMITS | {"join": "1000/minute", "offer": "1000/minute"}
    return open_clinic()


def at_once(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Make the calls at the same moment; return their answers."""
    barrier = Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        try:
            connection.ensure_connection()
            barrier.wait()
            return call()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(calls)) as pool:
        answers = list(pool.map(run, calls))
    call_command("check_invariants")
    return answers


def post(client: APIClient, url: str, body: Any) -> Callable[[], tuple[int, str]]:
    """Return a call that posts, and answers the status and the code of a problem."""
    header = client._credentials  # type: ignore[attr-defined]

    def call() -> tuple[int, str]:
        mine = APIClient()
        mine.credentials(**header)
        answer = mine.post(url, body, format="json")
        return answer.status_code, answer.data.get("code", "")

    return call


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
    answers = Counter(at_once([post(APIClient(), url, {})] * 20))
    assert answers == {(200, ""): 1, (409, "hold_closed"): 19}
    assert Appointment.objects.count() == 1


def test_accept_and_decline_by_link_at_once(clinic: Clinic) -> None:
    entry = clinic.join()
    hold = invites.invite(
        slot_id=clinic.slot().pk, entry_id=entry.pk, actor=SYSTEM, now=clock.now()
    )
    url = f"/api/v1/offers/{offers.sign(hold_id=hold.pk)}"
    calls = [post(APIClient(), f"{url}/{verb}", {}) for verb in ("accept", "decline")] * 5
    answers = Counter(at_once(calls))
    assert answers == {(200, ""): 1, (409, "hold_closed"): 9}
    hold.refresh_from_db()
    assert Appointment.objects.count() == (hold.status == "accepted")


def test_one_key_from_many_joins_once(clinic: Clinic) -> None:
    client = clinic.client("patient")
    body = {"facility": str(clinic.facility.pk)}
    header = client._credentials  # type: ignore[attr-defined]

    def call() -> int:
        mine = APIClient()
        mine.credentials(**header)
        status: int = mine.post(URL, body, format="json", HTTP_IDEMPOTENCY_KEY="same").status_code
        return status

    answers = Counter(at_once([call] * 10))
    assert answers[201] >= 1
    assert set(answers) <= {201, 409}  # in flight
    assert WaitlistEntry.objects.count() == 1


# What keeps these right: without it, requests that stop before the same statement are all answered
# as if they were the first.

JOINS = ["^INSERT INTO .waitlist_waitlistentry"]
BOOKS = ['^UPDATE "scheduling_slot"']


def in_step(*calls: Callable[[], Any], before: Sequence[race.Stop]) -> Counter[Any]:
    """Let requests all come to a statement before one goes on; count their answers."""
    return Counter(outcome.value for outcome in race.run(*calls, before=before))


@pytest.mark.parametrize("locked", [True, False])
def test_the_queues_lock_keeps_it_from_overflowing(clinic: Clinic, locked: bool) -> None:
    WaitlistPolicy.objects.update(max_queue_size=1)
    client, facility = clinic.client("staff"), str(clinic.facility.pk)
    people = [str(clinic.other_patient().pk) for _ in range(4)]
    calls = [post(client, URL, {"facility": facility, "patient": one}) for one in people]
    with sabotage.taken_out([] if locked else [lambda: sabotage.no_row_locks(Queue)]):
        answers = in_step(*calls, before=JOINS)
    assert answers == ({(201, ""): 1, (409, "queue_full"): 3} if locked else {(201, ""): 4})


@pytest.mark.parametrize("locked", [True, False])
def test_the_patients_lock_keeps_them_from_waiting_in_more(clinic: Clinic, locked: bool) -> None:
    places = factories.FacilityFactory.create_batch(3, tenant=clinic.tenant)
    WaitlistPolicy.objects.update(max_active_per_requester=1)
    client = clinic.client("patient")
    calls = [post(client, URL, {"facility": str(place.pk)}) for place in places]
    with sabotage.taken_out([] if locked else [lambda: sabotage.no_row_locks(Patient)]):
        answers = in_step(*calls, before=JOINS)
    refused = {(201, ""): 1, (429, "too_many_entries"): 2}
    assert answers == (refused if locked else {(201, ""): 3})


def no_entry_constraint() -> Any:
    return sabotage.no_constraints("entry_patient_once")


@pytest.mark.parametrize(
    ("layers", "joined"),
    [([], 1), ([sabotage.no_row_locks], 1), ([no_entry_constraint], 4)],
    ids=["as it is", "no locks", "no constraint"],
)
def test_the_constraint_keeps_a_patient_from_joining_twice(
    layers: list[sabotage.Layer], joined: int, settings: Any
) -> None:
    settings.RATE_LIMITS = settings.RATE_LIMITS | {"join": "1000/minute"}
    with sabotage.taken_out(layers):
        clinic = open_clinic()
        calls = [post(clinic.client("patient"), URL, {"facility": str(clinic.facility.pk)})] * 4
        answers = in_step(*calls, before=JOINS)
    assert answers[201, ""] == joined
    assert answers[409, "already_waiting"] == 4 - joined


def no_slot_constraint() -> Any:
    return sabotage.no_constraints("appointment_slot")


@pytest.mark.parametrize(
    ("layers", "second"),
    [
        ([], (409, "slot_taken")),
        ([sabotage.no_row_locks, sabotage.no_guard], (409, "conflict")),
        ([sabotage.no_row_locks, sabotage.no_guard, no_slot_constraint], (200, "")),
    ],
    ids=["as it is", "no locks, no guard", "no constraint either"],
)
def test_locks_then_the_constraint_keep_two_admins_from_promoting_to_one_slot(
    layers: list[sabotage.Layer], second: tuple[int, str]
) -> None:
    with sabotage.taken_out(layers):
        clinic = open_clinic()
        slot = clinic.slot()
        calls = [
            post(
                clinic.client(role),
                f"{URL}/{clinic.join(patient=clinic.other_patient()).pk}/promote",
                {"slot": str(slot.pk)},
            )
            for role in ("admin", "staff")
        ]
        assert in_step(*calls, before=BOOKS) == Counter([(200, ""), second])


@pytest.mark.parametrize("locked", [True, False])
def test_locks_keep_two_admins_from_promoting_one_entry_twice(clinic: Clinic, locked: bool) -> None:
    entry = clinic.join()
    starts = [factories.tomorrow(hour=hour) for hour in (9, 15)]
    bodies = [{"slot": str(clinic.slot(starts_at=at).pk)} for at in starts]
    calls = [
        post(clinic.client(role), f"{URL}/{entry.pk}/promote", body)
        for role, body in zip(("admin", "staff"), bodies, strict=True)
    ]
    with sabotage.taken_out([] if locked else [sabotage.no_row_locks]):
        answers = in_step(*calls, before=BOOKS)
    assert answers[200, ""] == (1 if locked else 2)
    assert Appointment.objects.count() == answers[200, ""]


def no_look() -> Any:
    return sabotage.statement("write_offers", without=" AND slot.status = 'open'")


def no_hold_constraint() -> Any:
    return sabotage.no_constraints("hold_slot_once")


@pytest.mark.parametrize(
    ("layers", "offers_made"),
    [
        ([], 1),
        ([sabotage.no_row_locks, no_look], 1),
        ([sabotage.no_row_locks, no_look, no_hold_constraint], 2),
    ],
    ids=["as it is", "no locks, no look", "no constraint either"],
)
def test_locks_then_the_constraint_keep_two_admins_from_offering_one_slot_twice(
    layers: list[sabotage.Layer], offers_made: int
) -> None:
    with sabotage.taken_out(layers):
        clinic = open_clinic()
        url = f"/api/v1/slots/{clinic.slot().pk}/waitlist/invite"
        calls = [
            post(
                clinic.client(role),
                url,
                {"entry": str(clinic.join(patient=clinic.other_patient()).pk)},
            )
            for role in ("admin", "staff")
        ]
        answers = in_step(*calls, before=["INSERT INTO waitlist_hold"])
        assert answers[201, ""] == offers_made
        assert Hold.objects.filter(status="offered").count() == offers_made


def no_appointment_constraints() -> Any:
    return sabotage.no_constraints("appointment_slot", "appointment_patient_booked_once")


@pytest.mark.parametrize(
    ("layers", "second"),
    [
        ([], (409, "hold_closed")),
        ([sabotage.no_row_locks, sabotage.no_guard], (409, "conflict")),
        ([sabotage.no_row_locks, sabotage.no_guard, no_appointment_constraints], (200, "")),
    ],
    ids=["as it is", "no locks, no guard", "no constraints either"],
)
def test_locks_then_constraints_keep_a_link_from_booking_twice(
    layers: list[sabotage.Layer], second: tuple[int, str]
) -> None:
    with sabotage.taken_out(layers):
        clinic = open_clinic()
        hold = invites.invite(
            slot_id=clinic.slot().pk, entry_id=clinic.join().pk, actor=SYSTEM, now=clock.now()
        )
        url = f"/api/v1/offers/{offers.sign(hold_id=hold.pk)}/accept"
        answers = in_step(*[post(APIClient(), url, {})] * 2, before=BOOKS)
        assert answers == Counter([(200, ""), second])


@pytest.mark.parametrize("locked", [True, False])
def test_the_lock_on_a_key_keeps_twins_from_both_being_done(clinic: Clinic, locked: bool) -> None:
    header = clinic.client("staff")._credentials  # type: ignore[attr-defined]

    def add_service() -> int:
        client = APIClient()
        client.credentials(**header)
        body = {"name": f"Service {next(number)}", "duration": "PT30M"}
        # One request by its fingerprint, of which each twin's work can be told apart.
        with mock.patch("accounts.idempotency.fingerprint", return_value="same"):
            answer = client.post("/api/v1/services/", body, format="json", HTTP_IDEMPOTENCY_KEY="k")
        status: int = answer.status_code
        return status

    number, before = count(1), Service.objects.count()
    with sabotage.taken_out([] if locked else [sabotage.no_advisory_locks]):
        answers = in_step(add_service, add_service, before=['^INSERT INTO "scheduling_service"'])
    assert answers == ({201: 1, 409: 1} if locked else {201: 2})
    assert Service.objects.count() - before == answers[201]
