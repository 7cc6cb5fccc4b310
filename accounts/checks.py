"""What a deployment must not get wrong; `manage.py check --deploy` tells."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register


@register(Tags.security, deploy=True)
def check_proxies(**_given: Any) -> list[CheckMessage]:
    """Tell if rate limits would take the proxy in front for every caller."""
    behind = getattr(settings, "SECURE_PROXY_SSL_HEADER", None)
    if not behind or settings.PROXIES > 0:
        return []
    return [
        Error(
            "BEHIND_TLS_PROXY is set and PROXIES is 0: all callers would share one rate limit.",
            hint="Set PROXIES to how many proxies add to X-Forwarded-For.",
            id="accounts.E001",
        )
    ]
