"""What staff and owners are told: every entry and every slot counted once, by the rule."""

from datetime import datetime, time, timedelta
from typing import Any
from unittest import mock
from uuid import UUID, uuid4

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.errors import NotFound
from scheduling import blocks
from scheduling.models import Provider, Slot
from tests import factories
from tests.waitlist import asking, worlds
from tests.waitlist.worlds import DAY, HOUR, MINUTE, NOW, STAFF, World
from waitlist import entries, explanations, fill
from waitlist.explanations import EntryExplanation, Leader, SlotExplanation
from waitlist.fitting import RULES, Board
from waitlist.models import Fruitless, Hold, Queue, WaitlistEntry


def _slot(world: World, **fields: Any) -> SlotExplanation:
    return explanations.explain_slot(slot_id=world.slot(**fields).pk, now=NOW)


def _closed(*slots: Slot) -> list[list[str]]:
    return [explanations.explain_slot(slot_id=slot.pk, now=NOW).closed for slot in slots]


def _leaders(slot: Slot) -> list[Leader]:
    return explanations.explain_slot(slot_id=slot.pk, now=NOW).leaders


def _colleague(world: World) -> Provider:
    return factories.ProviderFactory.create(tenant=world.tenant, facilities=[world.facility])


def _entry(entry: WaitlistEntry) -> EntryExplanation:
    return explanations.explain_entry(entry_id=entry.pk, now=NOW)


def test_each_who_waits_is_counted_by_the_rule_that_keeps_them_out(clinic: World) -> None:
    slot = clinic.slot()
    other = factories.ServiceFactory.create(tenant=clinic.tenant)
    long = factories.ServiceFactory.create(tenant=clinic.tenant, duration=HOUR)
    colleague = _colleague(clinic)
    clinic.change(max_offers_per_entry=3)
    clinic.join(service_id=other.pk)
    clinic.join(provider_id=colleague.pk, provider_required=True)
    clinic.join(earliest=NOW + 2 * DAY)
    clinic.join(latest=NOW + HOUR)
    worlds.decline(clinic.offer(slot=slot))
    spent = clinic.join()
    WaitlistEntry.objects.filter(pk=spent.pk).update(offers_made=3)
    late = clinic.join()
    WaitlistEntry.objects.filter(pk=late.pk).update(expires_at=NOW)
    busy = clinic.patient()
    clinic.book(slot=clinic.slot(provider=colleague), patient=busy)
    clinic.join(patient=busy)
    elsewhere = clinic.neighbour()
    elsewhere.join(any_facility=True, service_id=None, provider_id=elsewhere.provider.pk)
    Queue.objects.filter(facility=elsewhere.facility).update(deactivated_at=NOW)
    clinic.change(min_match_score=95)
    clinic.join(preferred_days=[3])
    fits = [clinic.join(at=NOW - timedelta(days=n)) for n in (2, 3)]
    found = explanations.explain_slot(slot_id=slot.pk, now=NOW)
    assert found.kept_out == {
        "other_service": 1, "other_provider": 1, "too_early": 1, "too_late": 1,
        "offered_before": 1, "offers_used_up": 1, "entry_expired": 1, "patient_busy": 1,
        "queue_closed": 1, "score_too_low": 1,
    }  # fmt: skip
    assert set(found.kept_out) <= set(RULES)
    assert (found.waiting, found.fitting, found.closed) == (12, 2, [])
    assert [(one.rank, one.entry, one.score) for one in found.leaders] == [
        (1, str(fits[1].pk), 100), (2, str(fits[0].pk), 100)
    ]  # fmt: skip
    assert long.duration == HOUR


