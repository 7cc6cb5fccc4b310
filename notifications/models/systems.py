"""What is told to systems."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from accounts.models import TenantRow
from audit import triggers
from audit.triggers import Move
from scheduling.models import Versioned

# As in the apps below: the legal moves, and a function that makes each.
MOVES: dict[str, dict[Move, str]] = {
    "WebhookDelivery": {
        (None, "pending"): "notifications.relay.relay",
        ("pending", "delivered"): "notifications.webhook_deliveries.note_answer",
        ("pending", "failed"): "notifications.webhook_deliveries.note_answer",
        ("failed", "pending"): "notifications.webhook_deliveries.retry",
        ("failed", "dismissed"): "notifications.webhook_deliveries.dismiss",
    },
}


class WebhookEndpoint(Versioned):
    """Where a tenant's own system is told of events, of the kinds chosen.

    Secrets are encrypted. `claimed_until` is when the sender that has it is given up for lost,
    `failing_since` when it failed first after it last took something, `rests_until` when it is
    tried again then.
    """

    url = models.CharField(max_length=500)
    kinds = ArrayField(models.CharField(max_length=40))
    is_active = models.BooleanField(default=True)
    secret = models.TextField(editable=False)
    old_secret = models.TextField(blank=True, editable=False)
    old_secret_until = models.DateTimeField(null=True, editable=False)
    claimed_until = models.DateTimeField(null=True, editable=False)
    failing_since = models.DateTimeField(null=True, editable=False)
    rests_until = models.DateTimeField(null=True, editable=False)
    disabled_at = models.DateTimeField(null=True, editable=False)
    disabled_reason = models.CharField(max_length=50, blank=True, editable=False)

    class Meta:
        # What its sender notes is no change of the row to those who edit it.
        triggers = [
            triggers.touch(version=True, of=["url", "kinds", "is_active", "secret", "disabled_at"])
        ]
        constraints = [
            models.CheckConstraint(
                name="endpoint_url",
                condition=Q(url__startswith="https://") | Q(url__startswith="http://"),
            ),
            models.CheckConstraint(name="endpoint_kinds", condition=Q(kinds__len__gt=0)),
            models.CheckConstraint(name="endpoint_secret", condition=~Q(secret="")),
            models.CheckConstraint(
                name="endpoint_old_secret",
                condition=Q(old_secret="", old_secret_until__isnull=True)
                | ~Q(old_secret="") & Q(old_secret_until__isnull=False),
            ),
            models.CheckConstraint(
                name="endpoint_rests_until",
                condition=Q(rests_until__isnull=True) | Q(failing_since__isnull=False),
            ),
            models.CheckConstraint(
                name="endpoint_disabled_at",
                condition=Q(disabled_at__isnull=True, disabled_reason="")
                | Q(disabled_at__isnull=False, is_active=False) & ~Q(disabled_reason=""),
            ),
        ]
        indexes = [models.Index(fields=["tenant", "id"], name="endpoint_tenant")]

    def __str__(self) -> str:
        return self.url


class WebhookDelivery(TenantRow):
    """One event that an endpoint is told. No body is kept; it follows from the event.

    `seq` is the event's place in the order, `next_attempt_at` when it is due, `failing_since` when
    it failed first.
    """

    class Status(models.TextChoices):
        PENDING = "pending"
        DELIVERED = "delivered"
        FAILED = "failed"
        DISMISSED = "dismissed"  # failed, then put aside by a person

    endpoint = models.ForeignKey(
        WebhookEndpoint, on_delete=models.CASCADE, related_name="deliveries", db_index=False
    )
    event_id = models.UUIDField()
    seq = models.BigIntegerField()
    kind = models.CharField(max_length=40)
    status = models.CharField(max_length=10, choices=Status, default=Status.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True)
    failing_since = models.DateTimeField(null=True)
    response_status = models.PositiveSmallIntegerField(null=True)
    reason = models.CharField(max_length=50, blank=True, help_text="why not, a code")
    delivered_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name_plural = "webhook deliveries"
        triggers = [*triggers.state_machine(moves=MOVES["WebhookDelivery"]), triggers.touch()]
        constraints = [
            models.UniqueConstraint(fields=["endpoint", "event_id"], name="delivery_once"),
            models.CheckConstraint(
                name="delivery_next_attempt_at",
                condition=Q(status="pending", next_attempt_at__isnull=False)
                | ~Q(status="pending") & Q(next_attempt_at__isnull=True),
            ),
            models.CheckConstraint(
                name="delivery_delivered_at",
                condition=Q(status="delivered", delivered_at__isnull=False, reason="")
                | ~Q(status="delivered") & Q(delivered_at__isnull=True),
            ),
            models.CheckConstraint(
                name="delivery_reason",
                condition=~Q(status__in=["failed", "dismissed"]) | ~Q(reason=""),
            ),
        ]
        indexes = [
            models.Index(
                fields=["endpoint", "seq"], name="delivery_due", condition=Q(status="pending")
            ),
            # The lists: of an endpoint, which the unique key sorts, and of what failed.
            models.Index(
                fields=["endpoint", "event_id"],
                name="delivery_failed",
                condition=Q(status="failed"),
            ),
            models.Index(fields=["tenant", "id"], name="delivery_tenant"),
        ]

    def __str__(self) -> str:
        return f"{self.kind}, {self.status}"


class StreamCursor(models.Model):
    """How far a stream was written: up to the event of this place.

    `claimed_until` is when the sender that writes it is given up for lost.
    """

    name = models.CharField(primary_key=True, max_length=249)
    seq = models.BigIntegerField(default=0)
    claimed_until = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.CheckConstraint(name="cursor_seq", condition=Q(seq__gte=0))]

    def __str__(self) -> str:
        return f"{self.name} up to {self.seq}"
