"""Explanations: to whom a slot is offered and why, and which slots an entry could get."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db import transaction

from audit.errors import NotFound
from scheduling import slots as places
from scheduling.models import Facility, Slot
from waitlist import candidates, fill, matching
from waitlist.fitting import Board, Entry, Id, Level
from waitlist.fitting import Slot as Place
from waitlist.models import WaitlistEntry, WaitlistPolicy

LEADERS = 10
COMING = 50


class Leader(NamedTuple):
    """Somebody who fits, with the entry that would get the slot; rank 1 is offered first."""

    entry: Id
    rank: int
    score: int
    matches: dict[str, bool]


@dataclass(frozen=True, kw_only=True)
class SlotExplanation:
    """Why a slot is offered to whom.

    `closed` are codes of what keeps the scan from offering it to anybody. Each of the `waiting`
    entries, patients' alone, either fits or is counted once in `kept_out`, by the first rule that
    keeps it from the slot. `leaders` are who would be offered it first if it were the only slot.
    """

    slot: UUID
    closed: list[str]
    waiting: int
    fitting: int
    kept_out: dict[str, int]
    leaders: list[Leader]


class Chance(NamedTuple):
    """A coming slot that an entry fits.

    `closed` are codes of what keeps the scan from offering it to anybody for now: what does so at
    its facility, or that it was tried in vain.
    """

    slot: Id
    facility: UUID
    starts_at: datetime
    ends_at: datetime
    score: int
    matches: dict[str, bool]
    closed: list[str]


@dataclass(frozen=True, kw_only=True)
class EntryExplanation:
    """Which coming slots an entry could get, the next ones first, or what keeps it from all.

    `closed` are codes of what keeps its own facility from offering anything. Each of the `open`
    slots is one that it fits or is counted once in `kept_out`, by the rule that keeps it away.
    None is open to an entry that does not wait, nor to an organizer's, which waits for the venue.
    """

    entry: UUID
    status: str
    closed: list[str]
    open: int
    kept_out: dict[str, int]
    chances: list[Chance]


@transaction.atomic
def explain_slot(*, slot_id: UUID, now: datetime) -> SlotExplanation:
    """Hold a slot against everybody who waits for its facility.

    :raises NotFound: if there is no such slot.
    """
    slot = Slot.objects.select_related("provider").filter(pk=slot_id).first()
    if slot is None:
        raise NotFound("slot", slot_id)
    policy = fill.policies().get(facility=slot.facility_id)
    coming, in_vain = _find_open(policy=policy, now=now)
    this = str(slot_id)
    run = coming - in_vain if this in coming - in_vain else {this}
    slots = fill.load_slots(slot_ids=run, policy=policy, claimable=False)
    board = candidates.board(slots=_overlapping(slot=this, slots=slots), policy=policy)
    bars = candidates.find_bars(board=board, policy=policy)
    bit = board.bit[this]
    kept_out: Counter[str] = Counter()
    leaders = _Leaders(is_full=candidates.is_full(policy=policy))
    fitting = fitted = 0
    for entry in candidates.stream(policy=policy, now=now):
        mine = bars.get(entry.id, {})
        levels = board.fits(entry=entry, bars=mine)
        for _, some in levels:
            fitted |= some
        if rule := _rule(board=board, entry=entry, bars=mine, bit=bit):
            kept_out[rule] += 1
            continue
        fitting += 1
        leaders.add(entry=entry, score=_score(levels=levels, bit=bit))
    kept = matching.reduce_overlaps(slots=board.slots, among=fitted)
    return SlotExplanation(
        slot=slot_id,
        closed=[
            *_closed_slot(slot=slot, policy=policy, now=now),
            *_named(tried_in_vain=this in in_vain, overlapped=bool(fitted & ~kept & bit)),
            *_closed(policy=policy, now=now),
        ],
        waiting=fitting + kept_out.total(),
        fitting=fitting,
        kept_out=dict(kept_out),
        leaders=[
            Leader(entry.id, rank, score, _matches(board=board, entry=entry, bit=bit))
            for rank, (score, entry) in enumerate(leaders.found(), 1)
        ],
    )


@transaction.atomic
def explain_entry(*, entry_id: UUID, now: datetime) -> EntryExplanation:
    """Hold an entry against the coming open slots of its facility, or of all that it takes.

    :raises NotFound: if there is no such entry.
    """
    entry = WaitlistEntry.objects.filter(pk=entry_id).first()
    if entry is None:
        raise NotFound("entry", entry_id)
    policies = fill.policies()
    own = policies.get(facility=entry.facility_id)
    kept_out: Counter[str] = Counter()
    chances: list[Chance] = []
    opened = 0
    elsewhere = policies.filter(tenant=entry.tenant_id) if entry.any_facility else policies.none()
    for policy in (own, *elsewhere.exclude(pk=own.pk).order_by("facility")):
        if entry.status != WaitlistEntry.Status.WAITING or (policy != own and not _is_on(policy)):
            continue
        coming, in_vain = _find_open(policy=policy, now=now)
        board = candidates.board(
            slots=fill.load_slots(slot_ids=coming, policy=policy), policy=policy
        )
        bars = candidates.find_bars(board=board, policy=policy, entries=[str(entry_id)])
        closed = _closed(policy=policy, now=now)
        for one in candidates.load(policy=policy, now=now, entries=[str(entry_id)]):
            opened += len(board.slots)
            mine, levels = bars.get(one.id, {}), board.fits(entry=one)
            for slot in board.slots:
                bit = board.bit[slot.id]
                if rule := _rule(board=board, entry=one, bars=mine, bit=bit):
                    kept_out[rule] += 1
                    continue
                chances.append(
                    Chance(
                        slot=slot.id,
                        facility=policy.facility_id,
                        starts_at=candidates.at(microseconds=slot.start),
                        ends_at=candidates.at(microseconds=slot.end),
                        score=_score(levels=levels, bit=bit),
                        matches=_matches(board=board, entry=one, bit=bit),
                        closed=[*_named(tried_in_vain=slot.id in in_vain), *closed],
                    )
                )
    return EntryExplanation(
        entry=entry_id,
        status=entry.status,
        closed=_closed(policy=own, now=now),
        open=opened,
        kept_out=dict(kept_out),
        chances=sorted(chances, key=lambda chance: (chance.starts_at, chance.slot))[:COMING],
    )


class _Leaders:
    """The first of those who fit a slot, each once; of a queue of any length few are kept."""

    def __init__(self, *, is_full: bool) -> None:
        self._is_full = is_full
        self._first: dict[int, dict[Id, tuple[int, Entry]]] = {}  # by what counts before the order

    def add(self, *, entry: Entry, score: int) -> None:
        """Let an entry come, in the order of the run.

        With `max_fill` the order alone decides who is served, else the score goes before it. Who is
        served gets the slot with the entry that scores highest, whichever has the place.
        """
        alike = self._first.setdefault(0 if self._is_full else -score, {})
        known = alike.get(entry.requester)
        if len(alike) < LEADERS if known is None else known[0] < score:
            alike[entry.requester] = (score, entry)

    def found(self) -> list[tuple[int, Entry]]:
        """Return the first with their scores."""
        once: dict[Id, tuple[int, Entry]] = {}
        for _, alike in sorted(self._first.items()):
            for requester, one in alike.items():
                once.setdefault(requester, one)
        return list(once.values())[:LEADERS]


def _find_open(*, policy: Any, now: datetime) -> tuple[set[Id], set[Id]]:
    """Find the slots that may be offered, and which of them the scan passes by, tried in vain.

    The policy is one of `fill.policies`. Of a venue that is not told: only an organizer's coming
    makes the scan try, which its people are not to learn.
    """
    seen = {
        "revision": policy.facility.queue.revision,
        "visitors_revision": policy.visitors_revision,
    }
    coming = set(fill.find_open(policy=policy, seen=None, now=now))
    if policy.facility.kind == Facility.Kind.VENUE:
        return coming, set()
    return coming, coming.difference(fill.find_open(policy=policy, seen=seen, now=now))


def _overlapping(*, slot: Id, slots: Sequence[Place]) -> list[Place]:
    """Return a slot with those of its provider that overlap it, or others that do."""
    [this] = found = [one for one in slots if one.id == slot]
    size = 0
    while size < len(found):
        size = len(found)
        start, end = min(one.start for one in found), max(one.end for one in found)
        found = [
            one
            for one in slots
            if one.provider == this.provider and one.start < end and start < one.end
        ]
    return found


def _rule(*, board: Board, entry: Entry, bars: dict[str, int], bit: int) -> str | None:
    """Return the first rule that keeps an entry from a slot."""
    return next(
        (rule for rule, left in board.rules(entry=entry, bars=bars) if not left & bit), None
    )


def _score(*, levels: Sequence[Level], bit: int) -> int:
    """Return the score with which a slot is fitted."""
    return next(score for score, fitted in levels if fitted & bit)


def _matches(*, board: Board, entry: Entry, bit: int) -> dict[str, bool]:
    met = board.matches(entry.wish)
    return {name: bool(slots & bit) for name, slots in met._asdict().items()}


def _is_on(policy: WaitlistPolicy) -> bool:
    return policy.facility.is_active and policy.facility.queue.deactivated_at is None


def _closed(*, policy: WaitlistPolicy, now: datetime) -> list[str]:
    """List what keeps a facility's scan from offering anything."""
    facility: Facility = policy.facility
    return _named(
        facility_inactive=not facility.is_active,
        queue_closed=facility.queue.deactivated_at is not None,
        auto_invite_off=not policy.auto_invite,
        quiet_hours=fill.quiet_until(policy=policy, now=now) is not None,
    )


def _closed_slot(*, slot: Slot, policy: WaitlistPolicy, now: datetime) -> list[str]:
    """List what keeps the scan from offering a slot, whoever waits."""
    start = slot.period.lower
    claimed = Slot.objects.filter(
        provider=slot.provider_id, period__overlap=slot.period, status__in=Slot.CLAIMED
    )
    return _named(
        **{f"slot_{slot.status}": slot.status != Slot.Status.OPEN},
        slot_under_block=places.is_blocked(slot=slot),
        provider_inactive=not slot.provider.is_active,
        provider_claimed=claimed.exclude(pk=slot.pk).exists(),
        too_soon=not fill.leaves_time(policy=policy, slot_start=start, now=now),
        too_far_ahead=start > now + policy.look_ahead,
    )


def _named(**reasons: bool) -> list[str]:
    """List the codes of the reasons there are."""
    return [code for code, is_so in reasons.items() if is_so]
