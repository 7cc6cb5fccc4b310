"""Three offers in a row that nobody answers: the venue's owner is asked."""

from contextlib import suppress
from datetime import datetime, timedelta

import pytest
from django.db import transaction

from audit.events import Actor
from audit.models import Event
from scheduling.models import Facility
from tests import factories, venues
from tests.audit.log import written
from tests.waitlist import asking
from tests.waitlist.worlds import DAY, NOW, SECOND, STAFF, World
from waitlist import breakers, cascades, entries, holds, nudges, queues
from waitlist.breakers import Resumed
from waitlist.models import CircuitBreaker, Hold, Queue, WaitlistEntry, WaitlistPolicy

pytestmark = pytest.mark.django_db

TRIPPED = "waitlist.circuit_breaker_triggered"


@pytest.fixture
def place(venue: World) -> Facility:
    return venue.facility


def offer(place: Facility, *, at: datetime) -> Hold:
    """Let the cascade go on, with somebody who joins."""
    asking.wait(place=place, at=at)
    hold = cascades.go_on(facility_id=place.pk, now=at)
    assert hold is not None
    return hold


def lapse(place: Facility, *, at: datetime, times: int = 1) -> datetime:
    """Let so many offers lapse, one after the other; return when the last one did."""
    for _ in range(times):
        at = offer(place, at=at).expires_at
        assert holds.expire_due(now=at, limit=10) == 1
    return at


def states(place: Facility) -> list[str]:
    found = CircuitBreaker.objects.filter(facility=place).order_by("tripped_at")
    return list(found.values_list("status", flat=True))


def resolve(place: Facility, *, at: datetime) -> Resumed:
    owner = Actor("user", factories.UserFactory.create().pk)
    return breakers.resolve(facility_id=place.pk, actor=owner, now=at)


def can_join(place: Facility, *, at: datetime) -> bool:
    with suppress(queues.QueueClosed):
        return asking.wait(place=place, at=at).status == "waiting"
    return False


@pytest.fixture
def tripped(place: Facility) -> datetime:
    """When the third offer in a row lapsed."""
    asking.free(place=place)
    return lapse(place, at=NOW, times=3)


# Tripping


def test_two_lapses_trip_nothing_and_the_third_does(place: Facility) -> None:
    asking.free(place=place)
    at = lapse(place, at=NOW, times=2)
    assert states(place) == []
    with written() as events:
        at = lapse(place, at=at)
    assert states(place) == ["tripped"]
    [event] = [event for event in events if event.kind == TRIPPED]
    assert (event.tenant_id, event.facility_id) == (place.tenant_id, place.pk)
    assert (event.entry_id, event.hold_id, event.data) == (None, None, {})
    assert CircuitBreaker.objects.get().tripped_at == at


def test_a_tripped_breaker_stops_the_cascade(place: Facility, tripped: datetime) -> None:
    asking.wait(place=place, at=tripped)
    assert cascades.go_on(facility_id=place.pk, now=tripped) is None
    assert cascades.find(now=tripped) == []
    # The venue has room still, and more of it does not help.
    asking.free(place=place, at=tripped)
    assert cascades.go_on(facility_id=place.pk, now=tripped) is None


@pytest.mark.parametrize("answer", ["convert", "cancel", "decline"])
def test_an_answer_between_them_begins_the_count_anew(place: Facility, answer: str) -> None:
    asking.free(place=place)
    at = lapse(place, at=NOW, times=2)
    hold = offer(place, at=at)
    if answer == "convert":
        asking.convert(hold, at=at)
        asking.free(place=place, at=at)
    elif answer == "cancel":
        entries.cancel(entry_id=hold.entry_id, reason="declined_offer", actor=STAFF, now=at)
    else:
        holds.decline(hold_id=hold.pk, actor=STAFF, now=at)
    at = lapse(place, at=at, times=2)
    assert states(place) == []
    lapse(place, at=at)
    assert states(place) == ["tripped"]


