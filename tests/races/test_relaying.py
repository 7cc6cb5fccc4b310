"""Races of the relay: the order of events never gains a late member."""

from uuid import UUID

from django.db import transaction

from audit import events
from audit.models import Event, EventSeq, Unrelayed
from notifications import relay
from scheduling.models import Facility
from tests.races import race, sabotage, scene
from waitlist import invariants

WRITERS = 8
EACH = 5


def write(*, at: Facility) -> race.Call:
    """Write an event in a transaction of its own."""

    def call() -> UUID:
        events.record(
            kind="waitlist.policy_changed",
            tenant_id=at.tenant_id,
            subject_type="policy",
            subject_id=at.pk,
            actor=events.SYSTEM,
            at=scene.NOW,
        )
        return Event.objects.latest("pk").pk

    return call


def write_out_of_order(*, at: Facility) -> race.Call:
    """Write several events, each committed at a time of its own."""

    def call() -> None:
        for _ in range(EACH):
            with transaction.atomic():
                write(at=at)()

    return call


def relay_on() -> list[int]:
    """Relay until all is done that the writers write."""
    done: list[int] = []
    while sum(done) < WRITERS * EACH and EventSeq.objects.count() < WRITERS * EACH:
        done.append(relay.relay(limit=3, now=scene.NOW).events)
    return done


def read_on() -> list[UUID]:
    """Read by `seq`, each time from the last one seen, until all was read or is there."""
    seen: list[UUID] = []
    last = 0
    while len(seen) < WRITERS * EACH:
        complete = EventSeq.objects.count() == WRITERS * EACH
        for row in EventSeq.objects.filter(seq__gt=last).order_by("seq"):
            last = row.seq
            seen.append(row.event_id)
        if complete:
            break
    return seen


def test_each_event_gets_one_place_and_a_reader_misses_none() -> None:
    clinic = scene.clinic()
    writers = [write_out_of_order(at=clinic) for _ in range(WRITERS)]
    outcomes = race.run(*writers, relay_on, relay_on, read_on)
    assert race.errors(outcomes) == set(), outcomes
    assert outcomes[-1].value == list(
        EventSeq.objects.order_by("seq").values_list("event_id", flat=True)
    )
    assert EventSeq.objects.count() == Event.objects.count() == WRITERS * EACH
    assert not Unrelayed.objects.exists()
    assert invariants.breaches() == []


def read_after(*, last: int) -> tuple[int, int]:
    """Return how many events come after `last`, and the new last."""
    seqs = list(EventSeq.objects.filter(seq__gt=last).values_list("seq", flat=True))
    return len(seqs), max(seqs, default=last)


def relay_all() -> int:
    """Relay all there is."""
    return relay.relay(limit=10, now=scene.NOW).events


def overtake() -> int:
    """Commit an event that was begun early between two relays; return how many a reader reads."""
    clinic = scene.clinic()
    early = race.Runner(race.held_back(write(at=clinic)), stops=[race.COMMIT])
    first = race.Runner(race.held_back(relay_all), stops=[race.COMMIT])
    with race.stage(early, first):
        early.start()
        race.settle(early)
        write(at=clinic)()
        first.start()
        race.settle(first)  # it has numbered the late event, and not committed
        early.free()
        race.settle(early, first)
        relay.relay(limit=1, now=scene.NOW)
        read, last = read_after(last=0)
    relay_all()
    return read + read_after(last=last)[0]


def test_an_event_that_commits_late_comes_late_in_the_order() -> None:
    assert overtake() == 2
    assert invariants.breaches() == []


def test_with_two_relays_at_once_a_reader_would_miss_an_event() -> None:
    with sabotage.no_advisory_locks():
        assert overtake() == 1
