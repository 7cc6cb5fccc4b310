"""A gate in the middle of a statement: nobody writes a second hold before it is opened."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import connection

LOCK = 4711

CLOSE = f"""
CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('race.writer', true) = txid_current()::text THEN
        PERFORM pg_advisory_xact_lock_shared({LOCK});
    END IF;
    PERFORM set_config('race.writer', txid_current()::text, true);
    RETURN NEW;
END $$;
CREATE TRIGGER gate BEFORE INSERT ON waitlist_hold FOR EACH ROW EXECUTE FUNCTION gate();
SELECT pg_advisory_lock({LOCK});
"""
OPEN = "SELECT pg_advisory_unlock_all()"


@contextmanager
def closed() -> Iterator[Callable[[], None]]:
    """Close the gate and give what opens it; this session holds the lock that others wait for."""
    with connection.cursor() as cursor:
        cursor.execute(CLOSE)
        try:
            yield lambda: cursor.execute(OPEN)
        finally:
            cursor.execute(OPEN)
            cursor.execute("DROP TRIGGER gate ON waitlist_hold; DROP FUNCTION gate()")


def find_waiting() -> int | None:
    """Return the session that waits at the gate, having written something before."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_locks JOIN pg_stat_activity USING (pid)"
            " WHERE locktype = 'advisory' AND objid = %s AND NOT granted"
            " AND backend_xid IS NOT NULL",
            [LOCK],
        )
        found = cursor.fetchone()
        return found[0] if found else None
