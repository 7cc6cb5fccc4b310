"""What the database refuses, and by which of its guards."""

from collections.abc import Mapping
from typing import Any

from django.db import DatabaseError, connection, transaction

Params = Mapping[str, Any]


def refusal(statement: str, params: Params | None = None) -> str | None:
    """Try a statement and take it back; return what refused it, None if nothing did.

    That is the constraint's name, else the first line of the message.
    """
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement, params)
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            transaction.set_rollback(True)
    except DatabaseError as error:
        diagnostics = getattr(error.__cause__, "diag", None)
        name = getattr(diagnostics, "constraint_name", None)
        return name or str(error).splitlines()[0]
    return None


def unguarded(statement: str, params: Params | None = None) -> None:
    """Run a statement while triggers, foreign keys among them, sleep."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(statement, params)
        cursor.execute("SET LOCAL session_replication_role = origin")
