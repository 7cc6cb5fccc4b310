"""Pages of long lists are answered by index: the first, the last and those between.

Two tenants have very many rows of each kind, so that neither a whole table nor an index of another
order is a cheap way to one's page.
"""

import json
from collections.abc import Iterator
from time import perf_counter
from typing import Any

import pytest
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext

from audit.models import Event
from scheduling.models import Appointment, Patient, Slot, TimeBlock
from tests.accounts.pages import url
from tests.clinics import Clinic, open_clinic
from waitlist import ranking
from waitlist.models import Hold, WaitlistEntry

ROWS = 100_000
LONG: tuple[type[Model], ...] = (
    Event, Slot, Appointment, Hold, WaitlistEntry, Patient, TimeBlock,
)  # fmt: skip
TABLES = {model._meta.db_table for model in LONG}

FEWER = 20_000  # of the kinds that are asked for in fewer ways

# Who waits is an id only: nothing looks at them.
FILL = """
WITH entry AS (
    INSERT INTO waitlist_waitlistentry (
        tenant_id, facility_id, patient_id, service_id, provider_required, any_facility,
        preferred_days, preferred_time, dates_flexible, urgency, metadata, rank_key, joined_at,
        status, offers_made, expires_at, cancellation_reason, cancellation_notes, closed_at
    )
    SELECT
        %(tenant)s, %(facility)s, uuidv7(), CASE WHEN n %% 4 = 0 THEN %(service)s::uuid END,
        false, false, '{}', 'any', false, 0, '{}', -(n * 7919 %% %(rows)s),
        now() - n * interval '1 hour', CASE WHEN n %% 2 = 0 THEN 'waiting' ELSE 'expired' END, 0,
        now() + interval '90 days', '', '', CASE WHEN n %% 2 = 1 THEN now() END
    FROM generate_series(1, %(rows)s) AS n
    RETURNING id, patient_id, joined_at
),
slot AS (
    INSERT INTO scheduling_slot (tenant_id, facility_id, provider_id, period, status, superseded)
    SELECT
        %(tenant)s, %(facility)s, %(provider)s,
        tstzrange(now() - n * interval '1 hour', now() - (n - 1) * interval '1 hour'), 'open',
        false
    FROM generate_series(1, %(rows)s) AS n
    RETURNING id, period
),
patient AS (
    INSERT INTO scheduling_patient (
        tenant_id, name, email, phone, language, tier, chronic_condition, external_ref
    )
    SELECT %(tenant)s, md5(n::text), '', '', 'en', 0, false, ''
    FROM generate_series(1, %(rows)s) AS n
),
block AS (
    INSERT INTO scheduling_timeblock (tenant_id, facility_id, period, reason)
    SELECT
        %(tenant)s, %(facility)s,
        tstzrange(now() + n * interval '1 hour', now() + (n + 1) * interval '1 hour'), ''
    FROM generate_series(1, %(fewer)s) AS n
),
appointment AS (
    INSERT INTO scheduling_appointment (
        tenant_id, facility_id, provider_id, slot_id, patient_id, period, status, source,
        cancellation_reason
    )
    SELECT
        %(tenant)s, %(facility)s, %(provider)s, id, %(patient)s, period, 'completed', 'staff', ''
    FROM slot
),
hold AS (
    INSERT INTO waitlist_hold (
        tenant_id, facility_id, entry_id, patient_id, status, score, source, offered_at,
        expires_at, closed_at
    )
    SELECT
        %(tenant)s, %(facility)s, id, %(patient)s, 'expired', 0, 'scan', joined_at,
        joined_at + interval '1 hour', joined_at + interval '1 hour'
    FROM entry
    LIMIT %(fewer)s
)
INSERT INTO audit_event (tenant_id, kind, subject_type, subject_id, actor_type, entry_id, at)
SELECT %(tenant)s, 'waitlist.joined', 'entry', id, 'system', id, joined_at
FROM entry
LIMIT %(fewer)s
"""


