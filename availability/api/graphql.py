"""What GraphQL tells of venues, and what their owners set: by the functions that REST calls."""

from datetime import datetime
from typing import cast
from uuid import UUID

import strawberry
import strawberry_django

from accounts import costs, pages, rows
from accounts.graphql import Info, Pagination, check_page
from availability import badges, scopes, signals, statuses
from availability.api.venues import show_badge
from availability.models import Signal, VenueAvailability
from scheduling.models import Facility

Status = VenueAvailability.Status

strawberry.enum(Status, name="AvailabilityStatus", description="What is shown of a venue.")
strawberry.enum(Signal.Type, name="SignalType", description="A fact about a venue's availability.")


@strawberry.type(description="How often a type of signal was recorded.")
class SignalCount:
    type: Signal.Type
    count: int


@strawberry.type(
    description="The signals of the last days; the ratio is of the answers, null where there is"
    " none."
)
class AvailabilitySignalSummary:
    period_days: int
    counts: list[SignalCount]
    unavailable_ratio: float | None


@strawberry.type(description="What everybody may know of a venue.")
class AvailabilityBadge:
    venue_id: UUID
    availability_status: Status
    badge_color: str
    badge_label: str


def _is_manual(root: strawberry.Parent[VenueAvailability]) -> bool:
    return root.manual_override_at is not None


def _summarise(root: strawberry.Parent[VenueAvailability], info: Info) -> AvailabilitySignalSummary:
    found = signals.summarise(facility_id=root.pk, now=info.context.now)
    counts = [SignalCount(type=Signal.Type(one), count=n) for one, n in found.counts.items()]
    return AvailabilitySignalSummary(
        period_days=found.period_days, counts=counts, unavailable_ratio=found.unavailable_ratio
    )


@strawberry_django.type(
    VenueAvailability, description="What is shown of a venue, and where that comes from."
)
class VenueAvailabilityType:
    venue_id: UUID = strawberry_django.field(field_name="facility_id")
    availability_status: Status = strawberry_django.field(field_name="status")
    is_manual_override: bool = strawberry.field(resolver=_is_manual)
    manual_override_at: datetime | None
    inferred_status: Status | None
    last_inferred_at: datetime | None
    signal_summary: AvailabilitySignalSummary = strawberry.field(
        resolver=_summarise, metadata=costs.READS
    )
    version: int
    updated_at: datetime


def _color(root: strawberry.Parent[Facility]) -> str:
    return badges.LOOKS[root.availability.status][0]


def _label(root: strawberry.Parent[Facility]) -> str:
    return badges.LOOKS[root.availability.status][1]


def _is_override(root: strawberry.Parent[Facility]) -> bool:
    return root.availability.manual_override_at is not None


@strawberry_django.type(Facility, description="A venue, and the badge that it shows.")
class VenueType:
    id: UUID
    name: str
    slug: str
    city: str
    country: str
    availability_status: Status = strawberry_django.field(field_name="availability__status")
    availability_badge_color: str = strawberry.field(resolver=_color)
    availability_badge_label: str = strawberry.field(resolver=_label)
    availability_is_manual_override: bool = strawberry.field(
        resolver=_is_override, description="Whether its owner set it. For the owner alone."
    )


@strawberry.type(description="A page of venues, by name.")
class VenueListResult:
    venues: list[VenueType]
    pagination: Pagination


@strawberry.type
class VenueQueries:
    @strawberry.field(description="What is shown of one's own venue, and what its signals say.")
    def venue_availability(self, info: Info, venue_id: UUID) -> VenueAvailabilityType | None:
        venue = scopes.find_venue(caller=info.context.caller, venue_id=venue_id)
        return cast(VenueAvailabilityType, statuses.get(facility_id=venue.pk))

    @strawberry.field(description="A venue's badge, for everybody.")
    def venue_availability_badge(self, info: Info, venue_id: UUID) -> AvailabilityBadge | None:
        badge = show_badge(request=info.context.request, venue_id=venue_id)
        return AvailabilityBadge(
            venue_id=badge.venue_id,
            availability_status=Status(badge.availability_status),
            badge_color=badge.badge_color,
            badge_label=badge.badge_label,
        )

    @strawberry.field(description="A venue: for organizers any that is open, for others their own.")
    def venue(self, info: Info, id: UUID) -> VenueType | None:
        found = scopes.venues(caller=info.context.caller)
        return cast(VenueType, rows.find(rows=found, id=id, field="venue"))

    @strawberry.field(description="Venues: for organizers all that are open, for others their own.")
    def venues(self, info: Info, page: int = 1, page_size: int = 10) -> VenueListResult | None:
        check_page(page=page, page_size=page_size)
        found = scopes.venues(caller=info.context.caller).order_by("name", "id")
        total, shown = pages.cut(rows=found, page=page, page_size=page_size)
        return VenueListResult(
            venues=cast(list[VenueType], shown),
            pagination=Pagination.of(page=page, page_size=page_size, total=total),
        )


@strawberry.type
class VenueMutations:
    @strawberry.mutation(
        description="Show a status whatever the signals say, until that is cleared; NOT_SET is"
        " refused."
    )
    def set_venue_availability(
        self, info: Info, venue_id: UUID, status: Status
    ) -> VenueAvailabilityType | None:
        venue = scopes.find_venue(caller=info.context.caller, venue_id=venue_id)
        row = statuses.set_by_hand(
            facility_id=venue.pk,
            status=status.value,
            actor=info.context.caller.actor,
            now=info.context.now,
        )
        return cast(VenueAvailabilityType, row)

    @strawberry.mutation(description="Show again what the signals say.")
    def clear_venue_availability_override(
        self, info: Info, venue_id: UUID
    ) -> VenueAvailabilityType | None:
        venue = scopes.find_venue(caller=info.context.caller, venue_id=venue_id)
        row = statuses.clear_override(
            facility_id=venue.pk, actor=info.context.caller.actor, now=info.context.now
        )
        return cast(VenueAvailabilityType, row)
