"""How PostgreSQL runs the fill and the relay on tables that are full: by which indexes."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from inspect import signature
from typing import Any

import pytest
from django.db import connection, transaction

from audit import sql
from audit.events import SYSTEM
from availability.models import RfpVenue
from bench import worlds
from bench.worlds import NOW
from notifications import relay
from scheduling import appointments, blocks
from scheduling.models import Appointment, Facility, Patient, Service, Slot
from tests import factories, venues
from tests.waitlist import asking
from waitlist import (
    breakers,
    candidates,
    cascades,
    entries,
    explanations,
    fill,
    holds,
    invites,
    ranking,
)
from waitlist.models import Hold, WaitlistEntry, WaitlistPolicy

#: Tables that are too long to be read from end to end.
LONG = {
    "scheduling_slot", "scheduling_appointment", "scheduling_patient", "waitlist_waitlistentry",
    "waitlist_hold", "audit_event", "audit_eventseq", "notifications_message",
    "notifications_webhookdelivery", "notifications_preference",
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

# What was told before: events with their places, their messages, and what people wanted.
TOLD = """
SET LOCAL session_replication_role = replica;
DELETE FROM audit_unrelayed;
INSERT INTO audit_eventseq (event_id) SELECT id FROM audit_event ORDER BY id;
INSERT INTO notifications_message (
    tenant_id, event_id, seq, kind, facility_id, entry_id, patient_id, channel, status, reason,
    attempts, provider_message_id, sent_at
)
SELECT
    event.tenant_id, event.id, place.seq, event.kind, event.facility_id, event.entry_id,
    entry.patient_id, 'email', 'sent', '', 1, '', event.at
FROM audit_event AS event
JOIN audit_eventseq AS place ON place.event_id = event.id
JOIN waitlist_waitlistentry AS entry ON entry.id = event.entry_id;
INSERT INTO notifications_webhookdelivery (
    tenant_id, endpoint_id, event_id, seq, kind, status, attempts, reason, delivered_at
)
SELECT event.tenant_id, endpoint.id, event.id, place.seq, event.kind, 'delivered', 1, '', event.at
FROM audit_event AS event
JOIN audit_eventseq AS place ON place.event_id = event.id
JOIN notifications_webhookendpoint AS endpoint ON endpoint.tenant_id = event.tenant_id;
INSERT INTO notifications_preference (tenant_id, patient_id)
SELECT tenant_id, id FROM scheduling_patient;
SET LOCAL session_replication_role = origin;
"""


@pytest.fixture
def policy(db: None) -> WaitlistPolicy:
    """The policy of one of twenty facilities, with 400 open slots and 10,000 who wait."""
    worlds.make(facilities=20, slots=20, waiting=500)
    with connection.cursor() as cursor:
        cursor.execute(PAST)
        cursor.execute("ANALYZE")
    facility = Facility.objects.order_by("pk")[7]
    return WaitlistPolicy.objects.select_related("facility__queue").get(facility=facility)


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from _nodes(part)


def _explain(statement: str, params: Any) -> tuple[set[str], set[str]]:
    """Return the indexes that a statement uses, and the long tables that it reads whole."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (FORMAT JSON) {statement}", params)
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
        "facilities": [policy.facility_id],
        "tenant": policy.tenant_id,
        "now": NOW,
        "after": NOW + policy.min_notice,
        "first": NOW + policy.min_notice + policy.min_hold,
        "last": NOW + policy.look_ahead,
        "revision": 0,
        "visitors_revision": 0,
        "supply_revision": 0,
        "slots": sql.array(values=slots),
        "changed": sql.array(values=[slots[0], entries[0]]),
        "entries": sql.array(values=entries),
        "claimable": True,
        "timezone": "Europe/London",
        "limit": 40,
        "services": sql.array(values=[candidates.NONE]),
        "providers": sql.array(values=[slot.provider]),
        "required": sql.array(values=[False]),
        "days": ["12"],
        "times": sql.array(values=["any"]),
        "start": candidates.at(microseconds=slot.start),
        "end": candidates.at(microseconds=slot.end),
        "versions": sql.array(values=[1] * 40),
        "scores": sql.array(values=[100] * 40),
        "deadlines": sql.array(values=[NOW.isoformat()] * 40),
        "source": "scan",
        "actor_type": "system",
        "actor_id": None,
    }


