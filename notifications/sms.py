"""SMS through Twilio."""

from functools import cache
from http import HTTPStatus
from typing import Any

from django.conf import settings
from requests import RequestException
from twilio.base.exceptions import TwilioException
from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client
from twilio.rest.api.v2010.account.message import MessageList

from notifications.channels import Away, Content, Failed
from notifications.models import Message

TWILIO = "https://api.twilio.com"
TIMEOUT = 10  # seconds
# Refusals of our account, not of a recipient: they end when somebody sees to them.
OURS = {
    HTTPStatus.UNAUTHORIZED, HTTPStatus.PAYMENT_REQUIRED, HTTPStatus.FORBIDDEN,
    HTTPStatus.NOT_FOUND, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS,
}  # fmt: skip
QUEUE_FULL = 21611
NOT_TO_THERE = 21408  # our account may not send to that country


class _Http(TwilioHttpClient):  # type: ignore[misc]
    """Sends to the address of the settings, which may be another region's."""

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        """Send a request."""
        there = settings.TWILIO_URL + url.removeprefix(TWILIO)
        return super().request(method, there, *args, **kwargs)


def send(*, message: Message, address: str, content: Content) -> str:
    """Send an SMS and return Twilio's id of it.

    Twilio knows no key for a request that is sent again; the address it reports to names the
    message, so that what it took is known though its answer was lost.

    :raises Failed: if it was not taken.
    """
    sender = settings.TWILIO_FROM
    service = sender.startswith("MG")  # a messaging service, which chooses the number
    try:
        sent = _messages(settings.TWILIO_ACCOUNT_SID, settings.TWILIO_AUTH_TOKEN).create(
            to=address,
            body=content.body,
            status_callback=f"{settings.SITE_URL}/api/v1/inbound/sms-status?message={message.pk}",
            **{"messaging_service_sid" if service else "from_": sender},
        )
    except RequestException as error:
        raise Away(code="unreachable") from error
    except TwilioException as error:
        raise _failure(error) from error
    return str(sent.sid)


def _failure(error: Exception) -> Failed:
    """Say whether it would come again, by the status and Twilio's code."""
    status, code = getattr(error, "status", 0), getattr(error, "code", None)
    refused = HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
    name = f"twilio_{code or status}"
    of_it = code == NOT_TO_THERE or (refused and status not in OURS and code != QUEUE_FULL)
    return Failed(permanent=True, code=name) if of_it else Away(code=name)


@cache
def _messages(account: str, token: str) -> MessageList:
    client = Client(account, token, http_client=_Http(timeout=TIMEOUT))
    return client.messages
