"""What waits in the real broker's queues."""

import base64
import json
from typing import Any, cast

import redis
from django.conf import settings
from django.core.cache import cache

from audit import events

QUEUES = tuple(queue.name for queue in settings.CELERY_TASK_QUEUES)


def texts() -> list[str]:
    """Return each message as it lies there, with all that goes with it, in no order."""
    client = _client()
    found = [raw for queue in QUEUES for raw in cast(list[bytes], client.lrange(queue, 0, -1))]
    client.close()
    return [raw.decode() for raw in found]


def messages() -> list[tuple[str, str, list[Any]]]:
    """Return queue, task and arguments of each message, the oldest first."""
    found = []
    client = _client()
    for queue in QUEUES:
        for raw in reversed(cast(list[bytes], client.lrange(queue, 0, -1))):
            message = json.loads(raw)
            arguments, *_ = json.loads(base64.b64decode(message["body"]))
            found.append((queue, message["headers"]["task"], arguments))
    client.close()
    return found


def empty() -> None:
    """Throw all messages away."""
    cache.delete(events.HURRIED)
    client = _client()
    client.delete(*QUEUES, "unacked", "unacked_index", "unacked_mutex")
    client.close()


def _client() -> redis.Redis:
    return redis.Redis.from_url(settings.REDIS_URL)