def test_leaders_come_in_the_order_of_the_offers_with_their_matches(clinic: World) -> None:
    slot = clinic.slot()
    first = clinic.join()
    visitor = clinic.neighbour().join(service_id=None, any_facility=True)
    other_day = clinic.join(preferred_days=[1], at=NOW - 9 * DAY)
    found = explanations.explain_slot(slot_id=slot.pk, now=NOW)
    assert [(one.entry, one.score) for one in found.leaders] == [
        (str(first.pk), 100), (str(other_day.pk), 90), (str(visitor.pk), 70)
    ]  # fmt: skip
    everything = {"provider": True, "location": True, "service": True, "days": True}
    assert [one.matches for one in found.leaders] == [
        everything, {**everything, "days": False}, {**everything, "location": False}
    ]  # fmt: skip
    clinic.fill()
    assert worlds.offered() == {(slot.pk, first.pk)}


def test_what_closes_a_slot_is_told(clinic: World) -> None:
    assert _slot(clinic, at=NOW + 31 * MINUTE).closed == ["too_soon"]
    assert _slot(clinic, at=NOW + 31 * DAY).closed == ["too_far_ahead"]
    clinic.reserve(slot=clinic.slot(at=NOW + 2 * DAY, minutes=60))
    assert _slot(clinic, at=NOW + 2 * DAY).closed == ["provider_claimed"]
    slot = clinic.slot(at=NOW + 3 * DAY)
    blocks.create(
        facility_id=clinic.facility.pk, provider_id=None, starts_at=slot.period.lower,
        ends_at=slot.period.upper, reason="", actor=STAFF, now=NOW,
    )  # fmt: skip
    found = explanations.explain_slot(slot_id=slot.pk, now=NOW)
    assert found.closed == ["slot_blocked", "slot_under_block"]
    clinic.change(auto_invite=False)
    assert _slot(clinic).closed == ["auto_invite_off"]


def test_a_slot_tried_in_vain_is_closed_until_the_scan_takes_it_up_again(clinic: World) -> None:
    slot = clinic.slot(at=NOW + 2 * DAY)
    entry = clinic.join(latest=NOW + HOUR)

    def closed(now: datetime = NOW) -> list[str]:
        return explanations.explain_slot(slot_id=slot.pk, now=now).closed

    assert closed() == []
    assert clinic.fill().fruitless == 1
    assert (closed(), closed(NOW + DAY - MINUTE)) == (["tried_in_vain"], ["tried_in_vain"])
    assert closed(NOW + DAY) == []
    clinic.neighbour().join(any_facility=True, service_id=None, latest=NOW + HOUR)
    assert closed() == []
    assert clinic.fill().fruitless == 1
    entries.update(entry_id=entry.pk, wishes={"latest": NOW + 2 * HOUR}, actor=STAFF, now=NOW)
    assert closed() == []


def test_a_slot_that_another_of_its_provider_goes_before_is_overlapped(clinic: World) -> None:
    """The first to end of each chain stays, and what it leaves room for."""
    first, second, third, fourth = (
        clinic.slot(at=NOW + DAY + n * 20 * MINUTE) for n in range(4)
    )  # each overlaps the next
    clinic.slot(at=NOW + DAY, provider=_colleague(clinic), minutes=20)
    clinic.join()
    assert _closed(first, second, third, fourth) == [[], ["overlapped"], [], ["overlapped"]]
    clinic.fill()
    assert [slot for slot, _ in worlds.offered()] != [second.pk]


def test_a_slot_is_overlapped_by_none_that_nobody_fits(clinic: World) -> None:
    other = factories.ServiceFactory.create(tenant=clinic.tenant)
    first, second = clinic.slot(service=other), clinic.slot(at=NOW + DAY + 20 * MINUTE)
    entry = clinic.join()
    assert _closed(first, second) == [[], []]
    clinic.join(service_id=other.pk, latest=NOW + HOUR)
    assert _closed(first, second) == [[], []]
    clinic.join(service_id=other.pk)
    assert _closed(first, second) == [[], ["overlapped"]]
    clinic.fill()
    assert entry.pk not in {one for _, one in worlds.offered()}


