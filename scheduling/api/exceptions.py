from typing import ClassVar
from uuid import UUID

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.bodies import Body
from accounts.filters import SortFilter
from accounts.views import RowsView, RowView, read, wanted_version
from audit import clock
from scheduling import exceptions
from scheduling.api.rules import but_same, check_references
from scheduling.models import AvailabilityException


class ExceptionSerializer(Body, serializers.ModelSerializer[AvailabilityException]):
    facility = serializers.UUIDField(source="facility_id")
    provider = serializers.UUIDField(
        source="provider_id", required=False, allow_null=True, help_text="all, if none is given"
    )

    class Meta:
        model = AvailabilityException
        fields = (
            "id", "facility", "provider", "date", "kind", "start_time", "end_time", "version",
            "created_at", "updated_at",
        )  # fmt: skip
        read_only_fields = ("id", "version", "created_at", "updated_at")


class ExceptionFilter(filters.FilterSet):  # type: ignore[misc]
    facility = filters.UUIDFilter(field_name="facility_id")
    provider = filters.UUIDFilter(field_name="provider_id")
    kind = filters.ChoiceFilter(choices=AvailabilityException.Kind.choices)
    locals()["from"] = filters.DateFilter(field_name="date", lookup_expr="gte", label="First date.")
    to = filters.DateFilter(field_name="date", lookup_expr="lte", label="Last date.")
    sort = SortFilter(fields=("date", "created_at"))


class ExceptionsView(RowsView):
    serializer_class = ExceptionSerializer
    filterset_class = ExceptionFilter

    def rows(self) -> QuerySet[AvailabilityException]:
        found = AvailabilityException.objects.filter(tenant=self.caller.tenant_id)
        return found.order_by("date", "id")

    def post(self, request: Request) -> Response:
        """Replace the rules of one date; coming slots follow, unless they are claimed."""
        values = read(view=self)
        check_references(caller=self.caller, values=values)
        return self.made(row=exceptions.add(**values, actor=self.caller.actor, now=clock.now()))


class ExceptionView(RowView):
    serializer_class = ExceptionSerializer
    noun: ClassVar[str] = "exception"

    def rows(self) -> QuerySet[AvailabilityException]:
        return AvailabilityException.objects.filter(tenant=self.caller.tenant_id)

    def patch(self, request: Request, id: UUID) -> Response:
        """Change what counts on the date, or the date; coming slots follow, unless claimed."""
        exception = self.find(id)
        changes = self.read(partial=True)
        check_references(caller=self.caller, values=changes)
        row = exceptions.change(
            exception_id=id,
            changes=but_same(changes=changes, row=exception),
            actor=self.caller.actor,
            now=clock.now(),
            version=wanted_version(request=request),
        )
        return self.show(row=row)

    def delete(self, request: Request, id: UUID) -> Response:
        """Let the rules of the date count again."""
        self.find(id)
        exceptions.remove(
            exception_id=id,
            actor=self.caller.actor,
            now=clock.now(),
            version=wanted_version(request=request),
        )
        return Response(status=204)
