"""The web process: `uvicorn config.asgi:application --timeout-graceful-shutdown 5`."""

import os
import warnings

from django.core.asgi import get_asgi_application
from django.utils.module_loading import import_string

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

# WhiteNoise hands files over in blocks, read as they are sent: they are small and that is fast.
warnings.filterwarnings("ignore", message="StreamingHttpResponse must consume synchronous")

application = get_asgi_application()
# Who answers by WhatsApp waits for a reply. By name: the models are loaded only now.
import_string("notifications.senders.load")(channels=["whatsapp"])