def test_a_slot_that_nobody_fits_is_not_overlapped(clinic: World) -> None:
    other = factories.ServiceFactory.create(tenant=clinic.tenant)
    first, second = clinic.slot(), clinic.slot(at=NOW + DAY + 20 * MINUTE, service=other)
    clinic.join()
    assert _closed(first, second) == [[], []]


def test_where_the_order_decides_leaders_come_in_it_whatever_their_score(clinic: World) -> None:
    slot = clinic.slot()
    late = clinic.join(at=NOW - HOUR)
    early = clinic.join(at=NOW - DAY, preferred_days=[1])
    assert [(one.entry, one.score) for one in _leaders(slot)] == [
        (str(late.pk), 100), (str(early.pk), 90)
    ]  # fmt: skip
    clinic.change(matching="max_fill")
    assert [(one.entry, one.score) for one in _leaders(slot)] == [
        (str(early.pk), 90), (str(late.pk), 100)
    ]  # fmt: skip
    clinic.fill()
    assert worlds.offered() == {(slot.pk, early.pk)}


@pytest.mark.parametrize("matching", ["best_score", "max_fill"])
def test_who_waits_twice_leads_once_with_the_entry_that_gets_it(
    clinic: World, matching: str
) -> None:
    clinic.change(matching=matching)
    slot, patient = clinic.slot(), clinic.patient()
    clinic.join(patient=patient, at=NOW - 9 * DAY, preferred_days=[1])
    best = clinic.join(patient=patient, at=NOW - DAY, provider_id=clinic.provider.pk)
    between = clinic.join(at=NOW - 2 * DAY, preferred_days=[1])
    assert [(one.rank, one.score, one.entry) for one in _leaders(slot)] == [
        (1, 100, str(best.pk)), (2, 90, str(between.pk))
    ]  # fmt: skip
    clinic.fill()
    assert worlds.offered() == {(slot.pk, best.pk)}


def test_the_first_ten_are_named_however_many_entries_they_have(clinic: World) -> None:
    slot = clinic.slot()
    people = [clinic.patient() for _ in range(12)]
    for days in ([1], []):
        for n, patient in enumerate(people):
            provider = clinic.provider.pk if days else None
            clinic.join(
                patient=patient, at=NOW - (12 - n) * HOUR, provider_id=provider, preferred_days=days
            )
    led = WaitlistEntry.objects.in_bulk([one.entry for one in _leaders(slot)])
    assert [led[UUID(one.entry)].patient_id for one in _leaders(slot)] == [
        patient.pk for patient in people[:10]
    ]
    assert {one.score for one in _leaders(slot)} == {100}


def test_an_entry_is_told_its_chances_soonest_first(clinic: World) -> None:
    entry = clinic.join(any_facility=True, preferred_days=[2])
    elsewhere = clinic.neighbour()
    there = elsewhere.slot(at=NOW + 2 * DAY, service=None)
    later, sooner = clinic.slot(at=NOW + 3 * DAY), clinic.slot()
    other = factories.ServiceFactory.create(tenant=clinic.tenant)
    clinic.slot(at=NOW + 4 * DAY, service=other)
    found = _entry(entry)
    assert [(one.slot, one.facility, one.score) for one in found.chances] == [
        (str(sooner.pk), clinic.facility.pk, 100),
        (str(there.pk), elsewhere.facility.pk, 60),
        (str(later.pk), clinic.facility.pk, 90),
    ]
    assert (found.open, found.kept_out, found.closed) == (4, {"other_service": 1}, [])


def test_an_entry_is_held_against_all_slots_at_once(clinic: World) -> None:
    for n in range(1, 6):
        clinic.slot(at=NOW + n * DAY)
    with mock.patch.object(Board, "fits", autospec=True, side_effect=Board.fits) as fits:
        told = _entry(clinic.join())
    assert (len(told.chances), fits.call_count) == (5, 1)


