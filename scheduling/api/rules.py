from typing import Any, ClassVar
from uuid import UUID

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import rows
from accounts.bodies import Body
from accounts.filters import SortFilter
from accounts.roles import Caller
from accounts.views import RowsView, RowView, read, wanted_version
from audit import clock
from scheduling import rules, scopes
from scheduling.models import AvailabilityRule


class RuleSerializer(Body, serializers.ModelSerializer[AvailabilityRule]):
    facility = serializers.UUIDField(source="facility_id")
    provider = serializers.UUIDField(source="provider_id")
    service = serializers.UUIDField(source="service_id", required=False, allow_null=True)
    weekday = serializers.IntegerField(min_value=1, max_value=7, help_text="Monday is 1")

    class Meta:
        model = AvailabilityRule
        fields = (
            "id", "facility", "provider", "service", "weekday", "start_time", "end_time",
            "slot_minutes", "buffer_minutes", "valid_from", "valid_until", "is_active", "version",
            "created_at", "updated_at",
        )  # fmt: skip
        read_only_fields = ("id", "is_active", "version", "created_at", "updated_at")


class RuleFilter(filters.FilterSet):  # type: ignore[misc]
    facility = filters.UUIDFilter(field_name="facility_id")
    provider = filters.UUIDFilter(field_name="provider_id")
    service = filters.UUIDFilter(field_name="service_id")
    weekday = filters.NumberFilter(min_value=1, max_value=7)
    is_active = filters.BooleanFilter()
    sort = SortFilter(fields=("weekday", "start_time", "created_at"))


class RulesView(RowsView):
    serializer_class = RuleSerializer
    filterset_class = RuleFilter

    def rows(self) -> QuerySet[AvailabilityRule]:
        found = AvailabilityRule.objects.filter(tenant=self.caller.tenant_id)
        return found.order_by("weekday", "start_time", "id")

    def post(self, request: Request) -> Response:
        """Open a provider weekly; slots of the coming days are made at once."""
        values = read(view=self)
        check_references(caller=self.caller, values=values)
        return self.made(row=rules.add(**values, actor=self.caller.actor, now=clock.now()))


class RuleView(RowView):
    serializer_class = RuleSerializer
    noun: ClassVar[str] = "rule"

    def rows(self) -> QuerySet[AvailabilityRule]:
        return AvailabilityRule.objects.filter(tenant=self.caller.tenant_id)

    def patch(self, request: Request, id: UUID) -> Response:
        """Change a rule; coming slots that it no longer makes retire, unless they are claimed."""
        rule = self.find(id)
        changes = self.read(partial=True)
        check_references(caller=self.caller, values=changes)
        return self._change(rule, but_same(changes=changes, row=rule))

    def delete(self, request: Request, id: UUID) -> Response:
        """End a rule: slots refer to it, so it is no longer active."""
        self._change(self.find(id), {"is_active": False})
        return Response(status=204)

    def _change(self, rule: AvailabilityRule, changes: dict[str, Any]) -> Response:
        row = rules.change(
            rule_id=rule.pk,
            changes=changes,
            actor=self.caller.actor,
            now=clock.now(),
            version=wanted_version(request=self.request),
        )
        return self.show(row=row)


def but_same(*, changes: dict[str, Any], row: Any) -> dict[str, Any]:
    """Leave out the facility and the provider where they stay the same: they cannot change."""
    fixed = ("facility_id", "provider_id")
    return {
        name: value
        for name, value in changes.items()
        if name not in fixed or value != getattr(row, name)
    }


def check_references(*, caller: Caller, values: dict[str, Any]) -> None:
    """:raises NotFound: naming the facility, provider or service that the caller does not see."""
    for name, scope in (
        ("facility", scopes.facilities),
        ("provider", scopes.providers),
        ("service", scopes.services),
    ):
        if values.get(f"{name}_id") is not None:
            found: QuerySet[Any] = scope(caller=caller)
            rows.find(rows=found, id=values[f"{name}_id"], field=name)