FIRST: dict[str, Any] = {"entries": None}
WHOLE: dict[str, Any] = {"entries": None, "limit": None}

#: What is claimed, of all facilities: to be asked for one provider only, and for no patient.
CLAIMS = {
    "slot_provider_claimed_once", "hold_patient_once_at_a_time", "hold_entry_once",
    "hold_slot_once", "hold_expires_at_live", "appointment_patient_booked_once",
}  # fmt: skip

#: By which a person's own holds and appointments are found.
OF_PATIENTS = {"hold_patient", "scheduling_appointment_patient_id_1a2fb708"}

#: Statement, parameters that differ, and indexes by which it runs.
PLANS: list[tuple[str, dict[str, Any], set[str]]] = [
    ("count_revisions", {}, set()),
    ("find_opened", {}, {"slot_open_changed"}),
    ("find_fillable", {}, {"entry_run", "entry_visitors"}),
    ("find_open_slots", {"slots": None}, {"slot_open", "slot_provider_claimed_once"}),
    ("find_concerned", {}, {"scheduling_slot_pkey", "slot_open", "waitlist_waitlistentry_pkey"}),
    ("load_slots", {}, {"scheduling_slot_pkey", "slot_provider_claimed_once"}),
    ("find_kin", FIRST, {"entry_run"}),
    ("find_kin", {}, {"waitlist_waitlistentry_pkey"}),
    ("count_waiting", WHOLE, {"entry_run", "entry_visitors"}),
    ("load_entries", {}, set()),
    ("load_entries", FIRST, {"entry_run"}),
    ("load_entries", WHOLE, {"entry_run", "entry_visitors"}),
    ("find_bars", {}, {"hold_slot", *OF_PATIENTS}),
    ("find_bars", WHOLE, {"hold_slot", *OF_PATIENTS, "entry_run", "entry_visitors"}),
    ("find_wishes", {}, {"entry_wish", "entry_visitors"}),
    ("walk_queue", {}, {"entry_wish"}),
    ("walk_visitors", {}, {"entry_visitors"}),
    ("note_dry", {}, {"slot_open"}),
    ("note_fruitless", {}, {"scheduling_slot_pkey"}),
    ("write_offers", {}, {"waitlist_waitlistentry_pkey", "scheduling_slot_pkey", "hold_slot"}),
]


def test_no_statement_of_a_fill_reads_a_long_table_whole(policy: WaitlistPolicy) -> None:
    params = _params(policy)
    for name, others, indexes in PLANS:
        used, read = _explain(sql.text(app="waitlist", name=name), {**params, **others})
        assert not read, f"{name} reads {read}"
        assert indexes <= used, f"{name} runs by {used}"


@pytest.mark.django_db
@pytest.mark.parametrize("rare", ["provider", "day", "service"])
def test_a_walk_reads_few_of_those_whose_wishes_the_slot_does_not_meet(rare: str) -> None:
    """Nobody else takes this provider, wants another day at that, or waits for this service."""
    fits = {"provider": "sparse", "day": "lower", "service": "all"}
    worlds.make(facilities=1, slots=1, waiting=20_000, fit=fits[rare])
    policy = WaitlistPolicy.objects.select_related("facility__queue").get()
    if rare == "service":
        this, other, _ = Service.objects.order_by("pk")
        waiting = WaitlistEntry.objects.filter(provider=None, earliest=None, latest=None)
        [last] = waiting.filter(preferred_days=[], preferred_time="any").order_by("rank_key")[:1]
        WaitlistEntry.objects.update(service=other)
        WaitlistEntry.objects.filter(pk=last.pk).update(service=this)
        Slot.objects.update(service=this)
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
    slots = [str(id) for id in Slot.objects.filter(status="open").values_list("pk", flat=True)]
    board = candidates.board(slots=fill.load_slots(slot_ids=slots, policy=policy), policy=policy)
    with _rows_read() as rows:
        found = candidates.walk(board=board, policy=policy, now=NOW)
    assert {one.levels[0][0] for one in found} == {90 if rare == "day" else 100}
    assert 0 < rows["waitlist_waitlistentry"] < 1_000


