"""A patient's record and a login: whom a link joins, whom it does not, and guesses at passwords."""

from typing import Any

import pytest
from pytest_django import Settings

from accounts import invitations
from accounts.models import Invitation, Membership, Tenant, User
from accounts.roles import Role
from audit.models import Event
from scheduling.models import Patient
from tests.api import Api, log_in, patient_of
from tests.factories import MembershipFactory, PatientFactory, TenantFactory, UserFactory

pytestmark = pytest.mark.django_db

ADA = "ada@example.org"
NEW = "correct horse battery"
OLD = "secret"


@pytest.fixture
def tenant() -> Tenant:
    return TenantFactory.create()


@pytest.fixture
def staff(tenant: Tenant) -> Api:
    return log_in(tenant=tenant, role=Role.STAFF)


@pytest.fixture
def record(tenant: Tenant) -> Patient:
    """What staff know of Ada."""
    return PatientFactory.create(tenant=tenant, email=ADA, external_ref="P-1", tier=2)


@pytest.fixture(autouse=True)
def no_limits(settings: Settings) -> None:
    settings.RATE_LIMITS = dict.fromkeys(settings.RATE_LIMITS, "1000/minute")


def invite(staff: Api, patient: Patient) -> str:
    """Invite a patient and return the token of their link."""
    answer = staff.post(f"patients/{patient.pk}/invite")
    assert answer.status_code == 202, answer.content
    return invitations.token(invitation=Invitation.objects.get(patient_id=patient.pk))


def ask_to_register(tenant: Tenant) -> str:
    """Register as Ada and return the token of the link."""
    body = {"tenant": tenant.slug, "email": ADA}
    assert Api().post("auth/register", body, format="json").status_code == 202
    return invitations.token(invitation=Invitation.objects.filter(patient_id=None).latest("id"))


def use(token: str, password: str, **headers: str) -> Any:
    body = {"password": password, "name": "Ada"}
    return Api().post(f"auth/invitations/{token}", body, format="json", headers=headers)


def test_who_has_an_account_elsewhere_gets_their_record(
    tenant: Tenant, staff: Api, record: Patient
) -> None:
    user = UserFactory.create(email="Ada@Example.org")
    PatientFactory.create(user=user)  # of another tenant
    assert use(invite(staff, record), OLD).status_code == 201
    record.refresh_from_db()
    assert (record.user, record.tier) == (user, 2)
    assert User.objects.filter(email__iexact=ADA).count() == 1


def test_a_member_gets_their_record(tenant: Tenant, staff: Api, record: Patient) -> None:
    MembershipFactory.create(tenant=tenant, user=UserFactory.create(email=ADA))
    assert use(invite(staff, record), OLD).status_code == 201
    record.refresh_from_db()
    assert record.user is not None
    assert Membership.objects.filter(user=record.user).count() == 1


def test_who_registered_first_is_not_invited_as_another(
    tenant: Tenant, staff: Api, record: Patient
) -> None:
    """Staff are told who logs in; once that one is gone, the link gives the login to the record."""
    assert use(ask_to_register(tenant), NEW).status_code == 201
    registered = Patient.objects.exclude(pk=record.pk).get()
    refused = staff.post(f"patients/{record.pk}/invite")
    assert (refused.status_code, refused.json()["code"]) == (409, "other_patient")
    assert str(registered.pk) in refused.json()["detail"]
    assert ADA not in refused.content.decode()
    assert not Invitation.objects.filter(patient_id=record.pk).exists()
    assert staff.delete(f"patients/{registered.pk}").status_code == 204
    assert use(invite(staff, record), NEW).status_code == 201
    record.refresh_from_db()
    assert record.user is not None
    assert record.user.email == ADA


def test_who_registered_meanwhile_stays_who_they_are(
    tenant: Tenant, staff: Api, record: Patient
) -> None:
    Patient.objects.filter(pk=record.pk).update(language="fr")
    link = invite(staff, record)
    assert use(ask_to_register(tenant), NEW).status_code == 201
    registered = Patient.objects.exclude(pk=record.pk).get()
    refused = use(link, NEW)
    assert (refused.status_code, refused.json()["code"]) == (409, "other_patient")
    page = use(link, NEW, Accept="text/html")
    assert page.status_code == 409
    assert "laquelle de vos deux fiches est conservée" in page.content.decode()
    record.refresh_from_db()
    assert record.user is None
    assert staff.delete(f"patients/{registered.pk}").status_code == 204
    assert use(link, NEW).status_code == 201  # the link was not used up


