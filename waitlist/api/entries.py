"""Joining, reading, changing and ending entries."""

from collections.abc import Set
from datetime import timedelta
from typing import Any, ClassVar
from uuid import UUID

from django.db.models import F, Prefetch, Q, QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_serializer
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, Throttled, ValidationError
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import limits, rows
from accounts.bodies import Body
from accounts.roles import Role
from accounts.views import ApiView, RowsView, wanted_version, with_etag
from audit import clock
from audit.errors import check_version
from scheduling import scopes as supply
from scheduling import slots
from scheduling.api.rules import check_references
from scheduling.appointments import PatientBusy
from waitlist import entries, invites, queues, ranking, scopes
from waitlist.api.answers import EntryAnswer
from waitlist.models import ACTIVE, Hold, WaitlistEntry
from waitlist.wishes import WISHES

RECENT = timedelta(days=90)
Status = WaitlistEntry.Status

# What other systems call a status; answers use the first word.
SYNONYMS: dict[str, str] = {
    "active": Status.WAITING,
    "pending": Status.WAITING,
    "invited": Status.OFFERED,
    "matched": Status.OFFERED,
    "notified": Status.OFFERED,
    "promoted": Status.CONVERTED,
    "booked": Status.CONVERTED,
}
SORTS: dict[str, tuple[Any, ...]] = {
    "priority": (F("rank_key").desc(), "joined_at", "id"),
    "-priority": ("rank_key", "-joined_at", "-id"),
    "joined_at": ("joined_at", "id"),
    "-joined_at": ("-joined_at", "-id"),
}


class Wishes(Body):
    """What may be wished; `urgency` is for the team to set."""

    provider = serializers.UUIDField(source="provider_id", allow_null=True, required=False)
    provider_required = serializers.BooleanField(required=False)
    service = serializers.UUIDField(source="service_id", allow_null=True, required=False)
    any_facility = serializers.BooleanField(required=False)
    preferred_days = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=7), max_length=7, required=False
    )
    preferred_time = serializers.ChoiceField(
        choices=WaitlistEntry.PreferredTime.choices, required=False
    )
    earliest = serializers.DateTimeField(allow_null=True, required=False)
    latest = serializers.DateTimeField(allow_null=True, required=False)
    dates_flexible = serializers.BooleanField(required=False)
    urgency = serializers.IntegerField(min_value=0, max_value=3, required=False)
    metadata = serializers.DictField(required=False)


class Join(Wishes):
    """Who wants to wait where, and for what; a patient waits for themselves."""

    facility = serializers.UUIDField()
    patient = serializers.UUIDField(required=False)


@extend_schema_serializer(
    examples=[
        OpenApiExample(name, value=value, request_only=True)
        for name, value in (
            ("wishes", {"preferred_days": [1, 3], "preferred_time": "morning"}),
            ("leaving", {"status": Status.CANCELLED.value, "reason": "no_longer_needed"}),
        )
    ]
)
class Edit(Wishes):
    """Other wishes, or another status: `cancelled` with a reason, `converted` with a slot."""

    status = serializers.ChoiceField(choices=[Status.CANCELLED, Status.CONVERTED], required=False)
    reason = serializers.ChoiceField(
        choices=entries.REASONS,
        required=False,
        help_text=f"A patient gives one of {', '.join(sorted(entries.OWN_REASONS))}.",
    )
    notes = serializers.CharField(
        max_length=2000, allow_blank=True, trim_whitespace=False, required=False
    )
    slot = serializers.UUIDField(required=False)


class StatusFilters(filters.FilterSet):  # type: ignore[misc]
    """A filter by status, in our words or in those of other systems."""

    status = filters.MultipleChoiceFilter(
        choices=[(name, name) for name in (*Status.values, *SYNONYMS)],
        method="with_status",
        label="Our words, or those of other systems: active or pending, invited, matched or "
        "notified, promoted or booked.",
    )

    def with_status(
        self, queryset: QuerySet[WaitlistEntry], name: str, value: list[str]
    ) -> QuerySet[WaitlistEntry]:
        """Narrow to statuses, whatever they are called."""
        wanted = {SYNONYMS.get(one, one) for one in value}
        if len(wanted) == 1:  # as an equation, which an index can sort by what follows
            return queryset.filter(status=wanted.pop())
        return queryset.filter(status__in=wanted) if wanted else queryset


