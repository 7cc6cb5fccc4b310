"""RFPs: drafted, sent to venues, answered by them, and awarded to one or closed.

A draft can be edited; what was sent stays as it was. Each step locks the RFP first, that of a
venue's copy too, so that an answer and an award do not cross. What it says of a venue is recorded
as signals.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction

from accounts import rows
from accounts.models import Tenant
from audit import events, locks, sql
from audit.errors import NotFound, Refused, check_version
from audit.events import Actor
from audit.models import Event
from availability import signals
from availability.models import CONTENTS, Rfp, RfpVenue, Signal
from scheduling.models import Facility

#: How many RFPs of an organizer may be drafts or sent at once.
MOST_ACTIVE = 5
MOST_VENUES = 100


class TooManyRfps(Refused):
    """The organizer has five RFPs that are drafts or sent."""

    code = "too_many_rfps"


class NotDraft(Refused):
    """The RFP was sent or closed, so that it stays as it is."""

    code = "rfp_not_draft"


class NotSent(Refused):
    """The RFP is a draft, was awarded or was closed."""

    code = "rfp_not_sent"


class Ended(Refused):
    """The RFP was awarded or closed."""

    code = "rfp_ended"


class AlreadyAnswered(Refused):
    """The venue has answered this RFP."""

    code = "already_answered"


class NotEligible(Refused):
    """The venue has not answered, has no room, or was shortlisted already."""

    code = "venue_not_eligible"


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

    :raises NotFound: naming `organizer` or `venue`, if one is not there.
    :raises TooManyRfps: if they have five already.
    :raises ValidationError: naming each field with a bad value.
    """
    lock_organizer(organizer_id=organizer_id)
    active = Rfp.objects.filter(tenant=organizer_id, status__in=Rfp.ACTIVE)
    if active.count() >= MOST_ACTIVE:
        raise TooManyRfps(f"There are {MOST_ACTIVE} active RFPs already.")
    rfp = rows.add(row=Rfp(tenant_id=organizer_id, **values))
    _target(rfp=rfp, venue_ids=venue_ids)
    source = str(rfp.duplicated_from_id) if rfp.duplicated_from_id else None
    _record(kind="rfp.drafted", moved=[(rfp, None)], actor=actor, now=now,
            data={"duplicated_from_id": source})  # fmt: skip
    return rfp


def copy_as_draft(
    *, source_rfp: Rfp, facility: Facility, deadline: datetime, actor: Actor, now: datetime
) -> Rfp:
    """Draft an RFP that asks one venue for what another RFP asked for. Locks organizer.

    :raises NotFound: if the venue is no longer open.
    :raises TooManyRfps: if the organizer has five already.
    """
    values = {name: getattr(source_rfp, name) for name in CONTENTS}
    values |= {"response_deadline": deadline, "duplicated_from_id": source_rfp.pk}
    return add(
        organizer_id=source_rfp.tenant_id, values=values, venue_ids=[facility.pk], actor=actor,
        now=now,
    )  # fmt: skip


@transaction.atomic
def edit(
    *,
    rfp_id: UUID,
    changes: Mapping[str, Any],
    venue_ids: Collection[UUID] | None = None,
    version: int | None = None,
) -> Rfp:
    """Change what a draft asks for, and whom, where `venue_ids` are given. Locks rfp.

    :raises NotFound: if it or a venue is not there.
    :raises Stale: if its version is not the wanted one.
    :raises NotDraft: if it is no draft.
    :raises ValidationError: naming each field with a bad value.
    """
    rfp = _lock(rfp_id=rfp_id, version=version)
    _check_draft(rfp=rfp)
    if venue_ids is not None and _target(rfp=rfp, venue_ids=venue_ids) and not changes:
        changes = {"title": rfp.title}  # its venues are a part of it: another version
    return rows.edit(rows=Rfp.objects.all(), id=rfp_id, changes=changes)


