"""Every route of the API × every role × own and foreign tenant.

The routes come from the URL resolver, so one that nobody decided about fails here. What may be
called answers neither 401 nor 403; what may not, does; and what is another tenant's is not there.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from django.conf import settings
from django.db import transaction

from accounts import invitations, routes
from accounts.models import Membership, Tenant
from accounts.roles import ROUTES, Caller, Role, roles
from accounts.routes import Route
from audit import clock
from audit.events import SYSTEM
from config import docs
from notifications import feeds, nudges, relay, templates, unsubscribes, webhooks
from notifications.models import Message
from scheduling import appointments
from scheduling.models import Slot
from tests.api import Api, log_in, patient_of
from tests.factories import (
    AvailabilityExceptionFactory,
    AvailabilityRuleFactory,
    FacilityFactory,
    MembershipFactory,
    ProviderFactory,
    ServiceFactory,
    SlotFactory,
    TenantFactory,
    TimeBlockFactory,
    tomorrow,
)
from tests.venues import open_venue, set_scene
from waitlist import entries, invites, offers
from waitlist.models import WaitlistEntry

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

pytestmark = pytest.mark.django_db


@dataclass
class Place:
    """A tenant with a row of each kind and somebody of each role, who see the rows."""

    tenant: Tenant
    apis: Mapping[Role, Api]
    rows: Mapping[str, Any]


def make_place() -> Place:
    """Make a tenant with everything in it that a path can name."""
    facility = FacilityFactory.create()
    tenant = facility.tenant
    organizers = TenantFactory.create(kind=Tenant.Kind.ORGANIZER)
    apis = {
        role: log_in(tenant=organizers if role.startswith("organizer") else tenant, role=role)
        for role in Role
    }
    patient = patient_of(api=apis[Role.PATIENT])
    provider = ProviderFactory.create(
        tenant=tenant, user=apis[Role.PROVIDER].user, facilities=[facility]
    )

    def slot(hour: int) -> Slot:
        return SlotFactory.create(
            facility=facility, provider=provider, starts_at=tomorrow(hour=hour)
        )

    def join(**wishes: Any) -> WaitlistEntry:
        return entries.join(
            facility_id=facility.pk, patient_id=patient.pk, wishes=wishes, actor=SYSTEM,
            now=clock.now(),
        )  # fmt: skip

    booked = slot(9)
    appointment = appointments.book(
        slot_id=booked.pk, patient_id=patient.pk, source="staff", actor=SYSTEM, now=clock.now()
    )
    offered = join()
    hold = invites.invite(slot_id=slot(15).pk, entry_id=offered.pk, actor=SYSTEM, now=clock.now())
    invitation = invitations.invite(
        tenant_id=tenant.pk, email=f"new@{tenant.slug}.example", role="staff",
        invited_by=Membership.objects.get(tenant=tenant, role="admin").user_id,
        actor=SYSTEM, now=clock.now(),
    )  # fmt: skip
    endpoint, _ = webhooks.add(
        tenant_id=tenant.pk, url="https://hooks.invalid/", kinds=["waitlist.joined"]
    )
    at = {"facility": facility, "provider": provider}
    rows = {
        "tenant": tenant,
        "facility": facility,
        "provider": provider,
        "service": ServiceFactory.create(tenant=tenant),
        "patient": patient,
        "member": MembershipFactory.create(tenant=tenant),
        "invitation": invitation,
        "availability-rule": AvailabilityRuleFactory.create(**at),
        "availability-exception": AvailabilityExceptionFactory.create(**at),
        "time-block": TimeBlockFactory.create(facility=facility, starts_at=tomorrow(hour=20)),
        "slot": slot(12),
        "appointment": appointment,
        "waitlist": offered,
        "hold": hold,
        "template": templates.add(
            tenant_id=tenant.pk, kind="waitlist.joined", channel="sms", language="en", body="Hello"
        ),
    }
    scene = set_scene(venue=open_venue(tenant=tenant), organizer=organizers)
    sent = scene.send()
    refused = scene.asked("unavailable")
    rows |= {
        "organization-waitlist": entries.join_venue(
            rfp_venue_id=refused.pk,
            organizer_id=organizers.pk,
            actor=SYSTEM,
            now=clock.now(),
        ),
        "organization": organizers,
        "venue": scene.venue,
        "rfp": sent,
        "rfp_venue": scene.target(sent),
    }
    relay.relay(limit=1000, now=clock.now())
    told = Message.objects.filter(patient=patient)
    rows |= {
        "webhook": endpoint,
        "webhook-delivery": endpoint.deliveries.earliest("seq"),
        "inbox": told.filter(channel="in_app")[0],
        "delivery": told.filter(status="queued")[0],
        "message": told.filter(kind="waitlist.joined", channel="email")[0],
    }
    return Place(tenant, apis, rows)


def fill(*, route: Route, place: Place) -> str:
    """Write a route's path with a place's ids and links in it.

    A route is named after the row that its `id` is of; `patient-invite` is of a patient.
    """
    path = route.path
    if "{id}" in path:
        named = (kind for kind in place.rows if route.name.startswith(kind))
        kind = max(named, key=len)
        if route.name == "waitlist-policy":
            kind = "facility"
        path = path.replace("{id}", str(place.rows[kind].pk))
    if "{token}" in path:
        path = path.replace("{token}", TOKENS[route.name.split("-")[0]](place))
    for kind in ("tenant", "facility", "organization", "venue", "rfp_venue"):
        path = path.replace(f"{{{kind}}}", str(place.rows[kind].pk))
    assert "{" not in path, f"Say in this test what {route.path} is filled with."
    return path


def _calendar_token(place: Place) -> str:
    patient = patient_of(api=place.apis[Role.PATIENT])
    assert patient.user_id is not None
    caller = Caller(patient.user_id, place.tenant.pk, Role.PATIENT, patient.pk)
    _, url = feeds.rotate(caller=caller, now=clock.now())
    return url.rpartition("/")[2].removesuffix(".ics")


TOKENS: Mapping[str, Callable[[Place], str]] = {
    "invitation": lambda place: invitations.token(invitation=place.rows["invitation"]),
    "offer": lambda place: offers.sign(hold_id=place.rows["hold"].pk),
    "calendar": _calendar_token,
    "unsubscribe": lambda place: unsubscribes.sign(message=place.rows["message"]),
    "nudge": lambda place: nudges.url(entry_id=place.rows["waitlist"].pk).rpartition("/")[2],
}


# What gets past the checks of a body, so that the row is what a request fails for.
PASSING: Mapping[str, Callable[[Place], dict[str, Any]]] = {
    "waitlist-notes": lambda place: {"text": "called"},
    "rfp-shortlist": lambda place: {"rfp_venue": str(place.rows["rfp_venue"].pk)},
    "rfp-award": lambda place: {"rfp_venue": str(place.rows["rfp_venue"].pk)},
    "appointment-invite": lambda place: {"reason": "patient_request"},
    "waitlist-still-interested": lambda place: {"interested": True},
    "waitlist-promote": lambda place: {"slot": str(place.rows["slot"].pk)},
    "template-list": lambda place: {
        "facility": str(place.rows["facility"].pk),
        "kind": "waitlist.joined",
        "channel": "sms",
        "language": "fr",
        "body": "Bonjour",
    },
}


@contextmanager
def undone() -> Iterator[None]:
    """Undo what a request does, so that the next finds the rows as they were."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def call(*, api: Api, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
    """Send a body, by default an empty one, and undo what it did."""
    with undone():
        return api.generic(method, path, json.dumps(body or {}), content_type="application/json")


