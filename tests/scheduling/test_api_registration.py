"""Registration and invitations: links in mails, used once, telling nothing to others."""

import re
from html import unescape
from typing import Any
from urllib.parse import urlencode

import pytest
from django.conf import settings
from django.core import mail
from django.db import IntegrityError, transaction
from django.test import Client
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from accounts import tasks
from accounts.models import Invitation, Membership, Tenant, User
from accounts.roles import Role
from audit import clock
from audit.models import Event
from scheduling.models import Patient
from tests.api import BASE, Api, log_in
from tests.factories import PatientFactory, TenantFactory, UserFactory

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery"
HTML = "text/html,application/xhtml+xml,*/*;q=0.8"
FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def tenant() -> Tenant:
    return TenantFactory.create()


@pytest.fixture(autouse=True)
def no_limits(settings: Settings) -> None:
    settings.RATE_LIMITS = dict.fromkeys(settings.RATE_LIMITS, "1000/minute")


def register(tenant: Tenant, email: str = "ada@example.org") -> Any:
    body = {"tenant": tenant.slug, "email": email}
    return Api().post("auth/register", body, format="json")


def confirm(token: str, **said: str) -> Any:
    body = {"token": token, "password": PASSWORD, "name": "Ada", **said}
    return Api().post("auth/register/confirm", body, format="json")


def link() -> str:
    """Send what is due and return the token of the last mail's link."""
    tasks.mail_invitations()
    start = f"{settings.SITE_URL}/api/v1/auth/invitations/"
    [line] = [one for one in str(mail.outbox[-1].body).splitlines() if one.startswith(start)]
    return line.rsplit("/", 1)[1]


def test_a_patient_registers_confirms_and_logs_in(tenant: Tenant) -> None:
    assert register(tenant).status_code == 202
    assert not User.objects.exists()
    token = link()
    assert mail.outbox[-1].to == ["ada@example.org"]
    read = Api().get(f"auth/invitations/{token}")
    assert (read.status_code, read.json()["role"]) == (200, "patient")
    done = confirm(token, phone="+33140000000", language="fr")
    assert done.status_code == 201, done.content
    patient = Patient.objects.get()
    assert (patient.tenant, patient.name, patient.language) == (tenant, "Ada", "fr")
    assert (patient.phone, patient.email) == ("+33140000000", "ada@example.org")
    assert patient.user is not None
    assert (patient.user.name, patient.user.phone) == ("Ada", "+33140000000")
    body = {"email": "ada@example.org", "password": PASSWORD, "tenant": tenant.slug}
    assert Api().post("auth/token", body, format="json").status_code == 200
    again = confirm(token)
    assert (again.status_code, again.json()["code"]) == (404, "invitation_over")
    assert Api().get(f"auth/invitations/{token}").status_code == 404


@pytest.mark.parametrize("field", ["name", "phone", "language", "password"])
def test_nothing_is_said_of_a_person_before_the_mailbox_is_proved(
    tenant: Tenant, field: str
) -> None:
    body = {"tenant": tenant.slug, "email": "ada@example.org", field: "+15550001111"}
    response = Api().post("auth/register", body, format="json")
    assert (response.status_code, response.json()["errors"][0]["field"]) == (400, field)
    assert not Invitation.objects.exists()
    register(tenant)
    with pytest.raises(IntegrityError, match="invitation_profile"), transaction.atomic():
        Invitation.objects.update(name="Mallory")


def test_who_is_new_says_their_name(tenant: Tenant) -> None:
    register(tenant)
    body = {"token": link(), "password": PASSWORD}
    nameless = Api().post("auth/register/confirm", body, format="json")
    assert (nameless.status_code, nameless.json()["errors"][0]["field"]) == (400, "name")
    assert confirm(body["token"], phone="0140").json()["errors"][0]["field"] == "phone"
    assert confirm(body["token"]).status_code == 201


def test_who_registers_becomes_no_patient_that_is_there(tenant: Tenant) -> None:
    known = PatientFactory.create(tenant=tenant, email="ada@example.org", phone="+442070000000")
    register(tenant, "Ada@example.org")
    assert confirm(link()).status_code == 201
    known.refresh_from_db()
    assert known.user is None
    new = Patient.objects.exclude(pk=known.pk).get()
    assert (new.name, new.phone) == ("Ada", "")


def test_whether_an_address_has_an_account_is_not_told(tenant: Tenant) -> None:
    user = UserFactory.create()
    known, unknown = register(tenant, user.email), register(tenant)
    assert (known.status_code, known.content) == (unknown.status_code, unknown.content)


