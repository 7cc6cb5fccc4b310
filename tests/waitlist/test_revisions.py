"""What lets a slot be tried again that nobody fitted, or that was hidden."""

from collections.abc import Callable
from datetime import time

import pgtrigger
import pytest
from django.db.models.functions import Now

from audit.events import SYSTEM
from scheduling import appointments, blocks, exceptions, facilities, providers, rules, slots
from scheduling.models import (
    Appointment,
    Facility,
    Provider,
    ProviderFacility,
    Service,
    Slot,
    TimeBlock,
)
from tests import factories
from tests.waitlist import worlds
from tests.waitlist.worlds import DAY, HOUR, MINUTE, NOW, STAFF, World
from waitlist import breakers, candidates, entries, fill, holds, revisions
from waitlist.models import CircuitBreaker, Fruitless, Queue, Uncounted, WaitlistEntry

AT = NOW + 2 * DAY

#: Makes what it says, and returns how that ends or changes.
Case = Callable[[World], Callable[[], object]]


def _scan() -> None:
    """Fill wherever a pass may find something to do."""
    for facility_id in fill.facilities(now=NOW):
        list(fill.passes(facility_id=facility_id, clock=lambda: NOW))


def _is_dry(world: World) -> bool:
    """Whether the scan passes a facility by, the slots of which changed long ago."""
    with pgtrigger.ignore("scheduling.Slot:touch"):
        Slot.objects.update(updated_at=Now() - HOUR)
    return world.facility.pk not in fill.facilities(now=NOW)


def _offered_at(world: World) -> set[str]:
    held = Slot.objects.filter(facility=world.facility, status="held")
    return {str(slot) for slot in held.values_list("pk", flat=True)}


# How claims end


def _release(world: World) -> Callable[[], object]:
    slot = world.reserve(slot=world.slot(at=AT))
    return lambda: slots.release(slot_id=slot.pk, actor=STAFF, now=NOW)


def _let_a_reservation_lapse(world: World) -> Callable[[], object]:
    world.reserve(slot=world.slot(at=AT))
    return lambda: slots.release_expired(now=NOW + HOUR, limit=10)


def _cancel(world: World) -> Callable[[], object]:
    return _cancelling(world.book(slot=world.slot(at=AT)))


def _cancelling(appointment: Appointment) -> Callable[[], object]:
    return lambda: appointments.cancel(
        appointment_id=appointment.pk, reason="moved", actor=STAFF, now=NOW
    )


def _reschedule(world: World) -> Callable[[], object]:
    return _moving(world.book(slot=world.slot(at=AT)), to=world.slot(at=AT + 5 * HOUR))


def _moving(appointment: Appointment, *, to: Slot) -> Callable[[], object]:
    return lambda: appointments.reschedule(
        appointment_id=appointment.pk, slot_id=to.pk, actor=STAFF, now=NOW
    )


def _decline(world: World) -> Callable[[], object]:
    hold = world.offer(slot=world.slot(at=AT))
    return lambda: worlds.decline(hold)


def _let_an_offer_lapse(world: World) -> Callable[[], object]:
    world.offer(slot=world.slot(at=AT))
    return lambda: holds.expire_due(now=NOW + DAY, limit=10)


def _take_back(world: World) -> Callable[[], object]:
    hold = world.offer(slot=world.slot(at=AT))
    return lambda: holds.take_back(hold_id=hold.pk, reason="mistake", actor=STAFF, now=NOW)


def _offer_another(world: World) -> Callable[[], object]:
    hold, other = world.offer(slot=world.slot(at=AT)), world.slot(at=AT + 5 * HOUR)
    return lambda: world.offer(slot=other, entry=hold.entry)


def _leave(world: World) -> Callable[[], object]:
    hold = world.offer(slot=world.slot(at=AT))
    return lambda: entries.cancel(
        entry_id=hold.entry_id, reason="no_longer_needed", actor=STAFF, now=NOW
    )


def _block(world: World, *, minutes: int = 30) -> blocks.Blocked:
    return blocks.create(
        facility_id=world.facility.pk, provider_id=None, starts_at=AT,
        ends_at=AT + minutes * MINUTE, reason="", actor=STAFF, now=NOW,
    )  # fmt: skip


def _block_a_reservation(world: World) -> Callable[[], object]:
    world.reserve(slot=world.slot(at=AT))
    return lambda: _block(world)


def _block_an_offer(world: World) -> Callable[[], object]:
    world.offer(slot=world.slot(at=AT))
    _block(world)
    return lambda: holds.withdraw_blocked(now=NOW, limit=10)


def _cancel_what_no_rule_makes(world: World) -> Callable[[], object]:
    appointment = world.book(slot=world.slot(at=AT))
    Slot.objects.filter(pk=appointment.slot_id).update(superseded=True)
    return _cancelling(appointment)


