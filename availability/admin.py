"""Pages of RFPs, of what venues answered, of what they show and of the signals behind it."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from unfold.widgets import UnfoldAdminSelectWidget

from accounts import access
from accounts.access import Right
from accounts.admin import InTenant, TenantAdmin
from audit import clock
from audit.columns import Column, label, link, rows
from audit.filters import DayFilter
from audit.pages import Admin, Answer, FunctionForm, Rows, action, actor, arguments
from availability import rfps, statuses
from availability.models import ReceivedRfp, Rfp, RfpVenue, Signal, VenueAvailability
from scheduling.models import Facility

TARGET_STATUS = label(colours={"responded": "primary", "shortlisted": "info", "awarded": "success"})
STATUS = label(
    field="status",
    colours={
        "accepting_events": "success", "limited_availability": "warning", "fully_booked": "danger",
        "seasonal": "info",
    },
)  # fmt: skip


@admin.register(Rfp)
class RfpAdmin(TenantAdmin):
    """What an organizer asks venues for; written over the API."""

    subject = "rfp"
    history_by = "subject_id"
    list_display = (
        "title", "event_type", "preferred_dates_start", "preferred_dates_end",
        label(
            field="status",
            colours={"draft": "info", "sent": "primary", "awarded": "success"},
        ),
        "response_deadline",
    )  # fmt: skip
    list_filter = ("status", ("response_deadline", DayFilter))
    search_fields = ("title",)
    fields = (
        "tenant", "title", "event_type", "preferred_dates_start", "preferred_dates_end",
        "dates_flexible", "attendance_min", "attendance_max", "space_requirements",
        "response_deadline", "status", "sent_at", link(field="duplicated_from"),
    )  # fmt: skip
    list_select_related = ("duplicated_from",)
    links: tuple[Column, ...] = (
        rows(title="Venues", of="availability_rfpvenue", by="rfp__id__exact"),
    )
    actions = ("send", "close")

    @action(description="Send", status=[Rfp.Status.DRAFT])
    def send(self, request: HttpRequest, rows: Rows) -> Answer:
        """Let the venues of drafts see them."""
        return self.run(request, rows, rfps.send, id="rfp_id", done="Sent")

    @action(description="Close", status=Rfp.ACTIVE)
    def close(self, request: HttpRequest, rows: Rows) -> Answer:
        """End RFPs that no venue gets."""
        return self.run(request, rows, rfps.close, id="rfp_id", done="Closed")


@admin.register(RfpVenue)
class RfpVenueAdmin(TenantAdmin):
    """Whom an organizer asked, and what they answered."""

    subject = "rfp_venue"
    history_by = "subject_id"
    list_display = (
        link(field="rfp"), link(field="facility"), TARGET_STATUS, "response", "responded_at",
    )  # fmt: skip
    asked_by = ("rfp",)
    list_filter = ("status", "response")
    list_select_related = ("rfp", "facility")
    search_fields = ("rfp__title", "facility__name")
    ids = ("pk", "rfp_id", "facility_id")
    fields = (
        "tenant", link(field="rfp"), link(field="facility"), "status", "response",
        "response_notes", "responded_at",
    )  # fmt: skip


def _asked(*, field: str) -> Column:
    """Show what the RFP says."""

    def show(row: ReceivedRfp) -> Any:
        return getattr(row.rfp, field)

    show.__name__ = f"rfp_{field}"
    return admin.display(description=field.replace("_", " "), ordering=f"rfp__{field}")(show)


ASKED = tuple(
    _asked(field=field)
    for field in (
        "title", "event_type", "preferred_dates_start", "preferred_dates_end", "dates_flexible",
        "attendance_min", "attendance_max", "space_requirements", "response_deadline", "sent_at",
    )
)  # fmt: skip


@admin.register(ReceivedRfp)
class ReceivedRfpAdmin(Admin):
    """RFPs as venues got them, for the venues' people; they are answered over the API."""

    list_display = (
        _asked(field="title"), "organizer", "facility", _asked(field="preferred_dates_start"),
        TARGET_STATUS, "response", _asked(field="response_deadline"),
    )  # fmt: skip
    list_filter = ("status", "response")
    list_select_related = ("rfp", "facility", "tenant")
    search_fields = ("rfp__title", "tenant__name", "facility__name")
    ids = ("pk", "rfp_id", "facility_id")
    readonly_fields = ("organizer", "rfp_status", *ASKED)
    fieldsets = (
        ("Asked", {"fields": readonly_fields}),
        (
            "Answered",
            {"fields": ("facility", "status", "response", "response_notes", "responded_at")},
        ),
    )

    def may(self, request: HttpRequest, row: Any = None, *, edit: bool = False) -> bool:
        """Say whether the user works for the venue: the row's tenant is the organizer's."""
        tenant_id = row.facility.tenant_id if row else None
        return access.may(user=request.user, right=Right.WORK, tenant_id=tenant_id)

    def get_queryset(self, request: HttpRequest) -> Rows:
        """Return what was sent to the venues of the user's tenants."""
        places = access.rows_of(user=request.user, rows=Facility.objects.all())
        sent: Rows = super().get_queryset(request).filter(rfp__sent_at__isnull=False)
        return sent.filter(facility__in=places)

    @admin.display(description="organizer", ordering="tenant__name")
    def organizer(self, row: ReceivedRfp) -> str:
        """Say who asks."""
        return row.tenant.name

    @admin.display(description="RFP status", ordering="rfp__status")
    def rfp_status(self, row: ReceivedRfp) -> str:
        """Say what became of what was asked."""
        return row.rfp.get_status_display()