@pytest.mark.django_db
def test_a_pass_reads_no_claims_of_other_facilities() -> None:
    """Not even while the statistics, which are older, say that nothing is offered."""
    worlds.make(facilities=10, slots=20, waiting=200)
    [facility, *others] = fill.facilities(now=NOW)
    for other in others:
        fill.fill(facility_id=other, now=NOW)
    assert Hold.objects.filter(status=Hold.Status.OFFERED).count() == 20 * len(others)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")  # as if the tables were long
    with _rows_read() as rows:
        fill.fill(facility_id=facility, now=NOW)
    assert Hold.objects.filter(facility=facility, status=Hold.Status.OFFERED).count() == 20
    # There are 380 holds: those of its own slots are read, some in several statements.
    assert 0 < rows["waitlist_hold"] < 120
    # Each of its slots is held against the claims of its provider, who has none.
    assert rows["slot_provider_claimed_once"] == 0
    assert set(rows) & CLAIMS == {"slot_provider_claimed_once"}


@contextmanager
def _rows_read() -> Iterator[Counter[str]]:
    """Count the rows that named statements read, by table and by index.

    Each runs twice, and is undone once.
    """
    rows: Counter[str] = Counter()

    def count(execute: Any, statement: str, params: Any, *args: Any) -> Any:
        if statement.startswith("-- "):
            with connection.cursor() as cursor:
                undone = transaction.savepoint()
                cursor.cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", params)
                [[[plan]]] = cursor.cursor.fetchall()
                transaction.savepoint_rollback(undone)
            for node in _nodes(plan["Plan"]):
                if node["Node Type"] != "ModifyTable" and "Relation Name" in node:
                    read = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
                    for name in {node["Relation Name"], node.get("Index Name", "")}:
                        rows[name] += round(read * node["Actual Loops"])
        return execute(statement, params, *args)

    with connection.execute_wrapper(count):
        yield rows


def _used(work: Callable[[], object]) -> set[str]:
    """Do it, and return the indexes by which it runs; none may read a long table whole."""
    used: set[str] = set()
    is_explaining = False

    def explain(execute: Any, statement: str, params: Any, *args: Any) -> Any:
        nonlocal is_explaining
        if not is_explaining and not re.match("SAVEPOINT|RELEASE|SELECT pg_try_adv", statement):
            is_explaining = True
            indexes, read = _explain(statement, params)
            is_explaining = False
            assert not read, f"{statement} reads {read}"
            used.update(indexes)
        return execute(statement, params, *args)

    with connection.execute_wrapper(explain):
        work()
    return used


