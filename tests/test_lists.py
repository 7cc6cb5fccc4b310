"""Every list of the API takes as many statements for fifty rows as for one, for every role.

The lists come from the schema, so one that nobody thought of fails here.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from itertools import product
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts import routes
from accounts.models import Invitation
from accounts.roles import Role, roles
from accounts.routes import Route
from audit import clock
from audit.events import SYSTEM
from audit.models import Event
from config.api import schema
from notifications import templates, webhooks
from notifications.kinds import KINDS
from notifications.models import Message, WebhookDelivery
from scheduling import appointments
from scheduling.models import Slot
from tests.api import patient_of
from tests.factories import (
    AvailabilityExceptionFactory,
    AvailabilityRuleFactory,
    FacilityFactory,
    MembershipFactory,
    PatientFactory,
    ProviderFactory,
    ServiceFactory,
    SlotFactory,
    TimeBlockFactory,
    post,
    tomorrow,
)
from tests.places import Place, fill, make_place
from tests.venues import open_venue
from tests.waitlist import asking
from waitlist import entries, invites
from waitlist.models import WaitlistEntry

pytestmark = pytest.mark.django_db

MANY = 50


def here(place: Place) -> dict[str, Any]:
    """Return the facility and the provider of a place."""
    return {name: place.rows[name] for name in ("facility", "provider")}


def slot(place: Place, hours: int) -> Slot:
    """Make an open slot, some hours after tomorrow's last."""
    return SlotFactory.create(**here(place), starts_at=tomorrow(hour=23) + timedelta(hours=hours))


def facility(place: Place, n: int) -> None:
    """Make another facility, where the provider works, too."""
    made = FacilityFactory.create(tenant=place.tenant)
    post(provider=place.rows["provider"], facility=made)


def book(place: Place, n: int) -> None:
    """Book a slot for the patient."""
    appointments.book(
        slot_id=slot(place, 100 + n).pk, patient_id=place.rows["patient"].pk, source="staff",
        actor=SYSTEM, now=clock.now(),
    )  # fmt: skip


def wait(place: Place, n: int) -> None:
    """Let another patient wait at the facility; every tenth is offered a slot."""
    entry = entries.join(
        facility_id=place.rows["facility"].pk,
        patient_id=PatientFactory.create(tenant=place.tenant).pk,
        actor=SYSTEM,
        now=clock.now(),
    )
    offer(place, entry, 200 + n)


def wait_elsewhere(place: Place, n: int) -> None:
    """Let the patient wait at another facility."""
    entries.join(
        facility_id=FacilityFactory.create(tenant=place.tenant).pk,
        patient_id=place.rows["patient"].pk,
        actor=SYSTEM,
        now=clock.now(),
    )


def offer(place: Place, entry: WaitlistEntry, n: int) -> None:
    """Offer one in ten a slot."""
    if n % 10 == 0:
        invites.invite(slot_id=slot(place, n).pk, entry_id=entry.pk, actor=SYSTEM, now=clock.now())


def wish(place: Place, n: int) -> None:
    """Let the patient wish for something else."""
    entries.update(
        entry_id=place.rows["waitlist"].pk, wishes={"preferred_days": [n % 7 + 1]}, actor=SYSTEM,
        now=clock.now(),
    )  # fmt: skip


def note(place: Place, n: int) -> None:
    """Note something on the entry."""
    user = place.apis[Role.STAFF].user
    assert user is not None
    entries.add_note(entry_id=place.rows["waitlist"].pk, author=user, text=f"{n}", now=clock.now())


def ask(place: Place, n: int) -> None:
    """Let the organizer ask the venue, which has no room."""
    asking.refused(places=[place.rows["venue"]], by=place.rows["organization"])


def leave(place: Place, n: int) -> None:
    """Let the organizer wait for another venue, and leave again: only five may wait."""
    entry = asking.wait(place=open_venue(tenant=place.tenant), by=place.rows["organization"])
    entries.cancel(entry_id=entry.pk, reason="no_longer_needed", actor=SYSTEM, now=clock.now())


def tell(place: Place, n: int) -> None:
    """Tell everybody something in the app."""
    for role, api in place.apis.items():
        if api.user is not None:
            patient = role == Role.PATIENT
            tenant = place.rows["organization"] if role.startswith("organizer") else place.tenant
            event = Event.objects.create(
                tenant_id=tenant.pk, kind="waitlist.joined", subject_type="entry",
                subject_id=uuid4(), actor_type="system", at=clock.now(),
            )  # fmt: skip
            Message.objects.create(
                tenant=tenant, event_id=event.pk, seq=1, kind="waitlist.joined",
                facility=place.rows["facility"],
                patient=patient_of(api=api) if patient else None,
                user=None if patient else api.user,
                channel="in_app", status="delivered", delivered_at=clock.now(),
            )  # fmt: skip


