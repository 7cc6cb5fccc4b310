"""What every page of the admin shares.

A page calls the functions that the rest of the house calls, and shows what they refuse.
"""

import json
from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar, TypeVar, cast
from urllib.parse import urlencode
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.core.paginator import Paginator
from django.db import IntegrityError, transaction
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.functional import cached_property
from unfold.admin import ModelAdmin
from unfold.views import ChangeList

from audit import clock
from audit.columns import Column
from audit.errors import Refused
from audit.events import Actor

Rows = QuerySet[Any]
Answer = HttpResponse | None
F = TypeVar("F", bound=Callable[..., Answer])

#: What a function raises when it changes nothing and says why.
REFUSALS = (Refused, ValidationError, IntegrityError)

#: How many failures of one action are told one by one.
TOLD = 10


def reasons(*, refusal: Exception) -> dict[str, list[str]]:
    """Say why something was refused, by the field at fault."""
    if isinstance(refusal, ValidationError):
        if hasattr(refusal, "error_dict"):
            return refusal.message_dict
        return {NON_FIELD_ERRORS: refusal.messages}
    if isinstance(refusal, Refused):
        return {refusal.field or NON_FIELD_ERRORS: [str(refusal)]}
    name = getattr(getattr(refusal.__cause__, "diag", None), "constraint_name", None)
    return {NON_FIELD_ERRORS: [f"This is at odds with what is there already ({name})."]}


def sentence(*, refusal: Exception) -> str:
    """Say in one line why something was refused."""
    return " ".join(
        " ".join(texts) if field == NON_FIELD_ERRORS else f"{field}: {' '.join(texts)}"
        for field, texts in reasons(refusal=refusal).items()
    )


def actor(*, request: HttpRequest) -> Actor:
    """Return who acts: the user that is logged in."""
    return Actor("user", request.user.pk)


def action(*, description: str, status: Collection[str] = ()) -> Callable[[F], F]:
    """Make a method an action of a list; a row's page offers it while the row has a `status`."""

    def mark(function: F) -> F:
        vars(function).update(short_description=description, statuses=frozenset(status))
        return function

    return mark


class CappedPaginator(Paginator[Any]):
    """Counts so many rows and no more, since counting a big table takes longer than showing it."""

    cap = 10_000
    template_name = "audit/count.html"

    @cached_property
    def count(self) -> int:
        """Return how many rows there are, or `cap`."""
        rows = self.object_list
        return rows.order_by()[: self.cap].count() if isinstance(rows, QuerySet) else len(rows)

    @property
    def is_capped(self) -> bool:
        """Whether there may be more."""
        return self.count >= self.cap


class CappedList(ChangeList):  # type: ignore[misc]
    """A list that has its count below it, and where it is narrowed also above, with the way out."""

    def get_results(self, request: HttpRequest) -> None:
        """Read a page; two counts that agree are not shown above."""
        super().get_results(request)
        if self.paginator.is_capped or not (self.query or self.get_filters_params()):
            self.full_result_count = self.result_count


class RowForm(forms.ModelForm[Any]):
    """The form of a row; `refusal` is what its function refused when it was sent."""

    refusal: ClassVar[Exception | None] = None

    def clean(self) -> dict[str, Any] | None:
        """Show the refusal at the field that it names."""
        cleaned = super().clean()
        if self.refusal is not None:
            for field, texts in reasons(refusal=self.refusal).items():
                known = field in self.fields
                for text in texts:
                    named = known or field == NON_FIELD_ERRORS
                    self.add_error(field if known else None, text if named else f"{field}: {text}")
        return cleaned

    def _get_validation_exclusions(self) -> set[str]:
        """Check what is unique in a tenant, though a form does not let that change."""
        excluded: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]
        return excluded if self.instance._state.adding else excluded - {"tenant"}


class FunctionForm(RowForm):
    """A form whose function says how its fields go together, and which is at fault."""

    def _update_errors(self, errors: ValidationError) -> None:
        """Leave out what the table's constraints say: they name no field, and the function does."""
        named = {name: texts for name, texts in errors.error_dict.items() if name in self.fields}
        if named:
            super()._update_errors(ValidationError(named))  # type: ignore[misc]


