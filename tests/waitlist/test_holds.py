"""What becomes of an offer: accepted, declined, lapsed, withdrawn, reminded; what is refused."""

from collections.abc import Callable
from datetime import datetime, time, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.core.exceptions import ValidationError
from django.forms.models import model_to_dict

from audit.errors import NotFound
from audit.models import Event
from scheduling import appointments, blocks, slots
from scheduling.models import Appointment, Facility, Slot, TimeBlock
from tests import factories
from tests.audit import elsewhere
from tests.audit.log import brief, written
from tests.waitlist import asking, worlds
from tests.waitlist.worlds import DAY, HOUR, MINUTE, NOW, SECOND, STAFF, World
from waitlist import entries, fill, holds, invites
from waitlist.models import Hold, WaitlistPolicy

END = NOW + DAY - 30 * MINUTE  # of the offer that `World.offer` makes
NIGHT = NOW.replace(hour=23)  # in London, in winter
MORNING = (NOW + DAY).replace(hour=8)


def _states(hold: Hold) -> tuple[str, str, str]:
    """Return the statuses of hold, entry and slot."""
    fresh = Hold.objects.select_related("entry", "slot").get(pk=hold.pk)
    assert fresh.slot is not None
    return fresh.status, fresh.entry.status, fresh.slot.status


def _block(hold: Hold, *, minutes: int = 30) -> TimeBlock:
    """Block the time of a hold's slot, all of it."""
    assert hold.period is not None
    return blocks.create(
        facility_id=hold.facility_id,
        provider_id=None,
        starts_at=hold.period.lower,
        ends_at=hold.period.lower + minutes * MINUTE,
        reason="Burst pipe",
        actor=STAFF,
        now=NOW,
    ).block


def _expire(*, now: Any = END, limit: int = 10) -> int:
    return holds.expire_due(now=now, limit=limit)


@pytest.fixture
def hold(clinic: World) -> Hold:
    """A live offer."""
    return clinic.offer()


# Accepting


def test_who_accepts_is_booked(hold: Hold) -> None:
    with written() as events:
        appointment = worlds.accept(hold)
    assert _states(hold) == ("accepted", "converted", "booked")
    hold.refresh_from_db()
    hold.entry.refresh_from_db()
    assert (hold.closed_at, hold.entry.closed_at) == (NOW, NOW)
    assert hold.entry.appointment_id == appointment.pk
    assert (appointment.patient_id, appointment.slot_id, appointment.period) == (
        hold.patient_id, hold.slot_id, hold.period
    )  # fmt: skip
    assert (appointment.source, appointment.status) == ("waitlist", "booked")
    assert brief(events) == [
        ("appointment.booked", None, "booked"),
        ("waitlist.converted", "offered", "converted"),
    ]
    for event in events:
        assert (event.entry_id, event.hold_id, event.slot_id) == (
            hold.entry_id, hold.pk, hold.slot_id
        )  # fmt: skip
        assert (event.actor_id, event.at) == (STAFF.id, NOW)
    assert events[1].data == {
        "appointment_id": str(appointment.pk),
        "source": "waitlist",
        "starts_at": appointment.period.lower.isoformat(),
    }


def test_what_is_booked_is_what_was_waited_for_where_the_slot_is_for_anything(
    clinic: World,
) -> None:
    entry, slot = clinic.join(), clinic.slot(service=None)
    assert worlds.accept(clinic.offer(entry=entry, slot=slot)).service_id == clinic.service.pk
    own = factories.ServiceFactory.create(tenant=clinic.tenant)
    other = clinic.slot(service=own, at=NOW + 2 * DAY)
    hold = clinic.offer(entry=clinic.join(service_id=None), slot=other)
    assert worlds.accept(hold).service_id == own.pk


def test_an_offer_can_be_accepted_until_its_end_and_not_at_it(hold: Hold) -> None:
    with pytest.raises(holds.HoldClosed):
        worlds.accept(hold, now=END)
    assert worlds.accept(hold, now=END - SECOND).status == "booked"


def test_an_accepted_offer_does_not_count_as_one_that_came_to_nothing(hold: Hold) -> None:
    worlds.accept(hold)
    hold.entry.refresh_from_db()
    assert hold.entry.offers_made == 0