@pytest.mark.parametrize("late", [SECOND, 0 * SECOND])
@pytest.mark.parametrize("leave", ["cancel", "no"])
def test_what_is_given_back_after_its_deadline_has_lapsed(
    place: Facility, leave: str, late: timedelta
) -> None:
    """Though no sweep has been there; a second before, it is an answer."""
    asking.free(place=place)
    at = lapse(place, at=NOW, times=2)
    hold = offer(place, at=at)
    for early in (True, False):
        with transaction.atomic():
            at = hold.expires_at - SECOND if early else hold.expires_at + late
            if leave == "cancel":
                entries.cancel(entry_id=hold.entry_id, reason="other", actor=STAFF, now=at)
            else:
                nudges.answer(entry_id=hold.entry_id, interested=False, actor=STAFF, now=at)
            hold.refresh_from_db()
            assert (hold.status, hold.closed_at) == ("withdrawn", at)
            assert states(place) == ([] if early else ["tripped"])
            transaction.set_rollback(True)


def test_a_lapse_that_was_given_back_late_is_one_of_three_in_a_row(place: Facility) -> None:
    asking.free(place=place)
    late = offer(place, at=NOW)
    at = late.expires_at + DAY
    entries.cancel(entry_id=late.entry_id, reason="other", actor=STAFF, now=at)
    at = lapse(place, at=at)
    assert states(place) == []
    lapse(place, at=at)
    assert states(place) == ["tripped"]


def test_who_ages_out_between_them_does_not_change_the_count(place: Facility) -> None:
    asking.free(place=place)
    at = lapse(place, at=NOW, times=2)
    leaving, aging = (asking.wait(place=place, at=at) for _ in range(2))
    entries.cancel(entry_id=leaving.pk, reason="other", actor=STAFF, now=at)
    WaitlistEntry.objects.filter(pk=aging.pk).update(expires_at=at)
    assert entries.expire_due(now=at, limit=10) == 1
    lapse(place, at=at)
    assert states(place) == ["tripped"]


def test_lapses_of_slots_and_of_other_venues_do_not_count(venue: World) -> None:
    place, other = venue.facility, venues.open_venue()
    for one in (place, other):
        asking.free(place=one)
    at = lapse(place, at=NOW, times=2)
    lapse(other, at=NOW, times=2)
    slot = venue.slot()
    slots = Hold.objects.create(
        tenant=venue.tenant, facility=place, entry=asking.wait(place=place), slot=slot,
        period=slot.period, source="scan", offered_at=at, expires_at=at + DAY,
    )  # fmt: skip
    Hold.objects.filter(pk=slots.pk).update(status="expired", closed_at=at)
    assert breakers.trip(facility_ids=[place.pk, other.pk], now=at) == 0


def test_a_venue_may_have_no_breaker_or_another_threshold(place: Facility) -> None:
    asking.free(place=place)
    WaitlistPolicy.objects.update(breaker_threshold=None, breaker_timeout=None)
    at = lapse(place, at=NOW, times=4)
    assert states(place) == []
    WaitlistPolicy.objects.update(breaker_threshold=5, breaker_timeout=DAY)
    lapse(place, at=at)
    assert states(place) == ["tripped"]


def test_what_tripped_does_not_trip_again(place: Facility, tripped: datetime) -> None:
    assert breakers.trip(facility_ids=[place.pk], now=tripped) == 0
    assert states(place) == ["tripped"]


# Resolving


def test_resolving_offers_the_venue_to_the_next(place: Facility, tripped: datetime) -> None:
    first, second = (asking.wait(place=place, at=tripped) for _ in range(2))
    user = factories.UserFactory.create()
    with written() as events:
        resumed = breakers.resolve(
            facility_id=place.pk, actor=Actor("user", user.pk), now=tripped + DAY
        )
    assert resumed == Resumed(cascade_resumed=True, next_entry_offered=True)
    breaker = CircuitBreaker.objects.get()
    assert (breaker.status, breaker.resolved_at, breaker.resolved_by) == (
        "resolved", tripped + DAY, user
    )  # fmt: skip
    for entry in (first, second):
        entry.refresh_from_db()
    assert (first.status, second.status) == ("offered", "waiting")
    told = {event.kind: event.tenant_id for event in events}
    assert told == {
        "waitlist.circuit_breaker_resolved": place.tenant_id,
        "waitlist.hold_offered": first.tenant_id,
    }


def test_the_owner_is_told_whether_somebody_was_offered_and_not_who(
    place: Facility, tripped: datetime
) -> None:
    assert resolve(place, at=tripped) == Resumed(cascade_resumed=True, next_entry_offered=False)


