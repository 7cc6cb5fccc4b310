"""What organizers do with their entries: wait for venues, and turn offers into RFPs."""

from datetime import datetime, timedelta
from typing import Any, ClassVar
from uuid import UUID

from django.core.exceptions import ValidationError as FunctionRefused
from django.db.models import Prefetch, QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import rows
from accounts.bodies import Body
from accounts.pages import Pages
from accounts.roles import Caller
from accounts.views import RowsView, wanted_version, with_etag
from audit import clock
from availability import rfps
from availability.api.places import OfOrganization
from availability.models import Rfp, VenueAvailability
from scheduling import slots
from waitlist import conversions, entries, holds, nudges, queues, ranking, scopes
from waitlist.api.entries import StatusFilters
from waitlist.api.notes import Interest
from waitlist.models import ACTIVE, Hold, WaitlistEntry

DRAFTED = "A new RFP to this venue was drafted. Check it and send it."


class VenueEntryAnswer(serializers.ModelSerializer[WaitlistEntry]):
    """An organizer's entry; the context has the `positions` of all and `now`.

    Dates, people, type and spaces are those of the RFP that it waits with. The position is null
    once it has ended; `hold_…` are of the offer that it has at the moment.
    """

    organization_id = serializers.UUIDField(source="organizer_id")
    venue_id = serializers.UUIDField(source="facility_id")
    venue_name = serializers.CharField(source="facility.name")
    venue_slug = serializers.CharField(source="facility.slug")
    venue_city = serializers.CharField(source="facility.city")
    venue_country = serializers.CharField(source="facility.country")
    venue_availability_status = serializers.ChoiceField(
        source="facility.availability.status", choices=VenueAvailability.Status.choices
    )
    source_rfp_id = serializers.UUIDField(source="rfp_venue.rfp_id")
    source_rfp_title = serializers.CharField(source="rfp_venue.rfp.title")
    source_rfp_venue_id = serializers.UUIDField(source="rfp_venue_id")
    desired_dates_start = serializers.DateField(
        source="rfp_venue.rfp.preferred_dates_start", allow_null=True
    )
    desired_dates_end = serializers.DateField(
        source="rfp_venue.rfp.preferred_dates_end", allow_null=True
    )
    attendance_min = serializers.IntegerField(source="rfp_venue.rfp.attendance_min")
    attendance_max = serializers.IntegerField(source="rfp_venue.rfp.attendance_max")
    event_type = serializers.CharField(source="rfp_venue.rfp.event_type")
    space_requirements = serializers.ListField(
        source="rfp_venue.rfp.space_requirements", child=serializers.CharField()
    )
    queue_position = serializers.SerializerMethodField()
    hold_offered_at = serializers.SerializerMethodField()
    hold_expires_at = serializers.SerializerMethodField()
    hold_remaining_seconds = serializers.SerializerMethodField()
    hold_reminder_sent = serializers.SerializerMethodField()
    still_interested_sent_at = serializers.DateTimeField(source="nudged_at", allow_null=True)
    still_interested_responded = serializers.SerializerMethodField()
    converted_rfp_id = serializers.UUIDField(allow_null=True)

    class Meta:
        model = WaitlistEntry
        fields = (
            "id", "organization_id", "venue_id", "venue_name", "venue_slug", "venue_city",
            "venue_country", "venue_availability_status", "source_rfp_id", "source_rfp_title",
            "source_rfp_venue_id", "desired_dates_start", "desired_dates_end", "dates_flexible",
            "attendance_min", "attendance_max", "event_type", "space_requirements", "status",
            "queue_position", "hold_offered_at", "hold_expires_at", "hold_remaining_seconds",
            "hold_reminder_sent", "converted_rfp_id", "cancellation_reason", "cancellation_notes",
            "expires_at", "still_interested_sent_at", "still_interested_responded", "joined_at",
            "closed_at", "version", "created_at", "updated_at",
        )  # fmt: skip

    def get_queue_position(self, entry: WaitlistEntry) -> int | None:
        """Return 1 for who goes first."""
        found: int | None = self.context["positions"].get(entry.pk)
        return found

    def get_hold_offered_at(self, entry: WaitlistEntry) -> datetime | None:
        """Say since when it is offered the venue."""
        hold = live_hold(entry=entry)
        return hold.offered_at if hold else None

    def get_hold_expires_at(self, entry: WaitlistEntry) -> datetime | None:
        """Say until when it can answer."""
        hold = live_hold(entry=entry)
        return hold.expires_at if hold else None

    def get_hold_remaining_seconds(self, entry: WaitlistEntry) -> int | None:
        """Say how long that is."""
        return seconds_left(entry=entry, now=self.context["now"])

    def get_hold_reminder_sent(self, entry: WaitlistEntry) -> bool:
        """Say whether it was reminded of the offer."""
        hold = live_hold(entry=entry)
        return hold is not None and hold.reminded_at is not None

    def get_still_interested_responded(self, entry: WaitlistEntry) -> bool:
        """Say whether the question that it was asked is answered."""
        return entry.nudge_answered_at is not None


