"""What is told to people, and what they answer."""

import pgtrigger
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from accounts.models import Language, Row, TenantRow, User
from audit import triggers
from audit.triggers import Move
from scheduling.models import Appointment, Facility, Patient, Versioned
from waitlist.models import Hold, WaitlistEntry

# As in the apps below: the legal moves, and a function that makes each.
MOVES: dict[str, dict[Move, str]] = {
    "Message": {
        (None, "queued"): "notifications.relay.relay",
        (None, "delivered"): "notifications.relay.relay",
        (None, "suppressed"): "notifications.relay.relay",
        ("queued", "sent"): "notifications.messages.note_sent",
        ("queued", "failed"): "notifications.messages.note_failure",
        ("queued", "suppressed"): "notifications.messages.suppress",
        ("sent", "delivered"): "notifications.messages.note_report",
        ("sent", "failed"): "notifications.messages.note_report",
        ("sent", "queued"): "notifications.messages.send_as_template",
        ("failed", "queued"): "notifications.messages.retry",
        ("failed", "dismissed"): "notifications.messages.dismiss",
    },
}

# A patient, or a user who works for the tenant.
RECIPIENT = Q(patient__isnull=False, user__isnull=True) | Q(
    patient__isnull=True, user__isnull=False
)


class Channel(models.TextChoices):
    IN_APP = "in_app", "In the app"
    EMAIL = "email", "Email"
    SMS = "sms", "SMS"
    WHATSAPP = "whatsapp", "WhatsApp"


CHANNEL = Q(channel__in=Channel.values)


class KnownPatient(Patient):
    """A patient as messages see them: erased, they leave nothing here by which they are known.

    A provider's id of a message may have a phone number in it, and leads to more at the provider.
    """

    class Meta:
        proxy = True
        triggers = [
            pgtrigger.Trigger(
                name="forget",
                when=pgtrigger.After,
                operation=pgtrigger.UpdateOf("erased_at"),  # type: ignore[no-untyped-call]
                condition=pgtrigger.Q(old__erased_at__isnull=True, new__erased_at__isnull=False),
                func="""
UPDATE notifications_message SET provider_message_id = ''
WHERE patient_id = NEW.id AND provider_message_id <> '';
DELETE FROM notifications_preference WHERE patient_id = NEW.id;
DELETE FROM notifications_calendarfeed WHERE patient_id = NEW.id;
RETURN NULL;
""",
            )
        ]


