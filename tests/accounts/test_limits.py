"""Rate limits: counted in Valkey for all processes together, and never a reason to be down."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from django.conf import settings
from django.test import RequestFactory
from pytest_django import Settings
from redis import Redis
from rest_framework.request import Request

from accounts import limits
from accounts.roles import Role
from tests.api import Api, log_in
from tests.factories import FacilityFactory

SMALL, LARGE = UUID(int=1), UUID(int=2)
WORKER = """
import sys
from uuid import UUID
import django
django.setup()
from accounts import limits
from rest_framework.exceptions import Throttled
print("ready", flush=True)
sys.stdin.readline()
passed = 0
for _ in range(20):
    try:
        limits.check(limit="join", who="somebody", tenant=UUID(sys.argv[1]))
        passed += 1
    except Throttled:
        pass
print(passed)
"""


@pytest.fixture(autouse=True)
def _uncounted(settings: Settings) -> Iterator[None]:
    """Forget what was counted."""
    with Redis.from_url(settings.REDIS_URL) as valkey:
        yield
        valkey.flushdb()


def passed_by_processes(*tenants: UUID) -> list[int]:
    """Let a process for each tenant ask 20 times, all at once; return how often each passed."""
    given = {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "RATE_LIMITS": f"join=15/minute,join:{LARGE}=30/minute",
    }
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(tenant)],
            cwd=Path(settings.BASE_DIR), env={**os.environ, **given}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        for tenant in tenants
    ]  # fmt: skip
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    return [int(worker.communicate(timeout=60)[0]) for worker in workers]


def test_two_processes_count_together() -> None:
    """15 of 40 pass, whoever asked; by themselves each would let 15 pass."""
    assert sum(passed_by_processes(SMALL, SMALL)) == 15


def test_a_tenants_own_share_holds_across_processes_too() -> None:
    assert sum(passed_by_processes(LARGE, LARGE)) == 30


@pytest.mark.django_db
@pytest.mark.parametrize("place", ["unix:///nowhere/valkey.sock?db=0", "redis://127.0.0.1:1/0"])
def test_without_valkey_people_log_in_and_join_and_the_log_says_so(
    settings: Settings, caplog: pytest.LogCaptureFixture, place: str
) -> None:
    facility = FacilityFactory.create()
    patient = log_in(tenant=facility.tenant, role=Role.PATIENT)
    settings.RATE_LIMITS = settings.RATE_LIMITS | {"token": "1/minute", "join": "1/minute"}
    settings.REDIS_URL = place
    settings.EVENT_TASKS = {}
    assert patient.user is not None
    body = {
        "email": patient.user.email, "password": "secret", "tenant": facility.tenant.slug,
    }  # fmt: skip
    for _ in range(3):
        assert Api().post("auth/token", body, format="json").status_code == 200
    join = {"facility": str(facility.pk)}
    assert patient.post("waitlists", join, format="json").status_code == 201
    assert patient.post("waitlists", join, format="json").status_code == 409
    assert caplog.text.count("requests are not counted") >= 5
    assert patient.user.email not in caplog.text


@pytest.mark.parametrize(
    ("sent", "counted"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:0DB8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("unknown", "unknown"),
        ("", ""),
    ],
)
def test_an_address_is_counted_by_what_one_caller_has(
    settings: Settings, sent: str, counted: str
) -> None:
    direct = Request(RequestFactory().get("/", REMOTE_ADDR=sent))
    assert limits.address(request=direct) == counted
    settings.PROXIES = 1
    behind = Request(RequestFactory().get("/", headers={"X-Forwarded-For": f"::7, {sent}"}))
    assert limits.address(request=behind) == counted
