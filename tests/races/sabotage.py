"""Taking out what keeps a race right, one layer after another, to show that it is what does."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any
from unittest import mock
from uuid import UUID

from django.db import connection
from django.db.models import Model, QuerySet

from audit import locks, sql
from config import testing
from scheduling import slots
from scheduling.models import Provider, Slot

#: Statements that do nothing but lock rows of a table.
LOCKING: dict[str, type[Model]] = {
    "lock_providers": Provider, "lock_slots": Slot, "lock_free_slots": Slot,
}  # fmt: skip

Layer = Callable[[], AbstractContextManager[None]]


@contextmanager
def taken_out(layers: Sequence[Layer]) -> Iterator[None]:
    """Take out several layers at once."""
    with ExitStack() as stack:
        for layer in layers:
            stack.enter_context(layer())
        yield


@contextmanager
def no_row_locks(*models: type[Model]) -> Iterator[None]:
    """Let `select_for_update` of these models, or of all, read without locking.

    So do then the statements that lock rows of theirs and nothing else.
    """
    lock, text = QuerySet.select_for_update, sql.text

    def read(rows: QuerySet[Any], **options: Any) -> QuerySet[Any]:
        return lock(rows, **options) if models and rows.model not in models else rows.all()

    def shortened(*, app: str, name: str) -> str:
        words = text(app=app, name=name)
        if name not in LOCKING or (models and LOCKING[name] not in models):
            return words
        assert "FOR NO KEY UPDATE" in words
        return re.sub("FOR NO KEY UPDATE( SKIP LOCKED)?", "", words)

    with (
        mock.patch.object(QuerySet, "select_for_update", read),
        mock.patch.object(sql, "text", shortened),
    ):
        yield


@contextmanager
def statement(name: str, *, without: str, put: str = "") -> Iterator[None]:
    """Take what a pattern finds out of a named statement.

    :raises AssertionError: if it is not in there.
    """
    text = sql.text

    def shortened(*, app: str, name: str) -> str:
        return changed if name == wanted else text(app=app, name=name)

    wanted = name
    app = {"generate_slots": "scheduling", "infer_statuses": "availability"}.get(name, "waitlist")
    changed, found = re.subn(without, put, text(app=app, name=name))
    assert found, f"{name} has no {without}"
    with mock.patch.object(sql, "text", shortened):
        yield


@contextmanager
def no_advisory_locks() -> Iterator[None]:
    """Let everybody have every advisory lock."""

    def give(*, name: str, of: UUID | None = None) -> bool:
        return True

    with mock.patch.object(locks, "try_lock", give), mock.patch.object(locks, "wait_lock", give):
        yield


@contextmanager
def no_guard() -> Iterator[None]:
    """Let a slot move from whatever status it has by now."""

    def move(*, slot: Slot, to: Slot.Status, **columns: Any) -> None:
        found = Slot.objects.filter(pk=slot.pk)
        found.update(status=to, **{"reserved_until": None, "reserved_by": None, **columns})

    with mock.patch.object(slots, "move", move):
        yield


@contextmanager
def no_constraints(*names: str) -> Iterator[None]:
    """Drop constraints, unique indexes among them; empty the tables before they come back."""
    makers = [_drop(name=name) for name in names]
    try:
        yield
    finally:
        testing.empty_tables()
        with connection.cursor() as cursor:
            for maker in makers:
                cursor.execute(maker)


def _drop(*, name: str) -> str:
    """Drop a constraint or index and return the statement that makes it again."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT conrelid::regclass::text, pg_get_constraintdef(oid)"
            " FROM pg_constraint WHERE conname = %s",
            [name],
        )
        if found := cursor.fetchone():
            table, definition = found
            cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
            return f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}"
        cursor.execute("SELECT pg_get_indexdef(%s::regclass)", [name])
        definition = cursor.fetchone()[0]
        cursor.execute(f"DROP INDEX {name}")
        return str(definition)
