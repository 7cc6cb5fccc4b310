"""Fill: offer a facility's open slots to those who wait, in one pass.

Loads the open slots and who fits them, lets `matching` choose, writes all offers in one statement.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import transaction
from django.db.models import OuterRef, QuerySet, Subquery, Sum

from audit import events, locks, sql
from audit.events import Actor
from scheduling import slots
from waitlist import candidates, matching, revisions
from waitlist.fitting import Board, Id, Slot
from waitlist.matching import Candidate, Choice
from waitlist.models import Hold, Queue, WaitlistPolicy

SCAN = timedelta(minutes=5)  # between two scans, as beat has it


@dataclass(frozen=True, slots=True)
class Filled:
    """What one pass did.

    `clashes` are pairs that were chosen and could not be written; `left` are slots that wait for
    another pass, because the queue is too long to be held against all at once.
    """

    offers: int = 0
    fruitless: int = 0
    clashes: int = 0
    left: int = 0


class Busy(Exception):
    """Another pass is filling the facility."""


class Offer(NamedTuple):
    """What is to be written: the slot, and the entry as it was read."""

    slot: Slot
    entry: Id
    version: int
    score: int


def facilities(*, now: datetime) -> list[UUID]:
    """Count what changed, and find the facilities where a pass may find something to do.

    Locks queue.
    """
    opened = _find_opened(now=now)
    if opened and revisions.count():
        opened = _find_opened(now=now)  # where visitors may go, too
    if not opened:
        return []
    params = {"facilities": opened, "now": now}
    return [one for (one,) in sql.run(app="waitlist", name="find_fillable", params=params)]


def _find_opened(*, now: datetime) -> list[UUID]:
    return [one for (one,) in sql.run(app="waitlist", name="find_opened", params={"now": now})]


def passes(
    *,
    facility_id: UUID,
    clock: Callable[[], datetime],
    changed: Collection[UUID] | None = None,
) -> Iterator[Filled]:
    """Fill a facility in as many passes as its slots need, each with transaction and time its own.

    With `changed` only what concerns these slots and entries; see `fill`.

    :raises Busy: if another pass is under way there.
    """
    is_long = False
    while True:
        filled = fill(facility_id=facility_id, now=clock(), changed=changed, is_long=is_long)
        is_long = bool(filled.left)
        yield filled
        if not filled.left or not filled.offers + filled.fruitless:
            return


@transaction.atomic
def fill(
    *,
    facility_id: UUID,
    now: datetime,
    changed: Collection[UUID] | None = None,
    is_long: bool = False,
) -> Filled:
    """Offer what is open at a facility to those who wait; nothing in quiet hours.

    `changed` are slots that were freed and entries that did not wait before: with them, only these
    slots are offered, and those that these entries may take, with what overlaps them, each to
    whoever is first. It is no use where more has come together: just after quiet hours.
    Of a queue that the pass before found too long (`is_long`), only the slots that it can be held
    against at once are locked. Locks provider, slot, entry.

    :raises Busy: if another pass is under way there.
    """
    if not locks.try_lock(name=locks.FILL, of=facility_id):
        raise Busy(str(facility_id))
    policy = policies().filter(facility=facility_id).first()
    if policy is None or not is_on(policy=policy) or quiet_until(policy=policy, now=now):
        return Filled()
    if quiet_until(policy=policy, now=now - SCAN):
        changed = None  # else who may take anything that came free is given what others need
    # Read before the entries are: what changes after this is seen by the next pass.
    seen = {
        "revision": policy.facility.queue.revision,
        "visitors_revision": policy.visitors_revision,
        "supply_revision": policy.facility.queue.supply_revision,
    }
    opened = find_open(policy=policy, seen=seen, now=now, changed=changed)
    if not opened:
        if changed is None:
            _note_dry(policy=policy, seen=seen, now=now)
        return Filled()
    first = opened
    if is_long:
        few = _few(free=load_slots(slot_ids=opened, policy=policy), policy=policy)
        first = [slot.id for slot in few]
    slots.lock_many_for_claim(slot_ids=first)
    # Under the providers' locks no claim is made, so what is open and unclaimed now stays so.
    free = load_slots(slot_ids=first, policy=policy)
    board, choice, found = _choose(free=free, policy=policy, now=now)
    written = write(
        offers=offers(board=board, choice=choice, found=found),
        policy=policy,
        start=now,
        source=Hold.Source.SCAN,
        actor=events.SYSTEM,
        now=now,
    )
    left = len(opened) - len(first) + len(free) - len(board.slots)
    vain = board.all & ~choice.fitted
    nobody = [slot.id for slot in board.slots if board.bit[slot.id] & vain]
    if nobody:
        sql.run(
            app="waitlist",
            name="note_fruitless",
            params={**seen, "slots": sql.array(values=nobody), "now": now},
        )
    # What a claim hides is nothing to try: the end of the claim changes the queue.
    is_through = changed is None and not left and not choice.pairs
    if is_through and not find_open(policy=policy, seen=seen, now=now):
        _note_dry(policy=policy, seen=seen, now=now)
    return Filled(len(written), len(nobody), len(choice.pairs) - len(written), left)


def _choose(
    *, free: Sequence[Slot], policy: WaitlistPolicy, now: datetime
) -> tuple[Board, Choice, list[Candidate]]:
    """Hold the slots against those who may matter, and against all only if that may change it.

    Of a queue too long for that only a few slots are held against it, which are the board's.
    """
    board = candidates.board(slots=free, policy=policy)
    reach = candidates.reach(policy=policy)
    limit = max(candidates.LEAST, candidates.HEAD * len(free))
    found, first = candidates.find_first(board=board, policy=policy, now=now, limit=limit)
    choice = choose(board=board, found=found, policy=policy)
    top = None if candidates.is_full(policy=policy) else board.top
    if matching.is_final(choice=choice, slots=board.slots, candidates=found, first=first, top=top):
        return board, choice, found
    if len(free) > reach and candidates.is_long(policy=policy):
        return _choose(free=_few(free=free, policy=policy), policy=policy, now=now)
    way = candidates.find if len(free) > reach else candidates.walk
    found = way(board=board, policy=policy, now=now)
    return board, choose(board=board, found=found, policy=policy), found


def _few(*, free: Sequence[Slot], policy: WaitlistPolicy) -> list[Slot]:
    """Pick the slots that a long queue is held against first: no other stands in their way."""
    by_start = sorted(free, key=lambda slot: (slot.start, slot.id))
    return matching.find_sure(slots=by_start)[: candidates.reach(policy=policy)]


def policies() -> QuerySet[Any]:
    """Return the policies, with their facilities and what the visitors of their tenants came to."""
    tenants = Queue.objects.filter(tenant=OuterRef("tenant")).order_by().values("tenant")
    visitors = tenants.annotate(n=Sum("visitors_revision")).values("n")
    return WaitlistPolicy.objects.select_related("facility__queue").annotate(
        visitors_revision=Subquery(visitors)
    )


def is_on(*, policy: WaitlistPolicy) -> bool:
    """Whether the scan may offer anything at the facility."""
    facility = policy.facility
    is_open = facility.is_active and facility.queue.deactivated_at is None
    return is_open and policy.auto_invite


def find_open(
    *,
    policy: WaitlistPolicy,
    seen: dict[str, int] | None,
    now: datetime,
    changed: Collection[UUID] | None = None,
) -> list[Id]:
    """Find the slots that may be offered now, by start.

    With `seen`, of what was tried in vain only what the queue has changed for since. With
    `changed`, only what concerns these slots and entries.
    """
    after = now + policy.min_notice
    times = {"after": after, "first": after + policy.min_hold, "last": now + policy.look_ahead}
    among = None
    if changed is not None:
        params = {**times, "facility": policy.facility_id, "changed": sql.array(values=changed)}
        found = sql.run(app="waitlist", name="find_concerned", params=params)
        among = sql.array(values=(slot for (slot,) in found))
    rows = sql.run(
        app="waitlist",
        name="find_open_slots",
        params={
            **times,
            **(seen or {"revision": None, "visitors_revision": None}),
            "facility": policy.facility_id,
            "slots": among,
            "now": now,
        },
    )
    return [slot for (slot,) in rows]


def load_slots(
    *, slot_ids: Collection[Id], policy: WaitlistPolicy, claimable: bool = True
) -> list[Slot]:
    """Read slots of a facility as a board takes them: those that can be claimed, or all."""
    rows = sql.run(
        app="waitlist",
        name="load_slots",
        params={
            "slots": sql.array(values=slot_ids),
            "timezone": policy.facility.timezone,
            "claimable": claimable,
        },
    )
    return [Slot(*row) for row in rows]


def choose(*, board: Board, found: Sequence[Candidate], policy: WaitlistPolicy) -> Choice:
    """Choose who gets which slot, as the policy has it."""
    return matching.choose(
        slots=board.slots, candidates=found, is_full=candidates.is_full(policy=policy)
    )


def offers(*, board: Board, choice: Choice, found: Sequence[Candidate]) -> list[Offer]:
    """Name what was chosen."""
    return [
        Offer(board.slots[slot], found[n].entry, found[n].version, score)
        for slot, n, score in choice.pairs
    ]


def write(
    *,
    offers: Sequence[Offer],
    policy: WaitlistPolicy,
    start: datetime,
    source: Hold.Source,
    actor: Actor,
    now: datetime,
) -> dict[Id, UUID]:
    """Write offers for locked slots, to be answered from `start` on; return the holds, by entry."""
    if not offers:
        return {}
    deadlines = (
        deadline(policy=policy, slot_start=candidates.at(microseconds=one.slot.start), start=start)
        for one in offers
    )
    rows = sql.run(
        app="waitlist",
        name="write_offers",
        params={
            "slots": sql.array(values=(offer.slot.id for offer in offers)),
            "entries": sql.array(values=(offer.entry for offer in offers)),
            "versions": sql.array(values=(offer.version for offer in offers)),
            "scores": sql.array(values=(offer.score for offer in offers)),
            "deadlines": sql.array(values=(one.isoformat() for one in deadlines)),
            "source": str(source),
            "actor_type": actor.type,
            "actor_id": actor.id,
            "start": start,
            "now": now,
        },
    )
    return dict(rows)


def leaves_time(*, policy: WaitlistPolicy, slot_start: datetime, now: datetime) -> bool:
    """Whether a slot starts late enough for an offer to be made and answered."""
    last = slot_start - policy.min_notice
    return last > now and last - now >= policy.min_hold


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


def _note_dry(*, policy: WaitlistPolicy, seen: dict[str, int], now: datetime) -> None:
    """Note that a facility has no slot left to try, so that the scan passes it by."""
    sql.run(
        app="waitlist",
        name="note_dry",
        params={**seen, "facility": policy.facility_id, "now": now},
    )