def invite(place: Place, n: int) -> None:
    """Invite somebody, as one and the same admin in each tenant."""
    for tenant in (place.tenant, place.rows["organization"]):
        Invitation.objects.create(
            tenant=tenant, email=f"guest{n}@{tenant.slug}.example", role="staff",
            expires_at=clock.now(), invited_by=place.apis[Role.ADMIN].user,
        )  # fmt: skip


def join(place: Place, n: int) -> None:
    """Make somebody a member."""
    for tenant in (place.tenant, place.rows["organization"]):
        MembershipFactory.create(tenant=tenant)


def listen(place: Place, n: int) -> None:
    """Make an endpoint."""
    for tenant in (place.tenant, place.rows["organization"]):
        webhooks.add(
            tenant_id=tenant.pk, url=f"https://hooks.invalid/{n}", kinds=["waitlist.joined"]
        )


def deliver(place: Place, n: int) -> None:
    """Write what an endpoint is told."""
    WebhookDelivery.objects.create(
        tenant=place.tenant, endpoint=place.rows["webhook"], event_id=uuid4(), seq=n,
        kind="waitlist.joined", next_attempt_at=clock.now(),
    )  # fmt: skip


TEXTS = list(product(sorted(KINDS), ("en", "fr", "es", "pt")))


def word(place: Place, n: int) -> None:
    """Write an own text."""
    kind, language = TEXTS[n]
    templates.add(
        tenant_id=place.tenant.pk, kind=kind, channel="sms", language=language, body="Hello"
    )


# How a list gets another row, the n-th.
MORE: Mapping[str, Callable[[Place, int], object]] = {
    "facility-list": facility,
    "provider-list": lambda place, n: ProviderFactory.create(
        tenant=place.tenant, facilities=[place.rows["facility"]]
    ),
    "service-list": lambda place, n: ServiceFactory.create(tenant=place.tenant),
    "patient-list": lambda place, n: PatientFactory.create(tenant=place.tenant),
    "availability-rule-list": lambda place, n: AvailabilityRuleFactory.create(**here(place)),
    "availability-exception-list": lambda place, n: AvailabilityExceptionFactory.create(
        **here(place), date=(tomorrow() + timedelta(days=n + 1)).date()
    ),
    "time-block-list": lambda place, n: TimeBlockFactory.create(**here(place)),
    "slot-list": slot,
    "appointment-list": book,
    "waitlist-list": wait,
    "waitlist-notes": note,
    "waitlist-history": wish,
    "patient-waitlists": wait_elsewhere,
    "organization-waitlist-list": leave,
    "rfp-list": ask,
    "venue-rfp-list": ask,
    "inbox-list": tell,
    "delivery-list": tell,
    "invitation-list": invite,
    "member-list": join,
    "template-list": word,
    "webhook-list": listen,
    "webhook-deliveries": deliver,
}


def lists() -> Iterator[Route]:
    """Give the routes that answer in pages."""
    for route in routes.walk():
        asked = schema()["paths"].get(route.path, {}).get("get", {}).get("parameters", ())
        if "page" in {one["name"] for one in asked}:
            yield route


def test_every_list_gets_rows_here() -> None:
    assert {route.name for route in lists()} == set(MORE)


@pytest.mark.parametrize("name", MORE)
def test_a_list_takes_as_many_queries_for_many_rows(name: str) -> None:
    place = make_place()
    [route] = [one for one in lists() if one.name == name]
    for n in range(MANY):
        MORE[name](place, n)
    path = fill(route=route, place=place)
    for role in sorted(roles(route=name, method="GET")):
        if (name, role) == ("webhook-deliveries", Role.ORGANIZER_ADMIN):
            continue  # who has endpoints of their own
        taken = {}
        for size in (MANY, 1, MANY):  # what is read once in a process is read the first time
            with CaptureQueriesContext(connection) as queries:
                answer = place.apis[role].get(path, {"page_size": size})
            [found] = [rows for rows in answer.json().values() if isinstance(rows, list)]
            assert len(found) == size, (role, answer.content)
            taken[size] = len(queries)
        assert taken[MANY] == taken[1], "\n".join([role, *(one["sql"] for one in queries)])
