"""Mail reports: what a provider of mail says became of mails, read by django-anymail."""

from collections.abc import Iterator, Mapping

from anymail.exceptions import AnymailError, AnymailWebhookValidationFailure
from anymail.webhooks.base import AnymailBaseWebhookView
from anymail.webhooks.mailgun import MailgunTrackingWebhookView
from anymail.webhooks.postmark import PostmarkTrackingWebhookView
from anymail.webhooks.resend import ResendTrackingWebhookView
from django.conf import settings
from django.http import HttpRequest

from notifications import email, reports
from notifications.reports import Report

# Those of `settings.EMAIL_PROVIDER` that report. What Amazon SES sends is no webhook of its own.
READERS: Mapping[str, type[AnymailBaseWebhookView]] = {
    "mailgun": MailgunTrackingWebhookView,
    "postmark": PostmarkTrackingWebhookView,
    "resend": ResendTrackingWebhookView,
}
SIGNING = {"mailgun"}
OUTCOMES = {"delivered": True, "bounced": False, "rejected": False, "failed": False}


class Unreadable(Exception):
    """The body is not what the provider sends."""


def is_signed(*, request: HttpRequest) -> bool:
    """Say whether a request comes from the provider: by its signature, or a user and password."""
    provider = settings.EMAIL_PROVIDER
    if provider not in READERS:
        return False
    if provider not in SIGNING and not settings.ANYMAIL.get("WEBHOOK_SECRET"):
        return False
    try:
        READERS[provider]().run_validators(request)
    except (AnymailWebhookValidationFailure, AnymailError):
        return False
    return True


def read(*, request: HttpRequest) -> Iterator[Report]:
    """Yield the reports of a signed request.

    :raises Unreadable: if it has another form than the provider gives it.
    """
    try:
        events = READERS[settings.EMAIL_PROVIDER]().parse_events(request)
    except (AnymailError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unreadable from error
    for event in events:
        if event.message_id:
            ours = (event.metadata or {}).get(email.MESSAGE, "")
            yield Report(
                provider_message_id=str(event.message_id),
                delivered=OUTCOMES.get(event.event_type),
                code=f"mail_{event.reject_reason or event.event_type}",
                message_id=reports.message_id(text=str(ours)),
            )