@pytest.mark.parametrize("provider_of", ["facility", "provider"])
def test_an_offer_under_a_block_cannot_be_accepted(hold: Hold, provider_of: str) -> None:
    assert hold.slot is not None
    assert hold.period is not None
    factories.TimeBlockFactory.create(
        facility=hold.slot.facility,
        provider=hold.slot.provider if provider_of == "provider" else None,
        starts_at=hold.period.lower + 29 * MINUTE,
    )
    with pytest.raises(slots.SlotBlocked) as caught:
        worlds.accept(hold)
    assert (caught.value.code, caught.value.field) == ("slot_blocked", "slot")
    assert _states(hold) == ("offered", "offered", "held")
    assert not Appointment.objects.exists()


def test_who_was_booked_elsewhere_meanwhile_cannot_accept(clinic: World, hold: Hold) -> None:
    clinic.neighbour().book(patient=hold.patient)
    with pytest.raises(appointments.PatientBusy):
        worlds.accept(hold)
    assert _states(hold) == ("offered", "offered", "held")


# Declining


def test_who_declines_waits_again_in_their_place(clinic: World, hold: Hold) -> None:
    revision = clinic.queue.revision
    with written() as events:
        declined = worlds.decline(hold)
    assert _states(hold) == ("declined", "waiting", "open")
    assert declined.closed_at == NOW
    hold.entry.refresh_from_db()
    assert (hold.entry.offers_made, hold.entry.closed_at) == (1, None)
    assert sorted(brief(events)) == [
        ("slot.opened", "held", "open"),
        ("waitlist.hold_declined", "offered", "declined"),
        ("waitlist.requeued", "offered", "waiting"),
    ]
    by_kind = {event.kind: event for event in events}
    assert by_kind["waitlist.hold_declined"].data == {"offers_made": 1}
    assert by_kind["waitlist.requeued"].data == {"reason": "declined"}
    for kind in ("waitlist.hold_declined", "waitlist.requeued"):
        event = by_kind[kind]
        assert (event.entry_id, event.hold_id, event.slot_id, event.actor_id) == (
            hold.entry_id, hold.pk, hold.slot_id, STAFF.id
        )  # fmt: skip
    assert clinic.queue.revision == revision + 1


@pytest.mark.parametrize(("any_facility", "more"), [(False, 0), (True, 1)])
def test_who_waits_again_counts_the_visitors_on_if_one(
    clinic: World, any_facility: bool, more: int
) -> None:
    hold = clinic.offer(entry=clinic.join(any_facility=any_facility))
    before = clinic.queue.visitors_revision
    worlds.decline(hold)
    assert clinic.queue.visitors_revision == before + more


def test_where_the_policy_says_so_who_declines_is_cancelled(clinic: World) -> None:
    clinic.change(on_decline="cancel")
    hold = clinic.offer()
    revision = clinic.queue.revision
    with written() as events:
        worlds.decline(hold)
    assert _states(hold) == ("declined", "cancelled", "open")
    hold.entry.refresh_from_db()
    assert (hold.entry.cancellation_reason, hold.entry.closed_at) == ("declined_offer", NOW)
    assert ("waitlist.cancelled", "offered", "cancelled") in brief(events)
    [ended] = [event for event in events if event.kind == "waitlist.cancelled"]
    assert ended.data == {"reason": "declined_offer"}
    assert clinic.queue.revision == revision


@pytest.mark.parametrize("way", ["decline", "lapse"])
@pytest.mark.parametrize(("limit", "then"), [(1, "expired"), (2, "waiting"), (None, "waiting")])
def test_who_had_all_the_offers_they_may_have_expires(
    clinic: World, way: str, limit: int | None, then: str
) -> None:
    clinic.change(max_offers_per_entry=limit)
    hold = clinic.offer()
    with written() as events:
        if way == "decline":
            worlds.decline(hold)
        else:
            _expire()
    hold.entry.refresh_from_db()
    assert (hold.entry.status, hold.entry.offers_made) == (then, 1)
    expired = [event.data for event in events if event.kind == "waitlist.auto_expired"]
    reason = "hold_declined" if way == "decline" else "hold_expired"
    assert expired == ([{"reason": reason}] if then == "expired" else [])


