"""What the waitlist adds to the pages of facilities, patients, slots and appointments."""

from functools import partial
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest

from accounts import access
from accounts.access import Right
from audit.columns import rows
from audit.pages import Answer, Rows, action
from scheduling.admin import AppointmentAdmin, FacilityAdmin, PatientAdmin, SlotAdmin
from scheduling.admin.forms import ReasonForm
from scheduling.models import Appointment, Facility, Patient, Slot
from waitlist import erasure, invites

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
    actions = ("erase",)

    def get_actions(self, request: HttpRequest) -> Any:
        """Let admins erase."""
        found = super().get_actions(request)
        if not access.may(user=request.user, right=Right.MANAGE):
            found.pop("erase", None)
        return found

    @action(description="Erase")
    def erase(self, request: HttpRequest, rows: Rows) -> Answer:
        """Ask whether that is meant, and forget who patients are."""
        if access.rows_of(user=request.user, rows=rows, right=Right.MANAGE).count() < len(rows):
            self.message_user(request, "Only an admin of their tenant may.", messages.ERROR)
            return None
        return self.ask(
            request, rows, erasure.erase, id="patient_id", form=forms.Form,
            title="Erase for good", done="Erased",
        )  # fmt: skip


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
