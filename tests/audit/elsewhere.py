"""Another connection to the database, that holds what a test wants to find locked."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold an advisory lock, that nobody has, until the end of the block."""
    with _connection() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", [name])
        assert cursor.fetchone() == (True,), f"{name} is taken, perhaps by the test itself"
        yield
        cursor.execute("SELECT pg_advisory_unlock_all()")  # its end takes its time


@contextmanager
def row_locked(table: str, column: str, key: Any) -> Iterator[None]:
    """Hold the lock of a committed row until the end of the block."""
    with _connection() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(
            f"SELECT FROM {table} WHERE {column} = %s FOR NO KEY UPDATE NOWAIT",
            [key],
        )
        assert cursor.rowcount == 1
        yield
        cursor.execute("ROLLBACK")


@contextmanager
def _connection() -> Iterator[Any]:
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            yield cursor
    finally:
        other.close()
