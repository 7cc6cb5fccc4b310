"""Members: who is what in a tenant, and who no longer is."""

from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef, Q

from accounts import rows
from accounts.models import Invitation, Membership, Tenant, User
from audit import events
from audit.errors import Refused
from audit.events import Actor


class LastAdmin(Refused):
    """Somebody has to be the tenant's admin."""

    code = "last_admin"


class AlreadyMember(Refused):
    """They are something in the tenant already."""

    code = "already_member"


@transaction.atomic
def add(
    *, tenant_id: UUID, email: str, name: str, role: str, actor: Actor, now: datetime
) -> Membership:
    """Make who logs in with this address a member.

    Where there is none, they get an account of this name, which has no password until one is set.

    :raises ValidationError: naming `email` or `name`, if it will not do.
    :raises AlreadyMember: if they are a member.
    """
    Tenant.objects.select_for_update(no_key=True).get(pk=tenant_id)
    user = User.objects.filter(email__iexact=email).first()
    if user is None:
        user = User(email=User.objects.normalize_email(email), name=name)
        user.set_unusable_password()
        user.full_clean()
        user.save()
        user.refresh_from_db()
    if Membership.objects.filter(tenant=tenant_id, user=user).exists():
        raise AlreadyMember(f"User {user.pk} is a member already.", field="email")
    member = Membership.objects.create(tenant_id=tenant_id, user=user, role=role)
    _record(kind="access.joined", member=member, actor=actor, now=now)
    return member


@transaction.atomic
def change(
    *, tenant_id: UUID, member_id: UUID, role: str, actor: Actor, now: datetime,
    version: int | None = None,
) -> Membership:  # fmt: skip
    """Give a member another role; their tokens say the old one and end with it.

    Links that were mailed to them end, too: one may be for the old role. So do links that they had
    mailed to others and may not send any longer.

    :raises NotFound: if they are no member of the tenant.
    :raises Stale: if the version is not the wanted one.
    :raises LastAdmin: if the tenant would have no admin any longer.
    """
    member = _lock(tenant_id=tenant_id, member_id=member_id, version=version)
    if member.role == role:
        return member
    _keep_admin(member=member)
    member.role = role
    member.save(update_fields=["role"])
    member.refresh_from_db()
    _withdraw(member=member)
    _record(kind="access.changed", member=member, actor=actor, now=now)
    return member


@transaction.atomic
def remove(
    *, tenant_id: UUID, member_id: UUID, actor: Actor, now: datetime, version: int | None = None
) -> None:
    """End a membership; the user stays, since they may be something elsewhere.

    Links that were mailed to them, or that they had mailed to others, end with it.

    :raises NotFound, Stale, LastAdmin: as `change`.
    """
    member = _lock(tenant_id=tenant_id, member_id=member_id, version=version)
    _keep_admin(member=member)
    _record(kind="access.removed", member=member, actor=actor, now=now)
    member.delete()
    _withdraw(member=member)


def may_invite() -> Q:
    """Match invitations whose sender may send them now: an admin, and staff where to a patient.

    Whether they may is asked whenever the link is used, so that none outlives its sender's right.
    A registration has no sender.
    """
    sender = Membership.objects.filter(
        tenant=OuterRef("tenant"), user=OuterRef("invited_by"), user__is_active=True
    )
    patient = Q(role=Invitation.Role.PATIENT)
    return (
        (patient & Q(patient_id=None))
        | Q(Exists(sender.filter(role=Membership.Role.ADMIN)))
        | (patient & Q(Exists(sender.filter(role=Membership.Role.STAFF))))
    )


def _lock(*, tenant_id: UUID, member_id: UUID, version: int | None) -> Membership:
    # The tenant first: two admins who end each other would else both find one left.
    Tenant.objects.select_for_update(no_key=True).get(pk=tenant_id)
    members = Membership.objects.filter(tenant=tenant_id)
    return rows.lock(rows=members, id=member_id, version=version)


def _withdraw(*, member: Membership) -> None:
    """Delete unused invitations of who became another: to them, and from them if not to be sent."""
    unused = Invitation.objects.filter(tenant=member.tenant_id, accepted_at=None)
    sent = Q(invited_by=member.user_id) & ~may_invite()
    unused.filter(Q(email__iexact=member.user.email) | sent).delete()


def _keep_admin(*, member: Membership) -> None:
    admins = Membership.objects.filter(tenant=member.tenant_id, role=Membership.Role.ADMIN)
    others = admins.filter(user__is_active=True).exclude(pk=member.pk)
    if member.role == Membership.Role.ADMIN and not others.exists():
        raise LastAdmin("This is the tenant's only admin.", field="member")


def _record(*, kind: str, member: Membership, actor: Actor, now: datetime) -> None:
    events.record(
        kind=kind,
        tenant_id=member.tenant_id,
        subject_type="user",
        subject_id=member.user_id,
        actor=actor,
        at=now,
        data={"role": str(member.role)},
    )
