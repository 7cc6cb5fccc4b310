"""What providers send us, over HTTP, signed as they sign it."""

import hashlib
import hmac
import json
from base64 import b64encode
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.conf import LazySettings
from rest_framework.test import APIClient
from twilio.request_validator import RequestValidator

from audit import clock
from audit.events import SYSTEM
from notifications import deliveries, email, messages, relay, templates
from notifications.models import InboundMessage, Message, Preference
from scheduling.models import Appointment, Patient
from tests.api import Api
from tests.notifications import stub
from tests.notifications.providers import (
    FORM,
    PHONE,
    SMS,
    SMS_STATUS,
    WHATSAPP,
    post_form,
    post_signed,
    post_update,
    pressed,
)
from tests.notifications.stub import Call, Stub
from tests.waitlist import worlds
from waitlist import holds
from waitlist.models import Hold

pytestmark = pytest.mark.django_db

MAIL = "/api/v1/inbound/mail-status"
CONFIRMED = (
    "<ConfirmSubscriptionResponse><ConfirmSubscriptionResult/>"
    "<ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></ConfirmSubscriptionResponse>"
)
ARN = "arn:aws:sns:eu-west-1:123456789012:mails"


@pytest.fixture
def api() -> APIClient:
    return Api()


@pytest.fixture
def hold() -> Hold:
    """An offer, made now, to somebody with a phone."""
    clinic = worlds.build()
    clinic.change(quiet_from=None, quiet_until=None)
    now = clock.now()
    entry = clinic.join(patient=clinic.patient(phone=PHONE), at=now)
    hold = clinic.offer(entry=entry, slot=clinic.slot(at=now + timedelta(days=2)), now=now)
    relay.relay(limit=100, now=now)
    return hold


# SMS


def test_an_sms_is_answered_with_twiml(api: APIClient, twilio: Stub, hold: Hold) -> None:
    answer = post_form(api, SMS, From=PHONE, Body="YES")
    assert (answer.status_code, answer["Content-Type"]) == (200, "text/xml")
    text = answer.content.decode()
    assert text.startswith(
        '<?xml version="1.0" encoding="UTF-8"?><Response><Message>You are booked'
    )
    assert Appointment.objects.get().patient == hold.patient
    assert post_form(api, SMS, From=PHONE, Body="YES").content == answer.content


def test_a_name_cannot_write_twiml(api: APIClient, twilio: Stub, hold: Hold) -> None:
    type(hold.facility).objects.update(name="A & <B>")
    assert b"A &amp; &lt;B&gt;" in post_form(api, SMS, From=PHONE, Body="YES").content


@pytest.mark.parametrize("word", ["STOP", "START"])
def test_where_twilio_has_answered_nothing_is_said(
    api: APIClient, twilio: Stub, hold: Hold, word: str
) -> None:
    answer = post_form(api, SMS, From=PHONE, Body=word.lower(), OptOutType=word)
    assert answer.content.endswith(b"<Response />")
    assert Preference.objects.get(patient=hold.patient).sms is (word == "START")
    assert b"<Message>" in post_form(api, SMS, From=PHONE, Body=word, MessageSid="SM8").content


def test_a_yes_that_twilio_takes_for_a_start_is_a_yes(
    api: APIClient, twilio: Stub, hold: Hold
) -> None:
    post_form(api, SMS, From=PHONE, Body="YES", OptOutType="START")
    assert InboundMessage.objects.get().outcome == "accepted"


@pytest.mark.parametrize("sign", [None, "another token"])
@pytest.mark.parametrize("path", [SMS, SMS_STATUS])
def test_a_form_that_is_not_twilios_is_refused(
    api: APIClient, twilio: Stub, hold: Hold, path: str, sign: str | None
) -> None:
    answer = post_form(api, path, sign=sign, From=PHONE, Body="YES")
    assert (answer.status_code, answer.json()["code"]) == (403, "bad_signature")
    assert not InboundMessage.objects.exists()


