"""Mails over real SMTP, and by the APIs of providers."""

from typing import Any

import pytest
from django.conf import LazySettings

from notifications import channels, deliveries, email, messages, tasks, templates
from notifications.channels import Away, Failed
from notifications.models import Message
from tests.notifications import stub
from tests.notifications.mailbox import Mailbox
from tests.notifications.told import relayed
from tests.waitlist.worlds import DAY, NOW, World

pytestmark = pytest.mark.django_db


@pytest.fixture
def message(clinic: World) -> Message:
    """A message that somebody joined, with all that is read to send it."""
    clinic.join()
    relayed()
    [claimed] = messages.claim(channel="email", now=NOW, limit=1)
    return claimed


def _content(message: Message) -> channels.Content:
    return templates.render(message=message, now=NOW)


def test_a_mail_arrives_as_it_was_written(
    message: Message, mailbox: Mailbox, clinic: World
) -> None:
    assert deliveries.deliver(message=message, now=NOW) == "sent"
    [mail] = mailbox.mails
    assert message.patient is not None
    assert mail["To"] == message.patient.email
    assert mail["Subject"] == f"{clinic.facility.name}: you are on the waitlist"
    assert f"Hello {message.patient.name}," in mail.get_content()
    message.refresh_from_db()
    assert message.provider_message_id == mail["Message-ID"] == f"<{message.pk}@localhost>"


def test_a_mail_that_is_sent_twice_has_the_same_id(message: Message, mailbox: Mailbox) -> None:
    for _ in range(2):
        email.send(message=message, address="a@example.org", content=_content(message))
    assert len({mail["Message-ID"] for mail in mailbox.mails}) == 1


def test_a_mail_about_the_waitlist_can_be_unsubscribed_from_with_one_click(
    message: Message, mailbox: Mailbox
) -> None:
    deliveries.deliver(message=message, now=NOW)
    [mail] = mailbox.mails
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert mail["List-Unsubscribe"].strip().startswith("<http://localhost:8000/api/v1/unsubscribe/")


def test_a_mail_about_a_booking_cannot(clinic: World, mailbox: Mailbox) -> None:
    clinic.book()
    relayed()
    [booked] = messages.claim(channel="email", now=NOW, limit=1)
    assert deliveries.deliver(message=booked, now=NOW) == "sent"
    [mail] = mailbox.mails
    assert mail["List-Unsubscribe"] is None


@pytest.mark.parametrize(
    ("answer", "permanent", "code"),
    [("550 no such user", True, "address_refused"), ("451 later", False, "address_refused")],
)
def test_a_refusal_is_for_good_or_for_now(
    message: Message, mailbox: Mailbox, answer: str, permanent: bool, code: str
) -> None:
    mailbox.answer = answer
    with pytest.raises(Failed) as failed:
        email.send(message=message, address="a@example.org", content=_content(message))
    assert (failed.value.permanent, failed.value.code) == (permanent, code)


def _by_amazon(settings: LazySettings, *, url: str) -> None:
    settings.EMAIL_BACKEND = "anymail.backends.amazon_ses.EmailBackend"
    keys = {"aws_access_key_id": "id", "aws_secret_access_key": "key"}
    usual: Any = settings.ANYMAIL["AMAZON_SES_CLIENT_PARAMS"]
    settings.ANYMAIL = {
        "AMAZON_SES_SESSION_PARAMS": {**keys, "region_name": "eu-west-1"},
        "AMAZON_SES_CLIENT_PARAMS": {**usual, "endpoint_url": url},
    }


def test_amazon_takes_mails_by_its_api(message: Message, settings: LazySettings) -> None:
    with stub.opened(status=200, body={"MessageId": "ses-1"}) as amazon:
        _by_amazon(settings, url=amazon.url)
        assert deliveries.deliver(message=message, now=NOW) == "sent"
    assert amazon.calls[0].path == "/v2/email/outbound-emails"
    message.refresh_from_db()
    assert message.provider_message_id == "ses-1"


@pytest.mark.parametrize(
    ("provider", "options", "answer", "path"),
    [
        ("mailgun", {"SENDER_DOMAIN": "x.example"}, {"message": "Queued."}, "/x.example/messages"),
        ("postmark", {}, {"ErrorCode": 0, "MessageID": "1", "Message": "OK"}, "/email"),
        ("resend", {}, {}, "/emails"),
    ],
)
def test_other_providers_take_mails_by_theirs(
    message: Message, settings: LazySettings, provider: str, options: dict[str, str],
    answer: dict[str, Any], path: str,
) -> None:  # fmt: skip
    key = "SERVER_TOKEN" if provider == "postmark" else "API_KEY"
    assert message.patient is not None
    to = message.patient.email
    with stub.opened(status=200, body={"id": "1", "To": to, **answer}) as api:
        given = {key: "key", "API_URL": api.url, **options}
        settings.EMAIL_BACKEND = f"anymail.backends.{provider}.EmailBackend"
        settings.ANYMAIL = {f"{provider.upper()}_{name}": value for name, value in given.items()}
        assert deliveries.deliver(message=message, now=NOW) == "sent"
    [call] = api.calls
    assert call.path == path
    for said in (to.partition("@")[0], str(message.pk)):
        assert said.encode() in call.body
    message.refresh_from_db()
    assert message.provider_message_id == "1"


