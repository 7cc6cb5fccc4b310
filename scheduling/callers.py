"""Who is asking: a token or a session, compared with the database on every request.

Here and not in accounts, because a patient is a row of this app.
"""

from typing import Any
from uuid import UUID

from rest_framework.authentication import SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.tokens import RefreshToken

from accounts.models import Membership, Tenant, User
from accounts.roles import Caller, Role
from scheduling.models import Patient

SESSION_TENANT = "tenant_id"


class TokenAuthentication(JWTAuthentication):
    """Knows a caller by the access token; a role that was taken away is gone at once."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        """Return the user and the caller they are in the token's tenant.

        :raises AuthenticationFailed: if the token is bad, or they are no longer what it says.
        """
        known = super().authenticate(request)
        if known is None:
            return None
        user, token = known
        try:
            tenant_id, said = UUID(str(token["tenant_id"])), str(token["role"])
        except (KeyError, ValueError):
            raise AuthenticationFailed("This token names no tenant.") from None
        caller = find(user=user, tenant_id=tenant_id)
        if caller is None or caller.role != said:
            raise AuthenticationFailed("You are no longer what this token says.")
        return user, caller


class PageAuthentication(SessionAuthentication):
    """Knows a caller of the pages by the session, which names the tenant they chose."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        """Return the user and the caller they are in the session's tenant, or their only one."""
        known = super().authenticate(request)
        if known is None:
            return None
        user = known[0]
        chosen = request._request.session.get(SESSION_TENANT)
        if chosen is None:
            tenants = {*user.memberships.values_list("tenant", flat=True)}
            tenants |= {*user.patients.values_list("tenant", flat=True)}
            chosen = tenants.pop() if len(tenants) == 1 else None
        caller = find(user=user, tenant_id=UUID(str(chosen))) if chosen else None
        return (user, caller) if caller else None


def find(*, user: User, tenant_id: UUID) -> Caller | None:
    """Say what a user is in a tenant: what their membership says, else a patient, else nothing."""
    member = Membership.objects.select_related("tenant").filter(user=user, tenant=tenant_id).first()
    if member is not None:
        organizer = member.tenant.kind == Tenant.Kind.ORGANIZER
        return Caller(user.pk, tenant_id, Role.ORGANIZER if organizer else Role(member.role))
    patient = Patient.objects.filter(user=user, tenant=tenant_id, erased_at=None).first()
    if patient is not None:
        return Caller(user.pk, tenant_id, Role.PATIENT, patient.pk)
    return None


def tokens(*, user: User, caller: Caller) -> dict[str, str]:
    """Issue an access and a refresh token that name the tenant and the role."""
    refresh = RefreshToken.for_user(user)
    refresh["tenant_id"] = str(caller.tenant_id)
    refresh["role"] = str(caller.role)
    return {"access": str(refresh.access_token), "refresh": str(refresh)}
