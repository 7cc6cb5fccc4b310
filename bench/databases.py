"""Scratch databases: a world is built once, and each run gets a copy of its own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from psycopg import sql

WORLD = "backfill_bench_world"
COPY = "backfill_bench_copy"


@contextmanager
def world(*, build: Callable[[], None]) -> Iterator[None]:
    """Make a migrated database and build a world in it; drop it at the end.

    Django's connection leads there meanwhile, and back to where it led before.
    """
    home = str(connection.settings_dict["NAME"])
    _forget(COPY, WORLD)
    _ask(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(WORLD)))
    try:
        _go(WORLD)
        call_command("migrate", verbosity=0)
        build()
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
        yield
    finally:
        _go(home)
        _forget(COPY, WORLD)


@contextmanager
def copy() -> Iterator[None]:
    """Copy the world, read all of it into memory, and drop the copy at the end."""
    _go(WORLD)
    connection.close()
    _forget(COPY)
    _ask(
        sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY").format(
            sql.Identifier(COPY), sql.Identifier(WORLD)
        )
    )
    try:
        _go(COPY)
        with connection.cursor() as cursor:
            for table in connection.introspection.table_names(cursor):
                words = sql.SQL("SELECT sum(length(t::text)) FROM {} AS t")
                cursor.execute(words.format(sql.Identifier(table)))
        yield
    finally:
        _go(WORLD)
        _forget(COPY)


def drop_triggers() -> None:
    """Disable the triggers of the database in use, but for those that keep foreign keys."""
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            words = sql.SQL("ALTER TABLE {} DISABLE TRIGGER USER")
            cursor.execute(words.format(sql.Identifier(table)))


def _go(name: str) -> None:
    connection.close()
    connection.settings_dict["NAME"] = name


def _forget(*names: str) -> None:
    connection.close()
    for name in names:
        _ask(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))


def _ask(statement: sql.Composed) -> None:
    given = settings.DATABASES["default"]
    parameters = {
        "host": given["HOST"], "port": given["PORT"], "user": given["USER"],
        "password": given["PASSWORD"], "dbname": "postgres",
    }  # fmt: skip
    with psycopg.connect(
        **{name: value for name, value in parameters.items() if value}, autocommit=True
    ) as session:
        session.execute(statement)
