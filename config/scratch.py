"""A tenant to try requests on: rows of every kind, in the states that requests are about."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any
from uuid import UUID

from django.db.backends.postgresql.psycopg_any import DateTimeTZRange

from accounts import invitations
from accounts.models import Invitation, Membership, Tenant, User
from accounts.roles import Role
from audit import clock
from audit.events import SYSTEM
from availability import rfps, statuses
from notifications import feeds, nudges, relay, templates, unsubscribes, webhooks
from notifications.models import Message, WebhookDelivery, WebhookEndpoint
from scheduling import appointments, callers, slots
from scheduling.models import (
    AvailabilityException,
    AvailabilityRule,
    Facility,
    Patient,
    Provider,
    ProviderFacility,
    Service,
    Slot,
    TimeBlock,
)
from waitlist import cascades, entries, invites, offers
from waitlist.models import CircuitBreaker, WaitlistPolicy

PASSWORD = "correct horse battery"
HOUR = timedelta(hours=1)
HALF_AN_HOUR = timedelta(minutes=30)


@dataclass(slots=True)
class Scratch:
    """Ids and what else names rows, by the noun of a path or the member of a body; and a token for
    each role.
    """

    ids: dict[str, list[str]]
    tokens: dict[str, str]


def prepare() -> Scratch:
    """Make a clinic with somebody of each role, and an organizer with RFPs at its venues."""
    now = clock.now()
    mark = f"fuzz-{now:%Y%m%d%H%M%S%f}"
    tenant = Tenant.objects.create(name="Scratch", slug=mark, kind=Tenant.Kind.CLINIC)
    users = {role: _user(f"{role}@{mark}.example") for role in (*Membership.Role.values, "patient")}
    members = [
        Membership.objects.create(tenant=tenant, user=users[role], role=role)
        for role in Membership.Role.values
    ]
    organizer = Tenant.objects.create(
        name="Organizer", slug=f"{mark}-organizer", kind=Tenant.Kind.ORGANIZER
    )
    endpoint, _ = webhooks.add(
        tenant_id=tenant.pk, url="https://webhooks.invalid/", kinds=["waitlist.joined"]
    )
    ids = {
        "tenants": _texts([tenant]), "tenant": [mark], "members": _texts(members),
        "user": _texts(users[role] for role in Membership.Role.values),
        **_supply(tenant, users["provider"], now), **_rfps(tenant, organizer, now),
    }  # fmt: skip
    ids |= _demand(tenant, users["patient"], ids, now)
    relay.relay(limit=1000, now=now)
    ids |= _links(tenant, users, now) | _told(tenant, endpoint, now)
    tokens = {role: callers.issue(user=user, tenant_id=tenant.pk) for role, user in users.items()}
    return Scratch(ids, {**tokens, **_organizers(organizer, mark)})


def _supply(tenant: Tenant, user: User, now: datetime) -> dict[str, list[str]]:
    """Make a facility that is open, by rules with an exception and a block."""
    facility = Facility.objects.create(
        tenant=tenant, name="Scratch", slug="scratch", kind="clinic", timezone="Europe/London"
    )
    WaitlistPolicy.objects.filter(facility=facility).update(quiet_from=None, quiet_until=None)
    provider = Provider.objects.create(tenant=tenant, name="Scratch", user=user)
    ProviderFacility.objects.create(tenant=tenant, provider=provider, facility=facility)
    services = [
        Service.objects.create(tenant=tenant, name=name, duration=HALF_AN_HOUR)
        for name in ("Scratch", "Not in use")
    ]
    at = {"tenant": tenant, "facility": facility, "provider": provider}
    begins = [now - HOUR / 4, *(now + timedelta(days=1, hours=n) for n in range(8))]
    past, *free = [
        Slot.objects.create(
            **at, service=services[0], period=DateTimeTZRange(start, start + HALF_AN_HOUR)
        )
        for start in begins
    ]
    rule = AvailabilityRule.objects.create(
        **at, weekday=1, start_time=time(9), end_time=time(12), slot_minutes=30
    )
    exception = AvailabilityException.objects.create(
        **at, date=(now + timedelta(days=20)).date(), kind="closed"
    )
    start = now + timedelta(days=10)
    block = TimeBlock.objects.create(**at, period=DateTimeTZRange(start, start + HOUR))
    template = templates.add(
        tenant_id=tenant.pk, kind="waitlist.joined", channel="sms", language="en", body="Hello"
    )
    place, who = _texts([facility]), _texts([provider])
    return {
        "facilities": place, "facility": place, "providers": who, "provider": who,
        "services": _texts(services), "service": _texts(services[:1]),
        "slots": _texts([*free, past]), "slot": _texts([*free, past]),
        "availability-rules": _texts([rule]), "availability-exceptions": _texts([exception]),
        "time-blocks": _texts([block]), "templates": _texts([template]),
    }  # fmt: skip


def _demand(
    tenant: Tenant, user: User, ids: Mapping[str, list[str]], now: datetime
) -> dict[str, list[str]]:
    """Make patients: who wait, two of them with an offer; who are booked; one who is nothing.

    The first three slots stay open, the next is reserved.
    """
    patients = [
        Patient.objects.create(
            tenant=tenant, name=f"P {n}", email=f"p{n}@{tenant.slug}.example",
            user=None if n else user,
        )
        for n in range(7)
    ]  # fmt: skip
    made: dict[str, Any] = {"actor": SYSTEM, "now": now}
    waiting = [
        entries.join(facility_id=UUID(ids["facility"][0]), patient_id=one.pk, **made)
        for one in patients[:5]
    ]
    held = [
        invites.invite(slot_id=UUID(slot), entry_id=entry.pk, **made)
        for slot, entry in zip(ids["slots"][6:8], waiting[:2], strict=True)
    ]
    slots.reserve(slot_id=UUID(ids["slots"][3]), patient_id=patients[0].pk, **made)
    booked = [
        appointments.book(
            slot_id=UUID(ids["slots"][slot]), patient_id=patients[n].pk, source="staff",
            actor=SYSTEM, now=at,
        )
        for slot, n, at in ((4, 0, now), (5, 5, now), (8, 1, now - HOUR))
    ]  # fmt: skip
    return {
        "patients": _texts(patients), "patient": _texts(patients),
        "waitlists": _texts(waiting), "entry": _texts(waiting), "holds": _texts(held),
        "appointments": _texts(booked),
        "offers": [offers.sign(hold_id=hold.pk) for hold in held],
        "nudges": [nudges.url(entry_id=one.pk).rpartition("/")[2] for one in waiting],
    }  # fmt: skip


def _links(tenant: Tenant, users: Mapping[str, User], now: datetime) -> dict[str, list[str]]:
    """Invite a member and a patient, and make what logs in."""
    invited = {
        role: invitations.invite(
            tenant_id=tenant.pk, email=f"new-{role}@{tenant.slug}.example", role=role,
            invited_by=users["admin"].pk, actor=SYSTEM, now=now,
        )
        for role in (Invitation.Role.STAFF, Invitation.Role.PATIENT)
    }  # fmt: skip
    links = {role: invitations.token(invitation=one) for role, one in invited.items()}
    caller = callers.find(user_id=users["patient"].pk, tenant_id=tenant.pk)
    assert caller is not None
    _, url = feeds.rotate(caller=caller, now=now)
    tokens = callers.log_in(
        email=users["admin"].email, password=PASSWORD, tenant=tenant.slug, now=now
    )
    return {
        "invitations": _texts(invited.values()), "auth": [links[Invitation.Role.STAFF]],
        "token": [links[Invitation.Role.PATIENT]], "refresh": [tokens["refresh"]],
        "email": [users["admin"].email, f"nobody@{tenant.slug}.example"], "password": [PASSWORD],
        "calendar": [url.rpartition("/")[2].removesuffix(".ics")],
    }  # fmt: skip


def _told(tenant: Tenant, endpoint: WebhookEndpoint, now: datetime) -> dict[str, list[str]]:
    """Return what was told, of which the first mail and the first webhook failed."""
    mails = Message.objects.filter(tenant=tenant, channel="email").order_by("pk")
    over = {"status": "failed", "next_attempt_at": None, "reason": "refused"}
    mails.filter(pk=mails[0].pk).update(**over, closed_at=now)
    hooks = WebhookDelivery.objects.filter(endpoint=endpoint).order_by("pk")
    hooks.filter(pk=hooks[0].pk).update(**over)
    return {
        "deliveries": _texts(mails), "webhooks": _texts([endpoint]),
        "webhook-deliveries": _texts(hooks),
        "inbox": _texts(Message.objects.filter(tenant=tenant, channel="in_app")),
        "unsubscribe": [unsubscribes.sign(message=mails[0])],
    }  # fmt: skip


def _rfps(tenant: Tenant, organizer: Tenant, now: datetime) -> dict[str, list[str]]:
    """Make two venues of a tenant, and RFPs of an organizer: sent, drafted, answered, refused.

    The organizer waits for the first venue and is offered it; at the second the breaker is tripped.
    """
    halls = [
        Facility.objects.create(
            tenant=tenant, name=name, slug=name, kind="venue", timezone="Europe/London"
        )
        for name in ("hall", "barn")
    ]
    made = [
        rfps.add(
            organizer_id=organizer.pk, venue_ids=[hall.pk], actor=SYSTEM, now=now,
            values={
                "title": "Gala", "event_type": "gala", "dates_flexible": True,
                "attendance_min": 1, "attendance_max": 9,
                "response_deadline": now + timedelta(days=7),
            },
        )
        for hall in (*halls[:1] * 4, halls[1])
    ]  # fmt: skip
    sent, _, confirmed, *refused = made
    for rfp in (sent, confirmed, *refused):
        rfps.send(rfp_id=rfp.pk, actor=SYSTEM, now=now)
    targets = [rfp.targets.get() for rfp in made]
    rfps.respond(rfp_venue_id=targets[2].pk, response="confirmed", actor=SYSTEM, now=now)
    for rfp, target in zip(refused, targets[3:], strict=True):
        rfps.respond(rfp_venue_id=target.pk, response="unavailable", actor=SYSTEM, now=now)
        rfps.close(rfp_id=rfp.pk, actor=SYSTEM, now=now)
    entry = entries.join_venue(
        rfp_venue_id=targets[3].pk, organizer_id=organizer.pk, actor=SYSTEM, now=now
    )
    statuses.set_by_hand(facility_id=halls[0].pk, status="accepting_events", actor=SYSTEM, now=now)
    cascades.go_on(facility_id=halls[0].pk, now=now)
    CircuitBreaker.objects.create(tenant=tenant, facility=halls[1], tripped_at=now)
    return {
        "organizations": _texts([organizer]), "own rfps": _texts(made),
        "own waitlists": _texts([entry]), "venue": _texts(halls), "venues": _texts(halls),
        "rfp_venue": _texts(targets), "source_rfp_venue_id": _texts(targets),
    }  # fmt: skip


def _organizers(tenant: Tenant, mark: str) -> dict[str, str]:
    """Make people of an organizer, and return their tokens by role."""
    roles = {Role.ORGANIZER: Membership.Role.STAFF, Role.ORGANIZER_ADMIN: Membership.Role.ADMIN}
    tokens = {}
    for role, member in roles.items():
        user = _user(f"{role}@{mark}.example")
        Membership.objects.create(tenant=tenant, user=user, role=member)
        tokens[str(role)] = callers.issue(user=user, tenant_id=tenant.pk)
    return tokens


def _user(email: str) -> User:
    return User.objects.create_user(email, PASSWORD, name="Scratch")


def _texts(rows: Iterable[Any]) -> list[str]:
    return [str(row.pk) for row in rows]
