"""The channels that send: which of them are on, and what sends on each.

What is told in the app needs no sending. A provider's SDK takes longer to load than most commands
take to run, so a channel's module is loaded when something is first sent on it; who sends for a
living loads it at start.
"""

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import cast

import structlog
from django.conf import settings

from notifications.channels import Sender
from notifications.models import Channel

log = structlog.get_logger(__name__)

# The settings without which a channel is off.
NEEDS: Mapping[str, tuple[str, ...]] = {
    Channel.EMAIL: ("EMAIL_ON",),
    Channel.SMS: ("TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_FROM"),
    Channel.WHATSAPP: ("WHATSAPP_PHONE_ID", "WHATSAPP_TOKEN"),
}


def is_on(*, channel: str) -> bool:
    """Say whether the settings let a channel send."""
    return channel in NEEDS and all(getattr(settings, name) for name in NEEDS[channel])


def live() -> list[str]:
    """Return the channels that can send."""
    return sorted(str(channel) for channel in NEEDS if is_on(channel=channel))


def of(*, channel: str) -> Sender:
    """Return the module that sends on a channel: the one of its name."""
    return cast(Sender, import_module(f"notifications.{channel}"))


def load(*, channels: Iterable[str]) -> None:
    """Load those of some channels that are on, so that nobody waits for it later."""
    for channel in channels:
        if is_on(channel=channel):
            of(channel=channel)


def announce() -> None:
    """Say at start which channels are off, since nothing is sent on them."""
    for channel in sorted(set(NEEDS) - set(live())):
        log.warning("channel is off: set what it needs, see .env.example", channel=channel)
