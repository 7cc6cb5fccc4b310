"""Rate limits, counted in Valkey so that they hold across processes.

A limit protects the service and is no promise: when Valkey is away requests pass, and the log says
so.
"""

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from ipaddress import IPv6Address, IPv6Network
from uuid import UUID

import structlog
from django.conf import settings
from limits import RateLimitItem, parse
from limits.errors import StorageError
from limits.storage import RedisStorage
from limits.strategies import MovingWindowRateLimiter
from redis.exceptions import RedisError
from rest_framework.exceptions import Throttled
from rest_framework.request import Request

log = structlog.get_logger(__name__)


def check(*, limit: str, who: str, tenant: UUID | None, times: int = 1) -> None:
    """Count a request of `who`, as `count` does.

    :raises Throttled: if there were too many, with the seconds to wait.
    """
    wait = count(limit=limit, who=who, tenant=tenant, times=times)
    if wait:
        raise Throttled(wait=wait)


def count(*, limit: str, who: str, tenant: UUID | None, times: int = 1) -> int:
    """Count what `who` does against `settings.RATE_LIMITS[limit]`, such as "10/minute".

    `tenant` is where they do it, None if that is not known: it has a share of its own where
    `RATE_LIMITS` has a figure for `limit:tenant`. What Valkey gets to see of `who` is a digest: it
    may be an address. What is worth several is counted `times`.

    :returns: 0, or if there were too many, the seconds to wait.
    """
    item, key = figure(limit=limit, tenant=tenant), _key(who=who)
    with _counting(limit=limit):
        limiter = _limiter(url=settings.REDIS_URL)
        if not limiter.hit(item, limit, key, cost=times):
            reset_at = limiter.get_window_stats(item, limit, key).reset_time
            return max(1, round(reset_at - time.time()))
    return 0


def room(*, limit: str, who: str, tenant: UUID | None) -> int:
    """Say whether what `who` does next would be too much, and count nothing.

    :returns: 0, or the seconds to wait.
    """
    item, key = figure(limit=limit, tenant=tenant), _key(who=who)
    with _counting(limit=limit):
        limiter = _limiter(url=settings.REDIS_URL)
        if not limiter.test(item, limit, key):
            reset_at = limiter.get_window_stats(item, limit, key).reset_time
            return max(1, round(reset_at - time.time()))
    return 0


def forget(*, limit: str, who: str, tenant: UUID | None) -> None:
    """Count from the start again."""
    with _counting(limit=limit):
        limiter = _limiter(url=settings.REDIS_URL)
        limiter.clear(figure(limit=limit, tenant=tenant), limit, _key(who=who))


def address(*, request: Request) -> str:
    """Return the address a request came from, behind as many proxies as `settings.PROXIES`.

    Of an IPv6 address it is the /64, all of which one caller has.
    """
    hops = request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")
    if settings.PROXIES and len(hops) >= settings.PROXIES:
        return _network(address=str(hops[-settings.PROXIES]).strip())
    return _network(address=str(request.META.get("REMOTE_ADDR", "")))


def figure(*, limit: str, tenant: UUID | None) -> RateLimitItem:
    """Return how often one may, in a tenant."""
    figures = settings.RATE_LIMITS
    return parse(figures.get(f"{limit}:{tenant}", figures[limit]))


def _key(*, who: str) -> str:
    return hashlib.sha256(who.encode()).hexdigest()


@contextmanager
def _counting(*, limit: str) -> Iterator[None]:
    """Do without Valkey where it is away."""
    try:
        yield
    except (RedisError, StorageError) as error:
        log.warning("requests are not counted", limit=limit, error=type(error).__name__)


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
