"""Which waiting entry gets which slot: pure functions over plain data, no database."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Slot:
    """An open slot that somebody fits."""

    id: UUID
    provider_id: UUID
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Pair:
    """A slot and an entry that fit; `place` is the entry's place in the order of this run."""

    slot_id: UUID
    entry_id: UUID
    requester_id: UUID
    score: int
    place: int


def reduce_overlaps(*, slots: Iterable[Slot]) -> list[Slot]:
    """Keep, of each provider's overlapping slots, the one that ends first, then the lesser id.

    This is the classic choice of a largest set of disjoint intervals (Kleinberg and Tardos,
    Algorithm Design, 4.1): what ends first leaves most room for what follows.
    """
    kept: list[Slot] = []
    busy_until: dict[UUID, datetime] = {}
    for slot in sorted(slots, key=lambda slot: (slot.end, slot.id)):
        until = busy_until.get(slot.provider_id)
        if until is None or until <= slot.start:
            busy_until[slot.provider_id] = slot.end
            kept.append(slot)
    return kept


def best_score(*, slots: Sequence[Slot], pairs: Iterable[Pair]) -> list[Pair]:
    """Take pairs by score, then place in the order, then slot start and id.

    One requester gets at most one slot, one slot goes to at most one requester. `pairs` may name
    slots that are not in `slots`; these are left out.
    """
    start = {slot.id: slot.start for slot in slots}
    ordered = sorted(
        (pair for pair in pairs if pair.slot_id in start),
        key=lambda pair: (-pair.score, pair.place, start[pair.slot_id], pair.slot_id),
    )
    taken: set[UUID] = set()
    served: set[UUID] = set()
    chosen: list[Pair] = []
    for pair in ordered:
        if pair.slot_id not in taken and pair.requester_id not in served:
            taken.add(pair.slot_id)
            served.add(pair.requester_id)
            chosen.append(pair)
    return chosen
