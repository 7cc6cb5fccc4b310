"""The channels that send, and which of them are on. What is told in the app needs no sending."""

from collections.abc import Mapping

import structlog

from notifications import email, sms, whatsapp
from notifications.channels import Sender
from notifications.models import Channel

log = structlog.get_logger(__name__)

SENDERS: Mapping[str, Sender] = {
    Channel.EMAIL: email,
    Channel.SMS: sms,
    Channel.WHATSAPP: whatsapp,
}


def live() -> list[str]:
    """Return the channels that can send."""
    return sorted(str(channel) for channel, sender in SENDERS.items() if sender.is_on())


def announce() -> None:
    """Say at start which channels are off, since nothing is sent on them."""
    for channel in sorted(set(Channel.values) - {Channel.IN_APP} - set(live())):
        log.warning("channel is off: set what it needs, see .env.example", channel=channel)
