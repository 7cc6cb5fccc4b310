from datetime import timedelta
from uuid import UUID

import pgtrigger
from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import (
    ArrayField,
    DateTimeRangeField,
    RangeOperators,
)
from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models import Case, F, Q, Value, When
from django.db.models.functions import Coalesce

from accounts.models import Tenant, TenantRow, User
from audit import triggers
from audit.triggers import Move
from availability.models import Rfp, RfpVenue
from scheduling.models import (
    PERIOD,
    Appointment,
    Facility,
    Patient,
    Provider,
    Service,
    Slot,
    TimeBlock,
    Versioned,
)
from waitlist import presets, revisions

# The legal moves of each state machine, from `None` before birth, and a function that makes each.
# They feed the triggers, the test matrix and docs/states.md.
MOVES: dict[str, dict[Move, str]] = {
    "WaitlistEntry": {
        (None, "waiting"): "waitlist.entries.join",
        ("waiting", "offered"): "waitlist.fill.fill",
        ("waiting", "converted"): "waitlist.invites.promote",
        ("waiting", "expired"): "waitlist.entries.expire_due",
        ("waiting", "cancelled"): "waitlist.entries.cancel",
        ("offered", "converted"): "waitlist.holds.accept",
        ("offered", "waiting"): "waitlist.holds.decline",
        ("offered", "expired"): "waitlist.holds.expire_due",
        ("offered", "cancelled"): "waitlist.holds.decline",
    },
    "Hold": {
        (None, "offered"): "waitlist.fill.fill",
        ("offered", "accepted"): "waitlist.holds.accept",
        ("offered", "declined"): "waitlist.holds.decline",
        ("offered", "expired"): "waitlist.holds.expire_due",
        ("offered", "withdrawn"): "waitlist.holds.withdraw_blocked",
    },
    "CircuitBreaker": {
        (None, "tripped"): "waitlist.holds.expire_due",
        ("tripped", "resolved"): "waitlist.breakers.resolve",
        ("tripped", "deactivated"): "waitlist.breakers.deactivate_due",
        ("deactivated", "resolved"): "waitlist.breakers.resolve",
    },
}

NONE = Value(UUID(int=0), output_field=models.UUIDField())
NAMED_SERVICE = Coalesce("service", NONE, output_field=models.UUIDField())
NAMED_PROVIDER = Coalesce("provider", NONE, output_field=models.UUIDField())
# What many entries may have in common, so that a fill need look at one of them only.
WISH = (NAMED_SERVICE, NAMED_PROVIDER, "provider_required", "preferred_days", "preferred_time")
# By this no search comes upon an organizer: else who works on a venue's slots, which organizers do
# not take, could time how many wait. It is no other index's, so the planner has no choice.
PATIENTS_FACILITY = Case(When(patient__isnull=False, then=F("facility")))
ACTIVE = Q(status__in=["waiting", "offered"])


class QueuedFacility(Facility):
    """A facility as the waitlist sees it: made with its queue and its kind's policy.

    Of what follows, the queues count what may let somebody fit, or a slot be offered.
    """

    class Meta:
        proxy = True
        triggers = [
            pgtrigger.Trigger(
                name="open_queue",
                level=pgtrigger.Statement,
                when=pgtrigger.After,
                operation=pgtrigger.Insert,
                referencing=pgtrigger.Referencing(new="made"),  # type: ignore[no-untyped-call]
                func=presets.OPEN_QUEUES,
            ),
            revisions.FACILITY,
        ]


class CountedService(Service):
    """A service as the waitlist sees it."""

    class Meta:
        proxy = True
        triggers = [revisions.SERVICE]


class CountedProvider(Provider):
    """A provider as the waitlist sees them."""

    class Meta:
        proxy = True
        triggers = [revisions.PROVIDER]


class CountedBlock(TimeBlock):
    """A block as the waitlist sees it."""

    class Meta:
        proxy = True
        triggers = [revisions.BLOCK]


class CountedSlot(Slot):
    """A slot as the waitlist sees it."""

    class Meta:
        proxy = True
        triggers = [revisions.SLOT]


class CountedAppointment(Appointment):
    """An appointment as the waitlist sees it."""

    class Meta:
        proxy = True
        triggers = [revisions.APPOINTMENT]


