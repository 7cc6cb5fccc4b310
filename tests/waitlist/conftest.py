import pytest

from tests.waitlist import worlds
from tests.waitlist.worlds import World


@pytest.fixture
def clinic(db: None) -> World:
    return worlds.build()


@pytest.fixture
def salon(db: None) -> World:
    return worlds.build(kind="salon")


@pytest.fixture
def venue(db: None) -> World:
    return worlds.build(kind="venue")
