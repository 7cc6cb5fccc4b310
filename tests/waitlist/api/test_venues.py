"""A venue's owner never sees who waits there, or how many: invariant 9 of domain.md.

Whatever somebody of the venue can ask is asked twice: while nobody waits there, and once organizers
do. The two say the same, to the letter.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import pytest
from django.contrib import admin
from django.db import transaction
from django.test import Client, RequestFactory
from graphql import get_named_type
from rest_framework.test import APIClient

from accounts import routes
from accounts.admin import TenantAdmin
from accounts.models import Tenant
from accounts.roles import Role, roles
from audit import clock, events
from audit.events import SYSTEM
from audit.models import Event
from availability.models import RfpVenue
from notifications import relay, webhooks
from notifications.models import Message, WebhookDelivery
from scheduling import appointments
from scheduling.models import Appointment, Slot
from tests import factories, graphql
from tests.accounts.pages import url
from tests.accounts.seeds import MODELS
from tests.clinics import Clinic, open_clinic
from tests.waitlist import asking
from waitlist import cascades, entries, fill, metrics, tasks
from waitlist.admin.queues import DryPassAdmin, FruitlessAdmin
from waitlist.models import DryPass, Fruitless, Hold, Queue, WaitlistEntry

pytestmark = pytest.mark.django_db

API = "/api/v1/"
INSIDERS = (Role.ADMIN, Role.STAFF, Role.PROVIDER, Role.PATIENT)
#: What differs from one request to the next, whoever waits.
PASSING = re.compile(r'csrfmiddlewaretoken" value="\w+"|"updated(?:_a|A)t":"[^"]*"')
UUIDS = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

Said = dict[str, str]


class Venue(NamedTuple):
    """A venue, a client of the API for each of its people, and clients of its pages.

    `refused` are the RFPs of three organizers that it answered it has no room, before it had again.
    """

    clinic: Clinic
    apis: Mapping[Role, APIClient]
    browsers: Mapping[Role, Client]
    refused: Sequence[RfpVenue]


class Ids(NamedTuple):
    """An entry and a hold there, or what is none."""

    entry: UUID
    hold: UUID


@pytest.fixture
def venue(db: None, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Venue:
    """A venue with slots and an appointment, whose clock stands still."""
    settings.RATE_LIMITS = dict.fromkeys(settings.RATE_LIMITS, "100000/minute")
    clinic = open_clinic(kind="venue", tenant__kind=Tenant.Kind.VENUE_OPERATOR)
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now)
    for hour in (9, 12):
        clinic.slot(starts_at=factories.tomorrow(hour=hour))
    booked = clinic.slot(starts_at=factories.tomorrow(hour=15))
    appointments.book(
        slot_id=booked.pk, patient_id=clinic.patient.pk, source="staff", actor=SYSTEM, now=now
    )
    browsers = {Role.ADMIN: Client(), Role.STAFF: Client()}
    for role, browser in browsers.items():
        browser.force_login(clinic.users[role])
    place = clinic.facility
    refused = [asking.refused(places=[place], by=asking.organizer(), at=now)[0] for _ in range(3)]
    asking.free(place=place, at=now)
    return Venue(clinic, {role: clinic.client(role) for role in INSIDERS}, browsers, refused)


def come(venue: Venue) -> Ids:
    """Let organizers wait there, one with an offer, one who leaves; do what the workers do."""
    now, place = clock.now(), venue.clinic.facility
    offered, leaving, waiting = (asking.join(source=source, at=now) for source in venue.refused)
    hold = cascades.go_on(facility_id=place.pk, now=now)
    assert hold is not None
    assert hold.entry_id == offered.pk
    entries.cancel(entry_id=leaving.pk, reason="other", actor=SYSTEM, now=now)
    fill.fill(facility_id=venue.clinic.facility.pk, now=now)
    metrics.roll_up(now=now)
    return Ids(waiting.pk, hold.pk)


def ask_all(venue: Venue, ids: Ids) -> Said:
    """Ask all that can be asked; what an answer says of the ids that were asked for is left out."""
    said = read_api(venue, ids) | try_api(venue, ids) | ask_graphql(venue, ids)
    said |= read_pages(venue) | try_pages(venue, ids)
    return {
        asked: PASSING.sub("", text.replace(str(ids.entry), "entry").replace(str(ids.hold), "hold"))
        for asked, text in said.items()
    }


def read_api(venue: Venue, ids: Ids) -> Said:
    """Read each address, as each of the venue's people who may."""
    clinic = venue.clinic
    rows: dict[str, UUID] = {
        "tenant": clinic.tenant.pk, "facility": clinic.facility.pk, "slot": open_slot().pk,
        "provider": clinic.provider.pk, "service": clinic.service.pk, "patient": clinic.patient.pk,
        "appointment": Appointment.objects.get().pk, "waitlist-policy": clinic.facility.pk,
        "waitlist": ids.entry, "hold": ids.hold, "venue": clinic.facility.pk,
    }  # fmt: skip
    said = {}
    for route in routes.walk():
        kind = next((kind for kind in rows if route.name.startswith(kind)), "none")
        path = route.path.replace("{id}", str(rows.get(kind, uuid4())))
        for name in ("tenant", "facility", "venue"):
            path = path.replace(f"{{{name}}}", str(rows[name]))
        for role in sorted(roles(route=route.name, method="GET") & set(venue.apis)):
            for query in ({}, {"facility": str(clinic.facility.pk)}):
                if "{" not in path and kind != "none":
                    answer = venue.apis[role].get(path, query)
                    said[f"{role} reads {route.name} {sorted(query)}"] = text_of(answer)
    assert len(said) > 60
    return said


