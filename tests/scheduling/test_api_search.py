"""The search of patients: what it finds, and that an index finds it, however short the text."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Tenant
from accounts.roles import Role
from tests.api import Api, log_in
from tests.factories import PatientFactory, TenantFactory

pytestmark = pytest.mark.django_db

ROWS = 5_000
FILL = """
INSERT INTO scheduling_patient (
    tenant_id, name, email, phone, language, tier, chronic_condition, external_ref
)
SELECT
    %s, initcap(translate(md5(n::text), '0123456789', 'ghijklmnop')) || ' '
    || initcap(translate(md5((-n)::text), '0123456789', 'ghijklmnop')),
    translate(md5(n::text), '0123456789', 'ghijklmnop') || n || '@example.org',
    '+4420' || 7000000 + n, 'en', 0, false, 'P-' || n
FROM generate_series(1, %s) AS n
"""


@pytest.fixture
def tenant() -> Tenant:
    return TenantFactory.create()


@pytest.fixture
def staff(tenant: Tenant) -> Api:
    return log_in(tenant=tenant, role=Role.STAFF)


def search(staff: Api, text: str) -> set[str]:
    found = staff.get("patients/", {"search": text, "page_size": 100})
    assert found.status_code == 200, found.content
    return {row["name"] for row in found.json()["results"]}


def test_a_short_text_is_found_where_a_word_begins(tenant: Tenant, staff: Api) -> None:
    for name, email, phone, ref in (
        ("Wei Li", "wl@example.org", "+442071234567", "A-1"),
        ("Lin Chu", "", "", "B-2"),
        ("Julia Oli", "li.j@example.org", "", "C-3"),
        ("Olivia Poe", "", "", "D-4"),
        ("李 明", "", "+33140000000", "E-5"),
    ):
        PatientFactory.create(tenant=tenant, name=name, email=email, phone=phone, external_ref=ref)
    assert search(staff, "li") == {"Wei Li", "Lin Chu", "Julia Oli"}
    assert search(staff, "lia") == {"Julia Oli"}  # three letters are found anywhere
    assert search(staff, "oliv") == {"Olivia Poe"}
    assert search(staff, "李") == {"李 明"}
    assert search(staff, "明") == {"李 明"}
    assert search(staff, "+3") == {"李 明"}
    assert search(staff, "b-") == {"Lin Chu"}
    assert search(staff, "-2") == search(staff, "ex") == set()  # only a space is before a word
    assert len(search(staff, "")) == 5


@pytest.mark.parametrize("text", ["-", "...", "_", "% %"])
def test_a_text_has_a_letter_or_a_digit(staff: Api, text: str) -> None:
    refused = staff.get("patients/", {"search": text})
    assert refused.status_code == 400
    [error] = refused.json()["errors"]
    assert (error["field"], error["detail"]) == ("search", "Give a letter or a digit.")


@pytest.mark.parametrize("text", ["l", "li", "q", "g-", "zz", "lij", "a b"])
def test_an_index_finds_what_is_searched(tenant: Tenant, staff: Api, text: str) -> None:
    with connection.cursor() as cursor:
        for one, rows in ((tenant, ROWS), (TenantFactory.create(), ROWS)):
            cursor.execute(FILL, [one.pk, rows])
        cursor.execute("SELECT gin_clean_pending_list('patient_search')")  # as the server does
        cursor.execute("ANALYZE scheduling_patient")
    with CaptureQueriesContext(connection) as queries:
        total = staff.get("patients/", {"search": text}).json()["total"]
    count, *pages = [one["sql"] for one in queries if "LIKE" in one["sql"]]
    assert rows_read(count) <= 3 * total + 200
    assert len(pages) == bool(total)
    # A page may come from the names in their order as well, until it is full.
    assert all(rows_read(page) < ROWS / 2 for page in pages)


def rows_read(sql: str) -> int:
    """Return how many patients the plan of a query looks at, whatever it makes of them."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT json) {sql}")
        plan = cursor.fetchone()[0][0]["Plan"]
    kinds = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")
    return sum(
        int(sum(node.get(kind, 0) for kind in kinds) * node["Actual Loops"])
        for node in nodes(plan)
        if node.get("Relation Name") == "scheduling_patient"
    )


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Give a plan's nodes, the outermost first."""
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)
