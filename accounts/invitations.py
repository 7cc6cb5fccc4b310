"""Invitations: somebody may join a tenant, once, by the signed link in their mail."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.core import signing
from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage, get_connection
from django.db import transaction
from django.db.models import QuerySet
from django.urls import reverse

from accounts import limits, members
from accounts.models import Invitation, Language, Membership, Tenant, User
from audit import events
from audit.errors import Refused
from audit.events import Actor

KEEP = timedelta(days=7)
SALT = "accounts.invitation"
ROLES = (Invitation.Role.ADMIN, Invitation.Role.STAFF, Invitation.Role.PROVIDER)


class InvitationOver(Refused):
    """The link was not made by us, has lapsed, was used or was taken back, or its sender may not
    invite any longer.
    """

    code = "invitation_over"


class WrongPassword(ValidationError):
    """It is not the password of `user`, whom the invitation to `tenant_id` is for."""

    def __init__(self, *, user: User, tenant_id: UUID) -> None:
        super().__init__({"password": "Give the password of your account."})
        self.user, self.tenant_id = user, tenant_id


@dataclass(frozen=True, slots=True)
class Accepted:
    """An invitation that was just used, and the user that came of it."""

    invitation: Invitation
    user: User


@transaction.atomic
def invite(
    *, tenant_id: UUID, email: str, role: str, invited_by: UUID | None, actor: Actor,
    now: datetime, patient_id: UUID | None = None, name: str = "", language: str = Language.EN,
) -> Invitation:  # fmt: skip
    """Write an invitation; it is mailed on commit. A member's has a name and language to start.

    :raises ValidationError: naming each field with a bad value.
    """
    invitation = Invitation(
        tenant_id=tenant_id,
        email=email,
        role=role,
        invited_by_id=invited_by,
        patient_id=patient_id,
        name=name,
        language=language,
        expires_at=now + KEEP,
    )
    invitation.full_clean()
    invitation.save()
    invitation.refresh_from_db()
    _record(kind="access.invited", invitation=invitation, actor=actor, now=now)
    return invitation


def count_link(*, tenant_id: UUID, email: str) -> None:
    """Count a link that a tenant is to mail to an address, before it is written.

    Links that somebody asked for themselves count elsewhere: a stranger can use none of these up.

    :raises Throttled: if the address got as many as this tenant may send it.
    """
    limits.check(limit="invite", who=f"{tenant_id}:{email.casefold()}", tenant=tenant_id)


def token(*, invitation: Invitation) -> str:
    """Sign an invitation's id; this is what the link holds."""
    return signing.dumps(str(invitation.pk), salt=SALT)


def read(*, token: str, now: datetime) -> Invitation:
    """Return the invitation of a link that still counts.

    :raises InvitationOver: if it does not.
    """
    return _check(invitation=_find(token=token).first(), now=now)


def account(*, invitation: Invitation) -> User | None:
    """Return the user whose address it is for, if there is one already."""
    return User.objects.filter(email__iexact=invitation.email).first()


def asks_password(*, invitation: Invitation) -> bool:
    """Say whether who uses it gives the password of an account, and not a new one."""
    user = account(invitation=invitation)
    return user is not None and user.has_usable_password()


@transaction.atomic
def accept(
    *, token: str, password: str, now: datetime, about: Mapping[str, str] | None = None,
    role: str | None = None,
) -> Accepted:  # fmt: skip
    """Make a user of who bears the link, or know the one they are by their password, and join them.

    Who was made a user without a password gets this one.

    `about` is the name, phone and language of a new user, `role` the one that the invitation must
    have. Who becomes a patient is joined by the caller, in the same transaction.

    :raises InvitationOver: if the link does not count any longer.
    :raises AlreadyMember: if they are a member of the tenant.
    :raises WrongPassword: if it is not that of their account.
    :raises ValidationError: naming `password` or `name`, if it will not do.
    """
    found = _find(token=token).select_for_update(of=("self",), no_key=True)
    invitation = _check(invitation=found.first(), now=now)
    if role is not None and invitation.role != role:
        raise InvitationOver("This link does not count any longer.")
    user = account(invitation=invitation)
    if user is None:
        user = _make(invitation=invitation, about=about or {}, password=password)
    elif user.is_active and not user.has_usable_password():
        _set_password(user=user, password=password)  # whose mailbox it is, is proved by the link
        user.save(update_fields=["password"])
    elif not user.is_active or not user.check_password(password):
        raise WrongPassword(user=user, tenant_id=invitation.tenant_id)
    if invitation.role != Invitation.Role.PATIENT:
        mine = Membership.objects.filter(tenant=invitation.tenant_id, user=user)
        if mine.exists():
            raise members.AlreadyMember("You are a member already.")
        Membership.objects.create(tenant_id=invitation.tenant_id, user=user, role=invitation.role)
    invitation.accepted_at = now
    invitation.save(update_fields=["accepted_at"])
    actor = Actor("user", user.pk)
    _record(kind="access.joined", invitation=invitation, actor=actor, now=now)
    return Accepted(invitation, user)


