"""Pages of what is told: to `people`, and to `systems`."""

from notifications.admin.people import MessageAdmin
from notifications.admin.systems import WebhookEndpointAdmin

__all__ = ("MessageAdmin", "WebhookEndpointAdmin")
