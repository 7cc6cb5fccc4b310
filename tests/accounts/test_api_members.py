"""Members: who is what, changed by admins, of whom one always stays."""

import pytest
from pytest_django import DjangoAssertNumQueries

from accounts import invitations
from accounts.models import Invitation, Membership, Tenant
from accounts.roles import Role
from audit import clock, events
from audit.models import Event
from tests.api import Api, log_in
from tests.factories import MembershipFactory, TenantFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def tenant() -> Tenant:
    return TenantFactory.create()


@pytest.fixture
def admin(tenant: Tenant) -> Api:
    return log_in(tenant=tenant, role=Role.ADMIN)


def test_an_admin_sees_and_finds_the_members(tenant: Tenant, admin: Api) -> None:
    grace = MembershipFactory.create(tenant=tenant, user__name="Grace", role="provider")
    MembershipFactory.create()
    assert admin.get("members/").json()["total"] == 2
    for query in ({"search": "grac"}, {"role": "provider"}):
        [row] = admin.get("members/", query).json()["results"]
        assert (row["id"], row["email"]) == (str(grace.pk), grace.user.email)
    names = [row["name"] for row in admin.get("members/", {"sort": "-name"}).json()["results"]]
    assert names == sorted(names, reverse=True)


def test_a_member_gets_another_role_and_their_tokens_end(tenant: Tenant, admin: Api) -> None:
    staff = log_in(tenant=tenant, role=Role.STAFF)
    member = Membership.objects.get(user=staff.user)
    path = f"members/{member.pk}"
    changed = admin.patch(path, {"role": "provider"}, format="json", headers={"If-Match": '"1"'})
    assert (changed.status_code, changed.json()["role"], changed["ETag"]) == (
        200,
        "provider",
        '"2"',
    )
    assert staff.get("services/").status_code == 401
    stale = admin.patch(path, {"role": "staff"}, format="json", headers={"If-Match": '"1"'})
    assert stale.status_code == 412
    assert admin.patch(path, {"role": "king"}, format="json").status_code == 400
    assert admin.patch(path, {"email": "x@example.org"}, format="json").status_code == 200
    assert admin.delete(path).status_code == 204
    assert admin.get(path).status_code == 404
    kinds = Event.objects.filter(subject_id=member.user_id).values_list("kind", flat=True)
    assert {"access.changed", "access.removed"} <= set(kinds)


def test_the_last_admin_stays(tenant: Tenant, admin: Api) -> None:
    member = Membership.objects.get(user=admin.user)
    path = f"members/{member.pk}"
    for response in (
        admin.patch(path, {"role": "staff"}, format="json"),
        admin.delete(path),
    ):
        assert (response.status_code, response.json()["code"]) == (409, "last_admin")
    log_in(tenant=tenant, role=Role.ADMIN)
    assert admin.delete(path).status_code == 204


def invite(tenant: Tenant, email: str) -> Invitation:
    """Invite somebody to be an admin."""
    return invitations.invite(
        tenant_id=tenant.pk,
        email=email,
        role=Invitation.Role.ADMIN,
        invited_by=Membership.objects.filter(role="admin").earliest("created_at").user_id,
        actor=events.SYSTEM,
        now=clock.now(),
    )


def test_links_to_a_member_end_with_what_they_were(tenant: Tenant, admin: Api) -> None:
    member = MembershipFactory.create(tenant=tenant, role="staff", user__email="a@example.org")
    other = invite(tenant, "other@example.org")
    elsewhere = invite(TenantFactory.create(), member.user.email)
    invite(tenant, "A@Example.org")
    used = invite(tenant, member.user.email)
    used.accepted_at = clock.now()
    used.save()
    path = f"members/{member.pk}"
    assert admin.patch(path, {"role": "provider"}, format="json").status_code == 200
    assert set(Invitation.objects.all()) == {other, elsewhere, used}
    theirs = invite(tenant, "a@example.ORG")
    link = f"auth/invitations/{invitations.token(invitation=theirs)}"
    assert admin.delete(path).status_code == 204
    assert set(Invitation.objects.all()) == {other, elsewhere, used}
    again = Api().post(link, {"password": "secret"}, format="json")
    assert (again.status_code, again.json()["code"]) == (404, "invitation_over")
    assert not Membership.objects.filter(tenant=tenant, user=member.user).exists()


def test_an_admin_of_an_organizer_has_its_members_and_invitations() -> None:
    tenant = TenantFactory.create(kind=Tenant.Kind.ORGANIZER)
    admin = log_in(tenant=tenant, role=Role.ORGANIZER_ADMIN)
    assert admin.get("auth/me").json()["role"] == "organizer_admin"
    member = MembershipFactory.create(tenant=tenant, role="staff")
    other = MembershipFactory.create(tenant=TenantFactory.create(kind=Tenant.Kind.ORGANIZER))
    assert admin.get("members/").json()["total"] == 2
    assert admin.get(f"members/{other.pk}").status_code == 404
    assert admin.delete(f"members/{other.pk}").status_code == 404
    made = admin.post("invitations/", {"email": "a@example.org", "role": "admin"}, format="json")
    assert made.status_code == 201
    invited = Invitation.objects.get(pk=made.json()["id"])
    joined = Api().post(
        f"auth/invitations/{invitations.token(invitation=invited)}",
        {"password": "correct horse battery", "name": "Ada"}, format="json",
    )  # fmt: skip
    assert joined.status_code == 201
    second = Membership.objects.get(user__email="a@example.org")
    assert (second.tenant, second.role) == (tenant, "admin")
    for path in ("services/", "facilities/", "waitlists", "patients/"):
        assert admin.get(path).status_code == 403
    plain = Api(user=member.user, tenant=tenant)
    for path in ("members/", "invitations/"):
        assert plain.get(path).status_code == 403
    mine = Membership.objects.get(user=admin.user)
    demoted = admin.patch(f"members/{mine.pk}", {"role": "staff"}, format="json")
    assert demoted.status_code == 200
    assert admin.get("members/").status_code == 401


def test_lists_take_as_many_queries_for_many_rows(
    tenant: Tenant, admin: Api, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for count in (1, 50):
        MembershipFactory.create_batch(count - Membership.objects.count(), tenant=tenant)
        with django_assert_num_queries(4):
            assert len(admin.get("members/", {"page_size": 100}).json()["results"]) == count
