"""Fill: offer a facility's open slots to those who wait, in one pass.

Loads the open slots and who fits them, lets `matching` choose, writes all offers in one statement.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import transaction
from django.db.models import Sum

from audit import events, locks, sql
from audit.events import Actor
from scheduling import slots
from waitlist import matching
from waitlist.models import Hold, Queue, WaitlistPolicy


@dataclass(frozen=True, slots=True)
class Filled:
    """What one pass did. `clashes` are pairs that were chosen and could not be written."""

    offers: int = 0
    fruitless: int = 0
    clashes: int = 0


class Busy(Exception):
    """Another pass is filling the facility."""


def facilities(*, now: datetime) -> list[UUID]:
    """Find the facilities where a pass may find something to do."""
    rows = sql.run(app="waitlist", name="find_fillable", params={"now": now})
    return [facility for (facility,) in rows]


@transaction.atomic
def fill(*, facility_id: UUID, now: datetime) -> Filled:
    """Offer what is open at a facility to those who wait; nothing in quiet hours.

    Locks provider, slot, entry.

    :raises Busy: if another pass is under way there.
    """
    if not locks.try_lock(name=locks.FILL, of=facility_id):
        raise Busy(str(facility_id))
    policy = WaitlistPolicy.objects.select_related("facility").filter(facility=facility_id).first()
    if policy is None or not policy.auto_invite or quiet_until(policy=policy, now=now):
        return Filled()
    # Read before the entries are: what changes after this is seen by the next pass.
    revision, visitors = revisions(facility_id=facility_id)
    open_slots = _lock_open(facility_id=facility_id, visitors_revision=visitors, now=now)
    if not open_slots:
        return Filled()
    pairs, versions = match(slot_ids=[slot.id for slot in open_slots], now=now)
    fitting = {pair.slot_id for pair in pairs}
    wanted = matching.reduce_overlaps(slots=[slot for slot in open_slots if slot.id in fitting])
    chosen = matching.best_score(slots=wanted, pairs=pairs)
    start = {slot.id: slot.start for slot in wanted}
    written = write(
        pairs=chosen,
        versions=[versions[pair.entry_id] for pair in chosen],
        deadlines=[
            deadline(policy=policy, slot_start=start[pair.slot_id], start=now) for pair in chosen
        ],
        source=Hold.Source.SCAN,
        actor=events.SYSTEM,
        now=now,
    )
    nobody = [slot.id for slot in open_slots if slot.id not in fitting]
    if nobody:
        sql.run(
            app="waitlist",
            name="note_fruitless",
            params={
                "slots": nobody,
                "now": now,
                "revision": revision,
                "visitors_revision": visitors,
            },
        )
    return Filled(len(written), len(nobody), len(chosen) - len(written))


def revisions(*, facility_id: UUID) -> tuple[int, int]:
    """Return the queue's revision, and that of the visitors of its tenant."""
    queue = Queue.objects.get(pk=facility_id)
    visitors = Queue.objects.filter(tenant=queue.tenant_id).aggregate(n=Sum("visitors_revision"))
    return queue.revision, int(visitors["n"])


def match(
    *, slot_ids: Sequence[UUID], now: datetime, entry_id: UUID | None = None
) -> tuple[list[matching.Pair], dict[UUID, int]]:
    """Find who fits which slot; return the pairs, and the version of each entry as it was read."""
    rows = sql.run(
        app="waitlist",
        name="match_entries",
        params={
            "slots": list(slot_ids),
            "entries": [entry_id] if entry_id else None,
            "now": now,
        },
    )
    pairs = [
        matching.Pair(slot, entry, requester, score, place)
        for slot, entry, _, requester, score, place in rows
    ]
    return pairs, {entry: version for _, entry, version, *_ in rows}


def write(
    *,
    pairs: Sequence[matching.Pair],
    versions: Sequence[int],
    deadlines: Sequence[datetime],
    source: Hold.Source,
    actor: Actor,
    now: datetime,
) -> dict[UUID, UUID]:
    """Write offers for locked slots; return the holds made, by entry."""
    if not pairs:
        return {}
    rows = sql.run(
        app="waitlist",
        name="write_offers",
        params={
            "slots": [pair.slot_id for pair in pairs],
            "entries": [pair.entry_id for pair in pairs],
            "versions": list(versions),
            "scores": [pair.score for pair in pairs],
            "deadlines": list(deadlines),
            "source": str(source),
            "actor_type": actor.type,
            "actor_id": actor.id,
            "now": now,
        },
    )
    return {entry: hold for hold, entry, _ in rows}


def deadline(*, policy: WaitlistPolicy, slot_start: datetime, start: datetime) -> datetime:
    """Say until when an offer made at `start` can be answered."""
    return min(start + policy.hold_window, slot_start - policy.min_notice)


def quiet_until(*, policy: WaitlistPolicy, now: datetime) -> datetime | None:
    """Return when the facility's quiet hours end, or None outside them."""
    if policy.quiet_from is None or policy.quiet_until is None:
        return None
    local = now.astimezone(ZoneInfo(policy.facility.timezone))
    time = local.time()
    if policy.quiet_from < policy.quiet_until:
        quiet = policy.quiet_from <= time < policy.quiet_until
    else:
        quiet = time >= policy.quiet_from or time < policy.quiet_until
    if not quiet:
        return None
    day = local.date() + timedelta(days=int(time >= policy.quiet_until))
    return datetime.combine(day, policy.quiet_until, tzinfo=local.tzinfo).astimezone(now.tzinfo)


def _lock_open(*, facility_id: UUID, visitors_revision: int, now: datetime) -> list[matching.Slot]:
    """Lock the providers and the slots that may be offered; return those that may still be."""
    found = _open(facility_id=facility_id, among=None, visitors_revision=visitors_revision, now=now)
    if not found:
        return []
    slots.lock_for_claim(slot_ids=[slot.id for slot in found])
    # Under the providers' locks no claim is made, so what is open and unclaimed now stays so.
    return _open(
        facility_id=facility_id,
        among=[slot.id for slot in found],
        visitors_revision=visitors_revision,
        now=now,
    )


def _open(
    *, facility_id: UUID, among: Collection[UUID] | None, visitors_revision: int, now: datetime
) -> list[matching.Slot]:
    rows = sql.run(
        app="waitlist",
        name="find_open_slots",
        params={
            "facility": facility_id,
            "slots": list(among) if among is not None else None,
            "visitors_revision": visitors_revision,
            "now": now,
        },
    )
    return [matching.Slot(*row) for row in rows]
