"""RFPs: drafted, sent to venues, answered by them, and awarded to one or closed.

A draft can be edited; what was sent stays as it was. Every step of a venue's copy locks the RFP
first, so that an answer and an award do not cross.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction

from accounts import rows
from accounts.models import Tenant
from audit import events
from audit.errors import NotFound, Refused
from audit.events import Actor
from availability.models import CONTENTS, Rfp, RfpVenue
from scheduling.models import Facility

#: How many RFPs of an organizer may be drafts or sent at once.
MOST_ACTIVE = 5
MOST_VENUES = 100


class TooManyRfps(Refused):
    """The organizer has five RFPs that are drafts or sent."""

    code = "too_many_rfps"


@transaction.atomic
def add(
    *,
    organizer_id: UUID,
    values: Mapping[str, Any],
    venue_ids: Collection[UUID],
    actor: Actor,
    now: datetime,
) -> Rfp:
    """Draft an RFP of an organizer for venues; they do not see it yet. Locks organizer.

    `values` are columns.

    :raises NotFound: naming `organizer` or `venues`, if one is not there.
    :raises TooManyRfps: if they have five already.
    :raises ValidationError: naming each field with a bad value.
    """
    lock_organizer(organizer_id=organizer_id)
    active = Rfp.objects.filter(tenant=organizer_id, status__in=Rfp.ACTIVE)
    if active.count() >= MOST_ACTIVE:
        raise TooManyRfps(f"There are {MOST_ACTIVE} active RFPs already.")
    rfp = rows.add(row=Rfp(tenant_id=organizer_id, **values))
    _target(rfp=rfp, venue_ids=venue_ids)
    data = {"duplicated_from_id": str(rfp.duplicated_from_id) if rfp.duplicated_from_id else None}
    _record(kind="rfp.drafted", rfp=rfp, was=None, actor=actor, now=now, data=data)
    return rfp


def copy_as_draft(
    *, source_rfp: Rfp, facility: Facility, deadline: datetime, actor: Actor, now: datetime
) -> Rfp:
    """Draft an RFP that asks one venue for what another RFP asked for. Locks organizer.

    :raises TooManyRfps: if the organizer has five already.
    """
    copied = [name for name in CONTENTS if name not in {"tenant_id", "duplicated_from_id"}]
    values = {name: getattr(source_rfp, name) for name in copied}
    values |= {"response_deadline": deadline, "duplicated_from_id": source_rfp.pk}
    return add(
        organizer_id=source_rfp.tenant_id, values=values, venue_ids=[facility.pk], actor=actor,
        now=now,
    )  # fmt: skip


def lock_organizer(*, organizer_id: UUID) -> Tenant:
    """Lock an organizer, whose RFPs and entries are counted under it.

    :raises NotFound: if there is no such organizer.
    """
    found = Tenant.objects.select_for_update(no_key=True)
    organizer = found.filter(pk=organizer_id, kind=Tenant.Kind.ORGANIZER).first()
    if organizer is None:
        raise NotFound("organizer", organizer_id)
    return organizer


def _target(*, rfp: Rfp, venue_ids: Collection[UUID]) -> None:
    """Let an RFP that is locked, or new, go to these venues."""
    wanted = set(venue_ids)
    if len(wanted) > MOST_VENUES:
        raise ValidationError({"venues": f"An RFP goes to {MOST_VENUES} venues at most."})
    known = set(venues().filter(pk__in=wanted).values_list("pk", flat=True))
    for missing in sorted(wanted - known):
        raise NotFound("venue", missing)
    there = set(rfp.targets.values_list("facility", flat=True))
    rfp.targets.exclude(facility__in=wanted).delete()
    RfpVenue.objects.bulk_create(
        RfpVenue(tenant_id=rfp.tenant_id, rfp=rfp, facility_id=one)
        for one in sorted(wanted - there)
    )


def venues() -> Any:
    """Return the venues that one may ask."""
    return Facility.objects.filter(kind=Facility.Kind.VENUE, is_active=True)


def _record(
    *, kind: str, rfp: Rfp, was: str | None, actor: Actor, now: datetime,
    data: Mapping[str, Any] | None = None,
) -> None:  # fmt: skip
    events.record(
        kind=kind,
        tenant_id=rfp.tenant_id,
        subject_type="rfp",
        subject_id=rfp.pk,
        actor=actor,
        at=now,
        previous_status=was,
        new_status=rfp.status,
        data=dict(data or {}),
    )
