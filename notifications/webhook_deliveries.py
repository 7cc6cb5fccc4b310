"""Webhook deliveries: what becomes of one event that one endpoint is told.

The one sender of an endpoint takes what is due in the order of the events, sends it outside of any
transaction, and notes the outcome in one. It stops at the first that fails: the endpoint rests, and
no other waits for it. A sender that is killed leaves its claim to lapse; what it had is sent again,
with the same id.
"""

from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q, QuerySet

from audit.errors import NotFound, Refused
from notifications import bodies, webhooks
from notifications.models import WebhookDelivery, WebhookEndpoint
from notifications.outbound import Answer

PENDING = WebhookDelivery.Status.PENDING
FAILED = WebhookDelivery.Status.FAILED
RETRIED = {PENDING, FAILED}
KEEP = timedelta(days=30)


class NotFailed(Refused):
    """The delivery did not fail, or was dismissed."""

    code = "not_failed"


def next_due(*, endpoint_id: UUID, now: datetime) -> WebhookDelivery | None:
    """Return the first delivery that is due to an endpoint."""
    found = WebhookDelivery.objects.filter(
        endpoint=endpoint_id, status=PENDING, next_attempt_at__lte=now
    )
    return found.order_by("seq").first()


def deliver(*, endpoint: WebhookEndpoint, delivery: WebhookDelivery, now: datetime) -> Answer:
    """Send a delivery; outside of any transaction. Its id is the event's, however often."""
    [body] = bodies.read(event_ids=[delivery.event_id])
    message_id = str(delivery.event_id)
    return webhooks.send(endpoint=endpoint, message_id=message_id, body=body, now=now)


@transaction.atomic
def note_answer(*, delivery: WebhookDelivery, answer: Answer, now: datetime) -> None:
    """Note what came of a delivery, and of its endpoint.

    One that fails is tried again for a day. With an endpoint that is disabled, all that it was
    still to be told fails. Locks endpoint, delivery.
    """
    mine = Q(pk=delivery.pk, attempts=delivery.attempts, status=PENDING)
    if answer.is_taken:
        webhooks.note_success(endpoint_id=delivery.endpoint_id)
        WebhookDelivery.objects.filter(mine).update(
            status=WebhookDelivery.Status.DELIVERED,
            attempts=F("attempts") + 1,
            response_status=answer.status,
            reason="",
            next_attempt_at=None,
            failing_since=None,
            delivered_at=now,
        )
        return
    disabled = webhooks.note_failure(endpoint_id=delivery.endpoint_id, answer=answer, now=now)
    since = delivery.failing_since or now
    over = disabled or now >= since + webhooks.PATIENCE
    WebhookDelivery.objects.filter(mine).update(
        status=FAILED if over else PENDING,
        attempts=F("attempts") + 1,
        response_status=answer.status,
        reason=answer.reason,
        failing_since=since,
        next_attempt_at=None if over else webhooks.next_attempt(failing_since=since, now=now),
    )
    if disabled:
        WebhookDelivery.objects.filter(endpoint=delivery.endpoint_id, status=PENDING).update(
            status=FAILED, reason="endpoint_disabled", next_attempt_at=None
        )


@transaction.atomic
def retry(*, tenant_id: UUID, delivery_id: UUID, now: datetime) -> WebhookDelivery:
    """Let a delivery that failed, or that waits to be tried again, be sent with the next sweep.

    Its endpoint's rest ends, so what else it is to be told is tried, too, each in its place. One
    that is switched off is told nothing before it is on. Locks endpoint, delivery.

    :raises NotFound: if it is not one of the tenant's.
    :raises NotFailed: if it was delivered or dismissed.
    """
    webhooks.wake(tenant_id=tenant_id, delivery_id=delivery_id)
    delivery = _lock(tenant_id=tenant_id, delivery_id=delivery_id)
    if delivery.status not in RETRIED:
        raise NotFailed(f"Delivery {delivery_id} is {delivery.status}.", field="delivery")
    WebhookDelivery.objects.filter(pk=delivery_id, status__in=RETRIED).update(
        status=PENDING, next_attempt_at=now, failing_since=None, reason=""
    )
    delivery.refresh_from_db()
    return delivery


@transaction.atomic
def dismiss(*, tenant_id: UUID, delivery_id: UUID) -> WebhookDelivery:
    """Put a delivery that failed aside. Locks delivery.

    :raises NotFound: if it is not one of the tenant's.
    :raises NotFailed: unless it failed.
    """
    delivery = _lock(tenant_id=tenant_id, delivery_id=delivery_id)
    if delivery.status != FAILED:
        raise NotFailed(f"Delivery {delivery_id} is {delivery.status}.", field="delivery")
    WebhookDelivery.objects.filter(pk=delivery_id, status=FAILED).update(
        status=WebhookDelivery.Status.DISMISSED
    )
    delivery.refresh_from_db()
    return delivery


def prune(*, now: datetime) -> int:
    """Delete what was delivered, or put aside, more than `KEEP` ago; return how many."""
    ended = [WebhookDelivery.Status.DELIVERED, WebhookDelivery.Status.DISMISSED]
    found = WebhookDelivery.objects.filter(status__in=ended, updated_at__lt=now - KEEP)
    return found.delete()[0]


def of(*, endpoint: WebhookEndpoint) -> QuerySet[WebhookDelivery]:
    """Return what an endpoint is told, the newest first."""
    return WebhookDelivery.objects.filter(endpoint=endpoint).order_by("-event_id")


def _lock(*, tenant_id: UUID, delivery_id: UUID) -> WebhookDelivery:
    found = WebhookDelivery.objects.select_for_update(no_key=True)
    delivery = found.filter(tenant=tenant_id, pk=delivery_id).first()
    if delivery is None:
        raise NotFound("delivery", delivery_id)
    return delivery
