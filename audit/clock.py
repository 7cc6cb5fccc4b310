"""The one clock. Rows from many machines are compared with it, so the database keeps it."""

from datetime import UTC, datetime, tzinfo

from django.db import connection
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange


def now() -> datetime:
    """Return the database's time in UTC, also inside a transaction that began earlier."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement_timestamp()")
        return cursor.fetchone()[0]  # type: ignore[no-any-return]


def span(*, period: DateTimeTZRange, zone: tzinfo = UTC) -> str:
    """Write a period by the clock of a zone, which it names."""
    start, end = period.lower.astimezone(zone), period.upper.astimezone(zone)
    until = "%H:%M" if start.date() == end.date() else "%a %d %b %Y %H:%M"
    return f"{start:%a %d %b %Y %H:%M} – {end.strftime(until)} {end:%Z}"
