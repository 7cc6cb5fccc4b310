"""Forms of the admin: what an action on an entry has to ask, and what a policy is checked by."""

from typing import Any, ClassVar

from django import forms
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
)

from audit.pages import FunctionForm
from waitlist import entries
from waitlist.models import EntryNote, WaitlistEntry

WEEKDAYS = tuple(
    enumerate(("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"), 1)
)


#: Why an offer is withdrawn.
WITHDRAWALS = (
    ("offered_by_mistake", "It was offered by mistake"),
    ("slot_needed", "The slot is needed for something else"),
    ("other", "Another reason"),
)


class WithdrawForm(forms.Form):
    """Why an offer is withdrawn."""

    reason = forms.ChoiceField(choices=WITHDRAWALS, widget=UnfoldAdminSelectWidget)


class EndForm(forms.Form):
    """Why an entry is cancelled."""

    reason = forms.ChoiceField(choices=entries.REASONS, widget=UnfoldAdminSelectWidget)
    notes = forms.CharField(required=False, widget=UnfoldAdminTextareaWidget)


class EntryForm(FunctionForm):
    """What a requester wishes."""

    preferred_days = forms.TypedMultipleChoiceField(
        choices=WEEKDAYS, coerce=int, required=False, widget=UnfoldAdminCheckboxSelectMultipleWidget
    )

    class Meta:
        model = WaitlistEntry
        exclude = ()  # the page says which
        help_texts: ClassVar = {"earliest": "in UTC", "latest": "in UTC"}


class NoteForm(forms.ModelForm[EntryNote]):
    """A note, in a few words."""

    text: Any = forms.CharField(widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}))

    class Meta:
        model = EntryNote
        fields = ("text",)
