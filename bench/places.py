"""Places: the facilities of a replay, each a mirror of its rows."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID


@dataclass(slots=True)
class Opening:
    """A slot that nobody has: since when, and since when somebody waits whom it was offered to."""

    opened_at: datetime
    wanted_since: datetime | None = None


@dataclass(slots=True)
class Waiter:
    """An active entry."""

    person: int
    joined_at: datetime
    offers: int = 0


@dataclass(slots=True)
class Place:
    """A facility, and what the player knows of it: a mirror of the rows."""

    name: str
    facility_id: UUID
    open: dict[UUID, Opening] = field(default_factory=dict)
    held: dict[UUID, Opening] = field(default_factory=dict)
    booked: dict[UUID, UUID] = field(default_factory=dict)  # slot: appointment
    blocks: dict[UUID, UUID] = field(default_factory=dict)  # slot: block
    waiting: dict[UUID, Waiter] = field(default_factory=dict)
    offered: dict[UUID, Waiter] = field(default_factory=dict)
    seated: dict[UUID, UUID] = field(default_factory=dict)  # entry: slot
    stood_since: datetime | None = None

    def claim(self, *, slot: UUID) -> None:
        """Learn that a slot is held or booked."""

    def free(self, *, slot: UUID, now: datetime) -> None:
        """Learn that a slot is neither any longer; what else opens by that, does so now."""
