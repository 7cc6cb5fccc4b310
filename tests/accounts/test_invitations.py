"""Invitations: what their sender is allows them, and how many one address gets."""

import smtplib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.db import IntegrityError, transaction
from pytest_django import Settings
from redis import Redis

from accounts import invitations, members, tasks
from accounts.invitations import InvitationOver
from accounts.models import Invitation, Membership, Tenant
from accounts.roles import Role
from audit import clock
from audit.events import SYSTEM
from tests.api import Api, log_in
from tests.factories import MembershipFactory, PatientFactory, TenantFactory, UserFactory

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery"
GUEST = "guest@example.org"


@pytest.fixture
def tenant() -> Tenant:
    return TenantFactory.create()


@pytest.fixture(autouse=True)
def _uncounted(settings: Settings) -> Iterator[None]:
    """Count mails alone, and forget them."""
    usual = {"register": "1000/minute", "invitation": "1000/minute"}
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, **usual}
    with Redis.from_url(settings.REDIS_URL) as valkey:
        yield
        valkey.flushdb()


def member(tenant: Tenant, role: str) -> Membership:
    MembershipFactory.create(tenant=tenant, role="admin")  # one has to stay
    return MembershipFactory.create(tenant=tenant, role=role)


def invite(sender: Membership, role: str = "staff", email: str = GUEST) -> Invitation:
    patient = (
        PatientFactory.create(tenant=sender.tenant, email=email) if role == "patient" else None
    )
    return invitations.invite(
        tenant_id=sender.tenant_id,
        email=email,
        role=role,
        patient_id=patient.pk if patient else None,
        invited_by=sender.user_id,
        actor=SYSTEM,
        now=clock.now(),
    )


def use(invitation: Invitation) -> Any:
    path = f"auth/invitations/{invitations.token(invitation=invitation)}"
    return Api().post(path, {"password": PASSWORD, "name": "Guest"}, format="json")


def demote(sender: Membership) -> None:
    members.change(
        tenant_id=sender.tenant_id, member_id=sender.pk, role="provider", actor=SYSTEM,
        now=clock.now(),
    )  # fmt: skip


def remove(sender: Membership) -> None:
    members.remove(
        tenant_id=sender.tenant_id, member_id=sender.pk, actor=SYSTEM, now=clock.now()
    )  # fmt: skip


def deactivate(sender: Membership) -> None:
    sender.user.is_active = False
    sender.user.save()


def delete_user(sender: Membership) -> None:
    sender.user.delete()


def delete_membership(sender: Membership) -> None:
    Membership.objects.filter(pk=sender.pk).delete()


@pytest.mark.parametrize("role", ["admin", "staff", "provider", "patient"])
def test_what_an_admin_sent_may_be_used(tenant: Tenant, role: str) -> None:
    assert use(invite(member(tenant, "admin"), role)).status_code == 201


@pytest.mark.parametrize(
    "end",
    [demote, remove, deactivate, delete_user, delete_membership],
    ids=lambda end: end.__name__,
)
@pytest.mark.parametrize(("sender", "role"), [("admin", "admin"), ("staff", "patient")])
def test_an_invitation_ends_with_its_senders_right(
    tenant: Tenant, end: Callable[[Membership], None], sender: str, role: str
) -> None:
    who = member(tenant, sender)
    sent = invite(who, role)
    end(who)
    assert Api().get(f"auth/invitations/{invitations.token(invitation=sent)}").status_code == 404
    refused = use(sent)
    assert (refused.status_code, refused.json()["code"]) == (404, "invitation_over")
    assert tasks.mail_invitations() == {"mails": 0}
    assert not Membership.objects.filter(user__email=GUEST).exists()


def test_who_becomes_another_takes_back_what_they_may_not_send(tenant: Tenant) -> None:
    who = member(tenant, "admin")
    used = invite(who, "staff", "used@example.org")
    assert use(used).status_code == 201
    invite(who, "staff")
    kept = invite(who, "patient", "patient@example.org")
    others = invite(member(tenant, "admin"), "staff", "other@example.org")
    now = clock.now()
    for role, left in (("staff", {used, kept, others}), ("provider", {used, others})):
        members.change(
            tenant_id=tenant.pk, member_id=who.pk, role=role, actor=SYSTEM, now=now
        )  # fmt: skip
        assert set(Invitation.objects.all()) == left


