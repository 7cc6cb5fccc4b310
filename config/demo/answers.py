"""Answers: what somebody presses or writes, handed to web as Twilio and Meta do, and signed."""

import hashlib
import hmac
import json
import urllib.request
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree

from twilio.request_validator import RequestValidator

from config.demo.catcher import NUMBER, PHONE_ID, Catcher, Caught
from notifications.models import Channel

SECONDS = 20.0


def press(*, catcher: Catcher, message: Caught, payload: str) -> None:
    """Press a button of a WhatsApp message.

    :raises OSError: if web does not take it.
    """
    [title] = [button.title for button in message.buttons if button.payload == payload]
    reply = {"id": payload, "title": title}
    pressed: dict[str, Any] = (
        {"type": "button", "button": {"payload": payload, "text": title}}
        if message.is_template
        else {"type": "interactive", "interactive": {"type": "button_reply", "button_reply": reply}}
    )
    _to_whatsapp(catcher=catcher, address=message.address, text=title, said=pressed)


def write(*, catcher: Catcher, message: Caught, text: str) -> None:
    """Answer a message in words, on its channel.

    :raises OSError: if web does not take it.
    """
    if message.channel == Channel.WHATSAPP:
        said = {"type": "text", "text": {"body": text}}
        _to_whatsapp(catcher=catcher, address=message.address, text=text, said=said)
    else:
        _by_sms(catcher=catcher, address=message.address, text=text)


def _by_sms(*, catcher: Catcher, address: str, text: str) -> None:
    """Hand an SMS on as Twilio does, and take what is answered to it."""
    one = catcher.keep(channel=Channel.SMS.value, address=address, text=text, is_answer=True)
    form = {
        "MessageSid": f"SM{one.id}",
        "AccountSid": catcher.account,
        "From": address,
        "To": NUMBER,
        "Body": text,
    }
    url = f"{catcher.site}/api/v1/inbound/sms"
    signature = RequestValidator(catcher.secret).compute_signature(url, form)
    answer = _post(url, urlencode(form).encode(), {"X-Twilio-Signature": signature})
    for said in ElementTree.fromstring(answer).iter("Message"):
        catcher.keep(channel=Channel.SMS.value, address=address, text=said.text or "")


def _to_whatsapp(*, catcher: Catcher, address: str, text: str, said: dict[str, Any]) -> None:
    """Hand a message on as Meta does; what is answered to it comes by itself."""
    one = catcher.keep(channel=Channel.WHATSAPP.value, address=address, text=text, is_answer=True)
    message = {
        "from": address.removeprefix("+"),
        "id": f"wamid.{one.id}",
        "timestamp": str(int(one.at.timestamp())),
        **said,
    }
    metadata = {"display_phone_number": NUMBER, "phone_number_id": PHONE_ID}
    value = {"messaging_product": "whatsapp", "metadata": metadata, "messages": [message]}
    entry = {"id": "0", "changes": [{"field": "messages", "value": value}]}
    body = json.dumps({"object": "whatsapp_business_account", "entry": [entry]}).encode()
    digest = hmac.new(catcher.secret.encode(), body, hashlib.sha256).hexdigest()
    headers = {"Content-Type": "application/json", "X-Hub-Signature-256": f"sha256={digest}"}
    _post(f"{catcher.site}/api/v1/inbound/whatsapp", body, headers)


def _post(url: str, body: bytes, headers: dict[str, str]) -> bytes:
    request = urllib.request.Request(url, body, headers)
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        return bytes(answer.read())
