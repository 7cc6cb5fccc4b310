"""Blocking time: what becomes of open, reserved, held and booked slots, and what opens again."""

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from django.core.exceptions import ValidationError

from audit.errors import NotFound
from audit.models import Event
from scheduling import blocks
from scheduling.models import Slot, TimeBlock
from tests import factories
from tests.audit.log import brief, written
from tests.waitlist import worlds
from tests.waitlist.worlds import DAY, HOUR, MINUTE, NOW, SECOND, STAFF, World
from waitlist import holds

START = NOW + DAY


@pytest.fixture
def clinic(db: None) -> World:
    return worlds.build()


def _block(
    world: World,
    *,
    start: datetime = START,
    minutes: int = 60,
    provider_id: UUID | None = None,
    now: datetime = NOW,
) -> blocks.Blocked:
    return blocks.create(
        facility_id=world.facility.pk,
        provider_id=provider_id,
        starts_at=start,
        ends_at=start + minutes * MINUTE,
        reason="Burst pipe",
        actor=STAFF,
        now=now,
    )


def _remove(block: TimeBlock) -> None:
    blocks.remove(block_id=block.pk, actor=STAFF, now=NOW)


def _status(slot: Slot) -> str:
    return Slot.objects.values_list("status", flat=True).get(pk=slot.pk)


@pytest.mark.parametrize(
    ("field", "start", "end"),
    [
        ("starts_at", datetime(1, 1, 1, tzinfo=ZoneInfo("Asia/Tokyo")), NOW + DAY),
        ("starts_at", NOW - 3651 * DAY, NOW + DAY),
        ("ends_at", NOW, NOW + 3651 * DAY),
        ("ends_at", NOW, datetime(9999, 12, 31, 23, tzinfo=ZoneInfo("America/New_York"))),
    ],
)
def test_a_block_is_within_ten_years(
    clinic: World, field: str, start: datetime, end: datetime
) -> None:
    """Farther away there are times that cannot be stored, or stored and never read again."""
    with pytest.raises(ValidationError) as refused:
        blocks.create(
            facility_id=clinic.facility.pk, provider_id=None, starts_at=start, ends_at=end,
            reason="", actor=STAFF, now=NOW,
        )  # fmt: skip
    assert list(refused.value.message_dict) == [field]
    assert not TimeBlock.objects.exists()


def test_open_slots_are_blocked_at_once(clinic: World) -> None:
    slot = clinic.slot()
    with written() as events:
        blocked = _block(clinic)
    assert _status(slot) == "blocked"
    assert (blocked.conflicts, blocked.block.reason) == ([], "Burst pipe")
    assert brief(events) == [
        ("slot.blocked", "open", "blocked"), ("block.created", None, None)
    ]  # fmt: skip
    assert (events[1].subject_id, events[1].facility_id, events[1].provider_id) == (
        blocked.block.pk, clinic.facility.pk, None
    )  # fmt: skip
    assert events[1].data == {
        "starts_at": START.isoformat(), "ends_at": (START + HOUR).isoformat(), "conflicts": 0
    }  # fmt: skip


def test_a_reserved_slot_is_released_into_blocked(clinic: World) -> None:
    slot = clinic.reserve()
    with written() as events:
        _block(clinic)
    slot.refresh_from_db()
    assert (slot.status, slot.reserved_until, slot.reserved_by_id) == ("blocked", None, None)
    assert [(event.kind, event.data.get("reason")) for event in events][:2] == [
        ("slot.blocked", None),
        ("reservation.released", "blocked"),
    ]
    assert brief(events)[1] == ("reservation.released", "reserved", "blocked")  # fmt: skip


def test_a_held_slot_is_left_to_the_waitlist_which_withdraws_it(clinic: World) -> None:
    hold = clinic.offer()
    assert hold.slot is not None
    _block(clinic)
    assert _status(hold.slot) == "held"
    assert holds.withdraw_blocked(now=NOW, limit=10) == 1
    assert _status(hold.slot) == "blocked"


def test_a_booked_slot_is_never_cancelled_but_returned_as_a_conflict(clinic: World) -> None:
    inside = [clinic.book(slot=clinic.slot(at=START + n * 30 * MINUTE)) for n in range(2)]
    clinic.book(slot=clinic.slot(at=START + 2 * HOUR))
    with written() as events:
        blocked = _block(clinic)
    assert [one.pk for one in blocked.conflicts] == sorted(one.pk for one in inside)
    assert {one.status for one in blocked.conflicts} == {"booked"}
    assert [_status(one.slot) for one in inside] == ["booked", "booked"]
    assert events[-1].data["conflicts"] == 2


