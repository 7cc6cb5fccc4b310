"""What keeps the races of `test_races` right.

Without it, requests that stop before the same statement are all answered as if they were the first.
"""

from collections import Counter
from collections.abc import Callable
from itertools import count
from typing import Any
from unittest import mock

import pytest

from audit import clock
from audit.events import SYSTEM
from scheduling.models import Appointment, Patient, Service
from tests import factories
from tests.api import Api
from tests.clinics import Clinic, open_clinic
from tests.races import race, sabotage
from tests.waitlist.api.calls import URL, in_step, post, send
from waitlist import invariants, invites, offers
from waitlist.models import Hold, Queue, WaitlistPolicy

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def clinic(transactional_db: None, settings: Any) -> Clinic:
    """A clinic whose patients may try as often as they like."""
    settings.RATE_LIMITS = settings.RATE_LIMITS | {"join": "1000/minute", "offer": "1000/minute"}
    return open_clinic()


JOINS = ["^INSERT INTO .waitlist_waitlistentry"]
BOOKS = ['^UPDATE "scheduling_slot"']


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
        answers = in_step(*[post(Api(), url, {})] * 2, before=BOOKS)
        assert answers == Counter([(200, ""), second])


@pytest.mark.parametrize("locked", [True, False])
def test_the_lock_on_a_key_keeps_twins_from_both_being_done(clinic: Clinic, locked: bool) -> None:
    header = clinic.client("staff")._credentials  # type: ignore[attr-defined]

    def add_service() -> int:
        client = Api()
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


@pytest.mark.parametrize(
    ("layers", "other", "broken"),
    [([], (409, "entry_closed"), set()), ([sabotage.no_row_locks], (201, ""), {4})],
    ids=["as it is", "no locks"],
)
def test_locks_keep_one_from_offering_what_another_promotes(
    layers: list[sabotage.Layer], other: tuple[int, str], broken: set[int], clinic: Clinic
) -> None:
    """Else who is booked already is offered another slot, and stays on the waitlist with it."""
    entry = clinic.join()
    by = factories.ProviderFactory.create(tenant=clinic.tenant)
    first, second = clinic.slot(), clinic.slot(provider=by)
    promote = post(clinic.client("admin"), f"{URL}/{entry.pk}/promote", {"slot": str(first.pk)})
    url, body = f"/api/v1/slots/{second.pk}/waitlist/invite", {"entry": str(entry.pk)}
    invite = post(clinic.client("staff"), url, body)
    with sabotage.taken_out(layers):
        outcomes = race.overtake(promote, invite, before=BOOKS[0])
    assert [outcome.value for outcome in outcomes] == [(200, ""), other]
    assert {breach.number for breach in invariants.breaches()} == broken


@pytest.mark.parametrize(
    ("layers", "answers", "booked"),
    [
        ([], [(200, ""), (409, "hold_closed")], 1),
        ([sabotage.no_row_locks], [(409, "slot_taken"), (200, "")], 0),
        ([sabotage.no_row_locks, sabotage.no_guard], [(200, ""), (200, "")], 1),
    ],
    ids=["as it is", "no locks", "no guard either"],
)
def test_locks_then_the_guard_keep_a_link_from_both_accepting_and_declining(
    layers: list[sabotage.Layer], answers: list[tuple[int, str]], booked: int, clinic: Clinic
) -> None:
    hold = invites.invite(
        slot_id=clinic.slot().pk, entry_id=clinic.join().pk, actor=SYSTEM, now=clock.now()
    )
    url = f"/api/v1/offers/{offers.sign(hold_id=hold.pk)}"
    accept, decline = (post(Api(), f"{url}/{verb}", {}) for verb in ("accept", "decline"))
    with sabotage.taken_out(layers):
        outcomes = race.overtake(accept, decline, before=BOOKS[0])
    assert [outcome.value for outcome in outcomes] == answers
    assert Appointment.objects.count() == booked
    # A hold that was declined and booked all the same is none that the entry was converted by.
    assert bool(invariants.breaches()) == (answers[0] == answers[1])


@pytest.mark.parametrize("locked", [True, False])
def test_the_patients_lock_keeps_them_from_reserving_more(clinic: Clinic, locked: bool) -> None:
    client = clinic.client("patient")
    slots = [
        clinic.slot(provider=factories.ProviderFactory.create(tenant=clinic.tenant))
        for _ in range(5)
    ]
    calls = [post(client, f"/api/v1/slots/{slot.pk}/reserve", {}) for slot in slots]
    with sabotage.taken_out([] if locked else [lambda: sabotage.no_row_locks(Patient)]):
        answers = in_step(*calls, before=BOOKS)
    refused = {(200, ""): 3, (409, "too_many_reserved"): 2}
    assert answers == (refused if locked else {(200, ""): 5})


# Two who change what they both read


def wish(clinic: Clinic) -> tuple[str, str, Any]:
    return "patch", f"{URL}/{clinic.join().pk}", {"urgency": 1}


def move_rule(clinic: Clinic) -> tuple[str, str, Any]:
    rule = factories.AvailabilityRuleFactory.create(
        facility=clinic.facility, provider=clinic.provider
    )
    return "patch", f"/api/v1/availability-rules/{rule.pk}", {"slot_minutes": 15}


def replace_policy(clinic: Clinic) -> tuple[str, str, Any]:
    url = f"/api/v1/facilities/{clinic.facility.pk}/waitlist-policy"
    policy = clinic.client("admin").get(url).json()
    known = {"facility", "version", "updated_at"}
    return "put", url, {name: policy[name] for name in policy.keys() - known}


def erase(clinic: Clinic) -> tuple[str, str, Any]:
    return "post", f"/api/v1/patients/{clinic.patient.pk}/erase", None


@pytest.mark.parametrize("locked", [True, False])
@pytest.mark.parametrize(
    ("make", "before", "told"),
    [
        (wish, "waitlist_waitlistentry", (412, "stale")),
        (move_rule, "scheduling_availabilityrule", (412, "stale")),
        (replace_policy, "waitlist_waitlistpolicy", (412, "stale")),
        (erase, "scheduling_patient", (404, "not_found")),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_lock_keeps_two_from_changing_the_same_version(
    clinic: Clinic, make: Callable[[Clinic], Any], before: str, told: Any, locked: bool
) -> None:
    """If-Match is compared with the row once it is locked, so that only one finds it as it was."""
    method, url, body = make(clinic)
    client = clinic.client("admin")
    version = client.get(url.removesuffix("/erase"))["ETag"]
    call = send(client, method, url, body, HTTP_IF_MATCH=version)
    locks = [sabotage.no_row_locks, sabotage.no_advisory_locks]
    with sabotage.taken_out([] if locked else locks):
        answers = in_step(call, call, before=[f'^UPDATE "{before}"'])
    done = 204 if method == "post" else 200
    assert answers == ({(done, ""): 1, told: 1} if locked else {(done, ""): 2})
