"""Races of organizers: to many venues at once, and for one offer."""

from collections.abc import Callable
from datetime import timedelta

from accounts.models import Tenant
from audit import events
from availability.models import Rfp, VenueAvailability
from config import testing
from scheduling.models import Facility
from tests import venues
from tests.races import race, sabotage, scene
from tests.waitlist import asking
from waitlist import breakers, cascades, conversions, entries, holds, invariants
from waitlist.models import CircuitBreaker, Hold, Queue, WaitlistEntry

LAPSED = scene.NOW + timedelta(days=3)
#: How whoever comes too late is refused.
OVER: set[type[Exception]] = {
    holds.HoldClosed, conversions.HoldLapsed, entries.EntryClosed
}  # fmt: skip


def joins(*, places: int) -> list[race.Call]:
    """Let one organizer join at many venues."""
    organizer = asking.organizer()
    sources = asking.refused(
        places=[venues.open_venue() for _ in range(places)], by=organizer, at=scene.NOW
    )

    def call(source: object) -> race.Call:
        return lambda: asking.join(source=source, at=scene.NOW)  # type: ignore[arg-type]

    return [call(source) for source in sources]


def test_of_fifty_joins_of_one_organizer_at_fifty_venues_five_stand() -> None:
    outcomes = race.run(*joins(places=50))
    assert [outcome.won for outcome in outcomes].count(True) == 5
    assert race.errors(outcomes) == {entries.TooManyEntries}
    assert WaitlistEntry.objects.count() == 5
    assert invariants.breaches() == []


def test_without_the_organizers_lock_more_stand() -> None:
    calls = joins(places=7)
    with sabotage.no_row_locks(Tenant):
        outcomes = race.run(*calls, before=["^INSERT INTO .waitlist_waitlistentry"])
    assert all(outcome.won for outcome in outcomes)
    assert WaitlistEntry.objects.count() == 7


def offered() -> Hold:
    """Let somebody wait for a venue, and offer it to them; another waits behind."""
    place = asking.wait(place=venues.open_venue(), at=scene.NOW).facility
    asking.wait(place=place, at=scene.NOW)
    return asking.offer(place=place, at=scene.NOW)


def convert(hold: Hold) -> race.Call:
    return lambda: conversions.convert(hold_id=hold.pk, actor=events.SYSTEM, now=scene.NOW)


def drafts() -> int:
    return Rfp.objects.filter(status="draft").count()


def test_of_twenty_conversions_of_one_hold_one_drafts_an_rfp() -> None:
    hold = offered()
    outcomes = race.run(*[convert(hold)] * 20)
    assert [outcome.won for outcome in outcomes].count(True) == 1
    assert race.errors(outcomes) == {holds.HoldClosed}
    assert drafts() == 1
    assert invariants.breaches() == []


def test_without_the_locks_each_drafts_its_own() -> None:
    hold = offered()
    with sabotage.no_row_locks():
        outcomes = race.run(*[convert(hold)] * 3, before=["^INSERT INTO .availability_rfp"])
    assert all(outcome.won for outcome in outcomes)
    assert drafts() == 3


def ends_of(*, other: Callable[[Hold], race.Call]) -> set[str]:
    """Let something come in at each point of a conversion; say how the hold ended."""
    hold: list[Hold] = []
    ends = set()

    def begin() -> race.Call:
        testing.empty_tables()
        hold[:] = [offered()]
        return convert(hold[0])

    for outcomes in race.interleave(first=begin, then=lambda: other(hold[0])):
        assert race.errors(outcomes) <= OVER, outcomes
        hold[0].refresh_from_db()
        ends.add(hold[0].status)
        assert drafts() == (hold[0].status == Hold.Status.ACCEPTED)
        assert invariants.breaches() == []
    return ends


def test_an_offer_is_converted_or_lapses_wherever_the_sweep_comes_in() -> None:
    def expire(hold: Hold) -> race.Call:
        return lambda: holds.expire_due(now=LAPSED, limit=10)

    assert ends_of(other=expire) == {"accepted", "expired"}


def test_an_offer_is_converted_or_given_back() -> None:
    def cancel(hold: Hold) -> race.Call:
        return lambda: entries.cancel(
            entry_id=hold.entry_id, reason="other", actor=events.SYSTEM, now=scene.NOW
        )

    assert ends_of(other=cancel) == {"accepted", "withdrawn"}