@pytest.mark.parametrize(
    ("start", "minutes", "status"),
    [
        (START - HOUR, 60, "open"),
        (START - HOUR, 61, "blocked"),
        (START + 29 * MINUTE, 5, "blocked"),
        (START + 30 * MINUTE, 60, "open"),
    ],
)
def test_a_block_covers_what_it_overlaps(
    clinic: World, start: datetime, minutes: int, status: str
) -> None:
    slot = clinic.slot(at=START)
    _block(clinic, start=start, minutes=minutes)
    assert _status(slot) == status


def test_a_providers_block_leaves_colleagues_and_other_facilities_alone(clinic: World) -> None:
    colleague = factories.ProviderFactory.create(tenant=clinic.tenant, facilities=[clinic.facility])
    elsewhere = clinic.neighbour()
    own, theirs = clinic.slot(), clinic.slot(provider=colleague)
    away = elsewhere.slot(provider=clinic.provider)
    _block(clinic, provider_id=clinic.provider.pk)
    assert [_status(slot) for slot in (own, theirs, away)] == ["blocked", "open", "open"]


def test_a_retired_slot_stays_retired(clinic: World) -> None:
    slot = clinic.slot()
    Slot.objects.filter(pk=slot.pk).update(status="retired")
    block = _block(clinic).block
    assert _status(slot) == "retired"
    _remove(block)
    assert _status(slot) == "retired"


@pytest.mark.parametrize(
    ("start", "minutes", "now"),
    [(START, 0, NOW), (START, -1, NOW), (NOW - HOUR, 60, NOW), (START, 60, START + 2 * HOUR)],
    ids=["empty", "backwards", "over", "long over"],
)
def test_a_block_that_is_empty_or_over_is_refused(
    clinic: World, start: datetime, minutes: int, now: datetime
) -> None:
    with pytest.raises(ValidationError) as caught:
        _block(clinic, start=start, minutes=minutes, now=now)
    assert set(caught.value.message_dict) == {"ends_at"}
    assert not TimeBlock.objects.exists()


def test_a_reason_that_is_too_long_is_refused(clinic: World) -> None:
    with pytest.raises(ValidationError) as caught:
        blocks.create(
            facility_id=clinic.facility.pk,
            provider_id=None,
            starts_at=START,
            ends_at=START + HOUR,
            reason="x" * 201,
            actor=STAFF,
            now=NOW,
        )
    assert set(caught.value.message_dict) == {"reason"}


def test_a_block_may_begin_in_the_past(clinic: World) -> None:
    slot = clinic.slot(at=NOW + MINUTE)
    _block(clinic, start=NOW - HOUR, minutes=120)
    assert _status(slot) == "blocked"


def test_what_is_not_there_is_named(clinic: World) -> None:
    wrong = uuid4()
    arguments: dict[str, Any] = {
        "starts_at": START, "ends_at": START + HOUR, "reason": "", "actor": STAFF, "now": NOW
    }  # fmt: skip
    elsewhere, stranger = clinic.neighbour().provider, worlds.build().provider
    for field, facility_id, provider_id in (
        ("facility", wrong, None),
        ("provider", clinic.facility.pk, wrong),
        ("provider", clinic.facility.pk, elsewhere.pk),
        ("provider", clinic.facility.pk, stranger.pk),
    ):
        with pytest.raises(NotFound) as caught:
            blocks.create(facility_id=facility_id, provider_id=provider_id, **arguments)
        assert caught.value.field == field
    with pytest.raises(NotFound) as caught:
        blocks.remove(block_id=wrong, actor=STAFF, now=NOW)
    assert caught.value.field == "block"
    assert not Event.objects.exists()


def test_slots_open_again_when_the_block_goes(clinic: World) -> None:
    slot = clinic.slot()
    block = _block(clinic).block
    with written() as events:
        _remove(block)
    assert _status(slot) == "open"
    assert not TimeBlock.objects.exists()
    assert brief(events) == [
        ("block.removed", None, None), ("slot.opened", "blocked", "open")
    ]  # fmt: skip


def test_what_another_block_covers_stays_blocked(clinic: World) -> None:
    both, one = clinic.slot(at=START + 30 * MINUTE), clinic.slot(at=START)
    first = _block(clinic, minutes=60).block
    second = _block(clinic, start=START + 30 * MINUTE, provider_id=clinic.provider.pk).block
    _remove(first)
    assert (_status(one), _status(both)) == ("open", "blocked")
    _remove(second)
    assert _status(both) == "open"


def test_a_booked_slot_under_a_block_lands_in_blocked_and_opens_with_it(clinic: World) -> None:
    appointment = clinic.book()
    block = _block(clinic).block
    _remove(block)
    assert _status(appointment.slot) == "booked"


# The sweep


