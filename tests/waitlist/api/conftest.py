from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from accounts.models import Tenant
from accounts.roles import Role
from scheduling.models import Facility
from tests import venues
from tests.api import Api, log_in
from tests.clinics import Clinic, open_clinic
from tests.waitlist import asking
from waitlist.models import Hold, WaitlistEntry


@pytest.fixture
def clinic(db: None) -> Clinic:
    """A clinic with one person of each role."""
    return open_clinic()


@pytest.fixture(autouse=True)
def _uncounted(settings: Any) -> Iterator[None]:
    """Forget what was counted for rate limits: all tests come from one address."""
    yield
    with Redis.from_url(settings.REDIS_URL) as valkey:
        valkey.flushdb()


@pytest.fixture
def place(db: None) -> Facility:
    """A venue that anybody may wait for."""
    return venues.open_venue(name="Great Hall", slug="great-hall", city="Leeds", country="GB")


@pytest.fixture
def organizer(db: None) -> Tenant:
    """Who waits for it."""
    return asking.organizer()


@pytest.fixture
def api(organizer: Tenant) -> Api:
    """A client of one of the organizer's members."""
    return log_in(tenant=organizer, role=Role.ORGANIZER)


@pytest.fixture
def entry(place: Facility, organizer: Tenant) -> WaitlistEntry:
    """The organizer waits since `worlds.NOW`."""
    return asking.wait(place=place, by=organizer)


@pytest.fixture
def hold(entry: WaitlistEntry) -> Hold:
    """The venue has room again and is offered to them."""
    return asking.offer(place=entry.facility)
