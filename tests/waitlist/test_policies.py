"""Changing a policy: all or nothing, an error that names the field, and the order that follows."""

from contextlib import suppress
from datetime import time, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.core.exceptions import ValidationError
from django.forms.models import model_to_dict

from audit.errors import NotFound
from audit.models import Event
from tests.audit.log import written
from tests.waitlist import worlds
from tests.waitlist.worlds import DAY, HOUR, MINUTE, NOW, STAFF, World
from waitlist import entries, policies, presets, ranking
from waitlist.models import WaitlistEntry, WaitlistPolicy

LONG = timedelta(days=999_999_999)
NONE = timedelta(0)
NUMBERS = (
    "match_provider", "match_location", "match_service", "match_days", "min_match_score",
    "wait_per_day", "membership", "chronic", "short_window", "urgency",
)  # fmt: skip
LIMITS = ("max_offers_per_entry", "max_queue_size", "max_active_per_requester")
CHOICES = ("ordering", "matching", "on_hold_expiry", "on_decline")
DURATIONS = (
    "hold_window", "reminder_lead", "min_notice", "look_ahead", "min_hold", "entry_ttl", "grace",
    "nudge_after", "nudge_grace", "breaker_timeout",
)  # fmt: skip
POSITIVE = ("hold_window", "reminder_lead", "look_ahead", "entry_ttl", "nudge_after", "nudge_grace")
FLAGS = ("unique_per_service", "auto_invite")
TIMES = ("quiet_from", "quiet_until")
BREAKER = {"breaker_threshold": 3, "breaker_timeout": DAY}

BAD: list[tuple[str, Any]] = [
    *((name, value) for name in NUMBERS for value in ("many", None, -1, "", float("nan"))),
    *((name, value) for name in NUMBERS for value in (float("inf"), 10.5, [10])),
    *((name, value) for name in LIMITS for value in ("many", -1)),
    *((name, value) for name in CHOICES for value in ("chance", "", None)),
    *((name, "soon") for name in DURATIONS),
    *((name, "999999999999 days") for name in DURATIONS),
    *((name, -HOUR) for name in DURATIONS),
    *((name, NONE) for name in POSITIVE),
    *((name, value) for name in FLAGS for value in ("perhaps", None)),
    *((name, "noon") for name in TIMES),
    *((name, None) for name in ("hold_window", "min_notice", "look_ahead", "min_hold")),
    *((name, None) for name in ("entry_ttl", "grace")),
    ("breaker_threshold", "many"),
    ("breaker_threshold", 0),
    ("breaker_timeout", NONE),
    ("min_match_score", 101),
    ("reminder_lead", 12 * HOUR + timedelta(seconds=1)),
    ("min_hold", DAY + timedelta(seconds=1)),
    ("match_provider", 39),
    ("match_days", 32768),
]


def _errors(world: World, **changes: Any) -> set[str]:
    with pytest.raises(ValidationError) as caught:
        world.change(**changes)
    return set(caught.value.message_dict)


def test_every_field_is_tried_with_a_bad_value() -> None:
    assert {name for name, _ in BAD} == policies.FIELDS


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_value_is_an_error_that_names_the_field_and_changes_nothing(
    clinic: World, name: str, value: Any
) -> None:
    if name in BREAKER:
        clinic.change(**BREAKER)
    before, events = model_to_dict(clinic.policy), Event.objects.count()
    revision = clinic.queue.revision
    assert name in _errors(clinic, **{name: value})
    assert model_to_dict(clinic.policy) == before
    assert Event.objects.count() == events
    assert clinic.queue.revision == revision


@pytest.mark.parametrize("name", DURATIONS)
def test_a_number_is_not_a_duration(clinic: World, name: str) -> None:
    clinic.change(**BREAKER)
    assert name in _errors(clinic, **{name: 5})


@pytest.mark.parametrize("name", [name for name in DURATIONS if name != "reminder_lead"])
def test_a_duration_that_no_calendar_holds_is_refused(clinic: World, name: str) -> None:
    """Adding it to a time would fail, in the scan of all facilities at that."""
    clinic.change(**BREAKER)
    assert name in _errors(clinic, **{name: LONG})


@pytest.mark.parametrize("name", ["membership", "chronic", "urgency", "short_window"])
def test_the_largest_weight_that_is_accepted_can_be_ranked_with(clinic: World, name: str) -> None:
    entry = clinic.join(
        patient=clinic.patient(tier=3, chronic_condition=True), urgency=3, latest=NOW + DAY
    )
    with suppress(ValidationError):
        clinic.change(**{name: 2_147_483_647})
    entry.refresh_from_db()
    assert entry.rank_key == ranking.rank_key(
        entry=entry, policy=clinic.policy, patient=entry.patient
    )


def test_weights_of_a_match_that_do_not_sum_to_100_are_named_all_four(clinic: World) -> None:
    assert _errors(clinic, match_provider=50, match_days=1) == set(policies.MATCH_WEIGHTS)


