"""The order in a queue.

Priority grows linearly with waiting, so the order between two entries never changes by itself: a
stored key orders them, and what people see as their score is the key plus the time gone by.
"""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.db import transaction

from audit import sql
from scheduling.models import Patient
from waitlist.models import WaitlistEntry, WaitlistPolicy

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
FIRST_PLACES = 3  # of which people are told that they have come to them
SHORT_WINDOW = timedelta(days=7)
#: The fields of a policy that a key is computed from.
WEIGHTS = frozenset(
    {"ordering", "wait_per_day", "membership", "chronic", "short_window", "urgency"}
)


def days(*, at: datetime) -> float:
    """Days from 2000-01-01T00Z, fractional; the same number that sql/rank_entries.sql computes."""
    return ((at - EPOCH) // timedelta(microseconds=1)) / 86_400_000_000


def rank_key(*, entry: WaitlistEntry, policy: WaitlistPolicy, patient: Patient | None) -> float:
    """Compute an entry's key: larger goes first. In fifo only the time of joining counts."""
    waited = -policy.wait_per_day * days(at=entry.joined_at)
    if policy.ordering == WaitlistPolicy.Ordering.FIFO:
        return waited
    short = entry.latest is not None and entry.latest - entry.joined_at <= SHORT_WINDOW
    merit = policy.short_window * short + policy.urgency * entry.urgency
    if patient is not None:
        merit += policy.membership * patient.tier + policy.chronic * patient.chronic_condition
    return merit + waited


def priority_score(*, entry: WaitlistEntry, policy: WaitlistPolicy, now: datetime) -> float:
    """Say what an entry's priority is at `now`, in points."""
    return entry.rank_key + policy.wait_per_day * days(at=now)


def position(*, entry: WaitlistEntry) -> int | None:
    """Return 1 for who goes first among those active here for this service; None if ended."""
    return positions(entry_ids=[entry.pk]).get(entry.pk)


def positions(*, entry_ids: Collection[UUID]) -> dict[UUID, int]:
    """Return the position of each of the entries that is active, in one statement."""
    rows = sql.run(app="waitlist", name="find_positions", params={"entries": list(entry_ids)})
    return dict(rows)


@transaction.atomic
def tell_positions(*, now: datetime, limit: int, facility_id: UUID | None = None) -> int:
    """Note who has come among the first of their queue and service, once; return how many.

    At one facility, or at all. Locks entry.
    """
    params = {"facility": facility_id, "places": FIRST_PLACES, "limit": limit, "now": now}
    return len(sql.run(app="waitlist", name="tell_positions", params=params))


def rerank(*, facility_ids: Collection[UUID], patient_id: UUID | None = None) -> int:
    """Compute the keys of the active entries of locked queues anew; return how many changed.

    With `patient_id`, of this patient's entries only.
    """
    rows = sql.run(
        app="waitlist",
        name="rank_entries",
        params={"facilities": list(facility_ids), "patient": patient_id},
    )
    return len(rows)
