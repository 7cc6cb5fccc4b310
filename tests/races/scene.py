"""What races begin with: clinics, providers, slots and people, on a Monday morning in winter."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from audit import events
from scheduling import appointments
from scheduling.models import Appointment, Facility, Patient, Provider, Slot
from tests.factories import FacilityFactory, PatientFactory, ProviderFactory, SlotFactory, post
from waitlist import entries, fill
from waitlist.models import Hold, WaitlistEntry, WaitlistPolicy

NOW = datetime(2030, 1, 7, 10, tzinfo=UTC)
#: After every deadline of a hold that was offered at NOW, and before any slot begins.
LATER = NOW + timedelta(hours=2)
TOMORROW = NOW + timedelta(days=1)

#: Without quiet hours, with an hour to answer.
POLICY: dict[str, Any] = {
    "quiet_from": None,
    "quiet_until": None,
    "hold_window": timedelta(hours=1),
    "reminder_lead": None,
}


def clinic(*, like: Facility | None = None, **policy: Any) -> Facility:
    """Make a clinic, of the same tenant as another where one is given."""
    facility = FacilityFactory.create(**({"tenant": like.tenant} if like else {}))
    WaitlistPolicy.objects.filter(facility=facility).update(**{**POLICY, **policy})
    return facility


def provider(*places: Facility) -> Provider:
    """Make a provider who works at these places."""
    return ProviderFactory.create(tenant=places[0].tenant, facilities=places)


def patient(*, of: Facility) -> Patient:
    """Make a patient of a facility's tenant."""
    return PatientFactory.create(tenant=of.tenant)


def slot(
    *, at: Facility, by: Provider | None = None, starts_at: datetime = TOMORROW, minutes: int = 60
) -> Slot:
    """Make an open slot."""
    by = by or provider(at)
    post(provider=by, facility=at)
    return SlotFactory.create(facility=at, provider=by, starts_at=starts_at, minutes=minutes)


def wait(*, at: Facility, who: Patient | None = None, **wishes: Any) -> WaitlistEntry:
    """Let a patient join a queue."""
    who = who or patient(of=at)
    return entries.join(
        facility_id=at.pk, patient_id=who.pk, wishes=wishes, actor=events.SYSTEM, now=NOW
    )


def fill_at(place: Facility) -> Callable[[], fill.Filled]:
    """Offer what is open at a facility."""
    return lambda: fill.fill(facility_id=place.pk, now=NOW)


def offer(*, at: Facility, by: Provider | None = None) -> Hold:
    """Have a new slot held for a patient who wants this provider only."""
    place = slot(at=at, by=by)
    entry = wait(at=at, provider_id=place.provider_id, provider_required=True)
    fill_at(at)()
    return Hold.objects.get(entry=entry, slot=place)


def book(*, place: Slot, who: Patient | None = None) -> Appointment:
    """Book an open slot."""
    who = who or patient(of=place.facility)
    return appointments.book(
        slot_id=place.pk,
        patient_id=who.pk,
        source=Appointment.Source.STAFF,
        actor=events.SYSTEM,
        now=NOW,
    )
