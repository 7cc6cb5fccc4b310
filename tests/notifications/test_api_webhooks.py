"""Webhooks over the API: made, changed, tested and looked after by admins."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from pytest_django import DjangoAssertNumQueries, Settings
from standardwebhooks import Webhook

from accounts.models import Tenant
from accounts.roles import Role
from notifications import webhook_deliveries, webhooks
from notifications.models import WebhookDelivery, WebhookEndpoint
from notifications.outbound import Answer
from tests.api import Api, log_in
from tests.factories import TenantFactory
from tests.notifications import receivers
from tests.notifications.receivers import Receiver
from tests.waitlist.worlds import NOW

pytestmark = pytest.mark.django_db

WANTED = {"url": "https://hooks.example/", "kinds": ["waitlist.joined"]}


@pytest.fixture
def tenant() -> Tenant:
    return TenantFactory.create()


@pytest.fixture
def admin(tenant: Tenant) -> Api:
    return log_in(tenant=tenant, role=Role.ADMIN)


@pytest.fixture
def endpoint(tenant: Tenant) -> WebhookEndpoint:
    return webhooks.add(tenant_id=tenant.pk, url=WANTED["url"], kinds=WANTED["kinds"])[0]  # type: ignore[arg-type]


@pytest.fixture
def receiver(settings: Settings) -> Iterator[Receiver]:
    settings.WEBHOOKS_ALLOW_HTTP = settings.WEBHOOKS_ALLOW_PRIVATE = True
    with receivers.opened() as opened:
        yield opened


def deliver(endpoint: WebhookEndpoint) -> WebhookDelivery:
    """Write a delivery as the relay does."""
    return WebhookDelivery.objects.create(
        tenant=endpoint.tenant, endpoint=endpoint, event_id=uuid4(), seq=1,
        kind="waitlist.joined", next_attempt_at=NOW,
    )  # fmt: skip


def test_an_endpoint_is_made_with_a_secret_that_is_shown_once(admin: Api) -> None:
    key = {"Idempotency-Key": "1"}
    made = admin.post("webhooks/", WANTED, format="json", headers=key)
    assert made.status_code == 201
    assert made.json()["secret"].startswith("whsec_")
    assert made["ETag"] == '"1"'
    address = made["Location"]
    shown = admin.get(address).json()
    assert {name: shown[name] for name in WANTED} == WANTED
    assert "secret" not in shown
    assert made.json()["secret"] not in admin.get("webhooks/").content.decode()
    # Its answer is not kept, so the same key does it again.
    again = admin.post("webhooks/", WANTED, format="json", headers=key)
    assert again.json()["id"] != made.json()["id"]


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"url": "http://hooks.example/"}, "url"),
        ({"url": "https://10.0.0.1/"}, "url"),
        ({"kinds": []}, "kinds"),
        ({"kinds": ["waitlist.joined", "waitlist.joined"]}, "kinds"),
        ({"kinds": ["unknown"]}, "kinds.0"),
        ({"secret": "whsec_mine"}, "secret"),
    ],
)
def test_what_will_not_do_is_named(admin: Api, changed: dict[str, object], field: str) -> None:
    refused = admin.post("webhooks/", {**WANTED, **changed}, format="json")
    assert refused.status_code == 400, refused.json()
    assert [error["field"] for error in refused.json()["errors"]] == [field]


def test_an_endpoint_is_changed_and_removed(admin: Api, endpoint: WebhookEndpoint) -> None:
    path = f"webhooks/{endpoint.pk}"
    match = {"If-Match": '"1"'}
    off = admin.patch(path, {"is_active": False}, format="json", headers=match)
    assert (off.status_code, off.json()["is_active"], off["ETag"]) == (200, False, '"2"')
    assert admin.get("webhooks/", {"active": "true"}).json()["total"] == 0
    assert admin.patch(path, {}, format="json", headers=match).status_code == 412
    assert admin.patch(path, {"url": "ftp://a/"}, format="json").status_code == 400
    assert admin.patch(path, {"disabled_at": None}, format="json").status_code == 200
    assert admin.delete(path).status_code == 204
    assert admin.get(path).status_code == 404


def test_a_secret_is_rotated(admin: Api, tenant: Tenant, receiver: Receiver) -> None:
    made = admin.post("webhooks/", {**WANTED, "url": receiver.url}, format="json").json()
    rotated = admin.post(f"webhooks/{made['id']}/rotate")
    assert rotated.status_code == 200
    assert rotated.json()["old_secret_until"] is not None
    tested = admin.post(f"webhooks/{made['id']}/test")
    assert tested.json() == {"is_taken": True, "response_status": 204, "reason": ""}
    [request] = receiver.requests
    for answer in (made, rotated.json()):
        body = Webhook(answer["secret"]).verify(request.body, request.headers)
        assert (body["event_type"], body["tenant_id"]) == ("webhook.test", str(tenant.pk))


def test_a_test_tells_what_went_wrong_and_is_limited(
    admin: Api, endpoint: WebhookEndpoint, settings: Settings, tenant: Tenant
) -> None:
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, f"webhook_test:{tenant.pk}": "1/minute"}
    WebhookEndpoint.objects.update(url="https://localhost/")
    tested = admin.post(f"webhooks/{endpoint.pk}/test")
    assert (tested.status_code, tested.json()["reason"]) == (200, "private_address")
    assert admin.post(f"webhooks/{endpoint.pk}/test").status_code == 429


def test_deliveries_are_listed_retried_and_dismissed(admin: Api, endpoint: WebhookEndpoint) -> None:
    first, second = deliver(endpoint), deliver(endpoint)
    path = f"webhooks/{endpoint.pk}/deliveries"
    assert admin.get(path).json()["total"] == 2
    gone = Answer(webhooks.GONE, "refused")
    webhook_deliveries.note_answer(delivery=first, answer=gone, now=NOW)
    found = admin.get(path, {"status": "failed", "kind": "waitlist.joined"}).json()["results"]
    assert {(row["id"], row["response_status"], row["reason"]) for row in found} == {
        (str(first.pk), 410, "refused"),
        (str(second.pk), None, "endpoint_disabled"),
    }
    retried = admin.post(f"webhook-deliveries/{first.pk}/retry")
    assert (retried.status_code, retried.json()["status"]) == (200, "pending")
    for move, status in (("dismiss", 200), ("dismiss", 409), ("retry", 409)):
        assert admin.post(f"webhook-deliveries/{second.pk}/{move}").status_code == status
    assert admin.get(path, {"status": "dismissed"}).json()["total"] == 1


def test_an_organizers_admin_has_endpoints_too() -> None:
    organizer = TenantFactory.create(kind=Tenant.Kind.ORGANIZER)
    admin = log_in(tenant=organizer, role=Role.ORGANIZER_ADMIN)
    assert admin.post("webhooks/", WANTED, format="json").status_code == 201


def test_lists_take_as_many_queries_for_many_rows(
    admin: Api, endpoint: WebhookEndpoint, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for count in (1, 20):
        for _ in range(count):
            deliver(endpoint)
        with django_assert_num_queries(5):
            assert admin.get(f"webhooks/{endpoint.pk}/deliveries").status_code == 200
