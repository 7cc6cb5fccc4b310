"""Which waiting entry fits which slot, and how well (domain.md): pure, over plain data.

Slots are bits: a set of slots is an integer whose bit n stands for the nth slot, so that a rule is
one set of slots for all entries with the same wish, and an entry fits what all its rules have in
common.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from operator import or_
from typing import NamedTuple

#: Why a pair does not exist, in the order in which the rules are asked.
RULES = (
    "entry_expired", "queue_closed", "offers_used_up", "other_service", "service_too_long",
    "other_provider", "too_early", "too_late", "patient_busy", "offered_before", "taken_back",
    "cancelled_before", "score_too_low",
)  # fmt: skip


#: An id as text: ids are looked up by the thousand, and a text is hashed once.
Id = str


class Slot(NamedTuple):
    """An open slot; times in microseconds since 1970, the weekday and part of day local."""

    id: Id
    provider: Id
    service: Id | None
    start: int
    end: int
    weekday: str  # "1" is Monday
    part_of_day: str


class Wish(NamedTuple):
    """What many entries may have in common. No days are any day."""

    visitor: bool
    service: Id | None
    provider: Id | None
    provider_required: bool
    days: str  # "135": Monday, Wednesday, Friday
    time: str


class Entry(NamedTuple):
    """A waiting entry; times in microseconds since 1970."""

    id: Id
    version: int
    requester: Id
    wish: Wish
    earliest: int | None
    latest: int | None
    excluded: str | None  # the rule that keeps it from every slot


class Weights(NamedTuple):
    """How much each match counts, and the least that a pair must come to."""

    provider: int
    location: int
    service: int
    days: int
    minimum: int


#: A score, and the slots that are fitted with it.
Level = tuple[int, int]
#: By rule, the slots that an entry is kept from.
Bars = Mapping[str, int]


class Matches(NamedTuple):
    """By wish, the slots that meet it; who has no wish is content."""

    provider: int
    location: int
    service: int
    days: int


class Board:
    """The slots of a run, against which entries are held."""

    def __init__(
        self, *, slots: Sequence[Slot], weights: Weights, durations: Mapping[Id, int]
    ) -> None:
        """Sort the slots by start and id; `durations` are the services', in microseconds.

        `top` is the highest score there is.
        """
        self.slots = sorted(slots, key=lambda slot: (slot.start, slot.id))
        self.bit = {slot.id: 1 << n for n, slot in enumerate(self.slots)}
        self.all = (1 << len(self.slots)) - 1
        self.top = weights.provider + weights.location + weights.service + weights.days
        self._weights = weights
        self._durations = durations
        self._starts = [slot.start for slot in self.slots]
        by_end = sorted(self.slots, key=lambda slot: slot.end)
        self._ends = [slot.end for slot in by_end]
        self._ended = [0, *accumulate((self.bit[slot.id] for slot in by_end), or_)]
        self._long_enough = {
            service: self._where(slot.end - slot.start >= duration for slot in self.slots)
            for service, duration in durations.items()
        }
        self._unnamed = self._where(slot.service is None for slot in self.slots)
        self._services: dict[Id | None, int] = {None: self._unnamed}
        self._providers: dict[Id, int] = {}
        for slot in self.slots:
            bit = self.bit[slot.id]
            self._services[slot.service] = self._services.get(slot.service, 0) | bit
            self._providers[slot.provider] = self._providers.get(slot.provider, 0) | bit
        # An entry that names no service takes the slot's, which has to fit as well.
        self._own_fits = self._unnamed
        for service, named in self._services.items():
            self._own_fits |= named & self._long_enough[service] if service else 0
        self._days: dict[tuple[str, str], int] = {}
        self._levels: dict[Wish, tuple[Level, ...]] = {}

    def fits(self, *, entry: Entry, bars: Bars | None = None) -> tuple[Level, ...]:
        """Return the scores that the entry reaches, best first, each with its slots."""
        if entry.excluded:
            return ()
        levels = self.levels(entry.wish)
        if entry.earliest is None and entry.latest is None and not bars:
            return levels
        left = self._from(entry.earliest) & self._until(entry.latest)
        for barred in (bars or {}).values():
            left &= ~barred
        return tuple((score, slots & left) for score, slots in levels if slots & left)

    def levels(self, wish: Wish) -> tuple[Level, ...]:
        """Return the scores that the wish alone allows, best first, each with its slots."""
        levels = self._levels.get(wish)
        if levels is None:
            levels = self._levels[wish] = self._reach(wish)
        return levels

    def rules(self, *, entry: Entry, bars: Bars) -> Iterator[tuple[str, int]]:
        """Give, rule by rule in the order of `RULES`, the slots that it leaves the entry."""
        for rule in ("entry_expired", "queue_closed", "offers_used_up"):
            yield rule, 0 if entry.excluded == rule else self.all
        yield from self._must(entry.wish)
        yield "too_early", self._from(entry.earliest)
        yield "too_late", self._until(entry.latest)
        for rule in ("patient_busy", "offered_before", "taken_back", "cancelled_before"):
            yield rule, self.all & ~bars.get(rule, 0)
        reached = 0
        for score, slots in self.scores(entry.wish):
            reached |= slots if score >= self._weights.minimum else 0
        yield "score_too_low", reached

    def matches(self, wish: Wish) -> Matches:
        """Say which slots meet the wishes. The service is a rule already, so it always matches."""
        return Matches(
            provider=self._providers.get(wish.provider, 0) if wish.provider else self.all,
            location=0 if wish.visitor else self.all,
            service=self.all,
            days=self._on(wish.days, wish.time),
        )

    def scores(self, wish: Wish) -> Iterator[Level]:
        """Give each score that the wish gets somewhere, whatever the rules say, with its slots."""
        met, weights = self.matches(wish), self._weights
        always = weights.service + (weights.location if met.location else 0)
        for score, provider in ((weights.provider, met.provider), (0, self.all ^ met.provider)):
            yield always + score + weights.days, provider & met.days
            yield always + score, provider & ~met.days

    def services(self, slot: Slot) -> list[Id | None]:
        """List the services with which an entry may take the slot; None stands for naming none."""
        named = [slot.service] if slot.service else list(self._durations)
        bit = self.bit[slot.id]
        found: list[Id | None] = [one for one in named if self._long_enough[one] & bit]
        return [*found, *([None] if self._own_fits & bit else [])]

    def _reach(self, wish: Wish) -> tuple[Level, ...]:
        must = self.all
        for _, slots in self._must(wish):
            must &= slots
        levels: dict[int, int] = {}
        for score, slots in self.scores(wish):
            if slots & must and score >= self._weights.minimum:
                levels[score] = levels.get(score, 0) | slots & must
        return tuple(sorted(levels.items(), reverse=True))

    def _must(self, wish: Wish) -> Iterator[tuple[str, int]]:
        """Give what each rule that depends on the wish alone leaves."""
        if wish.service:
            yield "other_service", self._services.get(wish.service, 0) | self._unnamed
            yield "service_too_long", self._long_enough[wish.service]
        else:
            yield "service_too_long", self._own_fits
        if wish.provider_required and wish.provider:
            yield "other_provider", self._providers.get(wish.provider, 0)

    def _on(self, days: str, time: str) -> int:
        """Return the slots on these days, at this time of day."""
        found = self._days.get((days, time))
        if found is None:
            found = self._days[days, time] = self._where(
                (not days or slot.weekday in days) and time in ("any", slot.part_of_day)
                for slot in self.slots
            )
        return found

    def _from(self, earliest: int | None) -> int:
        """Return the slots that start then or later."""
        return (
            self.all if earliest is None else self.all & -1 << bisect_left(self._starts, earliest)
        )

    def _until(self, latest: int | None) -> int:
        """Return the slots that end then or sooner."""
        return self.all if latest is None else self._ended[bisect_right(self._ends, latest)]

    def _where(self, chosen: Iterable[bool]) -> int:
        return sum(1 << n for n, is_in in enumerate(chosen) if is_in)
