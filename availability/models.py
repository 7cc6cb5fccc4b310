import pgtrigger
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Func, Q, Value
from django.db.models.functions import Coalesce, Now
from django.db.models.lookups import Exact

from accounts.models import Tenant
from audit import triggers
from audit.models import UUIDv7
from audit.triggers import Move
from scheduling.models import Facility, Versioned

# The legal moves of each state machine, from `None` before birth, and a function that makes each.
# They feed the triggers, the test matrix and docs/states.md.
MOVES: dict[str, dict[Move, str]] = {
    "Rfp": {
        (None, "draft"): "availability.rfps.add",
        ("draft", "sent"): "availability.rfps.send",
        ("draft", "closed"): "availability.rfps.close",
        ("sent", "awarded"): "availability.rfps.award",
        ("sent", "closed"): "availability.rfps.close",
    },
    "RfpVenue": {
        (None, "pending"): "availability.rfps.add",
        ("pending", "responded"): "availability.rfps.respond",
        ("pending", "no_response"): "availability.rfps.close_overdue",
        ("responded", "shortlisted"): "availability.rfps.shortlist",
        ("responded", "awarded"): "availability.rfps.award",
        ("responded", "declined"): "availability.rfps.award",
        ("shortlisted", "awarded"): "availability.rfps.award",
        ("shortlisted", "declined"): "availability.rfps.award",
        ("no_response", "responded"): "availability.rfps.respond",
    },
}

MOST_PEOPLE = 1_000_000

#: What venues are asked for.
CONTENTS = (
    "title", "event_type", "preferred_dates_start", "preferred_dates_end", "dates_flexible",
    "attendance_min", "attendance_max", "space_requirements", "response_deadline",
)  # fmt: skip


def _fixed(record: str) -> str:
    """Return what stays as it was sent."""
    columns = (*CONTENTS, "tenant_id", "duplicated_from_id", "sent_at")
    return f"({', '.join(f'{record}.{column}' for column in columns)})"


class Rfp(Versioned):
    """A request for proposals of an organizer, whose tenant it carries. Once sent it stays."""

    class Status(models.TextChoices):
        DRAFT = "draft"
        SENT = "sent"
        AWARDED = "awarded"
        CLOSED = "closed"

    ACTIVE = (Status.DRAFT, Status.SENT)

    title = models.CharField(max_length=200)
    event_type = models.CharField(max_length=100)
    preferred_dates_start = models.DateField(null=True, blank=True)
    preferred_dates_end = models.DateField(null=True, blank=True)
    dates_flexible = models.BooleanField(default=False)
    attendance_min = models.PositiveIntegerField(
        validators=[MinValueValidator(1), MaxValueValidator(MOST_PEOPLE)]
    )
    attendance_max = models.PositiveIntegerField(
        validators=[MinValueValidator(1), MaxValueValidator(MOST_PEOPLE)]
    )
    space_requirements = models.JSONField(default=list, blank=True, help_text="names of layouts")
    response_deadline = models.DateTimeField()
    status = models.CharField(max_length=10, choices=Status, default=Status.DRAFT)
    sent_at = models.DateTimeField(null=True, blank=True)
    duplicated_from = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="copies"
    )

    class Meta:
        verbose_name = "RFP"
        verbose_name_plural = "RFPs"
        triggers = [
            *triggers.state_machine(moves=MOVES["Rfp"]),
            triggers.touch(version=True),
            pgtrigger.Protect(
                name="stays_once_sent",
                operation=pgtrigger.Update,
                condition=pgtrigger.Condition(
                    f"OLD.status <> 'draft' AND {_fixed('OLD')} IS DISTINCT FROM {_fixed('NEW')}"
                ),
            ),
        ]
        constraints = [
            models.CheckConstraint(
                name="rfp_sent_at",
                condition=Q(status="draft", sent_at__isnull=True)
                | Q(status__in=["sent", "awarded"], sent_at__isnull=False)
                | Q(status="closed"),  # with or without having been sent
            ),
            models.CheckConstraint(
                name="rfp_attendance",
                condition=Q(attendance_min__gte=1, attendance_max__gte=F("attendance_min")),
            ),
            models.CheckConstraint(
                name="rfp_dates",
                condition=Q(preferred_dates_end__isnull=True)
                | Q(
                    preferred_dates_start__isnull=False,
                    preferred_dates_end__gte=F("preferred_dates_start"),
                ),
            ),
            models.CheckConstraint(
                name="rfp_dates_or_flexible",
                condition=Q(dates_flexible=True) | Q(preferred_dates_start__isnull=False),
            ),
            models.CheckConstraint(
                name="rfp_space_requirements",
                condition=Exact(
                    Func(
                        F("space_requirements"),
                        function="jsonb_typeof",
                        output_field=models.CharField(),
                    ),
                    Value("array"),
                ),
            ),
        ]
        indexes = [
            models.Index(fields=["tenant", "status"], name="rfp_status"),
            models.Index(fields=["tenant", "id"], name="rfp_tenant"),
            models.Index(
                fields=["response_deadline"], name="rfp_deadline", condition=Q(status="sent")
            ),
        ]

    def __str__(self) -> str:
        return self.title

    def clean(self) -> None:
        """:raises ValidationError: naming the fields that do not go together."""
        first, last = self.preferred_dates_start, self.preferred_dates_end
        errors = {}
        if first is None and (last is not None or not self.dates_flexible):
            errors["preferred_dates_start"] = "Give the first day, unless any will do."
        if first is not None and last is not None and last < first:
            errors["preferred_dates_end"] = "This is before the first day."
        if (self.attendance_max or 0) < (self.attendance_min or 0):
            errors["attendance_max"] = "This is less than the least."
        if errors:
            raise ValidationError(errors)