def test_a_signature_is_over_the_public_address_and_all_of_the_form(
    api: APIClient, twilio: Stub, hold: Hold, settings: LazySettings
) -> None:
    form = {"MessageSid": "SM9", "From": PHONE, "Body": "YES"}
    signed = RequestValidator("token").compute_signature(f"https://x.example{SMS}", form)
    headers = {"X-Twilio-Signature": signed}

    def post(**changes: str) -> int:
        body = urlencode(form | changes)
        return int(api.post(SMS, body, content_type=FORM, headers=headers).status_code)

    assert post() == 403
    settings.SITE_URL = "https://x.example"
    assert post(Body="NO") == 403
    assert post(To="+1") == 403
    assert post() == 200


def test_without_a_token_nothing_is_signed(
    api: APIClient, twilio: Stub, settings: LazySettings
) -> None:
    settings.TWILIO_AUTH_TOKEN = ""
    assert post_form(api, SMS, sign="", From=PHONE, Body="YES").status_code == 403


def test_who_sends_too_much_is_not_answered(
    api: APIClient, twilio: Stub, hold: Hold, settings: LazySettings
) -> None:
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "inbound": "2/minute"}
    phone = f"+1500{clock.now():%H%M%S}{hold.pk.int % 10}"
    answers = [
        post_form(api, SMS, From=phone, Body="hello", MessageSid=f"SM{n}").content for n in range(3)
    ]
    assert [b"<Message>" in answer for answer in answers] == [True, True, False]


def test_an_answer_counts_however_much_was_sent_before(
    api: APIClient, twilio: Stub, hold: Hold, settings: LazySettings
) -> None:
    """Nobody would send it again: for the provider it was taken."""
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "inbound": "1/minute"}
    phone = f"+1501{clock.now():%H%M%S}{hold.pk.int % 10}"
    Patient.objects.update(phone=phone)
    assert b"<Message>" in post_form(api, SMS, From=phone, Body="hello", MessageSid="SM1").content
    answer = post_form(api, SMS, From=phone, Body="YES", MessageSid="SM2")
    assert (answer.status_code, b"<Message>" in answer.content) == (200, False)
    assert Appointment.objects.get().patient == hold.patient


def test_who_sends_too_much_unsigned_has_to_wait(
    api: APIClient, twilio: Stub, hold: Hold, settings: LazySettings
) -> None:
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "unsigned": "2/minute"}
    settings.PROXIES = 1
    api.credentials(HTTP_X_FORWARDED_FOR=f"10.{clock.now():%H.%M.%S}")
    codes = [post_form(api, SMS, sign=None).status_code for _ in range(3)]
    assert codes == [403, 403, 429]
    assert post_form(api, SMS, From=PHONE, Body="YES").status_code == 200


def test_a_form_without_a_message_is_malformed(api: APIClient, twilio: Stub) -> None:
    assert post_form(api, SMS, MessageSid="").status_code == 400
    assert post_form(api, SMS, MessageSid="S" * 201).status_code == 400


# WhatsApp


def test_a_challenge_is_given_back_to_who_knows_the_token(api: APIClient, meta: Stub) -> None:
    asked = {"hub.mode": "subscribe", "hub.verify_token": "verify", "hub.challenge": "42<b>"}
    answer = api.get(WHATSAPP, asked)
    assert (answer.status_code, answer.content) == (200, b"42<b>")
    assert answer["Content-Type"] == "text/plain"
    for change in ({"hub.verify_token": "other"}, {"hub.mode": "x"}, {"hub.verify_token": ""}):
        assert api.get(WHATSAPP, {**asked, **change}).status_code == 403


def test_without_a_token_no_challenge_is_given_back(
    api: APIClient, meta: Stub, settings: LazySettings
) -> None:
    settings.WHATSAPP_VERIFY_TOKEN = ""
    asked = {"hub.mode": "subscribe", "hub.verify_token": "", "hub.challenge": "42"}
    assert api.get(WHATSAPP, asked).status_code == 403


def test_a_button_books_and_a_message_says_so(api: APIClient, meta: Stub, hold: Hold) -> None:
    assert post_update(api, pressed(hold)).status_code == 200
    assert Appointment.objects.get().patient == hold.patient
    [call] = meta.calls
    assert call.path == "/v24.0/123/messages"
    assert (call.json["to"], call.json["type"]) == ("15005550006", "text")
    assert call.json["text"]["body"].startswith("You are booked:")
    taken = InboundMessage.objects.get()
    assert (taken.channel, len(taken.digest)) == ("whatsapp", 64)
    assert (taken.outcome, taken.hold) == ("accepted", hold)


