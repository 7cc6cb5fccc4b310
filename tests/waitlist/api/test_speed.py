"""Lists of 100,000 entries are answered by index."""

import json
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from scheduling import callers
from tests.clinics import Clinic
from waitlist import ranking, scopes
from waitlist.api.entries import EntryFilters
from waitlist.models import WaitlistEntry

ROWS = 100_000


@pytest.fixture
def crowd(clinic: Clinic) -> Clinic:
    """A clinic where very many wait, and as many did."""
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")  # no triggers: these are only rows
        cursor.execute(
            """
            WITH person AS (
                INSERT INTO scheduling_patient
                    (tenant_id, name, email, phone, language, tier, chronic_condition, external_ref)
                SELECT %(tenant)s, 'P ' || n, '', '', 'en', 0, false, ''
                FROM generate_series(1, %(rows)s) AS n
                RETURNING id
            )
            INSERT INTO waitlist_waitlistentry (
                tenant_id, facility_id, patient_id, service_id, provider_required, any_facility,
                preferred_days, preferred_time, dates_flexible, urgency, metadata, rank_key,
                joined_at, status, offers_made, expires_at, cancellation_reason,
                cancellation_notes, closed_at
            )
            SELECT
                %(tenant)s, %(facility)s, id, CASE WHEN n %% 2 = 0 THEN %(service)s::uuid END,
                false, false, '{}', 'any', false, 0, '{}', -n,
                now() - n * interval '1 minute',
                CASE WHEN n %% 2 = 0 THEN 'waiting' ELSE 'expired' END, 0,
                now() + interval '90 days', '', '',
                CASE WHEN n %% 2 = 1 THEN now() END
            FROM (SELECT id, row_number() OVER () AS n FROM person) AS numbered
            """,
            {
                "tenant": clinic.tenant.pk,
                "facility": clinic.facility.pk,
                "service": clinic.service.pk,
                "rows": ROWS,
            },
        )
        cursor.execute("SET session_replication_role = origin")
        cursor.execute("ANALYZE waitlist_waitlistentry")
    return clinic


def test_pages_of_a_long_list_come_from_an_index(crowd: Clinic) -> None:
    caller = _caller(crowd)
    facility = str(crowd.facility.pk)
    for asked in (
        {},
        {"sort": "-priority"},
        {"sort": "joined_at"},
        {"sort": "-joined_at"},
        {"facility": facility},
        {"facility": facility, "status": "waiting"},
        {"facility": facility, "status": "waiting", "sort": "-priority"},
        {"facility": facility, "status": "waiting", "service": str(crowd.service.pk)},
        {"patient": str(crowd.patient.pk)},
    ):
        found = EntryFilters(asked, queryset=scopes.entries(caller=caller)).qs[:25]
        plan = _plan(found)
        kinds = _kinds(plan["Plan"])
        assert "Seq Scan" not in kinds, (asked, plan)
        assert plan["Execution Time"] < 200, (asked, plan)


def test_positions_at_the_end_of_a_long_queue(crowd: Clinic) -> None:
    last = list(
        WaitlistEntry.objects.filter(status="waiting").order_by("rank_key")[:50].values_list("pk")
    )
    ids: list[UUID] = [pk for (pk,) in last]
    found = ranking.positions(entry_ids=ids)
    assert sorted(found.values()) == list(range(ROWS // 2 - 49, ROWS // 2 + 1))


def test_page_of_a_long_list_takes_little_time(crowd: Clinic) -> None:
    client = crowd.client("staff")
    asked: dict[str, Any] = {
        "facility": str(crowd.facility.pk),
        "status": "waiting",
        "page_size": 50,
    }
    first = client.get("/api/v1/waitlists", asked)
    assert first.data["total"] == ROWS // 2
    assert [one["position"] for one in first.data["results"]] == list(range(1, 51))
    last = client.get("/api/v1/waitlists", asked | {"page": ROWS // 100})
    assert last.data["results"][-1]["position"] == ROWS // 2


def _caller(clinic: Clinic) -> Any:
    return callers.find(user_id=clinic.users["staff"].pk, tenant_id=clinic.tenant.pk)


def _plan(found: Any) -> dict[str, Any]:
    text = found.explain(format="json", analyze=True)
    plan: dict[str, Any] = json.loads(text)[0]
    return plan


def _kinds(plan: dict[str, Any]) -> set[str]:
    kinds = {plan["Node Type"]}
    for child in plan.get("Plans", ()):
        kinds |= _kinds(child)
    return kinds