def test_an_account_is_not_taken_over_by_registering(tenant: Tenant) -> None:
    user = UserFactory.create()
    register(tenant, user.email)
    token = link()
    wrong = confirm(token)
    assert wrong.status_code == 400
    assert wrong.json()["errors"][0]["field"] == "password"
    right = confirm(token, password="secret", name="Mallory", phone="+15550001111")
    assert right.status_code == 201
    assert (Patient.objects.get().user, Patient.objects.get().name) == (user, user.name)
    before = (user.name, user.phone, user.password)
    user.refresh_from_db()
    assert (user.name, user.phone, user.password) == before


def test_who_registers_twice_is_one_patient(tenant: Tenant) -> None:
    for password in (PASSWORD, PASSWORD):
        register(tenant)
        assert confirm(link(), password=password).status_code == 201
    assert Patient.objects.count() == 1


def test_a_weak_password_and_a_lapsed_link_are_refused(tenant: Tenant) -> None:
    register(tenant)
    token = link()
    weak = confirm(token, password="1234")
    assert {error["field"] for error in weak.json()["errors"]} == {"password"}
    Invitation.objects.update(expires_at="2020-01-01T00:00:00Z")
    late = confirm(token)
    assert late.status_code == 404
    assert not User.objects.exists()


@pytest.mark.parametrize("kind", ["organizer", "venue_operator", None])
def test_only_a_tenant_that_has_patients_takes_registrations(kind: str | None) -> None:
    tenant = TenantFactory.create(kind=kind) if kind else TenantFactory.build(slug="none")
    response = register(tenant)
    assert response.status_code == 404
    [error] = response.json()["errors"]
    assert (error["field"], error["detail"]) == ("tenant", f"There is no tenant {tenant.slug}.")


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
    assert confirm(link()).status_code == 404


def test_staff_give_a_patient_a_login(tenant: Tenant) -> None:
    staff = log_in(tenant=tenant, role=Role.STAFF)
    patient = PatientFactory.create(tenant=tenant, phone="+442070000000", language="fr")
    assert staff.post(f"patients/{patient.pk}/invite").status_code == 202
    token = link()
    offered = Api().get(f"auth/invitations/{token}").json()
    assert (offered["role"], offered["name"]) == ("patient", "")  # the mailbox may be another's
    joined = Api().post(f"auth/invitations/{token}", {"password": PASSWORD}, format="json")
    assert joined.status_code == 201
    patient.refresh_from_db()
    user = patient.user
    assert user is not None
    assert (user.email, user.name, user.phone, user.language) == (
        patient.email, patient.name, patient.phone, "fr",
    )  # fmt: skip
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


def test_registering_is_limited_and_a_tenant_has_its_share(
    tenant: Tenant, settings: Settings
) -> None:
    large = TenantFactory.create()
    limits = {"register": "2/minute", f"register:{large.pk}": "3/minute"}
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, **limits}
    settings.PROXIES = 1
    found = {}
    for place in (tenant.slug, large.slug, str(large.pk)):
        found[place] = [
            Api().post(
                "auth/register", {"tenant": place, "email": f"a{n}@example.org"}, format="json",
                headers={"X-Forwarded-For": "10.8.8.8"},
            ).status_code
            for n in range(4)
        ]  # fmt: skip
    assert found[tenant.slug] == [202, 202, 429, 429]
    assert found[large.slug] == [202, 202, 202, 429]
    assert found[str(large.pk)] == [429] * 4


def test_the_mail_is_asked_for_on_commit(
    tenant: Tenant, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    with django_capture_on_commit_callbacks() as callbacks:
        register(tenant)
    assert {str(getattr(one, "task", "")) for one in callbacks} == {
        "accounts.tasks.mail_invitations", "notifications.tasks.relay_events"
    }  # fmt: skip


# The page


def browser(language: str = "en") -> Client:
    return Client(enforce_csrf_checks=True, headers={"accept": HTML, "accept-language": language})


def show(client: Client, path: str, status: int = 200) -> str:
    answer = client.get(path)
    assert (answer.status_code, answer["Content-Type"]) == (status, "text/html; charset=utf-8")
    return unescape(answer.content.decode())


def submit(client: Client, path: str, page: str, **typed: str) -> tuple[int, str]:
    """Send the form of a page with what is typed into it; return the status and the next page."""
    hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]+)"', page))
    assert set(typed) == {*re.findall(r'<input id="(\w+)"', page)}
    answer = client.post(path, urlencode({**hidden, **typed}), content_type=FORM)
    assert answer["Content-Type"] == "text/html; charset=utf-8"
    return answer.status_code, unescape(answer.content.decode())