class Message(TenantRow):
    """What one person is told of one event on one channel. No text and no address is kept.

    `seq` is the event's place in the order, `next_attempt_at` when it is due, `claimed_until` when
    the sender that has it is given up for lost.
    """

    class Status(models.TextChoices):
        QUEUED = "queued"
        SENT = "sent"
        DELIVERED = "delivered"
        FAILED = "failed"
        SUPPRESSED = "suppressed"
        DISMISSED = "dismissed"  # failed, then put aside by a person

    event_id = models.UUIDField()
    seq = models.BigIntegerField()
    kind = models.CharField(max_length=40)
    facility = models.ForeignKey(
        Facility, null=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    entry = models.ForeignKey(
        WaitlistEntry,
        null=True,
        on_delete=models.PROTECT,
        related_name="messages",
        db_index=False,
    )
    hold = models.ForeignKey(
        Hold, null=True, on_delete=models.PROTECT, related_name="messages", db_index=False
    )
    appointment = models.ForeignKey(
        Appointment, null=True, on_delete=models.PROTECT, related_name="messages", db_index=False
    )
    patient = models.ForeignKey(
        Patient, null=True, on_delete=models.PROTECT, related_name="messages", db_index=False
    )
    user = models.ForeignKey(
        User, null=True, on_delete=models.CASCADE, related_name="messages", db_index=False
    )
    channel = models.CharField(max_length=10, choices=Channel)
    status = models.CharField(max_length=10, choices=Status, default=Status.QUEUED)
    reason = models.CharField(max_length=50, blank=True, help_text="why not, a code")
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True)
    claimed_until = models.DateTimeField(null=True)
    template_only = models.BooleanField(
        default=False, db_default=False, help_text="WhatsApp refused our own words for it"
    )
    deadline = models.DateTimeField(null=True, help_text="worth nothing from then on")
    provider_message_id = models.CharField(max_length=200, blank=True)
    sent_at = models.DateTimeField(null=True)
    delivered_at = models.DateTimeField(null=True)
    read_at = models.DateTimeField(null=True)
    closed_at = models.DateTimeField(null=True, help_text="suppressed, failed or dismissed")

    class Meta:
        triggers = [*triggers.state_machine(moves=MOVES["Message"]), triggers.touch()]
        constraints = [
            models.UniqueConstraint(
                fields=["event_id", "patient", "user", "channel"],
                name="message_once",
                nulls_distinct=False,
            ),
            models.CheckConstraint(name="message_recipient", condition=RECIPIENT),
            models.CheckConstraint(name="message_channel", condition=CHANNEL),
            models.CheckConstraint(
                name="message_next_attempt_at",
                condition=Q(status="queued", next_attempt_at__isnull=False)
                | ~Q(status="queued") & Q(next_attempt_at__isnull=True, claimed_until__isnull=True),
            ),
            models.CheckConstraint(
                name="message_sent_at",
                condition=Q(status__in=["queued", "suppressed"], sent_at__isnull=True)
                | Q(status="sent", sent_at__isnull=False)
                | Q(status__in=["delivered", "failed", "dismissed"]),
            ),
            models.CheckConstraint(
                name="message_delivered_at",
                condition=Q(status="delivered", delivered_at__isnull=False)
                | ~Q(status="delivered") & Q(delivered_at__isnull=True, read_at__isnull=True),
            ),
            models.CheckConstraint(
                name="message_closed_at",
                condition=Q(
                    status__in=["suppressed", "failed", "dismissed"], closed_at__isnull=False
                )
                & ~Q(reason="")
                | Q(status__in=["queued", "sent", "delivered"], closed_at__isnull=True),
            ),
            models.CheckConstraint(
                name="message_read_at", condition=Q(read_at__isnull=True) | Q(channel="in_app")
            ),
        ]
        indexes = [
            models.Index(
                fields=["channel", "next_attempt_at", "id"],
                name="message_due",
                condition=Q(status="queued"),
            ),
            # What is queued for an entry, to send it in order.
            models.Index(
                fields=["entry", "channel", "seq"],
                name="message_order",
                condition=Q(status="queued", entry__isnull=False),
            ),
            models.Index(  # likewise for an appointment
                fields=["appointment", "channel", "seq"],
                name="message_appointment",
                condition=Q(status="queued", appointment__isnull=False),
            ),
            models.Index(
                fields=["channel", "provider_message_id"],
                name="message_provider",
                condition=~Q(provider_message_id=""),
            ),
            # The lists: staff's, and each person's own.
            models.Index(fields=["tenant", "id"], name="message_tenant"),
            models.Index(fields=["tenant", "status", "id"], name="message_status"),
            models.Index(
                fields=["patient", "id"],
                name="message_patient",
                condition=Q(patient__isnull=False),
            ),
            models.Index(
                fields=["user", "id"], name="message_user", condition=Q(user__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} by {self.channel}, {self.status}"


class Preference(TenantRow):
    """What somebody wants to be told, and how; who has none is told everything."""

    patient = models.ForeignKey(
        Patient, null=True, on_delete=models.CASCADE, related_name="preferences", db_index=False
    )
    user = models.ForeignKey(
        User, null=True, on_delete=models.CASCADE, related_name="preferences", db_index=False
    )
    waitlist_reminders = models.BooleanField(default=True, db_default=True)
    email = models.BooleanField(default=True, db_default=True)
    sms = models.BooleanField(default=True, db_default=True)
    whatsapp = models.BooleanField(default=True, db_default=True)

    class Meta:
        triggers = [triggers.touch()]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "patient", "user"],
                name="preference_once",
                nulls_distinct=False,
            ),
            models.CheckConstraint(name="preference_whose", condition=RECIPIENT),
        ]
        indexes = [
            models.Index(fields=["patient"], name="preference_patient"),
            models.Index(fields=["user"], name="preference_user"),
        ]

    def __str__(self) -> str:
        return f"preferences of {self.patient_id or self.user_id}"


class ChannelSwitch(TenantRow):
    """A tenant tells a kind on a channel, or does not, whatever is usual."""

    kind = models.CharField(max_length=40)
    channel = models.CharField(max_length=10, choices=Channel)
    is_on = models.BooleanField()

    class Meta:
        verbose_name_plural = "channel switches"
        triggers = [triggers.touch()]
        constraints = [
            models.UniqueConstraint(fields=["tenant", "kind", "channel"], name="switch_once"),
            models.CheckConstraint(name="switch_channel", condition=CHANNEL),
        ]

    def __str__(self) -> str:
        return f"{self.kind} by {self.channel}: {'on' if self.is_on else 'off'}"