class Queue(models.Model):
    """The waitlist of one facility: the row that joins, caps, re-ranks and policies lock.

    `revision` counts what may let somebody fit who did not: join, edit, requeue, re-rank, policy.
    `visitors_revision` counts those among them that concern an `any_facility` entry, and
    `supply_revision` what may show an open slot that was hidden. They are counters and not a time,
    because a transaction that began earlier may commit later.
    """

    facility = models.OneToOneField(
        Facility, primary_key=True, on_delete=models.PROTECT, related_name="queue"
    )
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")
    revision = models.BigIntegerField(db_default=0)
    visitors_revision = models.BigIntegerField(db_default=0)
    supply_revision = models.BigIntegerField(db_default=0)
    deactivated_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=models.functions.Now(), editable=False)
    updated_at = models.DateTimeField(db_default=models.functions.Now(), editable=False)

    class Meta:
        triggers = [triggers.touch()]

    def __str__(self) -> str:
        return f"queue of {self.facility}"


class WaitlistPolicy(Versioned):
    """How a queue behaves. Null means: none, or no limit."""

    class Ordering(models.TextChoices):
        SCORE = "score"
        FIFO = "fifo"

    class Matching(models.TextChoices):
        BEST_SCORE = "best_score"
        MAX_FILL = "max_fill"

    class OnHoldExpiry(models.TextChoices):
        REQUEUE = "requeue"
        EXPIRE = "expire"

    class OnDecline(models.TextChoices):
        REQUEUE = "requeue"
        CANCEL = "cancel"

    facility = models.OneToOneField(
        Facility, on_delete=models.PROTECT, related_name="waitlist_policy"
    )
    ordering = models.CharField(max_length=10, choices=Ordering)
    matching = models.CharField(max_length=10, choices=Matching)
    hold_window = models.DurationField()
    reminder_lead = models.DurationField(null=True, blank=True)
    on_hold_expiry = models.CharField(max_length=10, choices=OnHoldExpiry)
    on_decline = models.CharField(max_length=10, choices=OnDecline)
    max_offers_per_entry = models.PositiveIntegerField(null=True, blank=True)
    max_queue_size = models.PositiveIntegerField(null=True, blank=True)
    max_active_per_requester = models.PositiveIntegerField(null=True, blank=True)
    unique_per_service = models.BooleanField()
    auto_invite = models.BooleanField()
    min_notice = models.DurationField()
    look_ahead = models.DurationField()
    min_hold = models.DurationField()
    entry_ttl = models.DurationField()
    grace = models.DurationField()
    nudge_after = models.DurationField(null=True, blank=True)
    nudge_grace = models.DurationField(null=True, blank=True)
    breaker_threshold = models.PositiveSmallIntegerField(null=True, blank=True)
    breaker_timeout = models.DurationField(null=True, blank=True)
    match_provider = models.PositiveSmallIntegerField()
    match_location = models.PositiveSmallIntegerField()
    match_service = models.PositiveSmallIntegerField()
    match_days = models.PositiveSmallIntegerField()
    min_match_score = models.PositiveSmallIntegerField()
    wait_per_day = models.PositiveIntegerField()
    membership = models.PositiveIntegerField()
    chronic = models.PositiveIntegerField()
    short_window = models.PositiveIntegerField()
    urgency = models.PositiveIntegerField()
    quiet_from = models.TimeField(null=True, blank=True)
    quiet_until = models.TimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "waitlist policies"
        triggers = [triggers.touch(version=True)]
        constraints = [
            models.CheckConstraint(
                name="policy_match_weights",
                condition=Q(
                    match_provider=100 - F("match_location") - F("match_service") - F("match_days")
                ),
            ),
            models.CheckConstraint(
                name="policy_min_match_score", condition=Q(min_match_score__lte=100)
            ),
            models.CheckConstraint(
                name="policy_durations",
                condition=Q(
                    hold_window__gt=timedelta(0),
                    min_notice__gte=timedelta(0),
                    look_ahead__gt=timedelta(0),
                    min_hold__gte=timedelta(0),
                    entry_ttl__gt=timedelta(0),
                    grace__gte=timedelta(0),
                ),
            ),
            # Else nothing would ever be offered.
            models.CheckConstraint(
                name="policy_min_hold", condition=Q(min_hold__lte=F("hold_window"))
            ),
            models.CheckConstraint(
                name="policy_reminder_lead",
                condition=Q(reminder_lead__isnull=True)
                | Q(
                    reminder_lead__gt=timedelta(0),
                    reminder_lead__lte=F("hold_window") / 2,
                ),
            ),
            models.CheckConstraint(
                name="policy_nudge",
                condition=Q(nudge_after__isnull=True, nudge_grace__isnull=True)
                | Q(nudge_after__isnull=False, nudge_grace__isnull=False)
                & Q(nudge_after__gt=timedelta(0), nudge_grace__gt=timedelta(0)),
            ),
            models.CheckConstraint(
                name="policy_breaker",
                condition=Q(breaker_threshold__isnull=True, breaker_timeout__isnull=True)
                | Q(breaker_threshold__isnull=False, breaker_timeout__isnull=False)
                & Q(breaker_threshold__gt=0, breaker_timeout__gt=timedelta(0)),
            ),
            models.CheckConstraint(
                name="policy_quiet_hours",
                condition=Q(quiet_from__isnull=True, quiet_until__isnull=True)
                | Q(quiet_from__isnull=False, quiet_until__isnull=False)
                & ~Q(quiet_from=F("quiet_until")),
            ),
            models.CheckConstraint(
                name="policy_choices",
                condition=Q(
                    ordering__in=["score", "fifo"],
                    matching__in=["best_score", "max_fill"],
                    on_hold_expiry__in=["requeue", "expire"],
                    on_decline__in=["requeue", "cancel"],
                ),
            ),
        ]

    def __str__(self) -> str:
        return f"policy of {self.facility}"


