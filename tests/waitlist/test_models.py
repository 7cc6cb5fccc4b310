"""What the waitlist's tables refuse, tried by raw SQL."""

from typing import Any

import pytest

from tests import factories, venues
from tests.audit import constraints
from tests.audit.refusals import refusal
from tests.waitlist import asking, worlds
from tests.waitlist.worlds import DAY, HOUR, NOW, World
from waitlist.models import CircuitBreaker, Hold

COPY_HOLD = (
    "INSERT INTO waitlist_hold (tenant_id, facility_id, entry_id, slot_id, patient_id, period,"
    " status, score, source, offered_at, expires_at)"
    " SELECT tenant_id, facility_id, {entry}, {slot}, {patient}, {period},"
    " 'offered', 0, 'scan', offered_at, expires_at FROM waitlist_hold WHERE id = %(hold)s"
)
POLICY = "UPDATE waitlist_waitlistpolicy SET {} WHERE facility_id = %(facility)s"
ENTRY = "UPDATE waitlist_waitlistentry SET {} WHERE id = %(entry)s"
AT_VENUE = "UPDATE waitlist_waitlistentry SET {} WHERE id = %(venue_entry)s"
HOLD = "UPDATE waitlist_hold SET {} WHERE id = %(hold)s"
BREAKER = "UPDATE waitlist_circuitbreaker SET {} WHERE id = %(breaker)s"