class EntryFilters(StatusFilters):
    """Filters and the order of the queue."""

    facility = filters.UUIDFilter()
    provider = filters.UUIDFilter()
    service = filters.UUIDFilter()
    patient = filters.UUIDFilter()
    sort = filters.ChoiceFilter(
        choices=[(name, name) for name in SORTS], method="sorted", label="Default: priority."
    )

    def filter_queryset(self, queryset: QuerySet[WaitlistEntry]) -> QuerySet[WaitlistEntry]:
        """Narrow and sort."""
        found = super().filter_queryset(queryset.order_by(*SORTS["priority"]))
        return found  # type: ignore[no-any-return]

    def sorted(
        self, queryset: QuerySet[WaitlistEntry], name: str, value: str
    ) -> QuerySet[WaitlistEntry]:
        """Sort."""
        return queryset.order_by(*SORTS[value])


class EntryListView(RowsView):
    """A list of entries: the places of a page are found with one statement."""

    serializer_class = EntryAnswer
    positions: dict[UUID, int]

    def paginate_queryset(self, queryset: Any) -> list[Any]:
        """Return the entries of the page, and remember their places."""
        page = super().paginate_queryset(with_details(found=queryset)) or []
        self.positions = ranking.positions(entry_ids=[entry.pk for entry in page])
        return page

    def get_serializer_context(self) -> dict[str, Any]:
        """Hand over what an answer needs."""
        known = {"positions": getattr(self, "positions", {}), "now": clock.now()}
        return {**super().get_serializer_context(), **known, "caller": self.request.auth}


class QueueView(EntryListView):
    """The queue, and joining it."""

    filterset_class = EntryFilters
    problems: ClassVar = {
        "POST": (
            entries.AlreadyWaiting, entries.QueueFull, queues.QueueClosed, entries.OrganizersOnly,
            entries.TooManyEntries, Throttled,
        ),
    }  # fmt: skip

    def rows(self) -> QuerySet[WaitlistEntry]:
        """Return the entries that the caller sees."""
        return scopes.entries(caller=self.caller)

    @extend_schema(request=Join, responses={201: EntryAnswer})
    def post(self, request: Request) -> Response:
        """Join a waitlist.

        A patient joins for themselves, staff for a patient. Refused when the queue is full or
        closed or a venue's, when they wait there already, or wait in too many queues.
        """
        body = Join(data=request.data)
        body.is_valid(raise_exception=True)
        wishes: dict[str, Any] = dict(body.validated_data)
        caller = self.caller
        patient_id = wishes.pop("patient", caller.patient_id)
        if caller.role == Role.PATIENT:
            _only_staff(wishes=wishes)
            limits.check(limit="join", who=str(caller.patient_id), tenant=caller.tenant_id)
        if patient_id is not None:
            rows.find(rows=supply.patients(caller=caller), id=patient_id, field="patient")
        facility_id = wishes.pop("facility")
        rows.find(rows=supply.facilities(caller=caller), id=facility_id, field="facility")
        check_references(caller=caller, values=wishes)
        entry = entries.join(
            facility_id=facility_id,
            patient_id=patient_id,
            wishes=wishes,
            actor=caller.actor,
            now=clock.now(),
        )
        response = show(view=self, entry_id=entry.pk, status=201)
        response["Location"] = request.build_absolute_uri(f"waitlists/{entry.pk}")
        return response


class PatientEntriesView(EntryListView):
    """What a patient waits for, and what became of it lately."""

    def rows(self) -> QuerySet[WaitlistEntry]:
        """Return active entries, then those that ended in the last 90 days, newest first."""
        patients = supply.patients(caller=self.caller)
        patient = rows.find(rows=patients, id=self.kwargs["id"], field="patient")
        found = scopes.entries(caller=self.caller).filter(patient=patient)
        found = found.filter(ACTIVE | Q(closed_at__gt=clock.now() - RECENT))
        return found.order_by(F("closed_at").desc(nulls_first=True), "-joined_at", "id")

    def get(self, request: Request, id: UUID) -> Response:  # type: ignore[override]
        """List a patient's entries: active ones, then those that ended in the last 90 days."""
        return self.list(request)


