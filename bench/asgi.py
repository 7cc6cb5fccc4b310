"""The site as it is served, with the addresses of the benches."""

from django.conf import settings

from config.asgi import application

settings.ROOT_URLCONF = "bench.urls"

__all__ = ["application"]