def test_the_sweep_blocks_open_slots_that_came_with_the_block(clinic: World) -> None:
    covered, free = clinic.slot(at=START), clinic.slot(at=START + 2 * HOUR)
    factories.TimeBlockFactory.create(facility=clinic.facility, starts_at=START)
    with written() as events:
        assert blocks.apply(now=NOW, limit=10) == 1
    assert (_status(covered), _status(free)) == ("blocked", "open")
    assert brief(events) == [("slot.blocked", "open", "blocked")]
    assert blocks.apply(now=NOW, limit=10) == 0


def test_the_sweep_looks_at_coming_slots_of_the_blocks_provider(clinic: World) -> None:
    colleague = factories.ProviderFactory.create(tenant=clinic.tenant, facilities=[clinic.facility])
    theirs, begun = clinic.slot(at=START, provider=colleague), clinic.slot(at=NOW)
    factories.TimeBlockFactory.create(
        facility=clinic.facility, provider=clinic.provider, starts_at=NOW - SECOND, minutes=3000
    )
    assert blocks.apply(now=NOW, limit=10) == 0
    assert (_status(theirs), _status(begun)) == ("open", "open")


def test_the_sweep_does_no_more_than_its_limit(clinic: World) -> None:
    for number in range(3):
        clinic.slot(at=START + number * 30 * MINUTE)
    factories.TimeBlockFactory.create(facility=clinic.facility, starts_at=START, minutes=120)
    assert [blocks.apply(now=NOW, limit=2) for _ in range(3)] == [2, 1, 0]


# Moving


def _change(block: TimeBlock, **changes: Any) -> blocks.Blocked:
    return blocks.change(block_id=block.pk, changes=changes, actor=STAFF, now=NOW)


def test_slots_follow_a_block_that_moves(clinic: World) -> None:
    """What it leaves opens, what it comes to is blocked, released or returned as a conflict."""
    before, under, ahead = (clinic.slot(at=START + n * HOUR) for n in range(3))
    other = clinic.slot(at=START + 3 * HOUR)
    booked = clinic.book(slot=clinic.slot(at=START + 4 * HOUR))
    clinic.reserve(slot=other)
    block = _block(clinic, minutes=120).block
    assert [_status(slot) for slot in (before, under, ahead)] == ["blocked", "blocked", "open"]
    with written() as events:
        moved = _change(block, starts_at=START + HOUR, ends_at=START + 5 * HOUR)
    statuses = [_status(slot) for slot in (before, under, ahead, other)]
    assert statuses == ["open", "blocked", "blocked", "blocked"]
    assert [one.pk for one in moved.conflicts] == [booked.pk]
    assert moved.block.version == 2
    assert brief(events) == [
        ("block.removed", None, None),
        ("slot.blocked", "reserved", "blocked"),
        ("reservation.released", "reserved", "blocked"),
        ("slot.blocked", "open", "blocked"),
        ("block.created", None, None),
        ("slot.opened", "blocked", "open"),
    ]
    assert events[4].data == {
        "starts_at": (START + HOUR).isoformat(), "ends_at": (START + 5 * HOUR).isoformat(),
        "conflicts": 1,
    }  # fmt: skip


def test_a_slot_under_another_block_stays_blocked_when_one_moves(clinic: World) -> None:
    slot = clinic.slot()
    block, _ = _block(clinic).block, _block(clinic, minutes=10)
    _change(block, starts_at=START + DAY, ends_at=START + DAY + HOUR)
    assert _status(slot) == "blocked"


def test_another_reason_moves_nothing(clinic: World) -> None:
    clinic.slot()
    block = _block(clinic).block
    with written() as events:
        assert _change(block, reason="Painters").block.reason == "Painters"
        assert _change(block).block.version == 2
    assert events == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"ends_at": START}, "ends_at"),
        ({"starts_at": START + 2 * HOUR}, "ends_at"),
        ({"starts_at": NOW - 2 * DAY, "ends_at": NOW - DAY}, "ends_at"),
        ({"reason": "x" * 201}, "reason"),
        ({"provider_id": None}, "provider"),
        ({"facility_id": None}, "facility"),
    ],
)
def test_a_bad_change_is_refused_and_changes_nothing(
    clinic: World, changes: dict[str, Any], field: str
) -> None:
    slot, block = clinic.slot(), _block(clinic).block
    with written() as events, pytest.raises(ValidationError) as caught:
        _change(block, **changes)
    assert list(caught.value.message_dict) == [field]
    assert (_status(slot), events) == ("blocked", [])
    assert TimeBlock.objects.get(pk=block.pk).version == 1


def test_a_block_that_is_not_there_cannot_change(db: None) -> None:
    with pytest.raises(NotFound) as caught:
        blocks.change(block_id=uuid4(), changes={"reason": ""}, actor=STAFF, now=NOW)
    assert caught.value.field == "block"