def test_the_last_of_several_offers_ends_the_entry(clinic: World) -> None:
    clinic.change(max_offers_per_entry=2)
    entry = clinic.join()
    outcomes = []
    for day in (1, 2):
        worlds.decline(clinic.offer(entry=entry, slot=clinic.slot(at=NOW + day * DAY)))
        entry.refresh_from_db()
        outcomes.append((entry.status, entry.offers_made))
    assert outcomes == [("waiting", 1), ("expired", 2)]


def test_a_visitor_who_declines_does_what_their_own_queue_says(salon: World) -> None:
    own = salon.neighbour(kind="clinic")
    own.change(on_decline="cancel")
    hold = salon.offer(entry=own.join(service_id=None, any_facility=True))
    worlds.decline(hold)
    assert _states(hold) == ("declined", "cancelled", "open")


# Lapsing


def test_an_offer_lapses_at_its_end_and_not_before(hold: Hold) -> None:
    assert _expire(now=END - SECOND) == 0
    with written() as events:
        assert _expire(now=END) == 1
    assert _states(hold) == ("expired", "waiting", "open")
    hold.entry.refresh_from_db()
    assert hold.entry.offers_made == 1
    assert sorted(brief(events)) == [
        ("slot.opened", "held", "open"),
        ("waitlist.hold_expired", "offered", "expired"),
        ("waitlist.requeued", "offered", "waiting"),
    ]
    by_kind = {event.kind: event for event in events}
    assert by_kind["waitlist.requeued"].data == {"reason": "expired"}
    assert {event.actor_type for event in events} == {"system"}
    assert _expire(now=END) == 0


def test_at_a_salon_who_lapses_expires(salon: World) -> None:
    hold = salon.offer()
    with written() as events:
        assert _expire(now=NOW + 15 * MINUTE) == 1
    assert _states(hold) == ("expired", "expired", "open")
    hold.entry.refresh_from_db()
    assert hold.entry.closed_at == NOW + 15 * MINUTE
    assert ("waitlist.auto_expired", "offered", "expired") in brief(events)


def test_a_sweep_ends_no_more_than_its_limit_the_oldest_first(clinic: World) -> None:
    made = [clinic.offer(slot=clinic.slot(at=NOW + (3 + n) * HOUR)) for n in (2, 0, 1)]
    assert _expire(now=NOW + 2 * DAY, limit=2) == 2
    live = Hold.objects.get(status="offered")
    assert live.pk == made[0].pk
    assert _expire(now=NOW + 2 * DAY, limit=2) == 1


def test_a_lapsed_offer_of_a_slot_that_no_rule_makes_any_longer_retires_it(hold: Hold) -> None:
    assert hold.slot_id is not None
    Slot.objects.filter(pk=hold.slot_id).update(superseded=True)
    _expire()
    assert _states(hold) == ("expired", "waiting", "retired")


def test_a_lapsed_offer_of_a_blocked_slot_lands_in_blocked(hold: Hold) -> None:
    _block(hold)
    assert _expire() == 1
    assert _states(hold) == ("expired", "waiting", "blocked")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("table", ["waitlist_queue", "scheduling_slot"])
def test_a_sweep_leaves_what_somebody_has_locked_to_the_next(table: str) -> None:
    first, second = worlds.build(), worlds.build()
    locked, free = first.offer(), second.offer()
    where = {
        "waitlist_queue": ("facility_id", locked.facility_id),
        "scheduling_slot": ("id", locked.slot_id),
    }
    column, key = where[table]
    with elsewhere.row_locked(table, column, key):
        assert _expire() == 1
    assert _states(locked) == ("offered", "offered", "held")
    assert _states(free) == ("expired", "waiting", "open")
    assert _expire() == 1
    assert _states(locked) == ("expired", "waiting", "open")


# Holds of a whole venue


def _offer_venue(venue: World) -> Hold:
    return asking.offer(place=asking.wait(place=venue.facility).facility)


def test_an_organizer_who_declines_a_venue_is_cancelled(venue: World) -> None:
    hold = _offer_venue(venue)
    with written() as events:
        worlds.decline(hold)
    hold.refresh_from_db()
    hold.entry.refresh_from_db()
    assert (hold.status, hold.entry.status) == ("declined", "cancelled")
    assert hold.entry.cancellation_reason == "declined_offer"
    assert sorted(brief(events)) == [
        ("waitlist.cancelled", "offered", "cancelled"),
        ("waitlist.hold_declined", "offered", "declined"),
    ]
    organizer = hold.entry.organizer_id
    assert {event.tenant_id for event in events} == {organizer}
    assert {event.facility_id for event in events} == {venue.facility.pk}


