"""Entries: joining a queue, changing one's wishes, leaving, and when their time is over."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from accounts import rows
from accounts.models import User
from audit import events, locks, sql
from audit.errors import NotFound, Refused, check_version
from audit.events import Actor
from availability import rfps
from availability.models import RfpVenue
from scheduling import patients, slots
from scheduling.models import Facility
from waitlist import holds, queues, ranking
from waitlist import wishes as wishing
from waitlist.models import ACTIVE, EntryNote, Hold, Queue, WaitlistEntry, WaitlistPolicy

# Why people cancel an entry: codes, since the reason is in the event log.
REASONS = (
    ("no_longer_needed", "It is no longer needed"),
    ("booked_elsewhere", "Booked elsewhere"),
    ("unreachable", "The requester cannot be reached"),
    ("duplicate", "The requester waits twice"),
    ("other", "Another reason"),
)
# Those that somebody who waits may give themselves; the others are the team's findings.
OWN_REASONS = frozenset({"no_longer_needed", "booked_elsewhere", "other"})
# Those of organizers.
ORGANIZER_REASONS = (
    ("no_longer_needed", "It is no longer needed"),
    ("found_alternative", "Found another venue"),
    ("declined_offer", "The offer was declined"),
    ("other", "Another reason"),
)


class AlreadyWaiting(Refused):
    """The requester waits at this facility for this provider (and service) already."""

    code = "already_waiting"


class QueueFull(Refused):
    """The queue has as many active entries as its policy allows."""

    code = "queue_full"


class OrganizersOnly(Refused):
    """A venue is waited for by organizers, not by patients."""

    code = "organizers_only"


class NotUnavailable(Refused):
    """The venue did not answer the RFP that it has no room, so there is nothing to wait for."""

    code = "not_unavailable"


class TooManyEntries(Refused):
    """The requester has as many active entries as the policy allows."""

    code = "too_many_entries"


class EntryClosed(Refused):
    """The entry was converted, cancelled or has expired."""

    code = "entry_closed"


@transaction.atomic
def join(
    *,
    facility_id: UUID,
    patient_id: UUID | None,
    actor: Actor,
    now: datetime,
    wishes: Mapping[str, Any] | None = None,
) -> WaitlistEntry:
    """Let a patient of the facility's tenant wait there.

    `wishes` are columns of the entry, see `wishes.apply`. Locks queue, patient.

    :raises NotFound: naming the id that is not there, or is another tenant's.
    :raises ValidationError: naming each wish with a bad value, or `patient` if nobody is meant.
    :raises OrganizersOnly, QueueClosed, QueueFull, AlreadyWaiting, TooManyEntries: see there.
    """
    queue = queues.lock(facility_id=facility_id)
    # First of all: a place of their own in that queue, or that it is full, would tell its owner how
    # many organizers wait.
    if queue.facility.kind == Facility.Kind.VENUE:
        raise OrganizersOnly(f"Organizers wait at {facility_id}, not patients.", field="facility")
    queues.check_open(queue=queue)
    if patient_id is None:
        raise ValidationError({"patient": "Say who waits."})
    patient = rows.lock(rows=patients.known().filter(tenant=queue.tenant_id), id=patient_id)
    entry = WaitlistEntry(
        facility_id=facility_id, tenant_id=queue.tenant_id, patient=patient, joined_at=now
    )
    return _join(entry=entry, wishes=wishes or {}, queue=queue, actor=actor)


@transaction.atomic
def join_venue(
    *, rfp_venue_id: UUID, organizer_id: UUID, actor: Actor, now: datetime
) -> WaitlistEntry:
    """Let an organizer wait at a venue that answered their RFP that it has no room.

    Their dates are copied; all else stays in the RFP, which does not change once it is sent.
    Locks queue, organizer.

    :raises NotFound: if there is no such copy of an RFP of theirs.
    :raises ValidationError: naming a date that is over.
    :raises NotUnavailable, QueueClosed, QueueFull, AlreadyWaiting, TooManyEntries: see there.
    """
    theirs = RfpVenue.objects.select_related("rfp", "facility").filter(tenant=organizer_id)
    source = rows.find(rows=theirs, id=rfp_venue_id, field="source_rfp_venue_id")
    queue = queues.lock(facility_id=source.facility_id)
    # The one entry that crosses tenants, so never the owner's own.
    if queue.tenant_id == organizer_id:
        raise NotFound("source_rfp_venue_id", rfp_venue_id)
    queues.check_open(queue=queue)
    organizer = rfps.lock_organizer(organizer_id=organizer_id)
    answer = RfpVenue.Status.RESPONDED, RfpVenue.Response.UNAVAILABLE
    if (source.status, source.response) != answer:
        raise NotUnavailable(f"Venue {source.facility_id} did not answer that it has no room.")
    entry = WaitlistEntry(
        facility_id=source.facility_id,
        tenant_id=organizer_id,
        organizer=organizer,
        rfp_venue=source,
        joined_at=now,
    )
    dates = wishing.of_rfp(rfp=source.rfp, zone=ZoneInfo(source.facility.timezone))
    return _join(entry=entry, wishes=dates, queue=queue, actor=actor)


def _join(
    *, entry: WaitlistEntry, wishes: Mapping[str, Any], queue: Queue, actor: Actor
) -> WaitlistEntry:
    """Let a locked requester wait in a locked queue."""
    facility_id, now = entry.facility_id, entry.joined_at
    policy = WaitlistPolicy.objects.get(facility=facility_id)
    wishing.apply(entry=entry, changes=wishes, queue=queue, policy=policy, patient=entry.patient)
    if entry.expires_at <= now:
        raise ValidationError({"latest": "This time is over."})
    no_room = _find_cap(entry=entry, policy=policy)
    _save(entry=entry)
    if no_room is not None:  # raised now, since that they wait here already says more
        raise no_room
    queues.revise(facility_ids=[facility_id], visitors=[facility_id] if entry.any_facility else [])
    data = {
        "position": ranking.position(entry=entry),
        "expires_at": entry.expires_at.isoformat(),
    }
    record(kind="waitlist.joined", entry=entry, was=None, actor=actor, at=now, data=data)
    return entry


@transaction.atomic
def update(
    *,
    entry_id: UUID,
    wishes: Mapping[str, Any],
    actor: Actor,
    now: datetime,
    version: int | None = None,
) -> WaitlistEntry:
    """Change what an active entry wishes; it keeps the time it joined, and a live offer stands.

    Locks queue, slot, hold, entry.

    :raises NotFound, ValidationError, AlreadyWaiting: as `join`; also invalid is any wish of an
        organizer, since theirs are copied from their RFP.
    :raises EntryClosed: if it has ended.
    :raises Stale: if its version is not the wanted one.
    """
    entry = lock_active(entry_id=entry_id)
    check_version(version=entry.version, wanted=version)
    if entry.organizer_id is not None and wishes:
        raise ValidationError(dict.fromkeys(wishes, "This is as the RFP says."))
    policy = WaitlistPolicy.objects.get(facility=entry.facility_id)
    queue = Queue.objects.get(pk=entry.facility_id)
    visited, ended = entry.any_facility, entry.expires_at
    wishing.apply(entry=entry, changes=wishes, queue=queue, policy=policy, patient=entry.patient)
    if ("latest" in wishes or entry.expires_at != ended) and entry.expires_at <= now:
        named = "latest" if "latest" in wishes else "dates_flexible"
        raise ValidationError({named: "The entry would have ended."})
    _save(entry=entry)
    visitors = [entry.facility_id] if visited or entry.any_facility else []
    queues.revise(facility_ids=[entry.facility_id], visitors=visitors)
    record(kind="waitlist.updated", entry=entry, was=entry.status, actor=actor, at=now,
           data={"fields": sorted(wishes)})  # fmt: skip
    return entry


@transaction.atomic
def cancel(
    *,
    entry_id: UUID,
    reason: str,
    actor: Actor,
    now: datetime,
    notes: str = "",
    version: int | None = None,
) -> WaitlistEntry:
    """End an active entry; what it was offered goes to the next.

    `reason` is a code, such as `no_longer_needed`; `notes` stay on the row.
    Locks queue, slot, hold, entry.

    :raises NotFound: if it is not there.
    :raises EntryClosed: if it has ended.
    :raises Stale: if its version is not the wanted one.
    """
    events.check_code(field="reason", code=reason)
    entry = lock_active(entry_id=entry_id)
    check_version(version=entry.version, wanted=version)
    was = entry.status
    if was == WaitlistEntry.Status.OFFERED:
        holds.withdraw(entry=entry, reason="cancelled", actor=actor, now=now)
    end(
        entry=entry,
        to=WaitlistEntry.Status.CANCELLED,
        now=now,
        cancellation_reason=reason,
        cancellation_notes=notes,
    )
    data = {"reason": reason}
    record(kind="waitlist.cancelled", entry=entry, was=was, actor=actor, at=now, data=data)
    return entry


@transaction.atomic
def add_note(*, entry_id: UUID, author: User, text: str, now: datetime) -> EntryNote:
    """Note something on an entry, for staff. Locks patient.

    :raises NotFound: if the entry is not there, or its patient was erased.
    :raises ValidationError: naming `text` if there is none.
    """
    if not text.strip():
        raise ValidationError({"text": "Write something."})
    entry = get(entry_id=entry_id)
    if entry.patient_id is not None:
        rows.lock(rows=patients.known(), id=entry.patient_id)
    return EntryNote.objects.create(
        tenant_id=entry.tenant_id, entry=entry, author=author, text=text, at=now
    )


def get(*, entry_id: UUID) -> WaitlistEntry:
    """:raises NotFound: if it is not there."""
    entry = WaitlistEntry.objects.filter(pk=entry_id).first()
    if entry is None:
        raise NotFound("entry", entry_id)
    return entry


def lock_active(*, entry_id: UUID, slot_id: UUID | None = None) -> WaitlistEntry:
    """Lock an active entry's queue, what it is offered, and the entry.

    With `slot_id`, for a claim on this slot besides: providers and patient are locked too.

    :raises NotFound: if the entry, or the slot, is not there.
    :raises EntryClosed: if it has ended.
    """
    while True:
        with suppress(_Moved), transaction.atomic():
            return _lock_active(entry_id=entry_id, slot_id=slot_id)


class _Moved(Exception):
    """The entry got an offer while its locks were taken: give them back and start again."""


def _lock_active(*, entry_id: UUID, slot_id: UUID | None) -> WaitlistEntry:
    entry = get(entry_id=entry_id)
    queues.lock(facility_id=entry.facility_id)
    live = Hold.objects.filter(entry=entry_id, status=Hold.Status.OFFERED, slot__isnull=False)
    offered = set(live.values_list("slot", flat=True))
    if slot_id is None:
        slots.lock(slot_ids=offered)
    else:
        slots.lock_for_claim(slot_ids=offered | {slot_id}, patient_id=entry.patient_id)
    list(live.select_for_update(no_key=True).order_by("pk"))
    entry = WaitlistEntry.objects.select_for_update(no_key=True).get(pk=entry_id)
    if set(live.values_list("slot", flat=True)) != offered:
        raise _Moved
    if entry.closed_at is not None:
        raise EntryClosed(f"Entry {entry_id} is {entry.status}.", field="entry")
    return entry


def end(*, entry: WaitlistEntry, to: WaitlistEntry.Status, now: datetime, **columns: Any) -> None:
    """Write the last status of a locked entry."""
    was = entry.status
    WaitlistEntry.objects.filter(pk=entry.pk, status=was).update(
        status=to, closed_at=now, **columns
    )
    entry.refresh_from_db()


@transaction.atomic
def expire_due(*, now: datetime, limit: int) -> int:
    """End the waiting entries whose time is over, at most `limit`; return how many. Locks entry."""
    if not locks.try_lock(name=locks.EXPIRE_ENTRIES):
        return 0
    return len(sql.run(app="waitlist", name="expire_entries", params={"now": now, "limit": limit}))


def can_join(*, facility_id: UUID) -> bool:
    """Say whether a facility's waitlist takes patients at the moment, as far as seen unlocked."""
    queue = Queue.objects.select_related("facility").get(pk=facility_id)
    if queue.facility.kind == Facility.Kind.VENUE:
        return False
    try:
        queues.check_open(queue=queue)
    except queues.QueueClosed:
        return False
    limit = WaitlistPolicy.objects.get(facility=facility_id).max_queue_size
    here = WaitlistEntry.objects.filter(ACTIVE, facility=facility_id)
    return not _reached(limit=limit, entries=here)


