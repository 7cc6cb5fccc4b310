"""Tokens: who gets one, what it says, and when it ends."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from pytest_django import Settings

from accounts.models import Membership, Tenant, User
from audit.models import Event
from scheduling import callers
from tests.api import Api
from tests.factories import MembershipFactory, PatientFactory, TenantFactory, UserFactory

pytestmark = pytest.mark.django_db

Ask = Callable[..., Any]


@pytest.fixture
def member() -> Membership:
    return MembershipFactory.create(role="admin")


@pytest.fixture
def ask(member: Membership, settings: Settings) -> Ask:
    settings.RATE_LIMITS = dict.fromkeys(settings.RATE_LIMITS, "1000/minute")

    def ask(**other: str) -> Any:
        right = {"email": member.user.email, "password": "secret", "tenant": member.tenant.slug}
        return Api().post("auth/token", {**right, **other}, format="json")

    return ask


def with_token(token: str) -> Api:
    api = Api()
    api.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return api


def test_a_member_logs_in_by_slug_or_id_in_any_case(member: Membership, ask: Ask) -> None:
    for other in ({}, {"tenant": str(member.tenant.pk)}, {"email": member.user.email.upper()}):
        response = ask(**other)
        assert response.status_code == 200, response.content
        assert set(response.json()) == {"access", "refresh"}
    me = with_token(response.json()["access"]).get("auth/me").json()
    assert (me["role"], me["tenant"], me["patient"]) == ("admin", str(member.tenant.pk), None)
    assert me["email"] == member.user.email
    issued = Event.objects.filter(kind="access.token_issued").latest("at")
    assert (issued.subject_id, issued.data) == (member.user.pk, {"role": "admin"})


def test_a_patient_is_told_who_they_are(ask: Ask) -> None:
    user = UserFactory.create()
    patient = PatientFactory.create(user=user)
    response = ask(email=user.email, tenant=patient.tenant.slug)
    me = with_token(response.json()["access"]).get("auth/me").json()
    assert (me["role"], me["patient"]) == ("patient", str(patient.pk))


def test_what_is_wrong_is_not_told(member: Membership, ask: Ask) -> None:
    elsewhere = TenantFactory.create()
    away = UserFactory.create(is_active=False)
    MembershipFactory.create(user=away, tenant=member.tenant)
    answers = [
        ask(email="nobody@example.com"),
        ask(password="wrong"),
        ask(tenant=elsewhere.slug),
        ask(tenant="no-such-tenant"),
        ask(email=away.email),
    ]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.content for answer in answers}) == 1
    assert answers[0].json()["code"] == "bad_credentials"
    assert answers[0]["Content-Type"] == "application/problem+json"
    denied = Event.objects.filter(kind="access.denied")
    assert denied.count() == 4  # there is no log of a tenant that is not there
    assert {row["reason"] for row in denied.values_list("data", flat=True)} == {"credentials"}


def test_a_refused_login_names_only_who_belongs_to_the_tenant(member: Membership, ask: Ask) -> None:
    patient = PatientFactory.create(tenant=member.tenant, user=UserFactory.create())
    foreign = MembershipFactory.create().user
    assert patient.user is not None
    tenant, subjects = ("tenant", member.tenant.pk), []
    for email in (member.user.email, patient.user.email, foreign.email, "nobody@example.com"):
        assert ask(email=email, password="wrong").status_code == 401
        denied = Event.objects.filter(kind="access.denied").latest("at")
        subjects.append((denied.subject_type, denied.subject_id))
    mine = [("user", member.user.pk), ("user", patient.user.pk)]
    assert subjects == [*mine, tenant, tenant]


def test_who_is_unknown_waits_as_long(ask: Ask, settings: Settings) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher"]
    callers._hashes.clear()
    known = UserFactory.create()
    MembershipFactory.create(user=known)
    try:
        took = {}
        for email in (known.email, "nobody@example.com"):
            ask(email=email, password="wrong")
            start = time.perf_counter()
            ask(email=email, password="wrong")
            took[email] = time.perf_counter() - start
    finally:
        callers._hashes.clear()
    assert min(took.values()) > max(took.values()) / 3


def test_a_body_without_credentials_is_not_valid() -> None:
    response = Api().post("auth/token", {}, format="json")
    assert response.status_code == 400
    assert {error["field"] for error in response.json()["errors"]} == {
        "email", "password", "tenant",
    }  # fmt: skip


def test_guessing_is_slowed_down_by_account(member: Membership, settings: Settings) -> None:
    settings.PROXIES = 1
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "token": "3/minute"}
    body = {"email": member.user.email, "password": "wrong", "tenant": member.tenant.slug}
    statuses = [
        Api().post(
            "auth/token", body, format="json", headers={"X-Forwarded-For": f"10.1.{n}.1"}
        ).status_code
        for n in range(4)
    ]  # fmt: skip
    assert statuses == [401, 401, 401, 429]


@pytest.mark.parametrize("known", [True, False])
def test_no_spelling_gets_more_guesses(settings: Settings, known: bool) -> None:
    tenant = TenantFactory.create()
    if known:
        UserFactory.create(email="nina@example.com")
    settings.PROXIES = 1
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "token": "3/minute"}
    spellings = ["nina@example.com", "Nina@example.com", "NINA@EXAMPLE.COM", "nina@EXAMPLE.com"]
    places = [tenant.slug, str(tenant.pk), "no-such-tenant", tenant.slug]
    statuses = [
        Api().post(
            "auth/token",
            {"email": email, "password": "wrong", "tenant": place},
            format="json",
            headers={"X-Forwarded-For": f"10.{2 + known}.{n}.1"},
        ).status_code
        for n, (email, place) in enumerate(zip(spellings, places, strict=True))
    ]  # fmt: skip
    assert statuses == [401, 401, 401, 429]


def test_guessing_is_slowed_down_by_address(settings: Settings) -> None:
    settings.PROXIES = 1
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "token": "3/minute"}
    from_one = {"X-Forwarded-For": "10.9.9.9"}
    for n in range(4):
        body = {"email": f"guess{n}@example.com", "password": "x", "tenant": "t"}
        response = Api().post("auth/token", body, format="json", headers=from_one)
    assert (response.status_code, response.json()["code"]) == (429, "throttled")
    assert 1 <= int(response["Retry-After"]) <= 60


def test_a_refresh_gives_what_one_is_now(member: Membership, ask: Ask) -> None:
    tokens = ask().json()
    member.role = Membership.Role.STAFF
    member.save()
    assert with_token(tokens["access"]).get("auth/me").status_code == 401
    again = Api().post("auth/token/refresh", {"refresh": tokens["refresh"]}, format="json")
    assert again.status_code == 200
    assert with_token(again.json()["access"]).get("auth/me").json()["role"] == "staff"
    member.delete()
    gone = Api().post("auth/token/refresh", {"refresh": tokens["refresh"]}, format="json")
    assert (gone.status_code, gone.json()["code"]) == (401, "bad_token")


def test_refreshing_is_limited(settings: Settings) -> None:
    settings.PROXIES = 1
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "refresh": "2/minute"}
    from_one = {"X-Forwarded-For": "10.7.7.7"}
    statuses = [
        Api().post(
            "auth/token/refresh", {"refresh": "x"}, format="json", headers=from_one
        ).status_code
        for _ in range(3)
    ]  # fmt: skip
    assert statuses == [401, 401, 429]


def test_a_new_password_ends_all_tokens(member: Membership, ask: Ask) -> None:
    tokens = ask().json()
    member.user.set_password("another")
    member.user.save()
    assert with_token(tokens["access"]).get("auth/me").status_code == 401
    gone = Api().post("auth/token/refresh", {"refresh": tokens["refresh"]}, format="json")
    assert gone.status_code == 401


@pytest.mark.parametrize("token", ["", "x", "eyJhbGciOiJub25lIn0.e30."])
def test_a_token_that_is_not_ours_refreshes_nothing(ask: Ask, token: str) -> None:
    response = Api().post("auth/token/refresh", {"refresh": token}, format="json")
    assert response.status_code == (401 if token else 400)
    access = ask().json()["access"]
    mixed = Api().post("auth/token/refresh", {"refresh": access}, format="json")
    assert mixed.status_code == 401


def test_one_person_is_something_else_in_each_tenant(ask: Ask) -> None:
    user: User = UserFactory.create()
    clinic: Tenant = MembershipFactory.create(user=user, role="provider").tenant
    salon = PatientFactory.create(user=user).tenant
    first, second = (
        MembershipFactory.create(
            user=user, tenant=TenantFactory.create(kind="organizer"), role=role
        ).tenant
        for role in ("staff", "admin")
    )
    for tenant, role in (
        (clinic, "provider"), (salon, "patient"), (first, "organizer"),
        (second, "organizer_admin"),
    ):  # fmt: skip
        response = ask(email=user.email, tenant=tenant.slug)
        assert with_token(response.json()["access"]).get("auth/me").json()["role"] == role


@pytest.mark.parametrize("role", ["admin", "staff", "provider"])
def test_a_member_who_is_a_patient_acts_as_what_they_ask_for(
    member: Membership, ask: Ask, role: str
) -> None:
    member.role = role
    member.save()
    patient = PatientFactory.create(tenant=member.tenant, user=member.user)
    for wished, given in ((None, role), (role, role), ("patient", "patient")):
        response = ask(**({"role": wished} if wished else {}))
        assert response.status_code == 200, response.content
        again = Api().post(
            "auth/token/refresh", {"refresh": response.json()["refresh"]}, format="json"
        )
        for token in (response.json()["access"], again.json()["access"]):
            me = with_token(token).get("auth/me").json()
            own = str(patient.pk) if given == "patient" else None
            assert (me["role"], me["patient"]) == (given, own)


def test_as_a_patient_one_has_a_patients_rights_and_rows_alone(
    member: Membership, ask: Ask
) -> None:
    patient = PatientFactory.create(tenant=member.tenant, user=member.user)
    other = PatientFactory.create(tenant=member.tenant)
    api = with_token(ask(role="patient").json()["access"])
    assert api.get("members/").status_code == 403
    assert api.get(f"patients/{patient.pk}/waitlists").status_code == 200
    assert api.get(f"patients/{other.pk}/waitlists").status_code == 404
    denied = Event.objects.filter(kind="access.denied").latest("at")
    assert (denied.actor_type, denied.actor_id) == ("patient", patient.pk)


def test_nobody_gets_a_role_that_they_do_not_have(member: Membership, ask: Ask) -> None:
    patient = PatientFactory.create(tenant=member.tenant, user=UserFactory.create())
    assert patient.user is not None
    elsewhere = MembershipFactory.create(user=member.user, role="staff").tenant
    wrong = ask(password="wrong").content
    for refused in (
        ask(role="patient"),
        ask(role="staff"),
        ask(role="organizer_admin"),
        ask(role="admin", tenant=elsewhere.slug),
        ask(role="admin", email=patient.user.email),
    ):
        assert (refused.status_code, refused.content) == (401, wrong)
    for unknown in ("none", "king", ""):
        refused = ask(role=unknown)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (400, "role")


def test_a_role_that_was_asked_for_ends_with_what_gave_it(member: Membership, ask: Ask) -> None:
    patient = PatientFactory.create(tenant=member.tenant, user=member.user)
    as_patient, as_admin = ask(role="patient").json(), ask(role="admin").json()

    def works(tokens: dict[str, str]) -> tuple[int, int]:
        body = {"refresh": tokens["refresh"]}
        return (
            with_token(tokens["access"]).get("auth/me").status_code,
            Api().post("auth/token/refresh", body, format="json").status_code,
        )

    member.role = Membership.Role.STAFF
    member.save()
    assert works(as_admin) == (401, 401)  # who asked for nothing would be staff from now on
    member.delete()
    assert works(as_patient) == (200, 200)
    patient.user = None
    patient.save()
    assert works(as_patient) == (401, 401)


def test_a_tenants_share_counts_where_the_tenant_is_named(
    member: Membership, ask: Ask, settings: Settings
) -> None:
    large = MembershipFactory.create(user=member.user).tenant
    shares = {f"{limit}:{large.pk}": "4/minute" for limit in ("token", "refresh")}
    usual = {"token": "2/minute", "refresh": "2/minute"}
    refresh = {
        tenant: ask(tenant=tenant.slug).json()["refresh"] for tenant in (member.tenant, large)
    }
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, **usual, **shares}
    settings.PROXIES = 1
    for n, (tenant, passed) in enumerate(((member.tenant, 2), (large, 4))):
        behind = {"X-Forwarded-For": f"10.5.{n}.1"}
        body = {"email": member.user.email, "password": "secret", "tenant": tenant.slug}
        for path, given in (
            ("auth/token", body), ("auth/token/refresh", {"refresh": refresh[tenant]}),
        ):  # fmt: skip
            statuses = [
                Api().post(path, given, format="json", headers=behind).status_code
                for _ in range(5)
            ]  # fmt: skip
            assert statuses == [200] * passed + [429] * (5 - passed), (path, tenant)