class WaitlistEntry(Versioned):
    """One requester waiting in one queue."""

    class Status(models.TextChoices):
        WAITING = "waiting"
        OFFERED = "offered"
        CONVERTED = "converted"
        EXPIRED = "expired"
        CANCELLED = "cancelled"

    class PreferredTime(models.TextChoices):
        ANY = "any"
        MORNING = "morning"  # before 12:00, local
        AFTERNOON = "afternoon"  # to 17:00
        EVENING = "evening"

    facility = models.ForeignKey(Facility, on_delete=models.PROTECT, db_index=False)
    patient = models.ForeignKey(
        Patient, null=True, blank=True, on_delete=models.PROTECT, db_index=False
    )
    organizer = models.ForeignKey(
        Tenant,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="waitlist_entries",
        db_index=False,
    )
    # The answer that an organizer waits since; what they wait for is in its RFP.
    rfp_venue = models.ForeignKey(
        RfpVenue,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="entries",
        db_index=False,
    )
    provider = models.ForeignKey(
        Provider, null=True, blank=True, on_delete=models.PROTECT, db_index=False
    )
    provider_required = models.BooleanField(default=False)
    service = models.ForeignKey(
        Service, null=True, blank=True, on_delete=models.PROTECT, db_index=False
    )
    any_facility = models.BooleanField(default=False)
    preferred_days = ArrayField(models.PositiveSmallIntegerField(), default=list, blank=True)
    preferred_time = models.CharField(
        max_length=10, choices=PreferredTime, default=PreferredTime.ANY
    )
    earliest = models.DateTimeField(null=True, blank=True)
    latest = models.DateTimeField(null=True, blank=True)
    dates_flexible = models.BooleanField(default=False)
    urgency = models.PositiveSmallIntegerField(default=0, validators=[MaxValueValidator(3)])
    metadata = models.JSONField(default=dict, blank=True)
    rank_key = models.FloatField()
    best_position_told = models.PositiveIntegerField(null=True, blank=True)
    joined_at = models.DateTimeField()
    status = models.CharField(max_length=10, choices=Status, default=Status.WAITING)
    offers_made = models.PositiveIntegerField(default=0)
    expires_at = models.DateTimeField()
    nudged_at = models.DateTimeField(null=True, blank=True)
    nudge_answered_at = models.DateTimeField(null=True, blank=True)
    cancellation_reason = models.CharField(max_length=50, blank=True)
    cancellation_notes = models.TextField(blank=True)
    appointment = models.ForeignKey(
        Appointment,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="entries",
    )
    converted_rfp = models.ForeignKey(
        Rfp,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="entries",
        db_index=False,
    )
    # The service again where the policy lets one requester wait once per service, else null: what
    # the unique constraints compare.
    unique_service = models.UUIDField(null=True, editable=False)
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "waitlist entries"
        triggers = [
            *triggers.state_machine(moves=MOVES["WaitlistEntry"]),
            triggers.touch(version=True),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["patient", "facility", "provider", "unique_service"],
                name="entry_patient_once",
                nulls_distinct=False,
                condition=ACTIVE & Q(patient__isnull=False),
            ),
            models.UniqueConstraint(
                fields=["organizer", "facility", "provider", "unique_service"],
                name="entry_organizer_once",
                nulls_distinct=False,
                condition=ACTIVE & Q(organizer__isnull=False),
            ),
            models.CheckConstraint(
                name="entry_requester",
                condition=Q(patient__isnull=False, organizer__isnull=True)
                | Q(patient__isnull=True, organizer__isnull=False),
            ),
            models.UniqueConstraint(
                fields=["converted_rfp"],
                name="entry_converted_rfp_once",
                condition=Q(converted_rfp__isnull=False),
            ),
            models.CheckConstraint(
                name="entry_rfp_venue",
                condition=Q(organizer__isnull=True, rfp_venue__isnull=True)
                | Q(organizer__isnull=False, rfp_venue__isnull=False),
            ),
            # Nothing that its owner edits at a venue is referred to by who waits there unseen.
            models.CheckConstraint(
                name="entry_organizer_wishes",
                condition=Q(organizer__isnull=True)
                | Q(provider__isnull=True, service__isnull=True, any_facility=False),
            ),
            models.CheckConstraint(
                name="entry_closed_at",
                condition=ACTIVE & Q(closed_at__isnull=True) | ~ACTIVE & Q(closed_at__isnull=False),
            ),
            models.CheckConstraint(
                name="entry_converted",
                condition=Q(
                    status="converted",
                    patient__isnull=False,
                    appointment__isnull=False,
                    converted_rfp__isnull=True,
                )
                | Q(
                    status="converted",
                    organizer__isnull=False,
                    appointment__isnull=True,
                    converted_rfp__isnull=False,
                )
                | ~Q(status="converted") & Q(appointment__isnull=True, converted_rfp__isnull=True),
            ),
            models.CheckConstraint(
                name="entry_cancelled",
                condition=Q(status="cancelled") & ~Q(cancellation_reason="")
                | ~Q(status="cancelled") & Q(cancellation_reason="", cancellation_notes=""),
            ),
            models.CheckConstraint(name="entry_urgency", condition=Q(urgency__range=(0, 3))),
            models.CheckConstraint(
                name="entry_days",
                condition=Q(preferred_days__contained_by=[1, 2, 3, 4, 5, 6, 7]),
            ),
            models.CheckConstraint(
                name="entry_window",
                condition=Q(earliest__isnull=True)
                | Q(latest__isnull=True)
                | Q(latest__gt=F("earliest")),
            ),
            models.CheckConstraint(
                name="entry_provider_required",
                condition=Q(provider_required=False) | Q(provider__isnull=False),
            ),
            models.CheckConstraint(
                name="entry_preferred_time",
                condition=Q(preferred_time__in=["any", "morning", "afternoon", "evening"]),
            ),
        ]
        indexes = [
            # What positions are told along, service by service; that some name none counts as one.
            models.Index(
                "facility",
                NAMED_SERVICE,
                F("rank_key").desc(),
                "joined_at",
                "id",
                name="entry_queue",
                condition=Q(status="waiting"),
            ),
            # What a fill walks along, wish by wish, and what it reads first or whole.
            models.Index(
                PATIENTS_FACILITY,
                *WISH,
                F("rank_key").desc(),
                "joined_at",
                "id",
                name="entry_wish",
                condition=Q(status="waiting"),
            ),
            models.Index(
                PATIENTS_FACILITY,
                F("rank_key").desc(),
                "joined_at",
                "id",
                name="entry_run",
                condition=Q(status="waiting"),
            ),
            models.Index(
                "tenant",
                *WISH,
                "joined_at",
                "id",
                name="entry_visitors",
                condition=Q(status="waiting", any_facility=True),
            ),
            models.Index(
                fields=["tenant", "patient", "status"],
                name="entry_patient",
                condition=Q(patient__isnull=False),
            ),
            models.Index(
                fields=["tenant", "organizer", "status"],
                name="entry_organizer",
                condition=Q(organizer__isnull=False),
            ),
            models.Index(
                fields=["rfp_venue"],
                name="entry_source",
                condition=Q(rfp_venue__isnull=False),
            ),
            models.Index(fields=["facility", "status", "created_at"], name="entry_facility"),
            # The lists that staff page through: one facility and status, or the whole tenant, by
            # priority or age. The first also counts positions, for which it holds the service.
            models.Index(
                "facility",
                "status",
                F("rank_key").desc(),
                "joined_at",
                "id",
                name="entry_status_priority",
                include=["service", "tenant"],
            ),
            # They hold what lists are filtered by, so that a page far down and the count of all are
            # found in the index alone.
            models.Index(
                "tenant",
                F("rank_key").desc(),
                "joined_at",
                "id",
                name="entry_priority",
                include=["facility", "provider", "service", "status"],
            ),
            models.Index(
                fields=["tenant", "joined_at", "id"],
                name="entry_joined",
                include=["facility", "provider", "service", "status"],
            ),
            models.Index(fields=["tenant", "id"], name="entry_tenant"),
            models.Index(
                fields=["expires_at"],
                name="entry_expires_at",
                condition=Q(status="waiting"),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.status}, joined {self.joined_at:%Y-%m-%d}"


class EntryNote(TenantRow):
    """What a staff member noted on an entry. Never leaves the database but to staff."""

    entry = models.ForeignKey(WaitlistEntry, on_delete=models.PROTECT, related_name="notes")
    author = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    text = models.TextField()
    at = models.DateTimeField()

    class Meta:
        triggers = [triggers.touch()]
        ordering = ["at"]

    def __str__(self) -> str:
        return f"note on {self.entry_id}"


class Hold(TenantRow):
    """A place kept for one entry until a deadline; its timer is the row."""

    class Status(models.TextChoices):
        OFFERED = "offered"
        ACCEPTED = "accepted"
        DECLINED = "declined"
        EXPIRED = "expired"
        WITHDRAWN = "withdrawn"

    class Source(models.TextChoices):
        SCAN = "scan"
        STAFF = "staff"
        CASCADE = "cascade"  # somebody was offered the place before

    facility = models.ForeignKey(Facility, on_delete=models.PROTECT, db_index=False)
    entry = models.ForeignKey(
        WaitlistEntry, on_delete=models.PROTECT, related_name="holds", db_index=False
    )
    slot = models.ForeignKey(
        Slot,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="holds",
        db_index=False,
    )
    patient = models.ForeignKey(
        Patient, null=True, blank=True, on_delete=models.PROTECT, db_index=False
    )
    period = DateTimeRangeField(null=True, blank=True)
    status = models.CharField(max_length=10, choices=Status, default=Status.OFFERED)
    score = models.PositiveSmallIntegerField(default=0)
    source = models.CharField(max_length=10, choices=Source)
    offered_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    reminded_at = models.DateTimeField(null=True, blank=True)
    closed_at = models.DateTimeField(null=True, blank=True)
    # Withdrawn by hand: the slot is for others, unless staff name the patient for it again.
    taken_back = models.BooleanField(db_default=False, editable=False)

    class Meta:
        triggers = [
            *triggers.state_machine(moves=MOVES["Hold"]),
            triggers.touch(),
            revisions.HOLD,
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["slot"], name="hold_slot_once", condition=Q(status="offered")
            ),
            models.UniqueConstraint(
                fields=["entry"], name="hold_entry_once", condition=Q(status="offered")
            ),
            models.UniqueConstraint(
                fields=["facility"],
                name="hold_without_slot_once",
                condition=Q(status="offered", slot__isnull=True),
            ),
            # Nobody is asked twice about one slot. What was withdrawn they were not asked.
            models.UniqueConstraint(
                fields=["entry", "slot"],
                name="hold_entry_slot_once",
                condition=~Q(status="withdrawn"),
            ),
            ExclusionConstraint(
                name="hold_patient_once_at_a_time",
                expressions=[
                    ("patient", RangeOperators.EQUAL),
                    ("period", RangeOperators.OVERLAPS),
                ],
                condition=Q(status="offered", patient__isnull=False, slot__isnull=False),
            ),
            models.CheckConstraint(name="hold_period", condition=Q(period__isnull=True) | PERIOD),
            models.CheckConstraint(
                name="hold_slot",
                condition=Q(slot__isnull=True, period__isnull=True)
                | Q(slot__isnull=False, period__isnull=False),
            ),
            models.CheckConstraint(
                name="hold_closed_at",
                condition=Q(status="offered", closed_at__isnull=True)
                | ~Q(status="offered") & Q(closed_at__isnull=False),
            ),
            models.CheckConstraint(
                name="hold_expires_at", condition=Q(expires_at__gt=F("offered_at"))
            ),
            models.CheckConstraint(
                name="hold_taken_back", condition=Q(taken_back=False) | Q(status="withdrawn")
            ),
        ]
        indexes = [
            models.Index(
                fields=["expires_at"],
                name="hold_expires_at_live",
                condition=Q(status="offered"),
            ),
            models.Index(fields=["facility", "created_at"], name="hold_facility"),
            models.Index(fields=["tenant", "id"], name="hold_tenant"),
            models.Index(fields=["slot"], name="hold_slot"),
            models.Index(fields=["entry"], name="hold_entry"),
            models.Index(fields=["patient"], name="hold_patient"),
        ]

    def __str__(self) -> str:
        return f"{self.status}, offered {self.offered_at:%Y-%m-%d %H:%M} UTC"