def test_two_fields_that_go_together_name_the_one_that_is_missing(clinic: World) -> None:
    assert _errors(clinic, nudge_grace=None) == {"nudge_grace"}
    assert _errors(clinic, nudge_after=None) == {"nudge_after"}
    assert _errors(clinic, quiet_from=None) == {"quiet_from"}
    assert _errors(clinic, quiet_until=None) == {"quiet_until"}
    assert _errors(clinic, breaker_threshold=3) == {"breaker_timeout"}
    assert _errors(clinic, breaker_timeout=DAY) == {"breaker_threshold"}


def test_quiet_hours_of_no_length_are_refused(clinic: World) -> None:
    assert _errors(clinic, quiet_from=time(8)) == {"quiet_until"}


def test_a_shorter_hold_needs_an_earlier_reminder(clinic: World) -> None:
    assert _errors(clinic, hold_window=7 * HOUR) == {"reminder_lead"}
    assert clinic.change(hold_window=7 * HOUR, reminder_lead=HOUR).hold_window == 7 * HOUR


def test_a_hold_window_that_leaves_less_than_the_least_hold_is_refused(clinic: World) -> None:
    """Nothing would ever be offered, and nobody be told why."""
    assert _errors(clinic, hold_window=4 * MINUTE, reminder_lead=None) == {"min_hold"}
    assert clinic.change(min_hold=DAY).min_hold == clinic.policy.hold_window


def test_several_bad_fields_are_named_together(clinic: World) -> None:
    assert _errors(clinic, wait_per_day="x", ordering="y") == {"wait_per_day", "ordering"}


@pytest.mark.parametrize("name", ["facility", "tenant", "tenant_id", "id", "version", "colour"])
def test_what_is_no_policy_field_cannot_be_changed(clinic: World, name: str) -> None:
    assert _errors(clinic, **{name: uuid4()}) == {name}


OTHERS: dict[str, Any] = {
    "ordering": "score", "hold_window": 3 * DAY, "min_hold": 2 * HOUR, "reminder_lead": HOUR,
    "on_hold_expiry": "requeue", "on_decline": "requeue", "max_offers_per_entry": 1,
    "max_queue_size": 1, "max_active_per_requester": 1, "entry_ttl": DAY, "grace": DAY,
    "nudge_after": DAY, "nudge_grace": DAY, "breaker_threshold": 1, "breaker_timeout": DAY,
    "unique_per_service": True, "wait_per_day": 2, "membership": 1, "chronic": 1,
    "short_window": 1, "urgency": 1,
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(OTHERS))
def test_nobody_changes_how_a_venue_offers_itself(venue: World, name: str) -> None:
    """Its owner could count who waits by it, or take an organizer's places at other venues."""
    before, events = model_to_dict(venue.policy), Event.objects.count()
    assert _errors(venue, **{name: OTHERS[name]}) == {name}
    assert (model_to_dict(venue.policy), Event.objects.count()) == (before, events)


def test_what_is_fixed_at_a_venue_may_be_sent_as_it_is_and_the_rest_be_changed(
    venue: World,
) -> None:
    assert set(OTHERS) == presets.FIXED["venue"] < policies.FIELDS
    policy = venue.policy
    same = {name: getattr(policy, name) for name in policies.FIELDS}
    assert not venue.change(**{**same, "auto_invite": False, "hold_window": "P2D"}).auto_invite


def test_a_policy_of_no_facility_cannot_be_changed(db: None) -> None:
    with pytest.raises(NotFound) as caught:
        policies.change(facility_id=uuid4(), changes={}, actor=STAFF, now=NOW)
    assert caught.value.field == "facility"


def test_a_change_is_written_with_its_event(clinic: World) -> None:
    revision, version = clinic.queue.revision, clinic.policy.version
    with written() as events:
        policy = policies.change(
            facility_id=clinic.facility.pk,
            changes={"hold_window": 10 * HOUR, "auto_invite": False, "quiet_from": time(20)},
            actor=STAFF,
            now=NOW,
        )
    [event] = events
    assert (event.kind, event.subject_id, event.tenant_id) == (
        "waitlist.policy_changed", policy.pk, clinic.tenant.pk
    )  # fmt: skip
    assert (event.facility_id, event.actor_type, event.actor_id, event.at) == (
        clinic.facility.pk, STAFF.type, STAFF.id, NOW
    )  # fmt: skip
    assert event.data == {"fields": ["auto_invite", "hold_window", "quiet_from"]}
    policy = clinic.policy
    assert (policy.hold_window, policy.auto_invite, policy.quiet_from) == (
        10 * HOUR, False, time(20)
    )  # fmt: skip
    assert policy.version == version + 1
    assert clinic.queue.revision == revision + 1


def test_a_change_touches_no_other_facility(clinic: World) -> None:
    other = clinic.neighbour()
    before = model_to_dict(other.policy)
    clinic.change(wait_per_day=7)
    assert model_to_dict(other.policy) == before


