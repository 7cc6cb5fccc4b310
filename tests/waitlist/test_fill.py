"""One pass over one facility: what it offers, what it sets aside, and when it does nothing."""

from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import UUID, uuid4

import pgtrigger
import pytest
from django.db import connection
from django.db.models.functions import Now
from pytest_django import DjangoCaptureOnCommitCallbacks

from scheduling import appointments
from scheduling import slots as places
from scheduling.models import Facility, Provider, Slot
from tests import factories
from tests.audit import elsewhere
from tests.audit.log import brief, written
from tests.waitlist import worlds
from tests.waitlist.worlds import DAY, HOUR, MINUTE, NOW, STAFF, World
from waitlist import candidates, entries, fill, holds
from waitlist.models import DryPass, Fruitless, Hold, WaitlistEntry

NIGHT = datetime(2030, 3, 4, 22, tzinfo=UTC)


def _offers() -> dict[UUID, UUID]:
    return {slot: entry for slot, entry in worlds.offered()}


# What an offer is


def test_an_offer_moves_slot_and_entry_and_is_written_with_its_event(clinic: World) -> None:
    slot, entry = clinic.slot(), clinic.join()
    with written() as events:
        assert clinic.fill() == fill.Filled(offers=1)
    hold = Hold.objects.get()
    slot.refresh_from_db()
    entry.refresh_from_db()
    assert (slot.status, entry.status, hold.status) == ("held", "offered", "offered")
    assert (hold.slot_id, hold.entry_id, hold.patient_id, hold.period) == (
        slot.pk, entry.pk, entry.patient_id, slot.period
    )  # fmt: skip
    assert (hold.tenant_id, hold.facility_id, hold.score, hold.source) == (
        clinic.tenant.pk, clinic.facility.pk, 100, "scan"
    )  # fmt: skip
    assert (hold.offered_at, hold.closed_at, hold.reminded_at) == (NOW, None, None)
    [event] = events
    assert brief(events) == [("waitlist.hold_offered", None, "offered")]
    assert (event.hold_id, event.entry_id, event.slot_id, event.facility_id, event.provider_id) == (
        hold.pk, entry.pk, slot.pk, clinic.facility.pk, clinic.provider.pk
    )  # fmt: skip
    assert (event.tenant_id, event.actor_type, event.at) == (clinic.tenant.pk, "system", NOW)
    assert {**event.data, "expires_at": datetime.fromisoformat(event.data["expires_at"])} == {
        "source": "scan", "score": 100, "expires_at": hold.expires_at
    }  # fmt: skip


@pytest.mark.parametrize(
    ("start", "until"),
    [
        # The window ends first, or the notice before the slot does.
        (NOW + 2 * DAY, NOW + DAY),
        (NOW + DAY + 30 * MINUTE, NOW + DAY),
        (NOW + DAY, NOW + DAY - 30 * MINUTE),
        (NOW + HOUR, NOW + 30 * MINUTE),
        (NOW + 35 * MINUTE, NOW + 5 * MINUTE),
    ],
)
def test_the_deadline_is_the_windows_end_or_the_notice_before_the_slot(
    clinic: World, start: datetime, until: datetime
) -> None:
    clinic.join()
    clinic.slot(at=start)
    clinic.fill()
    assert Hold.objects.get().expires_at == until


def test_the_salons_window_is_a_quarter_of_an_hour(salon: World) -> None:
    salon.join()
    salon.slot()
    salon.fill()
    assert Hold.objects.get().expires_at == NOW + 15 * MINUTE


def test_a_visitors_deadline_is_that_of_the_slots_facility(salon: World) -> None:
    own = salon.neighbour(kind="clinic")
    own.join(service_id=None, any_facility=True)
    salon.slot()
    salon.fill()
    hold = Hold.objects.get()
    assert (hold.expires_at, hold.facility_id) == (NOW + 15 * MINUTE, salon.facility.pk)


def test_a_slot_that_was_offered_before_is_a_cascade(clinic: World) -> None:
    clinic.slot()
    first, _ = clinic.join(at=NOW - 2 * DAY), clinic.join(at=NOW - DAY)
    clinic.fill()
    hold = Hold.objects.get()
    assert (hold.entry_id, hold.source) == (first.pk, "scan")
    worlds.decline(hold)
    clinic.fill()
    assert Hold.objects.get(status="offered").source == "cascade"


