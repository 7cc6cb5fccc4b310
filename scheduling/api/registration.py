from collections.abc import Mapping
from typing import Any, ClassVar
from uuid import UUID

from django.http import QueryDict
from django.utils import translation
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import Throttled
from rest_framework.parsers import FormParser
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import invitations, limits, rows
from accounts.bodies import Body
from accounts.invitations import InvitationOver
from accounts.links import CsrfFailed, LinkView, check_form
from accounts.members import AlreadyMember
from accounts.models import Invitation, Language, phone_validator
from accounts.parsers import JSONParser
from accounts.views import PAGE, ApiView
from audit import clock
from audit.errors import NotFound
from scheduling import callers, registration, scopes
from scheduling.api.tokens import OpenView, count_guess
from scheduling.registration import HasLogin, NoAddress, OtherPatient


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
    problems: ClassVar = {"POST": (InvitationOver, HasLogin, OtherPatient, Throttled)}

    @extend_schema(request=ConfirmationSerializer, responses={201: JoinedSerializer})
    def post(self, request: Request) -> Response:
        """Become a patient by the link of one's registration."""
        body = ConfirmationSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        given = dict(body.validated_data)
        _count(request=request, token=given["token"])
        token = given.pop("token")
        return _join(request=request, token=token, given=given, role=Invitation.Role.PATIENT)


class AcceptView(LinkView):
    """An invitation, by its link. A browser gets a page with a form."""

    serializer_class = OfferedSerializer
    parser_classes = (JSONParser, FormParser)
    idempotent = False
    problems: ClassVar = {
        "GET": (InvitationOver, Throttled),
        "POST": (InvitationOver, AlreadyMember, HasLogin, OtherPatient, CsrfFailed, Throttled),
    }
    template = "scheduling/invitation.html"
    invitation: Invitation | None = None
    joined = False
    name = ""  # as it was typed, to be put right

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Count the request, and check that a form is ours.

        :raises Throttled: if there were too many from its address.
        :raises CsrfFailed: if it is a form of another site's.
        """
        super().initial(request, *args, **kwargs)
        _count(request=request, token=kwargs["token"])
        check_form(request=request)

    @extend_schema(
        auth=[], responses={(200, "application/json"): OfferedSerializer, (200, PAGE): str}
    )
    def get(self, request: Request, token: str) -> Response:
        """Say what one is invited to. Changes nothing."""
        return Response(OfferedSerializer(self.find(token=token)).data)

    @extend_schema(  # the form is the page's own
        auth=[],
        request={"application/json": AcceptSerializer},
        responses={(201, "application/json"): JoinedSerializer, (201, PAGE): str},
    )
    def post(self, request: Request, token: str) -> Response:
        """Join the tenant; the link then counts no longer."""
        given = request.data
        if request.accepted_renderer.media_type == PAGE:
            self.find(token=token)  # for the page, whatever comes of it
        if isinstance(given, QueryDict):
            given = {name: given[name] for name in given if name != "csrfmiddlewaretoken"}
            self.name = given.get("name", "")
        with translation.override(self.language or translation.get_language()):
            body = AcceptSerializer(data=given)
            body.is_valid(raise_exception=True)
            response = _join(request=request, token=token, given=dict(body.validated_data))
        self.joined = True
        return response

    def find(self, *, token: str) -> Invitation:
        """Return the invitation of the link; who registers has said no language yet.

        :raises InvitationOver: if it does not count any longer.
        """
        self.invitation = invitation = invitations.read(token=token, now=clock.now())
        self.language = invitation.language if invitation.invited_by_id else ""
        return invitation

    def known(self, *, data: Any) -> Mapping[str, Any]:
        """Return the invitation, what its form asks, and what was wrong with each field."""
        if self.invitation is None:
            return {}
        is_new = invitations.account(invitation=self.invitation) is None
        is_known = self.invitation.name or self.invitation.patient_id
        errors: dict[str, list[str]] = {}
        for error in data.get("errors", ()):
            errors.setdefault(error["field"], []).append(error["detail"])
        return {
            "invitation": self.invitation,
            "joined": self.joined,
            "has_account": invitations.asks_password(invitation=self.invitation),
            "wants_name": is_new and not is_known,
            "name": self.name,
            "errors": errors,
        }


class PatientInviteView(ApiView):
    problems: ClassVar = {"POST": (HasLogin, NoAddress, OtherPatient, Throttled)}

    @extend_schema(request=None, responses={202: SentSerializer})
    def post(self, request: Request, id: UUID) -> Response:
        """Mail a patient the link that gives them a login."""
        patient = rows.find(rows=scopes.patients(caller=self.caller), id=id, field="patient")
        registration.check(patient=patient)
        invitations.count_link(tenant_id=patient.tenant_id, email=patient.email)
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
    """Use a link; `given` is the password, and what they say of themselves.

    :raises Throttled: if it asks for the password of an account, and too many were tried.
    """
    offered = invitations.read(token=token, now=clock.now())
    if invitations.asks_password(invitation=offered):
        count_guess(request=request, email=offered.email, tenant_id=offered.tenant_id)
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
