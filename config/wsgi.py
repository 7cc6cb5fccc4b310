"""The web process for servers that speak WSGI; live updates need `config.asgi`."""

import os

from django.core.wsgi import get_wsgi_application
from django.utils.module_loading import import_string

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

application = get_wsgi_application()
# Who answers by WhatsApp waits for a reply. By name: the models are loaded only now.
import_string("notifications.senders.load")(channels=["whatsapp"])
