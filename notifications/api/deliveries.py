"""What a tenant tells people, and what became of it; for admins."""

from typing import ClassVar
from uuid import UUID

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.filters import SortFilter
from accounts.views import RowsView, RowView
from audit import clock
from notifications import messages, scopes
from notifications.kinds import CHOICES
from notifications.models import Channel, Message


class DeliveryAnswer(serializers.ModelSerializer[Message]):
    """One message to one person; neither its text nor the address is kept."""

    kind = serializers.ChoiceField(choices=CHOICES)
    event = serializers.UUIDField(source="event_id")

    class Meta:
        model = Message
        fields = (
            "id", "event", "kind", "channel", "facility", "entry", "hold", "appointment", "patient",
            "user", "status", "reason", "attempts", "next_attempt_at", "deadline",
            "provider_message_id", "created_at", "sent_at", "delivered_at", "closed_at",
        )  # fmt: skip


class DeliveryFilter(filters.FilterSet):  # type: ignore[misc]
    status = filters.ChoiceFilter(choices=Message.Status.choices)
    channel = filters.ChoiceFilter(choices=Channel.choices)
    kind = filters.ChoiceFilter(choices=CHOICES)
    facility = filters.UUIDFilter(field_name="facility_id")
    patient = filters.UUIDFilter(field_name="patient_id")
    entry = filters.UUIDFilter(field_name="entry_id")
    sort = SortFilter(fields=("created_at",))


class DeliveriesView(RowsView):
    serializer_class = DeliveryAnswer
    filterset_class = DeliveryFilter

    def rows(self) -> QuerySet[Message]:
        return scopes.deliveries(caller=self.caller).order_by("-id")


class DeliveryView(RowView):
    serializer_class = DeliveryAnswer
    noun: ClassVar[str] = "delivery"

    def rows(self) -> QuerySet[Message]:
        return scopes.deliveries(caller=self.caller)

    def get(self, request: Request, id: UUID) -> Response:
        """Read what became of a message."""
        return self.show(row=self.find(id))


class DeliveryRetryView(DeliveryView):
    http_method_names: ClassVar[list[str]] = ["post"]  # type: ignore[misc]
    problems: ClassVar = {"POST": (messages.NotFailed,)}

    @extend_schema(request=None, responses=DeliveryAnswer)
    def post(self, request: Request, id: UUID) -> Response:
        """Send a message that failed once more."""
        self.find(id)
        return self.show(row=messages.retry(message_id=id, now=clock.now()))


class DeliveryDismissView(DeliveryView):
    http_method_names: ClassVar[list[str]] = ["post"]  # type: ignore[misc]
    problems: ClassVar = {"POST": (messages.NotFailed,)}

    @extend_schema(request=None, responses=DeliveryAnswer)
    def post(self, request: Request, id: UUID) -> Response:
        """Put a message that failed aside."""
        self.find(id)
        return self.show(row=messages.dismiss(message_id=id, now=clock.now()))
