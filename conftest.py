"""Fixtures that make test databases cheap; the servers come from the plugin `config.testing`."""

import os
from collections.abc import Iterator

import pytest
from django.test import TransactionTestCase
from pytest_django import DjangoDbBlocker

from config import testing


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings_parallel_suffix: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[None]:
    """Copy databases from a migrated template, and empty them in a quicker way than Django's."""
    with django_db_blocker.unblock():
        testing.use_template()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            TransactionTestCase, "_fixture_teardown", lambda _case: testing.empty_tables()
        )
        yield


@pytest.fixture(scope="session")
def django_db_keepdb(request: pytest.FixtureRequest) -> bool:
    """Leave databases to go with their server, where that is the run's own."""
    return "BACKFILL_TEST_TEMPLATE" in os.environ or bool(request.config.getvalue("reuse_db"))
