"""Access: who may do what, in which tenants. Nothing else decides it.

A user is something in a tenant by a `Membership`, and rights follow from that role. Superusers have
every right in every tenant.
"""

from enum import StrEnum
from typing import TypeVar
from uuid import UUID

from django.contrib.auth.models import AnonymousUser
from django.db.models import Model, QuerySet

from accounts.models import Membership, Tenant, User

Anyone = User | AnonymousUser
M = TypeVar("M", bound=Model)


class Right(StrEnum):
    """What one may do in a tenant."""

    WORK = "work"  # see and do what concerns scheduling and the waitlist; read policies
    MANAGE = "manage"  # change policies, see and change members
    OPERATE = "operate"  # tenants, users and jobs, which are nobody's: superusers only


#: The roles that have a right.
ROLES: dict[Right, frozenset[str]] = {
    Right.WORK: frozenset({Membership.Role.ADMIN, Membership.Role.STAFF}),
    Right.MANAGE: frozenset({Membership.Role.ADMIN}),
    Right.OPERATE: frozenset(),
}


def tenant_ids(*, user: Anyone, right: Right = Right.WORK) -> set[UUID]:
    """Return the tenants in which a user has a right by a role in them."""
    if not isinstance(user, User) or not user.is_active:
        return set()
    return {tenant for tenant, role in user.roles.items() if role in ROLES[right]}


def tenants_of(*, user: Anyone, right: Right = Right.WORK) -> QuerySet[Tenant]:
    """Return the tenants in which a user has a right."""
    tenants = Tenant.objects.order_by("name", "pk")
    if is_operator(user=user):
        return tenants
    return tenants.filter(pk__in=tenant_ids(user=user, right=right))


def rows_of(*, user: Anyone, rows: QuerySet[M], right: Right = Right.WORK) -> QuerySet[M]:
    """Narrow rows that carry a tenant to the tenants in which a user has a right."""
    if is_operator(user=user):
        return rows
    return rows.filter(tenant_id__in=tenant_ids(user=user, right=right))


def members_of(*, user: Anyone, right: Right = Right.WORK) -> QuerySet[User]:
    """Return the members of the tenants in which a user has a right."""
    memberships = rows_of(user=user, rows=Membership.objects.all(), right=right)
    return User.objects.filter(pk__in=memberships.values("user")).order_by("email")


def may(*, user: Anyone, right: Right, tenant_id: UUID | None = None) -> bool:
    """Say whether a user has a right in a tenant, or without one in any."""
    if is_operator(user=user):
        return True
    ids = tenant_ids(user=user, right=right)
    return bool(ids) if tenant_id is None else tenant_id in ids


def is_operator(*, user: Anyone) -> bool:
    """Say whether a user has every right in every tenant."""
    return user.is_active and user.is_superuser
