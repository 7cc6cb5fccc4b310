from typing import ClassVar
from uuid import UUID

from django.db.models import QuerySet
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import Throttled
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import invitations, rows
from accounts.bodies import Body
from accounts.filters import SortFilter
from accounts.models import Invitation
from accounts.views import RowsView, RowView, wanted_version
from audit import clock


class InvitationSerializer(Body, serializers.ModelSerializer[Invitation]):
    invited_by = serializers.UUIDField(source="invited_by_id", read_only=True, allow_null=True)

    class Meta:
        model = Invitation
        fields = (
            "id", "email", "role", "name", "language", "invited_by", "expires_at", "mailed_at",
            "accepted_at", "created_at", "updated_at",
        )  # fmt: skip
        read_only_fields = (
            "id", "expires_at", "mailed_at", "accepted_at", "created_at", "updated_at",
        )  # fmt: skip


class NewInvitationSerializer(InvitationSerializer):
    role = serializers.ChoiceField(choices=[(one.value, one.label) for one in invitations.ROLES])


class InvitationFilter(filters.FilterSet):  # type: ignore[misc]
    role = filters.ChoiceFilter(choices=Invitation.Role.choices)
    accepted = filters.BooleanFilter(
        field_name="accepted_at", lookup_expr="isnull", exclude=True, label="Whether it was used."
    )
    sort = SortFilter(fields=("created_at", "expires_at"))


class InvitationsView(RowsView):
    serializer_class = InvitationSerializer
    filterset_class = InvitationFilter
    problems: ClassVar = {"POST": (Throttled,)}

    def rows(self) -> QuerySet[Invitation]:
        found = Invitation.objects.filter(tenant=self.caller.tenant_id)
        return found.order_by("-created_at", "id")

    @extend_schema(request=NewInvitationSerializer, responses={201: InvitationSerializer})
    def post(self, request: Request) -> Response:
        """Invite somebody to be a member; the link is mailed to them alone."""
        body = NewInvitationSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        invitations.count_link(tenant_id=self.caller.tenant_id, email=body.validated_data["email"])
        row = invitations.invite(
            **body.validated_data,
            tenant_id=self.caller.tenant_id,
            invited_by=self.caller.user_id,
            actor=self.caller.actor,
            now=clock.now(),
        )
        return self.made(row=row)


class InvitationView(RowView):
    serializer_class = InvitationSerializer
    noun: ClassVar[str] = "invitation"

    def rows(self) -> QuerySet[Invitation]:
        return Invitation.objects.filter(tenant=self.caller.tenant_id)

    def delete(self, request: Request, id: UUID) -> Response:
        """Take an invitation back; its link ends."""
        rows.remove(rows=self.rows(), id=id, version=wanted_version(request=request))
        return Response(status=204)