def test_a_button_of_ours_and_a_text_answer_as_well(api: APIClient, meta: Stub, hold: Hold) -> None:
    sent = {"from": "15005550006", "id": "wamid.a"}
    reply = {"type": "button_reply", "button_reply": {"id": f"no:{hold.pk}", "title": "No thanks"}}
    button = {**sent, "type": "interactive", "interactive": reply}
    text = {**sent, "id": "wamid.b", "type": "text", "text": {"body": "no, thanks"}}
    assert post_update(api, {"messages": [button, text]}).status_code == 200
    hold.refresh_from_db()
    assert hold.status == "declined"
    replies = [call.json["text"]["body"] for call in meta.calls]
    assert len(replies) == 2
    assert {reply.split(".")[0] for reply in replies} == {"Thank you"}
    assert InboundMessage.objects.filter(outcome="declined").count() == 2


def test_a_button_of_another_phone_answers_nothing(api: APIClient, meta: Stub, hold: Hold) -> None:
    assert post_update(api, pressed(hold, phone="+15005550009")).status_code == 200
    hold.refresh_from_db()
    assert hold.status == "offered"
    assert "no offer for you" in meta.calls[0].json["text"]["body"]


def test_a_reply_that_is_not_taken_changes_nothing(api: APIClient, meta: Stub, hold: Hold) -> None:
    meta.answers = [(500, {"error": {"code": 131000, "message": "x"}})]
    assert post_update(api, pressed(hold)).status_code == 200
    assert Appointment.objects.exists()


@pytest.mark.parametrize("signature", ["", "sha256=00", "sha256=é", "x"])
def test_what_is_not_metas_is_refused(
    api: APIClient, meta: Stub, hold: Hold, signature: str
) -> None:
    headers = {"X-Hub-Signature-256": signature} if signature else {}
    answer = api.post(WHATSAPP, b"{}", content_type="application/json", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "bad_signature")
    assert post_update(api, pressed(hold), secret="other").status_code == 403
    assert not InboundMessage.objects.exists()


def test_another_numbers_messages_are_not_ours(api: APIClient, meta: Stub, hold: Hold) -> None:
    value = {**pressed(hold), "metadata": {"phone_number_id": "999"}}
    assert post_update(api, value).status_code == 200
    assert not InboundMessage.objects.exists()


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"entry": 1},
        {"entry": [1, {"changes": [None, {"value": []}]}]},
        {"entry": [{"changes": [{"value": {"metadata": {"phone_number_id": "123"},
                                           "messages": [{"id": 1}, {"id": "a"}, 3],
                                           "statuses": [{"id": "x", "errors": 1}]}}]}]},
    ],
)  # fmt: skip
def test_what_is_not_understood_is_passed_over(api: APIClient, meta: Stub, body: Any) -> None:
    assert post_signed(api, json.dumps(body).encode()).status_code == 200
    assert not InboundMessage.objects.exists()


# What became of messages


def _sent(channel: str, *, id: str) -> Message:
    """Note a message of the offer as sent."""
    now = clock.now()
    [claimed] = messages.claim(channel=channel, now=now, limit=1)
    messages.note_sent(message=claimed, provider_message_id=id, now=now)
    return claimed


def _state(message: Message) -> tuple[str, str]:
    message.refresh_from_db()
    return message.status, message.reason


def test_twilio_tells_what_became_of_an_sms(api: APIClient, twilio: Stub, hold: Hold) -> None:
    message = _sent("sms", id="SM9")
    path = f"{SMS_STATUS}?message={message.pk}"
    for status in ("queued", "sent"):
        assert post_form(api, path, MessageStatus=status).status_code == 200
        assert _state(message) == ("sent", "")
    post_form(api, path, MessageStatus="delivered")
    assert _state(message) == ("delivered", "")
    for status in ("sent", "undelivered", "failed"):  # never backwards
        post_form(api, path, MessageStatus=status, ErrorCode="30003")
        assert _state(message) == ("delivered", "")


def test_twilio_tells_why_an_sms_was_not_delivered(
    api: APIClient, twilio: Stub, hold: Hold
) -> None:
    message = _sent("sms", id="SM9")
    post_form(api, SMS_STATUS, MessageStatus="undelivered", ErrorCode="30005")
    assert _state(message) == ("failed", "twilio_30005")
    post_form(api, SMS_STATUS, MessageStatus="delivered")
    assert _state(message) == ("failed", "twilio_30005")


