from typing import ClassVar
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import Throttled
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import limits
from accounts.bodies import Body
from accounts.models import Tenant, User
from accounts.roles import Role
from accounts.views import ApiView
from audit import clock
from scheduling import callers

ROLES = [one.value for one in Role if one != Role.NONE]


class CredentialsSerializer(Body):
    email = serializers.CharField(max_length=254)
    password = serializers.CharField(max_length=128, trim_whitespace=False)
    tenant = serializers.CharField(max_length=50, help_text="slug or id")
    role = serializers.ChoiceField(
        choices=ROLES,
        required=False,
        help_text="to act as this alone; a member who is a patient, too, asks to be `patient`",
    )


class TokensSerializer(serializers.Serializer[dict[str, str]]):
    access = serializers.CharField(help_text="send it as `Authorization: Bearer …`; 15 minutes")
    refresh = serializers.CharField(help_text="gives another access token; 7 days")


class RefreshSerializer(Body):
    refresh = serializers.CharField(max_length=4000)


class AccessSerializer(serializers.Serializer[dict[str, str]]):
    access = serializers.CharField()


class MeSerializer(serializers.Serializer[User]):
    id = serializers.UUIDField()
    email = serializers.EmailField()
    name = serializers.CharField()
    language = serializers.CharField()
    tenant = serializers.UUIDField()
    tenant_slug = serializers.SlugField()
    tenant_name = serializers.CharField()
    role = serializers.ChoiceField(choices=ROLES)
    patient = serializers.UUIDField(allow_null=True)


class OpenView(ApiView):
    """A view for those who are not logged in; it deals in secrets, so no answer is kept."""

    authentication_classes = ()
    idempotent: ClassVar[bool] = False


class TokenView(OpenView):
    problems: ClassVar = {"POST": (callers.BadCredentials, Throttled)}

    @extend_schema(request=CredentialsSerializer, responses=TokensSerializer)
    def post(self, request: Request) -> Response:
        """Log in to a tenant; what is wrong with bad credentials is not told."""
        body = CredentialsSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        given = body.validated_data
        place = callers.find_tenant(name=given["tenant"])
        tenant = place.pk if place else None
        count_guess(request=request, email=given["email"], tenant_id=tenant)
        return Response(callers.log_in(**given, now=clock.now()))


class RefreshView(OpenView):
    problems: ClassVar = {"POST": (callers.BadToken, Throttled)}

    @extend_schema(request=RefreshSerializer, responses=AccessSerializer)
    def post(self, request: Request) -> Response:
        """Get another access token, for what one is in the tenant now."""
        body = RefreshSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        token = body.validated_data["refresh"]
        address = limits.address(request=request)
        limits.check(limit="refresh", who=address, tenant=callers.tenant_of(token=token))
        return Response(callers.refresh(token=token, now=clock.now()))


class MeView(ApiView):
    @extend_schema(responses=MeSerializer)
    def get(self, request: Request) -> Response:
        """Say who one is."""
        user, tenant = request.user, Tenant.objects.get(pk=self.caller.tenant_id)
        assert isinstance(user, User)
        return Response(
            {
                "id": str(user.pk),
                "email": user.email,
                "name": user.name,
                "language": user.language,
                "tenant": str(tenant.pk),
                "tenant_slug": tenant.slug,
                "tenant_name": tenant.name,
                "role": str(self.caller.role),
                "patient": str(self.caller.patient_id) if self.caller.patient_id else None,
            }
        )


def count_guess(*, request: Request, email: str, tenant_id: UUID | None) -> None:
    """Count a password that is tried, by where it comes from and by whose it is to be.

    :raises Throttled: if there were too many of either.
    """
    address = f"address:{limits.address(request=request)}"
    limits.check(limit="token", who=address, tenant=tenant_id)
    # By who is meant: an address is spelled in many ways, and a tenant by its slug or id.
    user = callers.find_user(email=email)
    who = f"user:{user.pk}" if user else f"mail:{email.casefold()}"
    limits.check(limit="token", who=who, tenant=tenant_id)
