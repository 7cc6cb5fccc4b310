"""Registration and invitations: links in mails, used once, telling nothing to others."""

from typing import Any

import pytest
from django.core import mail
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from accounts import tasks
from accounts.models import Invitation, Membership, Tenant, User
from accounts.roles import Role
from audit.models import Event
from scheduling.models import Patient
from tests.api import Api, log_in
from tests.factories import PatientFactory, TenantFactory, UserFactory

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery"


@pytest.fixture
def tenant() -> Tenant:
    return TenantFactory.create()


@pytest.fixture(autouse=True)
def no_limits(settings: Settings) -> None:
    settings.RATE_LIMITS = dict.fromkeys(settings.RATE_LIMITS, "1000/minute")


def register(tenant: Tenant, email: str = "ada@example.org") -> Any:
    body = {"tenant": tenant.slug, "email": email, "name": "Ada", "language": "fr"}
    return Api().post("auth/register", body, format="json")


def link() -> str:
    """Send what is due and return the token of the last mail's link."""
    tasks.mail_invitations()
    [line] = [one for one in str(mail.outbox[-1].body).splitlines() if "/join/" in one]
    return line.rsplit("/", 1)[1]


def test_a_patient_registers_confirms_and_logs_in(tenant: Tenant) -> None:
    assert register(tenant).status_code == 202
    assert not User.objects.exists()
    token = link()
    assert mail.outbox[-1].to == ["ada@example.org"]
    read = Api().get(f"auth/invitations/{token}")
    assert (read.status_code, read.json()["role"]) == (200, "patient")
    done = Api().post(
        "auth/register/confirm", {"token": token, "password": PASSWORD}, format="json"
    )
    assert done.status_code == 201, done.content
    patient = Patient.objects.get()
    assert (patient.tenant, patient.name, patient.language) == (tenant, "Ada", "fr")
    body = {"email": "ada@example.org", "password": PASSWORD, "tenant": tenant.slug}
    assert Api().post("auth/token", body, format="json").status_code == 200
    again = Api().post(
        "auth/register/confirm", {"token": token, "password": PASSWORD}, format="json"
    )
    assert (again.status_code, again.json()["code"]) == (404, "invitation_over")
    assert Api().get(f"auth/invitations/{token}").status_code == 404


def test_whether_an_address_has_an_account_is_not_told(tenant: Tenant) -> None:
    user = UserFactory.create()
    known, unknown = register(tenant, user.email), register(tenant)
    assert (known.status_code, known.content) == (unknown.status_code, unknown.content)


def test_an_account_is_not_taken_over_by_registering(tenant: Tenant) -> None:
    user = UserFactory.create()
    register(tenant, user.email)
    token = link()
    wrong = Api().post(
        "auth/register/confirm", {"token": token, "password": PASSWORD}, format="json"
    )
    assert wrong.status_code == 400
    assert wrong.json()["errors"][0]["field"] == "password"
    right = Api().post(
        "auth/register/confirm", {"token": token, "password": "secret"}, format="json"
    )
    assert right.status_code == 201
    assert Patient.objects.get().user == user
    user.refresh_from_db()
    assert user.check_password("secret")


def test_who_registers_twice_is_one_patient(tenant: Tenant) -> None:
    for password in (PASSWORD, PASSWORD):
        register(tenant)
        body = {"token": link(), "password": password}
        assert Api().post("auth/register/confirm", body, format="json").status_code == 201
    assert Patient.objects.count() == 1


def test_a_weak_password_and_a_lapsed_link_are_refused(tenant: Tenant) -> None:
    register(tenant)
    token = link()
    weak = Api().post("auth/register/confirm", {"token": token, "password": "1234"}, format="json")
    assert {error["field"] for error in weak.json()["errors"]} == {"password"}
    Invitation.objects.update(expires_at="2020-01-01T00:00:00Z")
    late = Api().post(
        "auth/register/confirm", {"token": token, "password": PASSWORD}, format="json"
    )
    assert late.status_code == 404
    assert not User.objects.exists()


@pytest.mark.parametrize("kind", ["organizer", "venue_operator", None])
def test_only_a_tenant_that_has_patients_takes_registrations(kind: str | None) -> None:
    tenant = TenantFactory.create(kind=kind) if kind else TenantFactory.build(slug="none")
    response = register(tenant)
    assert response.status_code == 404
    assert response.json()["errors"][0]["field"] == "tenant"


@pytest.mark.parametrize("token", ["x", "a:b:c", "%00", "é", "IjEi:1:1"])
def test_a_link_that_is_not_ours_is_over(token: str) -> None:
    assert Api().get(f"auth/invitations/{token}").status_code == 404


def test_an_admin_invites_a_member_who_joins_once(tenant: Tenant) -> None:
    admin = log_in(tenant=tenant, role=Role.ADMIN)
    body = {"email": "new@example.org", "role": "provider", "name": "Grace"}
    made = admin.post("invitations/", body, format="json")
    assert made.status_code == 201, made.content
    assert "token" not in made.json()
    token = link()
    offered = Api().get(f"auth/invitations/{token}").json()
    assert (offered["tenant"], offered["role"]) == (tenant.slug, "provider")
    joined = Api().post(f"auth/invitations/{token}", {"password": PASSWORD}, format="json")
    assert joined.status_code == 201
    member = Membership.objects.get(user__email="new@example.org")
    assert (member.tenant, member.role, member.user.name) == (tenant, "provider", "Grace")
    again = Api().post(f"auth/invitations/{token}", {"password": PASSWORD}, format="json")
    assert again.status_code == 404
    kinds = Event.objects.filter(kind__startswith="access.").values_list("kind", flat=True)
    assert {"access.invited", "access.joined"} <= set(kinds)
    admin.post("invitations/", body, format="json")
    twice = Api().post(f"auth/invitations/{link()}", {"password": PASSWORD}, format="json")
    assert (twice.status_code, twice.json()["code"]) == (409, "already_member")