def try_api(venue: Venue, ids: Ids) -> Said:
    """Try what may be refused for the sake of who waits, and undo it where it is not."""
    clinic, slot = venue.clinic, str(open_slot().pk)
    facility, patient = str(clinic.facility.pk), str(clinic.patient.pk)
    vacancy = f"appointments/{Appointment.objects.get().pk}/waitlist/invite"
    shown = f"venues/{facility}/availability"
    policy = f"facilities/{facility}/waitlist-policy"
    put = venue.apis[Role.ADMIN].get(API + policy).json()
    for name in ("facility", "version", "updated_at"):
        del put[name]
    entry, hold = {"entry": str(ids.entry)}, f"holds/{ids.hold}"
    tries: list[tuple[Role, str, str, Any]] = [
        (Role.PATIENT, "post", "waitlists", {"facility": facility}),
        (Role.STAFF, "post", "waitlists", {"facility": facility, "patient": patient}),
        (Role.STAFF, "post", f"slots/{slot}/waitlist/invite", {}),
        (Role.STAFF, "post", f"slots/{slot}/waitlist/invite", entry),
        (Role.STAFF, "post", vacancy, {"reason": "other"}),
        (Role.STAFF, "post", vacancy, {"reason": "other", **entry}),
        (Role.PROVIDER, "post", f"waitlists/{ids.entry}/promote", {"slot": slot}),
        (Role.STAFF, "post", f"waitlists/{ids.entry}/promote", {"slot": slot}),
        (Role.STAFF, "post", f"waitlists/{ids.entry}/notes", {"text": "called"}),
        (Role.STAFF, "patch", f"waitlists/{ids.entry}", {"urgency": 3}),
        (Role.PATIENT, "post", f"waitlists/{ids.entry}/still-interested", {"interested": False}),
        (Role.PATIENT, "post", f"{hold}/accept", None),
        (Role.PATIENT, "post", f"{hold}/decline", None),
        (Role.STAFF, "delete", f"services/{clinic.service.pk}", None),
        (Role.STAFF, "delete", f"providers/{clinic.provider.pk}", None),
        (Role.STAFF, "delete", f"facilities/{facility}", None),
        (Role.ADMIN, "put", shown, {"availability_status": "accepting_events"}),
        (Role.ADMIN, "put", shown, {"availability_status": "fully_booked"}),
        (Role.ADMIN, "delete", f"{shown}/override", None),
        (
            Role.ADMIN,
            "post",
            f"venues/{facility}/waitlist-circuit-breaker/resolve",
            {"action": "resume"},
        ),
        (Role.ADMIN, "put", policy, put | {"unique_per_service": True}),
        (Role.ADMIN, "put", policy, put | {"max_queue_size": 1, "ordering": "score"}),
    ]
    said = {}
    for number, (role, method, path, body) in enumerate(tries):
        with transaction.atomic():
            answer = getattr(venue.apis[role], method)(API + path, body, format="json")
            transaction.set_rollback(True)
        said[f"{role} tries {number}"] = text_of(answer)
    return said