class EntryView(ApiView, GenericAPIView[WaitlistEntry]):
    """One entry."""

    serializer_class = EntryAnswer
    problems: ClassVar = {
        "PATCH": (*slots.UNCLAIMABLE, entries.EntryClosed, entries.AlreadyWaiting, PatientBusy,
                  scopes.NotYours),
    }  # fmt: skip

    def get(self, request: Request, id: UUID) -> Response:
        """Read an entry with its position, priority score and live hold."""
        return show(view=self, entry_id=id)

    @extend_schema(request=Edit, responses=EntryAnswer)
    def patch(self, request: Request, id: UUID) -> Response:
        """Change an entry.

        Its owner and the team change the wishes or cancel it with a reason; the team also sets the
        urgency, or converts it: books the given slot at once.
        """
        body = Edit(data=request.data, partial=True)
        body.is_valid(raise_exception=True)
        changes: dict[str, Any] = dict(body.validated_data)
        scopes.check_entry(caller=self.caller, entry_id=id)
        if self.caller.role == Role.PATIENT:
            _only_staff(wishes=changes)
        to = changes.pop("status", None)
        _check_together(to=to, changes=changes)
        check_references(caller=self.caller, values=changes)
        version = wanted_version(request=request)
        asked: dict[str, Any] = {"entry_id": id, "actor": self.caller.actor, "version": version}
        if to == Status.CANCELLED:
            reason, notes = changes["reason"], changes.get("notes", "")
            entries.cancel(**asked, reason=reason, notes=notes, now=clock.now())
        elif to == Status.CONVERTED:
            scopes.check_slot(caller=self.caller, slot_id=changes["slot"])
            invites.promote(**asked, slot_id=changes["slot"], now=clock.now())
        elif changes:
            entries.update(**asked, wishes=changes, now=clock.now())
        else:
            check_version(version=entries.get(entry_id=id).version, wanted=version)
        return show(view=self, entry_id=id)


def show(*, view: ApiView, entry_id: UUID, status: int = 200) -> Response:
    """Answer an entry as it is, with its version.

    :raises NotFound: if the caller does not see it.
    """
    found = with_details(found=scopes.entries(caller=view.caller))
    entry = rows.find(rows=found, id=entry_id, field="entry")
    context = {
        "positions": ranking.positions(entry_ids=[entry.pk]),
        "now": clock.now(),
        "caller": view.caller,
    }
    response = Response(EntryAnswer(entry, context=context).data, status=status)
    return with_etag(response=response, version=entry.version)


def with_details(*, found: QuerySet[WaitlistEntry]) -> QuerySet[WaitlistEntry]:
    """Read with entries what their answers need, in the same few statements for any number."""
    live = Hold.objects.filter(status=Hold.Status.OFFERED)
    return found.select_related(
        "facility__waitlist_policy", "patient", "appointment"
    ).prefetch_related(Prefetch("holds", queryset=live, to_attr="live"))


def _only_staff(*, wishes: dict[str, Any]) -> None:
    """Refuse what a patient may not set.

    :raises ValidationError: naming it.
    """
    refused: list[str] = [name for name in ("urgency", "slot") if name in wishes]
    if wishes.get("status") == Status.CONVERTED:
        refused.append("status")
    if "reason" in wishes and wishes["reason"] not in entries.OWN_REASONS:
        refused.append("reason")
    if refused:
        raise ValidationError(
            {name: [ErrorDetail("This is for staff to set.", "not_allowed")] for name in refused}
        )


def _check_together(*, to: str | None, changes: dict[str, Any]) -> None:
    """Refuse what does not go with a change of the status, or goes with none.

    :raises ValidationError: naming each field.
    """
    goes: dict[str | None, Set[str]] = {
        None: WISHES, Status.CANCELLED: {"reason", "notes"}, Status.CONVERTED: {"slot"},
    }  # fmt: skip
    errors = {
        name.removesuffix("_id"): [ErrorDetail("This does not go with the status.", "not_allowed")]
        for name in set(changes) - goes[to]
    }
    if to == Status.CONVERTED and "slot" not in changes:
        errors["slot"] = [ErrorDetail("Say which slot.", "required")]
    if to == Status.CANCELLED and "reason" not in changes:
        errors["reason"] = [ErrorDetail("Say why.", "required")]
    if errors:
        raise ValidationError(errors)