def test_staff_and_strangers_invite_no_member(tenant: Tenant) -> None:
    for who in (member(tenant, "staff"), member(TenantFactory.create(), "admin")):
        who.tenant = tenant
        assert use(invite(who)).status_code == 404


def test_the_database_refuses_to_use_what_may_not_be_sent(tenant: Tenant) -> None:
    """As when the sender is demoted after the check: without the trigger this would pass."""
    for who, role in ((member(tenant, "staff"), "staff"), (member(tenant, "provider"), "patient")):
        sent = Invitation.objects.filter(pk=invite(who, role, f"{role}@example.org").pk)
        with pytest.raises(IntegrityError, match="may not invite"), transaction.atomic():
            sent.update(accepted_at=clock.now())
    registered = invitations.invite(
        tenant_id=tenant.pk, email=GUEST, role="patient", invited_by=None, actor=SYSTEM,
        now=clock.now(),
    )  # fmt: skip
    Invitation.objects.filter(pk=registered.pk).update(accepted_at=clock.now())


def test_a_link_is_not_read_after_its_sender_left(tenant: Tenant) -> None:
    who = member(tenant, "admin")
    token = invitations.token(invitation=invite(who))
    assert invitations.tenant_of(token=token) == tenant.pk
    remove(who)
    assert invitations.tenant_of(token=token) is None
    with pytest.raises(InvitationOver):
        invitations.read(token=token, now=clock.now())


def register(tenant: Tenant, email: str = GUEST) -> Any:
    body = {"tenant": tenant.slug, "email": email}
    return Api().post("auth/register", body, format="json")


def test_one_address_gets_three_links_an_hour_that_strangers_ask_for(tenant: Tenant) -> None:
    """And no answer tells that it got no more."""
    answers = []
    for n, email in enumerate((GUEST, GUEST.upper(), "Guest@example.org", GUEST)):
        answers.append(register(TenantFactory.create(), email))
        assert tasks.mail_invitations() == {"mails": int(n < 3)}
    assert {(one.status_code, one.content) for one in answers} == {(202, answers[0].content)}
    # What was not sent is over: nothing piles up to be sent later.
    late = Invitation.objects.get(mailed_at=None)
    assert late.expires_at < late.updated_at
    assert tasks.mail_invitations() == {"mails": 0}


def test_no_stranger_keeps_an_address_from_invitations(tenant: Tenant) -> None:
    for _ in range(4):
        register(TenantFactory.create())
        register(tenant)
    tasks.mail_invitations()
    mail.outbox.clear()
    admin = log_in(tenant=tenant, role=Role.ADMIN)
    patient = PatientFactory.create(tenant=tenant, email=GUEST)
    body = {"email": GUEST, "role": "staff"}
    assert admin.post("invitations/", body, format="json").status_code == 201
    assert admin.post(f"patients/{patient.pk}/invite").status_code == 202
    assert tasks.mail_invitations() == {"mails": 2}


def test_one_address_gets_three_invitations_an_hour_of_a_tenant(tenant: Tenant) -> None:
    admin, other = (log_in(tenant=t, role=Role.ADMIN) for t in (tenant, TenantFactory.create()))
    body = {"email": GUEST, "role": "staff"}
    for email in (GUEST, GUEST.upper(), GUEST):
        sent = admin.post("invitations/", {**body, "email": email}, format="json")
        assert sent.status_code == 201
    refused = admin.post("invitations/", body, format="json")
    assert (refused.status_code, refused.json()["code"]) == (429, "throttled")
    assert 3000 < int(refused["Retry-After"]) <= 3600
    assert Invitation.objects.count() == 3
    free = {"email": "free@example.org", "role": "staff"}
    assert admin.post("invitations/", free, format="json").status_code == 201
    assert other.post("invitations/", body, format="json").status_code == 201
    assert tasks.mail_invitations() == {"mails": 5}
    assert register(tenant).status_code == 202  # which counts for itself
    assert tasks.mail_invitations() == {"mails": 1}


