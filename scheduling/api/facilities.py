from typing import Any, ClassVar
from uuid import UUID

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.bodies import Body
from accounts.filters import SearchFilter, SortFilter
from accounts.views import RowsView, RowView, read, wanted_version
from audit import clock
from scheduling import facilities, scopes, zones
from scheduling.models import Facility


class FacilitySerializer(Body, serializers.ModelSerializer[Facility]):
    timezone = serializers.CharField(max_length=50, help_text="IANA name, such as Europe/London")
    country = serializers.RegexField(
        r"^[A-Z]{2}$", required=False, allow_blank=True, help_text="ISO 3166 code"
    )

    class Meta:
        model = Facility
        fields = (
            "id", "name", "slug", "kind", "timezone", "city", "country", "is_active", "version",
            "created_at", "updated_at",
        )  # fmt: skip
        read_only_fields = ("id", "version", "created_at", "updated_at")

    def validate_timezone(self, value: str) -> str:
        """Check the name here, so that it is told with the other faults."""
        if value not in zones.known():
            raise serializers.ValidationError(f"There is no time zone {value!r}.")
        return value


class FacilityFilter(filters.FilterSet):  # type: ignore[misc]
    search = SearchFilter(columns=("name", "slug", "city"))
    sort = SortFilter(fields=("name", "created_at"))

    class Meta:
        model = Facility
        fields = ("kind", "is_active", "city", "country", "slug")


class FacilitiesView(RowsView):
    serializer_class = FacilitySerializer
    filterset_class = FacilityFilter

    def rows(self) -> QuerySet[Facility]:
        return scopes.facilities(caller=self.caller).order_by("name", "id")

    def post(self, request: Request) -> Response:
        """Make a facility, with its queue and its kind's policy."""
        row = facilities.add(tenant_id=self.caller.tenant_id, values=read(view=self))
        return self.made(row=row)


class FacilityView(RowView):
    serializer_class = FacilitySerializer
    noun: ClassVar[str] = "facility"

    def rows(self) -> QuerySet[Facility]:
        return scopes.facilities(caller=self.caller)

    def patch(self, request: Request, id: UUID) -> Response:
        """Change a facility; its kind and its time zone stay."""
        self.find(id)
        return self._change(id, self.read(partial=True))

    def delete(self, request: Request, id: UUID) -> Response:
        """Close a facility: what happened there stays, so it is no longer active."""
        self.find(id)
        self._change(id, {"is_active": False})
        return Response(status=204)

    def _change(self, id: UUID, changes: dict[str, Any]) -> Response:
        row = facilities.change(
            facility_id=id,
            changes=changes,
            actor=self.caller.actor,
            now=clock.now(),
            version=wanted_version(request=self.request),
        )
        return self.show(row=row)
