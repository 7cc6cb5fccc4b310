"""Updates: what Twilio's and Meta's webhooks say, message by message.

Format of Meta's: Cloud API webhooks, `entry[].changes[].value` with `messages` and `statuses`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from notifications import reports, words
from notifications.reports import Report
from notifications.words import Meaning, Said

BUTTON = re.compile(r"(yes|no):([0-9a-f-]{36})")
# Statuses that are final; the others on the way there say that the provider has the message.
DELIVERED = {"delivered", "read"}
LOST = {"undelivered", "failed", "canceled"}
MAX_ID = 200


@dataclass(frozen=True, slots=True)
class Update:
    """A message that came in: its id, the number of who sent it, and what it says."""

    id: str
    number: str
    said: Said


def read_messages(*, body: Any) -> Iterator[Update]:
    """Yield the messages to our number. What has no id or no number is left out."""
    for value in _values(body):
        for message in _maps(value.get("messages")):
            id, number = _text(message, "id"), _text(message, "from")
            if id and number.isdecimal():
                yield Update(id, number, _said(message))


def read_reports(*, body: Any) -> Iterator[Report]:
    """Yield what became of messages from our number."""
    for value in _values(body):
        for status in _maps(value.get("statuses")):
            name, id = _text(status, "status"), _text(status, "id")
            if not id:
                continue
            codes = [error.get("code") for error in _maps(status.get("errors"))]
            yield Report(
                provider_message_id=id,
                delivered=_outcome(name),
                code=f"whatsapp_{codes[0] if codes else name}"[:50],
                message_id=reports.message_id(text=_text(status, "biz_opaque_callback_data")),
            )


def read_sms_report(*, form: Mapping[str, str], message: str) -> Report:
    """Read what became of an SMS; `message` is our id of it, as Twilio gives it back."""
    status = form.get("MessageStatus", "")
    return Report(
        provider_message_id=form["MessageSid"],
        delivered=_outcome(status),
        code=f"twilio_{form.get('ErrorCode') or status}"[:50],
        message_id=reports.message_id(text=message),
    )


def _outcome(status: str) -> bool | None:
    return False if status in LOST else True if status in DELIVERED else None


def _values(body: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the changes of our number; one webhook may have those of several."""
    for entry in _maps(body.get("entry") if isinstance(body, dict) else None):
        for change in _maps(entry.get("changes")):
            for value in _maps([change.get("value")]):
                for metadata in _maps([value.get("metadata")]):
                    if metadata.get("phone_number_id") == settings.WHATSAPP_PHONE_ID:
                        yield value


def _said(message: Mapping[str, Any]) -> Said:
    """Understand a button, of a template or of ours, or a text."""
    for part in _maps([message.get("interactive")]):
        message = {**part, **message}
    for name, key in (("button", "payload"), ("button_reply", "id"), ("text", "body")):
        for part in _maps([message.get(name)]):
            text = _text(part, key, limit=4096)
            if pressed := BUTTON.fullmatch(text):
                hold_id = reports.message_id(text=pressed[2])
                return Said(Meaning(pressed[1]), hold_id=hold_id) if hold_id else Said()
            return words.read(text=text)
    return Said()


def _maps(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _text(value: Mapping[str, Any], key: str, *, limit: int = MAX_ID) -> str:
    text = value.get(key)
    return text if isinstance(text, str) and len(text) <= limit else ""
