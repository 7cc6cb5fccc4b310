"""Queues: the row that joins, edits, requeues, re-ranks and policies lock."""

from collections.abc import Collection
from uuid import UUID

from django.db.models import Case, F, Value, When

from audit.errors import NotFound, Refused
from waitlist.models import Queue


class QueueClosed(Refused):
    """The queue takes nobody: its facility is inactive, or its owner never answered."""

    code = "queue_closed"


def lock(*, facility_id: UUID) -> Queue:
    """Lock the queue of a facility.

    :raises NotFound: if there is no such facility.
    """
    queue = Queue.objects.select_for_update(no_key=True).filter(pk=facility_id).first()
    if queue is None:
        raise NotFound("facility", facility_id)
    return queue


def lock_free(*, facility_ids: Collection[UUID]) -> set[UUID]:
    """Lock those of the queues that nobody has locked, and return them."""
    found = Queue.objects.select_for_update(no_key=True, skip_locked=True)
    return set(found.filter(pk__in=facility_ids).order_by("pk").values_list("pk", flat=True))


def check_open(*, queue: Queue) -> None:
    """:raises QueueClosed: if nobody may join."""
    if queue.deactivated_at or not queue.facility.is_active:
        raise QueueClosed(f"The waitlist of {queue.facility_id} is closed.", field="facility")


def revise(*, facility_ids: Collection[UUID], visitors: Collection[UUID]) -> None:
    """Count the locked queues on: somebody may fit now who did not.

    `visitors` are those of them in which an entry that takes any facility changed.
    """
    guest = Case(When(pk__in=visitors, then=Value(1)), default=Value(0))
    Queue.objects.filter(pk__in=facility_ids).update(
        revision=F("revision") + 1, visitors_revision=F("visitors_revision") + guest
    )
