"""Organizers who wait for venues: joining, positions, questions, and what time does to them."""

from datetime import UTC, date, datetime
from typing import Any
from uuid import uuid4

import pytest
from django.core.exceptions import ValidationError

from accounts.models import Tenant
from audit.errors import Refused
from audit.models import Event
from availability import rfps
from availability.models import RfpVenue
from scheduling.models import Facility
from tests import factories, venues
from tests.audit.log import written
from tests.waitlist import asking, worlds
from tests.waitlist.worlds import DAY, HOUR, NOW, SECOND, STAFF, World
from waitlist import entries, nudges, ranking
from waitlist.models import Queue, WaitlistEntry

pytestmark = pytest.mark.django_db


@pytest.fixture
def place(venue: World) -> Facility:
    return venue.facility


@pytest.fixture
def organizer() -> Tenant:
    return asking.organizer()


def refusal(source: RfpVenue, *, by: Tenant | None = None) -> Refused:
    """Let an organizer try to join; nothing may be left behind."""
    before = WaitlistEntry.objects.count(), Event.objects.count()
    with pytest.raises(Refused) as caught:
        entries.join_venue(
            rfp_venue_id=source.pk,
            organizer_id=by.pk if by else source.tenant_id,
            actor=STAFF,
            now=NOW,
        )
    assert (WaitlistEntry.objects.count(), Event.objects.count()) == before
    return caught.value


# Joining


def test_an_entry_is_the_organizers_and_its_event_too(place: Facility, organizer: Tenant) -> None:
    [source] = asking.refused(places=[place], by=organizer)
    with written() as events:
        entry = asking.join(source=source)
    assert (entry.tenant, entry.organizer, entry.patient) == (organizer, organizer, None)
    assert (entry.facility, entry.rfp_venue, entry.status) == (place, source, "waiting")
    [event] = events
    assert (event.kind, event.tenant_id, event.facility_id) == (
        "waitlist.joined", organizer.pk, place.pk
    )  # fmt: skip


def test_the_dates_are_whole_days_by_the_venues_clock(organizer: Tenant) -> None:
    place = venues.open_venue(timezone="America/New_York")
    entry = asking.wait(place=place, by=organizer)
    assert entry.earliest == datetime(2030, 5, 1, 4, tzinfo=UTC)
    assert entry.latest == datetime(2030, 5, 4, 4, tzinfo=UTC)
    assert not entry.dates_flexible


@pytest.mark.parametrize(
    ("contents", "expected"),
    [
        ({}, datetime(2030, 5, 4, tzinfo=UTC) - HOUR + 30 * DAY),  # summer time by then
        ({"preferred_dates_end": None}, datetime(2030, 5, 2, tzinfo=UTC) - HOUR + 30 * DAY),
        ({"dates_flexible": True}, NOW + 90 * DAY),
        (
            {
                "dates_flexible": True,
                "preferred_dates_start": None,
                "preferred_dates_end": None,
            },
            NOW + 90 * DAY,
        ),
    ],
)
def test_an_entry_ends_after_its_last_date_or_ninety_days_from_joining(
    place: Facility, contents: dict[str, Any], expected: datetime
) -> None:
    assert asking.wait(place=place, **contents).expires_at == expected


@pytest.mark.parametrize(
    "wishes",
    [{"earliest": NOW + DAY}, {"latest": NOW + 9 * DAY}, {"dates_flexible": True}, {"urgency": 3}],
)
def test_what_the_rfp_says_is_not_changed_in_the_entry(
    place: Facility, wishes: dict[str, Any]
) -> None:
    entry = asking.wait(place=place)
    with pytest.raises(ValidationError) as caught:
        entries.update(entry_id=entry.pk, wishes=wishes, actor=STAFF, now=NOW)
    assert set(caught.value.message_dict) == set(wishes)
    assert WaitlistEntry.objects.get(pk=entry.pk).version == entry.version


