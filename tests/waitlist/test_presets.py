"""Each new facility gets a queue, and the policy that domain.md's table names for its kind."""

from datetime import time, timedelta
from typing import Any

import pytest
from django.db import connection
from django.forms.models import model_to_dict

from scheduling.models import Facility
from tests import factories
from tests.audit.refusals import refusal
from tests.waitlist.worlds import World
from waitlist import policies
from waitlist.models import Queue, WaitlistPolicy

pytestmark = pytest.mark.django_db

KINDS = ("clinic", "salon", "venue")
D, H, M = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
NONE = timedelta(0)

# The table of domain.md, column by column: clinic, salon, venue. `...` is its "–": a venue's holds
# have no slot, so that these say nothing there.
TABLE: dict[str, tuple[Any, Any, Any]] = {
    "ordering": ("score", "fifo", "fifo"),
    "matching": ("best_score", "best_score", ...),
    "hold_window": (24 * H, 15 * M, 48 * H),
    "reminder_lead": (4 * H, None, 24 * H),
    "on_hold_expiry": ("requeue", "expire", "expire"),
    "on_decline": ("requeue", "requeue", "cancel"),
    "max_offers_per_entry": (None, None, None),
    "max_queue_size": (250, 250, None),
    "max_active_per_requester": (None, None, 5),
    "unique_per_service": (False, True, False),
    "auto_invite": (True, True, True),
    "min_notice": (30 * M, 30 * M, ...),
    "look_ahead": (30 * D, 14 * D, ...),
    "min_hold": (5 * M, 5 * M, H),
    "entry_ttl": (90 * D, 30 * D, 90 * D),
    "grace": (NONE, NONE, 30 * D),
    "nudge_after": (60 * D, None, 60 * D),
    "nudge_grace": (7 * D, None, 7 * D),
    "breaker_threshold": (None, None, 3),
    "breaker_timeout": (None, None, 7 * D),
    "match_provider": (40, 40, ...),
    "match_location": (30, 30, ...),
    "match_service": (20, 20, ...),
    "match_days": (10, 10, ...),
    "min_match_score": (50, 50, ...),
    "wait_per_day": (1, 1, 1),
    "membership": (2, 0, 0),
    "chronic": (3, 0, 0),
    "short_window": (1, 0, 0),
    "urgency": (5, 0, 0),
    "quiet_from": (time(21), time(21), None),
    "quiet_until": (time(8), time(8), None),
}


def _cells(facility: Facility) -> dict[str, Any]:
    policy = WaitlistPolicy.objects.get(facility=facility)
    return {name: getattr(policy, name) for name in TABLE}


def _column(kind: str) -> dict[str, Any]:
    return {name: cells[KINDS.index(kind)] for name, cells in TABLE.items()}


def _differences(facility: Facility) -> dict[str, Any]:
    cells, column = _cells(facility), _column(facility.kind)
    return {name: cells[name] for name in TABLE if column[name] not in (..., cells[name])}


def test_the_table_names_every_field() -> None:
    assert set(TABLE) == policies.FIELDS


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_facility_has_its_kinds_policy(kind: str) -> None:
    facility = factories.FacilityFactory.create(kind=kind)
    assert _differences(facility) == {}


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_facility_has_an_open_queue_of_its_tenant(kind: str) -> None:
    facility = factories.FacilityFactory.create(kind=kind)
    queue = Queue.objects.get(facility=facility)
    policy = WaitlistPolicy.objects.get(facility=facility)
    assert (queue.tenant_id, policy.tenant_id) == (facility.tenant_id, facility.tenant_id)
    assert (queue.revision, queue.visitors_revision, queue.deactivated_at) == (0, 0, None)
    assert policy.version == 1


@pytest.mark.parametrize("kind", KINDS)
def test_every_preset_passes_the_check_that_a_change_must_pass(kind: str) -> None:
    facility = factories.FacilityFactory.create(kind=kind)
    policies.check(policy=WaitlistPolicy.objects.get(facility=facility))


def test_facilities_made_in_bulk_have_theirs_too() -> None:
    tenant = factories.TenantFactory.create()
    Facility.objects.bulk_create(
        Facility(tenant=tenant, name=kind, slug=f"{kind}-{n}", kind=kind, timezone="Europe/Paris")
        for kind in KINDS
        for n in range(20)
    )
    made = list(Facility.objects.all())
    assert [_differences(facility) for facility in made] == [{}] * 60
    assert Queue.objects.filter(facility__in=made).count() == 60
    assert len({policy.pk for policy in WaitlistPolicy.objects.all()}) == 60


def test_a_facility_made_by_raw_sql_has_its_own() -> None:
    tenant = factories.TenantFactory.create()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO scheduling_facility (tenant_id, name, slug, kind, timezone, city, country,"
            " is_active) VALUES (%s, 'x', 'x', 'salon', 'Europe/Paris', '', '', true)",
            [tenant.pk],
        )
    assert _differences(Facility.objects.get()) == {}


def test_a_later_facility_changes_no_policy_that_is_there(clinic: World) -> None:
    clinic.change(hold_window=H, reminder_lead=None, match_days=0, match_provider=50)
    before = model_to_dict(clinic.policy)
    clinic.neighbour()
    Facility.objects.filter(pk=clinic.facility.pk).update(name="New name", kind="salon")
    assert model_to_dict(clinic.policy) == before


def test_a_facility_of_an_unknown_kind_gets_nothing() -> None:
    tenant = factories.TenantFactory.create()
    refused = refusal(
        "INSERT INTO scheduling_facility (tenant_id, name, slug, kind, timezone, city, country,"
        " is_active) VALUES (%(tenant)s, 'x', 'x', 'hotel', 'Europe/Paris', '', '', true)",
        {"tenant": tenant.pk},
    )
    assert refused == "facility_kind"
    assert not Queue.objects.exists()
