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
from audit import clock
from scheduling import patients, scopes
from scheduling.models import Patient


class PatientSerializer(Body, serializers.ModelSerializer[Patient]):
    has_login = serializers.SerializerMethodField(help_text="whether they log in themselves")

    class Meta:
        model = Patient
        fields = (
            "id", "name", "email", "phone", "language", "tier", "chronic_condition",
            "external_ref", "has_login", "version", "created_at", "updated_at",
        )  # fmt: skip
        read_only_fields = ("id", "version", "created_at", "updated_at")

    def get_has_login(self, row: Patient) -> bool:
        """Say whether a user belongs to them."""
        return row.user_id is not None


class PatientFilter(filters.FilterSet):  # type: ignore[misc]
    search = SearchFilter(columns=("name", "email", "phone", "external_ref"))
    external_ref = filters.CharFilter(label="Exactly this reference.")
    tier = filters.NumberFilter(min_value=0, max_value=3)
    chronic_condition = filters.BooleanFilter()
    sort = SortFilter(fields=("name", "created_at"))


class PatientsView(RowsView):
    serializer_class = PatientSerializer
    filterset_class = PatientFilter

    def rows(self) -> QuerySet[Patient]:
        return scopes.patients(caller=self.caller).order_by("name", "id")

    def post(self, request: Request) -> Response:
        """Make a patient."""
        row = rows.add(row=Patient(tenant_id=self.caller.tenant_id, **read(view=self)))
        return self.made(row=row)


class PatientView(RowView):
    serializer_class = PatientSerializer
    problems: ClassVar = {"DELETE": (rows.InUse,)}
    noun: ClassVar[str] = "patient"

    def rows(self) -> QuerySet[Patient]:
        return scopes.patients(caller=self.caller)

    def patch(self, request: Request, id: UUID) -> Response:
        """Change a patient; a new tier or condition changes their place in every queue."""
        self.find(id)
        changes = self.read(partial=True)
        row = patients.update(
            patient_id=id,
            changes=changes,
            actor=self.caller.actor,
            now=clock.now(),
            version=wanted_version(request=request),
        )
        return self.show(row=row)

    def delete(self, request: Request, id: UUID) -> Response:
        """Delete a patient made by mistake, whom nothing refers to."""
        self.find(id)
        patients.remove(patient_id=id, version=wanted_version(request=request))
        return Response(status=204)
