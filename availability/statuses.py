"""Statuses: what is shown of a venue, by whom it was set, and since when it has room.

Whatever changes the status that is shown goes through `_show`, or for all venues at once through
`infer_statuses.sql`, which says the same.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction

from audit import events, locks, sql
from audit.errors import NotFound, check_version
from audit.events import Actor
from availability import badges, signals
from availability.models import Signal, VenueAvailability

Status = VenueAvailability.Status

#: Whoever waits has a chance again after one of these changes.
BETTER = frozenset(
    {
        (Status.FULLY_BOOKED, Status.LIMITED_AVAILABILITY),
        (Status.FULLY_BOOKED, Status.ACCEPTING_EVENTS),
        (Status.LIMITED_AVAILABILITY, Status.ACCEPTING_EVENTS),
        (Status.NOT_SET, Status.ACCEPTING_EVENTS),
        (Status.SEASONAL, Status.ACCEPTING_EVENTS),
    }
)
SIGNALS: dict[str, Signal.Type] = {
    Status.ACCEPTING_EVENTS: Signal.Type.MANUAL_AVAILABLE,
    Status.LIMITED_AVAILABILITY: Signal.Type.MANUAL_AVAILABLE,
    Status.SEASONAL: Signal.Type.MANUAL_AVAILABLE,
    Status.FULLY_BOOKED: Signal.Type.MANUAL_UNAVAILABLE,
}
#: What one may choose, with the words for it.
BY_HAND = [(str(status), status.label) for status in Status if status in SIGNALS]


def get(*, facility_id: UUID) -> VenueAvailability:
    """:raises NotFound: if there is no such venue."""
    row = VenueAvailability.objects.filter(pk=facility_id).first()
    if row is None:
        raise NotFound("venue", facility_id)
    return row


@transaction.atomic
def set_by_hand(
    *, facility_id: UUID, status: str, actor: Actor, now: datetime, version: int | None = None
) -> VenueAvailability:
    """Show a status whatever the signals say, until that is cleared. Locks venue.

    Who accepts events has room, also if that was shown before.

    :raises NotFound: if there is no such venue.
    :raises Stale: if the version is not the wanted one.
    :raises ValidationError: naming `availability_status`, if it cannot be set by hand.
    """
    if status not in SIGNALS:
        raise ValidationError({"availability_status": "Choose a status that says something."})
    row = _lock(facility_id=facility_id, version=version)
    was = row.status
    vacant = status == Status.ACCEPTING_EVENTS and row.vacant_since is None
    if row.manual_override_at is not None and was == status and not vacant:
        return row
    _show(row=row, to=status, now=now, by_hand=True,
          kind="venue.availability_manual_set", actor=actor)  # fmt: skip
    signals.record(
        signals=[
            Signal(
                tenant_id=row.tenant_id, facility_id=row.pk, type=SIGNALS[status], recorded_at=now
            )
        ]
    )
    return row


@transaction.atomic
def clear_override(
    *, facility_id: UUID, actor: Actor, now: datetime, version: int | None = None
) -> VenueAvailability:
    """Show what the signals say again; nothing happens where nothing was set. Locks venue.

    :raises NotFound, Stale: as `set_by_hand`.
    """
    row = _lock(facility_id=facility_id, version=version)
    if row.manual_override_at is None:
        return row
    _show(row=row, to=row.inferred_status or Status.NOT_SET, now=now, by_hand=False,
          kind="venue.override_cleared", actor=actor)  # fmt: skip
    return row


@transaction.atomic
def clear_vacancy(*, facility_id: UUID) -> None:
    """Note that the room there was is taken; what is shown stays. Locks venue.

    :raises NotFound: if there is no such venue.
    """
    row = _lock(facility_id=facility_id)
    if row.vacant_since is not None:
        row.vacant_since = None
        row.save(update_fields=["vacant_since"])


@dataclass(frozen=True, slots=True)
class Inferred:
    """What a run of inference did: how many venues it looked at, changed, and made better."""

    venues: int = 0
    changed: int = 0
    improved: int = 0


@transaction.atomic
def infer(*, now: datetime) -> Inferred:
    """Say what the answers of the last 90 days make of each venue that had any. Locks venue.

    One run at a time: another that comes meanwhile does nothing.
    """
    if not locks.try_lock(name=locks.INFER):
        return Inferred()
    answered = sql.run(
        app="availability", name="count_answers",
        params={"now": now, "since": now - signals.PERIOD},
    )  # fmt: skip
    [(venues, changed, improved)] = sql.run(
        app="availability", name="infer_statuses",
        params={
            "now": now,
            "venues": sql.array(values=(venue for venue, _ in answered)),
            "found": sql.array(values=(found for _, found in answered)),
        },
    )  # fmt: skip
    badges.drop(facility_ids=changed)
    events.announce(kind="venue.availability_improved", ids=improved)
    return Inferred(venues=venues, changed=len(changed), improved=len(improved))


def _show(
    *, row: VenueAvailability, to: str, now: datetime, by_hand: bool, kind: str, actor: Actor
) -> None:
    """Write a locked row with the status that it shows from now on, and what follows from it."""
    was, vacant_since = row.status, row.vacant_since
    asked_for = by_hand and to == Status.ACCEPTING_EVENTS and vacant_since is None
    improved = asked_for or (was, to) in BETTER
    if improved:
        vacant_since = vacant_since or now
    elif was != to:
        vacant_since = None
    VenueAvailability.objects.filter(pk=row.pk).update(
        status=to, manual_override_at=now if by_hand else None, vacant_since=vacant_since
    )
    row.refresh_from_db()
    told: dict[str, Any] = {
        "tenant_id": row.tenant_id,
        "subject_type": "venue",
        "subject_id": row.pk,
        "facility_id": row.pk,
        "actor": actor,
        "at": now,
        "previous_status": was,
        "new_status": to,
    }
    events.record(kind=kind, **told)
    if improved:
        events.record(kind="venue.availability_improved", **told)
    if was != to:
        badges.drop(facility_ids=[row.pk])


def _lock(*, facility_id: UUID, version: int | None = None) -> VenueAvailability:
    found = VenueAvailability.objects.select_for_update(no_key=True).filter(pk=facility_id)
    row = found.first()
    if row is None:
        raise NotFound("venue", facility_id)
    check_version(version=row.version, wanted=version)
    return row
