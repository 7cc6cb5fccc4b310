"""WhatsApp through Meta's Cloud API: an approved template first, then messages of our own.

Within a day after somebody wrote to us anything may be sent to them; before and after that only a
template that Meta approved, whose text we do not choose here. docs/whatsapp.md lists them. Meta
counts the day for itself: words of ours that it refuses, at once or in a report, follow as a
template.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cache
from http import HTTPStatus
from uuid import UUID

import httpx
from django.conf import settings
from pywa.client import WhatsApp
from pywa.errors import (
    AccountRestrictedFromCountry,
    ReEngagementMessage,
    SendMessageError,
    WhatsAppError,
)
from pywa.types.callback import Button
from pywa.types.templates import BaseParams, BodyText, QuickReplyButton, TemplateLanguage

from notifications import replies, templates
from notifications.channels import Away, Content, Failed
from notifications.facts import VALUES, Facts
from notifications.models import Channel, InboundMessage, Message
from notifications.words import Meaning

TIMEOUT = 10  # seconds
WINDOW = timedelta(hours=24)
MAX_TEXT = 4096
MAX_TEXT_WITH_BUTTONS = 1024
ANSWERABLE = {"waitlist.hold_offered", "waitlist.hold_reminded"}
NAMES = {
    "waitlist.hold_reminded": "waitlist_hold_reminder",
    "organizer.hold_reminded": "organizer_hold_reminder",
}
LANGUAGES: Mapping[str, TemplateLanguage] = {
    "en": TemplateLanguage.ENGLISH,
    "es": TemplateLanguage.SPANISH,
    "fr": TemplateLanguage.FRENCH,
    "pt": TemplateLanguage.PORTUGUESE_POR,
}
# Failures of the service or of our account, not of a message: unknown error, access denied, away,
# payment (two), certificate, maintenance, generic.
PASSING = {131000, 131005, 131016, 131042, 131044, 131045, 131057, 135000}
BAD_PARAMETER = 100
TOO_MANY_TO_ONE = 131056  # for one phone, which passes


def send(*, message: Message, address: str, content: Content) -> str:
    """Send a message and return WhatsApp's id of it.

    Its reports carry our id, so that what it took is known though its answer was lost.

    :raises Failed: if it was not taken.
    """
    facts = content.facts
    assert facts is not None
    try:
        if not message.template_only and is_open(address=address, now=facts.now):
            try:
                return _send_text(message=message, address=address, facts=facts, text=content.body)
            except ReEngagementMessage:  # they count the day otherwise
                pass
        return _send_template(message=message, address=address, facts=facts)
    except httpx.HTTPError as error:
        raise Away(code="unreachable") from error
    except WhatsAppError as error:
        raise _failure(error) from error


def reply(*, address: str, text: str) -> None:
    """Answer somebody who just wrote to us.

    :raises Failed: if it was not taken.
    """
    try:
        _wa().send_message(to=_digits(address), text=text[:MAX_TEXT])
    except httpx.HTTPError as error:
        raise Away(code="unreachable") from error
    except WhatsAppError as error:
        raise _failure(error) from error


def is_open(*, address: str, now: datetime) -> bool:
    """Say whether who has a phone wrote to us within a day before `now`."""
    theirs = InboundMessage.objects.filter(channel=Channel.WHATSAPP, patient__phone=address)
    return theirs.filter(at__gt=now - WINDOW).exists()


def template_name(*, kind: str) -> str:
    """Return the name by which Meta approved the template of a kind."""
    return NAMES.get(kind, kind.replace(".", "_"))


def template_text(*, kind: str, language: str) -> str:
    """Return the text that Meta is asked to approve, with its parameters in double braces."""
    text = templates.shipped(kind=kind, channel=Channel.WHATSAPP, language=language).body
    return templates.PLACEHOLDER.sub(r"{{\1}}", text)


def button(*, meaning: Meaning, hold_id: UUID) -> str:
    """Write what comes back when a button is pressed."""
    return f"{meaning}:{hold_id}"


def _send_text(*, message: Message, address: str, facts: Facts, text: str) -> str:
    buttons = None
    if templates.told_as(message=message) in ANSWERABLE and message.hold_id:
        text = text[:MAX_TEXT_WITH_BUTTONS]
        buttons = [
            Button(
                title=replies.write(name=f"button_{meaning}", language=facts.language),
                callback_data=button(meaning=meaning, hold_id=message.hold_id),
            )
            for meaning in (Meaning.YES, Meaning.NO)
        ]
    sent = _wa().send_message(
        to=_digits(address), text=text[:MAX_TEXT], buttons=buttons, tracker=str(message.pk)
    )
    return sent.id


def _send_template(*, message: Message, address: str, facts: Facts) -> str:
    kind = templates.told_as(message=message)
    text = templates.shipped(kind=kind, channel=Channel.WHATSAPP, language=facts.language).body
    names = dict.fromkeys(templates.PLACEHOLDER.findall(text))
    # Neither a line break nor nothing is taken for a value.
    values = {name: " ".join(VALUES[name](facts).split()) or "–" for name in names}
    params: list[BaseParams] = [BodyText.params(**values)] if values else []
    if kind in ANSWERABLE and message.hold_id:
        params += [
            QuickReplyButton.params(
                callback_data=button(meaning=meaning, hold_id=message.hold_id), index=index
            )
            for index, meaning in enumerate((Meaning.YES, Meaning.NO))
        ]
    sent = _wa().send_template(
        to=_digits(address),
        name=template_name(kind=kind),
        language=LANGUAGES[facts.language],
        params=params,
        tracker=str(message.pk),
    )
    return sent.id


def _digits(address: str) -> str:
    return address.removeprefix("+")


def _failure(error: WhatsAppError) -> Failed:
    """Say whether it would come again, by Meta's code: if it is of the message, not of us."""
    of_it = isinstance(error, SendMessageError | AccountRestrictedFromCountry)
    of_it = (of_it and error.code not in PASSING) or error.code == BAD_PARAMETER
    away = (error.status_code or 0) >= HTTPStatus.INTERNAL_SERVER_ERROR
    code = f"whatsapp_{error.code}"
    if away or not (of_it or error.code == TOO_MANY_TO_ONE):
        return Away(code=code)
    return Failed(permanent=of_it and not error.is_transient, code=code)


def _wa() -> WhatsApp:
    return _client(settings.WHATSAPP_PHONE_ID, settings.WHATSAPP_TOKEN, settings.WHATSAPP_URL)


@cache
def _client(phone_id: str, token: str, url: str) -> WhatsApp:
    client = WhatsApp(phone_id=phone_id, token=token, session=httpx.Client(timeout=TIMEOUT))
    client.api._session.base_url = httpx.URL(url)
    return client
