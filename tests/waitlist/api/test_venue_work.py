"""What a venue's people ask costs the same however many wait there: nobody can time the queue.

Counted are the statements of a request, and the rows that they read and write in each table.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytest
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.roles import Role
from audit import clock
from availability import rfps, statuses
from availability.models import RfpVenue
from scheduling import appointments
from scheduling.models import Appointment, Facility, Patient, Service, Slot
from tests import factories, venues
from tests.accounts.pages import url
from tests.api import Api, log_in
from tests.waitlist import asking, worlds
from tests.waitlist.worlds import DAY, NOW, STAFF, World
from waitlist import ranking
from waitlist.models import CircuitBreaker, WaitlistEntry

pytestmark = pytest.mark.django_db

MANY = 12
TOUCHED = """
    SELECT relname, seq_tup_read + coalesce(idx_tup_fetch, 0) + n_tup_ins + n_tup_upd + n_tup_del
    FROM pg_stat_xact_user_tables
"""


class Owner(NamedTuple):
    """The people of a venue that has room, and the organizers whom it refused before.

    A patient of the same tenant's clinic takes any facility for the service that is `wanted`.
    """

    place: Facility
    admin: Api
    staff: Api
    pages: Client
    refused: Sequence[RfpVenue]
    wanted: Service
    unwanted: Service

    def slot(self, service: Service) -> Slot:
        """Open a slot."""
        return factories.SlotFactory.create(
            facility=self.place, service=service, starts_at=NOW + DAY
        )

    def book(self, service: Service) -> Appointment:
        """Book a slot for a patient who waits for nothing."""
        patient = factories.PatientFactory.create(tenant=self.place.tenant)
        return appointments.book(
            slot_id=self.slot(service).pk, patient_id=patient.pk, source="staff", actor=STAFF,
            now=NOW,
        )  # fmt: skip


@pytest.fixture
def owner(db: None, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Owner:
    """An owner whose queries take indexes, as they would with more rows."""
    settings.RATE_LIMITS = dict.fromkeys(settings.RATE_LIMITS, "100000/minute")
    monkeypatch.setattr(clock, "now", lambda: NOW)
    place = venues.open_venue()
    refused = [asking.refused(places=[place], by=asking.organizer())[0] for _ in range(MANY)]
    asking.fill(place=place)
    statuses.set_by_hand(
        facility_id=place.pk, status="limited_availability", actor=venues.OWNER, now=NOW
    )
    admin, staff = (log_in(tenant=place.tenant, role=role) for role in (Role.ADMIN, Role.STAFF))
    assert staff.user is not None
    pages = Client()
    pages.force_login(staff.user)
    clinic = worlds.build(tenant=place.tenant)
    clinic.join(any_facility=True)
    _crowd(elsewhere=worlds.build())
    unwanted = factories.ServiceFactory.create(tenant=place.tenant)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_bitmapscan = off")
    return Owner(place, admin, staff, pages, refused, clinic.service, unwanted)


def _crowd(*, elsewhere: World) -> None:
    """Let many wait for something else, so that an entry is found by its key, not among all."""
    Patient.objects.bulk_create(
        Patient(tenant=elsewhere.tenant, name="Patient") for _ in range(500)
    )
    WaitlistEntry.objects.bulk_create(
        WaitlistEntry(
            tenant=elsewhere.tenant, facility=elsewhere.facility, patient=patient, rank_key=n,
            joined_at=NOW, expires_at=NOW + DAY,
        )
        for n, patient in enumerate(Patient.objects.filter(tenant=elsewhere.tenant))
    )  # fmt: skip


def _touched() -> Counter[str]:
    with connection.cursor() as cursor:
        cursor.execute(TOUCHED)
        return Counter(dict(cursor.fetchall()))


def cost(call: Callable[[], Any]) -> tuple[int, int, Counter[str]]:
    """Return the status of a request, which is undone, how many statements it took and the rows."""
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE waitlist_waitlistentry")  # else any index seems as good as another
    with transaction.atomic():
        before = _touched()
        with CaptureQueriesContext(connection) as captured:
            answer = call()
        rows = _touched() - before
        transaction.set_rollback(True)
    return answer.status_code, len(captured), rows


def _put_policy(owner: Owner, **changes: Any) -> Callable[[], Any]:
    path = f"facilities/{owner.place.pk}/waitlist-policy"
    body = owner.admin.get(path).json()
    for name in ("facility", "version", "updated_at"):
        del body[name]
    return lambda: owner.admin.put(path, body | changes, format="json")


def _show(owner: Owner, status: str) -> Callable[[], Any]:
    path = f"venues/{owner.place.pk}/availability"
    return lambda: owner.admin.put(path, {"availability_status": status}, format="json")


def _respond(owner: Owner) -> Callable[[], Any]:
    scene = venues.set_scene(venue=owner.place)
    target = scene.target(scene.send())
    path = f"venues/{owner.place.pk}/rfps/{target.pk}/respond"
    return lambda: owner.staff.post(path, {"availability": "unavailable"}, format="json")


def _join(owner: Owner) -> Callable[[], Any]:
    patient = factories.PatientFactory.create(tenant=owner.place.tenant)
    body = {"facility": str(owner.place.pk), "patient": str(patient.pk)}
    return lambda: owner.staff.post("waitlists", body, format="json")


def _resolve(owner: Owner) -> Callable[[], Any]:
    CircuitBreaker.objects.create(
        tenant=owner.place.tenant, facility=owner.place, tripped_at=NOW - DAY
    )
    path = f"venues/{owner.place.pk}/waitlist-circuit-breaker/resolve"
    return lambda: owner.admin.post(path, {"action": "resume"}, format="json")


def _invite(owner: Owner, service: Service) -> Callable[[], Any]:
    path = f"slots/{owner.slot(service).pk}/waitlist/invite"
    return lambda: owner.staff.post(path, {}, format="json")


def _invite_for(owner: Owner, service: Service) -> Callable[[], Any]:
    path = f"appointments/{owner.book(service).pk}/waitlist/invite"
    return lambda: owner.staff.post(path, {"reason": "patient_request"}, format="json")


def _explain(owner: Owner) -> Callable[[], Any]:
    path = f"slots/{owner.slot(owner.wanted).pk}/waitlist/explain"
    return lambda: owner.staff.get(path)


def _offer(owner: Owner, row: Slot | Appointment, **answers: Any) -> Callable[[], Any]:
    data = {"action": "offer", "_selected_action": [str(row.pk)], **answers}
    return lambda: owner.pages.post(url(type(row), "changelist"), data)


Asked = dict[str, tuple[Callable[[Owner], Callable[[], Any]], int]]
#: What is asked, and the status that is answered.
ASKED: Asked = {
    "policy": (lambda owner: _put_policy(owner, auto_invite=False, min_match_score=60), 200),
    "policy as it is": (_put_policy, 200),
    "policy unique": (lambda owner: _put_policy(owner, unique_per_service=True), 400),
    "policy order": (lambda owner: _put_policy(owner, ordering="score"), 400),
    "better": (lambda owner: _show(owner, "accepting_events"), 200),
    "worse": (lambda owner: _show(owner, "fully_booked"), 200),
    "clear": (
        lambda owner: lambda: owner.admin.delete(f"venues/{owner.place.pk}/availability/override"),
        200,
    ),
    "respond": (_respond, 200),
    "resolve": (_resolve, 200),
    "join": (_join, 409),
    "close": (
        lambda owner: lambda: owner.staff.patch(
            f"facilities/{owner.place.pk}", {"is_active": False}, format="json"
        ),
        200,
    ),
    "delete": (lambda owner: lambda: owner.staff.delete(f"facilities/{owner.place.pk}"), 204),
}  # fmt: skip
#: The same of slots.
ASKED_OF_SLOTS: Asked = {
    "invite": (lambda owner: _invite(owner, owner.wanted), 201),
    "invite nobody": (lambda owner: _invite(owner, owner.unwanted), 409),
    "invite for": (lambda owner: _invite_for(owner, owner.wanted), 201),
    "invite nobody for": (lambda owner: _invite_for(owner, owner.unwanted), 409),
    "explain": (_explain, 200),
    "offer": (lambda owner: _offer(owner, owner.slot(owner.wanted)), 302),
    "offer to nobody": (lambda owner: _offer(owner, owner.slot(owner.unwanted)), 302),
    "offer for": (
        lambda owner: _offer(
            owner, owner.book(owner.wanted), answered="1", reason="patient_request"
        ),
        302,
    ),
}


@pytest.mark.parametrize("is_of_slots", [False, True])
def test_what_an_owner_asks_costs_the_same_however_many_wait(
    owner: Owner, is_of_slots: bool
) -> None:
    wanted = ASKED_OF_SLOTS if is_of_slots else ASKED
    if not is_of_slots:  # an offer sorts what it locks; a queue is read by its index
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_sort = off")
    first, *others = owner.refused
    asking.join(source=first)  # who resolves is told whether anybody was offered the place
    calls = {asked: make(owner) for asked, (make, _) in wanted.items()}
    for call in calls.values():
        cost(call)  # the first one fills caches
    few = {asked: cost(call) for asked, call in calls.items()}
    assert {asked: status for asked, (status, _, _) in few.items()} == {
        asked: status for asked, (_, status) in wanted.items()
    }
    for source in others:
        asking.join(source=source)
    many = {asked: cost(call) for asked, call in calls.items()}
    assert {asked: (few[asked], many[asked]) for asked in few if few[asked] != many[asked]} == {}


def test_work_on_each_who_waits_would_be_seen(owner: Owner) -> None:
    """The test above fails where a policy is worked into each entry of a venue."""

    def rerank() -> Any:
        ranking.rerank(facility_ids=[owner.place.pk])
        return owner.admin.get("auth/me")

    few = cost(rerank)
    for source in owner.refused:
        asking.join(source=source)
    assert cost(rerank)[2]["waitlist_waitlistentry"] >= few[2]["waitlist_waitlistentry"] + MANY


def test_an_owner_who_answers_is_not_told_by_statements_either(owner: Owner) -> None:
    """Who waits with the answer that they got before does not make the next one longer."""
    scene = venues.set_scene(venue=owner.place, organizer=owner.refused[0].tenant)
    target = scene.target(scene.send())

    def call() -> Any:
        rfps.respond(rfp_venue_id=target.pk, response="confirmed", actor=STAFF, now=NOW)
        return owner.admin.get("auth/me")

    few = cost(call)
    asking.join(source=owner.refused[0])
    assert cost(call) == few
