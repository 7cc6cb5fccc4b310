"""Scratch databases: a world is built once, and each run gets a copy of its own.

Their names are a process's own, so that several may run on one server. A process holds an advisory
lock for its world for as long as it lives; databases without that lock are left over from one that
was killed, and the next process drops them.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, LiteralString
from uuid import uuid4

import psycopg
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from psycopg import sql

from config.embedded import programs

PREFIX = "backfill_bench_"
COPY = "_copy"

#: Advisory locks are of one database, so all are taken in this one.
MEETING_POINT = "postgres"


@contextmanager
def world(*, build: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Make a migrated database and build a world in it; drop it at the end.

    Django's connection leads there meanwhile, and back to where it led before. The world is built
    in a process of its own, so that this one's memory is that of what is measured.

    :raises RuntimeError: if it cannot be built; what is wrong was written to stderr.
    """
    home = str(connection.settings_dict["NAME"])
    name = PREFIX + uuid4().hex[:12]
    with psycopg.connect(**_server(), autocommit=True) as session:
        _call(session, "SELECT pg_advisory_lock(hashtextextended(%s, 0))", name)
        _sweep(session)
        try:
            _ask(session, "CREATE DATABASE {}", name)
            _go(name)
            _apart(lambda: _build(build))
            yield
        finally:
            _go(home)
            _drop(session, name)


@contextmanager
def copy() -> Iterator[None]:
    """Copy the world in use, read all of it into memory, and drop the copy at the end."""
    name = str(connection.settings_dict["NAME"])
    with psycopg.connect(**_server(), autocommit=True) as session:
        connection.close()
        try:
            _ask(session, "CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY", name + COPY, name)
            _go(name + COPY)
            with connection.cursor() as cursor:
                for table in connection.introspection.table_names(cursor):
                    words = sql.SQL("SELECT sum(length(t::text)) FROM {} AS t")
                    cursor.execute(words.format(sql.Identifier(table)))
            yield
        finally:
            _go(name)
            _drop(session, name + COPY)


def settle() -> None:
    """Leave the tables of the database in use as autovacuum would."""
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


def drop_triggers() -> None:
    """Disable the triggers of the database in use, but for those that keep foreign keys."""
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            words = sql.SQL("ALTER TABLE {} DISABLE TRIGGER USER")
            cursor.execute(words.format(sql.Identifier(table)))


def _build(build: Callable[[], object]) -> None:
    call_command("migrate", verbosity=0)
    build()
    settle()
    connection.close()


def _apart(work: Callable[[], None]) -> None:
    """Do it in a process of its own.

    :raises RuntimeError: if it fails.
    """
    connection.close()  # what is forked would be used by both

    def child(parent: int) -> None:
        programs.die_with_parent(parent=parent, last=signal.SIGKILL)
        work()

    process = multiprocessing.get_context("fork").Process(target=child, args=[os.getpid()])
    process.start()
    try:
        process.join()
    finally:
        process.kill()
        process.join()
    if process.exitcode:
        raise RuntimeError("The world could not be built.")


def _sweep(session: psycopg.Connection) -> None:
    """Drop the databases of processes that are gone."""
    found = session.execute(
        "SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [PREFIX]
    )
    for (name,) in found.fetchall():
        world = name.removesuffix(COPY)
        if _call(session, "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", world):
            _drop(session, name)
            _call(session, "SELECT pg_advisory_unlock(hashtextextended(%s, 0))", world)


def _go(name: str) -> None:
    connection.close()
    connection.settings_dict["NAME"] = name


def _drop(session: psycopg.Connection, name: str) -> None:
    # Not WITH (FORCE), which is denied where an autovacuum is at work; without, that gives way.
    session.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = %s AND usename = current_user",
        [name],
    )
    _ask(session, "DROP DATABASE IF EXISTS {}", name)


def _ask(session: psycopg.Connection, words: LiteralString, *names: str) -> None:
    session.execute(sql.SQL(words).format(*map(sql.Identifier, names)))


def _call(session: psycopg.Connection, words: LiteralString, name: str) -> object:
    row = session.execute(words, [name]).fetchone()
    assert row is not None
    return row[0]


def _server() -> dict[str, Any]:
    """Return how the server is reached."""
    given = settings.DATABASES["default"]
    parameters = {
        "host": given["HOST"], "port": given["PORT"], "user": given["USER"],
        "password": given["PASSWORD"], "dbname": MEETING_POINT,
    }  # fmt: skip
    return {name: value for name, value in parameters.items() if value}