def test_a_report_of_what_is_not_known_changes_nothing(
    api: APIClient, twilio: Stub, meta: Stub, hold: Hold
) -> None:
    message = _sent("sms", id="SM9")
    answer = post_form(api, SMS_STATUS, MessageSid="other", MessageStatus="delivered")
    assert answer.status_code == 200
    assert post_form(api, f"{SMS_STATUS}?message=x", MessageSid="other").status_code == 200
    assert post_update(api, {"statuses": [{"id": "SM9", "status": "delivered"}]}).status_code == 200
    assert _state(message) == ("sent", "")


def test_a_report_tells_that_a_sender_lost_its_outcome(
    api: APIClient, twilio: Stub, hold: Hold
) -> None:
    """It is not sent again; but what nobody tried to send, no report is of."""
    message = Message.objects.get(channel="sms", status="queued")
    path = f"{SMS_STATUS}?message={message.pk}"
    post_form(api, path, MessageStatus="sent")
    assert _state(message) == ("queued", "")
    [claimed] = messages.claim(channel="sms", now=clock.now(), limit=1)
    post_form(api, path, MessageStatus="delivered")
    assert _state(message) == ("delivered", "")
    assert message.provider_message_id == "SM9"
    assert not messages.note_sent(message=claimed, provider_message_id="late", now=clock.now())
    assert not messages.claim(channel="sms", now=clock.now() + timedelta(hours=1), limit=1)


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ({"status": "sent"}, ("sent", "")),
        ({"status": "delivered"}, ("delivered", "")),
        ({"status": "read"}, ("delivered", "")),
        (
            {"status": "failed", "errors": [{"code": 131026, "title": "no"}]},
            ("failed", "whatsapp_131026"),
        ),
    ],
)
def test_meta_tells_what_became_of_a_message(
    api: APIClient, meta: Stub, hold: Hold, status: dict[str, Any], state: tuple[str, str]
) -> None:
    message = _sent("whatsapp", id="wamid.1")
    told = {"id": "wamid.1", "recipient_id": "15005550006", **status}
    assert post_update(api, {"statuses": [told, told]}).status_code == 200
    assert _state(message) == state


def test_metas_report_finds_a_message_by_our_id(api: APIClient, meta: Stub, hold: Hold) -> None:
    [claimed] = messages.claim(channel="whatsapp", now=clock.now(), limit=1)
    told = {"id": "wamid.7", "status": "sent", "biz_opaque_callback_data": str(claimed.pk)}
    post_update(api, {"statuses": [told]})
    assert _state(claimed) == ("sent", "")
    assert claimed.provider_message_id == "wamid.7"


def test_words_that_meta_refuses_later_follow_as_a_template_once(
    api: APIClient, meta: Stub, hold: Hold
) -> None:
    """They wrote to us; Meta takes words of ours, and says afterwards that their day is over."""
    hello = {"from": PHONE[1:], "id": "wamid.in", "type": "text", "text": {"body": "hello"}}
    post_update(api, {"messages": [hello]})
    [_, *sent] = _refused_again(api, meta, times=3)
    message = Message.objects.get(channel="whatsapp", kind="waitlist.hold_offered")
    # Each report came twice, and the first of the template itself is the end.
    assert [call.json["type"] for call in sent] == ["interactive", "template"]
    assert sent[1].json["biz_opaque_callback_data"] == str(message.pk)
    assert _state(message) == ("failed", "whatsapp_131047")


def test_words_that_are_refused_when_the_offer_is_over_are_not_sent_again(
    api: APIClient, meta: Stub, hold: Hold
) -> None:
    message = _sent("whatsapp", id="wamid.1")
    holds.decline(hold_id=hold.pk, actor=SYSTEM, now=clock.now())
    post_update(api, {"statuses": [_refusal("wamid.1", message)]})
    assert _state(message) == ("queued", "")
    [claimed] = messages.claim(channel="whatsapp", now=clock.now(), limit=1)
    deliveries.deliver(message=claimed, now=clock.now())
    assert _state(message) == ("suppressed", "closed")
    assert meta.calls == []