def _find_cap(*, entry: WaitlistEntry, policy: WaitlistPolicy) -> Refused | None:
    """Return what keeps another entry out of the locked queue, or from the locked requester."""
    waiting = WaitlistEntry.objects.filter(ACTIVE)
    here = waiting.filter(facility=entry.facility_id)
    mine = waiting.filter(tenant=entry.tenant_id, patient=entry.patient, organizer=entry.organizer)
    if _reached(limit=policy.max_queue_size, entries=here):
        return QueueFull(f"The waitlist of {entry.facility_id} is full.", field="facility")
    if _reached(limit=policy.max_active_per_requester, entries=mine):
        return TooManyEntries("The requester waits in as many queues as may be.")
    return None


def _reached(*, limit: int | None, entries: QuerySet[WaitlistEntry]) -> bool:
    return limit is not None and entries.count() >= limit


def _save(*, entry: WaitlistEntry) -> None:
    try:
        with transaction.atomic():
            entry.save()
    except IntegrityError as error:
        if "entry_patient_once" in str(error) or "entry_organizer_once" in str(error):
            raise AlreadyWaiting("The requester waits here already.", field="facility") from None
        raise


def record(*, kind: str, entry: WaitlistEntry, was: str | None, actor: Actor, at: datetime,
           data: dict[str, Any]) -> None:  # fmt: skip
    """Write an event of an entry."""
    events.record(
        kind=kind,
        tenant_id=entry.tenant_id,
        subject_type="entry",
        subject_id=entry.pk,
        actor=actor,
        at=at,
        entry_id=entry.pk,
        facility_id=entry.facility_id,
        provider_id=entry.provider_id,
        previous_status=was,
        new_status=entry.status,
        data=data,
    )
