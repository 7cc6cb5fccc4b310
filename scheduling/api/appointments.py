from collections.abc import Callable
from typing import Any, ClassVar
from uuid import UUID

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import rows
from accounts.bodies import Body
from accounts.roles import Role
from accounts.views import RowsView, RowView, wanted_version
from audit import clock
from scheduling import appointments, scopes, slots
from scheduling.api.slots import TimesFilter
from scheduling.models import Appointment


class AppointmentSerializer(serializers.ModelSerializer[Appointment]):
    slot = serializers.UUIDField(source="slot_id", read_only=True)
    patient = serializers.UUIDField(source="patient_id", read_only=True)
    facility = serializers.UUIDField(source="facility_id", read_only=True)
    provider = serializers.UUIDField(source="provider_id", read_only=True)
    service = serializers.UUIDField(source="service_id", read_only=True, allow_null=True)
    starts_at = serializers.DateTimeField(source="period.lower", read_only=True)
    ends_at = serializers.DateTimeField(source="period.upper", read_only=True)

    class Meta:
        model = Appointment
        fields = (
            "id", "slot", "patient", "facility", "provider", "service", "starts_at", "ends_at",
            "status", "source", "cancelled_at", "cancellation_reason", "version", "created_at",
            "updated_at",
        )  # fmt: skip
        read_only_fields = fields


class BookingSerializer(Body):
    slot = serializers.UUIDField(help_text="an open slot, or one reserved for the patient")
    patient = serializers.UUIDField(required=False, help_text="needed unless one books oneself")


class CancellationSerializer(Body):
    reason = serializers.ChoiceField(choices=appointments.REASONS)


class MoveSerializer(Body):
    slot = serializers.UUIDField(help_text="an open slot, or one reserved for the patient")


class AppointmentFilter(TimesFilter):
    patient = filters.UUIDFilter(field_name="patient_id")
    status = filters.ChoiceFilter(choices=Appointment.Status.choices)


class AppointmentsView(RowsView):
    serializer_class = AppointmentSerializer
    filterset_class = AppointmentFilter
    problems: ClassVar = {"POST": (*slots.UNCLAIMABLE, appointments.PatientBusy)}

    def rows(self) -> QuerySet[Appointment]:
        return scopes.appointments(caller=self.caller).order_by("period__startswith", "id")

    @extend_schema(request=BookingSerializer, responses={201: AppointmentSerializer})
    def post(self, request: Request) -> Response:
        """Book a slot for a patient."""
        body = BookingSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        given = body.validated_data
        rows.find(rows=scopes.slots(caller=self.caller), id=given["slot"], field="slot")
        patient_id = scopes.find_patient(caller=self.caller, given=given.get("patient"))
        patient = self.caller.role == Role.PATIENT
        row = appointments.book(
            slot_id=given["slot"],
            patient_id=patient_id,
            source=Appointment.Source.DIRECT if patient else Appointment.Source.STAFF,
            actor=self.caller.actor,
            now=clock.now(),
        )
        return self.made(row=row)


class AppointmentView(RowView):
    serializer_class = AppointmentSerializer
    noun: ClassVar[str] = "appointment"

    def rows(self) -> QuerySet[Appointment]:
        return scopes.appointments(caller=self.caller)

    def change(self, id: UUID, function: Callable[..., Appointment], **given: Any) -> Response:
        """Do something to an appointment that the caller sees, and answer what it is then."""
        row = function(
            appointment_id=id,
            actor=self.caller.actor,
            now=clock.now(),
            version=wanted_version(request=self.request),
            **given,
        )
        return self.show(row=row)


class _ActionView(AppointmentView):
    updates: ClassVar[bool] = True
    http_method_names: ClassVar[list[str]] = ["post"]  # type: ignore[misc]


class CancelView(_ActionView):
    problems: ClassVar = {"POST": (appointments.NotBooked, appointments.AppointmentPast)}

    @extend_schema(request=CancellationSerializer, responses=AppointmentSerializer)
    def post(self, request: Request, id: UUID) -> Response:
        """Cancel an appointment; its slot is free for who waits. A patient before it begins."""
        self.find(id)
        body = CancellationSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        return self.change(id, appointments.cancel, reason=body.validated_data["reason"])


class RescheduleView(_ActionView):
    problems: ClassVar = {
        "POST": (*slots.UNCLAIMABLE, appointments.NotBooked, appointments.AppointmentPast,
                 appointments.PatientBusy)
    }  # fmt: skip

    @extend_schema(request=MoveSerializer, responses=AppointmentSerializer)
    def post(self, request: Request, id: UUID) -> Response:
        """Move an appointment to another slot; the old one is free for who waits."""
        self.find(id)
        body = MoveSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        slot_id = body.validated_data["slot"]
        rows.find(rows=scopes.slots(caller=self.caller), id=slot_id, field="slot")
        return self.change(id, appointments.reschedule, slot_id=slot_id)


class _EndView(_ActionView):
    problems: ClassVar = {
        "POST": (appointments.NotBooked, appointments.NotBegun, appointments.NotYourVisit)
    }

    def rows(self) -> QuerySet[Appointment]:
        return super().rows().select_related("provider")

    def check(self, id: UUID) -> None:
        """Check that the caller may say what became of an appointment.

        :raises NotFound: if they do not see it.
        :raises NotYourVisit: if it is another provider's.
        """
        provider = self.find(id).provider
        if self.caller.role == Role.PROVIDER and provider.user_id != self.caller.user_id:
            raise appointments.NotYourVisit(
                "This appointment is another provider's.", field="appointment"
            )


class CompleteView(_EndView):
    @extend_schema(request=None, responses=AppointmentSerializer)
    def post(self, request: Request, id: UUID) -> Response:
        """Note that the patient came; a provider of their own appointments."""
        self.check(id)
        return self.change(id, appointments.complete)


class NoShowView(_EndView):
    @extend_schema(request=None, responses=AppointmentSerializer)
    def post(self, request: Request, id: UUID) -> Response:
        """Note that the patient did not come; a provider of their own appointments."""
        self.check(id)
        return self.change(id, appointments.miss)
