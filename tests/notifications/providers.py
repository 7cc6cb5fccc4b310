"""What Twilio and Meta send us, signed as they sign it."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from rest_framework.test import APIClient
from twilio.request_validator import RequestValidator

from waitlist.models import Hold

PHONE = "+15005550006"
SMS, SMS_STATUS = "/api/v1/inbound/sms", "/api/v1/inbound/sms-status"
WHATSAPP = "/api/v1/inbound/whatsapp"
FORM = "application/x-www-form-urlencoded"


def post_form(api: APIClient, path: str, *, sign: str | None = "token", **form: str) -> Any:
    """Post a form as Twilio does, signed with a token."""
    known = {"MessageSid": "SM9", "AccountSid": "AC", **form}
    url = f"http://localhost:8000{path}"
    headers = {}
    if sign is not None:
        signature = RequestValidator(sign).compute_signature(url, known)
        headers["X-Twilio-Signature"] = signature
    return api.post(path, urlencode(known), content_type=FORM, headers=headers)


def post_update(api: APIClient, value: Mapping[str, Any], *, secret: str = "secret") -> Any:
    """Post a change as Meta does, signed with a secret."""
    metadata = {"display_phone_number": "15550001111", "phone_number_id": "123"}
    change = {"field": "messages", "value": {"metadata": metadata, **value}}
    update = {"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [change]}]}
    return post_signed(api, json.dumps(update).encode(), secret=secret)


def post_signed(api: APIClient, body: bytes, *, secret: str = "secret") -> Any:
    """Post a body as Meta does, signed with a secret."""
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    headers = {"X-Hub-Signature-256": f"sha256={digest}"}
    return api.post(WHATSAPP, body, content_type="application/json", headers=headers)


def pressed(hold: Hold, *, word: str = "yes", id: str = "wamid.in", phone: str = PHONE) -> Any:
    """Write a quick reply of a template, as Meta hands it on."""
    return {
        "messages": [
            {
                "context": {"from": "15550001111", "id": "wamid.1"},
                "from": phone.removeprefix("+"),
                "id": id,
                "timestamp": "1750091045",
                "type": "button",
                "button": {"payload": f"{word}:{hold.pk}", "text": "Book now"},
            }
        ]
    }
