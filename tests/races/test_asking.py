"""Races for RFPs and for what is shown of a venue: caps, answers, awards, deadlines, overrides."""

from collections.abc import Callable
from functools import partial
from typing import Any

from accounts.models import Tenant
from audit.events import SYSTEM
from audit.models import Event
from availability import rfps, statuses
from availability.models import Rfp, RfpVenue, VenueAvailability
from config import testing
from tests.availability.test_statuses import signal
from tests.races import race, sabotage
from tests.venues import DEADLINE, Scene, open_venue, set_scene
from tests.waitlist.worlds import DAY, NOW
from waitlist import invariants

EVERYTHING: list[sabotage.Layer] = [sabotage.no_row_locks]


def test_of_twelve_drafts_five_stand() -> None:
    scene = set_scene()
    outcomes = race.run(*[scene.draft] * 12)
    assert [outcome.won for outcome in outcomes].count(True) == 5
    assert race.errors(outcomes) == {rfps.TooManyRfps}
    assert Rfp.objects.count() == 5
    assert invariants.breaches() == []


def test_a_copy_counts_as_well() -> None:
    scene = set_scene()
    source = scene.send()
    for _ in range(3):
        scene.draft()

    def copy() -> Rfp:
        return rfps.copy_as_draft(
            source_rfp=source, facility=scene.venue, deadline=DEADLINE, actor=SYSTEM, now=NOW
        )

    outcomes = race.run(*[copy, scene.draft] * 4)
    assert [outcome.won for outcome in outcomes].count(True) == 1
    assert Rfp.objects.count() == 5


def test_without_the_organizers_lock_more_do() -> None:
    scene = set_scene()
    for _ in range(4):
        scene.draft()
    with sabotage.no_row_locks(Tenant):
        outcomes = race.run(*[scene.draft] * 3, before=["^INSERT INTO .availability_rfp."])
    assert all(outcome.won for outcome in outcomes)
    assert Rfp.objects.count() == 7


def _answer(scene: Scene, rfp: Rfp) -> race.Call:
    """Let the venue answer late."""
    return lambda: scene.answer(rfp)


def _award(scene: Scene, rfp: Rfp) -> race.Call:
    """Choose the other venue, which has answered."""
    winner = rfp.targets.get(response="confirmed").pk
    return lambda: rfps.award(rfp_id=rfp.pk, rfp_venue_id=winner, actor=SYSTEM, now=NOW)


def _deadline(scene: Scene, rfp: Rfp) -> race.Call:
    return lambda: rfps.close_overdue(now=DEADLINE, limit=10)


def ends(
    first: Callable[[Scene, Rfp], race.Call],
    then: Callable[[Scene, Rfp], race.Call],
    *,
    layers: list[sabotage.Layer],
) -> set[tuple[str, str, bool]]:
    """Let one step overtake another at each point; what it ends with: RFP, venue, all is well."""
    place: list[Any] = []
    found = set()

    def begin() -> race.Call:
        testing.empty_tables()
        scene, other = set_scene(), open_venue()
        rfp = scene.send(to=[scene.venue, other])
        scene.answer(rfp, venue=other)
        place[:] = [scene, rfp]
        return first(scene, rfp)

    rounds = race.interleave(first=begin, then=lambda: then(*place))
    with sabotage.taken_out(layers):
        for outcomes in rounds:
            assert race.errors(outcomes) <= {rfps.Ended, rfps.NotSent}, outcomes
            scene, rfp = place
            rfp.refresh_from_db()
            target = scene.target(rfp)
            told = Event.objects.filter(subject_id=target.pk, kind="rfp.responded").exists()
            sound = invariants.breaches() == [] and told == (target.response is not None)
            found.add((str(rfp.status), str(target.status), sound))
    return found


def test_an_answer_and_an_award_do_not_cross() -> None:
    """Who answered before the award is declined, who comes after it is refused."""
    after, before = ("awarded", "pending", True), ("awarded", "declined", True)
    assert ends(_answer, _award, layers=[]) == {after, before}
    assert ends(_award, _answer, layers=[]) == {after, before}


def test_without_the_lock_of_the_rfp_they_do() -> None:
    assert ("awarded", "responded", True) in ends(_answer, _award, layers=EVERYTHING)


def test_an_answer_and_the_deadline_do_not_cross() -> None:
    answered = ("sent", "responded", True)
    assert ends(_answer, _deadline, layers=[]) == {answered}
    # What is locked while the sweep comes by is left to the next one.
    assert ends(_deadline, _answer, layers=[]) <= {answered}


def test_without_the_lock_of_the_rfp_an_answer_is_told_and_lost() -> None:
    assert ("sent", "no_response", False) in ends(_answer, _deadline, layers=EVERYTHING)


def shown_after(*, layers: list[sabotage.Layer]) -> set[str]:
    """Let inference run at each point of an owner's setting the status; what is shown then."""
    scenes: list[Scene] = []
    found = set()

    def begin() -> race.Call:
        testing.empty_tables()
        scene = set_scene()
        scenes[:] = [scene]
        signal(scene, "unavailable")
        statuses.infer(now=NOW)
        signal(scene, "confirmed", "confirmed", "confirmed")
        return race.held_back(lambda: scene.set("seasonal"))

    rounds = race.interleave(first=begin, then=lambda: lambda: statuses.infer(now=NOW + DAY))
    with sabotage.taken_out(layers):
        for outcomes in rounds:
            assert race.errors(outcomes) == set(), outcomes
            row = VenueAvailability.objects.get(pk=scenes[0].venue.pk)
            assert row.inferred_status == "accepting_events"
            found.add(row.status)
    return found


SEEN = "(SELECT {} FROM availability_venueavailability AS one WHERE one.facility_id = {})"


def unlocked() -> Any:
    """Let inference judge a venue by what it was when the statement began."""
    seen = SEEN.format("one.manual_override_at", "venue.facility_id")
    return sabotage.statement("infer_statuses", without=r"venue\.manual_override_at", put=seen)


def test_what_the_owner_sets_stays_though_inference_runs_meanwhile() -> None:
    assert shown_after(layers=[]) == {"seasonal"}


def test_without_reading_it_again_under_the_lock_inference_writes_over_it() -> None:
    assert "accepting_events" in shown_after(layers=[unlocked])


def test_owners_who_set_at_once_leave_what_the_last_one_said() -> None:
    for _ in range(5):
        testing.empty_tables()
        scene = set_scene()
        outcomes = race.run(
            partial(scene.set, "fully_booked"), partial(scene.set, "accepting_events")
        )
        assert race.errors(outcomes) == set(), outcomes
        row = scene.availability
        assert (row.vacant_since is not None) == (row.status == "accepting_events")
        assert invariants.breaches() == []


def test_a_venue_that_is_chosen_twice_at_once_is_chosen_once() -> None:
    scene, other = set_scene(), open_venue()
    rfp = scene.send(to=[scene.venue, other])
    targets = [scene.answer(rfp), scene.answer(rfp, venue=other)]

    def award(target: RfpVenue) -> race.Call:
        return lambda: rfps.award(rfp_id=rfp.pk, rfp_venue_id=target.pk, actor=SYSTEM, now=NOW)

    outcomes = race.run(*[award(target) for target in targets] * 3)
    assert [outcome.won for outcome in outcomes].count(True) == 1
    assert race.errors(outcomes) == {rfps.NotSent}
    assert sorted(rfp.targets.values_list("status", flat=True)) == ["awarded", "declined"]
    assert invariants.breaches() == []