def test_no_transition_reads_a_long_table_whole(policy: WaitlistPolicy) -> None:
    for facility in Facility.objects.all():
        fill.fill(facility_id=facility.pk, now=NOW)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    facility_id = policy.facility_id
    live = list(Hold.objects.filter(facility=facility_id, status="offered").order_by("pk"))
    waiting = WaitlistEntry.objects.filter(facility=facility_id, status="waiting")
    [entry, *_] = waiting.order_by("pk")
    patient = Patient.objects.create(tenant_id=policy.tenant_id, name="Patient")
    [held, *_] = Slot.objects.filter(facility=facility_id, status="held")
    start = NOW + timedelta(days=20)
    slot = Slot.objects.create(
        tenant_id=policy.tenant_id, facility_id=facility_id, provider_id=held.provider_id,
        period=(start, start + timedelta(minutes=30)),
    )  # fmt: skip
    soon, later = NOW + timedelta(minutes=5), NOW + timedelta(hours=25)
    [booked, *_] = Appointment.objects.filter(facility=facility_id, status="booked")
    # Each, and indexes by which it runs.
    transitions: list[tuple[Callable[..., object], dict[str, Any], set[str]]] = [
        (
            entries.join,
            {"facility_id": facility_id, "patient_id": patient.pk, "wishes": {}, "now": soon},
            {"entry_status_priority", "scheduling_patient_pkey"},
        ),
        (
            entries.cancel,
            {"entry_id": entry.pk, "reason": "no_longer_needed", "now": soon},
            {"hold_entry_once", "waitlist_waitlistentry_pkey"},
        ),
        (
            appointments.book,
            {"slot_id": slot.pk, "patient_id": patient.pk, "source": "direct", "now": soon},
            {"appointment_patient_booked_once", "slot_provider_claimed_once"},
        ),
        (
            appointments.cancel,
            {"appointment_id": booked.pk, "reason": "other", "now": soon},
            {"scheduling_appointment_pkey", "scheduling_slot_pkey"},
        ),
        (
            holds.accept,
            {"hold_id": live[0].pk, "now": soon},
            {"appointment_patient_booked_once", "slot_provider_claimed_once", "waitlist_hold_pkey"},
        ),
        (
            holds.decline,
            {"hold_id": live[1].pk, "now": soon},
            {"waitlist_hold_pkey", "waitlist_waitlistentry_pkey", "scheduling_slot_pkey"},
        ),
        (
            holds.expire_due,
            {"now": later, "limit": 500},
            {"hold_expires_at_live", "waitlist_hold_pkey", "waitlist_waitlistentry_pkey",
             "scheduling_slot_pkey"},
        ),
        (holds.remind_due, {"now": later, "limit": 500}, {"hold_expires_at_live"}),
        (holds.withdraw_blocked, {"now": soon, "limit": 500}, {"scheduling_slot_pkey"}),
        (blocks.apply, {"now": soon, "limit": 500}, {"slot_open"}),
        (entries.expire_due, {"now": later, "limit": 500}, {"entry_expires_at"}),
    ]  # fmt: skip
    for act, given, indexes in transitions:
        who = {"actor": SYSTEM} if "actor" in signature(act).parameters else {}
        used = _used(partial(act, **given, **who))
        assert indexes <= used, f"{act} runs by {used}"


@pytest.mark.parametrize("everywhere", [True, False])
def test_positions_are_told_along_the_index(policy: WaitlistPolicy, everywhere: bool) -> None:
    """However long the queues are: only the first of each are read."""
    params = {
        "facility": None if everywhere else policy.facility_id,
        "places": ranking.FIRST_PLACES,
        "limit": 500,
        "now": NOW,
    }
    used, read = _explain(sql.text(app="waitlist", name="tell_positions"), params)
    assert not read, f"tell_positions reads {read}"
    assert "entry_queue" in used


# Venues: of 30,000 holds of one venue all but a few are over, and some organizers wait for it.
VENUES = """
SET LOCAL session_replication_role = replica;
WITH organizer AS (
    INSERT INTO accounts_tenant (name, slug, kind)
    SELECT 'Organizer', 'organizer-' || n, 'organizer' FROM generate_series(1, %(waiting)s) AS n
    RETURNING id
)
INSERT INTO waitlist_waitlistentry (
    tenant_id, facility_id, organizer_id, rfp_venue_id, rank_key, joined_at, expires_at, status,
    provider_required, any_facility, preferred_days, preferred_time, dates_flexible, urgency,
    metadata, offers_made, cancellation_reason, cancellation_notes
)
SELECT
    id, %(venue)s, id, %(source)s, -row_number() OVER (), '2030-03-01Z', '2030-06-01Z', 'waiting',
    false, false, '{}', 'any', false, 0, '{}', 0, '', ''
FROM organizer;
INSERT INTO waitlist_hold (
    tenant_id, facility_id, entry_id, status, score, source, offered_at, expires_at, closed_at
)
SELECT
    %(tenant)s, %(venue)s, uuidv7(), 'expired', 0, 'cascade', at, at + interval '2 days',
    at + interval '2 days'
FROM generate_series(1, 30000) AS n
CROSS JOIN LATERAL (SELECT timestamptz '2020-01-01Z' + n * interval '1 minute' AS at) AS begins;
SET LOCAL session_replication_role = origin;
"""


