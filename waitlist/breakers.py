"""Breakers: a queue stops that offers its whole place to one after the other, and nobody answers.

How many offers lapsed in a row is counted from the holds, since the last one that was answered or
given back in time and since the breaker was last resolved. The owner is asked, and says that offers
go on; who does not for long has the queue deactivated until they do.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction

from audit import events, locks, sql
from audit.errors import Refused
from audit.events import Actor
from waitlist import cascades, queues
from waitlist.models import CircuitBreaker, Queue

Status = CircuitBreaker.Status


class NoBreaker(Refused):
    """No breaker has stopped this waitlist."""

    code = "no_breaker"


@dataclass(frozen=True, slots=True)
class Resumed:
    """What follows when offers may go on: whether the place is vacant, and was offered at once."""

    cascade_resumed: bool
    next_entry_offered: bool


def trip(*, facility_ids: Collection[UUID], now: datetime) -> int:
    """Stop those of the locked queues whose last offers all lapsed; return how many.

    As many in a row as the policy says; not where a breaker is open already.
    """
    params = {"facilities": list(facility_ids), "now": now}
    return len(sql.run(app="waitlist", name="trip_breakers", params=params))


@transaction.atomic
def resolve(*, facility_id: UUID, actor: Actor, now: datetime) -> Resumed:
    """Let offers go on where a breaker has stopped them, with the next who waits.

    A deactivated queue takes people again. Locks queue, entry.

    :raises NotFound: if there is no such facility.
    :raises NoBreaker: if none is open.
    """
    queues.lock(facility_id=facility_id)
    breakers = CircuitBreaker.objects.filter(facility=facility_id).exclude(status=Status.RESOLVED)
    breaker = breakers.first()
    if breaker is None:
        raise NoBreaker(f"No breaker has stopped the waitlist of {facility_id}.")
    CircuitBreaker.objects.filter(pk=breaker.pk, status=breaker.status).update(
        status=Status.RESOLVED,
        resolved_at=now,
        resolved_by=actor.id if actor.type == "user" else None,
    )
    Queue.objects.filter(pk=facility_id).update(deactivated_at=None)
    queues.revise(facility_ids=[facility_id], visitors=[facility_id])
    events.record(
        kind="waitlist.circuit_breaker_resolved",
        tenant_id=breaker.tenant_id,
        subject_type="breaker",
        subject_id=breaker.pk,
        actor=actor,
        at=now,
        facility_id=facility_id,
        previous_status=breaker.status,
        new_status=Status.RESOLVED,
    )
    hold = cascades.offer_next(facility_id=facility_id, now=now)
    return Resumed(
        cascade_resumed=cascades.vacant_since(facility_id=facility_id) is not None,
        next_entry_offered=hold is not None,
    )


@transaction.atomic
def deactivate_due(*, now: datetime, limit: int) -> int:
    """Deactivate queues whose owners let their time to resolve pass; return how many. Locks queue.

    Nobody can join them until then; who waits stays, and ages.
    """
    if not locks.try_lock(name=locks.BREAKERS):
        return 0
    params = {"now": now, "limit": limit}
    return len(sql.run(app="waitlist", name="deactivate_breakers", params=params))
