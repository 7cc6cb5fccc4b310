"""What a caller sees: an organizer their own RFPs, a venue those that were sent to it."""

from uuid import UUID

from django.db.models import QuerySet

from accounts import rows
from accounts.roles import ORGANIZERS, Caller
from audit.errors import Refused
from availability.models import Rfp, RfpVenue
from scheduling import scopes as scheduling_scopes
from scheduling.models import Facility


class NotYours(Refused):
    """The organisation or the venue is another tenant's."""

    code = "permission_denied"


def check_organization(*, caller: Caller, organization_id: UUID) -> None:
    """:raises NotYours: if the caller is of another tenant; whether it exists is not said."""
    if organization_id != caller.tenant_id:
        raise NotYours("This is another organisation.")


def find_venue(*, caller: Caller, venue_id: UUID) -> Facility:
    """Return a venue of the caller's tenant.

    :raises NotFound: if there is no such venue.
    :raises NotYours: if it is another tenant's; a venue's id is public.
    """
    known = Facility.objects.filter(kind=Facility.Kind.VENUE)
    venue = rows.find(rows=known, id=venue_id, field="venue")
    if venue.tenant_id != caller.tenant_id:
        raise NotYours("This is another tenant's venue.")
    return venue


def venues(*, caller: Caller) -> QuerySet[Facility]:
    """Return the venues that a caller sees, with what they show: organizers see all that are open
    for business, others those of their facilities that are venues.
    """
    if caller.role in ORGANIZERS:
        found = Facility.objects.filter(is_active=True)
    else:
        found = scheduling_scopes.facilities(caller=caller)
    return found.filter(kind=Facility.Kind.VENUE).select_related("availability")


def rfps(*, caller: Caller) -> QuerySet[Rfp]:
    """Return the RFPs of the caller's tenant."""
    return Rfp.objects.filter(tenant=caller.tenant_id)


def rfp_venues(*, venue: Facility) -> QuerySet[RfpVenue]:
    """Return the copies that a venue got, and not those of drafts."""
    return RfpVenue.objects.filter(facility=venue, rfp__sent_at__isnull=False)
