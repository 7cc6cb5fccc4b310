"""Who comes among the first three of a queue is told so once."""

import pytest

from audit.models import Event
from tests import factories
from tests.audit import elsewhere
from tests.waitlist.worlds import DAY, MINUTE, NOW, STAFF, World
from waitlist import entries, ranking
from waitlist.models import WaitlistEntry

pytestmark = pytest.mark.django_db


def _told() -> list[tuple[object, object]]:
    """Return (entry, position) of what was told, in order."""
    found = Event.objects.filter(kind="waitlist.position_changed").order_by("pk")
    return [(event.entry_id, event.data["position"]) for event in found]


def _tell(**where: object) -> int:
    return ranking.tell_positions(now=NOW, limit=100, **where)  # type: ignore[arg-type]


def _queue(clinic: World, count: int, **wishes: object) -> list[WaitlistEntry]:
    return [
        clinic.join(at=NOW - DAY + number * MINUTE, **wishes)  # type: ignore[arg-type]
        for number in range(count)
    ]


def _leave(entry: WaitlistEntry) -> None:
    entries.cancel(entry_id=entry.pk, reason="no_longer_needed", actor=STAFF, now=NOW)


def test_who_moves_up_to_the_third_place_is_told_once(clinic: World) -> None:
    first, _, _, fourth, _ = _queue(clinic, 5)
    _tell()
    assert _told() == []  # the first three were told their place when they joined
    _leave(first)
    assert _tell() == 1
    assert _told() == [(fourth.pk, 3)]
    assert _tell() == 0
    fourth.refresh_from_db()
    assert fourth.best_position_told == 3


def test_who_moves_up_further_is_told_no_more(clinic: World) -> None:
    first, second, *_ = _queue(clinic, 4)
    _leave(first)
    _tell()
    _leave(second)
    assert _tell() == 0


def test_who_is_offered_something_keeps_the_place(clinic: World) -> None:
    first, second, *_ = _queue(clinic, 5)
    clinic.offer(entry=first)
    _tell()
    assert _told() == []
    _leave(second)
    _tell()
    assert [position for _, position in _told()] == [3]


def test_each_service_has_its_own_first_three(clinic: World) -> None:
    other = factories.ServiceFactory.create(tenant=clinic.tenant)
    mine = _queue(clinic, 4)
    theirs = _queue(clinic, 4, service_id=other.pk)
    unnamed = _queue(clinic, 4, service_id=None)
    for queue in (mine, theirs, unnamed):
        _leave(queue[0])
    _tell()
    assert set(_told()) == {(mine[3].pk, 3), (theirs[3].pk, 3), (unnamed[3].pk, 3)}


def test_one_facility_is_told_of_and_no_other(clinic: World) -> None:
    neighbour = clinic.neighbour()
    for world in (clinic, neighbour):
        _leave(_queue(world, 4)[0])
    _tell(facility_id=clinic.facility.pk)
    assert {event.facility_id for event in Event.objects.filter(kind__endswith="_changed")} == {
        clinic.facility.pk
    }
    _tell()
    assert len(_told()) == 2


@pytest.mark.django_db(transaction=True)
def test_an_entry_that_somebody_has_locked_is_told_the_next_time(clinic: World) -> None:
    first, _, _, fourth = _queue(clinic, 4)
    _leave(first)
    with elsewhere.row_locked("waitlist_waitlistentry", "id", fourth.pk):
        _tell()
        assert _told() == []
    _tell()
    assert _told() == [(fourth.pk, 3)]
