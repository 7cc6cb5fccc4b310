"""Conversions: the offer of a whole venue, turned into a draft of a new RFP to it alone."""

from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction

from audit import events
from audit.errors import Refused
from audit.events import Actor
from availability import rfps, statuses
from availability.models import Rfp
from scheduling import slots
from waitlist import holds, queues
from waitlist.models import Hold, Queue, WaitlistEntry

#: How long the venue has to answer the new RFP.
TIME_TO_RESPOND = timedelta(days=7)


class HoldLapsed(holds.HoldClosed):
    """The time to answer the offer is over."""

    code = "hold_lapsed"


class NotOffered(Refused):
    """The entry is offered nothing."""

    code = "not_offered"


@transaction.atomic
def convert(*, hold_id: UUID, actor: Actor, now: datetime) -> Rfp:
    """Draft a new RFP from the one that the entry waits with; the venue's room is taken by it.

    Locks queue, organizer, hold, entry, venue.

    :raises NotFound: if there is no such hold.
    :raises HoldLapsed: if its time is over.
    :raises HoldClosed: if it was answered or withdrawn, or is of a slot.
    :raises Inactive: if the venue is not active any longer.
    :raises TooManyRfps: if the organizer has as many RFPs as may be.
    """
    hold = holds.get(hold_id=hold_id)
    if hold.slot_id is not None:
        raise holds.HoldClosed(f"Hold {hold_id} has a slot to book.", state=hold.status)
    queue = queues.lock(facility_id=hold.facility_id)
    rfps.lock_organizer(organizer_id=hold.tenant_id)
    try:
        holds.lock_live(hold_id=hold_id, now=now)
    except holds.HoldClosed as closed:
        if closed.more["state"] == Hold.Status.EXPIRED:
            raise HoldLapsed(str(closed), state=Hold.Status.EXPIRED) from None
        raise
    if not queue.facility.is_active:
        raise slots.Inactive(f"Venue {hold.facility_id} is not active.", field="facility")
    found = WaitlistEntry.objects.select_related("rfp_venue__rfp")
    entry = found.select_for_update(no_key=True, of=("self",)).get(pk=hold.entry_id)
    assert entry.rfp_venue is not None
    rfp = rfps.copy_as_draft(
        source_rfp=entry.rfp_venue.rfp,
        facility=queue.facility,
        deadline=now + TIME_TO_RESPOND,
        actor=actor,
        now=now,
    )
    Hold.objects.filter(pk=hold.pk, status=Hold.Status.OFFERED).update(
        status=Hold.Status.ACCEPTED, closed_at=now
    )
    holds.convert(entry=entry, to=rfp, actor=actor, now=now, hold_id=hold.pk)
    statuses.clear_vacancy(facility_id=hold.facility_id)
    _tell_owner(entry=entry, queue=queue, now=now)
    return rfp


def _tell_owner(*, entry: WaitlistEntry, queue: Queue, now: datetime) -> None:
    """Record for the venue's tenant which organizer took its room, and nothing of their entry.

    From now on the owner may know of them, though not of the draft yet, nor who of them it was.
    """
    events.record(
        kind="venue.hold_converted",
        tenant_id=queue.tenant_id,
        subject_type="venue",
        subject_id=queue.facility_id,
        actor=events.SYSTEM,
        at=now,
        facility_id=queue.facility_id,
        data={"organization_id": str(entry.organizer_id)},
    )


def last_offer(*, entry_id: UUID) -> UUID:
    """Return the last hold of an entry, whatever became of it.

    :raises NotOffered: if it never had one, or the one it had was taken back.
    """
    hold = Hold.objects.filter(entry=entry_id).order_by("-created_at").first()
    if hold is None or hold.status == Hold.Status.WITHDRAWN:
        raise NotOffered(f"Entry {entry_id} is offered nothing.", field="entry")
    return hold.pk
