"""Candidates: those who wait and fit a run's slots, loaded no further than can matter."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any
from uuid import UUID

from audit import sql
from scheduling.models import Service
from waitlist.fitting import Board, Entry, Id, Slot, Weights, Wish
from waitlist.matching import Candidate
from waitlist.models import WaitlistPolicy

#: A queue of more is not loaded whole, but walked for a few slots at a time.
WHOLE = 100_000
WALKED = 4
#: How many are looked at first, for each slot and at least, before all.
HEAD = 2
LEAST = 20

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
NONE = str(UUID(int=0))  # what the indexes have in place of no service and no provider


def weights(*, policy: WaitlistPolicy) -> Weights:
    """Return the weights of a facility's matches."""
    return Weights(
        provider=policy.match_provider,
        location=policy.match_location,
        service=policy.match_service,
        days=policy.match_days,
        minimum=policy.min_match_score,
    )


def board(*, slots: Sequence[Slot], policy: WaitlistPolicy) -> Board:
    """Set up the board of a run."""
    durations = Service.objects.filter(tenant=policy.tenant_id).values_list("id", "duration")
    return Board(
        slots=slots,
        weights=weights(policy=policy),
        durations={str(service): duration // MICROSECOND for service, duration in durations},
    )


def reach(*, policy: WaitlistPolicy) -> int:
    """Return for how many slots at once a pass walks.

    For `max_fill` for one: somebody with two entries has the place of the first, which a walk for
    the slots that only the second fits does not come by.
    """
    return 1 if is_full(policy=policy) else WALKED


def is_full(*, policy: WaitlistPolicy) -> bool:
    """Whether as many are served as can be."""
    return policy.matching == WaitlistPolicy.Matching.MAX_FILL


def is_long(*, policy: WaitlistPolicy) -> bool:
    """Whether more wait for a facility than are loaded whole."""
    [(waiting,)] = sql.run(
        app="waitlist", name="count_waiting", params={**_queue(policy), "limit": WHOLE + 1}
    )
    return bool(waiting > WHOLE)


def find_first(
    *, board: Board, policy: WaitlistPolicy, now: datetime, limit: int
) -> tuple[list[Candidate], int]:
    """Find who of the first of a facility's queue fits what, in the order of the run, and how many.

    For `max_fill` also what else the same people wait for here, which follows those first.
    """
    if not is_full(policy=policy):
        found = find(board=board, policy=policy, now=now, limit=limit)
        return found, len(found)
    is_first = _find_kin(policy=policy, limit=limit)
    found = find(board=board, policy=policy, now=now, entries=is_first)
    return found, sum(is_first[one.entry] for one in found)


def find(
    *,
    board: Board,
    policy: WaitlistPolicy,
    now: datetime,
    entries: Collection[Id] | None = None,
    limit: int | None = None,
) -> list[Candidate]:
    """Find who of those whom `load` reads fits what, in the order of the run."""
    loaded = load(policy=policy, now=now, entries=entries, limit=limit)
    if limit is not None:
        loaded = list(loaded)
        entries = [entry.id for entry in loaded]
    bars = find_bars(board=board, policy=policy, entries=entries)
    return [
        Candidate(entry.id, entry.version, entry.requester, levels)
        for entry in loaded
        if (levels := board.fits(entry=entry, bars=bars.get(entry.id)))
    ]


def load(
    *,
    policy: WaitlistPolicy,
    now: datetime,
    entries: Collection[Id] | None = None,
    limit: int | None = None,
) -> Iterable[Entry]:
    """Read those who wait, in the order of the run.

    All, or the given entries as far as they wait, or up to `limit` the first of the facility's own.
    """
    params = {**_queue(policy), "entries": _array(entries), "limit": limit, "now": now}
    return _entries(sql.run(app="waitlist", name="load_entries", params=params))


def stream(*, policy: WaitlistPolicy, now: datetime) -> Iterator[Entry]:
    """Read those who wait, however many, a few thousand at a time; in a transaction."""
    params = {**_queue(policy), "entries": None, "limit": None, "now": now}
    return _entries(sql.stream(app="waitlist", name="load_entries", params=params))


def _entries(rows: Iterable[tuple[Any, ...]]) -> Iterator[Entry]:
    for entry, version, requester, visitor, service, provider, required, days, time, *rest in rows:
        wish = Wish(visitor, service, provider, required, days, time)
        yield Entry(entry, version, requester, wish, *rest)


def find_bars(
    *, board: Board, policy: WaitlistPolicy, entries: Collection[Id] | None = None
) -> dict[Id, dict[str, int]]:
    """Find what keeps those who wait, or the given entries, from slots, whatever they wish."""
    rows = sql.run(
        app="waitlist",
        name="find_bars",
        params={**_queue(policy), "slots": sql.array(values=board.bit), "entries": _array(entries)},
    )
    bars: dict[Id, dict[str, int]] = {}
    for entry, slot, rule in rows:
        mine = bars.setdefault(entry, {})
        mine[rule] = mine.get(rule, 0) | board.bit[slot]
    return bars


def walk(*, board: Board, policy: WaitlistPolicy, now: datetime) -> list[Candidate]:
    """Find of a queue of any length those whom the slots would take first: as many as slots, each.

    `find` on all who wait leads to the same choice; see `matching`. For `max_fill` also what else
    the same people wait for here, with which they may score higher.
    """
    wishes = _find_wishes(board=board, policy=policy)
    found: set[Id] = set()
    for slot in board.slots:
        found |= _first(board=board, slot=slot, wishes=wishes, policy=policy, now=now)
    if not found:
        return []
    if is_full(policy=policy):
        found |= _find_kin(policy=policy, entries=found).keys()
    return find(board=board, policy=policy, now=now, entries=found)


def _first(
    *, board: Board, slot: Slot, wishes: Iterable[Wish], policy: WaitlistPolicy, now: datetime
) -> set[Id]:
    """Find the entries of a slot's first requesters, by the score that their wishes come to.

    Wishes that fit alike are walked together, in the order in which the slot takes them; where the
    order alone counts, all do. What nobody wishes for costs nothing.
    """
    alike: dict[tuple[int, bool], list[Wish]] = {}
    for wish in wishes:
        for score, fitted in board.levels(wish):
            if fitted & board.bit[slot.id]:
                place = (0 if is_full(policy=policy) else -score, wish.visitor)
                alike.setdefault(place, []).append(wish)
    found: set[Id] = set()
    takers: set[Id] = set()
    for _, wanted in sorted(alike.items(), key=itemgetter(0)):
        limit, mine = len(board.slots), set[Id]()
        while True:
            walked = _walk(slot=slot, policy=policy, wishes=wanted, limit=limit)
            if not walked:
                break
            fitting = find(board=board, policy=policy, now=now, entries=walked)
            mine = {one.requester for one in fitting if _takes(board, slot, one)}
            if len(walked) < limit or len(mine) >= len(board.slots):
                break
            limit *= 2  # some are kept away, or are the same person's
        found |= walked
        takers |= mine
        if len(takers) >= len(board.slots):
            break
    return found


def _takes(board: Board, slot: Slot, candidate: Candidate) -> bool:
    return any(fitted & board.bit[slot.id] for _, fitted in candidate.levels)


def _find_wishes(*, board: Board, policy: WaitlistPolicy) -> list[Wish]:
    """Find the wishes with which people wait for what the slots may be taken for."""
    services = {service or NONE for slot in board.slots for service in board.services(slot)}
    params = {**_queue(policy), "services": sql.array(values=sorted(services))}
    return [Wish(*row) for row in sql.run(app="waitlist", name="find_wishes", params=params)]


def _walk(*, slot: Slot, policy: WaitlistPolicy, wishes: Sequence[Wish], limit: int) -> set[Id]:
    """Find the first who have one of these wishes, all visitors or none, and want the date."""
    rows = sql.run(
        app="waitlist",
        name="walk_visitors" if wishes[0].visitor else "walk_queue",
        params={
            **_queue(policy),
            "services": sql.array(values=(wish.service or NONE for wish in wishes)),
            "providers": sql.array(values=(wish.provider or NONE for wish in wishes)),
            "required": sql.array(values=(wish.provider_required for wish in wishes)),
            "days": [wish.days for wish in wishes],
            "times": sql.array(values=(wish.time for wish in wishes)),
            "start": at(microseconds=slot.start),
            "end": at(microseconds=slot.end),
            "limit": limit,
        },
    )
    return {entry for (entry,) in rows}


def _find_kin(
    *, policy: WaitlistPolicy, entries: Collection[Id] | None = None, limit: int | None = None
) -> dict[Id, bool]:
    """Find the given or first entries, and what else their people wait for here: whether given."""
    params = {**_queue(policy), "entries": _array(entries), "limit": limit}
    return dict(sql.run(app="waitlist", name="find_kin", params=params))


def at(*, microseconds: int) -> datetime:
    """Return the time so long after 1970."""
    return EPOCH + microseconds * MICROSECOND


def _queue(policy: WaitlistPolicy) -> dict[str, UUID]:
    return {"facility": policy.facility_id, "tenant": policy.tenant_id}


def _array(ids: Collection[Id] | None) -> str | None:
    return None if ids is None else sql.array(values=ids)
