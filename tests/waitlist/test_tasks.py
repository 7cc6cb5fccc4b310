"""What the workers run: each reads the clock, makes its calls, and says how much it did."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

from audit import clock
from audit.models import JobRun
from scheduling import blocks
from scheduling import tasks as scheduling_tasks
from scheduling.models import Facility
from tests import factories
from tests.audit import broker, elsewhere
from tests.waitlist import worlds
from tests.waitlist.worlds import DAY, HOUR, MINUTE, NOW, STAFF, World
from waitlist import entries, fill, tasks
from waitlist.models import Hold, WaitlistEntry


@pytest.fixture(autouse=True)
def _it_is_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)


def _run(task: Any, *args: str) -> JobRun:
    key = str(uuid4())
    task.apply(args=args, task_id=key)
    return JobRun.objects.get(task_id=key)


@pytest.fixture
def sent() -> Iterator[Callable[[], list[tuple[str, list[Any]]]]]:
    """Say which tasks were sent since the last time, and their arguments."""

    def take() -> list[tuple[str, list[Any]]]:
        found = [(task.rsplit(".")[-1], args) for _, task, args in broker.messages()]
        broker.empty()
        return found

    take()
    yield take
    take()


Sent = Callable[[], list[tuple[str, list[Any]]]]


def test_the_scan_spreads_the_facilities_in_chunks(
    clinic: World, monkeypatch: pytest.MonkeyPatch, sent: Sent
) -> None:
    monkeypatch.setattr(tasks, "CHUNK", 2)
    for world in (clinic, worlds.build(), worlds.build()):
        world.slot()
        world.join()
    assert _run(tasks.fill_open_slots).counts == {"facilities": 3}
    chunks = sent()
    assert [(name, len(args)) for name, args in chunks] == [
        ("fill_facilities", 2), ("fill_facilities", 1)
    ]  # fmt: skip
    with elsewhere.locked(f"waitlist.fill:{clinic.facility.pk}"):
        runs = [_run(tasks.fill_facilities, *args) for _, args in chunks]
    assert sum(run.counts["offers"] for run in runs) == 2
    assert sum(run.counts["busy"] for run in runs) == 1
    assert Hold.objects.count() == 2
    assert sent() == [("fill_facility", [str(clinic.facility.pk)])]


def test_a_facility_that_fails_takes_no_other_along(clinic: World, sent: Sent) -> None:
    """It gets a run of its own, which fails and says where."""
    lost, other = worlds.build(), worlds.build()
    for world in (lost, clinic, other):
        world.slot()
        world.join()
    Facility.objects.filter(pk=lost.facility.pk).update(timezone="Mars/Base")
    ids = [str(world.facility.pk) for world in (lost, clinic, other)]
    run = _run(tasks.fill_facilities, *ids)
    assert (run.state, run.args) == ("succeeded", ids)
    assert run.counts == {"offers": 2, "clashes": 0, "busy": 0, "failed": 1}
    assert sent() == [("fill_facility", ids[:1])]
    alone = _run(tasks.fill_facility, ids[0])
    assert (alone.state, "ZoneInfo" in alone.error_class) == ("failed", True)


def test_a_facility_is_filled_by_its_id(clinic: World) -> None:
    clinic.slot()
    clinic.join()
    clinic.slot(at=NOW + 2 * DAY, minutes=5)
    run = _run(tasks.fill_facility, str(clinic.facility.pk))
    assert (run.state, run.counts) == ("succeeded", {"offers": 1, "fruitless": 1})
    assert run.args == [str(clinic.facility.pk)]


def test_a_facility_is_filled_as_far_as_it_changed(clinic: World) -> None:
    clinic.slot()
    freed = clinic.slot(at=NOW + 2 * DAY)
    clinic.join(), clinic.join()
    run = _run(tasks.fill_facility, str(clinic.facility.pk), str(freed.pk))
    assert (run.state, run.counts) == ("succeeded", {"offers": 1, "fruitless": 0})
    assert Hold.objects.get().slot_id == freed.pk


def test_a_freed_slot_is_not_missed_when_a_pass_is_under_way(clinic: World) -> None:
    """It comes again, and gives up only when the other never ends."""
    with elsewhere.locked(f"waitlist.fill:{clinic.facility.pk}"):
        run = _run(tasks.fill_facility, str(clinic.facility.pk))
    assert (run.state, run.attempts) == ("failed", 31)
    assert run.error_class == "waitlist.fill.Busy"


def test_a_pass_that_lost_an_offer_comes_again(
    clinic: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    clinic.slot()
    entry = clinic.join()
    choose, edits = fill.choose, [1, 2]

    def choose_and_let_somebody_edit(**arguments: Any) -> Any:
        found = choose(**arguments)
        if edits:
            entries.update(entry_id=entry.pk, wishes={"urgency": edits.pop()}, actor=STAFF, now=NOW)
        return found

    monkeypatch.setattr(fill, "choose", choose_and_let_somebody_edit)
    run = _run(tasks.fill_facility, str(clinic.facility.pk))
    assert (run.state, run.attempts, run.counts) == (
        "succeeded", 3, {"offers": 1, "fruitless": 0}
    )  # fmt: skip


def test_a_task_run_twice_or_late_changes_nothing_more(clinic: World) -> None:
    clinic.slot()
    clinic.join()
    first, second = (_run(tasks.fill_facility, str(clinic.facility.pk)) for _ in range(2))
    assert (first.counts["offers"], second.counts["offers"]) == (1, 0)


@pytest.mark.parametrize(
    ("task", "counts"),
    [
        (tasks.expire_holds, {"holds": 3}),
        (tasks.send_hold_reminders, {"holds": 3}),
        (tasks.expire_entries, {"entries": 3}),
        (tasks.send_nudges, {"entries": 3}),
        (tasks.expire_nudges, {"entries": 3}),
        (tasks.withdraw_blocked_holds, {"holds": 3, "slots": 3}),
        (scheduling_tasks.release_expired_reservations, {"slots": 3}),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_sweep_goes_on_until_nothing_is_left(
    clinic: World, monkeypatch: pytest.MonkeyPatch, task: Any, counts: dict[str, int]
) -> None:
    monkeypatch.setattr(tasks, "LIMIT", 2)
    monkeypatch.setattr(scheduling_tasks, "LIMIT", 2)
    _let_things_be_due(clinic, task.name.rsplit(".")[-1])
    run = _run(task)
    assert (run.state, run.counts) == ("succeeded", counts)
    assert _run(task).counts == dict.fromkeys(counts, 0)


def _let_things_be_due(world: World, name: str) -> None:
    for number in range(3):
        slot = world.slot(at=NOW + DAY + number * HOUR)
        if name == "expire_holds":
            world.offer(slot=slot, now=NOW - 2 * DAY)
        elif name == "send_hold_reminders":
            world.offer(slot=slot, now=NOW - DAY + MINUTE)
        elif name == "expire_entries":
            world.join(latest=NOW)
        elif name == "send_nudges":
            world.join(at=NOW - 60 * DAY, dates_flexible=True)
        elif name == "expire_nudges":
            entry = world.join(at=NOW - 70 * DAY, dates_flexible=True)
            WaitlistEntry.objects.filter(pk=entry.pk).update(nudged_at=NOW - 8 * DAY)
        elif name == "withdraw_blocked_holds":
            world.offer(slot=slot)
            world.slot(at=NOW + 2 * DAY + number * HOUR)
        else:
            world.reserve(slot=slot, now=NOW - HOUR)
    if name == "withdraw_blocked_holds":
        for day in (1, 2):
            factories.TimeBlockFactory.create(
                facility=world.facility, starts_at=NOW + day * DAY, minutes=180
            )


def test_a_block_withdraws_its_holds_when_its_event_arrives(clinic: World) -> None:
    hold = clinic.offer()
    assert hold.period is not None
    blocks.create(
        facility_id=clinic.facility.pk,
        provider_id=None,
        starts_at=hold.period.lower,
        ends_at=hold.period.upper,
        reason="",
        actor=STAFF,
        now=NOW,
    )
    away = clinic.neighbour()
    away.offer()
    away.slot(at=NOW + 2 * DAY)
    factories.TimeBlockFactory.create(
        facility=away.facility, starts_at=NOW + DAY, minutes=2 * 24 * 60
    )
    run = _run(tasks.withdraw_blocked_holds, str(clinic.facility.pk))
    assert run.counts == {"holds": 1, "slots": 0}


@pytest.mark.parametrize(
    ("task", "lock"),
    [
        (tasks.send_hold_reminders, "waitlist.remind"),
        (tasks.expire_entries, "waitlist.expire_entries"),
        (tasks.send_nudges, "waitlist.nudge"),
        (tasks.expire_nudges, "waitlist.nudge"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_periodic_run_skips_while_another_is_under_way(
    clinic: World, task: Any, lock: str
) -> None:
    _let_things_be_due(clinic, task.name.rsplit(".")[-1])
    with elsewhere.locked(lock):
        skipped = _run(task)
    assert (skipped.state, set(skipped.counts.values())) == ("succeeded", {0})
    assert set(_run(task).counts.values()) == {3}
