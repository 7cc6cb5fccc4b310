"""A venue that has room again is offered to one who waits after the other."""

from collections.abc import Callable
from datetime import datetime, time

import pytest
from django.db import connection
from pytest_django import DjangoCaptureOnCommitCallbacks

from audit import locks
from scheduling.models import Facility
from tests import venues
from tests.audit import elsewhere
from tests.audit.log import written
from tests.waitlist import asking
from tests.waitlist.worlds import DAY, HOUR, NOW, STAFF, World
from waitlist import cascades, entries, holds, nudges
from waitlist.models import Hold, WaitlistEntry, WaitlistPolicy

pytestmark = pytest.mark.django_db

TASK = "waitlist.tasks.offer_vacancy"


@pytest.fixture
def place(venue: World) -> Facility:
    return venue.facility


def go_on(place: Facility, *, at: datetime = NOW) -> Hold | None:
    return cascades.go_on(facility_id=place.pk, now=at)


def _sent(act: Callable[[], object], capture: DjangoCaptureOnCommitCallbacks) -> list[str]:
    """Do something, and return the venues for which the task is sent."""
    connection.run_on_commit.clear()  # as if what was done before were committed
    with capture() as callbacks:
        act()
    messages = [callback for callback in callbacks if getattr(callback, "task", "") == TASK]
    return [message.arg for message in messages]  # type: ignore[attr-defined]


# What is offered to whom


def test_the_first_who_waits_is_offered_the_venue_for_two_days(place: Facility) -> None:
    first, second = (asking.wait(place=place, at=NOW + n * HOUR) for n in range(2))
    asking.free(place=place)
    with written() as events:
        hold = go_on(place, at=NOW + DAY)
    assert hold is not None
    assert (hold.entry_id, hold.slot, hold.patient) == (first.pk, None, None)
    assert (hold.offered_at, hold.expires_at) == (NOW + DAY, NOW + 3 * DAY)
    assert (hold.source, hold.tenant_id) == ("scan", first.tenant_id)
    [event] = events
    assert (event.kind, event.tenant_id, event.entry_id) == (
        "waitlist.hold_offered", first.tenant_id, first.pk
    )  # fmt: skip
    for entry in (first, second):
        entry.refresh_from_db()
    assert (first.status, second.status) == ("offered", "waiting")


def test_one_at_a_time(place: Facility) -> None:
    for _ in range(2):
        asking.wait(place=place)
    asking.offer(place=place)
    assert go_on(place) is None


def test_an_offer_after_another_is_a_cascade(place: Facility) -> None:
    for _ in range(2):
        asking.wait(place=place)
    hold = asking.offer(place=place)
    holds.expire_due(now=hold.expires_at, limit=10)
    following = go_on(place, at=hold.expires_at)
    assert following is not None
    assert following.source == "cascade"


def test_nothing_is_offered_of_a_venue_that_has_no_room(place: Facility) -> None:
    asking.wait(place=place)
    assert go_on(place) is None
    asking.free(place=place)
    asking.fill(place=place)
    assert go_on(place) is None


def test_nothing_is_offered_to_nobody(place: Facility) -> None:
    asking.free(place=place)
    assert go_on(place) is None


def _closes(place: Facility) -> None:
    Facility.objects.filter(pk=place.pk).update(is_active=False)


def _leaves_it_to_people(place: Facility) -> None:
    WaitlistPolicy.objects.filter(facility=place).update(auto_invite=False)


def _sleeps(place: Facility) -> None:
    WaitlistPolicy.objects.filter(facility=place).update(quiet_from=time(9), quiet_until=time(11))


@pytest.mark.parametrize("how", [_closes, _leaves_it_to_people, _sleeps])
def test_nothing_is_offered_where_the_scan_would_offer_nothing(
    place: Facility, how: Callable[[Facility], None]
) -> None:
    asking.wait(place=place)
    asking.free(place=place)
    how(place)
    assert go_on(place) is None
    assert not Hold.objects.exists()


# What sets it going


