from typing import ClassVar
from uuid import UUID

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import rows
from accounts.bodies import Body
from accounts.filters import SearchFilter, SortFilter
from accounts.views import RowsView, RowView, read, wanted_version
from scheduling import scopes
from scheduling.models import Service


class ServiceSerializer(Body, serializers.ModelSerializer[Service]):
    class Meta:
        model = Service
        fields = (
            "id", "name", "duration", "price", "currency", "version", "created_at", "updated_at",
        )  # fmt: skip
        read_only_fields = ("id", "version", "created_at", "updated_at")


class ServiceFilter(filters.FilterSet):  # type: ignore[misc]
    search = SearchFilter(columns=("name",))
    sort = SortFilter(fields=("name", "duration", "created_at"))


class ServicesView(RowsView):
    serializer_class = ServiceSerializer
    filterset_class = ServiceFilter

    def rows(self) -> QuerySet[Service]:
        return scopes.services(caller=self.caller).order_by("name", "id")

    def post(self, request: Request) -> Response:
        """Make a service."""
        row = rows.add(row=Service(tenant_id=self.caller.tenant_id, **read(view=self)))
        return self.made(row=row)


class ServiceView(RowView):
    serializer_class = ServiceSerializer
    problems: ClassVar = {"DELETE": (rows.InUse,)}
    noun: ClassVar[str] = "service"

    def rows(self) -> QuerySet[Service]:
        return scopes.services(caller=self.caller)

    def patch(self, request: Request, id: UUID) -> Response:
        """Change a service."""
        self.find(id)
        changes = self.read(partial=True)
        version = wanted_version(request=request)
        return self.show(row=rows.edit(rows=self.rows(), id=id, changes=changes, version=version))

    def delete(self, request: Request, id: UUID) -> Response:
        """Delete a service that nothing refers to."""
        rows.remove(rows=self.rows(), id=id, version=wanted_version(request=request))
        return Response(status=204)
