"""What organizers do with their entries, and owners with their breaker, by GraphQL.

By the functions that REST calls, with its fields in camelCase.
"""

from datetime import date, datetime
from enum import StrEnum
from typing import cast
from uuid import UUID

import strawberry
import strawberry_django
from strawberry import Parent

from accounts import pages
from accounts.graphql import Info, Pagination, check_page
from availability import scopes
from availability.models import Rfp, VenueAvailability
from waitlist import breakers, entries, nudges, ranking
from waitlist.api import organizers
from waitlist.models import ACTIVE, WaitlistEntry

Status = WaitlistEntry.Status

strawberry.enum(Status, name="WaitlistStatus", description="What became of an entry.")
strawberry.enum(Rfp.Status, name="RfpStatus", description="What became of an RFP.")


@strawberry.enum(
    description="Why one waits no longer. NUDGE_DECLINED is for those who answered a reminder:"
    " nobody may give it."
)
class CancellationReason(StrEnum):
    NO_LONGER_NEEDED = "no_longer_needed"
    FOUND_ALTERNATIVE = "found_alternative"
    DECLINED_OFFER = "declined_offer"
    NUDGE_DECLINED = "nudge_declined"
    OTHER = "other"


def _position(root: Parent[WaitlistEntry]) -> int | None:
    return cast(int | None, root.position)  # type: ignore[attr-defined]


def _offered_at(root: Parent[WaitlistEntry]) -> datetime | None:
    hold = organizers.live_hold(entry=root)
    return hold.offered_at if hold else None


def _hold_expires_at(root: Parent[WaitlistEntry]) -> datetime | None:
    hold = organizers.live_hold(entry=root)
    return hold.expires_at if hold else None


def _seconds_left(root: Parent[WaitlistEntry], info: Info) -> int | None:
    return organizers.seconds_left(entry=root, now=info.context.now)


def _is_reminded(root: Parent[WaitlistEntry]) -> bool:
    hold = organizers.live_hold(entry=root)
    return hold is not None and hold.reminded_at is not None


def _has_answered(root: Parent[WaitlistEntry]) -> bool:
    return root.nudge_answered_at is not None


def _reason(root: Parent[WaitlistEntry]) -> CancellationReason | None:
    if not root.cancellation_reason:
        return None
    known = {str(one): one for one in CancellationReason}
    return known.get(root.cancellation_reason, CancellationReason.OTHER)  # by hand, in the admin


@strawberry_django.type(
    WaitlistEntry,
    description="An organizer's entry. Dates, people, type and spaces are those of the RFP that it"
    " waits with. The position is null once it has ended; `hold…` are of the offer that it has at"
    " the moment.",
)
class VenueWaitlistEntryType:
    id: UUID
    organization_id: UUID = strawberry_django.field(field_name="organizer_id")
    venue_id: UUID = strawberry_django.field(field_name="facility_id")
    venue_name: str = strawberry_django.field(field_name="facility__name")
    venue_slug: str = strawberry_django.field(field_name="facility__slug")
    venue_city: str = strawberry_django.field(field_name="facility__city")
    venue_country: str = strawberry_django.field(field_name="facility__country")
    venue_availability_status: VenueAvailability.Status = strawberry_django.field(
        field_name="facility__availability__status"
    )
    source_rfp_id: UUID = strawberry_django.field(field_name="rfp_venue__rfp_id")
    source_rfp_title: str = strawberry_django.field(field_name="rfp_venue__rfp__title")
    source_rfp_venue_id: UUID = strawberry_django.field(field_name="rfp_venue_id")
    desired_dates_start: date | None = strawberry_django.field(
        field_name="rfp_venue__rfp__preferred_dates_start"
    )
    desired_dates_end: date | None = strawberry_django.field(
        field_name="rfp_venue__rfp__preferred_dates_end"
    )
    dates_flexible: bool
    attendance_min: int = strawberry_django.field(field_name="rfp_venue__rfp__attendance_min")
    attendance_max: int = strawberry_django.field(field_name="rfp_venue__rfp__attendance_max")
    event_type: str = strawberry_django.field(field_name="rfp_venue__rfp__event_type")
    space_requirements: list[str] = strawberry_django.field(
        field_name="rfp_venue__rfp__space_requirements"
    )
    status: Status
    queue_position: int | None = strawberry.field(resolver=_position)
    hold_offered_at: datetime | None = strawberry.field(resolver=_offered_at)
    hold_expires_at: datetime | None = strawberry.field(resolver=_hold_expires_at)
    hold_remaining_seconds: int | None = strawberry.field(resolver=_seconds_left)
    hold_reminder_sent: bool = strawberry.field(resolver=_is_reminded)
    converted_rfp_id: UUID | None
    cancellation_reason: CancellationReason | None = strawberry.field(resolver=_reason)
    cancellation_notes: str
    expires_at: datetime
    still_interested_sent_at: datetime | None = strawberry_django.field(field_name="nudged_at")
    still_interested_responded: bool = strawberry.field(resolver=_has_answered)
    joined_at: datetime
    closed_at: datetime | None
    version: int
    created_at: datetime
    updated_at: datetime


@strawberry.type(description="A page of an organizer's entries, newest first.")
class WaitlistEntryListResult:
    waitlist_entries: list[VenueWaitlistEntryType]
    pagination: Pagination


