"""Pages of the demand: queues, policies, entries and holds; and what the waitlist adds to others.

A row's tenant is the one that may see it: an organizer's entries and holds are on the organizer's
pages, and on none of the venue's.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, cast

from django.contrib import admin, messages
from django.http import HttpRequest

from accounts.access import Right
from accounts.admin import TenantAdmin, TenantInline
from accounts.models import User
from audit import clock
from audit.columns import label, link, moment, rows
from audit.filters import DayFilter, LevelFilter
from audit.pages import Answer, FunctionForm, Rows, action, actor, arguments
from scheduling.admin import (
    FACILITY,
    PROVIDER,
    SERVICE,
    AppointmentAdmin,
    FacilityAdmin,
    PatientAdmin,
    SlotAdmin,
)
from scheduling.admin.forms import ReasonForm, choose_slot
from scheduling.models import Appointment, Facility, Patient, Slot
from waitlist import entries, holds, invites, policies
from waitlist.forms import EndForm, EntryForm, NoteForm, WithdrawForm
from waitlist.models import (
    DailyMetric,
    DryPass,
    EntryNote,
    Fruitless,
    Hold,
    Queue,
    WaitlistEntry,
    WaitlistPolicy,
)

ENTRY_STATUS = label(
    colours={
        "waiting": "info", "offered": "warning", "converted": "success", "cancelled": "danger",
    }
)  # fmt: skip
HOLD_STATUS = label(
    colours={
        "offered": "warning", "accepted": "success", "declined": "danger", "withdrawn": "info",
    }
)  # fmt: skip
AUTHOR = link(field="author")
ACTIVE = (WaitlistEntry.Status.WAITING, WaitlistEntry.Status.OFFERED)


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
                    "quiet_from", "quiet_until",
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


class NoteInline(TenantInline):
    """What staff noted on an entry; notes are added and never changed."""

    model = EntryNote
    adds = True
    form = NoteForm
    fields = ("text", AUTHOR, "at")
    readonly_fields = (AUTHOR, "at")


@admin.register(WaitlistEntry)
class WaitlistEntryAdmin(TenantAdmin):
    """Who waits, for what; wishes are changed here, the rest by actions."""

    adds = edits = True
    subject = "entry"
    history_by = "entry_id"
    form = EntryForm
    list_display = (
        moment(field="joined_at"), ENTRY_STATUS, link(field="patient"), link(field="facility"),
        link(field="provider"), link(field="service"), "urgency", "offers_passed",
        moment(field="expires_at"),
    )  # fmt: skip
    list_filter = (
        "status", ("urgency", LevelFilter), "any_facility", FACILITY, PROVIDER, SERVICE,
        ("joined_at", DayFilter),
    )  # fmt: skip
    list_select_related = ("patient", "organizer", "facility", "provider", "service")
    search_fields = ("patient__name", "patient__email", "patient__phone")
    ids = ("pk", "patient_id")
    autocomplete_fields = ("facility", "patient", "provider", "service")
    wishes = (
        "provider", "provider_required", "service", "any_facility", "preferred_days",
        "preferred_time", "earliest", "latest", "dates_flexible", "urgency",
    )  # fmt: skip
    fixed = (
        "id", ENTRY_STATUS, "patient", "organizer", link(field="facility"), "joined_at",
        "expires_at", "offers_passed", "rank_key", "metadata", "nudged_at", "nudge_answered_at",
        "closed_at", "cancellation_reason", "cancellation_notes", link(field="appointment"),
    )  # fmt: skip
    readonly_fields = fixed
    fieldsets = (
        (None, {"fields": fixed}),
        ("Wishes", {"fields": wishes}),
    )
    links = (rows(title="Holds", of="waitlist_hold", by="entry__id__exact"),)
    inlines = (NoteInline,)
    actions = ("promote", "offer", "still_waits", "waits_no_longer", "cancel")

    @admin.display(description="offers passed", ordering="offers_made")
    def offers_passed(self, row: WaitlistEntry) -> int:
        """Count the offers that were declined or lapsed."""
        return row.offers_made

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Ask who joins which queue, and what they wish."""
        if obj is not None:
            return super().get_fieldsets(request, obj)
        return (None, {"fields": ("facility", "patient")}), ("Wishes", {"fields": self.wishes})

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Fix the wishes of an entry that has ended; it can still be noted on."""
        if obj is None:
            return ()
        fixed = super().get_readonly_fields(request, obj)
        return (*fixed, *self.wishes) if obj.closed_at else fixed

    def save_model(self, request: HttpRequest, obj: WaitlistEntry, form: Any, change: bool) -> None:
        """Let a patient join, or change the wishes."""
        wishes = arguments(form=form, changed=change)
        who, now = actor(request=request), clock.now()
        if not change:
            facility_id, patient_id = wishes.pop("facility_id"), wishes.pop("patient_id")
            made = entries.join(
                facility_id=facility_id, patient_id=patient_id, wishes=wishes, actor=who, now=now
            )
            obj.pk, obj.joined_at = made.pk, made.joined_at
        elif wishes:
            entries.update(entry_id=obj.pk, wishes=wishes, actor=who, now=now)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        """Add the notes."""
        formset.new_objects, formset.changed_objects, formset.deleted_objects = [], [], []
        for note in formset.extra_forms:
            if note.has_changed():
                text, now = note.cleaned_data["text"], clock.now()
                made = entries.add_note(
                    entry_id=form.instance.pk, author=cast(User, request.user), text=text, now=now
                )
                formset.new_objects.append(made)

    def describe(self, row: WaitlistEntry) -> str:
        return f"{row.patient or row.organizer} at {row.facility}, {row}"

    @action(description="Book a slot", status=ACTIVE)
    def promote(self, request: HttpRequest, rows: Rows) -> Answer:
        """Ask for the slot and book it for one entry at once."""
        return self._give_slot(request, rows, invites.promote, title="Book", done="Booked")

    @action(description="Offer a slot", status=ACTIVE)
    def offer(self, request: HttpRequest, rows: Rows) -> Answer:
        """Ask for the slot and offer it to one entry; an offer it has is taken back."""
        return self._give_slot(request, rows, invites.invite, title="Offer", done="Offered")

    def _give_slot(
        self, request: HttpRequest, rows: Rows, call: Callable[..., object], **said: str
    ) -> Answer:
        if len(rows) != 1:
            self.message_user(request, "Choose one entry.", messages.ERROR)
            return None
        form = choose_slot(row=rows[0], now=clock.now())
        return self.ask(request, rows, call, id="entry_id", form=form, **said)

    @action(description="Note that they still wait", status=ACTIVE)
    def still_waits(self, request: HttpRequest, rows: Rows) -> Answer:
        """Note the answer of who was asked."""
        call = partial(entries.answer_nudge, interested=True)
        return self.run(request, rows, call, id="entry_id", done="Noted")

    @action(description="Note that they wait no longer", status=ACTIVE)
    def waits_no_longer(self, request: HttpRequest, rows: Rows) -> Answer:
        """Note the answer of who was asked, which cancels."""
        call = partial(entries.answer_nudge, interested=False)
        return self.run(request, rows, call, id="entry_id", done="Cancelled")

    @action(description="Cancel", status=ACTIVE)
    def cancel(self, request: HttpRequest, rows: Rows) -> Answer:
        """Ask why and cancel; what was offered goes to the next."""
        return self.ask(
            request, rows, entries.cancel, id="entry_id", form=EndForm, title="Cancel",
            done="Cancelled",
        )  # fmt: skip


@admin.register(EntryNote)
class EntryNoteAdmin(TenantAdmin):
    """Notes; they are added on the entry's page."""

    list_display = ("at", link(field="entry"), AUTHOR, "text")
    fields = (link(field="entry"), "text", AUTHOR, "at")
    list_filter = (("at", DayFilter),)
    list_select_related = ("entry", "author")
    ids = ("pk", "entry_id")


