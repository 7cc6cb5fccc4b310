"""The two probes: `/healthz`, the process answers; `/readyz`, it can do its work."""

from collections.abc import Callable
from functools import cache

import redis
from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.deprecation import MiddlewareMixin


class NotMigrated(Exception):
    """The database lacks migrations that this code has."""


def healthz(request: HttpRequest) -> JsonResponse:
    """Answer that the process is alive; says nothing of the servers it needs."""
    return JsonResponse({"status": "alive"})


def readyz(request: HttpRequest) -> JsonResponse:
    """Answer 200 when every part works, else 503 with the parts that failed.

    The body holds the class of an error, never its text: that may name hosts and accounts.
    """
    parts = {name: outcome(check=check) for name, check in CHECKS.items()}
    ready = all(result == "ok" for result in parts.values())
    return JsonResponse(
        {"status": "ready" if ready else "not ready", "parts": parts}, status=200 if ready else 503
    )


def outcome(*, check: Callable[[], None]) -> str:
    """Run one check and say `ok` or the class of what it raised."""
    try:
        check()
    except Exception as error:  # whatever is wrong with a part is the answer
        return type(error).__name__
    return "ok"


def check_database() -> None:
    """Ask PostgreSQL for something."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def check_valkey() -> None:
    """Ask Valkey for something."""
    client = redis.Redis.from_url(settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=2)
    with client:
        client.ping()


@cache  # of success only: a database that has them keeps them
def check_migrations() -> None:
    """Compare the migrations on disk with those applied.

    :raises NotMigrated: if some are missing.
    """
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise NotMigrated


CHECKS: dict[str, Callable[[], None]] = {
    "database": check_database,
    "valkey": check_valkey,
    "migrations": check_migrations,
}
PROBES = {"/healthz": healthz, "/readyz": readyz}


class ProbeMiddleware(MiddlewareMixin):
    """Answer probes before anything else can refuse them.

    A probe comes over plain HTTP and calls the process by its address: the redirect to HTTPS and
    the check of ALLOWED_HOSTS would both turn it away. It is not logged either.
    """

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        probe = PROBES.get(request.path)
        return probe(request) if probe else None