def test_who_registers_joins_on_the_page_in_the_browsers_language(tenant: Tenant) -> None:
    register(tenant)
    path, client = f"{BASE}auth/invitations/{link()}", browser("fr")
    page = show(client, path)
    for text in ("Vous avez demandé à vous inscrire", tenant.name, "patient", "ada@example.org"):
        assert text in page
    status, weak = submit(client, path, page, name="Ada <3", password="1234")
    assert (status, User.objects.exists()) == (400, False)
    assert 'value="Ada <3"' in weak
    assert "1234" not in weak
    wrong = re.search(r'id="password-wrong">([^<]+)<', weak)
    assert wrong is not None
    assert "trop court" in wrong[1]
    assert "name-wrong" not in weak
    status, nameless = submit(client, path, weak, name="", password=PASSWORD)
    assert (status, "Indiquez votre nom." in nameless) == (400, True)
    status, done = submit(client, path, nameless, name="Ada", password=PASSWORD)
    assert (status, "vous pouvez vous connecter" in done, tenant.slug in done) == (201, True, True)
    patient = Patient.objects.get()
    assert (patient.name, patient.language) == ("Ada", "fr")
    body = {"email": "ada@example.org", "password": PASSWORD, "tenant": tenant.slug}
    assert Api().post("auth/token", body, format="json").status_code == 200
    assert "n’est plus valable" in show(client, path, status=404)


def test_who_has_an_account_gives_its_password_on_the_page(tenant: Tenant) -> None:
    user, admin = UserFactory.create(), log_in(tenant=tenant, role=Role.ADMIN)
    body = {"email": user.email, "role": "staff", "language": "es"}
    assert admin.post("invitations/", body, format="json").status_code == 201
    path, client = f"{BASE}auth/invitations/{link()}", browser("fr")
    page = show(client, path)
    assert '<html lang="es">' in page
    assert "miembro del personal" in page
    status, wrong = submit(client, path, page, password=PASSWORD)
    assert (status, "No es la contraseña de la cuenta" in wrong) == (400, True)
    assert submit(client, path, wrong, password="secret")[0] == 201
    assert Membership.objects.get(user=user).role == "staff"
    admin.post("invitations/", body, format="json")
    path = f"{BASE}auth/invitations/{link()}"
    status, again = submit(client, path, show(client, path), password="secret")
    assert (status, "Ya se ha unido" in again) == (409, True)


def test_who_is_named_already_is_asked_for_a_password_alone(tenant: Tenant) -> None:
    admin = log_in(tenant=tenant, role=Role.ADMIN)
    patient = PatientFactory.create(tenant=tenant)
    admin.post(f"patients/{patient.pk}/invite")
    path, client = f"{BASE}auth/invitations/{link()}", browser()
    page = show(client, path)
    assert patient.name not in page  # the mailbox may be another's
    assert submit(client, path, page, password=PASSWORD)[0] == 201
    patient.refresh_from_db()
    assert patient.user is not None


def test_a_form_of_another_site_does_not_join(tenant: Tenant) -> None:
    register(tenant)
    path = f"{BASE}auth/invitations/{link()}"
    form = urlencode({"name": "Ada", "password": PASSWORD})
    answer = browser().post(path, form, content_type=FORM)
    assert (answer.status_code, "Open the link again" in answer.content.decode()) == (403, True)
    bare = Client(enforce_csrf_checks=True).post(path, form, content_type=FORM)
    assert (bare.status_code, bare.json()["code"]) == (403, "csrf_failed")
    assert not User.objects.exists()


def test_a_page_shows_what_is_wrong_with_other_bodies(tenant: Tenant) -> None:
    register(tenant)
    path = f"{BASE}auth/invitations/{link()}"
    for kind, body in (("application/json", "[]"), ("application/json", "{"), (FORM, "password=x")):
        answer = Client(headers={"accept": HTML}).post(path, body, content_type=kind)
        assert (answer.status_code, answer["Content-Type"][:9]) == (400, "text/html")
    assert show(browser(), f"{BASE}auth/invitations/x", status=404)


def test_who_was_made_a_user_without_a_password_gets_one_by_the_link(tenant: Tenant) -> None:
    """Else an admin elsewhere could keep an address from whose mailbox it is."""
    user = User.objects.create_user("ada@example.org", name="Ada")
    assert not user.has_usable_password()
    register(tenant)
    assert confirm(link(), name="Somebody else").status_code == 201
    user.refresh_from_db()
    assert user.check_password(PASSWORD)
    assert (user.name, Patient.objects.get().user) == ("Ada", user)


def test_one_user_is_one_patient_of_a_tenant(tenant: Tenant) -> None:
    user = UserFactory.create()
    first = PatientFactory.create(tenant=tenant, user=user)
    with pytest.raises(IntegrityError, match="patient_user"), transaction.atomic():
        PatientFactory.create(tenant=tenant, user=user)
    PatientFactory.create(user=user)  # of another tenant
    Patient.objects.filter(pk=first.pk).update(erased_at=clock.now())
    PatientFactory.create(tenant=tenant, user=user)