# Constraint → statements that it refuses. The ids are those of `rows`.
REFUSED: dict[str, list[str]] = {
    "policy_match_weights": [
        POLICY.format("match_provider = 41"),
        POLICY.format("match_provider = 0, match_location = 0, match_service = 0, match_days = 0"),
    ],
    "policy_min_match_score": [POLICY.format("min_match_score = 101")],
    "policy_durations": [
        POLICY.format(f"{field} = '{value}'")
        for field, value in (
            ("hold_window", "-1 second"),
            ("min_notice", "-1 second"),
            ("look_ahead", "0"),
            ("min_hold", "-1 second"),
            ("entry_ttl", "0"),
            ("grace", "-1 second"),
        )
    ],
    "policy_min_hold": [
        POLICY.format("min_hold = '1 day 1 second'"),
        POLICY.format("reminder_lead = NULL, hold_window = '4 minutes'"),
    ],
    "policy_reminder_lead": [
        POLICY.format("reminder_lead = '0'"),
        POLICY.format("reminder_lead = '12 hours 1 second'"),
        POLICY.format("hold_window = '7 hours'"),
    ],
    "policy_nudge": [
        POLICY.format("nudge_after = NULL"),
        POLICY.format("nudge_grace = NULL"),
        POLICY.format("nudge_after = '0'"),
        POLICY.format("nudge_grace = '0'"),
    ],
    "policy_breaker": [
        POLICY.format("breaker_threshold = 3"),
        POLICY.format("breaker_timeout = '7 days'"),
        POLICY.format("breaker_threshold = 0, breaker_timeout = '7 days'"),
        POLICY.format("breaker_threshold = 3, breaker_timeout = '0'"),
    ],
    "policy_quiet_hours": [
        POLICY.format("quiet_from = NULL"),
        POLICY.format("quiet_until = NULL"),
        POLICY.format("quiet_from = quiet_until"),
    ],
    "policy_choices": [
        POLICY.format(f"{field} = 'chance'")
        for field in ("ordering", "matching", "on_hold_expiry", "on_decline")
    ],
    "entry_patient_once": [
        # Nulls are equal: no wish for a provider is the same wish twice.
        ENTRY.format("patient_id = %(twin_patient)s"),
        ENTRY.format("patient_id = %(offered_patient)s"),
    ],
    "entry_organizer_once": [AT_VENUE.format("organizer_id = %(organizer)s")],
    "entry_requester": [
        ENTRY.format("patient_id = NULL"),
        ENTRY.format("organizer_id = %(organizer)s, service_id = NULL"),
    ],
    "entry_rfp_venue": [AT_VENUE.format("rfp_venue_id = NULL")],
    "entry_converted_rfp_once": [
        AT_VENUE.format("status = 'converted', closed_at = now(), converted_rfp_id = %(rfp)s")
    ],
    "entry_organizer_wishes": [
        AT_VENUE.format("provider_id = %(provider)s"),
        AT_VENUE.format("service_id = %(service)s"),
        AT_VENUE.format("any_facility = true"),
    ],
    "entry_closed_at": [
        ENTRY.format("closed_at = now()"),
        ENTRY.format("status = 'expired'"),
        ENTRY.format("status = 'offered', closed_at = now()"),
    ],
    "entry_converted": [
        ENTRY.format("status = 'converted', closed_at = now()"),
        ENTRY.format("appointment_id = %(appointment)s"),
        ENTRY.format("status = 'expired', closed_at = now(), appointment_id = %(appointment)s"),
        ENTRY.format("status = 'converted', closed_at = now(), converted_rfp_id = %(rfp)s"),
        AT_VENUE.format(
            "status = 'converted', closed_at = now(), appointment_id = %(appointment)s"
        ),
    ],
    "entry_cancelled": [
        ENTRY.format("status = 'cancelled', closed_at = now()"),
        ENTRY.format("cancellation_reason = 'x'"),
        ENTRY.format("cancellation_notes = 'x'"),
        ENTRY.format("status = 'expired', closed_at = now(), cancellation_reason = 'x'"),
    ],
    "entry_urgency": [ENTRY.format("urgency = 4")],
    "entry_days": [
        ENTRY.format("preferred_days = '{0}'"),
        ENTRY.format("preferred_days = '{1,8}'"),
    ],
    "entry_window": [
        ENTRY.format("earliest = '2030-01-01', latest = '2030-01-01'"),
        ENTRY.format("earliest = '2030-01-02', latest = '2030-01-01'"),
    ],
    "entry_provider_required": [ENTRY.format("provider_required = true")],
    "entry_preferred_time": [ENTRY.format("preferred_time = 'night'")],
    "hold_slot_once": [
        COPY_HOLD.format(
            entry="%(entry)s::uuid", slot="slot_id", patient="%(patient)s::uuid", period="period"
        )
    ],
    "hold_entry_once": [
        COPY_HOLD.format(
            entry="entry_id",
            slot="%(slot)s::uuid",
            patient="patient_id",
            period="tstzrange('2031-01-01', '2031-01-02')",
        )
    ],
    "hold_without_slot_once": [
        COPY_HOLD.format(
            entry="%(entry)s::uuid", slot="NULL", patient="%(patient)s::uuid", period="NULL"
        ).replace("SELECT tenant_id, facility_id", "SELECT tenant_id, %(venue)s::uuid")
    ],
    "hold_entry_slot_once": [
        HOLD.format(f"status = '{status}', closed_at = now()")
        + "; "
        + COPY_HOLD.format(entry="entry_id", slot="slot_id", patient="patient_id", period="period")
        for status in ("declined", "expired", "accepted")
    ],
    "hold_taken_back": [
        HOLD.format("taken_back = true"),
        HOLD.format("taken_back = true, status = 'declined', closed_at = now()"),
    ],
    "hold_patient_once_at_a_time": [
        COPY_HOLD.format(
            entry="%(entry)s::uuid",
            slot="%(slot)s::uuid",
            patient="patient_id",
            period="tstzrange(lower(period) + interval '29 minutes', 'infinity'::timestamptz)"
            " * tstzrange('2000-01-01', '2040-01-01')",
        )
    ],
    "hold_period": [HOLD.format("period = 'empty'"), HOLD.format("period = '[2030-01-01,)'")],
    "hold_slot": [HOLD.format("slot_id = NULL"), HOLD.format("period = NULL")],
    "hold_closed_at": [
        HOLD.format("closed_at = now()"),
        HOLD.format("status = 'declined'"),
        HOLD.format("status = 'withdrawn'"),
    ],
    "hold_expires_at": [
        HOLD.format("expires_at = offered_at"),
        HOLD.format("expires_at = offered_at - interval '1 second'"),
    ],
    "breaker_once": [
        "INSERT INTO waitlist_circuitbreaker (tenant_id, facility_id, status, tripped_at)"
        " SELECT tenant_id, id, 'tripped', now() FROM scheduling_facility"
        " WHERE id = %(venue)s",
        "UPDATE waitlist_circuitbreaker SET status = 'deactivated' WHERE id = %(breaker)s;"
        " INSERT INTO waitlist_circuitbreaker (tenant_id, facility_id, status, tripped_at)"
        " SELECT tenant_id, id, 'tripped', now() FROM scheduling_facility"
        " WHERE id = %(venue)s",
    ],
    "breaker_resolved_at": [
        BREAKER.format("status = 'resolved'"),
        BREAKER.format("resolved_at = now()"),
        BREAKER.format("resolved_by_id = %(user)s"),
        BREAKER.format("status = 'deactivated', resolved_at = now()"),
    ],
    "metric_day": [
        "INSERT INTO waitlist_dailymetric (tenant_id, facility_id, day, queue_depth, offers,"
        " promotions, expired, cancelled, slots_freed, slots_refilled)"
        " SELECT tenant_id, id, '2030-03-04', 0, 0, 0, 0, 0, 0, 0"
        " FROM scheduling_facility, generate_series(1, 2) WHERE id = %(facility)s"
    ],
}