class NewRfpAnswer(serializers.ModelSerializer[Rfp]):
    """The draft that an entry was converted to."""

    status = serializers.ChoiceField(choices=Rfp.Status.choices)
    venue_count = serializers.SerializerMethodField()
    message = serializers.SerializerMethodField()

    class Meta:
        model = Rfp
        fields = ("id", "title", "status", "venue_count", "message")

    def get_venue_count(self, rfp: Rfp) -> int:
        """Count the venues that it goes to."""
        return rfp.targets.count()

    def get_message(self, rfp: Rfp) -> str:
        """Say what to do with it."""
        return DRAFTED


class ConversionAnswer(serializers.Serializer[Any]):
    """What became of an entry, and the RFP that it was converted to."""

    waitlist_entry = VenueEntryAnswer()
    new_rfp = NewRfpAnswer()


class JoinVenue(Body):
    """The copy of an RFP whose venue answered that it is unavailable; all else is in the RFP."""

    source_rfp_venue_id = serializers.UUIDField()


class Leave(Body):
    """Why they do not wait any longer."""

    reason = serializers.ChoiceField(choices=entries.ORGANIZER_REASONS)
    notes = serializers.CharField(
        max_length=2000, allow_blank=True, trim_whitespace=False, required=False
    )


class VenueEntryFilters(StatusFilters):
    """Filters of an organizer's entries."""

    active = filters.BooleanFilter(
        method="if_active", label="Those that wait or are offered the venue; or those that ended."
    )

    def if_active(
        self, queryset: QuerySet[WaitlistEntry], name: str, value: bool
    ) -> QuerySet[WaitlistEntry]:
        """Narrow."""
        return queryset.filter(ACTIVE) if value else queryset.exclude(ACTIVE)