def _queue(world: World) -> list[WaitlistEntry]:
    """Let people join who differ in all that their priority depends on."""
    joined = []
    for number in range(12):
        patient = world.patient(tier=number % 4, chronic_condition=number % 3 == 0)
        joined.append(
            world.join(
                patient=patient,
                at=NOW - (number * 5 % 12) * HOUR,
                urgency=(number // 2) % 4,
                latest=NOW + (number % 5) * 3 * DAY + HOUR,
            )
        )
    return joined


def _order(world: World) -> list[Any]:
    """Sort the queue as domain.md says, from the columns themselves."""
    policy = world.policy
    score = policy.ordering == WaitlistPolicy.Ordering.SCORE

    def key(entry: WaitlistEntry) -> tuple[float, Any, Any]:
        assert entry.patient is not None
        assert entry.latest is not None
        merit = (
            policy.membership * entry.patient.tier
            + policy.chronic * entry.patient.chronic_condition
            + policy.short_window * (entry.latest - entry.joined_at <= 7 * DAY)
            + policy.urgency * entry.urgency
        )
        waited = (NOW - entry.joined_at).total_seconds() / 86400 * policy.wait_per_day
        return -(merit * score + round(waited, 9)), entry.joined_at, entry.pk

    found = WaitlistEntry.objects.filter(facility=world.facility).select_related("patient")
    return [entry.pk for entry in sorted(found, key=key)]


@pytest.mark.parametrize(
    "changes",
    [
        {"ordering": "fifo"},
        {"wait_per_day": 24},
        {"wait_per_day": 0},
        {"membership": 0, "chronic": 9},
        {"urgency": 0, "short_window": 50},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_a_change_puts_the_queue_in_the_order_that_follows(
    clinic: World, changes: dict[str, Any]
) -> None:
    joined = _queue(clinic)
    clinic.change(**changes)
    for entry in joined:
        entry.refresh_from_db()
    places = {entry.pk: ranking.position(entry=entry) for entry in joined}
    order = _order(clinic)
    assert places == {pk: order.index(pk) + 1 for pk in places}
    for entry in joined:
        assert entry.rank_key == ranking.rank_key(
            entry=entry, policy=clinic.policy, patient=entry.patient
        )


def test_an_ended_entry_keeps_the_key_it_had(clinic: World) -> None:
    entry = clinic.join(urgency=1)
    entries.cancel(entry_id=entry.pk, reason="moved", actor=STAFF, now=NOW)
    clinic.change(urgency=50)
    assert WaitlistEntry.objects.get(pk=entry.pk).rank_key == entry.rank_key


def test_waiting_once_per_service_can_be_turned_on_and_off(clinic: World) -> None:
    patient = clinic.patient()
    entry = clinic.join(patient=patient)
    assert entry.unique_service is None
    clinic.change(unique_per_service=True)
    entry.refresh_from_db()
    assert entry.unique_service == clinic.service.pk
    second = clinic.join(patient=patient, service_id=None)
    assert second.unique_service is None
    entries.cancel(entry_id=second.pk, reason="moved", actor=STAFF, now=NOW)
    clinic.change(unique_per_service=False)
    entry.refresh_from_db()
    assert entry.unique_service is None
    with pytest.raises(entries.AlreadyWaiting):
        clinic.join(patient=patient, service_id=None)


def test_waiting_once_per_provider_is_refused_while_somebody_waits_for_two_services(
    salon: World,
) -> None:
    patient = salon.patient()
    waiting = [salon.join(patient=patient), salon.join(patient=patient, service_id=None)]
    before, events = model_to_dict(salon.policy), Event.objects.count()
    assert _errors(salon, unique_per_service=False, hold_window=HOUR) == {"unique_per_service"}
    assert model_to_dict(salon.policy) == before
    assert Event.objects.count() == events
    for entry in waiting:
        entry.refresh_from_db()
    assert [entry.unique_service for entry in waiting] == [salon.service.pk, None]


def test_once_one_of_the_two_has_ended_it_can_be_turned_off(salon: World) -> None:
    patient = salon.patient()
    salon.join(patient=patient)
    other = salon.join(patient=patient, service_id=None)
    entries.cancel(entry_id=other.pk, reason="moved", actor=STAFF, now=NOW)
    assert not salon.change(unique_per_service=False).unique_per_service


def test_a_change_of_the_policy_lets_a_slot_be_tried_again(clinic: World) -> None:
    slot = clinic.slot(at=NOW + 2 * DAY)
    entry = clinic.join(preferred_days=[7], provider_id=worlds.build(tenant=clinic.tenant)
                        .provider.pk, any_facility=True)  # fmt: skip
    clinic.change(min_match_score=90)
    assert clinic.fill().fruitless == 1
    clinic.change(min_match_score=50)
    assert clinic.fill().offers == 1
    assert worlds.offered() == {(slot.pk, entry.pk)}
