"""The body by which systems are told an event: ids, codes and times, and nothing about anybody.

Webhooks and the stream send the same one. A stream that only its owner reads may add how to reach
the patient, and what they want to be told.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from audit import sql
from waitlist import ranking

IDS = (
    "tenant_id", "waitlist_entry_id", "hold_id", "slot_id", "facility_id", "provider_id",
    "patient_id", "venue_id", "organization_id", "source_rfp_id",
)  # fmt: skip

Body = Mapping[str, Any]


def read(*, event_ids: Sequence[UUID], contact: bool = False) -> list[Body]:
    """Return the bodies of events that were given their places, in that order.

    The queue is as it is now; what an event itself tells of it counts instead. `contact` adds
    `contact` and `preferences`, which name the patient: for streams of one's own alone.
    """
    rows = sql.run(
        app="notifications",
        name="read_events",
        params={"events": list(event_ids), "contact": contact},
    )
    entries = [row[4] for row in rows if row[4] is not None]
    positions = ranking.positions(entry_ids=set(entries)) if entries else {}
    return [_body(row, positions=positions, contact=contact) for row in rows]


def sample(*, event_type: str, tenant_id: UUID, now: datetime) -> Body:
    """Return a body of the same shape about nothing."""
    return {
        "event_type": event_type,
        "seq": 0,
        **dict.fromkeys(IDS),
        "tenant_id": str(tenant_id),
        "previous_status": None,
        "new_status": None,
        "metadata": {"queue_position": None, "queue_depth": None, "hold_expires_at": None},
        "timestamp": _time(now),
    }


def _body(row: tuple[Any, ...], *, positions: Mapping[UUID, int], contact: bool) -> Body:
    kind, seq, at, *rest = row
    ids, rest = rest[: len(IDS)], rest[len(IDS) :]
    previous_status, new_status, position, depth, expires_at, *about = rest
    body = {
        "event_type": kind,
        "seq": seq,
        **{name: str(id) if id else None for name, id in zip(IDS, ids, strict=True)},
        "previous_status": previous_status,
        "new_status": new_status,
        "metadata": {
            "queue_position": position if position is not None else positions.get(ids[1]),
            "queue_depth": depth,
            "hold_expires_at": _time(expires_at),
        },
        "timestamp": _time(at),
    }
    if contact:
        named = zip(("contact", "preferences"), about, strict=True)
        body |= {name: text and json.loads(text) for name, text in named}
    return body


def _time(at: datetime | None) -> str | None:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z") if at else None