def test_a_patients_link_works_until_another_is_mailed(tenant: Tenant) -> None:
    staff = log_in(tenant=tenant, role=Role.STAFF)
    patient = PatientFactory.create(tenant=tenant, email=GUEST)
    for _ in range(3):
        assert staff.post(f"patients/{patient.pk}/invite").status_code == 202
    [last] = Invitation.objects.all()
    refused = staff.post(f"patients/{patient.pk}/invite")
    assert (refused.status_code, refused.json()["code"]) == (429, "throttled")
    assert int(refused["Retry-After"]) > 3000
    assert tasks.mail_invitations() == {"mails": 1}
    assert use(last).status_code == 201


def test_what_invites_nobody_counts_nothing(tenant: Tenant) -> None:
    staff = log_in(tenant=tenant, role=Role.STAFF)
    patient = PatientFactory.create(tenant=tenant, email=GUEST, user=UserFactory.create())
    for _ in range(4):
        assert staff.post(f"patients/{patient.pk}/invite").status_code == 409
    other = PatientFactory.create(tenant=tenant, email=GUEST)
    assert staff.post(f"patients/{other.pk}/invite").status_code == 202


def test_a_tenant_may_have_another_share_of_mails(tenant: Tenant, settings: Settings) -> None:
    shares = {f"mail:{tenant.pk}": "4/hour", f"invite:{tenant.pk}": "5/hour"}
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, **shares}
    admin = log_in(tenant=tenant, role=Role.ADMIN)
    body = {"email": GUEST, "role": "staff"}
    statuses = [admin.post("invitations/", body, format="json").status_code for _ in range(6)]
    assert statuses == [201] * 5 + [429]
    for _ in range(6):
        register(tenant)
    assert tasks.mail_invitations() == {"mails": 9}


class Refusing(EmailBackend):
    """A mail server that is away, or takes no mail to some."""

    away = False
    unknown: frozenset[str] = frozenset()

    def open(self) -> bool:
        if self.away:
            raise ConnectionRefusedError("the server is away")
        return True

    def send_messages(self, messages: Any) -> int:
        if self.unknown & {*messages[0].to}:
            raise smtplib.SMTPRecipientsRefused({})
        return super().send_messages(messages)


@pytest.fixture
def server(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> type[Refusing]:
    settings.EMAIL_BACKEND = f"{__name__}.Refusing"
    monkeypatch.setattr(Refusing, "away", False)
    monkeypatch.setattr(Refusing, "unknown", frozenset())
    return Refusing


def test_a_mail_is_sent_once_and_again_if_it_could_not_be(
    tenant: Tenant, server: type[Refusing]
) -> None:
    invite(member(tenant, "admin"))
    server.away = True
    for _ in range(4):  # which counts nothing
        with pytest.raises(OSError, match="away"):
            tasks.mail_invitations()
    server.away = False
    assert tasks.mail_invitations() == {"mails": 1}
    assert tasks.mail_invitations() == {"mails": 0}
    assert len(mail.outbox) == 1


def test_an_address_that_the_server_does_not_take_keeps_no_other_waiting(
    tenant: Tenant, server: type[Refusing]
) -> None:
    sender = member(tenant, "admin")
    bad = invite(sender, "staff", "bad@example.org")
    server.unknown = frozenset({bad.email})
    invite(sender)
    for _ in range(4):  # which counts nothing
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            tasks.mail_invitations()
    assert [message.to for message in mail.outbox] == [[GUEST]]
    invite(sender, "staff", "next@example.org")
    for _ in range(2):  # one at a time: what failed waits until the others had their turn
        Refusing.unknown = frozenset({bad.email})
        try:
            invitations.mail_due(now=clock.now(), limit=1)
        except smtplib.SMTPRecipientsRefused:
            continue
    assert mail.outbox[-1].to == ["next@example.org"]
    server.unknown = frozenset()
    assert tasks.mail_invitations() == {"mails": 1}