@pytest.mark.parametrize(
    ("status", "code", "outcome"),
    [
        # Of one mail.
        (400, "BadRequestException", "failed"),
        # An address that has to be verified before: somebody may see to it.
        (400, "MessageRejected", "retried"),
        # Of our account.
        (400, "SendingPausedException", "away"),
        (400, "AccountSuspendedException", "away"),
        (400, "MailFromDomainNotVerifiedException", "away"),
        (403, "InvalidSignatureException", "away"),
        (404, "NotFoundException", "away"),
        (429, "TooManyRequestsException", "away"),
        (503, "ServiceUnavailable", "away"),
    ],
)
def test_amazon_refuses_a_mail_or_us(
    message: Message, settings: LazySettings, status: int, code: str, outcome: str
) -> None:
    """And neither is an address that cannot be reached."""
    with stub.opened(status=status, body={"__type": code, "message": "no"}) as amazon:
        _by_amazon(settings, url=amazon.url)
        assert deliveries.deliver(message=message, now=NOW) == outcome
    assert len(amazon.calls) == 1, "it is tried again by us, and not meanwhile"
    message.refresh_from_db()
    assert message.reason == f"ses_{code}"


def test_amazon_may_be_away(message: Message, settings: LazySettings) -> None:
    _by_amazon(settings, url="http://127.0.0.1:1")
    assert deliveries.deliver(message=message, now=NOW) == "away"
    message.refresh_from_db()
    assert message.reason == "ses_EndpointConnectionError"


def test_a_provider_without_its_key_is_away(message: Message, settings: LazySettings) -> None:
    settings.EMAIL_BACKEND, settings.ANYMAIL = "anymail.backends.resend.EmailBackend", {}
    assert deliveries.deliver(message=message, now=NOW) == "away"
    message.refresh_from_db()
    assert message.reason == "misconfigured"


def test_an_address_that_is_none_is_refused_for_good(
    message: Message, settings: LazySettings
) -> None:
    settings.EMAIL_BACKEND = "anymail.backends.resend.EmailBackend"
    settings.ANYMAIL = {"RESEND_API_KEY": "key", "RESEND_API_URL": "http://127.0.0.1:1"}
    with pytest.raises(Failed) as failed:
        email.send(message=message, address="nobody", content=_content(message))
    assert (failed.value.permanent, failed.value.code) == (True, "address_refused")


def test_a_server_that_is_away_is_tried_again(message: Message, settings: LazySettings) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    assert deliveries.deliver(message=message, now=NOW) == "away"
    message.refresh_from_db()
    assert (message.status, message.reason) == ("queued", "unreachable")


@pytest.mark.usefixtures("by_day")
def test_recipients_who_are_refused_for_now_keep_no_other_from_being_told(
    clinic: World, mailbox: Mailbox
) -> None:
    for number in range(6):
        patient = clinic.patient(email=f"{number}@example.org")
        clinic.join(patient=patient)
        if number < 5:
            mailbox.answers[patient.email] = "451 later"
    relayed(now=NOW)
    assert tasks.send_messages("email") == {"retried": 5, "sent": 1}
    assert [mail["To"] for mail in mailbox.mails] == ["5@example.org"]


@pytest.mark.parametrize(
    ("status", "is_away"), [(401, True), (429, True), (503, True), (400, False)]
)
def test_an_api_is_away_or_refuses_one_mail(
    message: Message, settings: LazySettings, status: int, is_away: bool
) -> None:
    with stub.opened(status=status, body={}) as postmark:
        settings.EMAIL_BACKEND = "anymail.backends.postmark.EmailBackend"
        settings.ANYMAIL = {"POSTMARK_SERVER_TOKEN": "t", "POSTMARK_API_URL": postmark.url}
        with pytest.raises(Failed) as failed:
            email.send(message=message, address="a@example.org", content=_content(message))
    assert (failed.value.code, failed.value.permanent) == (f"http_{status}", not is_away)
    assert isinstance(failed.value, Away) == is_away


def test_a_name_with_a_line_break_makes_no_header(clinic: World, mailbox: Mailbox) -> None:
    type(clinic.facility).objects.update(name="Clinic\nBcc: x@example.org")
    clinic.join()
    relayed()
    [claimed] = messages.claim(channel="email", now=NOW, limit=1)
    assert deliveries.deliver(message=claimed, now=NOW) == "sent"
    [mail] = mailbox.mails
    assert mail["Bcc"] is None


def test_without_settings_mail_is_off(message: Message, settings: LazySettings) -> None:
    settings.EMAIL_ON = False
    assert deliveries.deliver(message=message, now=NOW + DAY) == "suppressed"
    message.refresh_from_db()
    assert message.reason == "channel_off"
