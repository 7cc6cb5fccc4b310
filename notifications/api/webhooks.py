"""Webhooks of a tenant: endpoints, their secrets, and what became of deliveries."""

from typing import Any, ClassVar
from uuid import UUID, uuid4

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import Throttled
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import limits, rows
from accounts.bodies import Body
from accounts.filters import SortFilter
from accounts.views import ApiView, RowsView, RowView, wanted_version, with_etag
from audit import clock
from audit.events import KINDS
from notifications import webhook_deliveries, webhooks
from notifications.models import WebhookDelivery, WebhookEndpoint
from notifications.webhook_deliveries import NotFailed

KIND_CHOICES = [(kind, kind) for kind in sorted(KINDS)]


class EndpointSerializer(Body, serializers.ModelSerializer[WebhookEndpoint]):
    """Where a tenant's own system is told of events."""

    kinds = serializers.ListField(
        child=serializers.ChoiceField(choices=KIND_CHOICES), allow_empty=False
    )

    class Meta:
        model = WebhookEndpoint
        fields = (
            "id", "url", "kinds", "is_active", "failing_since", "disabled_at", "disabled_reason",
            "old_secret_until", "version", "created_at", "updated_at",
        )  # fmt: skip
        read_only_fields = (
            "id", "failing_since", "disabled_at", "disabled_reason", "old_secret_until", "version",
            "created_at", "updated_at",
        )  # fmt: skip


class NewEndpoint(Body, serializers.ModelSerializer[WebhookEndpoint]):
    """What an endpoint is made of."""

    kinds = serializers.ListField(
        child=serializers.ChoiceField(choices=KIND_CHOICES), allow_empty=False
    )

    class Meta:
        model = WebhookEndpoint
        fields = ("url", "kinds")


class EndpointWithSecret(EndpointSerializer):
    """An endpoint with its secret, which is not shown again."""

    secret = serializers.CharField()

    class Meta(EndpointSerializer.Meta):
        fields = (*EndpointSerializer.Meta.fields, "secret")  # type: ignore[assignment]


class TestAnswer(serializers.Serializer[Any]):
    """What came of a test; `reason` is a code, empty if it was taken."""

    is_taken = serializers.BooleanField()
    response_status = serializers.IntegerField(source="status", allow_null=True)
    reason = serializers.CharField()


class DeliverySerializer(serializers.ModelSerializer[WebhookDelivery]):
    """One event that an endpoint is told, and what became of that."""

    endpoint = serializers.UUIDField(source="endpoint_id")
    status = serializers.ChoiceField(choices=WebhookDelivery.Status.choices)

    class Meta:
        model = WebhookDelivery
        fields = (
            "id", "endpoint", "event_id", "seq", "kind", "status", "attempts", "next_attempt_at",
            "response_status", "reason", "delivered_at", "created_at", "updated_at",
        )  # fmt: skip


class EndpointFilter(filters.FilterSet):  # type: ignore[misc]
    active = filters.BooleanFilter(field_name="is_active", label="Whether it is told anything.")
    sort = SortFilter(fields=("created_at",))


class DeliveryFilter(filters.FilterSet):  # type: ignore[misc]
    status = filters.ChoiceFilter(choices=WebhookDelivery.Status.choices)
    kind = filters.ChoiceFilter(choices=KIND_CHOICES)


class EndpointsView(RowsView):
    serializer_class = EndpointSerializer
    filterset_class = EndpointFilter
    idempotent: ClassVar[bool] = False  # the answer holds a secret

    def rows(self) -> QuerySet[WebhookEndpoint]:
        found = WebhookEndpoint.objects.filter(tenant=self.caller.tenant_id)
        return found.order_by("-created_at", "id")

    @extend_schema(request=NewEndpoint, responses={201: EndpointWithSecret})
    def post(self, request: Request) -> Response:
        """Let a system be told of events. The secret is shown here and never again."""
        body = NewEndpoint(data=request.data)
        body.is_valid(raise_exception=True)
        endpoint, secret = webhooks.add(tenant_id=self.caller.tenant_id, **body.validated_data)
        response = self.made(row=endpoint)
        response.data |= {"secret": secret}
        return response


