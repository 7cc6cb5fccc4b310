from typing import ClassVar
from uuid import UUID

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.bodies import Body
from accounts.filters import SortFilter
from accounts.views import RowsView, RowView, wanted_version
from audit import clock
from scheduling import blocks
from scheduling.api.appointments import AppointmentSerializer
from scheduling.api.rules import but_same, check_references
from scheduling.blocks import Blocked
from scheduling.models import TimeBlock


class BlockSerializer(Body, serializers.ModelSerializer[TimeBlock]):
    facility = serializers.UUIDField(source="facility_id")
    provider = serializers.UUIDField(
        source="provider_id", required=False, allow_null=True, help_text="all, if none is given"
    )
    starts_at = serializers.DateTimeField(source="period.lower")
    ends_at = serializers.DateTimeField(source="period.upper")

    class Meta:
        model = TimeBlock
        fields = (
            "id", "facility", "provider", "starts_at", "ends_at", "reason", "version",
            "created_at", "updated_at",
        )  # fmt: skip
        read_only_fields = ("id", "version", "created_at", "updated_at")


class BlockedSerializer(BlockSerializer):
    """A new block with the booked appointments under it, which staff must settle."""

    conflicts = AppointmentSerializer(many=True, read_only=True)

    class Meta(BlockSerializer.Meta):
        fields = (*BlockSerializer.Meta.fields, "conflicts")  # type: ignore[assignment]


class BlockFilter(filters.FilterSet):  # type: ignore[misc]
    facility = filters.UUIDFilter(field_name="facility_id")
    provider = filters.UUIDFilter(field_name="provider_id")
    locals()["from"] = filters.IsoDateTimeFilter(
        field_name="period", lookup_expr="endswith__gt", label="Ends later."
    )
    to = filters.IsoDateTimeFilter(
        field_name="period", lookup_expr="startswith__lt", label="Begins before."
    )
    sort = SortFilter(fields={"period": "starts_at", "created_at": "created_at"})


class BlocksView(RowsView):
    serializer_class = BlockSerializer
    filterset_class = BlockFilter

    def rows(self) -> QuerySet[TimeBlock]:
        found = TimeBlock.objects.filter(tenant=self.caller.tenant_id)
        return found.order_by("period", "id")

    @extend_schema(responses={201: BlockedSerializer})
    def post(self, request: Request) -> Response:
        """Block a period: what is open becomes blocked, what is booked is answered as conflicts."""
        body = BlockSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        given = body.validated_data
        check_references(caller=self.caller, values=given)
        made = blocks.create(
            facility_id=given["facility_id"],
            provider_id=given.get("provider_id"),
            starts_at=given["period"]["lower"],
            ends_at=given["period"]["upper"],
            reason=given.get("reason", ""),
            actor=self.caller.actor,
            now=clock.now(),
        )
        made.block.refresh_from_db()
        return _with_conflicts(response=self.made(row=made.block), blocked=made)


class BlockView(RowView):
    serializer_class = BlockSerializer
    noun: ClassVar[str] = "block"

    def rows(self) -> QuerySet[TimeBlock]:
        return TimeBlock.objects.filter(tenant=self.caller.tenant_id)

    @extend_schema(responses=BlockedSerializer)
    def patch(self, request: Request, id: UUID) -> Response:
        """Move a block or change its reason; slots follow, what is booked is answered."""
        block = self.find(id)
        given = self.read(partial=True)
        check_references(caller=self.caller, values=given)
        period = given.pop("period", {})
        times = {"lower": "starts_at", "upper": "ends_at"}
        changes = given | {times[bound]: at for bound, at in period.items()}
        changed = blocks.change(
            block_id=id,
            changes=but_same(changes=changes, row=block),
            actor=self.caller.actor,
            now=clock.now(),
            version=wanted_version(request=request),
        )
        return _with_conflicts(response=self.show(row=changed.block), blocked=changed)

    def delete(self, request: Request, id: UUID) -> Response:
        """Take a block away: its slots open again, unless another block overlaps them."""
        self.find(id)
        blocks.remove(
            block_id=id,
            actor=self.caller.actor,
            now=clock.now(),
            version=wanted_version(request=request),
        )
        return Response(status=204)


def _with_conflicts(*, response: Response, blocked: Blocked) -> Response:
    response.data["conflicts"] = AppointmentSerializer(blocked.conflicts, many=True).data
    return response
