"""Facilities: places with a time zone, made with their queue and open or not."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction

from accounts import rows
from audit.events import Actor
from scheduling import generation, zones
from scheduling.models import Facility

# The policy was made by the kind, and the slots by the zone.
FIXED = frozenset({"kind", "timezone"})


@transaction.atomic
def add(*, tenant_id: UUID, values: Mapping[str, Any]) -> Facility:
    """Make a facility.

    :raises ValidationError: naming each field with a bad value.
    """
    zones.validate(timezone=values["timezone"])
    return rows.add(row=Facility(tenant_id=tenant_id, **values))


@transaction.atomic
def change(
    *, facility_id: UUID, changes: Mapping[str, Any], actor: Actor, now: datetime,
    version: int | None = None,
) -> Facility:  # fmt: skip
    """Change a facility; coming slots of one that closes retire, unless they are claimed.

    Locks provider, slot.

    :raises NotFound: if it is not there.
    :raises Stale: if its version is not the wanted one.
    :raises ValidationError: naming each field with a bad value, or that stays as it is.
    """
    mine = Facility.objects.filter(pk=facility_id)
    facility = rows.find(rows=mine, id=facility_id, field="facility")
    if fixed := [name for name in FIXED if changes.get(name, getattr(facility, name)) !=
                 getattr(facility, name)]:  # fmt: skip
        raise ValidationError(dict.fromkeys(fixed, "A facility keeps this."))
    if "is_active" not in changes:
        return rows.edit(rows=mine, id=facility_id, changes=changes, version=version)
    generation.lock(facility=facility, provider_id=None)
    facility = rows.edit(rows=mine, id=facility_id, changes=changes, version=version)
    generation.sync(facility=facility, provider_id=None, actor=actor, now=now)
    return facility
