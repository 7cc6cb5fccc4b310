"""Mail reports: what a provider of mail says became of mails, read by django-anymail."""

from collections.abc import Iterator, Mapping

from anymail.exceptions import AnymailError
from anymail.webhooks.base import AnymailBaseWebhookView
from django.conf import settings
from django.http import HttpRequest
from django.utils.module_loading import import_string

from notifications import reports
from notifications.reports import Report

# Those of `settings.EMAIL_PROVIDER` that report; Amazon SES does so through its SNS.
READERS: Mapping[str, str] = {
    "amazon_ses": "anymail.webhooks.amazon_ses.AmazonSESTrackingWebhookView",
    "mailgun": "anymail.webhooks.mailgun.MailgunTrackingWebhookView",
    "postmark": "anymail.webhooks.postmark.PostmarkTrackingWebhookView",
    "resend": "anymail.webhooks.resend.ResendTrackingWebhookView",
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
        _reader(provider=provider).run_validators(request)
    except (AnymailError, AttributeError):
        return False
    return True


def wants_challenge(*, request: HttpRequest) -> bool:
    """Say whether a request would bring the password if it were asked for, as Amazon's do."""
    knows = settings.EMAIL_PROVIDER in READERS.keys() - SIGNING
    return knows and "Authorization" not in request.headers


def read(*, request: HttpRequest) -> Iterator[Report]:
    """Yield the reports of a signed request.

    :raises Unreadable: if it has another form than the provider gives it.
    """
    try:
        events = _reader(provider=settings.EMAIL_PROVIDER).parse_events(request)
    except (AnymailError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unreadable from error
    for event in events:
        if event.message_id:
            ours = (event.metadata or {}).get(reports.MESSAGE, "")
            yield Report(
                provider_message_id=str(event.message_id),
                delivered=OUTCOMES.get(event.event_type),
                code=f"mail_{event.reject_reason or event.event_type}",
                message_id=reports.message_id(text=str(ours)),
            )


def _reader(*, provider: str) -> AnymailBaseWebhookView:
    """Make a reader; by name, since Amazon's SDK takes long to load."""
    reader: type[AnymailBaseWebhookView] = import_string(READERS[provider])
    return reader()