@pytest.fixture
def own() -> Place:
    return make_place()


@pytest.fixture(autouse=True)
def no_limits(settings: Any) -> None:  # the fixture, which is undone after the test
    settings.RATE_LIMITS = dict.fromkeys(settings.RATE_LIMITS, "100000/minute")


def test_every_route_was_decided_about() -> None:
    known = {route.name: route for route in routes.walk()}
    assert len(known) == len(routes.walk()), "two routes of one name"
    assert set(known) == set(ROUTES)
    for name, route in known.items():
        assert {*route.methods} == {*ROUTES[name]} - {"HEAD"} - _refused(name), name


def _refused(name: str) -> set[str]:
    return {method for method, who in ROUTES[name].items() if not who}


def test_a_route_that_nobody_decided_about_lets_nobody_in() -> None:
    assert not roles(route="new", method="GET")
    assert not roles(route=None, method=None)


def test_each_role_gets_where_it_may_and_nowhere_else(own: Place) -> None:
    wrong = []
    for route in routes.walk():
        path = fill(route=route, place=own)
        for method in METHODS:
            allowed = roles(route=route.name, method=method)
            for role, api in own.apis.items():
                status = call(api=api, method=method, path=path).status_code
                if not allowed:
                    right = status == 405
                elif role in allowed:
                    right = status not in {401, 403, 405} and status < 500
                    right = right or status == _asks(route)
                else:
                    right = status == (401 if role == Role.NONE else 403)
                if not right:
                    wrong.append((route.name, method, str(role), status))
    assert not wrong


def _asks(route: Route) -> int | None:
    """Return what a route answers that itself is where one proves who one is."""
    if route.name in {"token", "token-refresh"}:
        return 401
    return 403 if route.name.startswith("inbound-") else None