def test_an_organizer_who_lets_a_venue_lapse_expires(venue: World) -> None:
    hold = _offer_venue(venue)
    assert _expire(now=NOW + 2 * DAY) == 1
    hold.refresh_from_db()
    hold.entry.refresh_from_db()
    assert (hold.status, hold.entry.status) == ("expired", "expired")


# Withdrawing what a block covers


def test_what_a_block_covers_is_withdrawn_and_the_entry_keeps_its_place(
    clinic: World, hold: Hold
) -> None:
    _block(hold)
    assert _states(hold) == ("offered", "offered", "held")
    joined = hold.entry.joined_at
    with written() as events:
        assert holds.withdraw_blocked(now=NOW, limit=10) == 1
    assert _states(hold) == ("withdrawn", "waiting", "blocked")
    hold.entry.refresh_from_db()
    assert (hold.entry.offers_made, hold.entry.joined_at) == (0, joined)
    assert brief(events) == [
        ("waitlist.hold_withdrawn", "offered", "withdrawn"),
        ("slot.blocked", "held", "blocked"),
    ]
    assert events[0].data == {"reason": "blocked"}
    assert holds.withdraw_blocked(now=NOW, limit=10) == 0


def test_what_a_block_took_is_offered_to_them_again_when_it_is_gone(
    clinic: World, hold: Hold
) -> None:
    block = _block(hold)
    holds.withdraw_blocked(now=NOW, limit=10)
    blocks.remove(block_id=block.pk, actor=STAFF, now=NOW)
    assert clinic.fill().offers == 1
    assert worlds.offered() == {(hold.slot_id, hold.entry_id)}


def test_what_no_block_covers_is_left_alone(clinic: World, hold: Hold) -> None:
    assert hold.period is not None
    facility = {"facility": clinic.facility, "starts_at": hold.period.upper}
    factories.TimeBlockFactory.create(**facility)
    factories.TimeBlockFactory.create(
        facility=clinic.facility,
        starts_at=hold.period.lower,
        provider=factories.ProviderFactory.create(tenant=clinic.tenant),
    )
    factories.TimeBlockFactory.create(
        facility=clinic.neighbour().facility, starts_at=hold.period.lower
    )
    assert holds.withdraw_blocked(now=NOW, limit=10) == 0
    assert _states(hold) == ("offered", "offered", "held")


def test_a_sweep_withdraws_no_more_than_its_limit(clinic: World) -> None:
    made = [clinic.offer(slot=clinic.slot(at=NOW + DAY + n * HOUR)) for n in range(3)]
    _block(made[0], minutes=3 * 60)
    assert [holds.withdraw_blocked(now=NOW, limit=2) for _ in range(3)] == [2, 1, 0]


# Reminding


@pytest.mark.parametrize(
    ("quiet", "due"),
    [
        ((time(21), time(8)), NOW.replace(hour=20, minute=50)),  # the lead begins at 05:30
        ((time(5), time(6)), NOW.replace(hour=4, minute=50) + DAY),
        ((time(5, 30), time(6)), NOW.replace(hour=5, minute=20) + DAY),
        ((time(4), time(5, 30)), END - 4 * HOUR),
        ((time(21), time(5, 30)), END - 4 * HOUR),
    ],
)
def test_a_reminder_comes_before_the_quiet_hours_that_it_would_fall_into(
    clinic: World, quiet: tuple[time, time], due: datetime
) -> None:
    clinic.change(quiet_from=quiet[0], quiet_until=quiet[1])
    clinic.offer()
    assert holds.remind_due(now=due - SECOND, limit=10) == 0
    assert holds.remind_due(now=due, limit=10) == 1


@pytest.mark.parametrize("made", [NIGHT, MORNING - 2 * HOUR])
def test_what_is_offered_by_night_is_reminded_at_the_half_of_the_time_to_answer(
    clinic: World, made: datetime
) -> None:
    """Which begins when quiet hours end: else offer and reminder would come together."""
    hold = clinic.offer(slot=clinic.slot(at=MORNING + 3 * HOUR + 30 * MINUTE), now=made)
    assert hold.expires_at == MORNING + 3 * HOUR
    assert holds.remind_due(now=MORNING + 90 * MINUTE - SECOND, limit=10) == 0
    assert holds.remind_due(now=MORNING + 90 * MINUTE, limit=10) == 1


