"""What staff and owners are told: every entry and every slot counted once, by the rule."""

from datetime import timedelta
from typing import Any
from unittest import mock
from uuid import uuid4

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.errors import NotFound
from scheduling import blocks
from tests import factories
from tests.waitlist import worlds
from tests.waitlist.worlds import DAY, HOUR, MINUTE, NOW, STAFF, World
from waitlist import entries, explanations
from waitlist.explanations import EntryExplanation, SlotExplanation
from waitlist.fitting import RULES, Board
from waitlist.models import Hold, Queue, WaitlistEntry


def _slot(world: World, **fields: Any) -> SlotExplanation:
    return explanations.explain_slot(slot_id=world.slot(**fields).pk, now=NOW)


def _entry(entry: WaitlistEntry) -> EntryExplanation:
    return explanations.explain_entry(entry_id=entry.pk, now=NOW)


def test_each_who_waits_is_counted_by_the_rule_that_keeps_them_out(clinic: World) -> None:
    slot = clinic.slot()
    other = factories.ServiceFactory.create(tenant=clinic.tenant)
    long = factories.ServiceFactory.create(tenant=clinic.tenant, duration=HOUR)
    colleague = factories.ProviderFactory.create(tenant=clinic.tenant, facilities=[clinic.facility])
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
    )
)
def test_the_leader_is_who_is_offered(clinic: World, wishes: list[dict[str, Any]]) -> None:
    with transaction.atomic():
        slot = clinic.slot(at=NOW + DAY + HOUR * len(wishes))
        for wish in wishes:
            clinic.join(**wish)
        found = explanations.explain_slot(slot_id=slot.pk, now=NOW)
        assert found.fitting + sum(found.kept_out.values()) == found.waiting
        clinic.fill()
        offered = [str(hold.entry_id) for hold in Hold.objects.filter(slot=slot)]
        assert offered == [one.entry for one in found.leaders[:1]]
        transaction.set_rollback(True)
