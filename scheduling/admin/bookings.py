"""Pages of slots and appointments. Rules make slots; here they are claimed and freed."""

from collections.abc import Callable
from functools import partial
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, QueryDict

from accounts import access
from accounts.admin import TenantAdmin
from audit import clock
from audit.columns import Column, label, link, moment, period, rows
from audit.filters import DayFilter
from audit.pages import Answer, Rows, action
from scheduling import appointments, slots
from scheduling.admin.forms import (
    PatientForm,
    ReasonForm,
    choose_slot,
    describe,
)
from scheduling.admin.places import FACILITY, PROVIDER, SERVICE
from scheduling.models import (
    Appointment,
    Patient,
    Slot,
)

SLOT_STATUS = label(
    colours={
        "open": "success", "reserved": "info", "held": "warning", "booked": "primary",
        "blocked": "danger",
    }
)  # fmt: skip
APPOINTMENT_STATUS = label(
    colours={
        "booked": "primary", "cancelled": "danger", "completed": "success", "no_show": "warning",
    }
)  # fmt: skip


@admin.register(Slot)
class SlotAdmin(TenantAdmin):
    """Bookable periods. Rules make them; here they are claimed and freed."""

    subject = "slot"
    history_by = "subject_id"
    list_display = (
        period(), SLOT_STATUS, link(field="provider"), link(field="facility"),
        link(field="service"), moment(field="reserved_until"),
    )  # fmt: skip
    asked_by = ("rule",)
    list_filter = ("status", FACILITY, PROVIDER, SERVICE, ("period", DayFilter))
    list_select_related = ("facility", "provider", "service")
    search_fields = ("facility__name", "provider__name")
    fields = (
        "id", period(), SLOT_STATUS, "facility", "provider", "service", "rule", "reserved_by",
        moment(field="reserved_until"), "superseded",
    )  # fmt: skip
    links: tuple[Column, ...] = (
        rows(title="Appointments", of="scheduling_appointment", by="slot__id__exact"),
    )
    actions: tuple[str, ...] = ("book", "reserve", "release")

    def get_ordering(self, request: HttpRequest) -> Any:
        """Show the latest period first; of all tenants at once, for want of an index, the newest.

        The index is `slot_times`.
        """
        chosen = "tenant__id__exact" in request.GET
        if access.is_operator(user=request.user) and not chosen:
            return self.ordering
        return ("-period__startswith", "-pk")

    def describe(self, row: Slot) -> str:
        return describe(slot=row)

    @action(description="Book for a patient", status=[Slot.Status.OPEN, Slot.Status.RESERVED])
    def book(self, request: HttpRequest, rows: Rows) -> Answer:
        """Ask for the patient and book."""
        call = partial(appointments.book, source=Appointment.Source.STAFF)
        form = self._choose_patient(request)
        return self.ask(request, rows, call, id="slot_id", form=form, title="Book", done="Booked")

    @action(description="Reserve for a patient", status=[Slot.Status.OPEN])
    def reserve(self, request: HttpRequest, rows: Rows) -> Answer:
        """Ask for the patient and keep the slots for ten minutes."""
        form = self._choose_patient(request)
        return self.ask(
            request, rows, slots.reserve, id="slot_id", form=form, title="Reserve", done="Reserved"
        )

    @action(description="Release the reservation", status=[Slot.Status.RESERVED])
    def release(self, request: HttpRequest, rows: Rows) -> Answer:
        """Give reservations up."""
        return self.run(request, rows, slots.release, id="slot_id", done="Released")

    def _choose_patient(self, request: HttpRequest) -> Callable[[QueryDict | None], forms.Form]:
        mine = access.rows_of(user=request.user, rows=Patient.objects.all())
        return partial(PatientForm, patients=mine)


@admin.register(Appointment)
class AppointmentAdmin(TenantAdmin):
    """Slots booked for patients."""

    subject = "appointment"
    history_by = "subject_id"
    list_display = (
        period(), APPOINTMENT_STATUS, link(field="patient"), link(field="provider"),
        link(field="facility"), link(field="service"), "source",
    )  # fmt: skip
    asked_by = ("slot", "patient")
    list_filter = ("status", "source", FACILITY, PROVIDER, SERVICE, ("period", DayFilter))
    list_select_related = ("facility", "provider", "service", "patient")
    search_fields = ("patient__name", "patient__email", "patient__phone")
    ids = ("pk", "slot_id", "patient_id")
    fields = (
        "id", period(), APPOINTMENT_STATUS, "patient", link(field="slot"), "facility", "provider",
        "service", "source", "cancelled_at", "cancellation_reason",
    )  # fmt: skip
    actions: tuple[str, ...] = ("cancel", "reschedule", "complete", "miss")

    def describe(self, row: Appointment) -> str:
        return f"{row.patient}, {describe(slot=row)}"

    @action(description="Cancel", status=[Appointment.Status.BOOKED])
    def cancel(self, request: HttpRequest, rows: Rows) -> Answer:
        """Ask why and cancel; who waits for the slot is found on commit."""
        return self.ask(
            request, rows, appointments.cancel, id="appointment_id", form=ReasonForm,
            title="Cancel", done="Cancelled",
        )  # fmt: skip

    @action(description="Move to another slot", status=[Appointment.Status.BOOKED])
    def reschedule(self, request: HttpRequest, rows: Rows) -> Answer:
        """Ask for the slot and move one appointment to it."""
        if len(rows) != 1:
            self.message_user(request, "Choose one appointment.", messages.ERROR)
            return None
        form = choose_slot(row=rows[0], now=clock.now())
        return self.ask(
            request, rows, appointments.reschedule, id="appointment_id", form=form, title="Move",
            done="Moved",
        )  # fmt: skip

    @action(description="The patient came", status=[Appointment.Status.BOOKED])
    def complete(self, request: HttpRequest, rows: Rows) -> Answer:
        """Note that patients came."""
        call = appointments.complete
        return self.run(request, rows, call, id="appointment_id", done="Completed")

    @action(description="The patient did not come", status=[Appointment.Status.BOOKED])
    def miss(self, request: HttpRequest, rows: Rows) -> Answer:
        """Note that patients did not come."""
        return self.run(request, rows, appointments.miss, id="appointment_id", done="Missed")