@strawberry.type(description="The draft that an entry was converted to; it is sent to nobody yet.")
class NewRfp:
    id: UUID
    title: str
    status: Rfp.Status
    venue_count: int
    message: str


@strawberry.type(description="What became of an entry, and the RFP that it was converted to.")
class WaitlistConversionResult:
    waitlist_entry: VenueWaitlistEntryType
    new_rfp: NewRfp


@strawberry.type(
    description="What followed: whether the venue has room to offer, and whether somebody was"
    " offered it. Who that is, or how many wait, is not said."
)
class CircuitBreakerResult:
    circuit_breaker_resolved: bool
    cascade_resumed: bool
    next_entry_offered: bool


def _show(shown: list[WaitlistEntry]) -> list[VenueWaitlistEntryType]:
    """Find the positions of entries in one statement."""
    positions = ranking.positions(entry_ids=[entry.pk for entry in shown])
    for entry in shown:
        entry.position = positions.get(entry.pk)  # type: ignore[attr-defined]
    return cast(list[VenueWaitlistEntryType], shown)


def _show_one(info: Info, id: UUID) -> VenueWaitlistEntryType:
    [shown] = _show([organizers.find(caller=info.context.caller, id=id)])
    return shown


@strawberry.type
class EntryQueries:
    @strawberry.field(description="The venues that one waits for or has waited for, newest first.")
    def my_waitlist_entries(
        self,
        info: Info,
        status: Status | None = None,
        active_only: bool = False,
        page: int = 1,
        page_size: int = 10,
    ) -> WaitlistEntryListResult | None:
        check_page(page=page, page_size=page_size)
        found = organizers.known(caller=info.context.caller)
        if status is not None:
            found = found.filter(status=status)
        if active_only:
            found = found.filter(ACTIVE)
        total, shown = pages.cut(rows=found, page=page, page_size=page_size)
        return WaitlistEntryListResult(
            waitlist_entries=_show(shown),
            pagination=Pagination.of(page=page, page_size=page_size, total=total),
        )

    @strawberry.field(description="An entry with its position and the offer that it has.")
    def waitlist_entry(self, info: Info, id: UUID) -> VenueWaitlistEntryType | None:
        return _show_one(info, id)


@strawberry.type
class EntryMutations:
    @strawberry.mutation(
        description="Wait for a venue that answered an RFP that it is unavailable."
    )
    def join_venue_waitlist(
        self, info: Info, source_rfp_venue_id: UUID
    ) -> VenueWaitlistEntryType | None:
        caller = info.context.caller
        entry = organizers.join(caller=caller, source=source_rfp_venue_id, now=info.context.now)
        return _show_one(info, entry.pk)

    @strawberry.mutation(
        description="Accept the offer: a new RFP to this venue alone is drafted from the one waited"
        " with."
    )
    def convert_waitlist_hold(
        self, info: Info, waitlist_id: UUID
    ) -> WaitlistConversionResult | None:
        rfp = organizers.convert(caller=info.context.caller, id=waitlist_id, now=info.context.now)
        new_rfp = NewRfp(
            id=rfp.pk,
            title=rfp.title,
            status=Rfp.Status(rfp.status),
            venue_count=rfp.targets.count(),
            message=organizers.DRAFTED,
        )
        return WaitlistConversionResult(
            waitlist_entry=_show_one(info, waitlist_id), new_rfp=new_rfp
        )

    @strawberry.mutation(
        description="Leave a waitlist, saying why; what one was offered goes to the next."
    )
    def cancel_waitlist_entry(
        self, info: Info, waitlist_id: UUID, reason: CancellationReason, notes: str = ""
    ) -> VenueWaitlistEntryType | None:
        body = organizers.Leave(data={"reason": str(reason), "notes": notes})
        body.is_valid(raise_exception=True)
        entries.cancel(
            entry_id=organizers.find(caller=info.context.caller, id=waitlist_id).pk,
            actor=info.context.caller.actor,
            now=info.context.now,
            **body.validated_data,
        )
        return _show_one(info, waitlist_id)

    @strawberry.mutation(
        description="Say whether one still waits; who does not any longer leaves the waitlist."
    )
    def respond_still_interested(
        self, info: Info, waitlist_id: UUID, interested: bool
    ) -> VenueWaitlistEntryType | None:
        nudges.answer(
            entry_id=organizers.find(caller=info.context.caller, id=waitlist_id).pk,
            interested=interested,
            actor=info.context.caller.actor,
            now=info.context.now,
        )
        return _show_one(info, waitlist_id)

    @strawberry.mutation(
        description="Let offers go on after several in a row were not answered; a closed waitlist"
        " opens."
    )
    def resolve_waitlist_circuit_breaker(
        self, info: Info, venue_id: UUID
    ) -> CircuitBreakerResult | None:
        venue = scopes.find_venue(caller=info.context.caller, venue_id=venue_id)
        resumed = breakers.resolve(
            facility_id=venue.pk, actor=info.context.caller.actor, now=info.context.now
        )
        return CircuitBreakerResult(
            circuit_breaker_resolved=True,
            cascade_resumed=resumed.cascade_resumed,
            next_entry_offered=resumed.next_entry_offered,
        )