def _refusal(id: str, message: Message) -> dict[str, Any]:
    """Write Meta's report that the day is over in which it takes words of our own."""
    errors = [{"code": 131047, "title": "Re-engagement message"}]
    told = {"id": id, "status": "failed", "errors": errors}
    return {**told, "biz_opaque_callback_data": str(message.pk)}


def _refused_again(api: APIClient, meta: Stub, *, times: int) -> list[Call]:
    """Send what is due, so many times, and each time let Meta refuse it in two reports."""
    for number in range(times):
        meta.answers = [(200, {**meta.answers[0][1], "messages": [{"id": f"wamid.{number}"}]})]
        for claimed in messages.claim(channel="whatsapp", now=clock.now(), limit=9):
            assert deliveries.deliver(message=claimed, now=clock.now()) == "sent"
            for _ in range(2):
                post_update(api, {"statuses": [_refusal(f"wamid.{number}", claimed)]})
    return meta.calls


def _postmark(api: APIClient, body: Any, *, password: str = "right") -> Any:
    """Post as Postmark does, with a user and password."""
    known = b64encode(f"user:{password}".encode()).decode()
    headers = {"Authorization": f"Basic {known}"}
    return api.post(MAIL, json.dumps(body), content_type="application/json", headers=headers)


@pytest.fixture
def postmark(settings: LazySettings) -> None:
    settings.EMAIL_PROVIDER = "postmark"
    settings.ANYMAIL = {"WEBHOOK_SECRET": "user:right"}


@pytest.mark.parametrize(
    ("body", "state"),
    [
        ({"RecordType": "Delivery"}, ("delivered", "")),
        ({"RecordType": "Bounce", "Type": "HardBounce", "ID": 1}, ("failed", "mail_bounced")),
        ({"RecordType": "Bounce", "Type": "Transient", "ID": 1}, ("sent", "")),
        ({"RecordType": "Open"}, ("sent", "")),
    ],
)
def test_a_mail_provider_tells_what_became_of_a_mail(
    api: APIClient, postmark: None, hold: Hold, body: dict[str, Any], state: tuple[str, str]
) -> None:
    message = _sent("email", id="mail-1")
    assert _postmark(api, {"MessageID": "mail-1", **body}).status_code == 200
    assert _state(message) == state


def test_a_report_that_comes_before_its_sender_noted_the_id_is_not_lost(
    api: APIClient, postmark: None, hold: Hold
) -> None:
    """Nor is the mail sent again, should the sender have been killed since."""
    [claimed] = messages.claim(channel="email", now=clock.now(), limit=1)
    told = {"RecordType": "Delivery", "MessageID": "mail-1"}
    assert _postmark(api, {**told, "Metadata": {"message": "none of ours"}}).status_code == 200
    assert _state(claimed) == ("queued", "")
    content = templates.render(message=claimed, now=clock.now())
    mail = email.write(message=claimed, address="a@example.org", content=content)
    assert _postmark(api, {**told, "Metadata": mail.metadata}).status_code == 200
    assert _state(claimed) == ("delivered", "")
    assert claimed.provider_message_id == "mail-1"


def test_mail_reports_are_the_providers_alone(
    api: APIClient, postmark: None, hold: Hold, settings: LazySettings
) -> None:
    message = _sent("email", id="mail-1")
    told = {"MessageID": "mail-1", "RecordType": "Delivery"}
    assert _postmark(api, told, password="wrong").status_code == 403
    assert api.post(MAIL, json.dumps(told), content_type="application/json").status_code == 401
    settings.ANYMAIL = {}
    assert _postmark(api, told).status_code == 403
    settings.EMAIL_PROVIDER = ""
    assert _postmark(api, told).status_code == 403
    assert _state(message) == ("sent", "")


def test_a_report_in_another_form_is_malformed(api: APIClient, postmark: None) -> None:
    bodies: list[Any] = [[], 3, "x"]
    for body in bodies:
        assert _postmark(api, body).status_code == 400


