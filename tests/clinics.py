"""A clinic with one person of each role, each of whom can call the API."""

from dataclasses import dataclass, field
from typing import Any

from rest_framework.test import APIClient

from accounts.models import Membership, Tenant, User
from audit import clock
from audit.events import SYSTEM
from scheduling import callers
from scheduling.models import Facility, Patient, Provider, Service, Slot
from tests import factories
from tests.api import Api
from waitlist import entries
from waitlist.models import WaitlistEntry, WaitlistPolicy


@dataclass
class Clinic:
    """A tenant and its people; `client` gives each of them an HTTP client with a real token."""

    tenant: Tenant
    facility: Facility
    provider: Provider
    service: Service
    patient: Patient
    users: dict[str, User] = field(default_factory=dict)

    def client(self, role: str) -> APIClient:
        """Return a client that is logged in as `role`, or as nobody."""
        client = Api()
        if role != "none":
            tokens = callers.log_in(
                email=self.users[role].email,
                password="secret",
                tenant=self.tenant.slug,
                now=clock.now(),
            )
            client.credentials(HTTP_AUTHORIZATION=f"Bearer {tokens['access']}")
        return client

    def slot(self, **fields: Any) -> Slot:
        """Make an open slot of the clinic's provider, tomorrow at 09:00 UTC."""
        known = {"facility": self.facility, "provider": self.provider, "service": self.service}
        return factories.SlotFactory.create(**{**known, **fields})

    def join(self, *, patient: Patient | None = None, **wishes: Any) -> WaitlistEntry:
        """Let a patient wait, the clinic's own unless another is given."""
        return entries.join(
            facility_id=self.facility.pk,
            patient_id=(patient or self.patient).pk,
            wishes=wishes,
            actor=SYSTEM,
            now=clock.now(),
        )

    def other_patient(self, **fields: Any) -> Patient:
        """Make another patient of the clinic."""
        return factories.PatientFactory.create(tenant=self.tenant, **fields)


def open_clinic(**fields: Any) -> Clinic:
    """Make a clinic, with no rule that would keep a test from making offers by night.

    `fields` are the facility's.
    """
    facility = factories.FacilityFactory.create(**fields)
    tenant = facility.tenant
    users = {
        role: factories.MembershipFactory.create(tenant=tenant, role=role).user
        for role in Membership.Role.values
    }
    users["patient"] = factories.UserFactory.create()
    clinic = Clinic(
        tenant=tenant,
        facility=facility,
        provider=factories.ProviderFactory.create(
            tenant=tenant, user=users["provider"], facilities=[facility]
        ),
        service=factories.ServiceFactory.create(tenant=tenant),
        patient=factories.PatientFactory.create(tenant=tenant, user=users["patient"]),
        users=users,
    )
    WaitlistPolicy.objects.filter(facility=facility).update(quiet_from=None, quiet_until=None)
    return clinic