def test_it_begins_when_a_venue_has_room_again(
    place: Facility, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    asking.wait(place=place)
    sent = _sent(lambda: asking.free(place=place), django_capture_on_commit_callbacks)
    assert sent == [str(place.pk)]


@pytest.mark.parametrize("way", ["lapse", "cancel", "decline"])
def test_it_goes_on_when_an_offer_lapses_or_is_given_back(
    place: Facility, way: str, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    for _ in range(2):
        asking.wait(place=place)
    hold = asking.offer(place=place)

    def act() -> None:
        if way == "lapse":
            holds.expire_due(now=hold.expires_at, limit=10)
        elif way == "cancel":
            entries.cancel(entry_id=hold.entry_id, reason="other", actor=STAFF, now=NOW)
        else:
            holds.decline(hold_id=hold.pk, actor=STAFF, now=NOW)

    assert _sent(act, django_capture_on_commit_callbacks) == [str(place.pk)]
    following = go_on(place, at=hold.expires_at)
    assert following is not None
    assert following.entry_id != hold.entry_id


def test_a_conversion_starts_nothing_and_ends_it(
    place: Facility, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    for _ in range(2):
        asking.wait(place=place)
    hold = asking.offer(place=place)
    sent = _sent(lambda: asking.convert(hold), django_capture_on_commit_callbacks)
    assert sent == []
    assert cascades.vacant_since(facility_id=place.pk) is None
    assert go_on(place) is None


@pytest.mark.parametrize("way", ["time over", "nudge unanswered", "cancel"])
def test_who_leaves_without_an_offer_starts_nothing(
    place: Facility,
    way: str,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    entry = asking.wait(place=place, dates_flexible=True)
    asking.wait(place=place, at=NOW + 80 * DAY)
    nudges.ask_due(now=NOW + 61 * DAY, limit=10)

    def act() -> None:
        if way == "cancel":
            entries.cancel(entry_id=entry.pk, reason="other", actor=STAFF, now=NOW)
        else:
            sweep = entries.expire_due if way == "time over" else nudges.expire_due
            assert sweep(now=NOW + 90 * DAY, limit=10) == 1

    assert _sent(act, django_capture_on_commit_callbacks) == []


def test_a_clinics_offers_start_no_cascade(
    clinic: World, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    hold = clinic.offer()
    sent = _sent(
        lambda: holds.expire_due(now=hold.expires_at, limit=10), django_capture_on_commit_callbacks
    )
    assert sent == []


# The sweep


def test_the_sweep_finds_a_cascade_whose_message_was_lost(place: Facility) -> None:
    for _ in range(2):
        asking.wait(place=place)
    assert cascades.find(now=NOW) == []
    asking.free(place=place)
    assert cascades.find(now=NOW) == [place.pk]
    hold = go_on(place)
    assert hold is not None
    assert cascades.find(now=NOW) == []
    holds.expire_due(now=hold.expires_at, limit=10)
    assert cascades.find(now=hold.expires_at) == [place.pk]


def test_the_sweep_passes_by_what_ended_by_conversion(place: Facility) -> None:
    for _ in range(2):
        asking.wait(place=place)
    asking.convert(asking.offer(place=place))
    assert WaitlistEntry.objects.filter(status="waiting").count() == 1
    assert cascades.find(now=NOW + DAY) == []
    # Until the venue has room again.
    asking.free(place=place, at=NOW + 10 * DAY)
    assert cascades.find(now=NOW + 10 * DAY) == [place.pk]


def test_the_sweep_passes_by_what_is_not_offered(place: Facility) -> None:
    asking.wait(place=place)
    asking.free(place=place)
    _leaves_it_to_people(place)
    assert cascades.find(now=NOW) == []
    WaitlistPolicy.objects.update(auto_invite=True)
    _closes(place)
    assert cascades.find(now=NOW) == []


def test_one_run_for_a_venue_at_once(venue: World) -> None:
    place, other = venue.facility, venues.open_venue()
    for one in (place, other):
        asking.wait(place=one)
        asking.free(place=one)
    with elsewhere.locked(f"{locks.CASCADE}:{place.pk}"):
        with pytest.raises(cascades.Busy):
            go_on(place)
        assert go_on(other) is not None
    assert go_on(place) is not None