@admin.register(Hold)
class HoldAdmin(TenantAdmin):
    """Places kept for those who wait; answered here for those who call."""

    subject = "hold"
    history_by = "subject_id"
    list_display = (
        moment(field="offered_at"), HOLD_STATUS, link(field="entry"), link(field="patient"),
        link(field="facility"), link(field="slot"), "source", "score", moment(field="expires_at"),
    )  # fmt: skip
    list_filter = ("status", "source", FACILITY, ("offered_at", DayFilter))
    list_select_related = ("entry", "patient", "facility", "slot")
    search_fields = ("patient__name", "patient__email", "patient__phone")
    ids = ("pk", "entry_id", "slot_id", "patient_id")
    fields = (
        "id", HOLD_STATUS, link(field="entry"), "patient", link(field="facility"),
        link(field="slot"), "score", "source", moment(field="offered_at"),
        moment(field="expires_at"), moment(field="reminded_at"), moment(field="closed_at"),
    )  # fmt: skip
    actions = ("accept", "decline", "withdraw")

    def describe(self, row: Hold) -> str:
        return f"{row.patient} at {row.facility}, {row.status}" if row.patient else str(row)

    @action(description="Accept for the patient", status=[Hold.Status.OFFERED])
    def accept(self, request: HttpRequest, rows: Rows) -> Answer:
        """Book what is held."""
        return self.run(request, rows, holds.accept, id="hold_id", done="Accepted")

    @action(description="Decline for the patient", status=[Hold.Status.OFFERED])
    def decline(self, request: HttpRequest, rows: Rows) -> Answer:
        """Say no to offers; the slots go to the next."""
        return self.run(request, rows, holds.decline, id="hold_id", done="Declined")

    @action(description="Withdraw", status=[Hold.Status.OFFERED])
    def withdraw(self, request: HttpRequest, rows: Rows) -> Answer:
        """Ask why and take offers back; the slots go to the next."""
        return self.ask(
            request, rows, holds.take_back, id="hold_id", form=WithdrawForm, title="Withdraw",
            done="Withdrawn",
        )  # fmt: skip


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