class Fruitless(TenantRow):
    """A slot for which nobody was found, and what the queue was like then."""

    slot = models.OneToOneField(Slot, on_delete=models.CASCADE)
    tried_at = models.DateTimeField()
    revision = models.BigIntegerField()
    visitors_revision = models.BigIntegerField()

    class Meta:
        verbose_name = "slot nobody fits"
        verbose_name_plural = "slots nobody fits"
        triggers = [triggers.touch()]

    def __str__(self) -> str:
        return f"nobody for {self.slot}"


class DryPass(models.Model):
    """The last pass at a facility that left no slot to try, and what the queue was like then."""

    facility = models.OneToOneField(
        Facility, primary_key=True, on_delete=models.PROTECT, related_name="+"
    )
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")
    tried_at = models.DateTimeField()
    until = models.DateTimeField(help_text="when to try again, if nothing changes")
    revision = models.BigIntegerField()
    visitors_revision = models.BigIntegerField()
    supply_revision = models.BigIntegerField(db_default=0)
    created_at = models.DateTimeField(db_default=models.functions.Now(), editable=False)
    updated_at = models.DateTimeField(db_default=models.functions.Now(), editable=False)

    class Meta:
        verbose_name_plural = "dry passes"
        triggers = [triggers.touch()]

    def __str__(self) -> str:
        return f"nothing to fill at {self.facility}"


