"""Which entry fits which slot: each rule alone keeps a pair out that every other lets in."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest

from scheduling.models import Facility, Provider, Slot
from tests import factories
from tests.waitlist import asking, worlds
from tests.waitlist.worlds import DAY, HOUR, MINUTE, NOW, SECOND, STAFF, World
from waitlist import entries, holds
from waitlist.models import Queue, WaitlistEntry

START = NOW + DAY
NOTICE = 30 * MINUTE  # the clinic's min_notice
LEAST = 5 * MINUTE  # its min_hold


@dataclass(slots=True)
class Pair:
    """A slot and an entry that fit, until a test changes one thing."""

    world: World
    slot: Slot
    entry: WaitlistEntry

    @property
    def is_offered(self) -> bool:
        """Whether a pass offers the slot to the entry."""
        filled = self.world.fill()
        offered = (self.slot.pk, self.entry.pk) in worlds.offered()
        assert (offered, filled.clashes) == (filled.offers == 1, 0)
        return offered

    def wish(self, **wishes: object) -> None:
        """Let the patient wish something else."""
        entries.update(entry_id=self.entry.pk, wishes=wishes, actor=STAFF, now=NOW)


@pytest.fixture
def pair(clinic: World) -> Pair:
    return Pair(clinic, clinic.slot(at=START), clinic.join())


def _at(world: World, start: datetime) -> Pair:
    return Pair(world, world.slot(at=start), world.join())


def test_a_pair_that_no_rule_keeps_out_is_offered(pair: Pair) -> None:
    assert pair.is_offered


# Tenant, status, queue


def test_another_tenants_entry_is_out_even_for_any_facility(clinic: World) -> None:
    other = worlds.build()
    pair = Pair(clinic, clinic.slot(), other.join(service_id=None, any_facility=True))
    assert not pair.is_offered


def test_an_organizers_entry_gets_no_slot(venue: World) -> None:
    entry = asking.wait(place=venue.facility)
    assert not Pair(venue, venue.slot(), entry).is_offered


def test_an_offered_entry_is_out(pair: Pair) -> None:
    pair.world.offer(entry=pair.entry, slot=pair.world.slot(at=START + 3 * DAY))
    assert not pair.is_offered


def test_a_cancelled_entry_is_out(pair: Pair) -> None:
    entries.cancel(entry_id=pair.entry.pk, reason="moved", actor=STAFF, now=NOW)
    assert not pair.is_offered


def test_an_expired_entry_is_out(pair: Pair) -> None:
    WaitlistEntry.objects.filter(pk=pair.entry.pk).update(status="expired", closed_at=NOW)
    assert not pair.is_offered


def test_a_converted_entry_is_out(pair: Pair) -> None:
    hold = pair.world.offer(entry=pair.entry, slot=pair.world.slot(at=START + 3 * DAY))
    worlds.accept(hold)
    assert not pair.is_offered


def test_an_entry_past_its_end_is_out_before_the_sweep_has_seen_it(pair: Pair) -> None:
    WaitlistEntry.objects.filter(pk=pair.entry.pk).update(expires_at=NOW)
    assert not pair.is_offered


def test_a_deactivated_queue_offers_nothing(pair: Pair) -> None:
    Queue.objects.filter(pk=pair.world.facility.pk).update(deactivated_at=NOW)
    assert not pair.is_offered


def test_an_entry_of_a_deactivated_queue_is_out_elsewhere_too(clinic: World) -> None:
    other = clinic.neighbour()
    pair = Pair(clinic, clinic.slot(), other.join(service_id=None, any_facility=True))
    Queue.objects.filter(pk=other.facility.pk).update(deactivated_at=NOW)
    assert not pair.is_offered


def test_a_closed_facility_offers_nothing(pair: Pair) -> None:
    Facility.objects.filter(pk=pair.world.facility.pk).update(is_active=False)
    assert not pair.is_offered


def test_a_provider_who_left_is_offered_to_nobody(pair: Pair) -> None:
    Provider.objects.filter(pk=pair.world.provider.pk).update(is_active=False)
    assert not pair.is_offered


# The slot: open, not blocked, not claimed


@pytest.mark.parametrize(
    "claim",
    [
        lambda pair: pair.world.reserve(slot=pair.slot),
        lambda pair: pair.world.book(slot=pair.slot),
        lambda pair: pair.world.offer(slot=pair.slot),
        lambda pair: Slot.objects.filter(pk=pair.slot.pk).update(status="blocked"),
        lambda pair: Slot.objects.filter(pk=pair.slot.pk).update(status="retired"),
    ],
    ids=["reserved", "booked", "held", "blocked", "retired"],
)
def test_a_slot_that_is_not_open_is_out(pair: Pair, claim: Callable[[Pair], object]) -> None:
    claim(pair)
    assert (pair.world.fill().offers, (pair.slot.pk, pair.entry.pk) in worlds.offered()) == (
        0, False
    )  # fmt: skip


@pytest.mark.parametrize(
    ("starts_at", "minutes", "fits"),
    [
        (START, 30, False),
        (START - 29 * MINUTE, 30, False),
        (START + 29 * MINUTE, 30, False),
        (START - HOUR, 180, False),
        (START - HOUR, 60, True),
        (START + 30 * MINUTE, 60, True),
    ],
)
def test_a_slot_under_a_block_that_it_does_not_know_of_is_out(
    pair: Pair, starts_at: datetime, minutes: int, fits: bool
) -> None:
    factories.TimeBlockFactory.create(
        facility=pair.world.facility, starts_at=starts_at, minutes=minutes
    )
    assert pair.is_offered == fits


def test_a_block_counts_for_its_own_provider_only(pair: Pair) -> None:
    colleague = factories.ProviderFactory.create(tenant=pair.world.tenant)
    factories.TimeBlockFactory.create(
        facility=pair.world.facility, provider=colleague, starts_at=START
    )
    factories.TimeBlockFactory.create(facility=pair.world.neighbour().facility, starts_at=START)
    assert pair.is_offered


def test_the_providers_own_block_keeps_their_slot_out(pair: Pair) -> None:
    factories.TimeBlockFactory.create(
        facility=pair.world.facility, provider=pair.world.provider, starts_at=START
    )
    assert not pair.is_offered


@pytest.mark.parametrize(
    ("starts_at", "fits"),
    [
        (START - 29 * MINUTE, False),
        (START + 29 * MINUTE, False),
        (START - 30 * MINUTE, True),
        (START + 30 * MINUTE, True),
    ],
)
@pytest.mark.parametrize("claim", ["reserve", "book", "offer"])
def test_a_slot_that_overlaps_a_claim_of_its_provider_is_out(
    pair: Pair, claim: str, starts_at: datetime, fits: bool
) -> None:
    claimed = pair.world.slot(at=starts_at)
    getattr(pair.world, claim)(slot=claimed)
    pair.world.fill()
    assert ((pair.slot.pk, pair.entry.pk) in worlds.offered()) == fits


def test_a_claim_at_another_facility_counts_too(pair: Pair) -> None:
    elsewhere = pair.world.neighbour()
    elsewhere.reserve(slot=elsewhere.slot(at=START, provider=pair.world.provider))
    assert not pair.is_offered


def test_a_claim_of_a_colleague_does_not_count(pair: Pair) -> None:
    colleague = factories.ProviderFactory.create(tenant=pair.world.tenant)
    pair.world.reserve(slot=pair.world.slot(at=START, provider=colleague))
    assert pair.is_offered


# When the slot begins


@pytest.mark.parametrize(
    ("start", "fits"),
    [
        (NOW - MINUTE, False),
        (NOW, False),
        (NOW + NOTICE, False),
        (NOW + NOTICE + LEAST - SECOND, False),
        (NOW + NOTICE + LEAST, True),
        (NOW + 30 * DAY, True),
        (NOW + 30 * DAY + SECOND, False),
    ],
    ids=["past", "now", "at notice", "short of min_hold", "at min_hold", "at look_ahead", "beyond"],
)
def test_a_slot_begins_neither_too_soon_nor_too_late(
    clinic: World, start: datetime, fits: bool
) -> None:
    assert _at(clinic, start).is_offered == fits


@pytest.mark.parametrize(("after", "fits"), [(timedelta(0), False), (SECOND, True)])
def test_without_a_least_hold_a_slot_begins_after_the_notice(
    clinic: World, after: timedelta, fits: bool
) -> None:
    clinic.change(min_hold=timedelta(0))
    assert _at(clinic, NOW + NOTICE + after).is_offered == fits


def test_a_window_as_short_as_the_least_hold_is_offered(pair: Pair) -> None:
    pair.world.change(hold_window=5 * MINUTE, reminder_lead=None)
    assert pair.is_offered


# Facility, service, provider, dates


@pytest.mark.parametrize("any_facility", [False, True])
def test_an_entry_of_another_facility_fits_with_any_facility_only(
    clinic: World, any_facility: bool
) -> None:
    entry = clinic.neighbour().join(service_id=clinic.service.pk, any_facility=any_facility)
    assert Pair(clinic, clinic.slot(), entry).is_offered == any_facility


@pytest.mark.parametrize(
    ("wished", "given", "fits"),
    [
        ("other", "own", False),
        ("own", "own", True),
        (None, "own", True),
        ("own", None, True),
        (None, None, True),
    ],
)
def test_services_are_equal_or_one_is_unset(
    clinic: World, wished: str | None, given: str | None, fits: bool
) -> None:
    other = factories.ServiceFactory.create(tenant=clinic.tenant)
    services = {"own": clinic.service, "other": other, None: None}
    wish = services[wished]
    entry = clinic.join(service_id=wish.pk if wish else None)
    assert Pair(clinic, clinic.slot(service=services[given]), entry).is_offered == fits


@pytest.mark.parametrize(("minutes", "fits"), [(44, False), (45, True), (90, True)])
@pytest.mark.parametrize("whose", ["entry", "slot", "both"])
def test_the_service_fits_into_the_slot(
    clinic: World, whose: str, minutes: int, fits: bool
) -> None:
    long = factories.ServiceFactory.create(tenant=clinic.tenant, duration=45 * MINUTE)
    entry = clinic.join(service_id=None if whose == "slot" else long.pk)
    slot = clinic.slot(minutes=minutes, service=None if whose == "entry" else long)
    assert Pair(clinic, slot, entry).is_offered == fits


@pytest.mark.parametrize("required", [False, True])
def test_a_required_provider_is_the_slots(clinic: World, required: bool) -> None:
    colleague = factories.ProviderFactory.create(tenant=clinic.tenant, facilities=[clinic.facility])
    entry = clinic.join(provider_id=colleague.pk, provider_required=required)
    slot, theirs = clinic.slot(), clinic.slot(provider=colleague)
    clinic.fill()
    assert worlds.offered() == {(theirs.pk, entry.pk)}
    worlds.decline(entry.holds.get())
    clinic.fill()
    assert ((slot.pk, entry.pk) in worlds.offered()) != required


@pytest.mark.parametrize(
    ("wish", "at", "fits"),
    [
        ("earliest", START, True),
        ("earliest", START + SECOND, False),
        ("latest", START + 30 * MINUTE, True),
        ("latest", START + 30 * MINUTE - SECOND, False),
    ],
)
def test_a_slot_lies_within_the_wished_dates(
    clinic: World, wish: str, at: datetime, fits: bool
) -> None:
    wishes: dict[str, Any] = {wish: at}
    entry = clinic.join(**wishes)
    assert Pair(clinic, clinic.slot(at=START), entry).is_offered == fits


# The patient's other times


@pytest.mark.parametrize(
    ("starts_at", "fits"),
    [
        (START - 29 * MINUTE, False),
        (START + 29 * MINUTE, False),
        (START - 30 * MINUTE, True),
        (START + 30 * MINUTE, True),
    ],
)
@pytest.mark.parametrize("way", ["booked", "held"])
def test_the_patient_has_nothing_else_at_that_time(
    pair: Pair, way: str, starts_at: datetime, fits: bool
) -> None:
    elsewhere, patient = pair.world.neighbour(), pair.entry.patient
    slot = elsewhere.slot(at=starts_at)
    if way == "booked":
        elsewhere.book(slot=slot, patient=patient)
    else:
        elsewhere.offer(slot=slot, entry=elsewhere.join(patient=patient))
    assert pair.is_offered == fits


def test_a_cancelled_appointment_and_a_declined_offer_leave_the_time_free(pair: Pair) -> None:
    elsewhere, patient = pair.world.neighbour(), pair.entry.patient
    worlds.decline(
        elsewhere.offer(slot=elsewhere.slot(at=START), entry=elsewhere.join(patient=patient))
    )
    appointment = elsewhere.book(slot=elsewhere.slot(at=START, minutes=45), patient=patient)
    type(appointment).objects.filter(pk=appointment.pk).update(status="cancelled", cancelled_at=NOW)
    assert pair.is_offered


# What was offered before


def test_a_slot_is_offered_to_an_entry_once(pair: Pair) -> None:
    other = pair.world.slot(at=START + 3 * DAY)
    worlds.decline(pair.world.offer(slot=pair.slot, entry=pair.entry))
    assert pair.world.fill().offers == 1
    assert worlds.offered() == {(other.pk, pair.entry.pk)}


def test_a_withdrawn_offer_may_be_made_again(pair: Pair) -> None:
    pair.world.offer(slot=pair.slot, entry=pair.entry)
    other = pair.world.offer(slot=pair.world.slot(at=START + 3 * DAY), entry=pair.entry)
    worlds.decline(other)
    assert pair.is_offered


def test_an_offer_that_staff_took_back_is_not_made_again(pair: Pair) -> None:
    hold = pair.world.offer(slot=pair.slot, entry=pair.entry)
    holds.take_back(hold_id=hold.pk, reason="offered_by_mistake", actor=STAFF, now=NOW)
    assert not pair.is_offered


@pytest.mark.parametrize(("limit", "fits"), [(1, False), (2, True), (None, True)])
def test_who_had_all_the_offers_they_may_have_is_out(
    pair: Pair, limit: int | None, fits: bool
) -> None:
    other = pair.world.slot(at=START + 3 * DAY)
    worlds.decline(pair.world.offer(slot=other, entry=pair.entry))
    pair.world.change(max_offers_per_entry=limit)
    assert pair.is_offered == fits


def test_the_limit_of_a_visitor_is_that_of_its_own_queue(clinic: World) -> None:
    own = clinic.neighbour()
    clinic.change(max_offers_per_entry=1)
    entry = own.join(service_id=None, any_facility=True)
    worlds.decline(own.offer(entry=entry, slot=own.slot(at=START + 3 * DAY)))
    pair = Pair(clinic, clinic.slot(), entry)
    assert pair.is_offered