@transaction.atomic
def send(*, rfp_id: UUID, actor: Actor, now: datetime, version: int | None = None) -> Rfp:
    """Let the venues of a draft see it and answer. Locks rfp.

    :raises NotFound, Stale, NotDraft: as `edit`.
    :raises ValidationError: naming `venues` if there is none, `response_deadline` if it is over.
    """
    rfp = _lock(rfp_id=rfp_id, version=version)
    _check_draft(rfp=rfp)
    errors = {}
    if not rfp.targets.exists():
        errors["venues"] = "Choose venues to send it to."
    if rfp.response_deadline <= now:
        errors["response_deadline"] = "This time is over."
    if errors:
        raise ValidationError(errors)
    _move(rfp=rfp, to=Rfp.Status.SENT, actor=actor, now=now, kind="rfp.sent",
          data={"response_deadline": rfp.response_deadline.isoformat()}, sent_at=now)  # fmt: skip
    return rfp


@transaction.atomic
def respond(
    *,
    rfp_venue_id: UUID,
    response: str,
    notes: str = "",
    actor: Actor,
    now: datetime,
    version: int | None = None,
) -> RfpVenue:
    """Answer for a venue, also after the deadline, until the RFP ends. Locks rfp.

    :raises NotFound: if it is not there, or was not sent yet.
    :raises Stale: if its version is not the wanted one.
    :raises Ended: if the RFP was awarded or closed.
    :raises AlreadyAnswered: if the venue has answered.
    """
    target = _lock_target(rfp_venue_id=rfp_venue_id)
    if target.rfp.status == Rfp.Status.DRAFT:
        raise NotFound("rfp_venue", rfp_venue_id)
    check_version(version=target.version, wanted=version)
    _check_going(rfp=target.rfp)
    if target.response is not None:
        raise AlreadyAnswered("The venue has answered.", field="rfp_venue")
    was = target.status
    RfpVenue.objects.filter(pk=target.pk, status=was).update(
        status=RfpVenue.Status.RESPONDED, response=response, response_notes=notes, responded_at=now
    )
    target.refresh_from_db()
    _record(kind="rfp.responded", moved=[(target, was)], actor=actor, now=now,
            data={"rfp_id": str(target.rfp_id), "response": str(response)})  # fmt: skip
    _signal(targets=[target], type=Signal.Type(response), now=now)
    return target


@transaction.atomic
def shortlist(
    *, rfp_id: UUID, rfp_venue_id: UUID, actor: Actor, now: datetime, version: int | None = None
) -> Rfp:
    """Note that a venue that has room may be chosen. Locks rfp.

    :raises NotFound: if the RFP, or this copy of it, is not there.
    :raises Stale: if its version is not the wanted one.
    :raises NotSent: if it is a draft, or has ended.
    :raises NotEligible: if the venue has not answered, has no room or is on the list.
    """
    rfp = _lock(rfp_id=rfp_id, version=version)
    target = _choose(rfp=rfp, rfp_venue_id=rfp_venue_id, among={RfpVenue.Status.RESPONDED})
    RfpVenue.objects.filter(pk=target.pk, status=target.status).update(
        status=RfpVenue.Status.SHORTLISTED
    )
    _tell(kind="rfp.shortlisted", before=[target], actor=actor, now=now)
    return rfp


@transaction.atomic
def award(
    *, rfp_id: UUID, rfp_venue_id: UUID, actor: Actor, now: datetime, version: int | None = None
) -> Rfp:
    """Choose a venue; the others that answered are declined. Locks rfp.

    :raises NotFound, Stale, NotSent: as `shortlist`.
    :raises NotEligible: if the venue has not answered, or has no room.
    """
    rfp = _lock(rfp_id=rfp_id, version=version)
    winner = _choose(rfp=rfp, rfp_venue_id=rfp_venue_id, among=CHOOSABLE)
    others = list(rfp.targets.filter(status__in=CHOOSABLE).exclude(pk=winner.pk).order_by("pk"))
    RfpVenue.objects.filter(pk=winner.pk, status=winner.status).update(
        status=RfpVenue.Status.AWARDED
    )
    RfpVenue.objects.filter(pk__in=[one.pk for one in others], status__in=CHOOSABLE).update(
        status=RfpVenue.Status.DECLINED
    )
    _move(rfp=rfp, to=Rfp.Status.AWARDED, kind="rfp.awarded", actor=actor, now=now,
          data={"rfp_id": str(rfp.pk)})  # fmt: skip
    _tell(kind="rfp.awarded", before=[winner, *others], actor=actor, now=now)
    _signal(targets=[winner], type=Signal.Type.AWARDED, now=now)
    _signal(targets=others, type=Signal.Type.LOST_TO_COMPETITOR, now=now)
    return rfp


