from typing import ClassVar
from uuid import UUID

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import members
from accounts.bodies import Body
from accounts.filters import SearchFilter, SortFilter
from accounts.models import Membership
from accounts.views import RowsView, RowView, wanted_version
from audit import clock


class MemberSerializer(Body, serializers.ModelSerializer[Membership]):
    user = serializers.UUIDField(source="user_id", read_only=True)
    email = serializers.EmailField(source="user.email", read_only=True)
    name = serializers.CharField(source="user.name", read_only=True)

    class Meta:
        model = Membership
        fields = ("id", "user", "email", "name", "role", "version", "created_at", "updated_at")
        read_only_fields = ("id", "version", "created_at", "updated_at")


class MemberFilter(filters.FilterSet):  # type: ignore[misc]
    search = SearchFilter(columns=("user__name", "user__email"))
    role = filters.ChoiceFilter(choices=Membership.Role.choices)
    sort = SortFilter(fields={"user__name": "name", "created_at": "created_at"})


class MembersView(RowsView):
    serializer_class = MemberSerializer
    filterset_class = MemberFilter

    def rows(self) -> QuerySet[Membership]:
        found = Membership.objects.filter(tenant=self.caller.tenant_id)
        return found.select_related("user").order_by("user__name", "id")


class MemberView(RowView):
    serializer_class = MemberSerializer
    problems: ClassVar = dict.fromkeys(("PATCH", "DELETE"), (members.LastAdmin,))
    noun: ClassVar[str] = "member"

    def rows(self) -> QuerySet[Membership]:
        found = Membership.objects.filter(tenant=self.caller.tenant_id)
        return found.select_related("user")

    def patch(self, request: Request, id: UUID) -> Response:
        """Give a member another role."""
        member = self.find(id)
        changes = self.read(partial=True)
        row = members.change(
            tenant_id=self.caller.tenant_id,
            member_id=id,
            role=changes.get("role", member.role),
            actor=self.caller.actor,
            now=clock.now(),
            version=wanted_version(request=request),
        )
        return self.show(row=row)

    def delete(self, request: Request, id: UUID) -> Response:
        """End a membership."""
        members.remove(
            tenant_id=self.caller.tenant_id,
            member_id=id,
            actor=self.caller.actor,
            now=clock.now(),
            version=wanted_version(request=request),
        )
        return Response(status=204)
