"""Advisory locks: one run of each periodic job, one fill and one cascade per facility.

They end with the transaction. Row locks keep rows right; these only keep two runs from doing the
same work.
"""

from uuid import UUID

from django.db import connection

FILL = "waitlist.fill"
EXPIRE_ENTRIES = "waitlist.expire_entries"
NUDGE = "waitlist.nudge"
REMIND = "waitlist.remind"
CASCADE = "waitlist.cascade"
BREAKERS = "waitlist.breakers"
METRICS = "waitlist.metrics"
GENERATE = "scheduling.generate"
RFP_DEADLINES = "availability.rfp_deadlines"
INFER = "availability.infer"
RELAY = "notifications.relay"
IDEMPOTENCY = "accounts.idempotency"  # of a caller and a key


def try_lock(*, name: str, of: UUID | None = None) -> bool:
    """Take the lock `name`, for the facility `of` where it is one per facility; False if taken."""
    key = f"{name}:{of}" if of else name
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", [key])
        return bool(cursor.fetchone()[0])


def wait_lock(*, name: str, of: UUID | None = None) -> None:
    """Take the lock `name`, waiting for whoever has it."""
    key = f"{name}:{of}" if of else name
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [key])