def test_an_invitation_that_was_taken_back_is_over(tenant: Tenant) -> None:
    admin = log_in(tenant=tenant, role=Role.ADMIN)
    made = admin.post("invitations/", {"email": "a@example.org", "role": "staff"}, format="json")
    token = link()
    assert admin.delete(made["Location"]).status_code == 204
    assert Api().get(f"auth/invitations/{token}").status_code == 404


def test_an_admin_cannot_invite_a_patient_as_a_member(tenant: Tenant) -> None:
    admin = log_in(tenant=tenant, role=Role.ADMIN)
    body = {"email": "a@example.org", "role": "patient"}
    response = admin.post("invitations/", body, format="json")
    assert response.status_code == 400
    assert response.json()["errors"][0]["field"] == "role"


def test_a_member_link_does_not_confirm_a_registration(tenant: Tenant) -> None:
    admin = log_in(tenant=tenant, role=Role.ADMIN)
    admin.post("invitations/", {"email": "a@example.org", "role": "staff"}, format="json")
    body = {"token": link(), "password": PASSWORD}
    assert Api().post("auth/register/confirm", body, format="json").status_code == 404


def test_staff_give_a_patient_a_login(tenant: Tenant) -> None:
    staff = log_in(tenant=tenant, role=Role.STAFF)
    patient = PatientFactory.create(tenant=tenant)
    assert staff.post(f"patients/{patient.pk}/invite").status_code == 202
    joined = Api().post(f"auth/invitations/{link()}", {"password": PASSWORD}, format="json")
    assert joined.status_code == 201
    patient.refresh_from_db()
    assert patient.user is not None
    assert patient.user.email == patient.email
    again = staff.post(f"patients/{patient.pk}/invite")
    assert (again.status_code, again.json()["code"]) == (409, "has_login")
    silent = PatientFactory.create(tenant=tenant, email="")
    response = staff.post(f"patients/{silent.pk}/invite")
    assert (response.status_code, response.json()["code"]) == (409, "no_address")


def test_another_link_for_a_patient_ends_the_first(tenant: Tenant) -> None:
    staff = log_in(tenant=tenant, role=Role.STAFF)
    patient = PatientFactory.create(tenant=tenant)
    links = []
    for _ in range(2):
        assert staff.post(f"patients/{patient.pk}/invite").status_code == 202
        links.append(link())
    assert [Api().get(f"auth/invitations/{one}").status_code for one in links] == [404, 200]


def test_a_link_to_an_address_that_the_patient_left_is_over(tenant: Tenant) -> None:
    staff = log_in(tenant=tenant, role=Role.STAFF)
    patient = PatientFactory.create(tenant=tenant)
    staff.post(f"patients/{patient.pk}/invite")
    path, mailed_to = f"auth/invitations/{link()}", patient.email
    for email in ("new@example.org", ""):
        Patient.objects.filter(pk=patient.pk).update(email=email)
        late = Api().post(path, {"password": PASSWORD}, format="json")
        assert (late.status_code, late.json()["code"]) == (404, "invitation_over")
    assert not User.objects.filter(email=mailed_to).exists()
    Patient.objects.filter(pk=patient.pk).update(email=mailed_to.upper())
    assert Api().post(path, {"password": PASSWORD}, format="json").status_code == 201


def test_a_mail_is_sent_once_and_again_if_it_could_not_be(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(tenant)
    broken = "django.core.mail.EmailMessage.send"
    with monkeypatch.context() as patch:
        patch.setattr(broken, _fail)
        with pytest.raises(OSError, match="away"):
            tasks.mail_invitations()
    assert tasks.mail_invitations() == {"mails": 1}
    assert tasks.mail_invitations() == {"mails": 0}
    assert len(mail.outbox) == 1


def _fail(*args: Any, **kwargs: Any) -> int:
    raise OSError("the server is away")


def test_registering_is_limited(tenant: Tenant, settings: Settings) -> None:
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "register": "2/minute"}
    settings.PROXIES = 1
    statuses = [
        Api().post(
            "auth/register", {}, format="json", headers={"X-Forwarded-For": "10.8.8.8"}
        ).status_code
        for _ in range(3)
    ]  # fmt: skip
    assert statuses == [400, 400, 429]


def test_mails_to_one_address_are_limited_whoever_asks(tenant: Tenant, settings: Settings) -> None:
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "register": "2/minute"}
    settings.PROXIES = 1
    body = {"tenant": tenant.slug, "name": "Ada"}
    emails = ["vic@example.org", "Vic@example.org", "vic@EXAMPLE.org", "other@example.org"]
    statuses = [
        Api().post(
            "auth/register", {**body, "email": email}, format="json",
            headers={"X-Forwarded-For": f"10.6.{n}.1"},
        ).status_code
        for n, email in enumerate(emails)
    ]  # fmt: skip
    assert statuses == [202, 202, 429, 202]
    assert Invitation.objects.count() == 3


def test_the_mail_is_asked_for_on_commit(
    tenant: Tenant, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    with django_capture_on_commit_callbacks() as callbacks:
        register(tenant)
    assert {str(getattr(one, "task", "")) for one in callbacks} == {
        "accounts.tasks.mail_invitations", "notifications.tasks.relay_events"
    }  # fmt: skip