ACCEPTED = [
    POLICY.format("reminder_lead = '12 hours'"),
    POLICY.format("reminder_lead = NULL, hold_window = '1 second', min_hold = '1 second'"),
    POLICY.format("nudge_after = NULL, nudge_grace = NULL"),
    POLICY.format("breaker_threshold = 1, breaker_timeout = '1 day'"),
    POLICY.format("quiet_from = NULL, quiet_until = NULL"),
    POLICY.format("match_provider = 100, match_location = 0, match_service = 0, match_days = 0"),
    # An ended entry stands in nobody's way.
    ENTRY.format("patient_id = %(twin_patient)s, status = 'expired', closed_at = now()"),
    ENTRY.format("patient_id = %(twin_patient)s, provider_id = %(provider)s"),
    ENTRY.format("patient_id = %(twin_patient)s, unique_service = %(service)s"),
    ENTRY.format("preferred_days = '{1,2,3,4,5,6,7}', urgency = 3"),
    ENTRY.format("status = 'cancelled', closed_at = now(), cancellation_reason = 'x'"),
    HOLD.format("status = 'declined', closed_at = now()"),
    # What was withdrawn was not asked.
    HOLD.format("status = 'withdrawn', taken_back = true, closed_at = now()")
    + "; "
    + COPY_HOLD.format(entry="entry_id", slot="slot_id", patient="patient_id", period="period"),
    # Two live holds of one patient may touch.
    COPY_HOLD.format(
        entry="%(entry)s::uuid",
        slot="%(slot)s::uuid",
        patient="patient_id",
        period="tstzrange(upper(period), upper(period) + interval '1 hour')",
    ),
    BREAKER.format("status = 'resolved', resolved_at = now(), resolved_by_id = %(user)s"),
]


@pytest.fixture
def rows(clinic: World) -> dict[str, Any]:
    """One row of each kind, and those it may clash with."""
    venue = worlds.build(kind="venue")
    organizer = asking.organizer()
    worlds.without_slot(asking.wait(place=venue.facility, by=organizer))
    venue_entry = asking.wait(place=venue.facility)
    converted = asking.convert(asking.offer(place=asking.wait(place=venues.open_venue()).facility))
    breaker = CircuitBreaker.objects.create(
        tenant=venue.tenant, facility=venue.facility, tripped_at=NOW
    )
    hold = clinic.offer()
    entry = clinic.join()
    return {
        "facility": clinic.facility.pk,
        "venue": venue.facility.pk,
        "provider": clinic.provider.pk,
        "service": clinic.service.pk,
        "entry": entry.pk,
        "patient": entry.patient_id,
        "twin_patient": clinic.join().patient_id,
        "offered_patient": hold.patient_id,
        "organizer": organizer.pk,
        "venue_entry": venue_entry.pk,
        "rfp": converted.converted_rfp_id,
        "hold": hold.pk,
        "slot": clinic.slot(at=NOW + 2 * DAY).pk,
        "appointment": clinic.book(slot=clinic.slot(at=NOW + 3 * DAY)).pk,
        "breaker": breaker.pk,
        "user": factories.UserFactory.create().pk,
    }


def test_each_constraint_refuses_what_breaks_it(rows: dict[str, Any]) -> None:
    expected = {statement: name for name, statements in REFUSED.items() for statement in statements}
    assert {statement: refusal(statement, rows) for statement in expected} == expected


def test_what_is_next_to_it_is_accepted(rows: dict[str, Any]) -> None:
    tried = {statement: refusal(statement, rows) for statement in ACCEPTED}
    assert tried == dict.fromkeys(ACCEPTED)


def test_no_constraint_is_left_out_here() -> None:
    assert constraints.names("waitlist") == set(REFUSED)


def test_two_live_holds_of_a_patient_may_touch(clinic: World) -> None:
    patient = clinic.patient()
    first = clinic.offer(entry=clinic.join(patient=patient))
    second = clinic.offer(
        slot=clinic.slot(at=NOW + DAY + HOUR / 2),
        entry=clinic.join(patient=patient, provider_id=clinic.provider.pk),
    )
    assert {first.status, second.status} == {Hold.Status.OFFERED}
