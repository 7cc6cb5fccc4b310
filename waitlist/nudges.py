"""Nudges: those who have waited long are asked once whether they still do."""

from datetime import datetime
from uuid import UUID

from django.db import transaction

from audit import locks, sql
from audit.errors import check_version
from audit.events import Actor
from waitlist import entries
from waitlist.models import WaitlistEntry


def ask_due(*, now: datetime, limit: int) -> int:
    """Ask those with flexible dates who have waited long whether they still do; return how many.

    Locks entry.
    """
    return _sweep(name="nudge_entries", now=now, limit=limit)


@transaction.atomic
def answer(
    *, entry_id: UUID, interested: bool, actor: Actor, now: datetime, version: int | None = None
) -> WaitlistEntry:
    """Note that they still wait, or cancel because they do not. Locks queue, slot, hold, entry.

    :raises NotFound: if the entry is not there.
    :raises EntryClosed: if it has ended.
    :raises Stale: if its version is not the wanted one.
    """
    entry = entries.lock_active(entry_id=entry_id)
    check_version(version=entry.version, wanted=version)
    data = {"interested": interested}
    entries.record(kind="waitlist.nudge_answered", entry=entry, was=entry.status, actor=actor,
                   at=now, data=data)  # fmt: skip
    if not interested:
        return entries.cancel(entry_id=entry_id, reason="nudge_declined", actor=actor, now=now)
    entry.nudge_answered_at = now
    entry.save(update_fields=["nudge_answered_at"])
    return entry


def expire_due(*, now: datetime, limit: int) -> int:
    """End the entries of those who were asked and never answered; return how many. Locks entry."""
    return _sweep(name="expire_nudged", now=now, limit=limit)


@transaction.atomic
def _sweep(*, name: str, now: datetime, limit: int) -> int:
    if not locks.try_lock(name=locks.NUDGE):
        return 0
    return len(sql.run(app="waitlist", name=name, params={"now": now, "limit": limit}))