def test_mailgun_signs_by_itself(api: APIClient, hold: Hold, settings: LazySettings) -> None:
    settings.EMAIL_PROVIDER = "mailgun"
    settings.ANYMAIL = {"MAILGUN_WEBHOOK_SIGNING_KEY": "key"}
    message = _sent("email", id="<mail-1>")
    digest = hmac.new(b"key", b"1token", hashlib.sha256).hexdigest()
    told: dict[str, Any] = {
        "signature": {"timestamp": "1", "token": "token", "signature": digest},
        "event-data": {
            "event": "failed", "severity": "permanent", "reason": "bounce", "id": "1",
            "timestamp": 1, "message": {"headers": {"message-id": "mail-1"}},
        },
    }  # fmt: skip

    def post() -> int:
        sent = api.post(MAIL, json.dumps(told), content_type="application/json")
        return int(sent.status_code)

    told["signature"]["signature"] = "0"
    assert post() == 403
    told["signature"]["signature"] = digest
    assert post() == 200
    assert _state(message)[0] == "failed"


@pytest.fixture
def ses(settings: LazySettings) -> Iterator[Stub]:
    """Amazon's API, with the settings to use it."""
    with stub.opened(status=200, body="") as opened:
        keys = {"aws_access_key_id": "id", "aws_secret_access_key": "key"}
        settings.EMAIL_PROVIDER = "amazon_ses"
        settings.ANYMAIL = {
            "WEBHOOK_SECRET": "user:right",
            "AMAZON_SES_SESSION_PARAMS": {**keys, "region_name": "eu-west-1"},
            "AMAZON_SES_CLIENT_PARAMS": {"endpoint_url": opened.url},
        }
        yield opened


def _sns(
    api: APIClient, said: str, *, kind: str = "Notification", password: str = "right", **more: str
) -> Any:
    """Post as Amazon's SNS does, without a password at first."""
    body = {"Type": kind, "MessageId": "1", "Message": said, "TopicArn": ARN, **more}
    told = {"x-amz-sns-message-type": kind, "x-amz-sns-message-id": "1"}
    if password:
        told["Authorization"] = f"Basic {b64encode(f'user:{password}'.encode()).decode()}"
    return api.post(MAIL, json.dumps(body), content_type="text/plain; charset=UTF-8", headers=told)


@pytest.mark.parametrize(
    ("name", "more", "state"),
    [
        ("Delivery", {"recipients": ["a@example.org"]}, ("delivered", "")),
        (
            "Bounce",
            {"bounceType": "Permanent", "bounceSubType": "General", "bouncedRecipients": [
                {"emailAddress": "a@example.org"}
            ]},
            ("failed", "mail_bounced"),
        ),
    ],
)  # fmt: skip
def test_amazon_tells_through_its_sns_what_became_of_a_mail(
    api: APIClient, ses: Stub, hold: Hold, name: str, more: dict[str, Any], state: tuple[str, str]
) -> None:
    message = _sent("email", id="ses-1")
    told = {"eventType": name, "mail": {"messageId": "ses-1"}, name.lower(): more}
    asked = _sns(api, json.dumps(told), password="")
    assert (asked.status_code, asked["WWW-Authenticate"]) == (401, 'Basic realm="mail status"')
    assert _sns(api, json.dumps(told), password="wrong").status_code == 403
    assert _state(message) == ("sent", "")
    assert _sns(api, json.dumps(told)).status_code == 200
    assert _state(message) == state


def test_amazon_is_told_that_the_address_is_ours(api: APIClient, ses: Stub) -> None:
    ses.answers = [(200, CONFIRMED)]
    assert _sns(api, "", kind="SubscriptionConfirmation", Token="7").status_code == 200
    [call] = ses.calls
    assert {"Action": "ConfirmSubscription", "TopicArn": ARN, "Token": "7"}.items() <= (
        call.form.items()
    )


def test_nothing_of_what_somebody_wrote_is_kept(
    api: APIClient, twilio: Stub, meta: Stub, hold: Hold
) -> None:
    secret = "Zebulon has a migraine"
    post_form(api, SMS, From=PHONE, Body=secret)
    text = {"from": PHONE[1:], "id": "wamid.t", "type": "text", "text": {"body": secret}}
    post_update(api, {"messages": [text]})
    assert InboundMessage.objects.count() == 2
    for row in InboundMessage.objects.values():
        assert "Zebulon" not in str(row)
        assert PHONE[1:] not in str(row)
    assert Patient.objects.get(hold=hold).phone == PHONE
