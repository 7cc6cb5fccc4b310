"""An organizer and a venue of another tenant, and what goes on between them. Times are fixed."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from accounts.models import Tenant
from audit.events import Actor
from availability import rfps, statuses
from availability.models import Rfp, RfpVenue, VenueAvailability
from scheduling.models import Facility
from tests import factories
from tests.waitlist.worlds import NOW, STAFF

OWNER = Actor("user", UUID("00000000-0000-7000-8000-000000000002"))
DEADLINE = NOW + timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Scene:
    """`organizer` asks, `venue` answers."""

    organizer: Tenant
    venue: Facility

    @property
    def availability(self) -> VenueAvailability:
        """The venue's availability as the database has it."""
        return VenueAvailability.objects.get(pk=self.venue.pk)

    def draft(self, *, to: list[Facility] | None = None, **fields: Any) -> Rfp:
        """Draft an RFP of the organizer, for the venue unless others are given."""
        venue_ids = [one.pk for one in ([self.venue] if to is None else to)]
        return rfps.add(
            organizer_id=self.organizer.pk, values=contents(**fields), venue_ids=venue_ids,
            actor=STAFF, now=NOW,
        )  # fmt: skip

    def send(self, rfp: Rfp | None = None, **fields: Any) -> Rfp:
        """Send an RFP, a new one unless given."""
        return rfps.send(rfp_id=(rfp or self.draft(**fields)).pk, actor=STAFF, now=NOW)

    def answer(
        self, rfp: Rfp, response: str = "confirmed", *, venue: Facility | None = None,
        at: datetime = NOW,
    ) -> RfpVenue:  # fmt: skip
        """Let a venue answer an RFP."""
        pk = self.target(rfp, venue).pk
        return rfps.respond(rfp_venue_id=pk, response=response, actor=OWNER, now=at)

    def asked(self, response: str, *, at: datetime = NOW) -> RfpVenue:
        """Let the venue answer a new RFP, which is closed then: others may follow."""
        rfp = self.send()
        target = self.answer(rfp, response, at=at)
        rfps.close(rfp_id=rfp.pk, actor=STAFF, now=at)
        return target

    def set(self, status: str, *, at: datetime = NOW) -> VenueAvailability:
        """Let the owner set what is shown."""
        return statuses.set_by_hand(facility_id=self.venue.pk, status=status, actor=OWNER, now=at)

    def target(self, rfp: Rfp, venue: Facility | None = None) -> RfpVenue:
        """Return an RFP's copy at a venue as the database has it."""
        return RfpVenue.objects.select_related("rfp").get(rfp=rfp, facility=venue or self.venue)


def contents(**fields: Any) -> dict[str, Any]:
    """Return what an RFP asks for."""
    known = {
        "title": "Spring gala",
        "event_type": "gala",
        "preferred_dates_start": date(2030, 5, 1),
        "preferred_dates_end": date(2030, 5, 3),
        "attendance_min": 50,
        "attendance_max": 120,
        "space_requirements": ["banquet", "theatre"],
        "response_deadline": DEADLINE,
    }
    return {**known, **fields}


def open_venue(**fields: Any) -> Facility:
    """Make a venue, of a tenant that operates venues unless given."""
    if "tenant" not in fields:
        fields["tenant"] = factories.TenantFactory.create(kind=Tenant.Kind.VENUE_OPERATOR)
    return factories.FacilityFactory.create(kind=Facility.Kind.VENUE, **fields)


def set_scene(*, venue: Facility | None = None, organizer: Tenant | None = None) -> Scene:
    """Make an organizer and a venue, unless given."""
    return Scene(
        organizer or factories.TenantFactory.create(kind=Tenant.Kind.ORGANIZER),
        venue or open_venue(),
    )
