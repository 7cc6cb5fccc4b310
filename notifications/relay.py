"""The relay: gives each event its place in one order that never gains a late member.

Ids and times cannot be that order, since commits overtake each other. One relay runs at a time and
numbers only what has been committed, so what it numbers later comes later.
"""

from django.db import transaction

from audit import locks, sql


@transaction.atomic
def relay(*, limit: int) -> int:
    """Number at most `limit` unrelayed events; return how many. None while another relay runs."""
    if not locks.try_lock(name=locks.RELAY):
        return 0
    return len(sql.run(app="notifications", name="relay_events", params={"limit": limit}))
