"""The invariants of domain.md, asked of the rows."""

import json
from dataclasses import dataclass
from uuid import UUID

from django.db import connection

from audit import events, sql


@dataclass(frozen=True, slots=True)
class Breach:
    """A row that breaks an invariant; `number` is the invariant's in domain.md."""

    number: int
    what: str
    id: UUID


# What keeps events and signals as they were written. A trigger that is off promises nothing.
APPEND_ONLY = ("audit_event", "audit_eventseq", "availability_signal")


def breaches() -> list[Breach]:
    """Find all rows that break an invariant."""
    kinds = {kind: sorted(keys) for kind, keys in events.KINDS.items()}
    rows = sql.run(app="waitlist", name="check_invariants", params={"kinds": json.dumps(kinds)})
    return [Breach(*row) for row in rows]


def unguarded() -> list[str]:
    """Name the append-only tables whose triggers are missing or switched off."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tgrelid::regclass::text FROM pg_trigger"
            " WHERE tgrelid = ANY(%s::regclass[]) AND tgenabled IN ('O', 'A')"
            " AND (tgname LIKE 'pgtrigger_append_only%%' OR tgname LIKE 'pgtrigger_no_truncate%%')"
            " GROUP BY tgrelid HAVING count(*) = 2",
            [list(APPEND_ONLY)],
        )
        guarded = {name for (name,) in cursor.fetchall()}
    return sorted(set(APPEND_ONLY) - guarded)