class AvailabilityForm(FunctionForm):
    """What the venue's admin wants to be shown."""

    status = forms.ChoiceField(choices=statuses.BY_HAND, widget=UnfoldAdminSelectWidget)

    class Meta:
        model = VenueAvailability
        fields = ("status",)


@admin.register(VenueAvailability)
class VenueAvailabilityAdmin(TenantAdmin):
    """What is shown of venues; their admins may set it by hand."""

    edits = True
    right = edit_right = Right.MANAGE
    subject = "venue"
    history_by = "subject_id"
    form = AvailabilityForm
    list_display = (
        "facility", STATUS, "manual_override_at", "inferred_status", "last_inferred_at",
    )  # fmt: skip
    list_filter = (
        "status", "inferred_status", ("manual_override_at", admin.EmptyFieldListFilter),
    )  # fmt: skip
    list_select_related = ("facility",)
    search_fields = ("facility__name",)
    fields = (
        "facility", "status", "manual_override_at", "inferred_status", "last_inferred_at",
        "vacant_since",
    )  # fmt: skip
    readonly_fields = (
        "facility", "manual_override_at", "inferred_status", "last_inferred_at", "vacant_since",
    )  # fmt: skip
    actions = ("clear_override",)

    def save_model(
        self, request: HttpRequest, obj: VenueAvailability, form: Any, change: bool
    ) -> None:
        """Show what was chosen."""
        given = arguments(form=form)
        statuses.set_by_hand(
            facility_id=obj.pk, status=given["status"], actor=actor(request=request),
            now=clock.now(),
        )  # fmt: skip

    @action(description="Clear what was set by hand")
    def clear_override(self, request: HttpRequest, rows: Rows) -> Answer:
        """Show again what the signals say."""
        return self.run(request, rows, statuses.clear_override, id="facility_id", done="Cleared")


@admin.register(Signal)
class SignalAdmin(InTenant, Admin):
    """Facts about the availability of venues. Nobody changes them."""

    list_display = ("recorded_at", "type", "facility_id", "signal_date")
    list_filter = ("type", ("recorded_at", DayFilter))
    ids = ("pk", "facility_id", "rfp_id", "rfp_venue_id")
    fields = (
        "recorded_at", "type", "facility_id", "rfp_id", "rfp_venue_id", "signal_date", "metadata",
    )  # fmt: skip
