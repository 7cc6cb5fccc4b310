"""Who gets which slot: pure functions over plain data, no database.

Both ways need of each slot only the requesters that it would take first, as many as there are
slots (`candidates` loads no more where the queue is long). Of `best_score`: when a slot's turn
comes, each other slot has taken at most one requester from its list, so one of the first |S| is
left if any is. Of `max_fill`: let a served requester stand behind |S| others at a slot. At most |S|
are served, so one of those before was turned away, which means that this slot belongs to a set of
slots that requesters before must fill up among themselves (Hall, 1935): no assignment that serves
all who are served can give it to the later one, so the pair never mattered.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib import import_module
from typing import NamedTuple

from waitlist.fitting import Id, Level, Slot


class Candidate(NamedTuple):
    """An entry that fits some slot: its requester, and its scores, best first, with their slots."""

    entry: Id
    version: int
    requester: Id
    levels: Sequence[Level]


class Pair(NamedTuple):
    """A slot given to a candidate: their numbers in the run, and the score."""

    slot: int
    candidate: int
    score: int


class Choice(NamedTuple):
    """What a run comes to: the pairs, the slots that somebody fits, and those of them it kept."""

    pairs: list[Pair]
    fitted: int
    kept: int


def choose(
    *, slots: Sequence[Slot], candidates: Sequence[Candidate], is_full: bool = False
) -> Choice:
    """Choose by `best_score`, or by `max_fill` where the policy wants as many served as can be."""
    among = fitted(candidates=candidates)
    kept = reduce_overlaps(slots=slots, among=among)
    way = max_fill if is_full else best_score
    return Choice(way(candidates=candidates, slots=kept), among, kept)


def is_final(
    *,
    choice: Choice,
    slots: Sequence[Slot],
    candidates: Sequence[Candidate],
    first: int,
    top: int | None,
) -> bool:
    """Whether those who come after the `first` of these candidates would change nothing.

    Nobody's coming fits a slot anew, every slot that is kept is given away, and no pair could beat
    those chosen: each has the `top` score there is, and those who come later come later. Where the
    order alone decides who is served (None), all entries of those first must be among the
    candidates, and all who are served have their place among the first.
    """
    is_all_given = len(choice.pairs) == choice.kept.bit_count()
    if choice.fitted.bit_count() < len(slots) or not is_all_given:
        return False
    if top is not None:
        return all(pair.score == top for pair in choice.pairs)
    placed = {
        one.requester
        for one in candidates[:first]
        if any(some & choice.kept for _, some in one.levels)
    }
    return all(candidates[pair.candidate].requester in placed for pair in choice.pairs)


def fitted(*, candidates: Sequence[Candidate]) -> int:
    """Return the slots that somebody fits."""
    slots = 0
    for candidate in candidates:
        for _, some in candidate.levels:
            slots |= some
    return slots


def reduce_overlaps(*, slots: Sequence[Slot], among: int) -> int:
    """Keep, of each provider's overlapping slots among these, what ends first, then by id.

    This is the classic choice of a largest set of disjoint intervals (Kleinberg and Tardos,
    Algorithm Design, 4.1): what ends first leaves most room for what follows.
    """
    kept = 0
    busy_until: dict[Id, int] = {}
    for n in sorted(bits(slots=among), key=lambda n: (slots[n].end, slots[n].id)):
        slot = slots[n]
        if busy_until.get(slot.provider, slot.start) <= slot.start:
            busy_until[slot.provider] = slot.end
            kept |= 1 << n
    return kept


def find_sure(*, slots: Sequence[Slot]) -> list[Slot]:
    """Find the slots that stay, if somebody fits them, whatever else is fitted.

    No other of their provider that overlaps them ends before they do.
    """
    sure: set[Id] = set()
    busy_until: dict[Id, int] = {}
    for slot in sorted(slots, key=lambda slot: (slot.end, slot.id)):
        if busy_until.get(slot.provider, slot.start) <= slot.start:
            sure.add(slot.id)
        busy_until[slot.provider] = slot.end
    return [slot for slot in slots if slot.id in sure]


def best_score(*, candidates: Sequence[Candidate], slots: int) -> list[Pair]:
    """Take pairs by score, then the candidates' order, then the slots' order.

    One requester gets at most one slot, one slot goes to at most one requester.
    """
    by_score: dict[int, list[tuple[int, int]]] = {}
    for n, candidate in enumerate(candidates):
        for score, some in candidate.levels:
            by_score.setdefault(score, []).append((n, some))
    chosen: list[Pair] = []
    served: set[Id] = set()
    for score in sorted(by_score, reverse=True):
        for n, some in by_score[score]:
            free = some & slots
            if free and candidates[n].requester not in served:
                first = free & -free
                slots ^= first
                served.add(candidates[n].requester)
                chosen.append(Pair(first.bit_length() - 1, n, score))
        if not slots:
            break
    return chosen


def max_fill(*, candidates: Sequence[Candidate], slots: int) -> list[Pair]:
    """Serve the requesters that are best by order, as many as can be, at the highest total score.

    Going through the requesters in order, each where their first entry is, one is in if all who are
    in can still be served. The sets that can be served are the independent sets of a transversal
    matroid (Edmonds and Fulkerson, 1965), whose greedy basis is best by order and as large as any.
    Among the assignments that serve this set one with the highest total is found by
    `assignment.py`; the same input gives the same.
    """
    own: dict[Id, list[int]] = {}
    for n, candidate in enumerate(candidates):
        if any(some & slots for _, some in candidate.levels):
            own.setdefault(candidate.requester, []).append(n)
    served = _Served(slots=slots)
    rows: list[list[int]] = []
    for numbers in own.values():
        if served.add(fitted(candidates=[candidates[n] for n in numbers])):
            rows.append(numbers)
    if not rows:
        return []
    levels = [[level for n in numbers for level in candidates[n].levels] for numbers in rows]
    chosen: list[Pair] = []
    for numbers, slot in zip(
        rows, _assign()(rows=levels, slots=list(bits(slots=slots))), strict=True
    ):
        score, first = max(
            (score, -n) for n in numbers for score, some in candidates[n].levels if some >> slot & 1
        )
        chosen.append(Pair(slot, -first, score))
    return chosen


class _Served:
    """Requesters who can all be served at once; by number, in the order in which they came.

    Whether one more can be is asked by an augmenting path (Berge, 1957). Where there is none, the
    slots that the search came by are full for good: all who hold them want nothing but them, so no
    later path leads out, and they are put aside.
    """

    def __init__(self, *, slots: int) -> None:
        self._free = slots
        self._alive = slots
        self._wanted: list[int] = []
        self._slot: dict[int, int] = {}  # by requester
        self._holder: dict[int, int] = {}  # by slot

    def add(self, wanted: int) -> bool:
        """Let a requester in who wants one of these slots, if all can still be served."""
        newcomer = len(self._wanted)
        self._wanted.append(wanted)
        asked = [newcomer]
        asks: dict[int, int] = {}  # by slot, who would take it over
        seen = 0
        for one in asked:
            new = self._wanted[one] & self._alive & ~seen
            free = new & self._free
            if free:
                self._free ^= free & -free
                self._hand_over(one, (free & -free).bit_length() - 1, asks)
                return True
            seen |= new
            for slot in bits(slots=new):
                asks[slot] = one
                asked.append(self._holder[slot])
        self._alive &= ~seen
        self._wanted.pop()
        return False

    def _hand_over(self, one: int, slot: int, asks: dict[int, int]) -> None:
        while True:
            left = self._slot.get(one)
            self._slot[one] = slot
            self._holder[slot] = one
            if left is None:
                return
            one, slot = asks[left], left


def bits(*, slots: int) -> Iterator[int]:
    """Give the numbers of the slots in a set, the least first."""
    while slots:
        first = slots & -slots
        yield first.bit_length() - 1
        slots ^= first


@cache
def _assign() -> Callable[..., list[int]]:
    # By name: numpy and scipy take half a second to import, which few processes need.
    assign: Callable[..., list[int]] = import_module("waitlist.assignment").assign
    return assign
