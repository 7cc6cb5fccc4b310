"""Named SQL: the text lives in `<app>/sql/<verb_noun>.sql`, whose head says what it locks."""

from collections.abc import Mapping
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
