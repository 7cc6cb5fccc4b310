from typing import ClassVar
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import Throttled
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import invitations, limits, rows
from accounts.bodies import Body
from accounts.invitations import InvitationOver
from accounts.members import AlreadyMember
from accounts.models import Invitation, Language, phone_validator
from accounts.views import ApiView
from audit import clock
from audit.errors import NotFound
from scheduling import callers, registration, scopes
from scheduling.api.tokens import OpenView
from scheduling.registration import HasLogin, NoAddress


class RegistrationSerializer(Body):
    tenant = serializers.CharField(max_length=50, help_text="slug or id")
    email = serializers.EmailField(max_length=254)


class SentSerializer(serializers.Serializer[dict[str, str]]):
    detail = serializers.CharField()


class AcceptSerializer(Body):
    """The password of one's account, or of a new one with what is said of oneself."""

    password = serializers.CharField(
        max_length=128, trim_whitespace=False, help_text="a new one, or that of your account"
    )
    name = serializers.CharField(
        max_length=200, required=False, help_text="needed where there is no account yet"
    )
    phone = serializers.CharField(max_length=16, required=False, validators=[phone_validator])
    language = serializers.ChoiceField(choices=Language.choices, required=False)


class ConfirmationSerializer(AcceptSerializer):
    token = serializers.CharField(max_length=500, help_text="from the link in the mail")


class OfferedSerializer(serializers.ModelSerializer[Invitation]):
    tenant = serializers.SlugField(source="tenant.slug", read_only=True)
    tenant_name = serializers.CharField(source="tenant.name", read_only=True)

    class Meta:
        model = Invitation
        fields = ("tenant", "tenant_name", "email", "name", "role", "language", "expires_at")
        read_only_fields = fields


class JoinedSerializer(serializers.Serializer[dict[str, str]]):
    tenant = serializers.SlugField(help_text="to log in to")
    email = serializers.EmailField()
    role = serializers.ChoiceField(choices=Invitation.Role.choices)


class RegisterView(OpenView):
    problems: ClassVar = {"POST": (NotFound, Throttled)}

    @extend_schema(request=RegistrationSerializer, responses={202: SentSerializer})
    def post(self, request: Request) -> Response:
        """Ask to be a patient; the answer does not tell whether the address has an account."""
        body = RegistrationSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        place = callers.find_tenant(name=body.validated_data["tenant"])
        address = limits.address(request=request)
        limits.check(limit="register", who=address, tenant=place.pk if place else None)
        registration.register(**body.validated_data, now=clock.now())
        return Response({"detail": "Follow the link in the mail that you get."}, status=202)


class ConfirmView(OpenView):
    problems: ClassVar = {"POST": (InvitationOver, HasLogin, Throttled)}

    @extend_schema(request=ConfirmationSerializer, responses={201: JoinedSerializer})
    def post(self, request: Request) -> Response:
        """Become a patient by the link of one's registration."""
        body = ConfirmationSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        given = dict(body.validated_data)
        return _join(
            request=request, token=given.pop("token"), given=given, role=Invitation.Role.PATIENT
        )


class AcceptView(OpenView):
    problems: ClassVar = {
        "GET": (InvitationOver, Throttled),
        "POST": (InvitationOver, AlreadyMember, HasLogin, Throttled),
    }

    @extend_schema(responses=OfferedSerializer)
    def get(self, request: Request, token: str) -> Response:
        """Say what one is invited to."""
        _count(request=request, token=token)
        return Response(OfferedSerializer(invitations.read(token=token, now=clock.now())).data)

    @extend_schema(request=AcceptSerializer, responses={201: JoinedSerializer})
    def post(self, request: Request, token: str) -> Response:
        """Join the tenant; the link then counts no longer."""
        body = AcceptSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        return _join(request=request, token=token, given=dict(body.validated_data))


class PatientInviteView(ApiView):
    problems: ClassVar = {"POST": (HasLogin, NoAddress)}

    @extend_schema(request=None, responses={202: SentSerializer})
    def post(self, request: Request, id: UUID) -> Response:
        """Mail a patient the link that gives them a login."""
        rows.find(rows=scopes.patients(caller=self.caller), id=id, field="patient")
        registration.invite(
            patient_id=id,
            invited_by=self.caller.user_id,
            actor=self.caller.actor,
            now=clock.now(),
        )
        return Response({"detail": "The link is in the mail."}, status=202)


def _count(*, request: Request, token: str) -> None:
    """:raises Throttled: if too many links were used from the address of the request."""
    limits.check(
        limit="invitation",
        who=limits.address(request=request),
        tenant=invitations.tenant_of(token=token),
    )


def _join(
    *, request: Request, token: str, given: dict[str, str], role: str | None = None
) -> Response:
    """Use a link; `given` is the password, and what they say of themselves."""
    _count(request=request, token=token)
    accepted = registration.accept(
        token=token, password=given.pop("password"), about=given, role=role, now=clock.now()
    )
    invitation = accepted.invitation
    return Response(
        {
            "tenant": invitation.tenant.slug,
            "email": accepted.user.email,
            "role": invitation.role,
        },
        status=201,
    )