# What the waitlist adds to the pages of the supply


admin.site.unregister([Facility, Patient, Slot, Appointment])


@admin.register(Facility)
class QueuedFacilityAdmin(FacilityAdmin):
    """A facility, with its queue."""

    links = (
        *FacilityAdmin.links,
        rows(title="Policy", of="waitlist_waitlistpolicy", by="facility__id__exact"),
        rows(title="Entries", of="waitlist_waitlistentry", by="facility__id__exact"),
        rows(title="Holds", of="waitlist_hold", by="facility__id__exact"),
    )


@admin.register(Patient)
class WaitingPatientAdmin(PatientAdmin):
    """A patient, with what they wait for."""

    links = (
        *PatientAdmin.links,
        rows(title="Entries", of="waitlist_waitlistentry", by="patient__id__exact"),
        rows(title="Holds", of="waitlist_hold", by="patient__id__exact"),
    )


@admin.register(Slot)
class OfferedSlotAdmin(SlotAdmin):
    """A slot, which can be offered to those who wait."""

    links = (*SlotAdmin.links, rows(title="Holds", of="waitlist_hold", by="slot__id__exact"))
    actions = (*SlotAdmin.actions, "offer")

    @action(description="Offer to the best match", status=[Slot.Status.OPEN])
    def offer(self, request: HttpRequest, rows: Rows) -> Answer:
        """Offer slots to whom they fit best."""
        call = partial(invites.invite, entry_id=None)
        return self.run(request, rows, call, id="slot_id", done="Offered")


@admin.register(Appointment)
class OfferedAppointmentAdmin(AppointmentAdmin):
    """An appointment, whose vacancy can be offered to those who wait."""

    links = (rows(title="Entries", of="waitlist_waitlistentry", by="appointment__id__exact"),)
    actions = (*AppointmentAdmin.actions, "offer")

    @action(description="Cancel and offer to the best match", status=[Appointment.Status.BOOKED])
    def offer(self, request: HttpRequest, rows: Rows) -> Answer:
        """Ask why, cancel, and offer the slot: both or neither."""
        call = partial(invites.invite_for, entry_id=None)
        return self.ask(
            request, rows, call, id="appointment_id", form=ReasonForm, title="Cancel and offer",
            done="Offered",
        )  # fmt: skip