def test_a_cascade_asks_one_after_another_and_nobody_twice(clinic: World) -> None:
    clinic.slot()
    waiting = [clinic.join(at=NOW - number * DAY) for number in (3, 2, 1)]
    for entry in waiting:
        assert clinic.fill().offers == 1
        live = Hold.objects.get(status="offered")
        assert live.entry_id == entry.pk
        worlds.decline(live)
    assert clinic.fill() == fill.Filled(fruitless=1)


# Several slots, several people


def test_one_pass_offers_every_slot_that_somebody_fits(clinic: World) -> None:
    slots = [clinic.slot(at=NOW + DAY + n * HOUR) for n in range(4)]
    waiting = [clinic.join(at=NOW - DAY + n * HOUR) for n in range(3)]
    assert clinic.fill().offers == 3
    assert _offers() == {slot.pk: entry.pk for slot, entry in zip(slots[:3], waiting, strict=True)}


def test_who_waits_twice_gets_one_slot(clinic: World) -> None:
    patient = clinic.patient()
    clinic.join(patient=patient)
    clinic.join(patient=patient, provider_id=clinic.provider.pk)
    clinic.slot()
    clinic.slot(at=NOW + 2 * DAY)
    assert clinic.fill().offers == 1


def test_of_overlapping_slots_the_one_that_ends_first_is_offered(clinic: World) -> None:
    long = clinic.slot(at=NOW + DAY, minutes=90)
    late = clinic.slot(at=NOW + DAY + 30 * MINUTE, minutes=45)
    early = clinic.slot(at=NOW + DAY + 15 * MINUTE, minutes=30)
    following = clinic.slot(at=NOW + DAY + 45 * MINUTE, minutes=60)
    for _ in range(4):
        clinic.join()
    assert clinic.fill().offers == 2
    assert set(_offers()) == {early.pk, following.pk}
    assert Slot.objects.filter(pk__in=[long.pk, late.pk], status="open").count() == 2


def test_of_twins_the_one_with_the_lesser_id_is_offered(clinic: World) -> None:
    other = factories.ServiceFactory.create(tenant=clinic.tenant)
    twins = [clinic.slot(service=service) for service in (None, clinic.service, other)]
    for _ in range(3):
        clinic.join(service_id=None)
    assert clinic.fill().offers == 1
    assert set(_offers()) == {min(slot.pk for slot in twins)}


def test_a_slot_nobody_fits_does_not_stand_in_the_way_of_one_that_somebody_does(
    clinic: World,
) -> None:
    other = factories.ServiceFactory.create(tenant=clinic.tenant)
    unfit = clinic.slot(minutes=30, service=other)
    fit = clinic.slot(minutes=60)
    clinic.join()
    assert clinic.fill() == fill.Filled(offers=1, fruitless=1)
    assert set(_offers()) == {fit.pk}
    assert list(Fruitless.objects.values_list("slot", flat=True)) == [unfit.pk]


def test_a_slot_set_aside_for_an_overlap_is_not_written_off(clinic: World) -> None:
    clinic.slot(minutes=30)
    clinic.slot(minutes=60)
    clinic.join()
    clinic.fill()
    assert not Fruitless.objects.exists()


def test_overlapping_slots_of_two_providers_are_both_offered(clinic: World) -> None:
    colleague = factories.ProviderFactory.create(tenant=clinic.tenant, facilities=[clinic.facility])
    slots = {clinic.slot().pk, clinic.slot(provider=colleague).pk}
    clinic.join()
    clinic.join()
    clinic.fill()
    assert set(_offers()) == slots


def test_a_pass_concerns_its_own_facility(clinic: World) -> None:
    other = clinic.neighbour()
    other.slot()
    other.join()
    clinic.slot()
    assert clinic.fill().offers == 0
    assert _offers() == {}


# When nothing is offered


@pytest.mark.parametrize(
    ("now", "offers"),
    [
        (datetime(2030, 3, 4, 20, 59, 59, tzinfo=UTC), 1),
        (datetime(2030, 3, 4, 21, tzinfo=UTC), 0),
        (datetime(2030, 3, 4, 23, 59, tzinfo=UTC), 0),
        (datetime(2030, 3, 5, 0, tzinfo=UTC), 0),
        (datetime(2030, 3, 5, 7, 59, 59, tzinfo=UTC), 0),
        (datetime(2030, 3, 5, 8, tzinfo=UTC), 1),
    ],
)
def test_no_offer_is_made_in_quiet_hours(clinic: World, now: datetime, offers: int) -> None:
    clinic.join()
    clinic.slot(at=NOW + 5 * DAY)
    assert clinic.fill(now=now).offers == offers
    assert not Fruitless.objects.exists()


