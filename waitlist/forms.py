"""Forms of the admin: what an action on an entry has to ask, and what a policy is checked by."""

from collections.abc import Iterable
from typing import Any, ClassVar, cast

from django import forms
from django.http import QueryDict
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
    """Why entries are cancelled: a reason that each of them may have."""

    reason = forms.ChoiceField(widget=UnfoldAdminSelectWidget)
    notes = forms.CharField(required=False, widget=UnfoldAdminTextareaWidget)

    def __init__(self, data: QueryDict | None = None, *, rows: Iterable[WaitlistEntry]) -> None:
        super().__init__(data)
        organizers = {row.organizer_id is not None for row in rows}
        lists = [entries.ORGANIZER_REASONS if one else entries.REASONS for one in organizers]
        reasons = cast(forms.ChoiceField, self.fields["reason"])
        reasons.choices = [one for one in lists[0] if all(one in others for others in lists)]


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
