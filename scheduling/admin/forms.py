"""Forms of the admin: what an action has to ask, and times by the clock of a facility."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID
from zoneinfo import ZoneInfo

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import QueryDict
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminSplitDateTimeWidget,
    UnfoldAdminUUIDInputWidget,
)

from accounts.admin import IdSelect
from audit.clock import span
from audit.pages import FunctionForm
from scheduling import appointments
from scheduling.models import (
    Appointment,
    AvailabilityRule,
    Patient,
    Slot,
    TimeBlock,
)

#: How many open slots a form offers.
OFFERED = 100


class ReasonForm(forms.Form):
    """Why an appointment is cancelled."""

    reason = forms.ChoiceField(choices=appointments.REASONS, widget=UnfoldAdminSelectWidget)


class PatientForm(forms.Form):
    """For whom a slot is booked or reserved."""

    patient_id = forms.ModelChoiceField(queryset=Patient.objects.none(), label="Patient")

    def __init__(self, data: QueryDict | None, *, patients: QuerySet[Patient]) -> None:
        super().__init__(data)
        field: Any = self.fields["patient_id"]
        field.widget = IdSelect(
            Appointment._meta.get_field("patient"), admin.site, attrs={"style": "width: 100%"}
        )
        field.queryset = patients

    def clean_patient_id(self) -> UUID:
        """Return what functions take."""
        patient: Patient = self.cleaned_data["patient_id"]
        return patient.pk


class SlotForm(forms.Form):
    """One of the next open slots of a facility, or another by its id."""

    slot_id = forms.TypedChoiceField(
        label="Slot", coerce=UUID, empty_value=None, required=False, widget=UnfoldAdminSelectWidget
    )
    other = forms.UUIDField(
        label="Or another slot, by its id", required=False, widget=UnfoldAdminUUIDInputWidget
    )

    def __init__(self, data: QueryDict | None, *, slots: Iterable[Slot]) -> None:
        super().__init__(data)
        field: Any = self.fields["slot_id"]
        named = [(str(slot.pk), describe(slot=slot)) for slot in slots]
        field.choices = [("", "Select value"), *named]

    def clean(self) -> dict[str, Any]:
        """Let one of the two be given."""
        cleaned = super().clean() or {}
        given = [id for id in (cleaned.get("slot_id"), cleaned.get("other")) if id is not None]
        if len(given) != 1 and not self.errors:
            self.add_error("slot_id", "Choose a slot, or give the id of another.")
        return {"slot_id": next(iter(given), None)}


def describe(*, slot: Slot | Appointment) -> str:
    """Say when something is, with whom and for what."""
    when = span(period=slot.period, zone=ZoneInfo(slot.facility.timezone))
    return ", ".join(str(part) for part in (when, slot.provider, slot.service) if part)


def choose_slot(*, row: Any, now: datetime) -> Callable[[QueryDict | None], SlotForm]:
    """Make the form that offers the next open slots of a row's tenant at the row's facility."""
    slots = Slot.objects.filter(
        tenant=row.tenant_id,
        facility=row.facility_id,
        status=Slot.Status.OPEN,
        period__startswith__gt=now,
    ).select_related("facility", "provider", "service")
    return lambda data: SlotForm(data, slots=slots.order_by("period", "pk")[:OFFERED])


class RuleForm(FunctionForm):
    """A weekly opening."""

    class Meta:
        model = AvailabilityRule
        exclude = ()  # the page says which
        help_texts: ClassVar = {
            "service": "empty: for every service",
            "start_time": "by the clock of the facility",
            "end_time": "at or before the start: on the next day",
        }


class BlockForm(FunctionForm):
    """A time block, given by the clock of its facility."""

    starts_at = forms.SplitDateTimeField(
        widget=UnfoldAdminSplitDateTimeWidget, help_text="by the clock of the facility"
    )
    ends_at = forms.SplitDateTimeField(
        widget=UnfoldAdminSplitDateTimeWidget, help_text="by the clock of the facility"
    )

    class Meta:
        model = TimeBlock
        fields = ("facility", "provider", "reason")

    def clean(self) -> dict[str, Any] | None:
        """Read the times in the facility's zone."""
        cleaned = super().clean() or {}
        if facility := cleaned.get("facility"):
            zone = ZoneInfo(facility.timezone)
            for name in ("starts_at", "ends_at"):
                if name in cleaned:
                    cleaned[name] = cleaned[name].replace(tzinfo=zone)
        return cleaned