def mail_due(*, now: datetime, limit: int) -> int:
    """Send what was not sent yet; return how many. One that cannot be sent is left for later.

    Each is claimed first, so that no two runs send it and nothing is locked meanwhile. A link that
    somebody asked for ends instead where its address got as many as it may: here, so that no answer
    tells who writes there.

    :raises OSError: if the server is away, or after the others if it did not take one of them.
    """
    due = Invitation.objects.filter(members.may_invite(), accepted_at=None, expires_at__gt=now)
    # What failed goes to the end: it was changed last.
    found = [*due.filter(mailed_at=None).select_related("tenant").order_by("updated_at")[:limit]]
    if not found:
        return 0
    sent, failure = 0, None
    with get_connection() as server:
        for invitation in found:
            try:
                sent += _mail(invitation=invitation, server=server, now=now)
            except OSError as error:
                failure = error
    if failure is not None:
        raise failure
    return sent


def message(*, invitation: Invitation, server: Any) -> EmailMessage:
    """Write the mail. It says the same whether or not somebody has an account."""
    place: Tenant = invitation.tenant
    path = reverse("invitation-accept", kwargs={"token": token(invitation=invitation)})
    asked = invitation.invited_by_id is None
    why = "You asked to register" if asked else "You are invited to join"
    return EmailMessage(
        subject=f"{place.name}: {why.lower()}",
        body=(
            f"{why} at {place.name}.\n\n"
            f"Follow this link to go on; it works once, until {invitation.expires_at:%d %B %Y}:\n"
            f"{settings.SITE_URL}{path}\n\nIf you did not expect this mail, do nothing.\n"
        ),
        to=[invitation.email],
        connection=server,
    )


def tenant_of(*, token: str) -> UUID | None:
    """Return the tenant of a link's invitation, if it is one of ours that counts."""
    return _find(token=token).values_list("tenant", flat=True).first()


def _mail(*, invitation: Invitation, server: Any, now: datetime) -> bool:
    """Send an invitation unless another run does, or strangers sent its address too many."""
    mine = Invitation.objects.filter(pk=invitation.pk)
    if not mine.filter(mailed_at=None).update(mailed_at=now):
        return False
    who, tenant = invitation.email.casefold(), invitation.tenant_id
    is_asked = invitation.invited_by_id is None
    if is_asked and limits.count(limit="mail", who=who, tenant=tenant):
        mine.update(mailed_at=None, expires_at=now)
        return False
    try:
        message(invitation=invitation, server=server).send()
    except OSError:
        mine.update(mailed_at=None)
        if is_asked:
            limits.forget(limit="mail", who=who, tenant=tenant)
        raise
    return True


def _find(*, token: str) -> QuerySet[Invitation]:
    """Find the invitation of a link, if its sender may still invite."""
    try:
        id = UUID(signing.loads(token, salt=SALT))
    except (signing.BadSignature, ValueError, TypeError, AttributeError):
        return Invitation.objects.none()
    return Invitation.objects.select_related("tenant").filter(members.may_invite(), pk=id)


def _check(*, invitation: Invitation | None, now: datetime) -> Invitation:
    if invitation is None or invitation.accepted_at is not None or invitation.expires_at <= now:
        raise InvitationOver("This link does not count any longer.")
    return invitation


def _make(*, invitation: Invitation, about: Mapping[str, str], password: str) -> User:
    user = User(
        email=User.objects.normalize_email(invitation.email),
        name=about.get("name") or invitation.name,
        phone=about.get("phone", ""),
        language=about.get("language") or invitation.language,
    )
    if not user.name:
        raise ValidationError({"name": "Say your name."})
    _set_password(user=user, password=password)
    user.full_clean()
    user.save()
    user.refresh_from_db()
    return user


def _set_password(*, user: User, password: str) -> None:
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise ValidationError({"password": error.messages}) from None
    user.set_password(password)


def _record(*, kind: str, invitation: Invitation, actor: Actor, now: datetime) -> None:
    events.record(
        kind=kind,
        tenant_id=invitation.tenant_id,
        subject_type="invitation",
        subject_id=invitation.pk,
        actor=actor,
        at=now,
        data={"role": str(invitation.role)},
    )
