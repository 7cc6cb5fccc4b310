from collections.abc import Iterator

import pytest
from celery import Celery, current_app

from tests.audit import broker


@pytest.fixture
def empty_queues() -> Iterator[None]:
    """Begin, and end, with nothing in the broker."""
    broker.empty()
    yield
    broker.empty()


@pytest.fixture
def broker_away() -> Iterator[None]:
    """Let tasks be sent to where no broker is."""
    app = current_app._get_current_object()  # type: ignore[attr-defined]
    away = Celery("away", broker="redis+socket:///nowhere/valkey.sock", set_as_current=False)
    away.conf.broker_transport_options = app.conf.broker_transport_options
    away.set_current()
    yield
    app.set_current()
    away.close()
