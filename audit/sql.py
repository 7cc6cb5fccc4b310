"""Named SQL: the text lives in `<app>/sql/<verb_noun>.sql`, whose head says what it locks."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from django.apps import apps
from django.db import connection

from audit import events


@cache
def text(*, app: str, name: str) -> str:
    """Read a statement."""
    return (Path(apps.get_app_config(app).path) / "sql" / f"{name}.sql").read_text()


def run(*, app: str, name: str, params: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Run a statement and return its rows; one that writes events lets the relay hurry."""
    statement = text(app=app, name=name)
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        rows = cursor.fetchall() if cursor.description else []
    if rows and "INSERT INTO audit_event (" in statement:
        events.hurry()
    return rows


def stream(*, app: str, name: str, params: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Run a statement and give its rows a few thousand at a time; in a transaction."""
    connection.ensure_connection()
    with connection.chunked_cursor() as cursor:
        cursor.execute(text(app=app, name=name), params)
        while rows := cursor.fetchmany(5000):
            yield from rows


def array(*, values: Iterable[object]) -> str:
    """Write ids, numbers or times as PostgreSQL writes an array: one text, and not each quoted."""
    return "{" + ",".join(map(str, values)) + "}"