def arguments(*, form: forms.ModelForm[Any], changed: bool = False) -> dict[str, Any]:
    """Return what a form was given as functions take it, rows by their ids; or what changed."""
    given = {}
    for name, value in form.cleaned_data.items():
        if not changed or name in form.changed_data:
            is_row = isinstance(form.fields[name], forms.ModelChoiceField)
            given[f"{name}_id" if is_row else name] = value.pk if is_row and value else value
    return given


class Guarded:
    """Who may see and change rows: superusers, and nobody deletes; `accounts` widens it."""

    adds = False
    edits = False

    def may(self, request: HttpRequest, row: Any = None, *, edit: bool = False) -> bool:
        """Say whether the user may see the row, or rows at all; or change them."""
        return request.user.is_active and request.user.is_superuser

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.may(request, obj)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.adds and self.may(request, obj, edit=True)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.edits and self.may(request, obj, edit=True)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.may(request)


class Admin(Guarded, ModelAdmin):  # type: ignore[misc]
    """A page whose lists stay quick, and whose actions and forms call functions."""

    form = RowForm
    paginator = CappedPaginator
    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_filter_submit = True
    list_disable_select_all = True
    change_form_outer_before_template = "audit/actions.html"
    list_select_related: tuple[str, ...] = ()
    ordering: tuple[str, ...] = ("-pk",)
    search_fields: tuple[str, ...] = ("pk",)  # shows the box; ids are found by `ids`
    actions: tuple[str, ...] = ()

    #: What a row's page shows below its fields: links to the lists of what belongs to it.
    links: tuple[Column, ...] = ()
    #: Columns in which a search for an id looks.
    ids: tuple[str, ...] = ("pk",)
    #: Columns by which links of other pages narrow the list, besides its filters.
    asked_by: tuple[str, ...] = ()
    #: What events call such a row, and their column by which its history is found in them.
    subject = ""
    history_by = ""

    def get_search_results(self, request: HttpRequest, queryset: Rows, search_term: str) -> Any:
        """Find ids as a whole, and the rest in `search_fields`."""
        try:
            id = UUID(search_term.strip())
        except ValueError:
            if search_term and tuple(self.search_fields) == ("pk",):
                return queryset.none(), False
            return super().get_search_results(request, queryset, search_term)
        found = Q()
        for column in self.ids:
            found |= Q(**{column: id})
        return queryset.filter(found), False

    def lookup_allowed(self, lookup: str, value: Any, request: Any = None) -> bool:
        """Let a list be narrowed by its filters and its links, else lead back to it.

        Django lets any column through and any relation to the row, of which the page shows nothing:
        to ask whether there are rows behind it tells of another tenant's.
        """
        names = set(self.asked_by)
        for given in self.get_list_filter(request):
            if not isinstance(given, (str, tuple)):
                names.add(given.parameter_name)
            else:
                name = given if isinstance(given, str) else given[0]
                names |= {name, f"{name}_from", f"{name}_to"}
        if not any(lookup == name or lookup.startswith(f"{name}__") for name in names):
            raise IncorrectLookupParameters
        return bool(super().lookup_allowed(lookup, value, request))

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return CappedList

    def describe(self, row: Any) -> str:
        """Say in a few words which row this is."""
        return str(row)

    # Forms

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        sets = tuple(super().get_fieldsets(request, obj))
        return (*sets, ("See also", {"fields": self.links})) if obj and self.links else sets

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fixed = tuple(super().get_readonly_fields(request, obj))
        return (*fixed, *self.links) if obj is not None else fixed

    def get_inlines(self, request: HttpRequest, obj: Any = None) -> Any:
        """Show other rows once there is a row that they can be of: the database makes its id."""
        return self.inlines if obj is not None else ()

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """Give the form what was refused, if this is the second time that it is asked."""
        form = super().get_form(request, obj, change=change, **kwargs)
        form.refusal = vars(request).get("refusal")
        return form

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Show a form again with what the function that saves it refused; nothing was changed."""
        try:
            return super().changeform_view(request, *args, **kwargs)
        except REFUSALS as refusal:
            vars(request)["refusal"] = refusal
            return super().changeform_view(request, *args, **kwargs)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Any:
        """Offer the actions that a row in this status allows."""
        row = context["original"]
        if row is not None:
            context["subtitle"] = self.describe(row)
            context["list_url"] = reverse(self._page("changelist"))
            context["row_actions"] = [
                (name, title)
                for name, (function, _, title) in self.get_actions(request).items()
                if not (allowed := getattr(function, "statuses", ()))
                or getattr(row, "status", getattr(row, "state", None)) in allowed
            ]
        return super().render_change_form(request, context, *args, **kwargs)

    # Actions

    def response_action(self, request: HttpRequest, queryset: Rows) -> Any:
        """Name the ids that are not there, or are another tenant's, and act on the others."""
        selected = request.POST.getlist(ACTION_CHECKBOX_NAME)
        try:
            queryset = queryset.filter(pk__in=selected)
            there = {str(row.pk) for row in queryset}
        except (ValidationError, ValueError):
            self.message_user(request, "This is not an id.", messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())
        for id in selected:
            if id not in there:
                text = f"There is no {self.opts.verbose_name} {id}."
                self.message_user(request, text, messages.ERROR)
        if selected and not there:
            return HttpResponseRedirect(request.get_full_path())
        return super().response_action(request, queryset)

    def run(
        self,
        request: HttpRequest,
        rows: Rows,
        call: Callable[..., object],
        *,
        id: str,
        done: str,
        **answers: Any,
    ) -> Answer:
        """Call a function for each row, each in a transaction of its own, and say how it went.

        The function is given the row's id as its argument `id`, the actor, the time and `answers`.
        """  # fmt: skip
        given = {**answers, "actor": actor(request=request), "now": clock.now()}
        failed: list[str] = []
        pks = [row.pk for row in rows]
        for pk in pks:
            try:
                with transaction.atomic():
                    call(**{id: pk}, **given)
            except REFUSALS as refusal:
                text = sentence(refusal=refusal)
                named = str(pk) in text
                failed.append(text if named else f"{self.opts.verbose_name} {pk}: {text}")
        for text in failed[:TOLD]:
            self.message_user(request, text, messages.ERROR)
        worked = len(pks) - len(failed)
        level = messages.SUCCESS if worked else messages.WARNING
        self.message_user(request, f"{done}: {worked} of {len(pks)}.", level)
        if request.POST.get("back") != "row" or not self.get_queryset(request).filter(pk__in=pks):
            return None
        return HttpResponseRedirect(reverse(self._page("change"), args=pks[:1]))

    def ask(
        self,
        request: HttpRequest,
        rows: Rows,
        call: Callable[..., object],
        *,
        id: str,
        done: str,
        title: str,
        form: Callable[[QueryDict | None], forms.Form],
    ) -> Answer:
        """Ask for what a function needs to know, then `run` it with the answers."""  # fmt: skip
        asked = form(request.POST if "answered" in request.POST else None)
        if asked.is_valid():
            return self.run(request, rows, call, id=id, done=done, **asked.cleaned_data)
        context = {
            **self.admin_site.each_context(request),
            "title": title,
            "opts": self.opts,
            "rows": [(row.pk, self.describe(row)) for row in rows],
            "form": asked,
            "action": request.POST["action"],
            "back": request.POST.get("back"),
        }
        return TemplateResponse(request, "audit/ask.html", context)

    # History

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: Mapping[str, Any] | None = None
    ) -> Any:
        """Show a row's events where each change has one, else what was done to it here."""
        if self.history_by and self.get_object(request, object_id) is not None:
            query = urlencode({self.history_by: object_id})
            return HttpResponseRedirect(f"{reverse('admin:audit_event_changelist')}?{query}")
        return super().history_view(request, object_id, dict(extra_context or {}))

    def log_addition(self, request: HttpRequest, obj: Model, message: Any) -> LogEntry:
        return self._log(request, obj, ADDITION, message)

    def log_change(self, request: HttpRequest, obj: Model, message: Any) -> LogEntry:
        return self._log(request, obj, CHANGE, message)

    def _log(self, request: HttpRequest, row: Model, flag: int, message: Any) -> LogEntry:
        """Write down who changed which fields, by id: the name of a patient is not for a log."""
        return LogEntry.objects.create(
            user=cast(Any, request.user),
            content_type=ContentType.objects.get_for_model(row, for_concrete_model=False),
            object_id=str(row.pk),
            object_repr=str(row.pk),
            action_flag=flag,
            change_message=message if isinstance(message, str) else json.dumps(message),
        )

    def _page(self, name: str) -> str:
        return f"admin:{self.opts.app_label}_{self.opts.model_name}_{name}"
