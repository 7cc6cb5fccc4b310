"""What a caller sees: rows of their tenant, a provider's own facilities, a patient's own rows."""

from uuid import UUID

from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet

from accounts import rows
from accounts.roles import Caller, Role
from scheduling.models import (
    Appointment,
    Facility,
    Patient,
    Provider,
    ProviderFacility,
    Service,
    Slot,
)

NOBODY = UUID(int=0)


def facilities(*, caller: Caller) -> QuerySet[Facility]:
    """Return the tenant's facilities: a provider's own, and for a patient those at work."""
    found = Facility.objects.filter(tenant=caller.tenant_id)
    if caller.role == Role.PROVIDER:
        return found.filter(pk__in=own_facilities(caller=caller))
    return found.filter(is_active=True) if caller.role == Role.PATIENT else found


def own_facilities(*, caller: Caller) -> list[UUID]:
    """Return where a provider works: ids, since with a join for them long lists are read whole."""
    posted = ProviderFacility.objects.filter(tenant=caller.tenant_id)
    own = posted.filter(provider__user=caller.user_id, provider__is_active=True)
    return list(own.values_list("facility", flat=True).distinct())


def providers(*, caller: Caller) -> QuerySet[Provider]:
    """Return the tenant's providers: a provider's colleagues, and for a patient those at work."""
    found = Provider.objects.filter(tenant=caller.tenant_id)
    if caller.role == Role.PROVIDER:
        posted = ProviderFacility.objects.filter(facility__in=own_facilities(caller=caller))
        return found.filter(pk__in=posted.values("provider"))
    return found.filter(is_active=True) if caller.role == Role.PATIENT else found


def services(*, caller: Caller) -> QuerySet[Service]:
    """Return the tenant's services."""
    return Service.objects.filter(tenant=caller.tenant_id)


def patients(*, caller: Caller) -> QuerySet[Patient]:
    """Return the tenant's patients who are not erased; a patient sees themselves."""
    found = Patient.objects.filter(tenant=caller.tenant_id, erased_at=None)
    return found.filter(pk=caller.patient_id or NOBODY) if caller.role == Role.PATIENT else found


def slots(*, caller: Caller) -> QuerySet[Slot]:
    """Return the tenant's slots; for a provider those at own facilities, for a patient those that
    are open, or are claimed for them.
    """
    found = Slot.objects.filter(tenant=caller.tenant_id)
    if caller.role == Role.PROVIDER:
        return found.filter(facility__in=own_facilities(caller=caller))
    if caller.role == Role.PATIENT:
        mine = Appointment.objects.filter(patient=caller.patient_id).values("slot")
        mine = mine.exclude(status=Appointment.Status.CANCELLED)
        free = Q(status=Slot.Status.OPEN)
        return found.filter(free | Q(reserved_by=caller.patient_id) | Q(pk__in=mine))
    return found


def appointments(*, caller: Caller) -> QuerySet[Appointment]:
    """Return the tenant's appointments; for a provider those at own facilities, a patient's own."""
    found = Appointment.objects.filter(tenant=caller.tenant_id)
    if caller.role == Role.PROVIDER:
        return found.filter(facility__in=own_facilities(caller=caller))
    return found.filter(patient=caller.patient_id) if caller.role == Role.PATIENT else found


def find_patient(*, caller: Caller, given: UUID | None) -> UUID:
    """Say whom a request is for: a patient may only mean themselves, others have to say.

    :raises NotFound: naming `patient`, if the caller does not see them.
    :raises ValidationError: naming `patient`, if nobody is meant.
    """
    meant = given or caller.patient_id
    if meant is None:
        raise ValidationError({"patient": "Say who it is for."})
    return rows.find(rows=patients(caller=caller), id=meant, field="patient").pk
