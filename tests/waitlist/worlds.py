"""A facility with a provider and a service, and what a test does there. Every time is fixed."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.backends.postgresql.psycopg_any import DateTimeTZRange

from accounts.models import Tenant
from audit.events import Actor
from scheduling import appointments, slots
from scheduling.models import Appointment, Facility, Patient, Provider, Service, Slot
from tests import factories
from waitlist import entries, fill, holds, invites, policies
from waitlist.models import Hold, Queue, WaitlistEntry, WaitlistPolicy

NOW = datetime(2030, 3, 4, 10, tzinfo=UTC)  # a Monday, in no quiet hours
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
STAFF = Actor("user", UUID("00000000-0000-7000-8000-000000000001"))


@dataclass(frozen=True, slots=True)
class World:
    """One facility; `tenant` owns all that is made here."""

    facility: Facility
    provider: Provider
    service: Service

    @property
    def tenant(self) -> Tenant:
        """The owner."""
        return self.facility.tenant

    @property
    def policy(self) -> WaitlistPolicy:
        """The policy as the database has it."""
        return WaitlistPolicy.objects.select_related("facility").get(facility=self.facility)

    @property
    def queue(self) -> Queue:
        """The queue as the database has it."""
        return Queue.objects.get(facility=self.facility)

    def change(self, **changes: Any) -> WaitlistPolicy:
        """Change the policy."""
        return policies.change(
            facility_id=self.facility.pk, changes=changes, actor=STAFF, now=NOW - DAY
        )

    def neighbour(self, **fields: Any) -> "World":
        """Make another facility of the same tenant."""
        return build(tenant=self.tenant, **fields)

    def slot(self, *, at: datetime = NOW + DAY, minutes: int = 30, **fields: Any) -> Slot:
        """Make an open slot."""
        given = {"facility": self.facility, "provider": self.provider, "service": self.service}
        return factories.SlotFactory.create(starts_at=at, minutes=minutes, **{**given, **fields})

    def patient(self, **fields: Any) -> Patient:
        """Make a patient of the tenant."""
        return factories.PatientFactory.create(tenant=self.tenant, **fields)

    def join(
        self, *, patient: Patient | None = None, at: datetime = NOW - DAY, **wishes: Any
    ) -> WaitlistEntry:
        """Let a patient wait here, a new one unless given, for the service unless wished else."""
        return entries.join(
            facility_id=self.facility.pk,
            patient_id=(patient or self.patient()).pk,
            wishes={"service_id": self.service.pk, **wishes},
            actor=STAFF,
            now=at,
        )

    def book(
        self, *, slot: Slot | None = None, patient: Patient | None = None, now: datetime = NOW
    ) -> Appointment:
        """Book a slot for a patient, new ones unless given."""
        return appointments.book(
            slot_id=(slot or self.slot()).pk,
            patient_id=(patient or self.patient()).pk,
            source=Appointment.Source.STAFF,
            actor=STAFF,
            now=now,
        )

    def reserve(
        self, *, slot: Slot | None = None, patient: Patient | None = None, now: datetime = NOW
    ) -> Slot:
        """Reserve a slot for a patient, new ones unless given."""
        return slots.reserve(
            slot_id=(slot or self.slot()).pk,
            patient_id=(patient or self.patient()).pk,
            actor=STAFF,
            now=now,
        )

    def fill(self, *, now: datetime = NOW, changed: Collection[UUID] | None = None) -> fill.Filled:
        """Run one pass."""
        return fill.fill(facility_id=self.facility.pk, now=now, changed=changed)

    def offer(
        self, *, slot: Slot | None = None, entry: WaitlistEntry | None = None, now: datetime = NOW
    ) -> Hold:
        """Let staff offer a slot to an entry, new ones unless given."""
        return invites.invite(
            slot_id=(slot or self.slot()).pk,
            entry_id=(entry or self.join()).pk,
            actor=STAFF,
            now=now,
        )


def build(*, tenant: Tenant | None = None, **fields: Any) -> World:
    """Make a facility, of a new tenant unless given, with a provider and a half-hour service."""
    owner = tenant or factories.TenantFactory.create()
    facility = factories.FacilityFactory.create(tenant=owner, **fields)
    return World(
        facility=facility,
        provider=factories.ProviderFactory.create(tenant=owner, facilities=[facility]),
        service=factories.ServiceFactory.create(tenant=owner),
    )


def period(start: datetime, minutes: int = 30) -> DateTimeTZRange:
    """Return the period that starts then."""
    return DateTimeTZRange(start, start + timedelta(minutes=minutes))


def offered() -> set[tuple[UUID, UUID]]:
    """Return the (slot, entry) of every live hold."""
    live = Hold.objects.filter(status=Hold.Status.OFFERED, slot__isnull=False)
    return {(hold.slot_id, hold.entry_id) for hold in live if hold.slot_id}


def accept(hold: Hold, *, now: datetime = NOW) -> Appointment:
    """Let the patient accept."""
    return holds.accept(hold_id=hold.pk, actor=STAFF, now=now)


def decline(hold: Hold, *, now: datetime = NOW) -> Hold:
    """Let the patient decline."""
    return holds.decline(hold_id=hold.pk, actor=STAFF, now=now)


def without_slot(entry: WaitlistEntry, *, now: datetime = NOW) -> Hold:
    """Hold a place without a slot for an entry, by hand: no event tells of it."""
    hold = Hold.objects.create(
        tenant_id=entry.tenant_id,
        facility_id=entry.facility_id,
        entry=entry,
        source=Hold.Source.SCAN,
        offered_at=now,
        expires_at=now + 2 * DAY,
    )
    WaitlistEntry.objects.filter(pk=entry.pk).update(status=WaitlistEntry.Status.OFFERED)
    entry.refresh_from_db()
    return hold
