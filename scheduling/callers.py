"""Who is asking: a token or a session, compared with the database on every request.

Here and not in accounts, because a patient is a row of this app.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib.auth.hashers import check_password, make_password
from django.db import transaction
from rest_framework.authentication import SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import RefreshToken
from rest_framework_simplejwt.utils import get_md5_hash_password

from accounts.models import Membership, Tenant, User
from accounts.roles import Caller, Role
from audit import events
from audit.errors import Refused
from scheduling.models import Patient

NOBODY = UUID(int=0)


class BadCredentials(Refused):
    """Address, password and tenant do not go together; which of them is wrong is not said."""

    code = "bad_credentials"


class BadToken(Refused):
    """The token is not ours, is over, or its bearer is no longer what it says."""

    code = "bad_token"


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
        caller = find(user_id=user.pk, tenant_id=tenant_id, role=said)
        if caller is None:
            raise AuthenticationFailed("You are no longer what this token says.")
        return user, caller


class PageAuthentication(SessionAuthentication):
    """Knows a caller of the pages by the session; who has several tenants names one by a token."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        """Return the user and the caller they are in the only tenant they have."""
        known = super().authenticate(request)
        if known is None:
            return None
        user = known[0]
        tenants = {*user.memberships.values_list("tenant", flat=True)}
        tenants |= {*user.patients.values_list("tenant", flat=True)}
        if len(tenants) != 1:
            return None
        caller = find(user_id=user.pk, tenant_id=tenants.pop())
        return (user, caller) if caller else None


def find(*, user_id: UUID, tenant_id: UUID, role: str | None = None) -> Caller | None:
    """Say what a user is in a tenant: what their membership says, else a patient, else nothing.

    With a role, they are this or nothing: so a member acts as the patient that they are, too.
    """
    if role != Role.PATIENT:
        members = Membership.objects.select_related("tenant")
        member = members.filter(user=user_id, tenant=tenant_id).first()
        if member is not None:
            caller = Caller(user_id, tenant_id, _role(member=member))
            return caller if role in (None, caller.role) else None
    if role in (None, Role.PATIENT):
        patient = Patient.objects.filter(user=user_id, tenant=tenant_id, erased_at=None).first()
        if patient is not None:
            return Caller(user_id, tenant_id, Role.PATIENT, patient.pk)
    return None


def log_in(
    *, email: str, password: str, tenant: str, now: datetime, role: str | None = None
) -> dict[str, str]:
    """Issue tokens to a user of a tenant, given by its slug or id, as what `find` says they are.

    Takes the same steps, hashing a password above all, whoever asks: neither the answer nor the
    time it takes tells who has an account, or where.

    :raises BadCredentials: unless all that is given is right.
    """
    place = find_tenant(name=tenant)
    user = find_user(email=email)
    right = check_password(password, user.password if user else _no_password())
    tenant_id = place.pk if place else NOBODY
    caller = find(user_id=user.pk if user else NOBODY, tenant_id=tenant_id, role=role)
    if user is None or not right or caller is None:
        if place is not None:
            record_denial(tenant_id=tenant_id, caller=caller, now=now)
        raise BadCredentials("Address, password and tenant do not go together.")
    token = _refresh_token(user=user, tenant_id=tenant_id, role=role)
    return {"access": _access(refresh=token, caller=caller, now=now), "refresh": str(token)}


def record_denial(*, tenant_id: UUID, caller: Caller | None, now: datetime) -> None:
    """Note that a password was not right, of `caller` if it was theirs.

    Who is nothing in the tenant is not named: that somebody is a user is no tenant's business.
    """
    events.record(
        kind="access.denied",
        tenant_id=tenant_id,
        subject_type="user" if caller else "tenant",
        subject_id=caller.user_id if caller else tenant_id,
        actor=events.SYSTEM,
        at=now,
        data={"reason": "credentials"},
    )


def refresh(*, token: str, now: datetime) -> dict[str, str]:
    """Issue another access token, for what the bearer is now, or for the role they asked for.

    :raises BadToken: if the token is bad, or they are not that in its tenant any longer.
    """
    bad = BadToken("This token is not valid any longer.", field="refresh")
    known = _read(token=token)
    if known is None:
        raise bad
    user = User.objects.filter(pk=known["user_id"], is_active=True).first()
    caller = find(
        user_id=UUID(known["user_id"]), tenant_id=UUID(known["tenant_id"]), role=known.get("role")
    )
    if user is None or caller is None:
        raise bad
    if known.get(api_settings.REVOKE_TOKEN_CLAIM) != get_md5_hash_password(user.password):
        raise bad
    return {"access": _access(refresh=known, caller=caller, now=now)}


def tenant_of(*, token: str) -> UUID | None:
    """Return the tenant that a refresh token names, if it is one of ours."""
    known = _read(token=token)
    return UUID(known["tenant_id"]) if known else None


def find_user(*, email: str) -> User | None:
    """Return who logs in with an address, however it is spelled."""
    return User.objects.filter(email__iexact=email, is_active=True).first()


def find_tenant(*, name: str) -> Tenant | None:
    """Return a tenant by its slug or id."""
    try:
        return Tenant.objects.filter(pk=UUID(name)).first()
    except ValueError:
        return Tenant.objects.filter(slug=name).first()


def issue(*, user: User, tenant_id: UUID, role: str | None = None) -> str:
    """Make an access token without asking for a password, for what a user is in a tenant.

    :raises BadToken: if they are nothing in it, or not that.
    """
    caller = find(user_id=user.pk, tenant_id=tenant_id, role=role)
    if caller is None:
        raise BadToken("This user is nothing in this tenant.")
    access = _refresh_token(user=user, tenant_id=tenant_id).access_token
    access["role"] = str(caller.role)
    return str(access)


def _role(*, member: Membership) -> Role:
    if member.tenant.kind != Tenant.Kind.ORGANIZER:
        return Role(member.role)
    admin = member.role == Membership.Role.ADMIN
    return Role.ORGANIZER_ADMIN if admin else Role.ORGANIZER


def _refresh_token(*, user: User, tenant_id: UUID, role: str | None = None) -> RefreshToken:
    token = RefreshToken.for_user(user)
    token["tenant_id"] = str(tenant_id)
    if role is not None:
        token["role"] = role
    return token


def _read(*, token: str) -> RefreshToken | None:
    """Read a refresh token that is ours and is not over."""
    try:
        known = RefreshToken(token)  # type: ignore[arg-type]
        UUID(known["user_id"]), UUID(known["tenant_id"])
    except (TokenError, KeyError, ValueError, TypeError):
        return None
    return known


@transaction.atomic
def _access(*, refresh: RefreshToken, caller: Caller, now: datetime) -> str:
    access = refresh.access_token
    access["role"] = str(caller.role)
    events.record(
        kind="access.token_issued",
        tenant_id=caller.tenant_id,
        subject_type="user",
        subject_id=caller.user_id,
        actor=caller.actor,
        at=now,
        data={"role": str(caller.role)},
    )
    return str(access)


_hashes: list[str] = []


def _no_password() -> str:
    """Return a hash that no password has, which takes as long to compare as a real one."""
    if not _hashes:
        _hashes.append(make_password("nobody's"))
    return _hashes[0]
