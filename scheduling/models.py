from datetime import timedelta

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import DateTimeRangeField, RangeOperators
from django.contrib.postgres.indexes import GinIndex, GistIndex, OpClass
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import F, Func, Q
from django.db.models.functions import Upper

from accounts.models import Language, TenantRow, User, phone_validator
from audit import triggers
from audit.clock import span
from audit.triggers import Move

currency_validator = RegexValidator(r"^[A-Z]{3}$", "Give the ISO 4217 code, such as EUR.")


# The legal moves of each state machine, from `None` before birth, and a function that makes each.
# They feed the triggers, the test matrix and docs/states.md.
MOVES: dict[str, dict[Move, str]] = {
    "Slot": {
        (None, "open"): "scheduling.generation.generate",
        (None, "blocked"): "scheduling.generation.generate",
        ("open", "reserved"): "scheduling.slots.reserve",
        ("open", "held"): "waitlist.fill.fill",
        ("open", "booked"): "scheduling.appointments.book",
        ("open", "blocked"): "scheduling.blocks.create",
        ("open", "retired"): "scheduling.generation.generate",
        ("reserved", "booked"): "scheduling.appointments.book",
        ("reserved", "open"): "scheduling.slots.release",
        ("reserved", "blocked"): "scheduling.blocks.create",
        ("reserved", "retired"): "scheduling.slots.release",
        ("held", "booked"): "waitlist.holds.accept",
        ("held", "open"): "waitlist.holds.expire_due",
        ("held", "blocked"): "waitlist.holds.withdraw_blocked",
        ("held", "retired"): "waitlist.holds.expire_due",
        ("booked", "open"): "scheduling.appointments.cancel",
        ("booked", "blocked"): "scheduling.appointments.cancel",
        ("booked", "retired"): "scheduling.appointments.cancel",
        ("blocked", "open"): "scheduling.blocks.remove",
        ("blocked", "retired"): "scheduling.generation.generate",
        ("retired", "open"): "scheduling.generation.generate",
        ("retired", "blocked"): "scheduling.generation.generate",
    },
    "Appointment": {
        (None, "booked"): "scheduling.appointments.book",
        ("booked", "cancelled"): "scheduling.appointments.cancel",
        ("booked", "completed"): "scheduling.appointments.complete",
        ("booked", "no_show"): "scheduling.appointments.miss",
    },
}


def _is_finite(bound: str) -> Func:
    """`isfinite(lower(period))`: a bound may be missing, and it may be 'infinity'."""
    return Func(
        Func(F("period"), function=bound),
        function="isfinite",
        output_field=models.BooleanField(),
    )


# Finite, not empty, closed below and open above: the only shape of a period.
PERIOD = (
    Q(period__isempty=False)
    & Q(period__lower_inf=False, period__upper_inf=False)
    & Q(period__lower_inc=True, period__upper_inc=False)
    & Q(_is_finite("lower"))
    & Q(_is_finite("upper"))
)


class Versioned(TenantRow):
    """A row that people edit; `version` goes up with every change and is its ETag."""

    version = models.BigIntegerField(db_default=1, editable=False)

    class Meta:
        abstract = True


