from collections.abc import Callable
from typing import Any, ClassVar
from uuid import UUID

from django.db.models import Prefetch, QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.bodies import Body
from accounts.filters import SortFilter
from accounts.views import RowsView, RowView, read, wanted_version
from audit import clock
from availability import rfps, scopes
from availability.api.places import OfOrganization
from availability.models import MOST_PEOPLE, Rfp, RfpVenue


class RfpVenueSerializer(serializers.ModelSerializer[RfpVenue]):
    """An RFP's copy for one venue, and the venue's answer."""

    venue = serializers.UUIDField(source="facility_id")
    venue_name = serializers.CharField(source="facility.name")

    class Meta:
        model = RfpVenue
        fields = (
            "id", "venue", "venue_name", "status", "response", "response_notes", "responded_at",
        )  # fmt: skip
        read_only_fields = fields


class RfpSerializer(Body, serializers.ModelSerializer[Rfp]):
    title = serializers.CharField(max_length=200)
    event_type = serializers.CharField(max_length=100)
    attendance_min = serializers.IntegerField(min_value=1, max_value=MOST_PEOPLE)
    attendance_max = serializers.IntegerField(min_value=1, max_value=MOST_PEOPLE)
    space_requirements = serializers.ListField(
        child=serializers.CharField(max_length=50), max_length=20, required=False,
        help_text="names of layouts, such as banquet",
    )  # fmt: skip
    venues = serializers.ListField(
        child=serializers.UUIDField(), max_length=rfps.MOST_VENUES, required=False, write_only=True,
        help_text="the venues to send it to",
    )  # fmt: skip
    rfp_venues = RfpVenueSerializer(many=True, read_only=True, source="targets")
    duplicated_from = serializers.UUIDField(
        source="duplicated_from_id", read_only=True, allow_null=True
    )

    class Meta:
        model = Rfp
        fields = (
            "id", "title", "event_type", "preferred_dates_start", "preferred_dates_end",
            "dates_flexible", "attendance_min", "attendance_max", "space_requirements",
            "response_deadline", "venues", "status", "sent_at", "duplicated_from", "rfp_venues",
            "version", "created_at", "updated_at",
        )  # fmt: skip
        read_only_fields = ("id", "status", "sent_at", "version", "created_at", "updated_at")


class RfpChoiceSerializer(Body):
    rfp_venue = serializers.UUIDField(help_text="one of the RFP's own, by its id")


class RfpFilter(filters.FilterSet):  # type: ignore[misc]
    status = filters.ChoiceFilter(choices=Rfp.Status.choices)
    sort = SortFilter(fields=("created_at", "response_deadline"))


def _with_venues(*, found: QuerySet[Rfp]) -> QuerySet[Rfp]:
    targets = RfpVenue.objects.select_related("facility").order_by("id")
    return found.prefetch_related(Prefetch("targets", targets))


class RfpsView(OfOrganization, RowsView):
    serializer_class = RfpSerializer
    filterset_class = RfpFilter
    problems: ClassVar = {"POST": (rfps.TooManyRfps,)}

    def rows(self) -> QuerySet[Rfp]:
        return _with_venues(found=scopes.rfps(caller=self.caller)).order_by("-created_at", "-id")

    def post(self, request: Request) -> Response:
        """Draft an RFP; no venue sees it until it is sent."""
        values = read(view=self)
        row = rfps.add(
            organizer_id=self.caller.tenant_id,
            venue_ids=values.pop("venues", []),
            values=values,
            actor=self.caller.actor,
            now=clock.now(),
        )
        response = self.made(row=row)
        response["Location"] = f"{request.path}/{row.pk}"
        return response


class RfpView(OfOrganization, RowView):
    serializer_class = RfpSerializer
    problems: ClassVar = dict.fromkeys(("PATCH", "DELETE"), (rfps.NotDraft,))
    noun: ClassVar[str] = "rfp"

    def rows(self) -> QuerySet[Rfp]:
        return _with_venues(found=scopes.rfps(caller=self.caller))

    def patch(self, request: Request, id: UUID) -> Response:
        """Change a draft; what was sent stays as it is."""
        self.find(id)
        changes = self.read(partial=True)
        row = rfps.edit(
            rfp_id=id,
            venue_ids=changes.pop("venues", None),
            changes=changes,
            version=wanted_version(request=request),
        )
        return self.show(row=row)

    def delete(self, request: Request, id: UUID) -> Response:
        """Discard a draft: it is closed."""
        self.change(id, rfps.discard)
        return Response(status=204)

    def change(self, id: UUID, function: Callable[..., Rfp], **given: Any) -> Response:
        """Do something to an RFP that the caller sees, and answer what it is then."""
        self.find(id)
        row = function(
            rfp_id=id,
            actor=self.caller.actor,
            now=clock.now(),
            version=wanted_version(request=self.request),
            **given,
        )
        return self.show(row=row)


class _StepView(RfpView):
    updates: ClassVar[bool] = True
    http_method_names: ClassVar[list[str]] = ["post"]  # type: ignore[misc]


class SendView(_StepView):
    problems: ClassVar = {"POST": (rfps.NotDraft,)}

    @extend_schema(request=None, responses=RfpSerializer)
    def post(self, request: Request, id: UUID) -> Response:
        """Let the venues of a draft see it and answer."""
        return self.change(id, rfps.send)


class CloseView(_StepView):
    problems: ClassVar = {"POST": (rfps.Ended,)}

    @extend_schema(request=None, responses=RfpSerializer)
    def post(self, request: Request, id: UUID) -> Response:
        """End an RFP that no venue gets."""
        return self.change(id, rfps.close)


class _ChoiceView(_StepView):
    problems: ClassVar = {"POST": (rfps.NotSent, rfps.NotEligible)}

    def choose(self, id: UUID, function: Callable[..., Rfp]) -> Response:
        """Do something to an RFP that concerns one of its venues."""
        self.find(id)
        body = RfpChoiceSerializer(data=self.request.data)
        body.is_valid(raise_exception=True)
        return self.change(id, function, rfp_venue_id=body.validated_data["rfp_venue"])


class ShortlistView(_ChoiceView):
    @extend_schema(request=RfpChoiceSerializer, responses=RfpSerializer)
    def post(self, request: Request, id: UUID) -> Response:
        """Put a venue that has room on the short list."""
        return self.choose(id, rfps.shortlist)


class AwardView(_ChoiceView):
    @extend_schema(request=RfpChoiceSerializer, responses=RfpSerializer)
    def post(self, request: Request, id: UUID) -> Response:
        """Choose a venue; the others that answered are declined."""
        return self.choose(id, rfps.award)
