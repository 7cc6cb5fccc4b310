"""What the tables of webhooks and of the stream refuse, tried by raw SQL."""

from typing import Any

import pytest

from notifications import webhooks
from notifications.models import StreamCursor
from tests.audit import constraints
from tests.audit.refusals import refusal
from tests.notifications.told import relayed
from tests.waitlist.worlds import World

ENDPOINT = "UPDATE notifications_webhookendpoint SET {} WHERE id = %(endpoint)s"
DELIVERY = "UPDATE notifications_webhookdelivery SET {} WHERE id = %(delivery)s"

# Constraint → statements that it refuses. The ids are those of `rows`.
REFUSED: dict[str, list[str]] = {
    "endpoint_url": [ENDPOINT.format("url = 'ftp://example.org/'")],
    "endpoint_kinds": [ENDPOINT.format("kinds = ARRAY[]::text[]")],
    "endpoint_secret": [ENDPOINT.format("secret = ''")],
    "endpoint_old_secret": [
        ENDPOINT.format("old_secret = 'x'"),
        ENDPOINT.format("old_secret_until = now()"),
    ],
    "endpoint_rests_until": [ENDPOINT.format("rests_until = now()")],
    "endpoint_disabled_at": [
        ENDPOINT.format("disabled_at = now(), is_active = FALSE"),
        ENDPOINT.format("disabled_reason = 'gone', is_active = FALSE"),
        ENDPOINT.format("disabled_at = now(), disabled_reason = 'gone'"),
    ],
    "delivery_once": [
        "INSERT INTO notifications_webhookdelivery (tenant_id, endpoint_id, event_id, seq, kind,"
        " status, attempts, next_attempt_at, reason)"
        " SELECT tenant_id, endpoint_id, event_id, 2, kind, status, 0, now(), ''"
        " FROM notifications_webhookdelivery WHERE id = %(delivery)s"
    ],
    "delivery_next_attempt_at": [
        DELIVERY.format("next_attempt_at = NULL"),
        DELIVERY.format("status = 'failed', reason = 'x'"),
    ],
    "delivery_delivered_at": [
        DELIVERY.format("delivered_at = now()"),
        DELIVERY.format("status = 'delivered', next_attempt_at = NULL"),
    ],
    "delivery_reason": [DELIVERY.format("status = 'failed', next_attempt_at = NULL")],
    "cursor_seq": ["UPDATE notifications_streamcursor SET seq = -1 WHERE name = %(cursor)s"],
}


@pytest.fixture
def rows(clinic: World) -> dict[str, Any]:
    """An endpoint, a delivery that is pending, and a cursor."""
    endpoint, _ = webhooks.add(
        tenant_id=clinic.tenant.pk, url="https://hooks.example/", kinds=["waitlist.joined"]
    )
    clinic.join()
    relayed()
    return {
        "endpoint": endpoint.pk,
        "delivery": endpoint.deliveries.get().pk,
        "cursor": StreamCursor.objects.create(name="waitlist-events").pk,
    }


def test_each_constraint_is_tried() -> None:
    own = ("endpoint_", "delivery_", "cursor_")
    assert {name for name in constraints.names("notifications") if name.startswith(own)} == set(
        REFUSED
    )


@pytest.mark.parametrize(
    ("name", "statement"),
    [(name, statement) for name, statements in REFUSED.items() for statement in statements],
)
def test_a_constraint_refuses(rows: dict[str, Any], name: str, statement: str) -> None:
    assert refusal(statement, rows) == name


def test_the_statements_are_refused_for_their_fault_alone(rows: dict[str, Any]) -> None:
    for statement in (
        ENDPOINT.format("old_secret = 'x', old_secret_until = now()"),
        ENDPOINT.format("disabled_at = now(), disabled_reason = 'gone', is_active = FALSE"),
        ENDPOINT.format("failing_since = now(), rests_until = now()"),
        DELIVERY.format("reason = 'refused', attempts = 1, response_status = 500"),
    ):
        assert refusal(statement, rows) is None
