"""Pages of what systems are told."""

import time
from typing import Any
from uuid import UUID, uuid4

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminURLInputWidget

from accounts import limits
from accounts.access import Right
from accounts.admin import TenantAdmin
from audit import clock
from audit.columns import Column, label, link, rows
from audit.events import KINDS
from audit.filters import KindFilter
from audit.pages import Admin, Answer, FunctionForm, Rows, action, arguments
from notifications import webhook_deliveries, webhooks
from notifications.models import StreamCursor, WebhookDelivery, WebhookEndpoint

TURN = 20  # seconds, after which no further test is sent for one click
COLOURS = {"pending": "info", "delivered": "success", "failed": "danger", "dismissed": "warning"}


class EndpointForm(FunctionForm):
    """An endpoint; its kinds are ticked."""

    url = forms.CharField(max_length=500, label="URL", widget=UnfoldAdminURLInputWidget)
    kinds = forms.MultipleChoiceField(
        choices=[(kind, kind) for kind in sorted(KINDS)],
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
    )

    class Meta:
        model = WebhookEndpoint
        fields = ("tenant", "url", "kinds", "is_active")


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(TenantAdmin):
    """Where tenants' own systems are told of events."""

    adds = edits = True
    right = edit_right = Right.MANAGE
    subject = "webhook"
    form = EndpointForm
    list_display = ("url", "is_active", "failing_since", "disabled_at", "disabled_reason")
    list_filter = ("is_active",)
    search_fields = ("url",)
    ordering = ("-created_at", "pk")
    readonly_fields = (
        "failing_since", "rests_until", "disabled_at", "disabled_reason", "old_secret_until",
    )  # fmt: skip
    links: tuple[Column, ...] = (
        rows(title="Deliveries", of="notifications_webhookdelivery", by="endpoint__id__exact"),
    )
    actions = ("test", "rotate", "remove")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        asked = ("tenant", "url", "kinds")
        return (*asked, "is_active", *self.readonly_fields) if obj else asked

    def save_model(
        self, request: HttpRequest, obj: WebhookEndpoint, form: Any, change: bool
    ) -> None:
        """Add the endpoint and show its secret, or change it."""
        given = arguments(form=form, changed=change)
        if not change:
            made, secret = webhooks.add(**given)
            obj.pk = made.pk
            self._show(request, made, secret)
        elif given:
            webhooks.change(tenant_id=obj.tenant_id, endpoint_id=obj.pk, changes=given)

    @action(description="Send a test")
    def test(self, request: HttpRequest, rows: Rows) -> Answer:
        """Send a test to endpoints at once, as often as by the API, and say what came of it."""
        end = time.monotonic() + TURN
        for endpoint in rows:
            if time.monotonic() >= end:
                text = f"{endpoint}: not tested, the others took too long"
                self.message_user(request, text, messages.ERROR)
                continue
            tenant = endpoint.tenant_id
            wait = limits.count(limit="webhook_test", who=str(tenant), tenant=tenant)
            if wait:
                text = f"{endpoint}: too many tests, wait {wait} s"
                self.message_user(request, text, messages.ERROR)
                continue
            answer = webhooks.probe(endpoint=endpoint, message_id=str(uuid4()), now=clock.now())
            said = f"{answer.status or 'no answer'} {answer.reason}".strip()
            level = messages.SUCCESS if answer.is_taken else messages.ERROR
            self.message_user(request, f"{endpoint}: {said}", level)
        return None

    @action(description="Give a new secret")
    def rotate(self, request: HttpRequest, rows: Rows) -> Answer:
        """Give endpoints new secrets, and show them once."""

        def call(*, endpoint_id: UUID, now: Any, **_: Any) -> None:
            row = tenants[endpoint_id]
            endpoint, secret = webhooks.rotate(
                tenant_id=row.tenant_id, endpoint_id=endpoint_id, now=now
            )
            self._show(request, endpoint, secret)

        tenants = {row.pk: row for row in rows}
        return self.run(request, rows, call, id="endpoint_id", done="New secrets")

    @action(description="Remove")
    def remove(self, request: HttpRequest, rows: Rows) -> Answer:
        """Delete endpoints and what they were told."""

        def call(*, endpoint_id: UUID, **_: Any) -> None:
            webhooks.remove(tenant_id=tenants[endpoint_id], endpoint_id=endpoint_id)

        tenants = {row.pk: row.tenant_id for row in rows}
        return self.run(request, rows, call, id="endpoint_id", done="Removed")

    def _show(self, request: HttpRequest, endpoint: WebhookEndpoint, secret: str) -> None:
        text = f"The secret of {endpoint}, shown only now: {secret}"
        self.message_user(request, text, messages.WARNING)


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(TenantAdmin):
    """What endpoints are told, and what became of it."""

    right = edit_right = Right.MANAGE
    list_display = (
        "created_at", "kind", label(colours=COLOURS), "attempts", "response_status", "reason",
        "next_attempt_at", link(field="endpoint"),
    )  # fmt: skip
    asked_by = ("endpoint",)
    list_filter = ("status", KindFilter)
    list_select_related = ("endpoint",)
    ids = ("pk", "event_id")
    search_fields = ("pk",)
    ordering = ("-pk",)
    fields = (
        "tenant", link(field="endpoint"), "event_id", "seq", "kind", "status", "attempts",
        "next_attempt_at", "failing_since", "response_status", "reason", "delivered_at",
    )  # fmt: skip
    actions = ("retry", "dismiss")

    @action(description="Retry", status=webhook_deliveries.RETRIED)
    def retry(self, request: HttpRequest, rows: Rows) -> Answer:
        """Try deliveries again with the next sweep, each in its place, where endpoints are on."""

        def call(*, delivery_id: UUID, now: Any, **_: Any) -> None:
            webhook_deliveries.retry(
                tenant_id=tenants[delivery_id], delivery_id=delivery_id, now=now
            )

        tenants = {row.pk: row.tenant_id for row in rows}
        return self.run(request, rows, call, id="delivery_id", done="To be sent again")

    @action(description="Dismiss", status={webhook_deliveries.FAILED})
    def dismiss(self, request: HttpRequest, rows: Rows) -> Answer:
        """Put deliveries aside."""

        def call(*, delivery_id: UUID, **_: Any) -> None:
            webhook_deliveries.dismiss(tenant_id=tenants[delivery_id], delivery_id=delivery_id)

        tenants = {row.pk: row.tenant_id for row in rows}
        return self.run(request, rows, call, id="delivery_id", done="Dismissed")


@admin.register(StreamCursor)
class StreamCursorAdmin(Admin):
    """How far streams were written."""

    list_display = ("name", "seq", "claimed_until")
    fields = ("name", "seq", "claimed_until")
