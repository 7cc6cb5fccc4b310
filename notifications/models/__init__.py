"""The tables: of what is told to `people`, and to `systems`."""

from notifications.models import people, systems
from notifications.models.people import (
    CalendarFeed,
    Channel,
    ChannelSwitch,
    InboundMessage,
    KnownPatient,
    Message,
    Preference,
    Template,
)
from notifications.models.systems import StreamCursor, WebhookDelivery, WebhookEndpoint

MOVES = {**people.MOVES, **systems.MOVES}

__all__ = (
    "MOVES",
    "CalendarFeed",
    "Channel",
    "ChannelSwitch",
    "InboundMessage",
    "KnownPatient",
    "Message",
    "Preference",
    "StreamCursor",
    "Template",
    "WebhookDelivery",
    "WebhookEndpoint",
)
