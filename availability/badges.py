"""Badges: a venue's status as everybody may see it, kept in Valkey for five minutes.

A change leaves a mark in place of the badge for a moment: who read the row before the change then
cannot put the old badge back.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from uuid import UUID

import structlog
from django.core.cache import cache
from django.db import transaction
from redis.exceptions import RedisError

from audit.errors import NotFound
from availability.models import VenueAvailability

log = structlog.get_logger(__name__)

Status = VenueAvailability.Status

#: Colour and label of each status.
LOOKS: dict[str, tuple[str, str]] = {
    Status.ACCEPTING_EVENTS: ("green", "Accepting Events"),
    Status.LIMITED_AVAILABILITY: ("yellow", "Limited Availability"),
    Status.FULLY_BOOKED: ("red", "Fully Booked"),
    Status.SEASONAL: ("blue", "Seasonal Venue"),
    Status.NOT_SET: ("gray", "Status Unknown"),
}
COLORS = [(color, color) for color, _ in LOOKS.values()]
KEPT = 300  # seconds
MARKED = 10  # seconds, longer than a reader takes between reading and writing
CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Badge:
    """What everybody may know of a venue."""

    venue_id: UUID
    availability_status: str

    @property
    def badge_color(self) -> str:
        """The colour by which it is shown."""
        return LOOKS[self.availability_status][0]

    @property
    def badge_label(self) -> str:
        """The words by which it is shown."""
        return LOOKS[self.availability_status][1]


def find(*, facility_id: UUID) -> Badge | None:
    """Return the badge of a venue if it is kept: one call of Valkey, and none if that is away."""
    try:
        status = cache.get(_key(facility_id))
    except RedisError as error:
        log.warning("badges are not kept", error=type(error).__name__)
        return None
    return Badge(facility_id, status) if status in LOOKS else None


def read(*, facility_id: UUID) -> Badge:
    """Return the badge of a venue from its row, and keep it.

    :raises NotFound: if there is no such venue.
    """
    found = VenueAvailability.objects.filter(pk=facility_id).values_list("status", flat=True)
    status = found.first()
    if status is None:
        raise NotFound("venue", facility_id)
    try:
        cache.add(_key(facility_id), str(status), timeout=KEPT)
    except RedisError as error:
        log.warning("badges are not kept", error=type(error).__name__)
    return Badge(facility_id, status)


def drop(*, facility_ids: Collection[UUID]) -> None:
    """Forget the badges of venues on commit; a Valkey that is away costs five minutes at most."""
    if facility_ids:
        transaction.on_commit(partial(_mark, keys=[_key(one) for one in facility_ids]))


def _mark(*, keys: Sequence[str]) -> None:
    try:
        cache.set_many(dict.fromkeys(keys, CHANGED), timeout=MARKED)
    except RedisError as error:
        log.warning("badges are not dropped", error=type(error).__name__)


def _key(facility_id: UUID) -> str:
    return f"availability.badge:{facility_id}"
