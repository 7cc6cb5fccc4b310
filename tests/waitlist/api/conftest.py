from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from tests.clinics import Clinic, open_clinic


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
