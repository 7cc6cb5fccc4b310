from typing import Any, ClassVar
from uuid import UUID

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.bodies import Body
from accounts.filters import SearchFilter, SortFilter
from accounts.roles import Role
from accounts.views import RowsView, RowView, read, wanted_version
from audit import clock
from scheduling import providers, scopes
from scheduling.models import Provider


class Ids(serializers.ListField):
    """Ids of related rows, which the view has read with the row."""

    child = serializers.UUIDField()

    def to_representation(self, data: Any) -> list[str]:
        """Write them in one order."""
        return sorted(str(row.pk) for row in data.all())


class ProviderSerializer(Body, serializers.ModelSerializer[Provider]):
    facilities = Ids(required=False, max_length=200, help_text="where they work")
    user = serializers.UUIDField(
        source="user_id",
        required=False,
        allow_null=True,
        help_text="a member of the tenant; patients are not told",
    )

    class Meta:
        model = Provider
        fields = (
            "id", "name", "facilities", "user", "is_active", "version", "created_at", "updated_at",
        )  # fmt: skip
        read_only_fields = ("id", "version", "created_at", "updated_at")

    def to_representation(self, instance: Provider) -> dict[str, Any]:
        """Write a row as the caller may read it."""
        shown = super().to_representation(instance)
        if self.context["request"].auth.role == Role.PATIENT:
            shown["user"] = None
        return shown


class ProviderFilter(filters.FilterSet):  # type: ignore[misc]
    search = SearchFilter(columns=("name",))
    facility = filters.UUIDFilter(field_name="facilities", label="Who works there.")
    sort = SortFilter(fields=("name", "created_at"))

    class Meta:
        model = Provider
        fields = ("is_active",)


class ProvidersView(RowsView):
    serializer_class = ProviderSerializer
    filterset_class = ProviderFilter

    def rows(self) -> QuerySet[Provider]:
        found = scopes.providers(caller=self.caller).order_by("name", "id")
        return found.prefetch_related("facilities")

    def post(self, request: Request) -> Response:
        """Make a provider."""
        values = read(view=self)
        facility_ids = values.pop("facilities", ())
        row = providers.add(
            tenant_id=self.caller.tenant_id, values=values, facility_ids=facility_ids
        )
        return self.made(row=row)


class ProviderView(RowView):
    serializer_class = ProviderSerializer
    noun: ClassVar[str] = "provider"

    def rows(self) -> QuerySet[Provider]:
        return scopes.providers(caller=self.caller)

    def patch(self, request: Request, id: UUID) -> Response:
        """Change a provider, or where they work; coming slots follow."""
        self.find(id)
        return self._change(id, self.read(partial=True))

    def delete(self, request: Request, id: UUID) -> Response:
        """Let a provider go: what happened stays, so they are no longer active."""
        self.find(id)
        self._change(id, {"is_active": False})
        return Response(status=204)

    def _change(self, id: UUID, changes: dict[str, Any]) -> Response:
        row = providers.change(
            provider_id=id,
            facility_ids=changes.pop("facilities", None),
            changes=changes,
            actor=self.caller.actor,
            now=clock.now(),
            version=wanted_version(request=self.request),
        )
        return self.show(row=row)
