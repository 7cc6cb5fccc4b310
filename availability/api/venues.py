"""What a venue's people do: answer RFPs, see and set the venue's availability. And the badge."""

from typing import Any, ClassVar
from uuid import UUID

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import Throttled
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import limits, rows
from accounts.bodies import Body
from accounts.filters import SortFilter
from accounts.views import ApiView, RowsView, wanted_version, with_etag
from audit import clock
from availability import badges, rfps, scopes, signals, statuses
from availability.api.places import OfVenue
from availability.models import RfpVenue, Signal, VenueAvailability


class ReceivedRfpSerializer(serializers.ModelSerializer[RfpVenue]):
    """An RFP as a venue got it, and what the venue answered."""

    rfp = serializers.UUIDField(source="rfp_id")
    rfp_status = serializers.CharField(source="rfp.status")
    organizer_name = serializers.CharField(source="tenant.name")
    title = serializers.CharField(source="rfp.title")
    event_type = serializers.CharField(source="rfp.event_type")
    preferred_dates_start = serializers.DateField(
        source="rfp.preferred_dates_start", allow_null=True
    )
    preferred_dates_end = serializers.DateField(source="rfp.preferred_dates_end", allow_null=True)
    dates_flexible = serializers.BooleanField(source="rfp.dates_flexible")
    attendance_min = serializers.IntegerField(source="rfp.attendance_min")
    attendance_max = serializers.IntegerField(source="rfp.attendance_max")
    space_requirements = serializers.ListField(
        child=serializers.CharField(), source="rfp.space_requirements"
    )
    response_deadline = serializers.DateTimeField(source="rfp.response_deadline")
    sent_at = serializers.DateTimeField(source="rfp.sent_at")

    class Meta:
        model = RfpVenue
        fields = (
            "id", "rfp", "rfp_status", "organizer_name", "title", "event_type",
            "preferred_dates_start", "preferred_dates_end", "dates_flexible", "attendance_min",
            "attendance_max", "space_requirements", "response_deadline", "sent_at", "status",
            "response", "response_notes", "responded_at", "version", "created_at", "updated_at",
        )  # fmt: skip
        read_only_fields = fields


class RfpAnswerSerializer(Body):
    availability = serializers.ChoiceField(choices=RfpVenue.Response.choices)
    notes = serializers.CharField(max_length=5000, required=False, allow_blank=True)


class ReceivedRfpFilter(filters.FilterSet):  # type: ignore[misc]
    status = filters.ChoiceFilter(choices=RfpVenue.Status.choices)
    sort = SortFilter(fields={"rfp__response_deadline": "response_deadline"})


class ReceivedRfpsView(OfVenue, RowsView):
    serializer_class = ReceivedRfpSerializer
    filterset_class = ReceivedRfpFilter

    def rows(self) -> QuerySet[RfpVenue]:
        found = scopes.rfp_venues(venue=self.venue).select_related("rfp", "tenant")
        return found.order_by("-id")


class RespondView(OfVenue, GenericAPIView[Any]):
    serializer_class = ReceivedRfpSerializer
    updates: ClassVar[bool] = True
    problems: ClassVar = {"POST": (rfps.AlreadyAnswered, rfps.Ended)}

    @extend_schema(request=RfpAnswerSerializer, responses=ReceivedRfpSerializer)
    def post(self, request: Request, rfp_venue: UUID) -> Response:
        """Answer an RFP for the venue, once; late answers count until the RFP ends."""
        found = scopes.rfp_venues(venue=self.venue)
        rows.find(rows=found, id=rfp_venue, field="rfp_venue")
        body = RfpAnswerSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        target = rfps.respond(
            rfp_venue_id=rfp_venue,
            response=body.validated_data["availability"],
            notes=body.validated_data.get("notes", ""),
            actor=self.caller.actor,
            now=clock.now(),
            version=wanted_version(request=request),
        )
        return with_etag(response=Response(self.get_serializer(target).data),
                         version=target.version)  # fmt: skip


class SignalCounts(serializers.Serializer[Any]):
    """How often each type of signal was recorded."""

    def get_fields(self) -> dict[str, Any]:
        """Return a field for each type."""
        return {kind: serializers.IntegerField(min_value=0) for kind in Signal.Type.values}


