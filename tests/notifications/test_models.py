"""What the tables of notifications refuse, tried by raw SQL."""

from typing import Any

import pytest

from notifications.models import (
    CalendarFeed,
    ChannelSwitch,
    InboundMessage,
    Message,
    Preference,
    Template,
)
from tests import factories
from tests.audit import constraints
from tests.audit.refusals import refusal
from tests.notifications.told import relayed
from tests.waitlist.worlds import NOW, World

MESSAGE = "UPDATE notifications_message SET {} WHERE id = %(message)s"
TOLD = "UPDATE notifications_message SET {} WHERE id = %(told)s"
PREFERENCE = "UPDATE notifications_preference SET {} WHERE id = %(preference)s"
SWITCH = "UPDATE notifications_channelswitch SET {} WHERE id = %(switch)s"
FEED = (
    "INSERT INTO notifications_calendarfeed (tenant_id, user_id, patient_id, digest, rotated_at)"
    " SELECT tenant_id, user_id, {}, now() FROM notifications_calendarfeed"
)
INBOUND = "UPDATE notifications_inboundmessage SET {} WHERE id = %(inbound)s"
TEMPLATE = "UPDATE notifications_template SET {} WHERE id = %(template)s"

# Constraint → statements that it refuses. The ids are those of `rows`.
REFUSED: dict[str, list[str]] = {
    "message_once": [TOLD.format("channel = 'email', read_at = NULL")],
    "message_recipient": [
        MESSAGE.format("patient_id = NULL"),
        MESSAGE.format("user_id = %(user)s"),
    ],
    "message_channel": [MESSAGE.format("channel = 'fax'")],
    "message_next_attempt_at": [
        MESSAGE.format("next_attempt_at = NULL"),
        TOLD.format("next_attempt_at = now()"),
        TOLD.format("claimed_until = now()"),
    ],
    "message_sent_at": [
        MESSAGE.format("sent_at = now()"),
        MESSAGE.format("status = 'sent', next_attempt_at = NULL"),
    ],
    "message_delivered_at": [
        TOLD.format("delivered_at = NULL"),
        MESSAGE.format("delivered_at = now()"),
        MESSAGE.format("read_at = now()"),
    ],
    "message_closed_at": [
        TOLD.format("closed_at = now()"),
        MESSAGE.format("status = 'suppressed', next_attempt_at = NULL, reason = 'closed'"),
        MESSAGE.format("status = 'failed', next_attempt_at = NULL, closed_at = now()"),
    ],
    "message_read_at": [TOLD.format("channel = 'sms', read_at = now()")],
    "preference_once": [
        "INSERT INTO notifications_preference (tenant_id, patient_id)"
        " SELECT tenant_id, patient_id FROM notifications_preference WHERE id = %(preference)s"
    ],
    "preference_whose": [
        PREFERENCE.format("patient_id = NULL"),
        PREFERENCE.format("user_id = %(user)s"),
    ],
    "switch_once": [
        "INSERT INTO notifications_channelswitch (tenant_id, kind, channel, is_on)"
        " SELECT tenant_id, kind, channel, true FROM notifications_channelswitch"
    ],
    "switch_channel": [SWITCH.format("channel = 'fax'")],
    "template_once": [
        "INSERT INTO notifications_template (tenant_id, kind, channel, language, subject, body)"
        " SELECT tenant_id, kind, channel, language, '', 'x' FROM notifications_template"
    ],
    "template_channel": [TEMPLATE.format("channel = 'fax'")],
    "template_language": [TEMPLATE.format("language = 'xx'")],
    "template_body": [TEMPLATE.format("body = ''")],
    "calendarfeed_once": [FEED.format("NULL, repeat('1', 64)")],
    "calendarfeed_digest_once": [FEED.format("%(patient)s, digest")],
    "calendarfeed_digest": ["UPDATE notifications_calendarfeed SET digest = 'secret'"],
    "inbound_once": [
        "INSERT INTO notifications_inboundmessage"
        " (channel, digest, outcome, asked, at)"
        " SELECT channel, '1', outcome, asked, at FROM notifications_inboundmessage"
    ],
    "inbound_channel": [INBOUND.format("channel = 'email'")],
    "inbound_asked": [
        INBOUND.format("outcome = 'which'"),
        INBOUND.format("asked = ARRAY[%(message)s::uuid]"),
    ],
    "inbound_hold": [INBOUND.format("outcome = 'accepted'"), INBOUND.format("outcome = 'x'")],
}


@pytest.fixture
def rows(clinic: World) -> dict[str, Any]:
    """A queued message, one that was told in the app, and a row of each other table."""
    patient = clinic.patient()
    clinic.join(patient=patient)
    relayed()
    tenant = clinic.tenant
    user = factories.UserFactory.create()
    CalendarFeed.objects.create(tenant=tenant, user=user, digest="0" * 64, rotated_at=NOW)
    return {
        "patient": patient.pk,
        "message": Message.objects.get(channel="email").pk,
        "told": Message.objects.get(channel="in_app").pk,
        "user": user.pk,
        "preference": Preference.objects.create(tenant=tenant, patient=patient).pk,
        "switch": ChannelSwitch.objects.create(
            tenant=tenant, kind="waitlist.joined", channel="sms", is_on=True
        ).pk,
        "template": Template.objects.create(
            tenant=tenant, kind="waitlist.joined", channel="sms", language="en", body="Hello"
        ).pk,
        "inbound": InboundMessage.objects.create(
            channel="sms", digest="1", outcome="nothing", at=NOW
        ).pk,
    }


def test_each_constraint_is_tried() -> None:
    assert constraints.names("notifications") >= set(REFUSED)


@pytest.mark.parametrize(
    ("name", "statement"),
    [(name, statement) for name, statements in REFUSED.items() for statement in statements],
)
def test_a_constraint_refuses(rows: dict[str, Any], name: str, statement: str) -> None:
    assert refusal(statement, rows) == name


def test_the_statements_are_refused_for_their_fault_alone(rows: dict[str, Any]) -> None:
    assert refusal(MESSAGE.format("reason = 'unreachable', attempts = 1"), rows) is None
    assert refusal(TOLD.format("read_at = now()"), rows) is None
    assert refusal(FEED.format("%(patient)s, repeat('1', 64)"), rows) is None
    assert (
        refusal(
            "INSERT INTO notifications_preference (tenant_id, user_id)"
            " SELECT tenant_id, %(user)s FROM notifications_preference",
            rows,
        )
        is None
    )
