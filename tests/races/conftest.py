"""What every race needs: a real database, no broker, and nothing left behind."""

import threading
from collections.abc import Iterator

import pytest
from pytest_django import Settings

from tests.races.race import Runner


@pytest.fixture(autouse=True)
def _nothing_stays(transactional_db: None, settings: Settings) -> Iterator[None]:
    """Send no tasks, which would come after the commit anyhow; leave no thread behind."""
    settings.EVENT_TASKS = {}
    yield
    assert not [thread for thread in threading.enumerate() if isinstance(thread, Runner)]
