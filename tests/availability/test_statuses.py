"""What is shown of a venue: inferred, set by hand, cleared; and since when it has room."""

import random
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import product
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils.module_loading import import_string
from pytest_django import DjangoCaptureOnCommitCallbacks
from redis.exceptions import ConnectionError

from audit import locks
from audit.errors import NotFound, Stale
from audit.models import Event, JobRun
from availability import signals, statuses, tasks
from availability.models import Signal, VenueAvailability
from tests.audit.elsewhere import locked
from tests.venues import OWNER, Scene, open_venue, set_scene
from tests.waitlist.worlds import DAY, HOUR, NOW, SECOND

pytestmark = pytest.mark.django_db

SHOWN = ("accepting_events", "limited_availability", "fully_booked", "seasonal", "not_set")
BETTER = {
    ("fully_booked", "limited_availability"),
    ("fully_booked", "accepting_events"),
    ("limited_availability", "accepting_events"),
    ("not_set", "accepting_events"),
    ("seasonal", "accepting_events"),
}


@pytest.fixture
def scene() -> Scene:
    return set_scene()


def signal(scene: Scene, *types: str, at: datetime = NOW - DAY) -> None:
    """Record signals of the venue, as if from RFPs."""
    Signal.objects.bulk_create(
        Signal(
            tenant_id=scene.venue.tenant_id, facility_id=scene.venue.pk, type=type, recorded_at=at,
            rfp_id=uuid4(), rfp_venue_id=uuid4(),
        )
        for type in types
    )  # fmt: skip


def infer(scene: Scene, *types: str, at: datetime = NOW) -> VenueAvailability:
    """Let the venue's answers be these alone, as seen at a time."""
    signal(scene, *types, at=at - HOUR)
    statuses.infer(now=at)
    return scene.availability


def told(scene: Scene) -> list[tuple[Any, ...]]:
    found = Event.objects.filter(facility_id=scene.venue.pk, kind__startswith="venue.")
    return list(found.order_by("pk").values_list("kind", "previous_status", "new_status"))


ANSWERS = {
    "accepting_events": ["confirmed"],
    "limited_availability": ["unavailable", "confirmed"],
    "fully_booked": ["unavailable"],
    "not_set": ["no_response"],
}


# Inference


@pytest.mark.parametrize(
    ("unavailable", "confirmed", "tentative", "found"),
    [
        (0, 0, 0, "not_set"),
        (0, 1, 0, "accepting_events"),
        (0, 0, 1, "accepting_events"),
        (1, 0, 0, "fully_booked"),
        (4, 1, 0, "fully_booked"),  # 0.8
        (79, 20, 1, "limited_availability"),  # 0.79
        (80, 19, 1, "fully_booked"),
        (1, 1, 0, "limited_availability"),  # 0.5
        (1, 0, 1, "limited_availability"),
        (49, 50, 1, "accepting_events"),  # 0.49
        (50, 49, 1, "limited_availability"),
        (3, 1, 3, "accepting_events"),
    ],
)
def test_inference_engine_correctly_computes_availability_from_signals(
    scene: Scene, unavailable: int, confirmed: int, tentative: int, found: str
) -> None:
    """The checklist's line of that name: the ratio of unavailable among the answers."""
    signal(scene, *["unavailable"] * unavailable, *["confirmed"] * confirmed,
           *["tentative"] * tentative)  # fmt: skip
    # What is no answer does not count.
    signal(scene, "no_response", "awarded", "lost_to_competitor", "rfp_cancelled")
    statuses.infer(now=NOW)
    row = scene.availability
    assert (row.inferred_status, row.status, row.last_inferred_at) == (found, found, NOW)


def test_inference_agrees_with_a_loop_over_the_signals(scene: Scene) -> None:
    """Many venues at once, each as if it were alone."""
    luck = random.Random(4)
    scenes = [Scene(scene.organizer, open_venue(tenant=scene.venue.tenant)) for _ in range(40)]
    for one in scenes:
        for type in Signal.Type.values[:7]:
            age = timedelta(days=luck.choice([1, 89, 91]))
            signal(one, *[type] * luck.randrange(6), at=NOW - age)
    statuses.infer(now=NOW)
    for one in scenes:
        summary = signals.summarise(facility_id=one.venue.pk, now=NOW)
        ratio = summary.unavailable_ratio
        expected = (
            "not_set" if ratio is None
            else "fully_booked" if ratio >= 0.8
            else "limited_availability" if ratio >= 0.5
            else "accepting_events"
        )  # fmt: skip
        assert one.availability.status == expected


