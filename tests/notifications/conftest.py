from collections.abc import Iterator

import pytest
from django.conf import LazySettings
from django.core.cache import cache

from tests.notifications import mailbox as mailboxes
from tests.notifications.mailbox import Mailbox
from tests.waitlist import worlds
from tests.waitlist.worlds import World


@pytest.fixture
def clinic(db: None) -> World:
    return worlds.build()


@pytest.fixture
def mailbox(settings: LazySettings) -> Iterator[Mailbox]:
    """A server that takes mail."""
    with mailboxes.opened(settings) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _rested() -> Iterator[None]:
    """Let no channel rest that another test has tired."""
    cache.clear()
    yield
    cache.clear()