def vacant(*, waiting: int) -> Facility:
    """Make a venue that has room, for which so many wait."""
    place = venues.open_venue()
    for _ in range(waiting):
        asking.wait(place=place, at=scene.NOW)
    asking.free(place=place, at=scene.NOW)
    return place


def go_on(place: Facility) -> race.Call:
    return lambda: cascades.go_on(facility_id=place.pk, now=scene.NOW)


def test_of_many_runs_of_a_cascade_one_offers() -> None:
    place = vacant(waiting=5)
    outcomes = race.run(*[go_on(place)] * 10)
    assert race.errors(outcomes) <= {cascades.Busy}
    assert [bool(outcome.value) for outcome in outcomes].count(True) == 1
    assert Hold.objects.count() == 1
    assert invariants.breaches() == []


def test_without_the_advisory_lock_the_queues_keeps_it_to_one_offer() -> None:
    place = vacant(waiting=5)
    with sabotage.no_advisory_locks():
        outcomes = race.run(*[go_on(place)] * 4, before=["^INSERT INTO .waitlist_hold"])
    assert race.errors(outcomes) == set()
    assert Hold.objects.count() == 1


def test_without_any_lock_the_constraint_refuses_the_others() -> None:
    place = vacant(waiting=5)
    layers: list[sabotage.Layer] = [sabotage.no_advisory_locks, sabotage.no_row_locks]
    with sabotage.taken_out(layers):
        outcomes = race.run(*[go_on(place)] * 4, before=["^INSERT INTO .waitlist_hold"])
    assert {error.__name__ for error in race.errors(outcomes)} == {"IntegrityError"}
    assert Hold.objects.count() == 1


def offers_after(*, layers: list[sabotage.Layer]) -> set[int]:
    """Let a conversion come in at each point of a cascade's run; how many offers there are then."""
    hold: list[Hold] = []
    found = set()

    def begin() -> race.Call:
        testing.empty_tables()
        hold[:] = [offered()]
        return go_on(hold[0].facility)

    rounds = race.interleave(first=begin, then=lambda: convert(hold[0]))
    with sabotage.taken_out(layers):
        for outcomes in rounds:
            assert race.errors(outcomes) == set(), outcomes
            assert VenueAvailability.objects.get(pk=hold[0].facility_id).vacant_since is None
            found.add(Hold.objects.count())
    return found


def test_a_venue_that_is_taken_is_offered_to_nobody_else() -> None:
    assert offers_after(layers=[]) == {1}


def test_without_the_queues_lock_the_next_is_offered_what_is_taken() -> None:
    assert 2 in offers_after(layers=[lambda: sabotage.no_row_locks(Queue)])


def test_a_cascade_that_comes_in_while_an_offer_is_converted_offers_nothing() -> None:
    def cascade(hold: Hold) -> race.Call:
        return go_on(hold.facility)

    assert ends_of(other=cascade) == {"accepted"}
    assert Hold.objects.count() == 1


def test_a_resolution_and_a_deactivation_leave_one_or_the_other() -> None:
    """Whoever comes first, the queue is closed while its breaker is deactivated, and only then."""
    ends = set()
    place: list[Facility] = []

    def begin() -> race.Call:
        testing.empty_tables()
        place[:] = [vacant(waiting=1)]
        breaker = CircuitBreaker.objects.create(
            tenant=place[0].tenant, facility=place[0], tripped_at=scene.NOW - timedelta(days=8)
        )
        events.record(
            kind="waitlist.circuit_breaker_triggered", tenant_id=place[0].tenant_id,
            subject_type="breaker", subject_id=breaker.pk, actor=events.SYSTEM, at=scene.NOW,
            facility_id=place[0].pk, new_status="tripped",
        )  # fmt: skip
        return lambda: breakers.resolve(facility_id=place[0].pk, actor=events.SYSTEM, now=scene.NOW)

    def deactivate() -> int:
        return breakers.deactivate_due(now=scene.NOW, limit=10)

    for outcomes in race.interleave(first=begin, then=lambda: deactivate):
        assert race.errors(outcomes) == set(), outcomes
        [status] = CircuitBreaker.objects.values_list("status", flat=True)
        assert status == "resolved"
        assert Queue.objects.get(pk=place[0].pk).deactivated_at is None
        assert invariants.breaches() == []
        ends.add(outcomes[1].value)
    assert ends == {0, 1}
