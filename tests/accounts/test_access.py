"""Who may do what."""

import pytest
from django.contrib.auth.models import AnonymousUser

from accounts import access
from accounts.access import Right
from accounts.models import Membership, Tenant, User
from tests import factories

pytestmark = pytest.mark.django_db


def member(*, role: str, tenant: Tenant) -> User:
    return factories.MembershipFactory.create(role=role, tenant=tenant).user


@pytest.mark.parametrize(
    ("role", "rights"),
    [
        (Membership.Role.ADMIN, {Right.WORK, Right.MANAGE}),
        (Membership.Role.STAFF, {Right.WORK}),
        (Membership.Role.PROVIDER, set()),
    ],
)
def test_roles(role: str, rights: set[Right]) -> None:
    tenant, foreign = factories.TenantFactory.create_batch(2)
    user = member(role=role, tenant=tenant)
    for right in Right:
        may = right in rights
        assert access.may(user=user, right=right) == may
        assert access.may(user=user, right=right, tenant_id=tenant.pk) == may
        assert not access.may(user=user, right=right, tenant_id=foreign.pk)
        assert list(access.tenants_of(user=user, right=right)) == ([tenant] if may else [])
    assert user.is_staff == bool(rights)


def test_rights_are_of_a_tenant() -> None:
    """An admin here who is staff there manages here and works in both."""
    here, there = factories.TenantFactory.create_batch(2)
    user = member(role=Membership.Role.ADMIN, tenant=here)
    factories.MembershipFactory.create(user=user, tenant=there)
    assert access.tenant_ids(user=user, right=Right.WORK) == {here.pk, there.pk}
    assert access.tenant_ids(user=user, right=Right.MANAGE) == {here.pk}


def test_superusers_have_every_right() -> None:
    tenant = factories.TenantFactory.create()
    user = User.objects.create_superuser("root@example.com", "secret", name="Root")
    assert all(access.may(user=user, right=right, tenant_id=tenant.pk) for right in Right)
    assert list(access.tenants_of(user=user)) == [tenant]
    assert access.is_operator(user=user)


def test_strangers_have_none() -> None:
    tenant = factories.TenantFactory.create()
    gone = member(role=Membership.Role.ADMIN, tenant=tenant)
    gone.is_active = False
    root = User.objects.create_superuser("root@example.com", "secret", name="Root", is_active=False)
    for user in (gone, root, AnonymousUser(), factories.UserFactory.create()):
        assert not any(access.may(user=user, right=right) for right in Right)
        assert not access.tenants_of(user=user).exists()


def test_rows_and_members() -> None:
    here, there = factories.TenantFactory.create_batch(2)
    user = member(role=Membership.Role.STAFF, tenant=here)
    colleague = member(role=Membership.Role.PROVIDER, tenant=here)
    stranger = member(role=Membership.Role.STAFF, tenant=there)
    seen = access.rows_of(user=user, rows=Membership.objects.all())
    assert {row.user for row in seen} == {user, colleague}
    assert stranger not in access.members_of(user=user)
    assert set(access.members_of(user=user)) == {user, colleague}