def test_who_has_their_record_registers_again_as_it(
    tenant: Tenant, staff: Api, record: Patient
) -> None:
    assert use(invite(staff, record), NEW).status_code == 201
    assert use(ask_to_register(tenant), NEW).status_code == 201
    assert Patient.objects.filter(tenant=tenant).count() == 1


def test_one_record_is_not_given_to_two(tenant: Tenant, staff: Api, record: Patient) -> None:
    link = invite(staff, record)
    Patient.objects.filter(pk=record.pk).update(user=UserFactory.create())
    refused = use(link, NEW)
    assert (refused.status_code, refused.json()["code"]) == (409, "has_login")


# Guesses


@pytest.fixture
def account() -> User:
    return UserFactory.create(email=ADA)


def denials() -> list[tuple[str, Any]]:
    found = Event.objects.filter(kind="access.denied").order_by("at", "id")
    return [(one.subject_type, one.subject_id) for one in found]


def test_a_wrong_password_by_a_link_is_noted_as_at_a_login(
    tenant: Tenant, staff: Api, record: Patient, account: User
) -> None:
    link = invite(staff, record)
    assert use(link, "wrong").status_code == 400
    member = MembershipFactory.create(tenant=tenant, user=account)
    assert use(link, "wrong").status_code == 400
    confirmed = Api().post(
        "auth/register/confirm", {"token": ask_to_register(tenant), "password": "wrong"},
        format="json",
    )  # fmt: skip
    assert confirmed.status_code == 400
    mine = ("user", member.user_id)
    assert denials() == [("tenant", tenant.pk), mine, mine]
    denied = Event.objects.filter(kind="access.denied").latest("at")
    assert (denied.tenant_id, denied.data) == (tenant.pk, {"reason": "credentials"})
    assert use(link, OLD).status_code == 201
    assert len(denials()) == 3


def test_a_weak_new_password_is_no_guess(tenant: Tenant, staff: Api, record: Patient) -> None:
    assert use(invite(staff, record), "1234").status_code == 400
    assert denials() == []


def test_guessing_by_links_is_slowed_down_by_account(
    tenant: Tenant, staff: Api, record: Patient, account: User, settings: Settings
) -> None:
    """From everywhere, by all links, and together with logins."""
    settings.PROXIES = 1
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "token": "4/minute"}
    links = (invite(staff, record), ask_to_register(tenant))
    body = {"email": ADA.upper(), "password": "wrong", "tenant": tenant.slug}
    login = Api().post(
        "auth/token", body, format="json", headers={"X-Forwarded-For": "10.20.9.1"}
    )  # fmt: skip
    assert login.status_code == 401
    statuses = [
        use(links[n % 2], "wrong", **{"X-Forwarded-For": f"10.20.{n}.1"}).status_code
        for n in range(5)
    ]  # fmt: skip
    assert statuses == [400, 400, 400, 429, 429]
    late = use(links[0], OLD, **{"X-Forwarded-For": "10.20.8.1"})
    assert (late.status_code, late.json()["code"]) == (429, "throttled")
    assert len(denials()) == 4


def test_guessing_by_links_is_slowed_down_by_address(
    tenant: Tenant, staff: Api, settings: Settings
) -> None:
    settings.PROXIES = 1
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "token": "3/minute"}
    statuses = []
    for n in range(4):
        user = UserFactory.create()
        patient = PatientFactory.create(tenant=tenant, email=user.email)
        link = invite(staff, patient)
        statuses.append(use(link, f"guess {n}", **{"X-Forwarded-For": "10.21.0.1"}).status_code)
    assert statuses == [400, 400, 400, 429]


def test_a_new_password_is_not_counted_as_a_guess(
    tenant: Tenant, staff: Api, record: Patient, settings: Settings
) -> None:
    settings.PROXIES = 1
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "token": "1/minute"}
    link = invite(staff, record)
    behind = {"X-Forwarded-For": "10.22.0.1"}
    assert [use(link, "1234", **behind).status_code for _ in range(3)] == [400] * 3
    assert use(link, NEW, **behind).status_code == 201
    assert patient_of(api=Api(user=User.objects.get(email=ADA))) == record