def test_resolving_without_room_resumes_nothing(place: Facility, tripped: datetime) -> None:
    asking.wait(place=place, at=tripped)
    asking.fill(place=place, at=tripped)
    assert resolve(place, at=tripped) == Resumed(cascade_resumed=False, next_entry_offered=False)
    assert states(place) == ["resolved"]


def test_the_count_begins_anew_once_resolved(place: Facility, tripped: datetime) -> None:
    resolve(place, at=tripped)
    at = lapse(place, at=tripped, times=2)
    assert states(place) == ["resolved"]
    lapse(place, at=at)
    assert states(place) == ["resolved", "tripped"]


def test_there_is_nothing_to_resolve_where_no_breaker_is_open(place: Facility) -> None:
    for _ in range(2):
        with pytest.raises(breakers.NoBreaker):
            resolve(place, at=NOW)
        CircuitBreaker.objects.create(tenant=place.tenant, facility=place, tripped_at=NOW)
        CircuitBreaker.objects.update(status="resolved", resolved_at=NOW)


# Nobody answers


def test_after_a_week_the_waitlist_is_deactivated_until_it_is_resolved(
    place: Facility, tripped: datetime
) -> None:
    waiting = asking.wait(place=place, at=tripped)
    due = tripped + 7 * DAY
    assert breakers.deactivate_due(now=due - SECOND, limit=10) == 0
    with written() as events:
        assert breakers.deactivate_due(now=due, limit=10) == 1
    assert [(event.kind, event.tenant_id) for event in events] == [
        ("waitlist.deactivated", place.tenant_id)
    ]
    assert (states(place), Queue.objects.get(pk=place.pk).deactivated_at) == (["deactivated"], due)
    assert breakers.deactivate_due(now=due + DAY, limit=10) == 0
    waiting.refresh_from_db()
    assert waiting.status == "waiting"
    assert resolve(place, at=due + DAY) == Resumed(cascade_resumed=True, next_entry_offered=True)
    assert (states(place), Queue.objects.get(pk=place.pk).deactivated_at) == (["resolved"], None)


def test_what_was_resolved_in_time_is_not_deactivated(place: Facility, tripped: datetime) -> None:
    resolve(place, at=tripped + 6 * DAY)
    assert breakers.deactivate_due(now=tripped + 8 * DAY, limit=10) == 0


def test_who_waits_at_a_deactivated_venue_ages_as_ever(place: Facility, tripped: datetime) -> None:
    entry = asking.wait(place=place, at=tripped, dates_flexible=True)
    breakers.deactivate_due(now=tripped + 7 * DAY, limit=10)
    assert nudges.ask_due(now=tripped + 60 * DAY, limit=10) == 1
    assert entries.expire_due(now=tripped + 90 * DAY, limit=10) == 1
    entry.refresh_from_db()
    assert entry.status == "expired"


def test_joining_is_possible_while_offers_have_stopped_and_not_while_deactivated(
    place: Facility, tripped: datetime
) -> None:
    assert can_join(place, at=tripped)
    breakers.deactivate_due(now=tripped + 7 * DAY, limit=10)
    assert not can_join(place, at=tripped + 8 * DAY)
    resolve(place, at=tripped + 9 * DAY)
    assert can_join(place, at=tripped + 9 * DAY)


def test_a_sweep_deactivates_no_more_than_its_limit() -> None:
    for _ in range(3):
        place = venues.open_venue()
        asking.free(place=place)
        lapse(place, at=NOW, times=3)
    due = NOW + 30 * DAY
    assert [breakers.deactivate_due(now=due, limit=2) for _ in range(3)] == [2, 1, 0]


def test_no_event_of_the_owners_names_who_waited(place: Facility, tripped: datetime) -> None:
    breakers.deactivate_due(now=tripped + 7 * DAY, limit=10)
    resolve(place, at=tripped + 8 * DAY)
    theirs = Event.objects.filter(tenant_id=place.tenant_id)
    assert {event.kind for event in theirs if event.kind.startswith("waitlist.")} == {
        TRIPPED, "waitlist.deactivated", "waitlist.circuit_breaker_resolved"
    }  # fmt: skip
    assert not theirs.exclude(entry_id=None, hold_id=None).exists()