@pytest.mark.parametrize("end", [date(2030, 1, 31), date(2045, 1, 1)])
def test_dates_that_are_over_or_too_far_away_are_refused(place: Facility, end: date) -> None:
    dates: dict[str, Any] = {"preferred_dates_start": date(2030, 1, 30), "preferred_dates_end": end}
    [source] = asking.refused(places=[place], by=asking.organizer(), **dates)
    with pytest.raises(ValidationError) as caught:
        asking.join(source=source)
    assert set(caught.value.message_dict) == {"latest"}


def test_who_was_not_refused_does_not_wait(place: Facility, organizer: Tenant) -> None:
    for response in ("confirmed", "tentative", None):
        rfp = rfps.add(
            organizer_id=organizer.pk, values=venues.contents(), venue_ids=[place.pk],
            actor=STAFF, now=NOW,
        )  # fmt: skip
        source = rfp.targets.get()
        if response:
            rfps.send(rfp_id=rfp.pk, actor=STAFF, now=NOW)
            rfps.respond(rfp_venue_id=source.pk, response=response, actor=STAFF, now=NOW)
        assert refusal(source).code == "not_unavailable"


def test_nobody_waits_with_an_rfp_of_others_or_with_none(place: Facility) -> None:
    [source] = asking.refused(places=[place], by=asking.organizer())
    for refused in (
        refusal(source, by=asking.organizer()),
        refusal(source, by=factories.TenantFactory.create()),
        refusal(RfpVenue(pk=uuid4(), tenant=source.tenant)),
    ):
        assert (refused.code, refused.field) == ("not_found", "source_rfp_venue_id")


def test_nobody_waits_at_their_own_venue(organizer: Tenant) -> None:
    own = venues.open_venue()
    [source] = asking.refused(places=[own], by=organizer)
    Facility.objects.filter(pk=own.pk).update(tenant=organizer)
    Queue.objects.filter(pk=own.pk).update(tenant=organizer)
    assert refusal(source).code == "not_found"


def test_an_organizer_waits_once_at_a_venue_whatever_the_rfp(
    place: Facility, organizer: Tenant
) -> None:
    first = asking.wait(place=place, by=organizer)
    [again] = asking.refused(places=[place], by=organizer)
    assert refusal(again).code == "already_waiting"
    entries.cancel(entry_id=first.pk, reason="other", actor=STAFF, now=NOW)
    assert asking.join(source=again).status == "waiting"


def test_an_organizer_waits_for_five_venues_and_no_more(organizer: Tenant) -> None:
    sources = asking.refused(places=[venues.open_venue() for _ in range(6)], by=organizer)
    first, *_ = [asking.join(source=source) for source in sources[:5]]
    assert refusal(sources[5]).code == "too_many_entries"
    [other] = asking.refused(places=[sources[5].facility], by=asking.organizer())
    assert asking.join(source=other).status == "waiting"
    entries.cancel(entry_id=first.pk, reason="other", actor=STAFF, now=NOW)
    assert asking.join(source=sources[5]).status == "waiting"


def test_a_venue_that_closed_or_is_deactivated_takes_nobody(place: Facility) -> None:
    [source] = asking.refused(places=[place], by=asking.organizer())
    Queue.objects.filter(pk=place.pk).update(deactivated_at=NOW)
    assert refusal(source).code == "queue_closed"
    Queue.objects.filter(pk=place.pk).update(deactivated_at=None)
    Facility.objects.filter(pk=place.pk).update(is_active=False)
    assert refusal(source).code == "queue_closed"


# Positions


def test_a_position_counts_those_before_and_improves_as_they_leave(place: Facility) -> None:
    first, second, third = (asking.wait(place=place, at=NOW + n * HOUR) for n in range(3))
    hold = asking.offer(place=place)
    assert hold.entry_id == first.pk
    ids = [first.pk, second.pk, third.pk]
    assert ranking.positions(entry_ids=ids) == dict(zip(ids, (1, 2, 3), strict=True))
    entries.cancel(entry_id=second.pk, reason="found_alternative", actor=STAFF, now=NOW)
    assert ranking.positions(entry_ids=ids) == {first.pk: 1, third.pk: 2}
    asking.convert(hold)
    assert ranking.positions(entry_ids=ids) == {third.pk: 1}
    with written() as events:
        ranking.tell_positions(now=NOW, limit=10)
    assert events == []  # among the first three from the beginning