def test_what_is_offered_just_before_quiet_hours_is_reminded_after_them(clinic: World) -> None:
    evening = NOW.replace(hour=20, minute=55)
    clinic.offer(slot=clinic.slot(at=MORNING + HOUR), now=evening)
    assert holds.remind_due(now=MORNING - SECOND, limit=10) == 0
    assert holds.remind_due(now=MORNING, limit=10) == 1


def test_quiet_hours_are_by_the_clock_of_the_facility(db: None) -> None:
    tokyo = worlds.build(timezone="Asia/Tokyo")  # 19:00 there
    tokyo.offer(slot=tokyo.slot(at=NOW + DAY))  # the lead begins at 14:30
    assert holds.remind_due(now=END - 4 * HOUR - SECOND, limit=10) == 0
    assert holds.remind_due(now=END - 4 * HOUR, limit=10) == 1


def test_in_an_unknown_zone_there_are_no_quiet_hours(clinic: World, hold: Hold) -> None:
    """And the others are reminded as ever."""
    lost = worlds.build()
    lost.offer()
    Facility.objects.filter(pk=lost.facility.pk).update(timezone="Mars/Base")
    assert holds.remind_due(now=NOW.replace(hour=20, minute=50), limit=10) == 1
    assert holds.remind_due(now=END - 4 * HOUR, limit=10) == 1


def test_an_offer_is_reminded_once_when_the_lead_begins(clinic: World) -> None:
    clinic.change(quiet_from=None, quiet_until=None)
    hold, start = clinic.offer(), END - 4 * HOUR
    assert holds.remind_due(now=start - SECOND, limit=10) == 0
    with written() as events:
        assert holds.remind_due(now=start, limit=10) == 1
    hold.refresh_from_db()
    assert (hold.reminded_at, hold.status) == (start, "offered")
    [event] = events
    assert brief(events) == [("waitlist.hold_reminded", "offered", "offered")]
    assert (event.hold_id, event.entry_id, event.slot_id) == (
        hold.pk, hold.entry_id, hold.slot_id
    )  # fmt: skip
    assert holds.remind_due(now=start + HOUR, limit=10) == 0


def test_a_short_offer_is_reminded_at_its_half(clinic: World) -> None:
    clinic.offer(slot=clinic.slot(at=NOW + HOUR + 30 * MINUTE))
    assert holds.remind_due(now=NOW + 30 * MINUTE - SECOND, limit=10) == 0
    assert holds.remind_due(now=NOW + 30 * MINUTE, limit=10) == 1


def test_where_the_policy_has_no_lead_nobody_is_reminded(salon: World) -> None:
    salon.offer()
    assert holds.remind_due(now=NOW + 14 * MINUTE, limit=10) == 0


def test_what_is_over_or_answered_is_not_reminded(clinic: World) -> None:
    clinic.offer()
    worlds.accept(clinic.offer(slot=clinic.slot(at=NOW + DAY + HOUR)))
    assert holds.remind_due(now=END + 2 * HOUR, limit=10) == 0


def test_a_venues_offer_is_reminded_a_day_before_its_end(venue: World) -> None:
    _offer_venue(venue)
    assert holds.remind_due(now=NOW + DAY - SECOND, limit=10) == 0
    assert holds.remind_due(now=NOW + DAY, limit=10) == 1


def test_a_sweep_reminds_no_more_than_its_limit(clinic: World) -> None:
    for number in range(3):
        clinic.offer(slot=clinic.slot(at=NOW + DAY + number * HOUR))
    due = END - HOUR
    assert [holds.remind_due(now=due, limit=2) for _ in range(3)] == [2, 1, 0]


# What is over


def _accepted(hold: Hold) -> None:
    worlds.accept(hold)


def _declined(hold: Hold) -> None:
    worlds.decline(hold)


def _expired(hold: Hold) -> None:
    _expire()


def _withdrawn(hold: Hold) -> None:
    entries.cancel(entry_id=hold.entry_id, reason="moved", actor=STAFF, now=NOW)


