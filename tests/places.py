"""A tenant with a row of each kind that a path can name, and somebody of each role."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from accounts import invitations
from accounts.models import Tenant
from accounts.roles import Caller, Role
from accounts.routes import Route
from audit import clock
from audit.events import SYSTEM
from notifications import feeds, nudges, relay, templates, unsubscribes, webhooks
from notifications.models import Message
from scheduling import appointments
from scheduling.models import Patient, Slot
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
from tests.waitlist import asking
from waitlist import entries, invites, offers


@dataclass
class Place:
    """A tenant with a row of each kind and somebody of each role, who see the rows."""

    tenant: Tenant
    apis: Mapping[Role, Api]
    rows: Mapping[str, Any]


def make_place(*, tenant: Tenant | None = None) -> Place:
    """Make a tenant with everything in it that a request can name, or another facility of one."""
    tenant = tenant or TenantFactory.create()
    facility = FacilityFactory.create(tenant=tenant, city="London", country="GB")
    organizers = TenantFactory.create(kind=Tenant.Kind.ORGANIZER)
    apis = {
        role: log_in(tenant=organizers if role.startswith("organizer") else tenant, role=role)
        for role in Role
    }
    admin, patient = apis[Role.ADMIN].user, patient_of(api=apis[Role.PATIENT])
    assert admin is not None
    Patient.objects.filter(pk=patient.pk).update(external_ref=f"P-{facility.slug}")
    patient.refresh_from_db()
    provider = ProviderFactory.create(
        tenant=tenant, user=apis[Role.PROVIDER].user, facilities=[facility]
    )
    service = ServiceFactory.create(tenant=tenant)

    def slot(hour: int) -> Slot:
        return SlotFactory.create(
            facility=facility, provider=provider, service=service, starts_at=tomorrow(hour=hour)
        )

    booked = slot(9)
    appointment = appointments.book(
        slot_id=booked.pk, patient_id=patient.pk, source="staff", actor=SYSTEM, now=clock.now()
    )
    offered = entries.join(
        facility_id=facility.pk, patient_id=patient.pk, actor=SYSTEM, now=clock.now(),
        wishes={"provider_id": provider.pk, "service_id": service.pk},
    )  # fmt: skip
    hold = invites.invite(slot_id=slot(15).pk, entry_id=offered.pk, actor=SYSTEM, now=clock.now())
    invitation = invitations.invite(
        tenant_id=tenant.pk, email=f"new@{facility.slug}.example", role="staff",
        invited_by=admin.pk, actor=SYSTEM, now=clock.now(),
    )  # fmt: skip
    endpoint, _ = webhooks.add(
        tenant_id=tenant.pk, url="https://hooks.invalid/", kinds=["waitlist.joined"]
    )
    at = {"facility": facility, "provider": provider}
    member = MembershipFactory.create(tenant=tenant)
    rows = {
        "tenant": tenant,
        "facility": facility,
        "provider": provider,
        "service": service,
        "patient": patient,
        "member": member,
        "user": member.user,
        "invitation": invitation,
        "availability-rule": AvailabilityRuleFactory.create(**at, service=service),
        "availability-exception": AvailabilityExceptionFactory.create(**at),
        "time-block": TimeBlockFactory.create(**at, starts_at=tomorrow(hour=20)),
        "slot": slot(12),
        "appointment": appointment,
        "waitlist": offered,
        "hold": hold,
        "template": templates.add(
            tenant_id=tenant.pk, facility_id=facility.pk, kind="waitlist.joined", channel="sms",
            language="en", body="Hello",
        ),
    }  # fmt: skip
    scene = set_scene(venue=open_venue(tenant=tenant), organizer=organizers)
    sent = scene.send()
    scene.answer(sent)
    [source] = asking.refused(places=[open_venue(tenant=tenant)], by=organizers)
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
        "rfp-detail": scene.draft(),  # one that can be changed
        "rfp_venue": scene.target(sent),
        "source": source,
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


def kind_of(*, route: Route, place: Place) -> str:
    """Return the kind of row that a route's `id` is of, after which it is named.

    `patient-invite` is of a patient.
    """
    if route.name == "waitlist-policy":
        return "facility"
    return max((kind for kind in place.rows if route.name.startswith(kind)), key=len)


def fill(*, route: Route, place: Place) -> str:
    """Write a route's path with a place's ids and links in it."""
    path = route.path
    if "{id}" in path:
        path = path.replace("{id}", str(place.rows[kind_of(route=route, place=place)].pk))
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


@contextmanager
def undone() -> Iterator[None]:
    """Undo what a request does, so that the next finds the rows as they were."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def call(*, api: Api, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
    """Send a body, by default an empty one, and undo what it did."""
    with undone():
        return send(api=api, method=method, path=path, body=body or {})


def send(*, api: Api, method: str, path: str, body: Mapping[str, Any]) -> Any:
    """Send a body."""
    return api.generic(method, path, json.dumps(body), content_type="application/json")