def test_quiet_hours_are_the_facilitys_own(db: None) -> None:
    world = worlds.build(timezone="America/New_York")
    world.join()
    world.slot(at=NOW + 5 * DAY)
    assert world.fill(now=datetime(2030, 3, 4, 12, 59, tzinfo=UTC)).offers == 0
    assert world.fill(now=datetime(2030, 3, 4, 13, tzinfo=UTC)).offers == 1


@pytest.mark.parametrize(
    ("zone", "hours", "now", "expected"),
    [
        # Across midnight, before and after it.
        ("Europe/London", (21, 8), NIGHT, datetime(2030, 3, 5, 8, tzinfo=UTC)),
        ("Europe/London", (21, 8), NIGHT + 4 * HOUR, datetime(2030, 3, 5, 8, tzinfo=UTC)),
        ("Europe/London", (21, 8), NOW, None),
        # Within one day.
        ("Europe/London", (9, 11), NOW, datetime(2030, 3, 4, 11, tzinfo=UTC)),
        ("Europe/London", (11, 12), NOW, None),
        ("Europe/London", (8, 10), NOW, None),
        ("Europe/London", (10, 11), NOW, datetime(2030, 3, 4, 11, tzinfo=UTC)),
        # In other zones.
        ("Asia/Kathmandu", (21, 8), NIGHT, datetime(2030, 3, 5, 2, 15, tzinfo=UTC)),
        ("America/New_York", (21, 8), NOW, datetime(2030, 3, 4, 13, tzinfo=UTC)),
        # Over the night on which the clocks go forward, and back.
        ("Europe/London", (21, 8), datetime(2030, 3, 30, 22, tzinfo=UTC),
         datetime(2030, 3, 31, 7, tzinfo=UTC)),
        ("Europe/London", (21, 8), datetime(2030, 10, 26, 22, tzinfo=UTC),
         datetime(2030, 10, 27, 8, tzinfo=UTC)),
    ],
)  # fmt: skip
def test_quiet_hours_end_at_their_local_time(
    db: None, zone: str, hours: tuple[int, int], now: datetime, expected: datetime | None
) -> None:
    world = worlds.build(timezone=zone)
    policy = world.change(quiet_from=time(hours[0]), quiet_until=time(hours[1]))
    assert fill.quiet_until(policy=policy, now=now) == expected


def test_without_quiet_hours_offers_are_made_at_night(clinic: World) -> None:
    clinic.change(quiet_from=None, quiet_until=None)
    clinic.join()
    clinic.slot(at=NOW + 5 * DAY)
    assert clinic.fill(now=NIGHT).offers == 1


def test_without_auto_invite_a_pass_offers_nothing(clinic: World) -> None:
    clinic.change(auto_invite=False)
    clinic.join()
    clinic.slot()
    assert clinic.fill() == fill.Filled()
    assert fill.facilities(now=NOW) == []


def test_a_facility_that_is_not_there_has_nothing_to_fill(db: None) -> None:
    assert fill.fill(facility_id=uuid4(), now=NOW) == fill.Filled()


def test_a_second_pass_over_a_facility_is_told_that_one_is_under_way(clinic: World) -> None:
    clinic.join()
    clinic.slot()
    with elsewhere.locked(f"waitlist.fill:{clinic.facility.pk}"), pytest.raises(fill.Busy):
        clinic.fill()
    assert clinic.fill().offers == 1


# Slots that nobody fitted


@pytest.fixture
def fruitless(clinic: World) -> World:
    """A clinic with a slot that was tried in vain."""
    clinic.slot(at=NOW + 9 * DAY)
    assert clinic.fill() == fill.Filled(fruitless=1)
    return clinic


def test_nobody_is_written_down_with_what_the_queue_was_like(clinic: World) -> None:
    clinic.join(latest=NOW + HOUR, any_facility=True)
    slot = clinic.slot(at=NOW + 2 * DAY)
    clinic.fill()
    tried = Fruitless.objects.get()
    assert (tried.slot_id, tried.tried_at, tried.tenant_id) == (slot.pk, NOW, clinic.tenant.pk)
    assert (tried.revision, tried.visitors_revision) == (1, 1)


def test_what_was_tried_in_vain_is_not_tried_again_for_a_day(fruitless: World) -> None:
    assert fruitless.fill(now=NOW + DAY - MINUTE) == fill.Filled()
    assert fruitless.fill(now=NOW + DAY) == fill.Filled(fruitless=1)
    assert Fruitless.objects.get().tried_at == NOW + DAY
    assert fruitless.fill(now=NOW + DAY + HOUR) == fill.Filled()


