"""An offer of a venue that is accepted becomes a draft of a new RFP to it."""

from datetime import timedelta

import pytest

from audit.errors import Refused
from audit.models import Event
from availability import rfps
from availability.models import Rfp
from scheduling import slots
from scheduling.models import Facility
from tests import venues
from tests.audit.log import brief, written
from tests.waitlist import asking, worlds
from tests.waitlist.worlds import DAY, HOUR, NOW, SECOND, STAFF, World
from waitlist import cascades, conversions, entries, holds, offers
from waitlist.models import Hold, WaitlistEntry

pytestmark = pytest.mark.django_db


@pytest.fixture
def place(venue: World) -> Facility:
    return venue.facility


@pytest.fixture
def hold(place: Facility) -> Hold:
    asking.wait(place=place)
    return asking.offer(place=place)


def refusal(hold: Hold, *, at: timedelta = HOUR) -> Refused:
    """Let a conversion be refused; nothing may be left behind."""
    before = Rfp.objects.count()
    with pytest.raises(Refused) as caught:
        conversions.convert(hold_id=hold.pk, actor=STAFF, now=NOW + at)
    assert Rfp.objects.count() == before
    return caught.value


def test_the_draft_is_a_copy_for_this_venue_alone_to_be_answered_within_a_week(
    place: Facility,
) -> None:
    organizer = asking.organizer()
    source, _ = asking.refused(places=[place, venues.open_venue()], by=organizer)
    asking.join(source=source)
    hold = asking.offer(place=place)
    with written() as events:
        rfp = conversions.convert(hold_id=hold.pk, actor=STAFF, now=NOW + HOUR)
    copied = (
        "tenant_id", "title", "event_type", "preferred_dates_start", "preferred_dates_end",
        "dates_flexible", "attendance_min", "attendance_max", "space_requirements",
    )  # fmt: skip
    original = source.rfp
    assert [getattr(rfp, name) for name in copied] == [getattr(original, name) for name in copied]
    assert (rfp.status, rfp.duplicated_from, rfp.response_deadline) == (
        "draft", original, NOW + HOUR + 7 * DAY
    )  # fmt: skip
    [target] = rfp.targets.all()
    assert (target.facility, target.status) == (place, "pending")
    entry, hold = WaitlistEntry.objects.get(), Hold.objects.get()
    assert (entry.status, entry.converted_rfp, entry.closed_at) == ("converted", rfp, NOW + HOUR)
    assert (hold.status, hold.closed_at) == ("accepted", NOW + HOUR)
    assert cascades.vacant_since(facility_id=place.pk) is None
    assert ("waitlist.converted", "offered", "converted") in brief(events)
    told = next(event for event in events if event.kind == "waitlist.converted")
    assert (told.tenant_id, told.facility_id, told.hold_id) == (organizer.pk, place.pk, hold.pk)
    assert told.data == {"rfp_id": str(rfp.pk)}
    assert {event.tenant_id for event in events} == {organizer.pk, place.tenant_id}


def test_the_owner_learns_of_the_organizer_when_the_hold_is_converted(
    place: Facility, hold: Hold
) -> None:
    """And neither of the entry nor of who of them it was, nor of anybody else who waits."""
    asking.wait(place=place)
    theirs = Event.objects.filter(tenant_id=place.tenant_id)
    before = set(theirs.values_list("pk", flat=True))
    asking.convert(hold)
    event = theirs.exclude(pk__in=before).get()
    assert (event.kind, event.subject_id, event.facility_id) == (
        "venue.hold_converted", place.pk, place.pk
    )  # fmt: skip
    assert event.data == {"organization_id": str(hold.tenant_id)}
    assert (event.actor_type, event.actor_id) == ("system", None)
    assert (event.entry_id, event.hold_id) == (None, None)


def test_what_is_shown_of_the_venue_stays(place: Facility, hold: Hold) -> None:
    asking.convert(hold)
    place.refresh_from_db()
    assert place.availability.status == "accepting_events"


def test_an_offer_is_accepted_up_to_its_end(hold: Hold) -> None:
    refused = refusal(hold, at=2 * DAY)
    assert isinstance(refused, conversions.HoldLapsed)
    assert (refused.code, refused.more) == ("hold_lapsed", {"state": "expired"})
    asking.convert(hold, at=NOW + 2 * DAY - SECOND)


def test_an_offer_whose_lapse_was_noted_is_told_the_same(hold: Hold) -> None:
    holds.expire_due(now=hold.expires_at, limit=10)
    assert refusal(hold, at=2 * DAY).code == "hold_lapsed"


def test_an_offer_that_was_answered_is_over(hold: Hold) -> None:
    asking.convert(hold)
    refused = refusal(hold)
    assert (refused.code, refused.more) == ("hold_closed", {"state": "accepted"})


def test_an_offer_that_was_given_back_is_over(hold: Hold) -> None:
    entries.cancel(entry_id=hold.entry_id, reason="other", actor=STAFF, now=NOW)
    assert refusal(hold).more == {"state": "withdrawn"}
    with pytest.raises(conversions.NotOffered):
        conversions.last_offer(entry_id=hold.entry_id)


def test_who_was_never_offered_anything_has_nothing_to_convert(place: Facility) -> None:
    entry = asking.wait(place=place)
    with pytest.raises(conversions.NotOffered):
        conversions.last_offer(entry_id=entry.pk)


def test_an_organizer_with_five_rfps_converts_once_one_has_ended(hold: Hold) -> None:
    drafts = [
        rfps.add(
            organizer_id=hold.tenant_id, values=venues.contents(), venue_ids=[], actor=STAFF,
            now=NOW,
        )
        for _ in range(5)
    ]  # fmt: skip
    assert refusal(hold).code == "too_many_rfps"
    hold.refresh_from_db()
    assert (hold.status, hold.entry.status) == ("offered", "offered")
    assert cascades.vacant_since(facility_id=hold.facility_id) is not None
    rfps.close(rfp_id=drafts[0].pk, actor=STAFF, now=NOW)
    assert asking.convert(hold).status == "converted"


def test_nothing_is_asked_of_a_venue_that_closed(hold: Hold) -> None:
    Facility.objects.filter(pk=hold.facility_id).update(is_active=False)
    refused = refusal(hold)
    assert isinstance(refused, slots.Inactive)


def test_a_slot_is_not_converted_nor_a_venue_booked(clinic: World, hold: Hold) -> None:
    of_slot = clinic.offer()
    with pytest.raises(holds.HoldClosed):
        conversions.convert(hold_id=of_slot.pk, actor=STAFF, now=NOW)
    with pytest.raises(holds.HoldClosed):
        worlds.accept(hold)


def test_whoever_says_yes_gets_what_the_offer_is_of(clinic: World, hold: Hold) -> None:
    for one in (hold, clinic.offer()):
        offers.accept(hold_id=one.pk, actor=STAFF, now=NOW)
        one.refresh_from_db()
        assert (one.status, one.entry.status) == ("accepted", "converted")
        assert (one.entry.appointment is None) == (one.slot is None)


def test_the_others_keep_waiting(place: Facility, hold: Hold) -> None:
    other = asking.wait(place=place)
    asking.convert(hold)
    other.refresh_from_db()
    assert other.status == "waiting"
    # And who converted may wait here again.
    assert asking.wait(place=place, by=hold.entry.organizer).status == "waiting"
