"""The one clock. Rows from many machines are compared with it, so the database keeps it."""

from datetime import datetime

from django.db import connection


def now() -> datetime:
    """Return the database's time in UTC, also inside a transaction that began earlier."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement_timestamp()")
        return cursor.fetchone()[0]  # type: ignore[no-any-return]