class Facility(Versioned):
    """A place with a time zone."""

    class Kind(models.TextChoices):
        CLINIC = "clinic"
        SALON = "salon"
        VENUE = "venue"

    name = models.CharField(max_length=200)
    slug = models.SlugField(max_length=100)
    kind = models.CharField(max_length=10, choices=Kind)
    timezone = models.CharField(max_length=50)
    city = models.CharField(max_length=100, blank=True)
    country = models.CharField(max_length=2, blank=True)
    is_active = models.BooleanField(default=True)

    class Meta:
        verbose_name_plural = "facilities"
        triggers = [triggers.touch(version=True)]
        constraints = [
            models.UniqueConstraint(fields=["tenant", "slug"], name="facility_slug"),
            models.CheckConstraint(
                name="facility_kind", condition=Q(kind__in=["clinic", "salon", "venue"])
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Provider(Versioned):
    """Who or what is booked."""

    name = models.CharField(max_length=200)
    facilities = models.ManyToManyField(
        Facility, through="ProviderFacility", related_name="providers"
    )
    user = models.ForeignKey(
        User, null=True, blank=True, on_delete=models.SET_NULL, related_name="providers"
    )
    is_active = models.BooleanField(default=True)

    class Meta:
        triggers = [triggers.touch(version=True)]
        indexes = [models.Index(fields=["tenant", "name"], name="provider_tenant")]

    def __str__(self) -> str:
        return self.name


class ProviderFacility(TenantRow):
    """A provider works at a facility."""

    provider = models.ForeignKey(Provider, on_delete=models.CASCADE, db_index=False)
    facility = models.ForeignKey(Facility, on_delete=models.CASCADE)

    class Meta:
        triggers = [triggers.touch()]
        verbose_name = "posting"
        constraints = [
            models.UniqueConstraint(fields=["provider", "facility"], name="provider_facility_once")
        ]

    def __str__(self) -> str:
        return f"{self.provider} at {self.facility}"


class Service(Versioned):
    """What is done, how long it takes and what it costs."""

    name = models.CharField(max_length=200)
    duration = models.DurationField(validators=[MinValueValidator(timedelta(minutes=1))])
    price = models.DecimalField(max_digits=12, decimal_places=2, null=True, blank=True)
    currency = models.CharField(max_length=3, blank=True, validators=[currency_validator])

    class Meta:
        triggers = [triggers.touch(version=True)]
        constraints = [
            models.UniqueConstraint(fields=["tenant", "name"], name="service_name"),
            models.CheckConstraint(name="service_duration", condition=Q(duration__gt=timedelta(0))),
            models.CheckConstraint(
                name="service_price",
                condition=Q(price__isnull=True, currency="")
                | Q(price__isnull=False, price__gte=0) & Q(currency__regex=r"^[A-Z]{3}$"),
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Patient(Versioned):
    """The person who waits or is booked."""

    user = models.ForeignKey(
        User, null=True, blank=True, on_delete=models.SET_NULL, related_name="patients"
    )
    name = models.CharField(max_length=200)
    email = models.EmailField(blank=True)
    phone = models.CharField(max_length=16, blank=True, validators=[phone_validator])
    language = models.CharField(max_length=5, choices=Language, default=Language.EN)
    tier = models.PositiveSmallIntegerField(default=0, validators=[MaxValueValidator(3)])
    chronic_condition = models.BooleanField(default=False)
    external_ref = models.CharField(max_length=100, blank=True)
    erased_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        triggers = [triggers.touch(version=True)]
        indexes = [
            # The lists of a tenant, by name or by age, which leave out who was erased.
            models.Index(
                fields=["tenant", "name", "id"],
                name="patient_names",
                include=["erased_at", "tier", "chronic_condition"],
            ),
            models.Index(
                fields=["tenant", "created_at", "id"], name="patient_age", include=["erased_at"]
            ),
            # The search for a part of one of these, as it is written: in capitals. One without
            # three letters or digits in a row is for the start, or after a space: a trigram, too.
            GinIndex(
                *(
                    OpClass(Upper(column), name="gin_trgm_ops")
                    for column in ("name", "email", "phone", "external_ref")
                ),
                name="patient_search",
            ),
            # Who an SMS comes from.
            models.Index(fields=["phone"], name="patient_phone", condition=~Q(phone="")),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "external_ref"],
                name="patient_external_ref",
                condition=~Q(external_ref=""),
            ),
            models.UniqueConstraint(
                fields=["tenant", "user"],
                name="patient_user",
                condition=Q(user__isnull=False, erased_at__isnull=True),
            ),
            models.CheckConstraint(name="patient_tier", condition=Q(tier__range=(0, 3))),
        ]

    def __str__(self) -> str:
        return self.name


class AvailabilityRule(Versioned):
    """A weekly opening of a provider; an end at or before the start is on the next day."""

    class Weekday(models.IntegerChoices):
        MONDAY = 1
        TUESDAY = 2
        WEDNESDAY = 3
        THURSDAY = 4
        FRIDAY = 5
        SATURDAY = 6
        SUNDAY = 7

    facility = models.ForeignKey(Facility, on_delete=models.PROTECT, db_index=False)
    provider = models.ForeignKey(Provider, on_delete=models.PROTECT)
    service = models.ForeignKey(Service, null=True, blank=True, on_delete=models.PROTECT)
    weekday = models.PositiveSmallIntegerField(choices=Weekday)
    start_time = models.TimeField()
    end_time = models.TimeField()
    slot_minutes = models.PositiveSmallIntegerField(
        validators=[MinValueValidator(1), MaxValueValidator(1440)]
    )
    buffer_minutes = models.PositiveSmallIntegerField(
        default=0, validators=[MaxValueValidator(1440)]
    )
    valid_from = models.DateField(null=True, blank=True)
    valid_until = models.DateField(null=True, blank=True)
    is_active = models.BooleanField(default=True)

    class Meta:
        triggers = [triggers.touch(version=True)]
        indexes = [
            models.Index(fields=["facility", "provider"], name="rule_facility"),
            models.Index(fields=["tenant", "weekday", "start_time", "id"], name="rule_times"),
        ]
        constraints = [
            models.CheckConstraint(name="rule_weekday", condition=Q(weekday__range=(1, 7))),
            models.CheckConstraint(
                name="rule_minutes",
                condition=Q(slot_minutes__range=(1, 1440), buffer_minutes__range=(0, 1440)),
            ),
            models.CheckConstraint(
                name="rule_validity",
                condition=Q(valid_until__isnull=True)
                | Q(valid_from__isnull=True)
                | Q(valid_until__gte=F("valid_from")),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_weekday_display()} {self.start_time:%H:%M}-{self.end_time:%H:%M}"


class AvailabilityException(Versioned):
    """One date on which the rules are replaced, for one provider or the whole facility."""

    class Kind(models.TextChoices):
        CLOSED = "closed"
        EMERGENCY = "emergency"  # closed at short notice
        SPECIAL_HOURS = "special_hours"

    facility = models.ForeignKey(Facility, on_delete=models.PROTECT, db_index=False)
    provider = models.ForeignKey(Provider, null=True, blank=True, on_delete=models.PROTECT)
    date = models.DateField()
    kind = models.CharField(max_length=15, choices=Kind)
    start_time = models.TimeField(null=True, blank=True)
    end_time = models.TimeField(null=True, blank=True)

    class Meta:
        triggers = [triggers.touch(version=True)]
        indexes = [
            models.Index(fields=["facility", "date"], name="exception_facility_date"),
            models.Index(fields=["tenant", "date", "id"], name="exception_dates"),
        ]
        constraints = [
            models.CheckConstraint(
                name="exception_hours",
                condition=Q(
                    kind__in=["closed", "emergency"],
                    start_time__isnull=True,
                    end_time__isnull=True,
                )
                | Q(
                    kind="special_hours",
                    start_time__isnull=False,
                    end_time__isnull=False,
                ),
            ),
            models.UniqueConstraint(
                fields=["facility", "provider", "date", "kind", "start_time"],
                name="exception_once",
                nulls_distinct=False,
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.date}"


class TimeBlock(Versioned):
    """A period cut out of the availability of one provider or of the whole facility."""

    facility = models.ForeignKey(Facility, on_delete=models.PROTECT, db_index=False)
    provider = models.ForeignKey(Provider, null=True, blank=True, on_delete=models.PROTECT)
    period = DateTimeRangeField()
    reason = models.CharField(max_length=200, blank=True)

    class Meta:
        triggers = [triggers.touch(version=True)]
        constraints = [models.CheckConstraint(name="timeblock_period", condition=PERIOD)]
        indexes = [
            GistIndex(fields=["facility", "period"], name="timeblock_facility"),
            models.Index(fields=["tenant", "period", "id"], name="timeblock_times"),
        ]

    def __str__(self) -> str:
        return span(period=self.period)


class Slot(TenantRow):
    """A bookable period of a provider. Never deleted; claimed while reserved, held or booked."""

    class Status(models.TextChoices):
        OPEN = "open"
        RESERVED = "reserved"
        HELD = "held"
        BOOKED = "booked"
        BLOCKED = "blocked"
        RETIRED = "retired"

    CLAIMED = (Status.RESERVED, Status.HELD, Status.BOOKED)

    facility = models.ForeignKey(Facility, on_delete=models.PROTECT, db_index=False)
    provider = models.ForeignKey(Provider, on_delete=models.PROTECT, db_index=False)
    service = models.ForeignKey(
        Service, null=True, blank=True, on_delete=models.PROTECT, db_index=False
    )
    period = DateTimeRangeField()
    status = models.CharField(max_length=10, choices=Status, default=Status.OPEN)
    reserved_until = models.DateTimeField(null=True, blank=True)
    reserved_by = models.ForeignKey(
        Patient, null=True, blank=True, on_delete=models.PROTECT, db_index=False
    )
    rule = models.ForeignKey(
        AvailabilityRule,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        db_index=False,
    )
    # No rule makes it any longer: it retires once its claim ends.
    superseded = models.BooleanField(default=False)

    class Meta:
        triggers = [*triggers.state_machine(moves=MOVES["Slot"]), triggers.touch()]
        constraints = [
            models.UniqueConstraint(
                fields=["facility", "provider", "service", "period"],
                name="slot_once",
                nulls_distinct=False,
            ),
            ExclusionConstraint(
                name="slot_provider_claimed_once",
                expressions=[
                    ("provider", RangeOperators.EQUAL),
                    ("period", RangeOperators.OVERLAPS),
                ],
                condition=Q(status__in=["reserved", "held", "booked"]),
            ),
            models.CheckConstraint(name="slot_period", condition=PERIOD),
            models.CheckConstraint(
                name="slot_reserved",
                condition=Q(status="reserved", reserved_until__isnull=False)
                | ~Q(status="reserved") & Q(reserved_until__isnull=True, reserved_by__isnull=True),
            ),
            models.CheckConstraint(
                name="slot_superseded",
                condition=Q(superseded=False) | Q(status__in=["reserved", "held", "booked"]),
            ),
        ]
        indexes = [
            models.Index(
                F("facility"),
                Func(F("period"), function="lower"),
                name="slot_open",
                condition=Q(status="open"),
            ),
            models.Index(
                fields=["facility", "updated_at"],
                name="slot_open_changed",
                condition=Q(status="open"),
            ),
            models.Index(
                fields=["reserved_until"],
                name="slot_reserved_until",
                condition=Q(status="reserved"),
            ),
            # The lists of a tenant, by time or by age. How many are of a facility, a provider or a
            # status is counted in the rows, at about 15 ms for 100,000: to have that in the index
            # too would cost each slot that is made.
            models.Index(
                F("tenant"), Func(F("period"), function="lower"), F("id"), name="slot_times"
            ),
            models.Index(fields=["tenant", "id"], name="slot_tenant"),
        ]

    def __str__(self) -> str:
        return f"{self.status} {span(period=self.period)}"


class Appointment(Versioned):
    """A slot booked for a patient. A reschedule changes its slot, so that it keeps its identity."""

    class Status(models.TextChoices):
        BOOKED = "booked"
        CANCELLED = "cancelled"
        COMPLETED = "completed"
        NO_SHOW = "no_show"

    class Source(models.TextChoices):
        DIRECT = "direct"
        WAITLIST = "waitlist"
        STAFF = "staff"

    slot = models.ForeignKey(Slot, on_delete=models.PROTECT, related_name="appointments")
    patient = models.ForeignKey(Patient, on_delete=models.PROTECT, related_name="appointments")
    facility = models.ForeignKey(Facility, on_delete=models.PROTECT, db_index=False)
    provider = models.ForeignKey(Provider, on_delete=models.PROTECT, db_index=False)
    service = models.ForeignKey(
        Service, null=True, blank=True, on_delete=models.PROTECT, db_index=False
    )
    period = DateTimeRangeField()
    status = models.CharField(max_length=10, choices=Status, default=Status.BOOKED)
    source = models.CharField(max_length=10, choices=Source)
    cancelled_at = models.DateTimeField(null=True, blank=True)
    cancellation_reason = models.CharField(max_length=50, blank=True)

    class Meta:
        triggers = [
            *triggers.state_machine(moves=MOVES["Appointment"]),
            triggers.touch(version=True),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["slot"],
                name="appointment_slot",
                condition=~Q(status="cancelled"),
            ),
            ExclusionConstraint(
                name="appointment_patient_booked_once",
                expressions=[
                    ("patient", RangeOperators.EQUAL),
                    ("period", RangeOperators.OVERLAPS),
                ],
                condition=Q(status="booked"),
            ),
            models.CheckConstraint(name="appointment_period", condition=PERIOD),
            models.CheckConstraint(
                name="appointment_cancelled",
                condition=Q(status="cancelled", cancelled_at__isnull=False)
                | ~Q(status="cancelled") & Q(cancelled_at__isnull=True, cancellation_reason=""),
            ),
            models.CheckConstraint(
                name="appointment_source",
                condition=Q(source__in=["direct", "waitlist", "staff"]),
            ),
        ]
        indexes = [
            models.Index(
                F("facility"),
                Func(F("period"), function="lower"),
                name="appointment_facility",
            ),
            models.Index(
                F("provider"),
                Func(F("period"), function="lower"),
                name="appointment_provider",
            ),
            models.Index(
                F("tenant"), Func(F("period"), function="lower"), F("id"), name="appointment_times"
            ),
            models.Index(fields=["tenant", "id"], name="appointment_tenant"),
        ]

    def __str__(self) -> str:
        return f"{self.status} {span(period=self.period)}"
