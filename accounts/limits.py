"""Rate limits, counted in Valkey so that they hold across processes.

A limit protects the service and is no promise: when Valkey is away requests pass, and the log says
so.
"""

import hashlib
import time
from functools import cache
from ipaddress import IPv6Address, IPv6Network

import structlog
from django.conf import settings
from limits import parse
from limits.errors import StorageError
from limits.storage import RedisStorage
from limits.strategies import MovingWindowRateLimiter
from redis.exceptions import RedisError
from rest_framework.exceptions import Throttled
from rest_framework.request import Request

log = structlog.get_logger(__name__)


def check(*, limit: str, who: str, share: str = "") -> None:
    """Count a request of `who` against `settings.RATE_LIMITS[limit]`, such as "10/minute".

    A tenant has a share of its own where `RATE_LIMITS` has a figure for `limit:tenant`; `share` is
    the tenant's id. What Valkey gets to see of `who` is a digest: it may be an address.

    :raises Throttled: if there were too many, with the seconds to wait.
    """
    figures = settings.RATE_LIMITS
    item = parse(figures.get(f"{limit}:{share}", figures[limit]))
    key = hashlib.sha256(who.encode()).hexdigest()
    try:
        limiter = _limiter(url=settings.REDIS_URL)
        if limiter.hit(item, limit, key):
            return
        reset_at = limiter.get_window_stats(item, limit, key).reset_time
    except (RedisError, StorageError) as error:
        log.warning("requests are not counted", limit=limit, error=type(error).__name__)
        return
    raise Throttled(wait=max(1, round(reset_at - time.time())))


def address(*, request: Request) -> str:
    """Return the address a request came from, behind as many proxies as `settings.PROXIES`.

    Of an IPv6 address it is the /64, all of which one caller has.
    """
    hops = request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")
    if settings.PROXIES and len(hops) >= settings.PROXIES:
        return _network(address=str(hops[-settings.PROXIES]).strip())
    return _network(address=str(request.META.get("REMOTE_ADDR", "")))


def _network(*, address: str) -> str:
    try:
        known = IPv6Address(address)
    except ValueError:
        return address
    if known.ipv4_mapped is not None:
        return str(known.ipv4_mapped)
    return str(IPv6Network((int(known), 64), strict=False))


@cache
def _limiter(*, url: str) -> MovingWindowRateLimiter:
    location = url.replace("unix://", "redis+unix://", 1) if url.startswith("unix:") else url
    storage = RedisStorage(
        location, key_prefix="limits", socket_connect_timeout=0.5, socket_timeout=0.5
    )
    return MovingWindowRateLimiter(storage)
