"""The pytest plugin (`-p config.testing`) that gives a test run its own PostgreSQL and Valkey.

The process that starts the run starts the servers in a temporary folder; xdist's workers inherit
their addresses. Given addresses (DATABASE_URL, REDIS_URL) are used instead. A plugin and not a
conftest.py, because pytest-django reads the settings before any conftest; the fixtures that use it
are in the conftest.py at the top.
"""

import os
import re
import shutil
import signal
import tempfile
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import psycopg
import pytest
from django.core.management import call_command
from django.db import connection, transaction

from config import embedded
from config.embedded import programs

TEMPLATE = "backfill_template"

#: Where a file costs no disk, if there is room for a run: bytes needed.
MEMORY_FOLDER = Path("/dev/shm")
MEMORY_NEEDED = 2 << 30

#: Tables with rows that migrating makes, and that no test changes.
KEPT_TABLES = ("auth_permission", "django_content_type", "django_migrations")

#: Bytes from which on emptying a table at once takes less time than deleting its rows.
LARGE = 1 << 20


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Iterator[None]:
    """Set up the environment before pytest-django reads the settings from it."""
    check_paths(given=early_config.known_args_namespace.file_or_dir)
    os.environ.update({"BACKFILL_ENV": "test", "DEBUG": "0", "SECRET_KEY": "for-tests-only"})
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is None:
        start_servers()
    else:
        programs.die_with_parent(parent=os.getppid(), last=signal.SIGTERM)
        number = int(worker.removeprefix("gw")) + 1
        os.environ["REDIS_URL"] = own_database(url=os.environ["REDIS_URL"], number=number)
    return (yield)


def check_paths(*, given: Sequence[str]) -> None:
    """Name a file or folder that is not there at once; pytest-xdist would never name it.

    :raises pytest.UsageError: if there is one.
    """
    for one in given:
        path = Path(one.partition("::")[0])
        if not path.exists():
            raise pytest.UsageError(f"There is no {path} in {Path.cwd()}.")


def start_servers() -> None:
    """Start the servers that the environment does not name; they end with this process."""
    roomy = MEMORY_FOLDER.is_dir() and shutil.disk_usage(MEMORY_FOLDER).free > MEMORY_NEEDED
    if not os.environ.get("DATABASE_URL"):
        os.environ["BACKFILL_TEST_TEMPLATE"] = TEMPLATE
    if not (os.environ.get("DATABASE_URL") and os.environ.get("REDIS_URL")):
        folder = tempfile.mkdtemp(prefix="backfill-", dir=MEMORY_FOLDER if roomy else None)
        embedded.ensure(folder=Path(folder), scratch=True)


def own_database(*, url: str, number: int) -> str:
    """Return a Valkey address with another database number, for one worker alone."""
    if url.startswith("unix:"):
        return re.sub(r"([?&]db=)\d+", rf"\g<1>{number}", url)
    return f"{re.sub(r'(?<=[^/:])/[0-9]*$', '', url)}/{number}"


def use_template() -> None:
    """Let the test database be a copy of one that was migrated once, by the worker that came first.

    Not on a server of one's own, where it would stay: there every worker migrates.
    """
    name = os.environ.get("BACKFILL_TEST_TEMPLATE")
    if name is None:
        return
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as session:
        session.execute("SELECT pg_advisory_lock(1)")  # until the session ends
        if not session.execute("SELECT FROM pg_database WHERE datname = %s", [name]).rowcount:
            session.execute(f"DROP DATABASE IF EXISTS {name}_part")
            session.execute(f"CREATE DATABASE {name}_part")
            migrate(database=f"{name}_part")
            session.execute(f"ALTER DATABASE {name}_part RENAME TO {name}")
    connection.settings_dict["TEST"].update({"TEMPLATE": name, "MIGRATE": False})


def migrate(*, database: str) -> None:
    """Run all migrations in another database of the same server."""
    settings = connection.settings_dict
    connection.close()
    given, settings["NAME"] = settings["NAME"], database
    try:
        call_command("migrate", verbosity=0)
    finally:
        connection.close()
        settings["NAME"] = given


def empty_tables() -> None:
    """Empty every table that holds rows, append-only ones too, after a test that commits.

    Triggers sleep meanwhile: those that keep rows from being deleted, and those of foreign keys, so
    that the order does not matter. Django's own flush truncates every table, which takes far longer
    and which the guards of the append-only ones refuse.

    :raises django.db.OperationalError: if a connection that the test left open holds a lock.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("SET LOCAL lock_timeout = '5s'")
        cursor.execute(find_filled_tables())
        statements = [statement for (statement,) in cursor.fetchall()]
        if statements:
            cursor.execute("; ".join(statements))


@cache
def find_filled_tables() -> str:
    """Return a query that gives, for each table that holds rows, the statement that empties it.

    Built once: the tables stay the same. A large table is truncated; for a small one, deleting its
    rows takes less time.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT format(
                       $$SELECT CASE WHEN pg_relation_size(%%1$L) < %%2$s THEN 'DELETE FROM %%1$s'
                                     ELSE 'TRUNCATE %%1$s CASCADE' END
                          WHERE EXISTS (SELECT FROM %%1$s)$$,
                       oid::regclass, %s::int
                   )
              FROM pg_class
             WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname <> ALL (%s)
            """,
            [LARGE, list(KEPT_TABLES)],
        )
        return " UNION ALL ".join(query for (query,) in cursor.fetchall())
