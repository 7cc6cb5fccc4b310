"""SMS through a Twilio of our own, which checks what is sent to it."""

import logging
from base64 import b64encode

import pytest
from django.conf import LazySettings

from notifications import deliveries, messages, senders
from notifications.models import Message
from tests.notifications.stub import Stub
from tests.notifications.told import relayed
from tests.waitlist.worlds import NOW, World

pytestmark = pytest.mark.django_db

PHONE = "+15005550006"


def _offer(clinic: World) -> Message:
    """Offer a time to somebody with a phone and return the claimed SMS of it."""
    clinic.offer(entry=clinic.join(patient=clinic.patient(phone=PHONE)))
    relayed()
    [claimed] = messages.claim(channel="sms", now=NOW, limit=1)
    return claimed


def test_an_sms_is_sent_as_twilio_wants_it(clinic: World, twilio: Stub) -> None:
    message = _offer(clinic)
    assert deliveries.deliver(message=message, now=NOW) == "sent"
    [call] = twilio.calls
    account = "AC" + "0" * 32
    assert call.path == f"/2010-04-01/Accounts/{account}/Messages.json"
    assert call.authorization == "Basic " + b64encode(f"{account}:token".encode()).decode()
    form = call.form
    assert clinic.facility.name in form.pop("Body")
    assert form == {
        "To": PHONE,
        "From": "+15005550001",
        "StatusCallback": f"http://localhost:8000/api/v1/inbound/sms-status?message={message.pk}",
    }
    message.refresh_from_db()
    assert (message.status, message.provider_message_id) == ("sent", "SM1")


def test_what_is_sent_again_is_reported_to_the_same_address(clinic: World, twilio: Stub) -> None:
    message = _offer(clinic)
    twilio.answers = [(503, {}), (201, {"sid": "SM2", "status": "queued"})]
    assert deliveries.deliver(message=message, now=NOW) == "away"
    message.refresh_from_db()
    assert message.next_attempt_at is not None
    [again] = messages.claim(channel="sms", now=message.next_attempt_at, limit=1)
    assert deliveries.deliver(message=again, now=NOW) == "sent"
    assert len({call.form["StatusCallback"] for call in twilio.calls}) == 1


def test_a_messaging_service_chooses_the_number(
    clinic: World, twilio: Stub, settings: LazySettings
) -> None:
    settings.TWILIO_FROM = "MG" + "0" * 32
    deliveries.deliver(message=_offer(clinic), now=NOW)
    form = twilio.calls[0].form
    assert form["MessagingServiceSid"] == "MG" + "0" * 32
    assert "From" not in form


@pytest.mark.parametrize(
    ("status", "code", "outcome", "reason"),
    [
        (400, 21211, "failed", "twilio_21211"),  # no such number
        (400, 21610, "failed", "twilio_21610"),  # they texted STOP
        (400, 21611, "away", "twilio_21611"),  # too many queued
        (401, 20003, "away", "twilio_20003"),
        (403, 21408, "failed", "twilio_21408"),  # not to that country
        (404, 20404, "away", "twilio_20404"),
        (429, 20429, "away", "twilio_20429"),
        (503, None, "away", "twilio_503"),
    ],
)
def test_a_refusal_is_for_good_or_for_now(
    clinic: World, twilio: Stub, status: int, code: int | None, outcome: str, reason: str
) -> None:
    twilio.answers = [(status, {"code": code, "message": f"no {PHONE}", "status": status})]
    message = _offer(clinic)
    assert deliveries.deliver(message=message, now=NOW) == outcome
    message.refresh_from_db()
    assert message.reason == reason


def test_a_server_that_is_away_is_tried_again(
    clinic: World, twilio: Stub, settings: LazySettings
) -> None:
    settings.TWILIO_URL = "http://127.0.0.1:1"
    message = _offer(clinic)
    assert deliveries.deliver(message=message, now=NOW) == "away"
    message.refresh_from_db()
    assert message.reason == "unreachable"


def test_no_log_has_an_address_or_a_text(
    clinic: World, twilio: Stub, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even the libraries' own, which write requests down."""
    caplog.set_level(logging.DEBUG)
    message = _offer(clinic)
    for answer in ((400, {"code": 21211, "message": PHONE, "status": 400}), twilio.answers[0]):
        twilio.answers = [answer]
        deliveries.deliver(message=message, now=NOW)
    assert PHONE[1:] not in caplog.text
    assert clinic.facility.name not in caplog.text


@pytest.mark.parametrize("missing", ["TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_FROM"])
def test_without_settings_the_channel_is_off(
    twilio: Stub, settings: LazySettings, missing: str
) -> None:
    assert "sms" in senders.live()
    setattr(settings, missing, "")
    assert "sms" not in senders.live()