@pytest.mark.parametrize("answer", [worlds.accept, worlds.decline], ids=["accept", "decline"])
@pytest.mark.parametrize("close", [_accepted, _declined, _expired, _withdrawn])
def test_an_offer_that_is_over_cannot_be_answered(
    hold: Hold, close: Callable[[Hold], None], answer: Callable[[Hold], Any]
) -> None:
    close(hold)
    states, events = _states(hold), Event.objects.count()
    with pytest.raises(holds.HoldClosed) as caught:
        answer(hold)
    assert (caught.value.code, caught.value.field) == ("hold_closed", "hold")
    assert (_states(hold), Event.objects.count()) == (states, events)


def test_an_offer_is_taken_back_once_and_with_a_code(hold: Hold) -> None:
    with pytest.raises(ValidationError):
        holds.take_back(hold_id=hold.pk, reason="Ada called", actor=STAFF, now=NOW)
    with written() as events:
        done = holds.take_back(hold_id=hold.pk, reason="moved", actor=STAFF, now=NOW)
    assert (done.status, _states(hold)) == ("withdrawn", ("withdrawn", "waiting", "open"))
    assert brief(events) == [
        ("waitlist.hold_withdrawn", "offered", "withdrawn"), ("slot.opened", "held", "open")
    ]  # fmt: skip
    with pytest.raises(holds.HoldClosed):
        holds.take_back(hold_id=hold.pk, reason="moved", actor=STAFF, now=NOW)


def test_an_offer_of_a_whole_venue_is_not_taken_back(venue: World) -> None:
    """An organizer's team could have theirs made anew for ever, and the lapses counted anew."""
    hold = asking.offer(place=asking.wait(place=venue.facility).facility)
    before, events = model_to_dict(hold), Event.objects.count()
    with pytest.raises(holds.HoldClosed) as caught:
        holds.take_back(hold_id=hold.pk, reason="moved", actor=STAFF, now=NOW)
    assert caught.value.more == {"state": "offered"}
    hold.refresh_from_db()
    assert (model_to_dict(hold), Event.objects.count()) == (before, events)


def test_what_was_taken_back_goes_to_others_until_staff_name_the_patient(
    clinic: World, hold: Hold
) -> None:
    done = holds.take_back(hold_id=hold.pk, reason="offered_by_mistake", actor=STAFF, now=NOW)
    assert done.taken_back
    assert clinic.fill() == fill.Filled(fruitless=1)
    again = clinic.offer(slot=hold.slot, entry=hold.entry)
    assert again.pk != hold.pk
    _block(again)
    assert holds.withdraw_blocked(now=NOW, limit=10) == 1
    hold.refresh_from_db()
    assert (hold.status, hold.taken_back) == ("withdrawn", False)


def test_what_was_replaced_by_another_offer_may_come_back(clinic: World, hold: Hold) -> None:
    other = clinic.offer(slot=clinic.slot(at=NOW + 3 * DAY), entry=hold.entry)
    worlds.decline(other)
    assert clinic.fill().offers == 1
    assert worlds.offered() == {(hold.slot_id, hold.entry_id)}


@pytest.mark.parametrize("end", [worlds.decline, lambda hold: _expire()], ids=["decline", "lapse"])
def test_nobody_is_asked_twice_about_what_they_let_go(
    clinic: World, hold: Hold, end: Callable[[Hold], object]
) -> None:
    end(hold)
    with pytest.raises(invites.DoesNotFit):
        clinic.offer(slot=hold.slot, entry=hold.entry)
    assert clinic.fill().offers == 0


def test_an_offer_that_lapsed_cannot_be_declined_even_before_the_sweep_has_seen_it(
    hold: Hold,
) -> None:
    with pytest.raises(holds.HoldClosed):
        worlds.decline(hold, now=END)
    assert _states(hold) == ("offered", "offered", "held")


@pytest.mark.parametrize("answer", [holds.accept, holds.decline])
def test_an_unknown_offer_is_named(db: None, answer: Callable[..., Any]) -> None:
    wrong = uuid4()
    with pytest.raises(NotFound) as caught:
        answer(hold_id=wrong, actor=STAFF, now=NOW)
    assert caught.value.field == "hold"
    assert str(wrong) in str(caught.value)


def test_the_policy_that_counts_is_the_one_when_the_offer_ends(clinic: World, hold: Hold) -> None:
    clinic.change(on_hold_expiry=WaitlistPolicy.OnHoldExpiry.EXPIRE)
    _expire()
    assert _states(hold) == ("expired", "expired", "open")
    assert timedelta(0) < END - NOW