def _open_venue(*, waiting: int) -> tuple[Facility, RfpVenue]:
    """Open a venue for which so many wait, and return it with its answer to one more."""
    place = venues.open_venue()
    [source] = asking.refused(places=[place], by=asking.organizer(), at=NOW)
    named = {"tenant": place.tenant_id, "venue": place.pk, "source": source.pk}
    with connection.cursor() as cursor:
        cursor.execute(VENUES, {**named, "waiting": waiting})
        cursor.execute("ANALYZE")
    return place, source


@pytest.mark.parametrize("waiting", [50, 10_000])
def test_no_work_on_a_venues_slots_reads_an_organizer(policy: WaitlistPolicy, waiting: int) -> None:
    """Few or many among the 10,000 patients elsewhere: else an owner could time who waits."""
    place, _ = _open_venue(waiting=waiting)
    slot = factories.SlotFactory.create(facility=place, starts_at=NOW + timedelta(days=1))
    with _rows_read() as rows:
        found = explanations.explain_slot(slot_id=slot.pk, now=NOW)
        with pytest.raises(invites.NobodyFits):
            invites.invite(slot_id=slot.pk, entry_id=None, actor=SYSTEM, now=NOW)
        filled = fill.fill(facility_id=place.pk, now=NOW)
    assert (found.closed, found.waiting, filled.fruitless) == ([], 0, 1)
    assert "waitlist_waitlistentry" in rows
    assert rows["waitlist_waitlistentry"] == 0


def test_no_step_of_a_venues_queue_reads_a_long_table_whole(policy: WaitlistPolicy) -> None:
    place, source = _open_venue(waiting=10_000)
    asking.free(place=place, at=NOW)
    steps: list[tuple[Callable[[], object], set[str]]] = [
        (
            lambda: asking.join(source=source, at=NOW),
            {"entry_status_priority"},
        ),
        (lambda: cascades.find(now=NOW), {"hold_without_slot_once"}),
        (
            lambda: cascades.go_on(facility_id=place.pk, now=NOW),
            {"entry_status_priority", "hold_without_slot_once", "hold_facility"},
        ),
        (lambda: breakers.trip(facility_ids=[place.pk], now=NOW), {"hold_facility"}),
        (lambda: breakers.deactivate_due(now=NOW, limit=10), set()),
    ]
    for step, indexes in steps:
        used = _used(step)
        assert indexes <= used, f"it runs by {used}"


def test_a_relay_reads_no_long_table_whole(policy: WaitlistPolicy) -> None:
    """A few events among many that were told before, of people with many messages."""
    with connection.cursor() as cursor:
        for statement in (sql.text(app="bench", name="make_events"), TOLD):
            cursor.execute(statement, {"events": 10_000, "now": NOW})
        cursor.execute("ANALYZE")
    facility = policy.facility_id
    patient = Patient.objects.filter(tenant=policy.tenant_id)[0]
    entries.join(facility_id=facility, patient_id=patient.pk, wishes={}, actor=SYSTEM, now=NOW)
    used = _used(partial(relay.relay, limit=5000, now=NOW))
    assert {
        "audit_unrelayed_pkey", "audit_eventseq_pkey", "audit_event_pkey",
        "waitlist_waitlistentry_pkey", "scheduling_patient_pkey",
    } <= used, used  # fmt: skip
