"""Pages of entries, the notes on them, and holds."""

from collections.abc import Callable
from functools import partial
from typing import Any, cast

from django.contrib import admin, messages
from django.http import HttpRequest

from accounts.admin import TenantAdmin, TenantInline
from accounts.models import User
from audit import clock
from audit.columns import label, link, moment, rows
from audit.filters import DayFilter, LevelFilter
from audit.pages import Answer, Rows, action, actor, arguments
from scheduling.admin import FACILITY, PROVIDER, SERVICE
from scheduling.admin.forms import choose_slot
from waitlist import entries, holds, invites, nudges, offers
from waitlist.forms import EndForm, EntryForm, NoteForm, WithdrawForm
from waitlist.models import EntryNote, Hold, WaitlistEntry

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
    asked_by = ("patient", "appointment")
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
        link(field="rfp_venue"), link(field="converted_rfp"),
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
        """Fix the wishes of an entry that has ended or is an organizer's; it can be noted on."""
        if obj is None:
            return ()
        fixed = super().get_readonly_fields(request, obj)
        return (*fixed, *self.wishes) if obj.closed_at or obj.organizer_id else fixed

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
        call = partial(nudges.answer, interested=True)
        return self.run(request, rows, call, id="entry_id", done="Noted")

    @action(description="Note that they wait no longer", status=ACTIVE)
    def waits_no_longer(self, request: HttpRequest, rows: Rows) -> Answer:
        """Note the answer of who was asked, which cancels."""
        call = partial(nudges.answer, interested=False)
        return self.run(request, rows, call, id="entry_id", done="Cancelled")

    @action(description="Cancel", status=ACTIVE)
    def cancel(self, request: HttpRequest, rows: Rows) -> Answer:
        """Ask why and cancel; what was offered goes to the next."""
        form = partial(EndForm, rows=rows)
        return self.ask(
            request, rows, entries.cancel, id="entry_id", form=form, title="Cancel",
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
    asked_by = ("entry", "patient", "slot")
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

    @action(description="Accept for who waits", status=[Hold.Status.OFFERED])
    def accept(self, request: HttpRequest, rows: Rows) -> Answer:
        """Book what is held; of a venue, draft a request to it."""
        return self.run(request, rows, offers.accept, id="hold_id", done="Accepted")

    @action(description="Decline for who waits", status=[Hold.Status.OFFERED])
    def decline(self, request: HttpRequest, rows: Rows) -> Answer:
        """Say no to offers; what was held goes to the next."""
        return self.run(request, rows, holds.decline, id="hold_id", done="Declined")

    @action(description="Withdraw", status=[Hold.Status.OFFERED])
    def withdraw(self, request: HttpRequest, rows: Rows) -> Answer:
        """Ask why and take offers back; what was held goes to the next."""
        return self.ask(
            request, rows, holds.take_back, id="hold_id", form=WithdrawForm, title="Withdraw",
            done="Withdrawn",
        )  # fmt: skip