@pytest.mark.parametrize(
    "claim",
    [
        _release, _let_a_reservation_lapse, _cancel, _reschedule, _decline, _let_an_offer_lapse,
        _take_back, _offer_another, _leave, _block_a_reservation, _block_an_offer,
        _cancel_what_no_rule_makes,
    ],
)  # fmt: skip
def test_the_end_of_a_claim_shows_what_it_hid(clinic: World, claim: Case) -> None:
    """At another facility, where no slot of its own changes with it."""
    there = clinic.neighbour()
    ProviderFacility.objects.create(
        tenant=clinic.tenant, provider=clinic.provider, facility=there.facility
    )
    hidden = there.slot(at=AT + 15 * MINUTE, minutes=60, provider=clinic.provider)
    there.join()
    end = claim(clinic)
    _scan()
    assert not Fruitless.objects.filter(slot=hidden).exists()
    assert _is_dry(there)
    end()
    assert fill.facilities(now=NOW).count(there.facility.pk) == 1
    there.fill()
    assert _offered_at(there) == {str(hidden.pk)}


def test_a_claim_that_is_made_tells_nothing(clinic: World) -> None:
    clinic.join()
    clinic.slot()
    clinic.fill()
    worlds.accept(WaitlistEntry.objects.get().holds.get())
    assert not Uncounted.objects.exists()


# Whatever else lets somebody fit


def _join(world: World) -> Callable[[], object]:
    world.slot()
    return world.join


def _join_elsewhere(world: World) -> Callable[[], object]:
    world.slot()
    return lambda: world.neighbour().join(service_id=None, any_facility=True)


def _edit(world: World) -> Callable[[], object]:
    world.slot()
    entry = world.join(latest=NOW + HOUR)
    return lambda: entries.update(entry_id=entry.pk, wishes={"latest": None}, actor=STAFF, now=NOW)


def _change_the_policy(world: World) -> Callable[[], object]:
    world.slot()
    world.change(min_match_score=100)
    world.join(preferred_days=[7])
    return lambda: world.change(min_match_score=0)


def _change_a_visitors_policy(world: World) -> Callable[[], object]:
    home = world.neighbour()
    entry = home.join(service_id=None, any_facility=True)
    worlds.decline(home.offer(entry=entry))
    home.change(max_offers_per_entry=1)
    world.slot()
    return lambda: home.change(max_offers_per_entry=None)


def _resolve_a_breaker(world: World) -> Callable[[], object]:
    home = world.neighbour()
    home.join(service_id=None, any_facility=True)
    CircuitBreaker.objects.create(tenant=home.tenant, facility=home.facility, tripped_at=NOW)
    Queue.objects.filter(pk=home.facility.pk).update(deactivated_at=NOW)
    world.slot()
    return lambda: breakers.resolve(facility_id=home.facility.pk, actor=SYSTEM, now=NOW)


def _reopen_a_visitors_facility(world: World) -> Callable[[], object]:
    home = world.neighbour()
    home.join(service_id=None, any_facility=True)
    world.slot()
    _activate(home.facility, is_active=False)
    return lambda: _activate(home.facility, is_active=True)


def _activate(facility: Facility, *, is_active: bool) -> None:
    facilities.change(
        facility_id=facility.pk, changes={"is_active": is_active}, actor=STAFF, now=NOW
    )


def _reopen_the_facility(world: World) -> Callable[[], object]:
    """Whose slots were tried in vain before it closed, and whose queue then let somebody in."""
    world.slot()
    home = world.neighbour()
    home.join(service_id=None, any_facility=True)
    Facility.objects.filter(pk=home.facility.pk).update(is_active=False)
    _scan()
    Facility.objects.filter(pk=world.facility.pk).update(is_active=False)
    return lambda: Facility.objects.update(is_active=True)


def _shorten_the_service(world: World) -> Callable[[], object]:
    Service.objects.filter(pk=world.service.pk).update(duration=HOUR)
    world.slot(service=None)
    world.join()
    return lambda: Service.objects.filter(pk=world.service.pk).update(duration=30 * MINUTE)


def _let_a_provider_return(world: World) -> Callable[[], object]:
    world.slot()
    world.join()
    Provider.objects.filter(pk=world.provider.pk).update(is_active=False)
    return lambda: Provider.objects.filter(pk=world.provider.pk).update(is_active=True)


def _open_on_tuesdays(world: World) -> None:
    """Let somebody wait for the first of them."""
    rules.add(
        facility_id=world.facility.pk, provider_id=world.provider.pk, weekday=2,
        start_time=time(9), end_time=time(9, 30), slot_minutes=30, actor=STAFF, now=NOW,
    )  # fmt: skip
    world.join(latest=NOW + DAY)


def _post_a_provider(world: World) -> Callable[[], object]:
    _open_on_tuesdays(world)

    def post(*at: Facility) -> None:
        providers.change(
            provider_id=world.provider.pk, changes={}, actor=STAFF, now=NOW,
            facility_ids=[one.pk for one in at],
        )  # fmt: skip

    post()
    return lambda: post(world.facility)