@transaction.atomic
def close(*, rfp_id: UUID, actor: Actor, now: datetime, version: int | None = None) -> Rfp:
    """End an RFP that nobody gets. Venues that never saw it are told nothing. Locks rfp.

    :raises NotFound: if it is not there.
    :raises Stale: if its version is not the wanted one.
    :raises Ended: if it was awarded or closed.
    """
    rfp = _lock(rfp_id=rfp_id, version=version)
    _check_going(rfp=rfp)
    was = rfp.status
    _move(rfp=rfp, to=Rfp.Status.CLOSED, kind="rfp.closed", actor=actor, now=now)
    if was == Rfp.Status.SENT:
        _signal(targets=rfp.targets.all(), type=Signal.Type.RFP_CANCELLED, now=now)
    return rfp


@transaction.atomic
def discard(*, rfp_id: UUID, actor: Actor, now: datetime, version: int | None = None) -> Rfp:
    """Close a draft. Locks rfp.

    :raises NotFound, Stale, NotDraft: as `edit`.
    """
    _check_draft(rfp=_lock(rfp_id=rfp_id, version=version))
    return close(rfp_id=rfp_id, actor=actor, now=now)


@transaction.atomic
def close_overdue(*, now: datetime, limit: int) -> int:
    """Note who did not answer at most `limit` RFPs in time; return how many RFPs. Locks rfp.

    Those that are locked are left to the next run.
    """
    if not locks.try_lock(name=locks.RFP_DEADLINES):
        return 0
    late = sql.run(
        app="availability", name="close_overdue_rfps", params={"now": now, "limit": limit}
    )
    targets = RfpVenue.objects.filter(pk__in=[target for target, _ in late]).order_by("pk")
    _signal(targets=targets, type=Signal.Type.NO_RESPONSE, now=now)
    return len({rfp for _, rfp in late})


def lock_organizer(*, organizer_id: UUID) -> Tenant:
    """Lock an organizer, whose RFPs and entries are counted under it.

    :raises NotFound: if there is no such organizer.
    """
    found = Tenant.objects.select_for_update(no_key=True)
    organizer = found.filter(pk=organizer_id, kind=Tenant.Kind.ORGANIZER).first()
    if organizer is None:
        raise NotFound("organizer", organizer_id)
    return organizer


CHOOSABLE = frozenset({RfpVenue.Status.RESPONDED, RfpVenue.Status.SHORTLISTED})


def _lock(*, rfp_id: UUID, version: int | None = None) -> Rfp:
    return rows.lock(rows=Rfp.objects.all(), id=rfp_id, version=version)


def _lock_target(*, rfp_venue_id: UUID) -> RfpVenue:
    """Lock the RFP of a venue's copy, without which the copy does not change."""
    found = RfpVenue.objects.filter(pk=rfp_venue_id)
    rfp_id = found.values_list("rfp", flat=True).first()
    if rfp_id is None:
        raise NotFound("rfp_venue", rfp_venue_id)
    _lock(rfp_id=rfp_id)
    return found.select_related("rfp").get()


def _check_draft(*, rfp: Rfp) -> None:
    if rfp.status != Rfp.Status.DRAFT:
        raise NotDraft(f"RFP {rfp.pk} is {rfp.status}.", field="rfp")


def _check_going(*, rfp: Rfp) -> None:
    if rfp.status not in Rfp.ACTIVE:
        raise Ended(f"RFP {rfp.pk} is {rfp.status}.", field="rfp")