def test_whoever_joins_lets_it_be_tried_again(fruitless: World) -> None:
    fruitless.join()
    assert fruitless.fill() == fill.Filled(offers=1)


def test_an_edit_lets_it_be_tried_again(clinic: World) -> None:
    entry = clinic.join(latest=NOW + HOUR)
    clinic.slot()
    assert clinic.fill().fruitless == 1
    entries.update(entry_id=entry.pk, wishes={"latest": None}, actor=STAFF, now=NOW)
    assert clinic.fill().offers == 1


def test_who_is_requeued_lets_it_be_tried_again(clinic: World) -> None:
    hold = clinic.offer()
    clinic.slot(at=NOW + 3 * DAY)
    assert clinic.fill().fruitless == 1
    worlds.decline(hold)
    assert clinic.fill().offers == 1


def test_who_lapses_and_is_requeued_lets_it_be_tried_again(clinic: World) -> None:
    clinic.offer()
    clinic.slot(at=NOW + 5 * DAY)
    assert clinic.fill().fruitless == 1
    assert holds.expire_due(now=NOW + DAY, limit=10) == 1
    assert clinic.fill(now=NOW + DAY - MINUTE).offers == 1


def test_a_new_policy_lets_it_be_tried_again(fruitless: World) -> None:
    fruitless.change(match_days=10)
    assert fruitless.fill() == fill.Filled(fruitless=1)


def test_a_visitor_who_joins_elsewhere_lets_it_be_tried_again(fruitless: World) -> None:
    fruitless.neighbour().join(service_id=None, any_facility=True)
    assert fruitless.fill() == fill.Filled(offers=1)


def test_who_joins_elsewhere_to_stay_there_does_not(fruitless: World) -> None:
    fruitless.neighbour().join(service_id=None)
    worlds.build().join(any_facility=True)
    assert fruitless.fill() == fill.Filled()


def test_a_new_slot_is_tried_beside_one_that_was_tried_in_vain(fruitless: World) -> None:
    fruitless.slot(at=NOW + 4 * DAY)
    assert fruitless.fill() == fill.Filled(fruitless=1)
    assert Fruitless.objects.count() == 2


# Where a pass may find something to do


def test_facilities_are_those_with_a_slot_and_somebody_waiting(clinic: World) -> None:
    clinic.slot()
    assert fill.facilities(now=NOW) == []
    clinic.join()
    without_slot = clinic.neighbour()
    without_slot.join()
    held = worlds.build()
    held.offer()
    assert fill.facilities(now=NOW) == [clinic.facility.pk]


def test_facilities_that_only_a_visitor_can_use_are_among_them(clinic: World) -> None:
    clinic.slot()
    own = clinic.neighbour()
    own.join(service_id=None)
    assert fill.facilities(now=NOW) == []
    own.join(service_id=None, any_facility=True)
    assert fill.facilities(now=NOW) == [clinic.facility.pk]


def test_slots_out_of_reach_do_not_count(clinic: World) -> None:
    clinic.join()
    clinic.slot(at=NOW + 30 * MINUTE)
    clinic.slot(at=NOW + 30 * DAY + timedelta(seconds=1))
    assert fill.facilities(now=NOW) == []


# What clashes


