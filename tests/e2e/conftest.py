"""What servers that run in earnest are given."""

import os
from urllib.parse import urlsplit

import pytest
from django.db import connection


@pytest.fixture
def environment(transactional_db: None) -> dict[str, str]:
    """The environment of processes that work on the test's own database."""
    given = urlsplit(os.environ["DATABASE_URL"])
    name = connection.settings_dict["NAME"]
    return {
        **os.environ,
        "DATABASE_URL": given._replace(path=f"/{name}").geturl(),
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "LOG_LEVEL": "ERROR",
    }