class EndpointView(RowView):
    serializer_class = EndpointSerializer
    noun: ClassVar[str] = "webhook"

    def rows(self) -> QuerySet[WebhookEndpoint]:
        return WebhookEndpoint.objects.filter(tenant=self.caller.tenant_id)

    def patch(self, request: Request, id: UUID) -> Response:
        """Change an endpoint. One that was disabled is told things again once it is active."""
        self.find(id)
        row = webhooks.change(
            tenant_id=self.caller.tenant_id,
            endpoint_id=id,
            changes=self.read(partial=True),
            version=wanted_version(request=request),
        )
        return self.show(row=row)

    def delete(self, request: Request, id: UUID) -> Response:
        """Delete an endpoint, and the record of what it was told."""
        webhooks.remove(
            tenant_id=self.caller.tenant_id,
            endpoint_id=id,
            version=wanted_version(request=request),
        )
        return Response(status=204)


class RotateView(ApiView, GenericAPIView[Any]):
    """A new secret."""

    serializer_class = EndpointWithSecret
    idempotent: ClassVar[bool] = False  # the answer holds a secret
    updates: ClassVar[bool] = True

    @extend_schema(request=None, responses=EndpointWithSecret)
    def post(self, request: Request, id: UUID) -> Response:
        """Give an endpoint a new secret, shown once. The old one signs, too, for 24 hours."""
        endpoint, secret = webhooks.rotate(
            tenant_id=self.caller.tenant_id,
            endpoint_id=id,
            now=clock.now(),
            version=wanted_version(request=request),
        )
        response = Response({**EndpointSerializer(endpoint).data, "secret": secret})
        return with_etag(response=response, version=endpoint.version)


class TestView(ApiView, GenericAPIView[Any]):
    """A test."""

    serializer_class = TestAnswer
    idempotent: ClassVar[bool] = False  # nothing is sent from within a transaction
    problems: ClassVar = {"POST": (Throttled,)}

    @extend_schema(request=None, responses=TestAnswer)
    def post(self, request: Request, id: UUID) -> Response:
        """Send a `webhook.test` now, and say what came of it."""
        mine = WebhookEndpoint.objects.filter(tenant=self.caller.tenant_id)
        endpoint = rows.find(rows=mine, id=id, field="webhook")
        tenant = self.caller.tenant_id
        limits.check(limit="webhook_test", who=str(tenant), tenant=tenant)
        answer = webhooks.probe(endpoint=endpoint, message_id=str(uuid4()), now=clock.now())
        return Response(TestAnswer(answer).data)


class DeliveriesView(RowsView):
    """What an endpoint is told."""

    serializer_class = DeliverySerializer
    filterset_class = DeliveryFilter

    def rows(self) -> QuerySet[WebhookDelivery]:
        mine = WebhookEndpoint.objects.filter(tenant=self.caller.tenant_id)
        endpoint = rows.find(rows=mine, id=self.kwargs["id"], field="webhook")
        return webhook_deliveries.of(endpoint=endpoint)

    def get(self, request: Request, id: UUID) -> Response:  # type: ignore[override]
        """List what an endpoint is told, the newest first."""
        return self.list(request)


class RetryView(ApiView, GenericAPIView[Any]):
    """Another attempt."""

    serializer_class = DeliverySerializer
    problems: ClassVar = {"POST": (NotFailed,)}

    @extend_schema(request=None, responses=DeliverySerializer)
    def post(self, request: Request, id: UUID) -> Response:
        """Let a delivery that failed, or waits to be tried again, be tried with the next sweep.

        That is within a minute, and in its place: after what is due before it, if that is taken.
        Its endpoint rests no longer. One that is switched off is told nothing before it is on.
        """
        row = webhook_deliveries.retry(
            tenant_id=self.caller.tenant_id, delivery_id=id, now=clock.now()
        )
        return Response(DeliverySerializer(row).data)


class DismissView(ApiView, GenericAPIView[Any]):
    """The end of a delivery."""

    serializer_class = DeliverySerializer
    problems: ClassVar = {"POST": (NotFailed,)}

    @extend_schema(request=None, responses=DeliverySerializer)
    def post(self, request: Request, id: UUID) -> Response:
        """Put a delivery that failed aside."""
        row = webhook_deliveries.dismiss(tenant_id=self.caller.tenant_id, delivery_id=id)
        return Response(DeliverySerializer(row).data)