def test_an_entry_that_changed_since_it_was_read_costs_one_offer_and_not_the_batch(
    clinic: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    clinic.slot()
    clinic.slot(at=NOW + 2 * DAY)
    changed, other = clinic.join(at=NOW - 2 * DAY), clinic.join()
    choose = fill.choose

    def choose_and_let_somebody_edit(**arguments: Any) -> Any:
        found = choose(**arguments)
        entries.update(entry_id=changed.pk, wishes={"urgency": 1}, actor=STAFF, now=NOW)
        return found

    monkeypatch.setattr(fill, "choose", choose_and_let_somebody_edit)
    assert clinic.fill() == fill.Filled(offers=1, clashes=1)
    assert [entry for _, entry in worlds.offered()] == [other.pk]


def test_an_offer_to_a_patient_who_just_got_another_costs_one_offer_and_not_the_batch(
    clinic: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient, elsewhere = clinic.patient(), clinic.neighbour()
    clinic.slot()
    clinic.slot(at=NOW + 2 * DAY)
    clinic.join(patient=patient, at=NOW - 2 * DAY)
    other = clinic.join()
    theirs = elsewhere.join(patient=patient)
    choose = fill.choose

    def choose_and_let_somebody_offer(**arguments: Any) -> Any:
        found = choose(**arguments)
        monkeypatch.setattr(fill, "choose", choose)
        elsewhere.offer(entry=theirs, slot=elsewhere.slot())
        return found

    monkeypatch.setattr(fill, "choose", choose_and_let_somebody_offer)
    assert clinic.fill() == fill.Filled(offers=1, clashes=1)
    assert {entry for _, entry in worlds.offered()} == {other.pk, theirs.pk}


# Who had it before


def test_who_cancels_is_not_offered_what_they_gave_up(clinic: World) -> None:
    patient = clinic.patient()
    appointment = clinic.book(patient=patient)
    again = clinic.join(patient=patient, at=NOW - 9 * DAY)
    other = clinic.join()
    appointments.cancel(appointment_id=appointment.pk, reason="test", actor=STAFF, now=NOW)
    assert clinic.fill().offers == 1
    assert worlds.offered() == {(appointment.slot_id, other.pk)}
    assert again.patient_id == patient.pk


def test_a_slot_declined_does_not_come_back_through_another_entry(clinic: World) -> None:
    patient, slot = clinic.patient(), clinic.slot()
    colleague = factories.ProviderFactory.create(tenant=clinic.tenant, facilities=[clinic.facility])
    clinic.join(patient=patient)
    clinic.join(patient=patient, provider_id=colleague.pk)
    assert clinic.fill().offers == 1
    worlds.decline(Hold.objects.get(slot=slot))
    assert clinic.fill() == fill.Filled(fruitless=1)


# What changed


def test_a_freed_slot_is_filled_and_no_other(clinic: World) -> None:
    freed, other = (clinic.slot(at=NOW + n * DAY) for n in (1, 2))
    first, _ = clinic.join(at=NOW - 2 * DAY), clinic.join()
    assert clinic.fill(changed=[freed.pk]) == fill.Filled(offers=1)
    assert worlds.offered() == {(freed.pk, first.pk)}
    other.refresh_from_db()
    assert other.status == "open"


def test_with_a_freed_slot_what_it_hid_is_filled(clinic: World) -> None:
    """Nobody fits the slot itself."""
    short = clinic.slot(at=NOW + DAY + 20 * MINUTE, service=None)
    freed = clinic.book(slot=clinic.slot(minutes=60), now=NOW - DAY)
    first = clinic.join(earliest=NOW + DAY + 10 * MINUTE)
    assert clinic.fill() == fill.Filled()
    appointments.cancel(appointment_id=freed.pk, reason="moved", actor=STAFF, now=NOW)
    assert clinic.fill(changed=[freed.slot_id]) == fill.Filled(offers=1, fruitless=1)
    assert worlds.offered() == {(short.pk, first.pk)}


def test_a_newcomer_gets_no_slot_that_stands_in_the_way_of_somebodys(clinic: World) -> None:
    """Both slots are the provider's; the one that ends first stays, as when all is looked at."""
    other = factories.ServiceFactory.create(tenant=clinic.tenant, duration=HOUR)
    clinic.slot(minutes=60, service=other)
    hidden = clinic.slot()
    first = clinic.join()
    newcomer = clinic.join(service_id=other.pk)
    assert clinic.fill(changed=[newcomer.pk]) == fill.Filled(offers=1)
    assert worlds.offered() == {(hidden.pk, first.pk)}


def test_what_overlaps_goes_on_to_the_next_gap(clinic: World) -> None:
    """Half hours that begin every twenty minutes, and one that begins as the last of them ends."""
    chain = [clinic.slot(at=NOW + DAY + n * 20 * MINUTE) for n in range(3)]
    after = clinic.slot(at=NOW + DAY + 70 * MINUTE)
    for _ in range(4):
        clinic.join()
    assert clinic.fill(changed=[chain[2].pk]) == fill.Filled(offers=2)
    assert {slot for slot, _ in worlds.offered()} == {chain[0].pk, chain[2].pk}
    assert clinic.fill(changed=[after.pk]).offers == 1


def test_just_after_quiet_hours_all_is_looked_at(clinic: World) -> None:
    """Who may take either slot would be given the newcomer's."""
    clinic.change(quiet_from=time(5), quiet_until=time(9, 56))
    early, late = clinic.slot(), clinic.slot(at=NOW + 2 * DAY)
    both, newcomer = clinic.join(at=NOW - 2 * DAY), clinic.join(earliest=NOW + 2 * DAY)
    assert clinic.fill(changed=[newcomer.pk]) == fill.Filled(offers=2)
    assert worlds.offered() == {(early.pk, both.pk), (late.pk, newcomer.pk)}


def test_a_freed_slot_of_another_facility_is_not_filled_here(clinic: World) -> None:
    slot = clinic.neighbour().slot(service=None)
    clinic.join(any_facility=True)
    assert clinic.fill(changed=[slot.pk]) == fill.Filled()


def test_of_a_newcomer_only_what_they_may_take_is_filled(clinic: World) -> None:
    clinic.slot()
    late = clinic.slot(at=NOW + 3 * DAY)
    entry = clinic.join(earliest=NOW + 2 * DAY)
    assert clinic.fill(changed=[entry.pk]) == fill.Filled(offers=1)
    assert worlds.offered() == {(late.pk, entry.pk)}


@pytest.mark.parametrize(
    "away",
    ["service", "provider", "too early", "too late", "ends too late", "elsewhere"],
)
def test_of_a_newcomer_what_they_do_not_want_is_not_even_tried(clinic: World, away: str) -> None:
    """As the full pass has it, which would set it aside."""
    there = clinic.neighbour()
    wishes: dict[str, dict[str, Any]] = {
        "service": {"service_id": there.service.pk},
        "provider": {"provider_id": _colleague(clinic).pk, "provider_required": True},
        "too early": {"earliest": NOW + 2 * DAY},
        "too late": {"latest": NOW + HOUR},
        "ends too late": {"latest": NOW + DAY + 29 * MINUTE},
        "elsewhere": {},
    }
    (there if away == "elsewhere" else clinic).slot()
    entry = clinic.join(**wishes[away])
    assert clinic.fill(changed=[entry.pk]) == fill.Filled()
    assert clinic.fill() == fill.Filled(fruitless=int(away != "elsewhere"))


def test_who_comes_first_is_offered_what_a_newcomer_may_take(clinic: World) -> None:
    """Their slot is freed in the moment in which another joins, whose message is here first."""
    slot, first = clinic.slot(), clinic.join(at=NOW - 2 * DAY)
    assert clinic.fill(changed=[clinic.join().pk]) == fill.Filled(offers=1)
    assert worlds.offered() == {(slot.pk, first.pk)}


def test_what_changed_does_not_say_that_a_facility_is_dry(clinic: World) -> None:
    slot = clinic.slot()
    clinic.slot(at=NOW + 2 * DAY)
    entry = clinic.join(latest=NOW + HOUR)
    assert clinic.fill(changed=[slot.pk]) == fill.Filled(fruitless=1)
    assert clinic.fill(changed=[entry.pk]) == fill.Filled()
    assert not DryPass.objects.exists()
    assert clinic.fill() == fill.Filled(fruitless=1)
    assert DryPass.objects.exists()


def test_who_waits_again_is_offered_what_nobody_fitted_meanwhile(
    clinic: World, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    hold = clinic.offer()
    other = clinic.slot(at=NOW + 2 * DAY)
    assert clinic.fill() == fill.Filled(fruitless=1)
    connection.run_on_commit.clear()  # as if that had been committed
    with django_capture_on_commit_callbacks() as callbacks:
        worlds.decline(hold)
    sends: list[Any] = list(callbacks)
    [changed] = [one.subjects for one in sends if one.task == "waitlist.tasks.fill_facility"]
    assert changed == {hold.slot_id, hold.entry_id}
    assert clinic.fill(changed=changed) == fill.Filled(offers=1, fruitless=1)
    assert worlds.offered() == {(other.pk, hold.entry_id)}


def _colleague(world: World) -> Provider:
    return factories.ProviderFactory.create(tenant=world.tenant, facilities=[world.facility])


# Dry passes


def test_a_scan_passes_by_a_facility_that_is_not_active(clinic: World) -> None:
    clinic.slot(), clinic.join()
    for is_active, found in ((False, []), (True, [clinic.facility.pk])):
        Facility.objects.filter(pk=clinic.facility.pk).update(is_active=is_active)
        assert fill.facilities(now=NOW) == found


def _age() -> None:
    """Let the slots look unchanged for long, as the scan sees them."""
    with pgtrigger.ignore("scheduling.Slot:touch"):
        Slot.objects.update(updated_at=Now() - HOUR)


@pytest.fixture
def dry(clinic: World) -> World:
    """A clinic whose slot was tried in vain long after it opened."""
    clinic.slot()
    clinic.join(provider_id=clinic.provider.pk, latest=NOW + HOUR)
    assert clinic.fill() == fill.Filled(fruitless=1)
    _age()
    assert fill.facilities(now=NOW) == []
    return clinic


def test_a_dry_facility_is_passed_by_for_a_day(dry: World) -> None:
    assert fill.facilities(now=NOW + DAY - MINUTE) == []
    assert DryPass.objects.get().until == NOW + DAY


def test_a_slot_that_opens_ends_a_dry_spell(dry: World) -> None:
    dry.slot(at=NOW + 2 * DAY)
    assert fill.facilities(now=NOW) == [dry.facility.pk]


def test_somebody_who_joins_ends_a_dry_spell(dry: World) -> None:
    dry.join()
    assert fill.facilities(now=NOW) == [dry.facility.pk]


def test_a_visitor_who_joins_elsewhere_ends_a_dry_spell(dry: World) -> None:
    dry.neighbour().join(any_facility=True, service_id=None)
    assert fill.facilities(now=NOW) == [dry.facility.pk]


def test_a_slot_that_comes_near_ends_a_dry_spell(dry: World) -> None:
    dry.slot(at=NOW + dry.policy.look_ahead + HOUR)
    assert dry.fill() == fill.Filled()  # too far ahead as yet
    _age()
    assert fill.facilities(now=NOW + HOUR - MINUTE) == []
    assert fill.facilities(now=NOW + HOUR) == [dry.facility.pk]


def test_each_slot_is_tried_again_a_day_after_it_was_though_others_were_later(
    clinic: World,
) -> None:
    clinic.slot()
    clinic.join(latest=NOW + HOUR)
    assert clinic.fill().fruitless == 1
    clinic.slot(at=NOW + 2 * DAY)
    assert clinic.fill(now=NOW + 23 * HOUR).fruitless == 1
    _age()
    assert fill.facilities(now=NOW + 23 * HOUR) == []
    assert fill.facilities(now=NOW + 24 * HOUR) == [clinic.facility.pk]


# Long queues


@pytest.fixture
def kept_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the first of each queue were all kept from the slots: who comes after is looked at."""
    monkeypatch.setattr(candidates, "HEAD", 0)
    monkeypatch.setattr(candidates, "LEAST", 0)


@pytest.fixture
def long(monkeypatch: pytest.MonkeyPatch, kept_away: None) -> None:
    """As if more than three were too many to be loaded whole."""
    monkeypatch.setattr(candidates, "WHOLE", 3)


def _passes(world: World) -> list[fill.Filled]:
    return list(fill.passes(facility_id=world.facility.pk, clock=lambda: NOW))


@pytest.mark.usefixtures("long")
@pytest.mark.parametrize("matching", ["best_score", "max_fill"])
def test_a_long_queue_is_walked_a_few_slots_at_a_time(clinic: World, matching: str) -> None:
    clinic.change(matching=matching)
    slots = [clinic.slot(at=NOW + DAY + n * HOUR) for n in range(6)]
    waiting = [clinic.join(at=NOW - timedelta(hours=20 - n)) for n in range(9)]
    passes = _passes(clinic)
    reach = 1 if matching == "max_fill" else 4
    assert [passed.offers for passed in passes][:1] == [reach]
    assert passes[-1].left == 0
    assert worlds.offered() == {
        (slot.pk, entry.pk) for slot, entry in zip(slots, waiting, strict=False)
    }


@pytest.mark.usefixtures("long")
def test_only_the_first_of_the_passes_along_a_long_queue_locks_all_slots(
    clinic: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked: list[int] = []
    lock = places.lock_many_for_claim

    def count(*, slot_ids: Any) -> None:
        locked.append(len(slot_ids))
        lock(slot_ids=slot_ids)

    monkeypatch.setattr(places, "lock_many_for_claim", count)
    for n in range(10):
        clinic.slot(at=NOW + DAY + n * HOUR)
        clinic.join()
    assert [passed.left for passed in _passes(clinic)] == [6, 2, 0]
    assert locked == [10, 4, 2]


@pytest.mark.usefixtures("long")
@pytest.mark.parametrize("matching", ["best_score", "max_fill"])
def test_a_long_slot_stands_in_no_other_ones_way_in_a_long_queue(
    clinic: World, monkeypatch: pytest.MonkeyPatch, matching: str
) -> None:
    monkeypatch.setattr(candidates, "WALKED", 1)
    clinic.change(matching=matching)
    clinic.slot(at=NOW + DAY, minutes=180)
    short = {clinic.slot(at=NOW + DAY + n * 30 * MINUTE).pk for n in range(1, 5)}
    for _ in range(6):
        clinic.join()
    assert sum(passed.offers for passed in _passes(clinic)) == 4
    assert set(_offers()) == short


@pytest.mark.usefixtures("long")
def test_a_slot_nobody_fits_stands_in_no_other_ones_way_in_a_long_queue(clinic: World) -> None:
    """Nor does it let one pass that the other goes before."""
    other = factories.ServiceFactory.create(tenant=clinic.tenant)
    unfit = clinic.slot(service=other)
    fit = clinic.slot(at=NOW + DAY + 15 * MINUTE)
    clinic.slot(at=NOW + DAY + 30 * MINUTE)
    later = [clinic.slot(at=NOW + 2 * DAY + n * HOUR) for n in range(3)]
    for _ in range(9):
        clinic.join()
    _passes(clinic)
    assert set(_offers()) == {fit.pk, *(slot.pk for slot in later)}
    assert list(Fruitless.objects.values_list("slot", flat=True)) == [unfit.pk]


@pytest.mark.usefixtures("long")
def test_who_would_go_anywhere_counts_once_where_they_wait(clinic: World) -> None:
    policy = fill.policies().get(facility=clinic.facility.pk)
    for _ in range(3):
        clinic.join(any_facility=True)
    assert not candidates.is_long(policy=policy)
    clinic.neighbour().join(service_id=None, any_facility=True)
    assert candidates.is_long(policy=policy)


@pytest.mark.usefixtures("kept_away")
@pytest.mark.parametrize("slots", [1, 2])
def test_who_waits_twice_is_offered_what_fits_best_under_max_fill(
    clinic: World, slots: int
) -> None:
    """However many slots there are: the entry that came first has only the place."""
    clinic.change(matching="max_fill")
    patient, other = clinic.patient(), factories.ServiceFactory.create(tenant=clinic.tenant)
    clinic.join(patient=patient, at=NOW - 9 * DAY, preferred_days=[1])
    best = clinic.join(patient=patient, at=NOW - DAY, provider_id=clinic.provider.pk)
    clinic.join(at=NOW - 2 * DAY)
    slot = clinic.slot()
    for _ in range(slots - 1):
        clinic.slot(at=NOW + 2 * DAY, service=other)
    clinic.fill()
    assert worlds.offered() == {(slot.pk, best.pk)}
    assert Hold.objects.get().score == 100


def test_who_fits_only_as_a_visitor_has_the_place_of_a_visitor(clinic: World) -> None:
    """Though they are among the first here, with an entry that fits none of the slots."""
    clinic.change(matching="max_fill", min_match_score=0)
    elsewhere = clinic.neighbour()
    first = elsewhere.join(service_id=None, any_facility=True, at=NOW - 3 * DAY)
    clinic.join()
    late = clinic.patient()
    clinic.join(patient=late, latest=NOW + HOUR)
    elsewhere.join(patient=late, service_id=None, any_facility=True, at=NOW - 2 * DAY)
    clinic.slot()
    clinic.slot(at=NOW + DAY + HOUR)
    clinic.fill()
    people = {entry.patient_id for entry in WaitlistEntry.objects.filter(status="offered")}
    assert len(people) == 2
    assert first.patient_id in people
    assert late.pk not in people


@pytest.mark.usefixtures("kept_away")
def test_a_walk_looks_past_those_who_are_kept_away(clinic: World) -> None:
    """Of nine who may, eight are busy or were asked before."""
    slot = clinic.slot()
    waiting = [clinic.join(at=NOW - timedelta(hours=20 - n)) for n in range(9)]
    for entry in waiting[:4]:
        worlds.decline(clinic.offer(slot=slot, entry=entry))
    for entry in waiting[4:8]:
        colleague = factories.ProviderFactory.create(
            tenant=clinic.tenant, facilities=[clinic.facility]
        )
        clinic.book(slot=clinic.slot(provider=colleague), patient=entry.patient)
    assert clinic.fill().offers == 1
    assert worlds.offered() == {(slot.pk, waiting[8].pk)}


def test_a_provider_who_left_after_the_slots_were_found_is_offered_no_more(clinic: World) -> None:
    slot = clinic.slot()
    policy = fill.policies().get(facility=clinic.facility.pk)
    opened = fill.find_open(policy=policy, seen=None, now=NOW)
    assert opened == [str(slot.pk)]
    Provider.objects.update(is_active=False)
    assert fill.load_slots(slot_ids=opened, policy=policy) == []
    assert len(fill.load_slots(slot_ids=opened, policy=policy, claimable=False)) == 1