def _remove_an_exception(world: World) -> Callable[[], object]:
    _open_on_tuesdays(world)
    closed = exceptions.add(
        facility_id=world.facility.pk, date=(NOW + DAY).date(), kind="closed", actor=STAFF, now=NOW
    )
    return lambda: exceptions.remove(exception_id=closed.pk, actor=STAFF, now=NOW)


def _remove_a_block(world: World) -> Callable[[], object]:
    world.slot(at=AT)
    world.join()
    block = _block(world).block
    return lambda: blocks.remove(block_id=block.pk, actor=STAFF, now=NOW)


def _missed(world: World) -> TimeBlock:
    """A block with an open slot under it that was made while the block was."""
    world.slot(at=AT)
    world.join()
    return TimeBlock.objects.create(
        tenant=world.tenant, facility=world.facility, period=worlds.period(AT)
    )


def _remove_a_block_that_missed_a_slot(world: World) -> Callable[[], object]:
    block = _missed(world)
    return lambda: blocks.remove(block_id=block.pk, actor=STAFF, now=NOW)


def _move_a_block_that_missed_a_slot(world: World) -> Callable[[], object]:
    block = _missed(world)
    starts_at = AT + HOUR
    return lambda: blocks.change(
        block_id=block.pk, actor=STAFF, now=NOW,
        changes={"starts_at": starts_at, "ends_at": starts_at + HOUR},
    )  # fmt: skip


def _busy(world: World, *, at: World | None = None) -> Appointment:
    """Somebody who waits for the only open slot, with an appointment at another place."""
    patient = world.patient()
    if at is None:
        world.join(patient=patient)
    else:
        at.join(patient=patient, service_id=None, any_facility=True)
    elsewhere = world.neighbour()
    world.slot(at=AT)
    return elsewhere.book(slot=elsewhere.slot(at=AT), patient=patient)


def _cancel_an_appointment(world: World) -> Callable[[], object]:
    return _cancelling(_busy(world))


def _cancel_a_visitors_appointment(world: World) -> Callable[[], object]:
    return _cancelling(_busy(world, at=world.neighbour()))


def _move_an_appointment(world: World) -> Callable[[], object]:
    appointment = _busy(world)
    to = factories.SlotFactory.create(
        facility=appointment.facility, provider=appointment.provider, starts_at=AT + 5 * HOUR
    )
    return _moving(appointment, to=to)


def _decline_another_offer(world: World) -> Callable[[], object]:
    patient, elsewhere = world.patient(), world.neighbour()
    world.slot(at=AT)
    world.join(patient=patient)
    hold = elsewhere.offer(slot=elsewhere.slot(at=AT), entry=elsewhere.join(patient=patient))
    return lambda: worlds.decline(hold)


def _let_another_offer_lapse(world: World) -> Callable[[], object]:
    _decline_another_offer(world)
    return lambda: holds.expire_due(now=NOW + DAY, limit=10)


@pytest.mark.parametrize(
    "case",
    [
        _join, _join_elsewhere, _edit, _change_the_policy, _change_a_visitors_policy,
        _resolve_a_breaker, _reopen_a_visitors_facility, _reopen_the_facility,
        _shorten_the_service, _let_a_provider_return, _post_a_provider, _remove_an_exception,
        _remove_a_block, _remove_a_block_that_missed_a_slot, _move_a_block_that_missed_a_slot,
        _cancel_an_appointment, _cancel_a_visitors_appointment, _move_an_appointment,
        _decline_another_offer, _let_another_offer_lapse,
    ],
)  # fmt: skip
def test_a_change_that_lets_somebody_fit_is_found_by_the_scan(clinic: World, case: Case) -> None:
    change = case(clinic)
    _scan()
    assert not _offered_at(clinic)
    if Facility.objects.get(pk=clinic.facility.pk).is_active:
        assert _is_dry(clinic)
    change()
    _scan()
    assert len(_offered_at(clinic)) == 1


def test_of_a_long_queue_what_only_the_busy_fit_is_tried_again_in_each_part(
    clinic: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "WHOLE", 3)
    monkeypatch.setattr(candidates, "HEAD", 0)  # as if the first were all kept away
    awaited, *_ = [clinic.slot(at=AT + n * HOUR) for n in range(6)]
    for _ in range(9):
        clinic.join(latest=NOW + HOUR)
    patient, elsewhere = clinic.patient(), clinic.neighbour()
    clinic.join(patient=patient, latest=AT + HOUR)
    appointment = elsewhere.book(slot=elsewhere.slot(at=AT), patient=patient)
    passes = list(fill.passes(facility_id=clinic.facility.pk, clock=lambda: NOW))
    assert sum(one.fruitless for one in passes) == 6
    assert _is_dry(clinic)
    _cancelling(appointment)()
    _scan()
    assert _offered_at(clinic) == {str(awaited.pk)}


def test_what_is_counted_is_forgotten(clinic: World) -> None:
    before = clinic.queue
    _cancel(clinic)()
    _cancelling(clinic.book())()
    revisions.count()
    after = clinic.queue
    assert (after.revision, after.supply_revision) == (before.revision, before.supply_revision + 1)
    assert not Uncounted.objects.exists()