class WaitlistPages(Pages):
    """`{waitlist_entries, pagination}`, ten to a page."""

    usual = 10
    most = 50

    def get_paginated_response(self, data: Any) -> Response:
        """Wrap one page."""
        counts = {
            "page": self.page,
            "page_size": self.page_size,
            "total_count": self.total,
            "total_pages": -(-self.total // self.page_size),
        }
        return Response({"waitlist_entries": data, "pagination": counts})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Say so in the schema."""
        names = ("page", "page_size", "total_count", "total_pages")
        number = {"type": "integer", "minimum": 0, "examples": [1]}
        pagination = {
            "type": "object", "required": [*names], "properties": dict.fromkeys(names, number),
        }  # fmt: skip
        return {
            "type": "object",
            "required": ["waitlist_entries", "pagination"],
            "properties": {"waitlist_entries": schema, "pagination": pagination},
        }


class OrganizerView(OfOrganization):
    """A view of an organizer's entries."""

    def find(self, id: UUID) -> WaitlistEntry:
        """Return an entry.

        :raises NotFound: if it is not the organizer's.
        """
        return find(caller=self.caller, id=id)

    def answer(self, *, entries: list[WaitlistEntry]) -> VenueEntryAnswer:
        """Write entries as they are, with their positions found in one statement."""
        positions = ranking.positions(entry_ids=[entry.pk for entry in entries])
        context = {"positions": positions, "now": clock.now()}
        return VenueEntryAnswer(entries, many=True, context=context)

    def show(self, *, entry_id: UUID, status: int = 200) -> Response:
        """Answer an entry as it is, with its version."""
        entry = self.find(entry_id)
        [shown] = self.answer(entries=[entry]).data
        return with_etag(response=Response(shown, status=status), version=entry.version)


class VenueEntriesView(OrganizerView, RowsView):
    """What an organizer waits for."""

    serializer_class = VenueEntryAnswer
    filterset_class = VenueEntryFilters
    pagination_class = WaitlistPages
    problems: ClassVar = {
        "POST": (
            entries.NotUnavailable, entries.AlreadyWaiting, entries.QueueFull, queues.QueueClosed,
            entries.TooManyEntries,
        ),
    }  # fmt: skip

    def rows(self) -> QuerySet[WaitlistEntry]:
        """Return the organizer's entries, newest first."""
        return known(caller=self.caller)

    def get(self, request: Request) -> Response:
        """List the venues that one waits for or has waited for, newest first."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset())) or []
        return self.get_paginated_response(self.answer(entries=[*page]).data)

    @extend_schema(request=JoinVenue, responses={201: VenueEntryAnswer})
    def post(self, request: Request) -> Response:
        """Wait for a venue that answered an RFP that it is unavailable.

        Refused where one waits for it already, waits for five venues, or where the venue does not
        take anybody at the moment.
        """
        body = JoinVenue(data=request.data)
        body.is_valid(raise_exception=True)
        source: UUID = body.validated_data["source_rfp_venue_id"]
        entry = join(caller=self.caller, source=source, now=clock.now())
        response = self.show(entry_id=entry.pk, status=201)
        response["Location"] = f"{request.path}/{entry.pk}"
        return response


class VenueEntryView(OrganizerView, GenericAPIView[WaitlistEntry]):
    """One entry."""

    serializer_class = VenueEntryAnswer

    def get(self, request: Request, id: UUID) -> Response:
        """Read an entry with its position and the offer that it has."""
        return self.show(entry_id=id)


class ConvertView(OrganizerView, GenericAPIView[WaitlistEntry]):
    """Saying yes to an offer of a venue."""

    serializer_class = ConversionAnswer
    problems: ClassVar = {
        "POST": (
            conversions.NotOffered, conversions.HoldLapsed, holds.HoldClosed, rfps.TooManyRfps,
            slots.Inactive,
        ),
    }  # fmt: skip

    @extend_schema(request=None, responses={201: ConversionAnswer})
    def post(self, request: Request, id: UUID) -> Response:
        """Accept the offer: a new RFP to this venue alone is drafted from the one waited with.

        It is sent to nobody yet.
        """
        rfp = convert(caller=self.caller, id=id, now=clock.now())
        [entry] = self.answer(entries=[self.find(id)]).data
        return Response({"waitlist_entry": entry, "new_rfp": NewRfpAnswer(rfp).data}, status=201)


class CancelView(OrganizerView, GenericAPIView[WaitlistEntry]):
    """Waiting no longer."""

    serializer_class = VenueEntryAnswer
    updates: ClassVar[bool] = True
    problems: ClassVar = {"POST": (entries.EntryClosed,)}

    @extend_schema(request=Leave, responses=VenueEntryAnswer)
    def post(self, request: Request, id: UUID) -> Response:
        """Leave a waitlist, saying why; what one was offered goes to the next."""
        body = Leave(data=request.data)
        body.is_valid(raise_exception=True)
        entries.cancel(
            entry_id=self.find(id).pk,
            actor=self.caller.actor,
            now=clock.now(),
            version=wanted_version(request=request),
            **body.validated_data,
        )
        return self.show(entry_id=id)


class VenueInterestView(OrganizerView, GenericAPIView[WaitlistEntry]):
    """The answer to a nudge."""

    serializer_class = VenueEntryAnswer
    updates: ClassVar[bool] = True
    problems: ClassVar = {"POST": (entries.EntryClosed,)}

    @extend_schema(request=Interest, responses=VenueEntryAnswer)
    def post(self, request: Request, id: UUID) -> Response:
        """Say whether one still waits; who does not any longer leaves the waitlist."""
        body = Interest(data=request.data)
        body.is_valid(raise_exception=True)
        nudges.answer(
            entry_id=self.find(id).pk,
            interested=body.validated_data["interested"],
            actor=self.caller.actor,
            now=clock.now(),
            version=wanted_version(request=request),
        )
        return self.show(entry_id=id)


def known(*, caller: Caller) -> QuerySet[WaitlistEntry]:
    """Return the organizer's entries, newest first, with what their answers need."""
    live = Hold.objects.filter(status=Hold.Status.OFFERED)
    found = scopes.entries(caller=caller).select_related("facility__availability", "rfp_venue__rfp")
    shown = found.prefetch_related(Prefetch("holds", queryset=live, to_attr="live"))
    return shown.order_by("-joined_at", "-id")


def find(*, caller: Caller, id: UUID) -> WaitlistEntry:
    """Return an entry.

    :raises NotFound: if it is not the organizer's.
    """
    return rows.find(rows=known(caller=caller), id=id, field="waitlist_entry")


def join(*, caller: Caller, source: UUID, now: datetime) -> WaitlistEntry:
    """Let the organizer wait for a venue.

    :raises ValidationError: naming the source, whose dates are over.
    :raises NotFound, NotUnavailable, QueueClosed, QueueFull, AlreadyWaiting, TooManyEntries: see
        `entries.join_venue`.
    """
    try:
        return entries.join_venue(
            rfp_venue_id=source, organizer_id=caller.tenant_id, actor=caller.actor, now=now
        )
    except FunctionRefused as error:  # of the dates that were copied
        texts = [ErrorDetail(text, "invalid") for text in error.messages]
        raise ValidationError({"source_rfp_venue_id": texts}) from error


def convert(*, caller: Caller, id: UUID, now: datetime) -> Rfp:
    """Accept what an entry is offered.

    :raises NotFound: if it is not the organizer's.
    :raises NotOffered, HoldClosed, TooManyRfps, Inactive: see `conversions`.
    """
    hold_id = conversions.last_offer(entry_id=find(caller=caller, id=id).pk)
    return conversions.convert(hold_id=hold_id, actor=caller.actor, now=now)


def live_hold(*, entry: WaitlistEntry) -> Hold | None:
    """Return what an entry is offered, which was read with it."""
    live: list[Hold] = entry.live  # type: ignore[attr-defined]
    return live[0] if live else None


def seconds_left(*, entry: WaitlistEntry, now: datetime) -> int | None:
    """Return how long an entry can answer what it is offered; None if that is nothing."""
    hold = live_hold(entry=entry)
    return max(0, (hold.expires_at - now) // timedelta(seconds=1)) if hold else None