class SignalSummary(serializers.Serializer[signals.Summary]):
    """The signals of the last days; the ratio is of the answers, null where there is none."""

    period_days = serializers.IntegerField()
    counts = SignalCounts()
    unavailable_ratio = serializers.FloatField(min_value=0, max_value=1, allow_null=True)


class AvailabilitySerializer(serializers.ModelSerializer[VenueAvailability]):
    """What is shown of a venue, and where that comes from."""

    venue_id = serializers.UUIDField(source="facility_id")
    availability_status = serializers.ChoiceField(
        source="status", choices=VenueAvailability.Status.choices
    )
    is_manual_override = serializers.SerializerMethodField()
    signal_summary = serializers.SerializerMethodField()

    class Meta:
        model = VenueAvailability
        fields = (
            "venue_id", "availability_status", "is_manual_override", "manual_override_at",
            "inferred_status", "last_inferred_at", "signal_summary", "version", "updated_at",
        )  # fmt: skip
        read_only_fields = fields

    def get_is_manual_override(self, row: VenueAvailability) -> bool:
        """Say whether it was set by hand."""
        return row.manual_override_at is not None

    @extend_schema_field(SignalSummary)
    def get_signal_summary(self, row: VenueAvailability) -> Any:
        """Count the signals of the last days."""
        return SignalSummary(signals.summarise(facility_id=row.pk, now=clock.now())).data


class AvailabilityChangeSerializer(Body):
    availability_status = serializers.ChoiceField(choices=statuses.BY_HAND)


class AvailabilityView(OfVenue, GenericAPIView[Any]):
    serializer_class = AvailabilitySerializer

    def get(self, request: Request) -> Response:
        """Read what is shown of the venue, and what its signals say."""
        return self.show(row=statuses.get(facility_id=self.venue.pk))

    @extend_schema(request=AvailabilityChangeSerializer, responses=AvailabilitySerializer)
    def put(self, request: Request) -> Response:
        """Show a status whatever the signals say, until that is cleared."""
        body = AvailabilityChangeSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        row = statuses.set_by_hand(
            facility_id=self.venue.pk,
            status=body.validated_data["availability_status"],
            actor=self.caller.actor,
            now=clock.now(),
            version=wanted_version(request=request),
        )
        return self.show(row=row)

    def show(self, *, row: VenueAvailability) -> Response:
        """Answer what is shown, with its version."""
        return with_etag(response=Response(self.get_serializer(row).data), version=row.version)


class OverrideView(AvailabilityView):
    http_method_names: ClassVar[list[str]] = ["delete"]  # type: ignore[misc]

    @extend_schema(responses={200: AvailabilitySerializer})
    def delete(self, request: Request) -> Response:
        """Show again what the signals say."""
        row = statuses.clear_override(
            facility_id=self.venue.pk,
            actor=self.caller.actor,
            now=clock.now(),
            version=wanted_version(request=request),
        )
        return self.show(row=row)


class BadgeSerializer(serializers.Serializer[badges.Badge]):
    """What everybody may know of a venue."""

    venue_id = serializers.UUIDField()
    availability_status = serializers.ChoiceField(choices=VenueAvailability.Status.choices)
    badge_color = serializers.ChoiceField(choices=badges.COLORS)
    badge_label = serializers.CharField()


class BadgeView(ApiView, GenericAPIView[Any]):
    serializer_class = BadgeSerializer
    authentication_classes = ()
    problems: ClassVar = {"GET": (Throttled,)}

    def get(self, request: Request, venue: UUID) -> Response:
        """Read a venue's badge, which is kept for five minutes unless it changes."""
        badge = show_badge(request=request, venue_id=venue)
        kept = {"Cache-Control": "public, max-age=60"}  # everybody's, and shown on busy pages
        return Response(BadgeSerializer(badge).data, headers=kept)


def show_badge(*, request: Request, venue_id: UUID) -> badges.Badge:
    """Return a venue's badge. What is not kept is counted: a kept one costs less than counting.

    :raises Throttled: if too many were asked for that were not kept.
    :raises NotFound: if there is no such venue.
    """
    badge = badges.find(facility_id=venue_id)
    if badge is not None:
        return badge
    limits.check(limit="badge", who=limits.address(request=request), tenant=None)
    return badges.read(facility_id=venue_id)