# Leaving


@pytest.mark.parametrize("reason", [code for code, _ in entries.ORGANIZER_REASONS])
def test_an_entry_is_cancelled_for_a_reason(place: Facility, reason: str) -> None:
    entry = asking.wait(place=place)
    with written() as events:
        entry = entries.cancel(
            entry_id=entry.pk, reason=reason, notes="we moved it", actor=STAFF, now=NOW
        )
    assert (entry.status, entry.closed_at) == ("cancelled", NOW)
    assert (entry.cancellation_reason, entry.cancellation_notes) == (reason, "we moved it")
    assert [event.data for event in events] == [{"reason": reason}]


# Are they still interested?


def _nudged(place: Facility, **contents: Any) -> WaitlistEntry:
    """Ask somebody who has waited for sixty days."""
    entry = asking.wait(place=place, **{"dates_flexible": True, **contents})
    assert nudges.ask_due(now=NOW + 60 * DAY - SECOND, limit=10) == 0
    assert nudges.ask_due(now=NOW + 60 * DAY, limit=10) == 1
    return entry


def _answer(entry: WaitlistEntry, *, interested: bool) -> WaitlistEntry:
    return nudges.answer(entry_id=entry.pk, interested=interested, actor=STAFF, now=NOW + 61 * DAY)


def test_who_says_yes_is_not_asked_again_and_waits_to_the_end(place: Facility) -> None:
    entry = _answer(_nudged(place), interested=True)
    assert entry.nudge_answered_at == NOW + 61 * DAY
    assert nudges.ask_due(now=NOW + 80 * DAY, limit=10) == 0
    assert nudges.expire_due(now=NOW + 80 * DAY, limit=10) == 0
    assert entries.expire_due(now=NOW + 90 * DAY - SECOND, limit=10) == 0
    assert entries.expire_due(now=NOW + 90 * DAY, limit=10) == 1


def test_who_says_no_is_cancelled_for_a_reason_that_only_the_system_gives(place: Facility) -> None:
    entry = _answer(_nudged(place), interested=False)
    assert (entry.status, entry.cancellation_reason) == ("cancelled", "nudge_declined")
    assert "nudge_declined" not in dict(entries.ORGANIZER_REASONS)


def test_who_says_nothing_for_a_week_expires(place: Facility) -> None:
    entry = _nudged(place)
    assert nudges.expire_due(now=NOW + 67 * DAY - SECOND, limit=10) == 0
    with written() as events:
        assert nudges.expire_due(now=NOW + 67 * DAY, limit=10) == 1
    entry.refresh_from_db()
    assert entry.status == "expired"
    assert [event.data for event in events] == [{"reason": "nudge_unanswered"}]


def test_who_has_a_date_is_not_asked(place: Facility) -> None:
    asking.wait(place=place)
    assert nudges.ask_due(now=NOW + 80 * DAY, limit=10) == 0


def test_who_is_offered_the_venue_meanwhile_does_not_expire(place: Facility) -> None:
    entry = _nudged(place)
    asking.offer(place=place, at=NOW + 66 * DAY)
    assert nudges.expire_due(now=NOW + 67 * DAY, limit=10) == 0
    assert entries.expire_due(now=NOW + 90 * DAY, limit=10) == 0
    entry.refresh_from_db()
    assert entry.status == "offered"


# Nobody at the venue


def test_a_venues_own_counts_leave_organizers_out(place: Facility) -> None:
    asking.wait(place=place)
    seen = WaitlistEntry.objects.filter(tenant=place.tenant)
    assert not seen.exists()
    assert not Event.objects.filter(tenant_id=place.tenant_id, entry_id__isnull=False).exists()


def test_a_patient_does_not_come_between(venue: World) -> None:
    with pytest.raises(entries.OrganizersOnly):
        worlds.World(venue.facility, venue.provider, venue.service).join()