def ask_graphql(venue: Venue, ids: Ids) -> Said:
    """Ask for each field and all below it, do what can be done, and undo it."""
    place, entry = f'"{venue.clinic.facility.pk}"', f'"{ids.entry}"'
    said = {}
    for kind in ("Query", "Mutation"):
        for name, field in graphql.types()[kind].fields.items():
            given = {
                "venueId": place, "waitlistId": entry, "reason": "OTHER",
                "id": place if name == "venue" else entry,
                "sourceRfpVenueId": f'"{venue.refused[0].pk}"',
            }  # fmt: skip
            for role, api in venue.apis.items():
                shown = graphql.all_of(get_named_type(field.type).name, role)
                if shown == "{}":
                    shown = "{ __typename }"
                asked = f"{name}{graphql.arguments(field, given)} {shown}"
                with transaction.atomic():
                    body = {"query": f"{kind.lower()} {{ {asked} }}"}
                    answer = api.post(graphql.ADDRESS, body, format="json")
                    transaction.set_rollback(True)
                said[f"{role} asks for {kind}.{name}"] = text_of(answer)
    assert any('"periodDays":90' in text for text in said.values())
    return said


def read_pages(venue: Venue) -> Said:
    """Read each list and each page of a row of the admin that the venue's people see."""
    said = {}
    for role, browser in venue.browsers.items():
        request = RequestFactory().get("/")
        request.user = venue.clinic.users[role]
        for model in MODELS:
            page = admin.site._registry[model]
            addresses = [url(model, "changelist")]
            if page.has_view_permission(request):
                seen = page.get_queryset(request)
                addresses += sorted(url(model, "change", row.pk) for row in seen)
            for address in addresses:
                said[f"{role} reads {address}"] = text_of(browser.get(address))
    return said


def try_pages(venue: Venue, ids: Ids) -> Said:
    """Try the actions of the pages, and undo them."""
    clinic, browser = venue.clinic, venue.browsers[Role.STAFF]
    joining = {
        "facility": clinic.facility.pk, "patient": clinic.patient.pk, "preferred_time": "any",
        "urgency": "0",
    }  # fmt: skip
    tries = [
        (url(WaitlistEntry, "add"), joining),
        (url(Slot, "changelist"), {"action": "offer", "_selected_action": open_slot().pk}),
        (url(WaitlistEntry, "changelist"), {"action": "cancel", "_selected_action": ids.entry}),
        (url(Hold, "changelist"), {"action": "accept", "_selected_action": ids.hold}),
    ]
    said = {}
    for address, data in tries:
        with transaction.atomic():
            said[f"tries {address}"] = text_of(browser.post(address, data, follow=True))
            transaction.set_rollback(True)
    return said


def owners_events(venue: Venue) -> int:
    """Count what webhooks, streams and pages could tell the venue's own tenant."""
    return Event.objects.filter(tenant_id=venue.clinic.tenant.pk).count()


def open_slot() -> Slot:
    return Slot.objects.filter(status=Slot.Status.OPEN).earliest("pk")


def text_of(answer: Any) -> str:
    """Return what an answer says."""
    return f"{answer.status_code} {answer.headers.get('ETag')} {answer.content.decode()}"


def test_the_venues_people_are_told_the_same_whoever_waits(venue: Venue) -> None:
    before, told = ask_all(venue, Ids(uuid4(), uuid4())), owners_events(venue)
    ids = come(venue)
    assert owners_events(venue) == told
    after = ask_all(venue, ids)
    assert {asked for asked in {*before, *after} if before.get(asked) != after.get(asked)} == set()
    # What there was to be told, had somebody told it.
    assert Queue.objects.get().revision > 0
    assert Fruitless.objects.exists()
    assert WaitlistEntry.objects.filter(status="waiting").count() == 1


def test_a_patient_is_refused_at_a_venue_by_a_code_of_its_own(venue: Venue) -> None:
    body = {"facility": str(venue.clinic.facility.pk)}
    answer = venue.apis[Role.PATIENT].post(f"{API}waitlists", body, format="json")
    assert (answer.status_code, answer.json()["code"]) == (409, "organizers_only")
    hint = venue.apis[Role.STAFF].get(f"{API}slots/", {**body, "status": "held"}).json()
    assert hint["waitlist"] == {"can_join": False, "recent_wait_minutes": None}