def _choose(*, rfp: Rfp, rfp_venue_id: UUID, among: Collection[str]) -> RfpVenue:
    """Return a venue's copy of a locked RFP, if it can be chosen."""
    if rfp.status != Rfp.Status.SENT:
        raise NotSent(f"RFP {rfp.pk} is {rfp.status}.", field="rfp")
    target = rows.find(rows=rfp.targets.all(), id=rfp_venue_id, field="rfp_venue")
    if target.status not in among or target.response == RfpVenue.Response.UNAVAILABLE:
        text = f"The venue is {target.status}: {target.response or 'no answer'}."
        raise NotEligible(text, field="rfp_venue")
    return target


def _target(*, rfp: Rfp, venue_ids: Collection[UUID]) -> bool:
    """Let an RFP that is new or locked go to these venues; say whether it went to others."""
    wanted = set(venue_ids)
    if len(wanted) > MOST_VENUES:
        raise ValidationError({"venues": f"An RFP goes to {MOST_VENUES} venues at most."})
    there = set(rfp.targets.values_list("facility", flat=True))
    known = Facility.objects.filter(kind=Facility.Kind.VENUE, is_active=True)
    known = known.exclude(tenant=rfp.tenant_id)
    added = wanted - there
    for missing in sorted(added - set(known.filter(pk__in=added).values_list("pk", flat=True))):
        raise NotFound("venues", missing)
    rfp.targets.exclude(facility__in=wanted).delete()
    RfpVenue.objects.bulk_create(
        RfpVenue(tenant_id=rfp.tenant_id, rfp=rfp, facility_id=one) for one in sorted(added)
    )
    return wanted != there


def _move(*, rfp: Rfp, to: Rfp.Status, kind: str, actor: Actor, now: datetime,
          data: Mapping[str, Any] | None = None, **columns: Any) -> None:  # fmt: skip
    """Write the next status of a locked RFP."""
    was = rfp.status
    Rfp.objects.filter(pk=rfp.pk, status=was).update(status=to, **columns)
    rfp.refresh_from_db()
    _record(kind=kind, moved=[(rfp, was)], actor=actor, now=now, data=data)


def _tell(*, kind: str, before: Collection[RfpVenue], actor: Actor, now: datetime) -> None:
    """Record what became of venues' copies of an RFP, given as they were before."""
    after = RfpVenue.objects.in_bulk([one.pk for one in before])
    moved = [(after[one.pk], one.status) for one in before]
    rfp_id = str(next(iter(before)).rfp_id)
    _record(kind=kind, moved=moved, actor=actor, now=now, data={"rfp_id": rfp_id})


def _record(
    *, kind: str, moved: Iterable[tuple[Rfp | RfpVenue, str | None]], actor: Actor, now: datetime,
    data: Mapping[str, Any] | None = None,
) -> None:  # fmt: skip
    """Write an event for each row and the status that it had."""
    events.record_all(
        events=[
            Event(
                kind=kind,
                tenant_id=row.tenant_id,
                subject_type="rfp" if isinstance(row, Rfp) else "rfp_venue",
                subject_id=row.pk,
                facility_id=None if isinstance(row, Rfp) else row.facility_id,
                actor_type=actor.type,
                actor_id=actor.id,
                previous_status=was,
                new_status=row.status,
                data=dict(data or {}),
                at=now,
            )
            for row, was in moved
        ]
    )


def _signal(*, targets: Iterable[RfpVenue], type: Signal.Type, now: datetime) -> None:
    found = RfpVenue.objects.filter(pk__in=[target.pk for target in targets])
    signals.record(
        signals=[
            Signal(
                tenant_id=target.facility.tenant_id,
                facility_id=target.facility_id,
                type=type,
                rfp_id=target.rfp_id,
                rfp_venue_id=target.pk,
                signal_date=target.rfp.preferred_dates_start,
                recorded_at=now,
            )
            for target in found.select_related("rfp", "facility").order_by("pk")
        ]
    )