#: Whom an RFP goes to is a part of what was sent.
TARGETS_STAY = pgtrigger.Trigger(
    name="targets_stay",
    when=pgtrigger.Before,
    operation=pgtrigger.Insert | pgtrigger.Delete,
    declare=[("target", "availability_rfpvenue")],
    func="""
        IF TG_OP = 'DELETE' THEN target := OLD; ELSE target := NEW; END IF;
        PERFORM FROM availability_rfp WHERE id = target.rfp_id AND status = 'draft';
        IF NOT FOUND THEN
            RAISE EXCEPTION 'RFP % is no draft: its venues stay', target.rfp_id
                  USING ERRCODE = 'check_violation';
        END IF;
        RETURN target;
    """,
)


class RfpVenue(Versioned):
    """An RFP's copy for one venue, and the venue's answer. Carries the organizer's tenant."""

    class Status(models.TextChoices):
        PENDING = "pending"
        RESPONDED = "responded"
        NO_RESPONSE = "no_response"
        SHORTLISTED = "shortlisted"
        AWARDED = "awarded"
        DECLINED = "declined"

    class Response(models.TextChoices):
        CONFIRMED = "confirmed"
        TENTATIVE = "tentative"
        UNAVAILABLE = "unavailable"

    rfp = models.ForeignKey(Rfp, on_delete=models.PROTECT, related_name="targets", db_index=False)
    facility = models.ForeignKey(
        Facility, on_delete=models.PROTECT, related_name="rfps", db_index=False
    )
    status = models.CharField(max_length=12, choices=Status, default=Status.PENDING)
    response = models.CharField(  # noqa: DJ001
        max_length=12, choices=Response, null=True, blank=True
    )
    response_notes = models.TextField(blank=True)
    responded_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "RFP at a venue"
        verbose_name_plural = "RFPs at venues"
        triggers = [
            *triggers.state_machine(moves=MOVES["RfpVenue"]),
            triggers.touch(version=True),
            TARGETS_STAY,
            pgtrigger.ReadOnly(name="target_stays", fields=["tenant", "rfp", "facility"]),
        ]
        constraints = [
            models.UniqueConstraint(fields=["rfp", "facility"], name="rfpvenue_once"),
            models.UniqueConstraint(
                fields=["rfp"], name="rfpvenue_one_winner", condition=Q(status="awarded")
            ),
            models.CheckConstraint(
                name="rfpvenue_response",
                condition=Q(
                    status__in=["pending", "no_response"],
                    response__isnull=True,
                    responded_at__isnull=True,
                    response_notes="",
                )
                | Q(
                    status__in=["responded", "shortlisted", "awarded", "declined"],
                    response__in=["confirmed", "tentative", "unavailable"],
                    response__isnull=False,
                    responded_at__isnull=False,
                ),
            ),
            # Nobody can hold an event where there is no room.
            models.CheckConstraint(
                name="rfpvenue_chosen",
                condition=~Q(status__in=["shortlisted", "awarded"], response="unavailable"),
            ),
        ]
        indexes = [
            models.Index(fields=["facility", "id"], name="rfpvenue_facility"),
            models.Index(fields=["tenant", "id"], name="rfpvenue_tenant"),
            models.Index(fields=["rfp"], name="rfpvenue_pending", condition=Q(status="pending")),
        ]

    def __str__(self) -> str:
        return f"{self.rfp} at {self.facility}"


class ReceivedRfp(RfpVenue):
    """An RFP as a venue got it. Carries the organizer's tenant; it is for the venue's."""

    class Meta:
        proxy = True
        verbose_name = "received RFP"