@pytest.mark.parametrize("page", [FruitlessAdmin, DryPassAdmin])
def test_what_a_page_leaves_out_would_tell(
    venue: Venue, page: type[TenantAdmin], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test above sees it if a page shows what passes over a venue leave behind."""
    monkeypatch.setattr(page, "get_queryset", TenantAdmin.get_queryset)
    before = read_pages(venue)
    come(venue)
    fill.fill(facility_id=venue.clinic.facility.pk, now=clock.now())
    assert DryPass.objects.exists()
    assert read_pages(venue).keys() != before.keys()


# While offers lapse, and one is converted


def pass_days(venue: Venue, monkeypatch: pytest.MonkeyPatch, *, days: int) -> None:
    """Let time pass, two days at a time as offers have, and the workers do what is due."""
    start, place = clock.now(), venue.clinic.facility
    for day in range(2, days + 1, 2):
        now = start + timedelta(days=day)
        monkeypatch.setattr(clock, "now", lambda now=now: now)
        tasks.send_hold_reminders()
        tasks.expire_holds()
        tasks.offer_vacancy(str(place.pk))
        tasks.fill_facilities(str(place.pk))
        tasks.tell_positions()
        metrics.roll_up(now=now)
        relay.relay(limit=1000, now=now)


def differences(one: Said, other: Said) -> set[str]:
    """Return what was asked that says one thing and another, be it of a row that is new in both."""
    old = {*UUIDS.findall(str(one))} & {*UUIDS.findall(str(other))}

    def name(found: re.Match[str]) -> str:
        return found[0] if found[0] in old else "a new row"

    first, second = (
        Counter((UUIDS.sub(name, asked), UUIDS.sub(name, text)) for asked, text in said.items())
        for said in (one, other)
    )
    return {asked for asked, _ in (first - second) + (second - first)}


def own_rows(venue: Venue) -> Counter[str]:
    """Count by kind what the venue's own tenant is told: events, messages and deliveries."""
    tenant = venue.clinic.tenant
    rows = [
        *Event.objects.filter(tenant_id=tenant.pk).values_list("kind", "previous_status"),
        *Message.objects.filter(tenant=tenant).values_list("kind", "channel"),
        *WebhookDelivery.objects.filter(endpoint__tenant=tenant).values_list("kind", "status"),
    ]
    return Counter(f"{kind} {more}" for kind, more in rows)


def test_of_offers_that_lapse_nothing_is_told_until_one_is_converted_or_the_breaker_trips(
    venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside a world in which nobody waits: to the letter, row by row, and what is sent."""
    start, place = clock.now(), venue.clinic.facility
    kinds = [kind for kind in events.KINDS if kind.startswith(("waitlist.", "venue."))]
    webhooks.add(tenant_id=venue.clinic.tenant.pk, url="https://hall.example/", kinds=kinds)
    relay.relay(limit=1000, now=start)

    with transaction.atomic():
        pass_days(venue, monkeypatch, days=4)
        alone, rows = ask_all(venue, Ids(uuid4(), uuid4())), own_rows(venue)
        transaction.set_rollback(True)

    monkeypatch.setattr(clock, "now", lambda: start)
    waiting = [asking.join(source=source, at=start) for source in venue.refused]
    tasks.offer_vacancy(str(place.pk))
    pass_days(venue, monkeypatch, days=4)
    live = Hold.objects.get(status="offered")
    assert [WaitlistEntry.objects.get(pk=entry.pk).status for entry in waiting] == [
        "expired", "expired", "offered"
    ]  # fmt: skip
    assert own_rows(venue) == rows
    assert differences(alone, ask_all(venue, Ids(live.entry_id, live.pk))) == set()

    def told(end: Callable[[], object]) -> Counter[str]:
        """Return the rows that an end of the last offer leaves with the owner; it is undone."""
        with transaction.atomic():
            end()
            relay.relay(limit=1000, now=clock.now())
            more = own_rows(venue) - rows
            transaction.set_rollback(True)
        return more

    for kind, more in (
        ("venue.hold_converted", told(lambda: asking.convert(live, at=clock.now()))),
        (
            "waitlist.circuit_breaker_triggered",
            told(lambda: pass_days(venue, monkeypatch, days=2)),
        ),
    ):
        assert more == Counter(f"{kind} {what}" for what in (None, "in_app", "email", "pending"))
