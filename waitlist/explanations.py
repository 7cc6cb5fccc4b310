"""Explanations: to whom a slot is offered and why, and which slots an entry could get."""

import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.db import transaction

from audit.errors import NotFound
from scheduling import slots as places
from scheduling.models import Facility, Slot
from waitlist import candidates, fill
from waitlist.fitting import Board, Entry, Id
from waitlist.models import WaitlistEntry, WaitlistPolicy

LEADERS = 10
COMING = 50


class Leader(NamedTuple):
    """An entry that fits, in the order in which the slot takes them; rank 1 is offered first."""

    entry: Id
    rank: int
    score: int
    matches: dict[str, bool]


@dataclass(frozen=True, kw_only=True)
class SlotExplanation:
    """Why a slot is offered to whom.

    `closed` are codes of what keeps the scan from offering it to anybody. Each of the `waiting`
    either fits or is counted once in `kept_out`, by the first rule that keeps it from the slot.
    """

    slot: UUID
    closed: list[str]
    waiting: int
    fitting: int
    kept_out: dict[str, int]
    leaders: list[Leader]


class Chance(NamedTuple):
    """A coming slot that an entry fits."""

    slot: Id
    facility: UUID
    starts_at: datetime
    ends_at: datetime
    score: int
    matches: dict[str, bool]


@dataclass(frozen=True, kw_only=True)
class EntryExplanation:
    """Which coming slots an entry could get, the next ones first, or what keeps it from all.

    `closed` are codes of what keeps its own facility from offering anything. Each of the `open`
    slots is one that it fits or is counted once in `kept_out`, by the rule that keeps it away.
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
    policy = WaitlistPolicy.objects.select_related("facility__queue").get(facility=slot.facility_id)
    board = candidates.board(
        slots=fill.load_slots(slot_ids=[str(slot_id)], policy=policy, claimable=False),
        policy=policy,
    )
    bars = candidates.find_bars(board=board, policy=policy)
    kept_out: Counter[str] = Counter()

    def fitting() -> Iterator[tuple[int, int, Entry]]:
        for place, entry in enumerate(candidates.stream(policy=policy, now=now)):
            rule = _rule(board=board, entry=entry, bars=bars.get(entry.id, {}), bit=1)
            kept_out[rule or ""] += 1
            if rule is None:
                [(score, _)] = board.fits(entry=entry)
                yield -score, place, entry

    first = heapq.nsmallest(LEADERS, fitting(), key=lambda row: row[:2])
    fits = kept_out.pop("", 0)
    return SlotExplanation(
        slot=slot_id,
        closed=[*_closed_slot(slot=slot, policy=policy, now=now), *_closed(policy=policy, now=now)],
        waiting=fits + kept_out.total(),
        fitting=fits,
        kept_out=dict(kept_out),
        leaders=[
            Leader(entry.id, rank, -score, _matches(board=board, entry=entry, bit=1))
            for rank, (score, _, entry) in enumerate(first, 1)
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
    policies = WaitlistPolicy.objects.select_related("facility__queue")
    own = policies.get(facility=entry.facility_id)
    kept_out: Counter[str] = Counter()
    chances: list[Chance] = []
    opened = 0
    elsewhere = policies.filter(tenant=entry.tenant_id) if entry.any_facility else policies.none()
    for policy in (own, *elsewhere.exclude(pk=own.pk).order_by("facility")):
        if entry.status != WaitlistEntry.Status.WAITING or (policy != own and not _is_on(policy)):
            continue
        board = candidates.board(
            slots=fill.load_slots(
                slot_ids=fill.find_open(policy=policy, seen=None, now=now), policy=policy
            ),
            policy=policy,
        )
        opened += len(board.slots)
        bars = candidates.find_bars(board=board, policy=policy, entries=[str(entry_id)])
        for one in candidates.load(policy=policy, now=now, entries=[str(entry_id)]):
            mine, fits = bars.get(one.id, {}), list(board.fits(entry=one))
            for slot in board.slots:
                bit = board.bit[slot.id]
                if rule := _rule(board=board, entry=one, bars=mine, bit=bit):
                    kept_out[rule] += 1
                    continue
                score = next(s for s, fitted in fits if fitted & bit)
                start, end = (
                    candidates.at(microseconds=slot.start),
                    candidates.at(microseconds=slot.end),
                )
                met = _matches(board=board, entry=one, bit=bit)
                chances.append(Chance(slot.id, policy.facility_id, start, end, score, met))
    return EntryExplanation(
        entry=entry_id,
        status=entry.status,
        closed=_closed(policy=own, now=now),
        open=opened,
        kept_out=dict(kept_out),
        chances=sorted(chances, key=lambda chance: (chance.starts_at, chance.slot))[:COMING],
    )


def _rule(*, board: Board, entry: Entry, bars: dict[str, int], bit: int) -> str | None:
    """Return the first rule that keeps an entry from a slot."""
    return next(
        (rule for rule, left in board.rules(entry=entry, bars=bars) if not left & bit), None
    )


def _matches(*, board: Board, entry: Entry, bit: int) -> dict[str, bool]:
    met = board.matches(entry.wish)
    return {name: bool(slots & bit) for name, slots in met._asdict().items()}


def _is_on(policy: WaitlistPolicy) -> bool:
    return policy.facility.is_active and policy.facility.queue.deactivated_at is None


def _closed(*, policy: WaitlistPolicy, now: datetime) -> list[str]:
    """List what keeps a facility's scan from offering anything."""
    facility: Facility = policy.facility
    reasons = {
        "facility_inactive": not facility.is_active,
        "queue_closed": facility.queue.deactivated_at is not None,
        "auto_invite_off": not policy.auto_invite,
        "no_time_to_answer": policy.min_hold > policy.hold_window,
        "quiet_hours": fill.quiet_until(policy=policy, now=now) is not None,
    }
    return [code for code, is_so in reasons.items() if is_so]


def _closed_slot(*, slot: Slot, policy: WaitlistPolicy, now: datetime) -> list[str]:
    """List what keeps the scan from offering a slot, whoever waits."""
    start = slot.period.lower
    claimed = Slot.objects.filter(
        provider=slot.provider_id, period__overlap=slot.period, status__in=Slot.CLAIMED
    )
    reasons = {
        f"slot_{slot.status}": slot.status != Slot.Status.OPEN,
        "slot_under_block": places.is_blocked(slot=slot),
        "provider_inactive": not slot.provider.is_active,
        "provider_claimed": claimed.exclude(pk=slot.pk).exists(),
        "too_soon": not fill.leaves_time(policy=policy, slot_start=start, now=now),
        "too_far_ahead": start > now + policy.look_ahead,
    }
    return [code for code, is_so in reasons.items() if is_so]
