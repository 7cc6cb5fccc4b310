"""Rate limits, counted in Valkey so that they hold across processes.

A limit protects the service and is no promise: when Valkey is away requests pass, and the log says so.
"""

import time
from functools import cache

import structlog
from django.conf import settings
from limits import parse
from limits.errors import StorageError
from limits.storage import RedisStorage
from limits.strategies import MovingWindowRateLimiter
from redis.exceptions import RedisError
from rest_framework.exceptions import Throttled

log = structlog.get_logger(__name__)


def check(*, limit: str, who: str, share: str = "") -> None:
    """Count a request of `who` against `settings.RATE_LIMITS[limit]`, such as "10/minute".

    A tenant has a share of its own where `RATE_LIMITS` has a figure for `limit:tenant`; `share` is
    the tenant's id.

    :raises Throttled: if there were too many, with the seconds to wait.
    """
    figures = settings.RATE_LIMITS
    item = parse(figures.get(f"{limit}:{share}", figures[limit]))
    try:
        if _limiter().hit(item, limit, who):
            return
        reset_at = _limiter().get_window_stats(item, limit, who).reset_time
    except (RedisError, StorageError) as error:
        log.warning("requests are not counted", limit=limit, error=type(error).__name__)
        return
    raise Throttled(wait=max(1, round(reset_at - time.time())))


@cache
def _limiter() -> MovingWindowRateLimiter:
    url = settings.REDIS_URL
    address = url.replace("unix://", "redis+unix://", 1) if url.startswith("unix:") else url
    storage = RedisStorage(
        address, key_prefix="limits", socket_connect_timeout=0.5, socket_timeout=0.5
    )
    return MovingWindowRateLimiter(storage)