class Venue(Facility):
    """A facility as this app sees it: one of kind venue is made with its availability."""

    class Meta:
        proxy = True
        triggers = [
            pgtrigger.Trigger(
                name="rate_venue",
                level=pgtrigger.Statement,
                when=pgtrigger.After,
                operation=pgtrigger.Insert,
                referencing=pgtrigger.Referencing(new="made"),  # type: ignore[no-untyped-call]
                func=(
                    "INSERT INTO availability_venueavailability (facility_id, tenant_id)"
                    " SELECT id, tenant_id FROM made WHERE kind = 'venue'; RETURN NULL;"
                ),
            )
        ]


class VenueAvailability(models.Model):
    """What is shown of a venue: what was set by hand, else what its signals say.

    `vacant_since` is set while there is room for somebody who waits.
    """

    class Status(models.TextChoices):
        ACCEPTING_EVENTS = "accepting_events"
        LIMITED_AVAILABILITY = "limited_availability"
        FULLY_BOOKED = "fully_booked"
        SEASONAL = "seasonal"
        NOT_SET = "not_set"

    facility = models.OneToOneField(
        Facility, primary_key=True, on_delete=models.PROTECT, related_name="availability"
    )
    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")
    status = models.CharField(max_length=20, choices=Status, db_default=Status.NOT_SET)
    inferred_status = models.CharField(  # noqa: DJ001
        max_length=20, choices=Status, null=True, blank=True
    )
    last_inferred_at = models.DateTimeField(null=True, blank=True)
    manual_override_at = models.DateTimeField(null=True, blank=True)
    vacant_since = models.DateTimeField(null=True, blank=True)
    version = models.BigIntegerField(db_default=1, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        verbose_name_plural = "venue availability"
        # When it was inferred is nobody's to edit, and is written for every venue at once.
        triggers = [
            triggers.touch(
                version=True,
                of=["status", "inferred_status", "manual_override_at", "vacant_since"],
            )
        ]
        constraints = [
            models.CheckConstraint(
                name="availability_inferred",
                condition=Q(inferred_status__isnull=True, last_inferred_at__isnull=True)
                | Q(
                    inferred_status__isnull=False,
                    inferred_status__in=[
                        "accepting_events", "limited_availability", "fully_booked", "not_set",
                    ],
                    last_inferred_at__isnull=False,
                ),
            ),
            models.CheckConstraint(
                name="availability_shown",
                condition=Q(
                    manual_override_at__isnull=False,
                    status__in=[
                        "accepting_events", "limited_availability", "fully_booked", "seasonal",
                    ],
                )
                | Q(
                    manual_override_at__isnull=True,
                    status=Coalesce("inferred_status", Value("not_set")),
                ),
            ),
            models.CheckConstraint(
                name="availability_vacant",
                condition=Q(vacant_since__isnull=True)
                | Q(status__in=["accepting_events", "limited_availability"]),
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"availability of {self.facility}"


class Signal(models.Model):
    """A fact about a venue's availability. Plain ids, so it outlives what it came from."""

    class Type(models.TextChoices):
        CONFIRMED = "confirmed"
        TENTATIVE = "tentative"
        UNAVAILABLE = "unavailable"
        NO_RESPONSE = "no_response"
        AWARDED = "awarded"
        LOST_TO_COMPETITOR = "lost_to_competitor"
        RFP_CANCELLED = "rfp_cancelled"
        MANUAL_AVAILABLE = "manual_available"
        MANUAL_UNAVAILABLE = "manual_unavailable"

    id = models.UUIDField(primary_key=True, db_default=UUIDv7(), editable=False)
    tenant_id = models.UUIDField(help_text="the venue's")
    facility_id = models.UUIDField()
    type = models.CharField(max_length=20, choices=Type)
    rfp_id = models.UUIDField(null=True, blank=True)
    rfp_venue_id = models.UUIDField(null=True, blank=True)
    signal_date = models.DateField(null=True, blank=True, help_text="when the event would begin")
    metadata = models.JSONField(default=dict, db_default={}, blank=True)
    recorded_at = models.DateTimeField()

    class Meta:
        triggers = triggers.append_only()
        constraints = [
            models.CheckConstraint(
                name="signal_type",
                condition=Q(
                    type__in=["manual_available", "manual_unavailable"],
                    rfp_id__isnull=True,
                    rfp_venue_id__isnull=True,
                )
                | Q(
                    type__in=[
                        "confirmed", "tentative", "unavailable", "no_response", "awarded",
                        "lost_to_competitor", "rfp_cancelled",
                    ],
                    rfp_id__isnull=False,
                    rfp_venue_id__isnull=False,
                ),
            )
        ]  # fmt: skip
        indexes = [
            # It holds the type, so that inference reads the index alone.
            models.Index(
                fields=["facility_id", "recorded_at"], name="signal_recorded", include=["type"]
            ),
            models.Index(fields=["facility_id", "type"], name="signal_type"),
            models.Index(fields=["tenant_id", "id"], name="signal_tenant"),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.recorded_at:%Y-%m-%d}"
