"""The relay gives each event one place in one order."""

from uuid import UUID, uuid4

import pytest

from audit import events
from audit.models import Event, EventSeq, Unrelayed
from notifications import relay, tasks
from tests.audit import elsewhere
from tests.waitlist.worlds import NOW

pytestmark = pytest.mark.django_db


def _happen(count: int) -> list[UUID]:
    """Let events happen one after another; return their ids in that order."""
    for _ in range(count):
        events.record(
            kind="slot.retired",
            tenant_id=uuid4(),
            subject_type="slot",
            subject_id=uuid4(),
            actor=events.SYSTEM,
            at=NOW,
        )
    return list(Event.objects.order_by("pk").values_list("pk", flat=True))


def _relay(*, limit: int) -> int:
    return relay.relay(limit=limit, now=NOW).events


def _order() -> list[UUID]:
    return list(EventSeq.objects.order_by("seq").values_list("event_id", flat=True))


def test_events_are_numbered_in_the_order_of_their_ids() -> None:
    happened = _happen(5)
    assert _relay(limit=100) == 5
    assert _order() == happened
    assert not Unrelayed.objects.exists()


def test_a_second_relay_finds_nothing_to_do() -> None:
    _happen(2)
    _relay(limit=100)
    numbered = list(EventSeq.objects.values_list("seq", "event_id"))
    assert _relay(limit=100) == 0
    assert list(EventSeq.objects.values_list("seq", "event_id")) == numbered


def test_a_batch_is_no_larger_than_its_limit_and_the_next_goes_on() -> None:
    happened = _happen(5)
    assert [_relay(limit=2) for _ in range(4)] == [2, 2, 1, 0]
    assert _order() == happened


def test_what_comes_later_is_numbered_later_whatever_its_id() -> None:
    """Commits overtake each other: an event with a lesser id may become visible later."""
    [_, overtaken, _] = _happen(3)
    Unrelayed.objects.filter(event_id=overtaken).delete()
    _relay(limit=100)
    Unrelayed.objects.create(event_id=overtaken)
    _relay(limit=100)
    assert _order()[-1] == overtaken
    seqs = list(EventSeq.objects.order_by("seq").values_list("seq", flat=True))
    assert seqs == sorted(set(seqs))


def test_one_relay_runs_at_a_time() -> None:
    happened = _happen(2)
    with elsewhere.locked("notifications.relay"):
        assert _relay(limit=100) == 0
    assert _order() == []
    assert _relay(limit=100) == 2
    assert _order() == happened


def test_the_task_numbers_all_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "LIMIT", 2)
    happened = _happen(5)
    assert tasks.relay_events() == {"events": 5}
    assert _order() == happened
    assert tasks.relay_events() == {"events": 0}
