"""The demo's servers: whether they are its own, emptying them, and one demo at a time."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
from django.conf import settings
from django.db import OperationalError, connection, transaction

from config import embedded
from config.embedded import locks, places


class Refused(Exception):
    """The demo does not do this, and says why."""


def is_embedded(*, folder: Path) -> bool:
    """Say whether both servers are those that `folder` holds the data of."""
    return all(
        os.environ.get(name)
        == kind.url(place=places.prepare(folder=folder, kind=kind, scratch=False))
        for name, kind in embedded.KINDS.items()
    )


def reset(*, folder: Path) -> None:
    """Empty the embedded servers: the tables go too, and come back with the migrations.

    :raises Refused: if a server is not embedded, or somebody works on the database.
    """
    if not is_embedded(folder=folder):
        raise Refused(
            "--reset empties the servers that Backfill starts itself. DATABASE_URL or REDIS_URL"
            " names others: unset both, or empty those yourself."
        )
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '5s'")
            cursor.execute("DROP SCHEMA public CASCADE")
            cursor.execute("CREATE SCHEMA public")
    except OperationalError as error:
        raise Refused(f"The database is in use, so it stays as it is: {error}") from None
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.flushdb()


@contextmanager
def alone(*, folder: Path) -> Iterator[None]:
    """Keep two demos from playing on the same servers.

    :raises Refused: if another one is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / "demo.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        if not locks.attempt(lock=lock):
            raise Refused(f"Another demo runs in {folder}: end it first (Ctrl-C).")
        yield
    finally:
        os.close(lock)
