"""The admin's pages of webhooks and of the stream."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from django.test import Client
from pytest_django import Settings

from accounts.models import Tenant, User
from accounts.roles import Role
from notifications import webhook_deliveries, webhooks
from notifications.admin import systems
from notifications.models import StreamCursor, WebhookDelivery, WebhookEndpoint
from notifications.outbound import Answer
from tests.accounts.pages import act, send, url
from tests.api import log_in
from tests.factories import MembershipFactory, TenantFactory
from tests.notifications import receivers
from tests.notifications.receivers import Receiver
from tests.waitlist.worlds import NOW

pytestmark = pytest.mark.django_db


@pytest.fixture
def tenant() -> Tenant:
    return TenantFactory.create()


@pytest.fixture
def admin(client: Client, tenant: Tenant) -> Client:
    client.force_login(MembershipFactory.create(tenant=tenant, role="admin").user)
    return client


@pytest.fixture
def receiver(settings: Settings) -> Iterator[Receiver]:
    settings.WEBHOOKS_ALLOW_HTTP = settings.WEBHOOKS_ALLOW_PRIVATE = True
    with receivers.opened() as opened:
        yield opened


def test_an_endpoint_is_added_changed_tested_and_removed(
    admin: Client, tenant: Tenant, receiver: Receiver
) -> None:
    page = url(WebhookEndpoint, "add")
    assert admin.get(page).status_code == 200
    errors, _ = send(admin, page, tenant=tenant.pk, url="ftp://x/", kinds=["waitlist.joined"])
    assert set(errors) == {"url"}
    given = {"tenant": tenant.pk, "url": receiver.url, "kinds": ["waitlist.joined"]}
    errors, said = send(admin, page, **given)
    assert not errors
    assert "whsec_" in said[0]
    endpoint = WebhookEndpoint.objects.get()
    page = url(WebhookEndpoint, "change", endpoint.pk)
    assert "whsec_" not in admin.get(page).content.decode()
    errors, _ = send(admin, page, url=receiver.url, kinds=["waitlist.joined", "slot.opened"])
    assert not errors
    endpoint.refresh_from_db()
    assert (endpoint.kinds, endpoint.is_active) == (["slot.opened", "waitlist.joined"], False)
    assert act(admin, "test", endpoint) == [f"{endpoint}: 204"]
    [secret, _] = act(admin, "rotate", endpoint)
    assert "whsec_" in secret
    assert act(admin, "remove", endpoint) == ["Removed: 1 of 1."]
    assert not WebhookEndpoint.objects.exists()


def test_tests_are_limited_as_by_the_api(
    admin: Client, tenant: Tenant, receiver: Receiver, settings: Settings
) -> None:
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, f"webhook_test:{tenant.pk}": "1/hour"}
    endpoint, _ = webhooks.add(tenant_id=tenant.pk, url=receiver.url, kinds=["waitlist.joined"])
    assert act(admin, "test", endpoint) == [f"{endpoint}: 204"]
    [said] = act(admin, "test", endpoint)
    assert "too many tests" in said
    assert len(receiver.requests) == 1
    api = log_in(tenant=tenant, role=Role.ADMIN)
    assert api.post(f"webhooks/{endpoint.pk}/test").status_code == 429


def test_tests_end_after_a_turn(
    admin: Client, tenant: Tenant, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten receivers that are silent would keep a page for minutes."""
    endpoint, _ = webhooks.add(tenant_id=tenant.pk, url=receiver.url, kinds=["waitlist.joined"])
    monkeypatch.setattr(systems, "TURN", 0)
    assert act(admin, "test", endpoint) == [f"{endpoint}: not tested, the others took too long"]
    assert receiver.requests == []


def test_deliveries_are_retried_and_dismissed(admin: Client, tenant: Tenant) -> None:
    endpoint, _ = webhooks.add(
        tenant_id=tenant.pk, url="https://hooks.example/", kinds=["waitlist.joined"]
    )
    delivery = WebhookDelivery.objects.create(
        tenant=tenant, endpoint=endpoint, event_id=uuid4(), seq=1, kind="waitlist.joined",
        next_attempt_at=NOW,
    )  # fmt: skip
    answer = Answer(webhooks.GONE, "refused")
    webhook_deliveries.note_answer(delivery=delivery, answer=answer, now=NOW)
    assert admin.get(url(WebhookDelivery, "changelist")).status_code == 200
    assert admin.get(url(WebhookDelivery, "change", delivery.pk)).status_code == 200
    assert act(admin, "retry", delivery) == ["To be sent again: 1 of 1."]
    [refused, _] = act(admin, "dismiss", delivery)
    assert "is pending" in refused


def test_staff_and_others_see_none(client: Client, tenant: Tenant) -> None:
    endpoint, _ = webhooks.add(
        tenant_id=tenant.pk, url="https://hooks.example/", kinds=["waitlist.joined"]
    )
    client.force_login(MembershipFactory.create(tenant=tenant, role="staff").user)
    assert client.get(url(WebhookEndpoint, "changelist")).status_code == 403
    other = MembershipFactory.create(tenant=TenantFactory.create(), role="admin").user
    client.force_login(other)
    assert "hooks.example" not in client.get(url(WebhookEndpoint, "changelist")).content.decode()
    assert client.get(url(WebhookEndpoint, "change", endpoint.pk)).status_code == 302
    assert client.get(url(StreamCursor, "changelist")).status_code == 403


def test_operators_see_how_far_the_stream_is(client: Client) -> None:
    client.force_login(User.objects.create_superuser("root@example.com", "secret", name="Root"))
    StreamCursor.objects.create(name="waitlist-events", seq=7)
    assert "waitlist-events" in client.get(url(StreamCursor, "changelist")).content.decode()
