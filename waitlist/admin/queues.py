"""Pages of queues, their policies, and what passes and days leave behind."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.http import HttpRequest

from accounts.access import Right
from accounts.admin import TenantAdmin
from audit import clock
from audit.columns import label, link, moment
from audit.events import Actor
from audit.filters import DayFilter
from audit.pages import Admin, Answer, FunctionForm, Rows, action, actor, arguments
from scheduling.admin import FACILITY
from scheduling.models import Facility
from waitlist import breakers, policies, presets
from waitlist.models import (
    CircuitBreaker,
    DailyMetric,
    DryPass,
    Fruitless,
    Queue,
    Uncounted,
    WaitlistPolicy,
)

BREAKER_STATUS = label(
    colours={"tripped": "warning", "deactivated": "danger", "resolved": "success"}
)


@admin.register(Queue)
class QueueAdmin(TenantAdmin):
    """The waitlist of a facility, as the engine keeps it."""

    # Not its revisions: a venue's go on with each organizer that joins.
    list_display = ("facility", "deactivated_at")
    list_filter = (("deactivated_at", admin.EmptyFieldListFilter),)
    list_select_related = ("facility",)
    search_fields = ("facility__name",)
    fields = ("facility", "deactivated_at")


@admin.register(WaitlistPolicy)
class WaitlistPolicyAdmin(TenantAdmin):
    """How queues behave. Staff read it, the tenant's admins change it."""

    edits = True
    edit_right = Right.MANAGE
    subject = "policy"
    history_by = "subject_id"
    form = FunctionForm
    list_display = (
        "facility", "ordering", "matching", "hold_window", "on_hold_expiry", "on_decline",
        "auto_invite", "max_queue_size",
    )  # fmt: skip
    list_filter = ("ordering", "matching", "auto_invite", FACILITY)
    list_select_related = ("facility",)
    search_fields = ("facility__name",)
    readonly_fields = ("facility",)
    fieldsets = (
        (None, {"fields": ("facility", "ordering", "matching", "auto_invite")}),
        (
            "Offers",
            {
                "fields": (
                    "hold_window", "reminder_lead", "on_hold_expiry", "on_decline",
                    "max_offers_per_entry", "min_notice", "look_ahead", "min_hold",
                    "quiet_from", "quiet_until", "breaker_threshold", "breaker_timeout",
                ),
            },
        ),
        (
            "Joining and leaving",
            {
                "fields": (
                    "max_queue_size", "max_active_per_requester", "unique_per_service",
                    "entry_ttl", "grace", "nudge_after", "nudge_grace",
                ),
            },
        ),
        (
            "Who fits",
            {
                "fields": (
                    "match_provider", "match_location", "match_service", "match_days",
                    "min_match_score",
                ),
            },
        ),
        (
            "Who goes first",
            {"fields": ("wait_per_day", "membership", "chronic", "short_window", "urgency")},
        ),
    )  # fmt: skip

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Fix what is not for this kind of facility to change."""
        fixed = super().get_readonly_fields(request, obj)
        return (*fixed, *presets.FIXED.get(obj.facility.kind, ())) if obj else fixed

    def save_model(
        self, request: HttpRequest, obj: WaitlistPolicy, form: Any, change: bool
    ) -> None:
        """Change the policy under its queue's lock."""
        policies.change(
            facility_id=obj.facility_id,
            changes=arguments(form=form, changed=True),
            actor=actor(request=request),
            now=clock.now(),
        )


@admin.register(CircuitBreaker)
class CircuitBreakerAdmin(TenantAdmin):
    """Venues whose offers nobody answered and so have stopped, for those who manage them."""

    right = edit_right = Right.MANAGE
    subject = "breaker"
    history_by = "subject_id"
    list_display = (
        moment(field="tripped_at"), BREAKER_STATUS, link(field="facility"),
        moment(field="resolved_at"), link(field="resolved_by"),
    )  # fmt: skip
    fields = (
        "id", BREAKER_STATUS, link(field="facility"), moment(field="tripped_at"),
        moment(field="resolved_at"), link(field="resolved_by"),
    )  # fmt: skip
    list_filter = ("status", FACILITY, ("tripped_at", DayFilter))
    list_select_related = ("facility", "resolved_by")
    search_fields = ("facility__name",)
    actions = ("resolve",)

    @action(
        description="Let offers go on",
        status=[CircuitBreaker.Status.TRIPPED, CircuitBreaker.Status.DEACTIVATED],
    )
    def resolve(self, request: HttpRequest, rows: Rows) -> Answer:
        """Resolve them; the venues are offered to the next who waits."""
        return self.run(request, rows, _resolve, id="breaker_id", done="Resolved")


def _resolve(*, breaker_id: UUID, actor: Actor, now: datetime) -> None:
    """Resolve a breaker that is open, as the row of a list names it."""
    breaker = CircuitBreaker.objects.get(pk=breaker_id)
    if breaker.status == CircuitBreaker.Status.RESOLVED:
        raise breakers.NoBreaker("It is resolved already.")
    breakers.resolve(facility_id=breaker.facility_id, actor=actor, now=now)


@admin.register(Fruitless)
class FruitlessAdmin(TenantAdmin):
    """Slots that nobody fitted when last tried; not a venue's, which are tried as others join."""

    list_display = ("tried_at", link(field="slot"))
    fields = ("tried_at", link(field="slot"))
    list_filter = (("tried_at", DayFilter),)
    list_select_related = ("slot__facility",)
    ids = ("pk", "slot_id")

    def get_queryset(self, request: HttpRequest) -> Rows:
        return super().get_queryset(request).exclude(slot__facility__kind=Facility.Kind.VENUE)


@admin.register(DryPass)
class DryPassAdmin(TenantAdmin):
    """Facilities whose last pass left no slot to try; not venues, passed as others join."""

    list_display = (link(field="facility"), moment(field="tried_at"), moment(field="until"))
    fields = (link(field="facility"), "tried_at", "until")
    list_filter = (FACILITY, ("tried_at", DayFilter))
    list_select_related = ("facility",)
    ids = ("pk",)

    def get_queryset(self, request: HttpRequest) -> Rows:
        return super().get_queryset(request).exclude(facility__kind=Facility.Kind.VENUE)


@admin.register(Uncounted)
class UncountedAdmin(Admin):
    """Changes that the next scan counts; not for tenants: a venue's would tell who waits."""

    list_display = (link(field="facility"), moment(field="created_at"))
    fields = (link(field="facility"), "created_at", "revision", "visitors_revision",
              "supply_revision")  # fmt: skip
    list_select_related = ("facility",)


@admin.register(DailyMetric)
class DailyMetricAdmin(TenantAdmin):
    """What happened in a queue on a day."""

    list_display = (
        "day", link(field="facility"), "queue_depth", "offers", "promotions", "expired",
        "cancelled", "conversion_rate", "slots_freed", "slots_refilled", "median_fill_seconds",
    )  # fmt: skip
    list_filter = (FACILITY,)
    list_select_related = ("facility",)
    date_hierarchy = "day"
    search_fields = ("facility__name",)