class Uncounted(TenantRow):
    """What a queue's revisions go up by; written by triggers, counted by the next scan."""

    facility = models.ForeignKey(
        Facility, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    revision = models.PositiveSmallIntegerField()
    visitors_revision = models.PositiveSmallIntegerField()
    supply_revision = models.PositiveSmallIntegerField()

    class Meta:
        verbose_name = "uncounted change"
        triggers = [triggers.touch()]

    def __str__(self) -> str:
        return f"change at {self.facility}"


class CircuitBreaker(TenantRow):
    """A queue whose offers nobody answers: it stops until its owner says otherwise."""

    class Status(models.TextChoices):
        TRIPPED = "tripped"
        RESOLVED = "resolved"
        DEACTIVATED = "deactivated"

    facility = models.ForeignKey(Facility, on_delete=models.PROTECT)
    status = models.CharField(max_length=12, choices=Status, default=Status.TRIPPED)
    tripped_at = models.DateTimeField()
    resolved_at = models.DateTimeField(null=True, blank=True)
    resolved_by = models.ForeignKey(
        User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    class Meta:
        triggers = [
            *triggers.state_machine(moves=MOVES["CircuitBreaker"]),
            triggers.touch(),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["facility"],
                name="breaker_once",
                condition=Q(status__in=["tripped", "deactivated"]),
            ),
            models.CheckConstraint(
                name="breaker_resolved_at",
                condition=Q(status="resolved", resolved_at__isnull=False)
                | ~Q(status="resolved") & Q(resolved_at__isnull=True, resolved_by__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.status} {self.tripped_at:%Y-%m-%d %H:%M} UTC"


class DailyMetric(TenantRow):
    """What happened in one queue on one local day."""

    facility = models.ForeignKey(Facility, on_delete=models.PROTECT, db_index=False)
    day = models.DateField()
    queue_depth = models.PositiveIntegerField(help_text="waiting or offered at the day's end")
    avg_wait_minutes = models.FloatField(null=True, help_text="of those converted that day")
    offers = models.PositiveIntegerField()
    promotions = models.PositiveIntegerField()
    expired = models.PositiveIntegerField()
    cancelled = models.PositiveIntegerField()
    conversion_rate = models.FloatField(null=True, help_text="converted / holds closed")
    slots_freed = models.PositiveIntegerField()
    slots_refilled = models.PositiveIntegerField()
    median_fill_seconds = models.FloatField(null=True)

    class Meta:
        triggers = [triggers.touch()]
        constraints = [models.UniqueConstraint(fields=["facility", "day"], name="metric_day")]

    def __str__(self) -> str:
        return f"{self.facility} {self.day}"
