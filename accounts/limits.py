"""Rate limits, counted in Valkey so that they hold across processes.

A limit protects the service and is no promise: when Valkey is away requests pass, and the log says
so.
"""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv6Address, IPv6Network

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


def check(*, limit: str, who: str, share: str = "") -> None:
    """Count a request of `who` against `settings.RATE_LIMITS[limit]`, such as "10/minute".

    A tenant has a share of its own where `RATE_LIMITS` has a figure for `limit:tenant`; `share` is
    the tenant's id. What Valkey gets to see of `who` is a digest: it may be an address.

    :raises Throttled: if there were too many, with the seconds to wait.
    """
    full = count(limits={limit: who}, share=share)
    if full is not None:
        raise Throttled(wait=full.wait)


@dataclass(frozen=True, slots=True)
class Full:
    """A limit without room, and the seconds until it has some."""

    limit: str
    wait: int


def count(*, limits: Mapping[str, str], share: str) -> Full | None:
    """Count something against several limits, each of whom it says, if all have room for it.

    Else it is counted against none; return the first that has none.
    """
    try:
        limiter = _limiter(url=settings.REDIS_URL)
        asked = [
            (figure(limit=limit, share=share), limit, hashlib.sha256(who.encode()).hexdigest())
            for limit, who in limits.items()
        ]
        full = [one for one in asked if not limiter.test(*one)]
        full = full or [one for one in asked if not limiter.hit(*one)]
        if not full:
            return None
        reset_at = limiter.get_window_stats(*full[0]).reset_time
    except (RedisError, StorageError) as error:
        log.warning("requests are not counted", limits=sorted(limits), error=type(error).__name__)
        return None
    return Full(full[0][1], max(1, round(reset_at - time.time())))


def figure(*, limit: str, share: str) -> RateLimitItem:
    """Return how often one may, by a limit and in a tenant."""
    figures = settings.RATE_LIMITS
    return parse(figures.get(f"{limit}:{share}", figures[limit]))


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