@pytest.fixture
def clinic(transactional_db: None) -> Clinic:
    """A clinic with very many rows of each kind, like its neighbour."""
    clinics = [open_clinic(), open_clinic()]
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")  # no triggers: these are only rows
        for one, part in zip(clinics, (1, 4), strict=True):
            ids = {"tenant": one.tenant, "facility": one.facility, "provider": one.provider,
                   "service": one.service, "patient": one.patient}  # fmt: skip
            counts = {"rows": ROWS // part, "fewer": FEWER // part}
            cursor.execute(FILL, counts | {name: row.pk for name, row in ids.items()})
        cursor.execute("SET session_replication_role = origin")
        cursor.execute("VACUUM ANALYZE")  # as the server does by itself in time
    return clinics[0]


def test_long_lists(clinic: Clinic, client: Client) -> None:
    """In one test, since the rows take a while to make."""
    pages_come_from_their_index(clinic)
    pages_of_the_admin_come_from_an_index(clinic, client)
    what_patients_may_book_is_looked_up_slot_by_slot(clinic)
    pages_take_little_time(clinic)
    positions_are_right_at_the_end(clinic)


def pages_come_from_their_index(clinic: Clinic) -> None:
    """Whole tenants and facilities, by all there is to sort by, for who sees them all."""
    facility, service = str(clinic.facility.pk), str(clinic.service.pk)
    waiting = {"facility": facility, "status": "waiting"}
    day = {"from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z"}
    lists: tuple[tuple[str, dict[str, Any], str], ...] = (
        *(
            ("waitlists", {**narrowed, "sort": sign + sort}, index)
            for sort, index in (("priority", "entry_priority"), ("joined_at", "entry_joined"))
            for sign in ("", "-")
            for narrowed in ({}, {"status": ["waiting", "offered"]}, {"service": service})
        ),
        ("waitlists", {"status": "waiting", "sort": "joined_at"}, "entry_joined"),
        ("waitlists", {"facility": facility}, "entry_priority"),
        ("waitlists", waiting, "entry_status_priority"),
        ("waitlists", {**waiting, "sort": "-priority"}, "entry_status_priority"),
        ("waitlists", {**waiting, "service": service}, "entry_status_priority"),
        ("waitlists", {"patient": str(clinic.patient.pk)}, ""),
        *(
            (f"{rows}s/", {"sort": sign + sort}, f"{rows}_{index}")
            for rows in ("slot", "appointment")
            for sort, index in (("starts_at", "times"), ("created_at", "tenant"))
            for sign in ("", "-")
        ),
        ("slots/", day, "slot_times"),
        ("appointments/", day, "appointment_times"),
        ("patients/", {}, "patient_names"),
        ("patients/", {"sort": "-name", "tier": 0}, "patient_names"),
        ("patients/", {"sort": "created_at"}, "patient_age"),
        ("patients/", {"sort": "-created_at"}, "patient_age"),
        ("patients/", {"search": "c4ca4238"}, "patient_search"),
        ("patients/", {"search": "C4CA4238", "sort": "-created_at"}, "patient_search"),
        ("time-blocks/", {}, "timeblock_times"),
    )
    callers = {role: clinic.client(role) for role in ("staff", "provider")}
    for path, asked, index in lists:
        for role in callers if path == "waitlists" and "patient" not in asked else ["staff"]:
            total = callers[role].get(f"/api/v1/{path}", asked).data["total"]
            for page in {1, max(1, total // 50), max(1, -(-total // 25))}:
                with CaptureQueriesContext(connection) as queries:
                    answer = callers[role].get(f"/api/v1/{path}", {**asked, "page": page})
                assert answer.status_code == 200, answer.content
                what = (role, path, asked, page)
                used = check(queries, what, counts=path in {"waitlists", "patients/"})
                assert index in {"", *used}, what


def pages_of_the_admin_come_from_an_index(clinic: Clinic, client: Client) -> None:
    client.force_login(clinic.users["staff"])
    for model in (Slot, Appointment, WaitlistEntry, Hold, Event):
        with CaptureQueriesContext(connection) as queries:
            assert client.get(url(model, "changelist")).status_code == 200
        check(queries, model)


def what_patients_may_book_is_looked_up_slot_by_slot(clinic: Clinic) -> None:
    """Not all slots of a provider against all their claims, which takes minutes."""
    slots = Slot.objects.filter(tenant=clinic.tenant).order_by("-period")
    later = "tstzrange(lower(period) + interval '20 years', upper(period) + interval '20 years')"
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        for status, skipped in (("booked", 0), ("open", 10_000)):
            ids = list(slots.values_list("pk", flat=True)[skipped : skipped + 10_000])
            cursor.execute(
                f"UPDATE scheduling_slot SET status = %s, period = {later} WHERE id = ANY(%s)",  # noqa: S608
                [status, ids],
            )
        cursor.execute("SET session_replication_role = origin")
        cursor.execute("ANALYZE scheduling_slot")
    patient = clinic.client("patient")
    for asked in ({}, {"facility": str(clinic.facility.pk)}):
        began = perf_counter()
        with CaptureQueriesContext(connection) as queries:
            answer = patient.get("/api/v1/slots/", asked)
        assert answer.data["total"] == 10_000
        assert perf_counter() - began < 2  # about 0.2 s where nothing else runs
        check(queries, asked)


def check(queries: CaptureQueriesContext, what: object, *, counts: bool = False) -> set[str]:
    """Check that no query reads or sorts a whole table; return the indexes that were used.

    With `counts`, that a count looks at no row.
    """
    used = set()
    for query in queries.captured_queries:
        if any(f'"{table}"' in query["sql"] for table in TABLES) and "SELECT" in query["sql"]:
            with connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN (ANALYZE, FORMAT json) {query['sql']}")
                plan = cursor.fetchone()[0][0]
            for node in nodes(plan["Plan"]):
                whole = node["Node Type"] == "Seq Scan" and node["Relation Name"] in TABLES
                sorts = node["Node Type"] == "Sort" and node["Actual Rows"] > 100
                looks = counts and "COUNT(" in query["sql"] and node["Node Type"] == "Index Scan"
                wrong = whole or sorts or looks
                assert not wrong, (what, query["sql"], json.dumps(plan, indent=1))
                used.add(node.get("Index Name", ""))
    return used


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Give a plan's nodes, the outermost first."""
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def pages_take_little_time(clinic: Clinic) -> None:
    staff = clinic.client("staff")
    asked: dict[str, Any] = {
        "facility": str(clinic.facility.pk),
        "status": "waiting",
        "page_size": 50,
    }
    for page in (1, ROWS // 200, ROWS // 100):
        began = perf_counter()
        answer = staff.get("/api/v1/waitlists", asked | {"page": page})
        took = perf_counter() - began
        assert answer.data["total"] == ROWS // 2
        places = [one["position"] for one in answer.data["results"]]
        assert len(places) == 50
        assert places == sorted(places)
        assert took < 2, page  # about 0.1 s where nothing else runs


def positions_are_right_at_the_end(clinic: Clinic) -> None:
    mine = WaitlistEntry.objects.filter(facility=clinic.facility, status="waiting", service=None)
    last = mine.order_by("rank_key")[:50].values_list("pk", flat=True)
    found = ranking.positions(entry_ids=list(last))
    assert sorted(found.values()) == list(range(ROWS // 4 - 49, ROWS // 4 + 1))