def test_an_entry_without_a_chance_is_told_why(clinic: World) -> None:
    clinic.slot()
    entry = clinic.join(latest=NOW + HOUR)
    found = _entry(entry)
    assert (found.chances, found.kept_out) == ([], {"too_late": 1})
    entries.cancel(entry_id=entry.pk, reason="test", actor=STAFF, now=NOW)
    assert (_entry(entry).status, _entry(entry).open) == ("cancelled", 0)


def test_what_was_tried_in_vain_is_explained_all_the_same(clinic: World) -> None:
    clinic.slot()
    entry = clinic.join(latest=NOW + HOUR)
    assert clinic.fill().fruitless == 1
    assert _entry(entry).open == 1


def test_a_chance_that_the_scan_passes_by_is_marked(clinic: World) -> None:
    slot, entry = clinic.slot(), clinic.join()
    Fruitless.objects.create(
        tenant=clinic.tenant, slot=slot, tried_at=NOW,
        revision=clinic.queue.revision, visitors_revision=clinic.queue.visitors_revision,
    )  # fmt: skip
    assert [one.closed for one in _entry(entry).chances] == [["tried_in_vain"]]
    assert clinic.fill() == fill.Filled()


def test_a_chance_elsewhere_says_what_keeps_that_facility_from_offering_it(clinic: World) -> None:
    entry = clinic.join(any_facility=True)
    slots = [clinic.slot()]
    policies: list[dict[str, Any]] = [
        {}, {"auto_invite": False}, {"quiet_from": time(10)}
    ]  # fmt: skip
    for days, changes in enumerate(policies, 2):
        elsewhere = clinic.neighbour()
        elsewhere.change(**changes)
        slots.append(elsewhere.slot(at=NOW + days * DAY, service=None))
    found = _entry(entry)
    assert [(one.slot, one.closed) for one in found.chances] == [
        (str(slot.pk), closed)
        for slot, closed in zip(
            slots, ([], [], ["auto_invite_off"], ["quiet_hours"]), strict=True
        )
    ]  # fmt: skip
    assert found.closed == []


def test_nothing_is_open_to_an_organizer_who_waits_for_the_venue(venue: World) -> None:
    venue.slot()
    entry = asking.wait(place=venue.facility)
    found = _entry(entry)
    assert (found.status, found.open, found.kept_out, found.chances) == ("waiting", 0, {}, [])


def test_what_is_not_there_is_not_explained(db: None) -> None:
    with pytest.raises(NotFound):
        explanations.explain_slot(slot_id=uuid4(), now=NOW)
    with pytest.raises(NotFound):
        explanations.explain_entry(entry_id=uuid4(), now=NOW)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    wishes=st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "preferred_days": st.sampled_from([[], [2], [3]]),
                "preferred_time": st.sampled_from(["any", "morning", "evening"]),
                "earliest": st.sampled_from([None, NOW + DAY, NOW + 2 * DAY]),
                "urgency": st.integers(0, 3),
            },
        ),
        min_size=1,
        max_size=6,
    ),
    matching=st.sampled_from(["best_score", "max_fill"]),
    twins=st.booleans(),
)
def test_the_leader_is_who_is_offered(
    clinic: World, wishes: list[dict[str, Any]], matching: str, twins: bool
) -> None:
    with transaction.atomic():
        clinic.change(matching=matching)
        slot = clinic.slot(at=NOW + DAY + HOUR * len(wishes))
        for n, wish in enumerate(wishes):
            entry = clinic.join(at=NOW - (n % 3) * DAY - MINUTE, **wish)
            if twins:
                clinic.join(patient=entry.patient, provider_id=clinic.provider.pk)
        found = explanations.explain_slot(slot_id=slot.pk, now=NOW)
        assert found.fitting + sum(found.kept_out.values()) == found.waiting
        clinic.fill()
        offered = [str(hold.entry_id) for hold in Hold.objects.filter(slot=slot)]
        assert offered == [one.entry for one in found.leaders[:1]]
        transaction.set_rollback(True)
