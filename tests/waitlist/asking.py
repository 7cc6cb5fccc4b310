"""Organizers who wait for venues: they ask, the venues say that they have no room, they join."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from accounts.models import Tenant
from availability import rfps, statuses
from availability.models import RfpVenue
from scheduling.models import Facility
from tests import factories, venues
from tests.waitlist.worlds import NOW, STAFF
from waitlist import cascades, conversions, entries
from waitlist.models import Hold, WaitlistEntry


def organizer(**fields: Any) -> Tenant:
    """Make an organizer."""
    return factories.TenantFactory.create(kind=Tenant.Kind.ORGANIZER, **fields)


def refused(
    *, places: Sequence[Facility], by: Tenant, at: datetime = NOW, **contents: Any
) -> list[RfpVenue]:
    """Let an organizer ask venues for a proposal, all of which say that they have no room.

    The RFP is closed then, so that others may follow.
    """
    contents = {"response_deadline": at + timedelta(days=7), **contents}
    rfp = rfps.add(
        organizer_id=by.pk, values=venues.contents(**contents),
        venue_ids=[place.pk for place in places], actor=STAFF, now=at,
    )  # fmt: skip
    rfps.send(rfp_id=rfp.pk, actor=STAFF, now=at)
    for target in rfp.targets.all():
        rfps.respond(rfp_venue_id=target.pk, response="unavailable", actor=STAFF, now=at)
    rfps.close(rfp_id=rfp.pk, actor=STAFF, now=at)
    return [RfpVenue.objects.get(rfp=rfp, facility=place) for place in places]


def join(*, source: RfpVenue, at: datetime = NOW) -> WaitlistEntry:
    """Let an organizer wait for a venue that refused them."""
    return entries.join_venue(
        rfp_venue_id=source.pk, organizer_id=source.tenant_id, actor=STAFF, now=at
    )


def wait(
    *, place: Facility, by: Tenant | None = None, at: datetime = NOW, **contents: Any
) -> WaitlistEntry:
    """Let an organizer, a new one unless given, be refused by a venue and wait for it."""
    [source] = refused(places=[place], by=by or organizer(), at=at, **contents)
    return join(source=source, at=at)


def free(*, place: Facility, at: datetime = NOW) -> None:
    """Let a venue's owner say that it accepts events."""
    statuses.set_by_hand(
        facility_id=place.pk, status="accepting_events", actor=venues.OWNER, now=at
    )


def offer(*, place: Facility, at: datetime = NOW) -> Hold:
    """Let a venue have room, and offer it to the first who waits."""
    free(place=place, at=at)
    hold = cascades.go_on(facility_id=place.pk, now=at)
    assert hold is not None
    return hold


def convert(hold: Hold, *, at: datetime = NOW) -> WaitlistEntry:
    """Let the organizer accept."""
    conversions.convert(hold_id=hold.pk, actor=STAFF, now=at)
    return WaitlistEntry.objects.get(pk=hold.entry_id)


def fill(*, place: Facility, at: datetime = NOW) -> None:
    """Let a venue's owner say that it is full."""
    statuses.set_by_hand(facility_id=place.pk, status="fully_booked", actor=venues.OWNER, now=at)
