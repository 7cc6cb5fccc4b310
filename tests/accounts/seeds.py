"""Tenants with a row in every table, whose names say whose they are."""

from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count

from django.contrib import admin

from accounts.models import IdempotencyKey, Invitation, Membership, Tenant, User
from audit import clock
from audit.events import SYSTEM
from audit.models import JobRun
from availability.models import Rfp, RfpVenue, Signal, VenueAvailability
from notifications import relay, templates, webhooks
from notifications.models import (
    CalendarFeed,
    ChannelSwitch,
    InboundMessage,
    Preference,
    StreamCursor,
)
from scheduling import appointments
from scheduling.models import Appointment, Facility, Patient, Provider, Service, Slot
from tests import factories, venues
from waitlist import entries, invites
from waitlist.models import (
    CircuitBreaker,
    DailyMetric,
    DryPass,
    Fruitless,
    Hold,
    Uncounted,
    WaitlistEntry,
)

OWN = ("audit", "accounts", "scheduling", "availability", "waitlist", "notifications")
#: Every table that has pages.
MODELS = [model for model in admin.site._registry if model._meta.app_label in OWN]

number = count(1)


@dataclass
class Seed:
    """A tenant, its people, and the rows made last."""

    tenant: Tenant
    admin: User
    staff: User
    provider_user: User
    facility: Facility = field(init=False)
    provider: Provider = field(init=False)
    service: Service = field(init=False)
    patient: Patient = field(init=False)
    open_slot: Slot = field(init=False)
    held_slot: Slot = field(init=False)
    appointment: Appointment = field(init=False)
    entry: WaitlistEntry = field(init=False)
    hold: Hold = field(init=False)


def plant(*, name: str) -> Seed:
    """Make a tenant with an admin, a staff member, a provider, and a row in every table."""
    tenant = factories.TenantFactory.create(name=f"{name} tenant", slug=f"{name.lower()}-tenant")
    people = [
        factories.UserFactory.create(name=f"{name} {role}", email=f"{role}@{name.lower()}.example")
        for role in Membership.Role.values
    ]
    for user, role in zip(people, Membership.Role.values, strict=True):
        factories.MembershipFactory.create(tenant=tenant, user=user, role=role)
    seed = Seed(tenant, *people)
    grow(seed=seed, name=name)
    return seed


def grow(*, seed: Seed, name: str) -> None:
    """Add a row to every table, each with others of its own to refer to."""
    n, tenant, now = next(number), seed.tenant, clock.now()
    Invitation.objects.create(
        tenant=tenant, email=f"guest{n}@{tenant.slug}.example", role="staff", expires_at=now
    )
    IdempotencyKey.objects.create(
        caller=str(seed.admin.pk), key=str(n), fingerprint="0" * 64, status=200, headers={},
        created_at=now,
    )  # fmt: skip
    start = factories.tomorrow() + timedelta(days=1)
    named = {"tenant": tenant, "name": f"{name} {n}"}
    seed.facility = factories.FacilityFactory.create(**named, slug=f"{name.lower()}-{n}")
    seed.service = factories.ServiceFactory.create(**named)
    seed.provider = factories.ProviderFactory.create(**named, facilities=[seed.facility])
    seed.patient = factories.PatientFactory.create(
        **named, email=f"patient-{n}@{name.lower()}.example"
    )
    here = {"facility": seed.facility, "provider": seed.provider}
    slots = [
        factories.SlotFactory.create(
            **here, service=seed.service, starts_at=start + timedelta(hours=hour)
        )
        for hour in range(3)
    ]
    factories.AvailabilityRuleFactory.create(**here, service=seed.service)
    factories.AvailabilityExceptionFactory.create(**here)
    factories.TimeBlockFactory.create(**here, reason=f"{name} block {n}")
    seed.appointment = appointments.book(
        slot_id=slots[0].pk, patient_id=seed.patient.pk, source="staff", actor=SYSTEM, now=now
    )
    seed.entry = entries.join(
        facility_id=seed.facility.pk, patient_id=seed.patient.pk, actor=SYSTEM, now=now,
        wishes={"provider_id": seed.provider.pk, "metadata": {"from": name}},
    )  # fmt: skip
    entries.add_note(entry_id=seed.entry.pk, author=seed.staff, text=f"{name} note", now=now)
    StreamCursor.objects.get_or_create(name="waitlist-events")
    webhooks.add(
        tenant_id=tenant.pk, url=f"https://{name.lower()}.example/{n}", kinds=["waitlist.joined"]
    )
    relay.relay(limit=1000, now=now)  # what comes after is unrelayed
    seed.hold = invites.invite(slot_id=slots[1].pk, entry_id=seed.entry.pk, actor=SYSTEM, now=now)
    seed.held_slot, seed.open_slot = slots[1], slots[2]
    common = {"tenant": tenant, "facility": seed.facility}
    Fruitless.objects.create(
        tenant=tenant, slot=seed.open_slot, tried_at=now, revision=1, visitors_revision=1
    )
    DryPass.objects.create(**common, tried_at=now, until=now, revision=1, visitors_revision=1)
    Uncounted.objects.create(**common, revision=1, visitors_revision=0, supply_revision=0)
    DailyMetric.objects.create(
        **common, day=now.date(), queue_depth=1, offers=1, promotions=0, expired=0, cancelled=0,
        slots_freed=0, slots_refilled=0,
    )  # fmt: skip
    CircuitBreaker.objects.create(**common, tripped_at=now)
    VenueAvailability.objects.create(**common)
    rfp = Rfp.objects.create(tenant=tenant, **venues.contents(title=f"{name} gala {n}"))
    target = RfpVenue.objects.create(**common, rfp=rfp)
    Rfp.objects.filter(pk=rfp.pk).update(status="sent", sent_at=now)
    Signal.objects.create(
        tenant_id=tenant.pk,
        facility_id=seed.facility.pk,
        type="confirmed",
        rfp_id=rfp.pk,
        rfp_venue_id=target.pk,
        recorded_at=now,
    )
    JobRun.objects.create(
        task=f"tests.{n}", state="failed", finished_at=now, error_class="ValueError"
    )
    Preference.objects.create(tenant=tenant, patient=seed.patient)
    CalendarFeed.objects.create(
        tenant=tenant, user=seed.admin, patient=seed.patient, digest=f"{n:064x}", rotated_at=now
    )
    InboundMessage.objects.create(
        channel="sms", digest=f"{n:064x}", patient=seed.patient, outcome="nothing", at=now
    )
    ChannelSwitch.objects.get_or_create(
        tenant=tenant, kind="waitlist.joined", channel="sms", is_on=True
    )
    templates.add(
        tenant_id=tenant.pk, facility_id=seed.facility.pk, kind="waitlist.joined", channel="sms",
        language="en", body=f"{name} text",
    )  # fmt: skip
