"""Signatures: whether what comes in is from who it says."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string
from twilio.request_validator import RequestValidator


def is_twilios(*, url: str, form: Any, signature: str) -> bool:
    """Say whether a request to `url` with this form comes from Twilio."""
    token = settings.TWILIO_AUTH_TOKEN
    return bool(token) and RequestValidator(token).validate(url, form, signature)


def is_metas(*, body: bytes, signature: str) -> bool:
    """Say whether a request with this body comes from Meta."""
    secret = settings.WHATSAPP_APP_SECRET
    if not secret or not signature.isascii():
        return False
    # By name: pywa takes long to load.
    validate: Callable[[str, bytes, str], bool] = import_string(
        "pywa.utils.webhook_updates_validator"
    )
    return validate(secret, body, signature)