def test_another_tenants_rows_are_not_there(own: Place) -> None:
    foreign = make_place()
    wrong = []
    for route in routes.walk():
        parts = {"{id}", "{tenant}", "{organization}", "{venue}"} & set(route.path.split("/"))
        if not parts or route.name == "venue-badge":  # which is everybody's
            continue
        path = fill(route=route, place=foreign)
        wanted = 404 if parts == {"{id}"} else 403
        for method in METHODS:
            for role in roles(route=route.name, method=method):
                body = PASSING[route.name](own) if route.name in PASSING else {}
                api = own.apis[role]
                status = call(api=api, method=method, path=path, body=body).status_code
                if status != wanted:
                    wrong.append((route.name, method, str(role), status))
    assert not wrong


def test_another_patients_rows_are_not_there(own: Place) -> None:
    other = log_in(tenant=own.tenant, role=Role.PATIENT)
    wrong = []
    for route in routes.walk():
        kind = next((k for k in ("appointment", "hold", "waitlist", "patient")
                     if route.name.startswith(k)), None)  # fmt: skip
        if kind is None or "{id}" not in route.path or route.name == "waitlist-policy":
            continue
        for method in METHODS:
            if Role.PATIENT in roles(route=route.name, method=method):
                path = fill(route=route, place=own)
                body = PASSING[route.name](own) if route.name in PASSING else {}
                status = call(api=other, method=method, path=path, body=body).status_code
                if status != 404:
                    wrong.append((route.name, method, status))
    assert not wrong


def test_lists_hold_nothing_of_another_tenant(own: Place) -> None:
    foreign = make_place()
    theirs = {str(row.pk) for row in foreign.rows.values()} | {str(foreign.tenant.pk)}
    for route in routes.walk():
        if not route.name.endswith("-list"):
            continue
        path = fill(route=route, place=own)
        for role in roles(route=route.name, method="GET") - {Role.NONE}:
            text = own.apis[role].get(path).content.decode()
            assert not [id for id in theirs if id in text], (route.name, role)


BODIES: Mapping[str, tuple[str, Callable[[Place], dict[str, Any]]]] = {
    "appointment slot": ("appointments/", lambda p: {"slot": p.rows["slot"]}),
    "appointment patient": ("appointments/", lambda p: {"patient": p.rows["patient"]}),
    "rule facility": ("availability-rules/", lambda p: {"facility": p.rows["facility"]}),
    "rule provider": ("availability-rules/", lambda p: {"provider": p.rows["provider"]}),
    "rule service": ("availability-rules/", lambda p: {"service": p.rows["service"]}),
    "exception facility": ("availability-exceptions/", lambda p: {"facility": p.rows["facility"]}),
    "exception provider": ("availability-exceptions/", lambda p: {"provider": p.rows["provider"]}),
    "block facility": ("time-blocks/", lambda p: {"facility": p.rows["facility"]}),
    "template facility": ("templates/", lambda p: {"facility": p.rows["facility"]}),
    "block provider": ("time-blocks/", lambda p: {"provider": p.rows["provider"]}),
}


@pytest.mark.parametrize("case", BODIES)
def test_another_tenants_id_in_a_body_is_not_there_and_named(own: Place, case: str) -> None:
    foreign = make_place()
    path, theirs = BODIES[case]
    body: dict[str, Any] = {
        "appointments/": {"slot": own.rows["slot"], "patient": own.rows["patient"]},
        "availability-rules/": {
            "facility": own.rows["facility"], "provider": own.rows["provider"], "weekday": 2,
            "start_time": "09:00", "end_time": "10:00", "slot_minutes": 30,
        },
        "availability-exceptions/": {
            "facility": own.rows["facility"], "provider": own.rows["provider"],
            "date": "2099-01-01", "kind": "closed",
        },
        "templates/": PASSING["template-list"](own),
        "time-blocks/": {
            "facility": own.rows["facility"], "provider": own.rows["provider"],
            "starts_at": "2099-01-01T09:00:00Z", "ends_at": "2099-01-01T10:00:00Z",
        },
    }[path]  # fmt: skip
    [(field, row)] = theirs(foreign).items()
    values = {
        name: str(value.pk) if hasattr(value, "pk") else value
        for name, value in {**body, field: row}.items()
    }
    response = own.apis[Role.ADMIN].post(path, values, format="json")
    assert response.status_code == 404, response.content
    assert [error["field"] for error in response.json()["errors"]] == [field]


def test_who_is_removed_is_out_at_once(own: Place) -> None:
    api = own.apis[Role.STAFF]
    assert api.get("services/").status_code == 200
    assert api.user is not None
    api.user.memberships.all().delete()
    assert api.get("services/").status_code == 401


def test_a_patient_who_was_erased_is_out(own: Place) -> None:
    api = own.apis[Role.PATIENT]
    assert api.get("services/").status_code == 200
    patient = patient_of(api=api)
    patient.erased_at = clock.now()
    patient.save()
    assert api.get("services/").status_code == 401


def test_the_page_of_docs_is_as_made() -> None:
    page = settings.BASE_DIR / "docs/access.md"
    assert page.read_text() == docs.access(), "Run manage.py write_docs."
