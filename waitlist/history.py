"""What happened to an entry: its events, and for staff the notes among them."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from audit.models import Event
from waitlist.models import EntryNote, WaitlistEntry


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of a history; a note has the kind `note`."""

    id: UUID
    at: datetime
    kind: str
    actor_type: str
    actor_id: UUID | None
    previous_status: str | None = None
    new_status: str | None = None
    hold_id: UUID | None = None
    slot_id: UUID | None = None
    text: str | None = None
    data: dict[str, Any] = field(default_factory=dict)


def read(*, entry: WaitlistEntry, inside: bool) -> list[Fact]:
    """Return an entry's history, oldest first; `inside` adds the notes and who it was."""
    events = Event.objects.filter(entry_id=entry.pk, tenant_id=entry.tenant_id)
    facts = [
        Fact(
            id=event.pk,
            at=event.at,
            kind=event.kind,
            actor_type=event.actor_type,
            actor_id=event.actor_id if inside else None,
            previous_status=event.previous_status,
            new_status=event.new_status,
            hold_id=event.hold_id,
            slot_id=event.slot_id,
            data=event.data,
        )
        for event in events.order_by("id")
    ]
    if inside:
        facts += [
            Fact(note.pk, note.at, "note", "user", note.author_id, text=note.text)
            for note in EntryNote.objects.filter(entry=entry)
        ]
    return sorted(facts, key=lambda fact: (fact.at, fact.id))