def test_answers_of_the_last_90_days_count(scene: Scene) -> None:
    signal(scene, "unavailable", at=NOW - timedelta(days=90))
    signal(scene, "unavailable", at=NOW + SECOND)
    signal(scene, "confirmed", at=NOW - timedelta(days=90) + SECOND)
    statuses.infer(now=NOW)
    assert scene.availability.status == "accepting_events"


def test_answers_that_have_grown_old_say_nothing_any_more(scene: Scene) -> None:
    assert infer(scene, "unavailable").status == "fully_booked"
    later = NOW + timedelta(days=91)
    assert statuses.infer(now=later).changed == 1
    row = scene.availability
    assert (row.status, row.inferred_status, row.vacant_since) == ("not_set", "not_set", None)
    assert statuses.infer(now=later + DAY).venues == 0


def test_inference_counts_once_and_writes_once_for_all_venues(scene: Scene) -> None:
    for _ in range(5):
        signal(Scene(scene.organizer, open_venue()), "confirmed")
    with CaptureQueriesContext(connection) as asked:
        assert statuses.infer(now=NOW).venues == 5
    assert len(asked) == 5  # a savepoint made and released, the job's lock, and these two
    [count] = [one["sql"] for one in asked if "availability_signal" in one["sql"]]
    [write] = [one["sql"] for one in asked if "availability_venueavailability" in one["sql"]]
    assert count != write


def test_only_a_change_writes_an_event(scene: Scene) -> None:
    assert infer(scene, "unavailable").status == "fully_booked"
    assert told(scene) == [("venue.availability_inferred", "not_set", "fully_booked")]
    event = Event.objects.get(facility_id=scene.venue.pk)
    assert (event.tenant_id, event.subject_type, event.subject_id, event.data) == (
        scene.venue.tenant_id, "venue", scene.venue.pk, {}
    )  # fmt: skip
    infer(scene, "unavailable", at=NOW + DAY)
    assert len(told(scene)) == 1
    assert scene.availability.last_inferred_at == NOW + DAY


def test_seasonal_is_never_inferred_and_venues_without_signals_are_left_alone(
    scene: Scene,
) -> None:
    found = statuses.infer(now=NOW)
    assert (found.venues, scene.availability.inferred_status) == (0, None)
    scene.set("seasonal")
    assert statuses.infer(now=NOW).venues == 1  # the owner's own word is a signal, and no answer
    assert scene.availability.inferred_status == "not_set"


def test_one_inference_at_a_time(scene: Scene) -> None:
    signal(scene, "confirmed")
    with locked(locks.INFER):
        assert statuses.infer(now=NOW) == statuses.Inferred()
    assert statuses.infer(now=NOW).venues == 1


