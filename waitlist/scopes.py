"""What a caller sees of the waitlist, and which slots a provider may give away."""

from uuid import UUID

from django.db.models import QuerySet

from accounts import rows
from accounts.roles import Caller, Role
from audit.errors import Refused
from scheduling import scopes
from waitlist.models import Hold, WaitlistEntry


class NotYours(Refused):
    """A provider may offer and book their own slots, and end entries that no other is named in."""

    code = "not_yours"


def entries(*, caller: Caller) -> QuerySet[WaitlistEntry]:
    """Return the tenant's entries: a provider's own facilities', a patient's own."""
    found = WaitlistEntry.objects.filter(tenant=caller.tenant_id)
    if caller.role == Role.PROVIDER:
        return found.filter(facility__in=scopes.own_facilities(caller=caller))
    return found.filter(patient=caller.patient_id) if caller.role == Role.PATIENT else found


def holds(*, caller: Caller) -> QuerySet[Hold]:
    """Return the tenant's holds, a patient's own."""
    found = Hold.objects.filter(tenant=caller.tenant_id)
    return found.filter(patient=caller.patient_id) if caller.role == Role.PATIENT else found


def check_slot(*, caller: Caller, slot_id: UUID) -> None:
    """Check that a caller may offer or book a slot.

    :raises NotFound: if it is not one that they see.
    :raises NotYours: if it is another provider's.
    """
    slot = rows.find(
        rows=scopes.slots(caller=caller).select_related("provider"), id=slot_id, field="slot"
    )
    if caller.role == Role.PROVIDER and slot.provider.user_id != caller.user_id:
        raise NotYours("This slot is another provider's.", field="slot")


def check_entry(*, caller: Caller, entry_id: UUID) -> None:
    """Check that a caller may change an entry.

    :raises NotFound: if it is not one that they see.
    :raises NotYours: if another provider is named in it.
    """
    found = entries(caller=caller).select_related("provider")
    entry = rows.find(rows=found, id=entry_id, field="entry")
    other = entry.provider is not None and entry.provider.user_id != caller.user_id
    if caller.role == Role.PROVIDER and other:
        raise NotYours("This entry waits for another provider.", field="entry")
