"""Pages of rules, exceptions and time blocks: what makes slots, and what takes them away."""

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join

from accounts.admin import TenantAdmin
from audit import clock
from audit.columns import label, link, period, rows
from audit.filters import DayFilter
from audit.pages import Answer, FunctionForm, Rows, action, actor, arguments
from scheduling import blocks, exceptions, rules
from scheduling.admin.forms import BlockForm, RuleForm
from scheduling.admin.places import FACILITY, PROVIDER, SERVICE
from scheduling.models import (
    AvailabilityException,
    AvailabilityRule,
    TimeBlock,
)


@admin.register(AvailabilityRule)
class AvailabilityRuleAdmin(TenantAdmin):
    """Weekly opening hours; the slots that follow change with them."""

    adds = edits = True
    form = RuleForm
    list_display = (
        "weekday", "start_time", "end_time", link(field="provider"), link(field="facility"),
        link(field="service"), "slot_minutes", "buffer_minutes", "valid_from", "valid_until",
        "is_active",
    )  # fmt: skip
    list_filter = ("is_active", "weekday", FACILITY, PROVIDER, SERVICE)
    list_select_related = ("facility", "provider", "service")
    search_fields = ("provider__name", "facility__name")
    autocomplete_fields = ("facility", "provider", "service")
    fields = (
        "facility", "provider", "service", "weekday", "start_time", "end_time", "slot_minutes",
        "buffer_minutes", "valid_from", "valid_until", "is_active",
    )  # fmt: skip
    links = (rows(title="Slots", of="scheduling_slot", by="rule__id__exact"),)
    actions = ("deactivate",)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = super().get_fields(request, obj)
        return fields if obj else tuple(name for name in fields if name != "is_active")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Keep whose rule it is: of another provider or place it is another rule."""
        fixed = super().get_readonly_fields(request, obj)
        return (*fixed, "facility", "provider") if obj else fixed

    def save_model(
        self, request: HttpRequest, obj: AvailabilityRule, form: Any, change: bool
    ) -> None:
        """Add or change the rule, and the coming slots that it makes."""
        given, who = arguments(form=form, changed=change), actor(request=request)
        if not change:
            obj.pk = rules.add(**given, actor=who, now=clock.now()).pk
        elif given:
            rules.change(rule_id=obj.pk, changes=given, actor=who, now=clock.now())

    @action(description="Deactivate")
    def deactivate(self, request: HttpRequest, rows: Rows) -> Answer:
        """End rules; their coming slots retire, unless they are claimed."""
        return self.run(request, rows, rules.deactivate, id="rule_id", done="Deactivated")


@admin.register(AvailabilityException)
class AvailabilityExceptionAdmin(TenantAdmin):
    """Dates on which the rules are replaced."""

    adds = True
    form = FunctionForm
    list_display = (
        "date",
        label(
            field="kind",
            colours={"closed": "warning", "emergency": "danger", "special_hours": "info"},
        ),
        "start_time", "end_time", link(field="facility"), link(field="provider"),
    )  # fmt: skip
    list_filter = ("kind", FACILITY, PROVIDER)
    list_select_related = ("facility", "provider")
    date_hierarchy = "date"
    search_fields = ("facility__name", "provider__name")
    autocomplete_fields = ("facility", "provider")
    fields = ("facility", "provider", "date", "kind", "start_time", "end_time")
    actions = ("remove",)

    def save_model(
        self, request: HttpRequest, obj: AvailabilityException, form: Any, change: bool
    ) -> None:
        """Add the exception, and settle the slots of its date."""
        given, who = arguments(form=form), actor(request=request)
        obj.pk = exceptions.add(**given, actor=who, now=clock.now()).pk

    @action(description="Remove")
    def remove(self, request: HttpRequest, rows: Rows) -> Answer:
        """Let the rules of the dates count again."""
        return self.run(request, rows, exceptions.remove, id="exception_id", done="Removed")


@admin.register(TimeBlock)
class TimeBlockAdmin(TenantAdmin):
    """Periods cut out of availability."""

    adds = True
    subject = "block"
    history_by = "subject_id"
    form = BlockForm
    list_display = (period(), link(field="facility"), link(field="provider"), "reason")
    list_filter = (FACILITY, PROVIDER, ("period", DayFilter))
    list_select_related = ("facility", "provider")
    search_fields = ("reason", "facility__name", "provider__name")
    autocomplete_fields = ("facility", "provider")
    actions = ("remove",)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        times = [period()] if obj else ["starts_at", "ends_at"]
        return ("facility", "provider", *times, "reason")

    def save_model(self, request: HttpRequest, obj: TimeBlock, form: Any, change: bool) -> None:
        """Block the time, and name the booked appointments under it."""
        given, who = arguments(form=form), actor(request=request)
        made = blocks.create(**given, actor=who, now=clock.now())
        obj.pk, obj.period = made.block.pk, made.block.period
        if made.conflicts:
            links = format_html_join(
                ", ",
                '<a href="{}" class="underline">{}</a>',
                (
                    (reverse("admin:scheduling_appointment_change", args=[one.pk]), one.pk)
                    for one in made.conflicts
                ),
            )
            messages.warning(request, format_html("Booked under this block, to settle: {}", links))

    @action(description="Remove")
    def remove(self, request: HttpRequest, rows: Rows) -> Answer:
        """Take blocks away; their slots open again."""
        return self.run(request, rows, blocks.remove, id="block_id", done="Removed")
