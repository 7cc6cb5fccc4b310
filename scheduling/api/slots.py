from collections.abc import Mapping
from typing import ClassVar
from uuid import UUID

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import rows
from accounts.bodies import Body
from accounts.filters import SortFilter
from accounts.roles import Role
from accounts.views import ApiView, RowsView, RowView, read
from audit import clock
from scheduling import scopes, slots
from scheduling.models import Slot


class SlotSerializer(serializers.ModelSerializer[Slot]):
    facility = serializers.UUIDField(source="facility_id", read_only=True)
    provider = serializers.UUIDField(source="provider_id", read_only=True)
    service = serializers.UUIDField(source="service_id", read_only=True, allow_null=True)
    starts_at = serializers.DateTimeField(source="period.lower", read_only=True)
    ends_at = serializers.DateTimeField(source="period.upper", read_only=True)
    reserved_by = serializers.UUIDField(
        source="reserved_by_id", read_only=True, allow_null=True, help_text="a patient"
    )

    class Meta:
        model = Slot
        fields = (
            "id", "facility", "provider", "service", "starts_at", "ends_at", "status",
            "reserved_until", "reserved_by", "created_at", "updated_at",
        )  # fmt: skip
        read_only_fields = fields


class ReservationSerializer(Body):
    patient = serializers.UUIDField(required=False, help_text="needed unless one reserves oneself")


class TimesFilter(filters.FilterSet):  # type: ignore[misc]
    """Rows of a facility that have a period."""

    facility = filters.UUIDFilter(field_name="facility_id")
    provider = filters.UUIDFilter(field_name="provider_id")
    service = filters.UUIDFilter(field_name="service_id")
    locals()["from"] = filters.IsoDateTimeFilter(
        field_name="period", lookup_expr="startswith__gte", label="Begins then or later."
    )
    to = filters.IsoDateTimeFilter(
        field_name="period", lookup_expr="startswith__lt", label="Begins before."
    )
    # Ids sort by the time of their making.
    sort = SortFilter(fields={"period__startswith": "starts_at", "id": "created_at"})


class SlotFilter(TimesFilter):
    status = filters.ChoiceFilter(choices=Slot.Status.choices)
    service = filters.UUIDFilter(
        method="taking", label="Which this service can be booked in: its own, and those of none."
    )

    def taking(self, queryset: QuerySet[Slot], name: str, value: UUID) -> QuerySet[Slot]:
        return slots.taking(rows=queryset, service_id=value)


class SlotsView(RowsView):
    """What can be booked; for patients what they may book now, and nothing else."""

    serializer_class = SlotSerializer
    filterset_class = SlotFilter

    def rows(self) -> QuerySet[Slot]:
        found = scopes.slots(caller=self.caller).order_by("period__startswith", "id")
        if self.caller.role == Role.PATIENT:
            return slots.bookable(rows=found, now=clock.now())
        return found


class SlotView(RowView):
    serializer_class = SlotSerializer
    noun: ClassVar[str] = "slot"

    def rows(self) -> QuerySet[Slot]:
        return scopes.slots(caller=self.caller)


class ReserveView(ApiView, GenericAPIView[Slot]):
    serializer_class = ReservationSerializer
    problems: ClassVar = {"POST": (*slots.UNCLAIMABLE, slots.TooManyReserved)}

    @extend_schema(responses=SlotSerializer)
    def post(self, request: Request, id: UUID) -> Response:
        """Keep an open slot for a patient for ten minutes."""
        rows.find(rows=scopes.slots(caller=self.caller), id=id, field="slot")
        given: Mapping[str, UUID] = read(view=self)
        patient_id = scopes.find_patient(caller=self.caller, given=given.get("patient"))
        slot = slots.reserve(
            slot_id=id, patient_id=patient_id, actor=self.caller.actor, now=clock.now()
        )
        return Response(SlotSerializer(slot).data)


class ReleaseView(ApiView):
    problems: ClassVar = {"POST": (slots.NotReserved,)}

    @extend_schema(request=None, responses=SlotSerializer)
    def post(self, request: Request, id: UUID) -> Response:
        """Give a reservation up; a patient only their own."""
        rows.find(rows=scopes.slots(caller=self.caller), id=id, field="slot")
        slot = slots.release(
            slot_id=id,
            patient_id=self.caller.patient_id,
            actor=self.caller.actor,
            now=clock.now(),
        )
        return Response(SlotSerializer(slot).data)
