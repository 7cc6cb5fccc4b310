"""How PostgreSQL runs the statements of the fill, on tables that are full: by which indexes."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from audit import sql
from bench import worlds
from bench.worlds import NOW
from scheduling.models import Facility, Slot
from waitlist import candidates, fill, ranking
from waitlist.models import WaitlistEntry, WaitlistPolicy

#: Tables that are too long to be read from end to end.
LONG = {
    "scheduling_slot", "scheduling_appointment", "scheduling_patient", "waitlist_waitlistentry",
    "waitlist_hold",
}  # fmt: skip


# What is over: appointments, holds and slots that any search has to pass by.
PAST = """
SET LOCAL session_replication_role = replica;
INSERT INTO scheduling_appointment (
    tenant_id, slot_id, patient_id, facility_id, provider_id, period, status, source,
    cancellation_reason, cancelled_at
)
SELECT
    uuidv7(), uuidv7(), uuidv7(), uuidv7(), uuidv7(),
    tstzrange(at, at + interval '30 minutes'),
    CASE WHEN n % 4 = 0 THEN 'cancelled' ELSE 'booked' END, 'direct', '',
    CASE WHEN n % 4 = 0 THEN at END
FROM generate_series(1, 30000) AS n
CROSS JOIN LATERAL (SELECT timestamptz '2030-03-01Z' - n * interval '20 minutes' AS at) AS begins;
INSERT INTO waitlist_hold (
    tenant_id, facility_id, entry_id, slot_id, patient_id, period, status, score, source,
    offered_at, expires_at, closed_at
)
SELECT
    tenant_id, facility_id, uuidv7(), slot_id, patient_id, period, 'expired', 0, 'scan',
    lower(period), upper(period), upper(period)
FROM scheduling_appointment;
INSERT INTO scheduling_slot (tenant_id, facility_id, provider_id, period, status, superseded)
SELECT uuidv7(), uuidv7(), uuidv7(), period, 'open', false FROM scheduling_appointment;
SET LOCAL session_replication_role = origin;
"""


@pytest.fixture
def policy(db: None) -> WaitlistPolicy:
    """The policy of one of twenty facilities, with 400 open slots and 10,000 who wait."""
    worlds.make(facilities=20, slots=20, waiting=500)
    with connection.cursor() as cursor:
        cursor.execute(PAST)
        cursor.execute("ANALYZE")
        # As on a disk that reads anywhere as fast as in a row.
        cursor.execute("SET LOCAL random_page_cost = 1.1")
    facility = Facility.objects.order_by("pk")[7]
    return WaitlistPolicy.objects.select_related("facility__queue").get(facility=facility)


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from _nodes(part)


def _explain(name: str, params: dict[str, Any]) -> tuple[set[str], set[str]]:
    """Return the indexes that a statement uses, and the long tables that it reads whole."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (FORMAT JSON) {sql.text(app='waitlist', name=name)}", params)
        found = cursor.fetchone()[0]
    [plan] = json.loads(found) if isinstance(found, str) else found
    nodes = list(_nodes(plan["Plan"]))
    read = {node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"}
    return {node["Index Name"] for node in nodes if "Index Name" in node}, read & LONG


def _params(policy: WaitlistPolicy) -> dict[str, Any]:
    slots = list(
        Slot.objects.filter(facility=policy.facility_id, status="open").values_list("pk", flat=True)
    )
    waiting = WaitlistEntry.objects.filter(facility=policy.facility_id)
    entries = list(waiting.order_by("-rank_key")[:40].values_list("pk", flat=True))
    [slot] = fill.load_slots(slot_ids=[str(slots[0])], policy=policy)
    return {
        "facility": policy.facility_id,
        "tenant": policy.tenant_id,
        "now": NOW,
        "after": NOW + policy.min_notice,
        "first": NOW + policy.min_notice + policy.min_hold,
        "last": NOW + policy.look_ahead,
        "revision": 0,
        "visitors_revision": 0,
        "slots": sql.array(ids=slots),
        "entries": sql.array(ids=entries),
        "claimable": True,
        "timezone": "Europe/London",
        "limit": 40,
        "kin": True,
        "services": sql.array(ids=[candidates.NO_SERVICE]),
        "provider": slot.provider,
        "start": candidates.at(microseconds=slot.start),
        "end": candidates.at(microseconds=slot.end),
        "weekday": 2,
        "part_of_day": "morning",
        "provider_matches": True,
        "days_match": True,
        "versions": sql.array(ids=[1] * 40),
        "scores": sql.array(ids=[100] * 40),
        "deadlines": [NOW] * 40,
        "source": "scan",
        "actor_type": "system",
        "actor_id": None,
    }


#: Statement, whether of all who wait, and indexes by which it runs.
PLANS: list[tuple[str, bool, set[str]]] = [
    ("find_fillable", False, {"slot_open", "slot_open_changed"}),
    ("find_open_slots", False, {"slot_open"}),
    ("load_slots", False, {"scheduling_slot_pkey", "slot_provider_claimed_once"}),
    ("first_entries", False, {"entry_status_priority"}),
    ("count_waiting", True, {"entry_visitors"}),
    ("load_entries", False, set()),
    ("load_entries", True, {"entry_visitors"}),
    ("find_bars", False, {"hold_slot"}),
    ("find_bars", True, {"hold_slot", "entry_visitors"}),
    ("walk_queue", False, {"entry_queue"}),
    ("walk_visitors", False, {"entry_visitors"}),
    ("note_dry", False, {"slot_open"}),
    ("note_fruitless", False, {"scheduling_slot_pkey"}),
    ("write_offers", False, {"waitlist_waitlistentry_pkey", "scheduling_slot_pkey", "hold_slot"}),
]


def test_no_statement_of_a_fill_reads_a_long_table_whole(policy: WaitlistPolicy) -> None:
    params = _params(policy)
    for name, is_whole, indexes in PLANS:
        used, read = _explain(name, {**params, "entries": None} if is_whole else params)
        assert not read, f"{name} reads {read}"
        assert indexes <= used, f"{name} runs by {used}"


@pytest.mark.parametrize("everywhere", [True, False])
def test_positions_are_told_along_the_index(policy: WaitlistPolicy, everywhere: bool) -> None:
    """However long the queues are: only the first of each are read."""
    params = {
        "facility": None if everywhere else policy.facility_id,
        "places": ranking.FIRST_PLACES,
        "limit": 500,
        "now": NOW,
    }
    used, read = _explain("tell_positions", params)
    assert not read, f"tell_positions reads {read}"
    assert "entry_queue" in used