def test_the_task_and_the_command_infer(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("audit.clock.now", lambda: NOW)
    signal(scene, "unavailable")
    cache.delete(signals.LOST)
    assert tasks.infer() == {"venues": 1, "changed": 1, "improved": 0, "signals_lost": 0}
    call_command("infer_availability", "--json")
    told = '{"venues": 1, "changed": 0, "improved": 0, "signals_lost": 0}\n'
    assert capsys.readouterr().out == told
    call_command("infer_availability")
    told = "1 venues, 0 changed, 0 better; 0 signals were not recorded\n"
    assert capsys.readouterr().out == told


def test_how_many_signals_were_lost_is_told_with_what_was_inferred_without_them(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the job, whose runs the admin shows, and by the command; Valkey may be away."""

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError

    cache.delete(signals.LOST)
    with monkeypatch.context() as patch:
        patch.setattr(Signal.objects, "bulk_create", fail)
        scene.set("fully_booked")
    tasks.infer.apply(task_id=str(uuid4()))
    assert JobRun.objects.get().counts["signals_lost"] == 1
    call_command("infer_availability")
    assert capsys.readouterr().out.endswith("; 1 signals were not recorded\n")

    def away(*_: Any, **__: Any) -> None:
        raise ConnectionError

    monkeypatch.setattr(cache, "get", away)
    assert tasks.infer()["signals_lost"] is None
    call_command("infer_availability")
    assert capsys.readouterr().out.endswith("; an unknown number of signals were not recorded\n")


# By hand


@pytest.mark.parametrize("status", SHOWN[:4])
def test_manual_override_takes_precedence_over_inference(scene: Scene, status: str) -> None:
    """The checklist's line of that name: the result is stored and not shown."""
    row = scene.set(status)
    assert (row.status, row.manual_override_at, row.inferred_status) == (status, NOW, None)
    vacant = row.vacant_since
    for found, types in ANSWERS.items():
        at = NOW + timedelta(days=100 * (1 + list(ANSWERS).index(found)))
        events = len(told(scene))
        row = infer(scene, *types, at=at)
        assert (row.status, row.inferred_status) == (status, found)
        assert (row.manual_override_at, row.vacant_since) == (NOW, vacant)
        assert len(told(scene)) == events + 1  # what was found
    assert "venue.availability_improved" not in {kind for kind, _, _ in told(scene)[2:]}


@pytest.mark.parametrize("status", ["not_set", "closed", ""])
def test_what_cannot_be_set_by_hand(scene: Scene, status: str) -> None:
    with pytest.raises(ValidationError) as caught:
        scene.set(status)
    assert set(caught.value.error_dict) == {"availability_status"}
    assert told(scene) == []


def test_the_owners_word_is_a_signal(scene: Scene) -> None:
    for status in SHOWN[:4]:
        scene.set(status)
    found = Signal.objects.order_by("pk").values_list("type", "rfp_id", "tenant_id")
    tenant = scene.venue.tenant_id
    assert list(found) == [
        ("manual_available", None, tenant), ("manual_available", None, tenant),
        ("manual_unavailable", None, tenant), ("manual_available", None, tenant),
    ]  # fmt: skip


def test_the_same_again_is_no_change(scene: Scene) -> None:
    first = scene.set("accepting_events")
    again = scene.set("accepting_events", at=NOW + DAY)
    assert (again.version, again.manual_override_at) == (first.version, NOW)
    assert len(told(scene)) == 2
    assert Signal.objects.count() == 1


def test_versions_and_unknown_venues(scene: Scene) -> None:
    row = scene.set("seasonal")
    for call in (statuses.set_by_hand, statuses.clear_override):
        given: dict[str, Any] = {"actor": OWNER, "now": NOW}
        if call == statuses.set_by_hand:
            given["status"] = "fully_booked"
        with pytest.raises(Stale):
            call(facility_id=scene.venue.pk, version=row.version - 1, **given)
        with pytest.raises(NotFound):
            call(facility_id=uuid4(), **given)
    for reader in (statuses.get, statuses.clear_vacancy):
        with pytest.raises(NotFound):
            reader(facility_id=uuid4())


def test_clearing_shows_what_was_inferred(scene: Scene) -> None:
    scene.set("fully_booked")
    infer(scene, "confirmed")
    row = clear(scene)
    assert (row.status, row.manual_override_at) == ("accepting_events", None)
    assert row.vacant_since == NOW + DAY
    assert told(scene)[-2:] == [
        ("venue.override_cleared", "fully_booked", "accepting_events"),
        ("venue.availability_improved", "fully_booked", "accepting_events"),
    ]
    events = len(told(scene))
    assert clear(scene).version == row.version
    assert len(told(scene)) == events


def clear(scene: Scene) -> VenueAvailability:
    return statuses.clear_override(facility_id=scene.venue.pk, actor=OWNER, now=NOW + DAY)


def test_clearing_what_was_never_inferred_shows_nothing(scene: Scene) -> None:
    scene.set("accepting_events")
    row = clear(scene)
    assert (row.status, row.vacant_since) == ("not_set", None)


# Room


def _to(scene: Scene, status: str, *, by: str, at: datetime) -> None:
    """Bring the venue to a status: by hand, by inference, or by clearing what was set."""
    if by == "hand":
        scene.set(status, at=at)
        return
    if by == "cleared":
        hand = "fully_booked" if scene.availability.status == "not_set" else None
        if scene.availability.manual_override_at is None:
            scene.set(hand or scene.availability.status, at=at - HOUR)
    infer(scene, *ANSWERS[status], at=at)
    if by == "cleared":
        statuses.clear_override(facility_id=scene.venue.pk, actor=OWNER, now=at)


def changes() -> Iterable[tuple[str, str, str]]:
    """Yield each way from one shown status to another."""
    for was, found in product(SHOWN, SHOWN):
        if was == found:
            continue
        if found != "not_set":
            yield was, found, "hand"
        if found != "seasonal" and was != "seasonal":
            yield was, found, "inference"
        if found != "seasonal" and was != "not_set":
            yield was, found, "cleared"


@pytest.mark.parametrize(("was", "found", "by"), list(changes()))
def test_there_is_room_when_what_is_shown_gets_better(
    scene: Scene, was: str, found: str, by: str
) -> None:
    """`vacant_since` is set by exactly the changes that the design names, whoever makes them."""
    start, then = NOW, NOW + timedelta(days=100)
    _to(scene, was, by="hand" if by == "cleared" or was == "seasonal" else "inference", at=start)
    statuses.clear_vacancy(facility_id=scene.venue.pk)
    assert scene.availability.status == was
    events = len(told(scene))
    _to(scene, found, by=by, at=then)
    row = scene.availability
    improved = (was, found) in BETTER
    assert (row.status, row.vacant_since) == (found, then if improved else None)
    new = told(scene)[events:]
    assert (("venue.availability_improved", was, found) in new) == improved
    kind = {
        "hand": "venue.availability_manual_set",
        "inference": "venue.availability_inferred",
        "cleared": "venue.override_cleared",
    }[by]
    assert (kind, was, found) in new


def test_cascade_triggers_on_both_inference_improvement_and_manual_override(
    scene: Scene, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    """The checklist's line of that name: either sends the task of an improvement, once each."""
    task = "waitlist.tasks.offer_vacancy"
    assert settings.EVENT_TASKS["venue.availability_improved"] == task
    assert import_string(task)
    other = Scene(scene.organizer, open_venue())

    def sent(callbacks: list[Any]) -> list[str]:
        return sorted(one.arg for one in callbacks if getattr(one, "task", "") == task)

    with django_capture_on_commit_callbacks() as callbacks:
        infer(scene, "confirmed")
        infer(other, "unavailable")
    assert sent(callbacks) == [str(scene.venue.pk)]
    with django_capture_on_commit_callbacks() as callbacks:
        other.set("accepting_events")
    assert sent(callbacks) == [str(other.venue.pk)]
    with django_capture_on_commit_callbacks() as callbacks:
        other.set("fully_booked")
        infer(scene, "unavailable", at=NOW + timedelta(days=100))
    assert sent(callbacks) == []


def test_who_sets_accepting_events_by_hand_has_room_though_it_was_shown(scene: Scene) -> None:
    infer(scene, "confirmed")
    statuses.clear_vacancy(facility_id=scene.venue.pk)  # as a conversion does
    assert infer(scene, "confirmed", at=NOW + DAY).vacant_since is None
    row = scene.set("accepting_events", at=NOW + 2 * DAY)
    assert row.vacant_since == NOW + 2 * DAY
    assert told(scene)[-2:] == [
        ("venue.availability_manual_set", "accepting_events", "accepting_events"),
        ("venue.availability_improved", "accepting_events", "accepting_events"),
    ]
    # And again, once that room is taken, too.
    statuses.clear_vacancy(facility_id=scene.venue.pk)
    assert scene.set("accepting_events", at=NOW + 3 * DAY).vacant_since == NOW + 3 * DAY


def test_room_stays_until_it_is_taken_or_the_status_is_worse(scene: Scene) -> None:
    infer(scene, "unavailable")
    scene.set("limited_availability", at=NOW + DAY)
    assert scene.set("accepting_events", at=NOW + 2 * DAY).vacant_since == NOW + DAY
    events = len(told(scene))
    statuses.clear_vacancy(facility_id=scene.venue.pk)
    statuses.clear_vacancy(facility_id=scene.venue.pk)
    row = scene.availability
    assert (row.status, row.vacant_since, len(told(scene))) == ("accepting_events", None, events)
    scene.set("accepting_events", at=NOW + 3 * DAY)
    assert scene.set("limited_availability", at=NOW + 4 * DAY).vacant_since is None


def test_a_summary_counts_the_last_90_days(scene: Scene) -> None:
    signal(scene, "unavailable", "unavailable", "tentative", "confirmed", "no_response")
    signal(scene, "unavailable", at=NOW - timedelta(days=90))
    scene.set("seasonal")
    summary = signals.summarise(facility_id=scene.venue.pk, now=NOW)
    assert summary.period_days == 90
    assert summary.counts == {
        "confirmed": 1, "tentative": 1, "unavailable": 2, "no_response": 1, "awarded": 0,
        "lost_to_competitor": 0, "rfp_cancelled": 0, "manual_available": 1,
        "manual_unavailable": 0,
    }  # fmt: skip
    assert summary.unavailable_ratio == 0.5
    nothing = signals.summarise(facility_id=open_venue().pk, now=NOW)
    assert nothing.unavailable_ratio is None