class Template(Versioned):
    """A tenant's own text of a kind, for one facility or for all."""

    facility = models.ForeignKey(Facility, null=True, blank=True, on_delete=models.CASCADE)
    kind = models.CharField(max_length=40)
    channel = models.CharField(max_length=10, choices=Channel)
    language = models.CharField(max_length=5, choices=Language)
    subject = models.CharField(max_length=200, blank=True)
    body = models.TextField()

    class Meta:
        triggers = [triggers.touch(version=True)]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "facility", "kind", "channel", "language"],
                name="template_once",
                nulls_distinct=False,
            ),
            models.CheckConstraint(name="template_channel", condition=CHANNEL),
            models.CheckConstraint(
                name="template_language", condition=Q(language__in=Language.values)
            ),
            models.CheckConstraint(name="template_body", condition=~Q(body="")),
        ]

    def __str__(self) -> str:
        return f"{self.kind} by {self.channel} in {self.language}"


class CalendarFeed(Versioned):
    """The secret address of a user's calendar: as a patient, or as a provider where there is none.

    Of the token in it only the digest is kept.
    """

    user = models.ForeignKey(
        User, on_delete=models.CASCADE, related_name="calendar_feeds", db_index=False
    )
    patient = models.ForeignKey(
        Patient, null=True, on_delete=models.CASCADE, related_name="calendar_feeds"
    )
    digest = models.CharField(max_length=64, help_text="SHA-256, in hexadecimal")
    rotated_at = models.DateTimeField(help_text="when its address was made")

    class Meta:
        triggers = [triggers.touch(version=True)]
        constraints = [
            models.UniqueConstraint(
                fields=["user", "tenant", "patient"],
                name="calendarfeed_once",
                nulls_distinct=False,
            ),
            models.UniqueConstraint(fields=["digest"], name="calendarfeed_digest_once"),
            models.CheckConstraint(
                name="calendarfeed_digest", condition=Q(digest__regex=r"^[0-9a-f]{64}$")
            ),
        ]

    def __str__(self) -> str:
        return f"calendar feed of {self.user_id}"


class InboundMessage(Row):
    """What somebody sent us, so that it counts once. No text and no address is kept.

    Of the provider's id, which may have the number in it that it came from, the digest is.

    It has no tenant: one phone may be that of patients of several, and what comes from a phone
    that is nobody's is no tenant's.
    """

    class Outcome(models.TextChoices):
        ACCEPTED = "accepted"
        DECLINED = "declined"
        CLOSED = "closed"  # the offer was answered before, or is over
        BUSY = "busy"  # they are booked elsewhere at that time
        GONE = "gone"  # the slot cannot be booked any longer
        WHICH = "which"  # they have several offers
        NOTHING = "nothing"  # they have none
        UNCLEAR = "unclear"
        PAGE = "page"  # an organizer's, who answers on the offer's page
        STOPPED = "stopped"
        STARTED = "started"

    channel = models.CharField(max_length=10, choices=Channel)
    digest = models.CharField(max_length=64, help_text="SHA-256, in hexadecimal")
    patient = models.ForeignKey(
        Patient, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    hold = models.ForeignKey(
        Hold, null=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    asked = ArrayField(models.UUIDField(), default=list, help_text="the offers to choose from")
    outcome = models.CharField(max_length=10, choices=Outcome)
    at = models.DateTimeField()

    class Meta:
        triggers = [triggers.touch()]
        constraints = [
            models.UniqueConstraint(fields=["channel", "digest"], name="inbound_once"),
            models.CheckConstraint(
                name="inbound_channel", condition=Q(channel__in=["sms", "whatsapp"])
            ),
            models.CheckConstraint(
                name="inbound_asked",
                condition=Q(outcome="which") & ~Q(asked=[]) | ~Q(outcome="which") & Q(asked=[]),
            ),
            models.CheckConstraint(
                name="inbound_hold",
                condition=Q(
                    outcome__in=["accepted", "declined", "closed", "busy", "gone", "page"],
                    hold__isnull=False,
                )
                | Q(
                    outcome__in=["which", "nothing", "unclear", "stopped", "started"],
                    hold__isnull=True,
                ),
            ),
        ]
        indexes = [models.Index(fields=["patient", "at"], name="inbound_patient")]

    def __str__(self) -> str:
        return f"{self.outcome} by {self.channel}"
