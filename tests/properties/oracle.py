"""What a step may do, said a second time and in another way than the code under test says it."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import connection

from audit.models import Event
from scheduling.models import Appointment, Slot, TimeBlock
from waitlist.models import Hold, WaitlistEntry, WaitlistPolicy

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
WEEK = timedelta(days=7)

#: Which events tell that a slot came to a status.
TOLD_BY: dict[str, set[str]] = {
    "open": {"slot.opened"},
    "reserved": {"reservation.made"},
    "held": {"waitlist.hold_offered"},
    "booked": {"appointment.booked", "appointment.rescheduled"},
    "blocked": {"slot.blocked"},
    "retired": {"slot.retired"},
}


@dataclass(slots=True)
class Rows:
    """The status of every row with one, and the order in each queue."""

    slots: dict[UUID, str] = field(default_factory=dict)
    entries: dict[UUID, str] = field(default_factory=dict)
    holds: dict[UUID, str] = field(default_factory=dict)
    appointments: dict[UUID, tuple[str, UUID]] = field(default_factory=dict)
    queues: dict[UUID, list[UUID]] = field(default_factory=dict)

    @classmethod
    def read(cls) -> "Rows":
        """Read them all, in an order that does not hang on ids made in one statement."""
        rows = cls()
        with connection.cursor() as cursor:
            cursor.execute(READ)
            for what, pk, status, other in cursor.fetchall():
                if what == "slot":
                    rows.slots[pk] = status
                elif what == "hold":
                    rows.holds[pk] = status
                elif what == "appointment":
                    rows.appointments[pk] = (status, other)
                else:
                    rows.entries[pk] = status
                    if what == "active":
                        rows.queues.setdefault(other, []).append(pk)
        return rows


READ = """
(SELECT 'slot', id, status, NULL::uuid
FROM scheduling_slot ORDER BY facility_id, provider_id, period, service_id)
UNION ALL
(SELECT 'hold', id, status, NULL FROM waitlist_hold ORDER BY id)
UNION ALL
(SELECT 'appointment', id, status, slot_id FROM scheduling_appointment ORDER BY id)
UNION ALL
(SELECT CASE WHEN closed_at IS NULL THEN 'active' ELSE 'ended' END, id, status, facility_id
FROM waitlist_waitlistentry ORDER BY rank_key DESC, joined_at, id)
"""


def moves(*, before: Rows, after: Rows) -> Iterator[tuple[str, str | None, str]]:
    """Give what moved: (machine, from, to)."""
    for machine, old, new in (
        ("Slot", before.slots, after.slots),
        ("WaitlistEntry", before.entries, after.entries),
        ("Hold", before.holds, after.holds),
    ):
        for pk, status in new.items():
            if old.get(pk) != status:
                yield machine, old.get(pk), status
    for pk, (status, _) in after.appointments.items():
        was = before.appointments[pk][0] if pk in before.appointments else None
        if was != status:
            yield "Appointment", was, status


def check_told(*, before: Rows, after: Rows, told: Sequence[Event]) -> None:
    """Check that an event tells of each row that moved, and how."""
    for pk, status in after.entries.items():
        assert before.entries.get(pk) == status or any(
            event.entry_id == pk
            and (
                event.new_status == status
                or (status == "waiting" and event.kind == "waitlist.hold_withdrawn")
            )
            for event in told
        ), f"entry {pk} is {status}"
    for pk, status in after.holds.items():
        kind = "waitlist.converted" if status == "accepted" else f"waitlist.hold_{status}"
        assert before.holds.get(pk) == status or any(
            event.hold_id == pk and event.kind == kind for event in told
        ), f"hold {pk} is {status}"
    for pk, status in after.slots.items():
        kinds = TOLD_BY[status] if pk in before.slots else {"slot.generated"}
        assert before.slots.get(pk) == status or any(
            event.kind in kinds and (event.slot_id == pk or pk not in before.slots)
            for event in told
        ), f"slot {pk} is {status}"
    for pk, (status, slot) in after.appointments.items():
        was, old_slot = before.appointments.get(pk, (None, None))
        kinds = {f"appointment.{status}"} if was != status else {"appointment.rescheduled"}
        assert (was, old_slot) == (status, slot) or any(
            event.subject_id == pk and event.kind in kinds for event in told
        ), f"appointment {pk} is {status}"


def check_order(*, before: Rows, after: Rows, moved: Collection[UUID]) -> None:
    """Check that nobody went past anybody, but those that were moved."""
    for queue, entries in before.queues.items():
        now = after.queues.get(queue, [])
        stay = [pk for pk in entries if pk in now and pk not in moved]
        assert stay == [pk for pk in now if pk in stay], f"the order in queue {queue} changed"


def check_offer(*, hold: Hold, now: datetime) -> None:
    """Check that an offer just made fits, by the rules of domain.md."""
    entry, slot = hold.entry, hold.slot
    assert slot is not None
    start, end = slot.period.lower, slot.period.upper
    policy = WaitlistPolicy.objects.select_related("facility").get(facility=slot.facility_id)
    own = WaitlistPolicy.objects.get(facility=entry.facility_id)
    service = entry.service or slot.service
    assert entry.tenant_id == slot.tenant_id
    assert entry.any_facility or entry.facility_id == slot.facility_id
    assert None in (entry.service, slot.service) or entry.service == slot.service
    assert service is None or service.duration <= end - start
    assert not entry.provider_required or entry.provider_id == slot.provider_id
    assert entry.earliest is None or entry.earliest <= start
    assert entry.latest is None or end <= entry.latest
    assert entry.expires_at > now
    assert own.max_offers_per_entry is None or entry.offers_made < own.max_offers_per_entry
    asked = Hold.objects.filter(patient=hold.patient, slot=slot)
    assert asked.exclude(status="withdrawn").count() == 1
    assert hold.source == Hold.Source.STAFF or not asked.filter(taken_back=True).exists()
    booked = Appointment.objects.filter(patient=entry.patient, status="booked")
    assert not booked.filter(period__overlap=slot.period).exists()
    assert not is_blocked(slot)
    assert score(entry=entry, slot=slot, policy=policy) == hold.score >= policy.min_match_score
    assert now + policy.min_hold <= hold.expires_at <= start - policy.min_notice
    if hold.source != Hold.Source.STAFF:
        assert start <= now + policy.look_ahead
        assert hold.expires_at <= now + policy.hold_window
        assert not is_quiet(policy=policy, now=now)


def score(*, entry: WaitlistEntry, slot: Slot, policy: WaitlistPolicy) -> int:
    """Compute the score of a pair that fits."""
    local = slot.period.lower.astimezone(ZoneInfo(policy.facility.timezone))
    part = "morning" if local.hour < 12 else "afternoon" if local.hour < 17 else "evening"
    days = entry.preferred_days or range(1, 8)
    return (
        policy.match_provider * (entry.provider_id in (None, slot.provider_id))
        + policy.match_location * (entry.facility_id == slot.facility_id)
        + policy.match_service
        + policy.match_days * (local.isoweekday() in days and entry.preferred_time in ("any", part))
    )


def is_quiet(*, policy: WaitlistPolicy, now: datetime) -> bool:
    """Whether it is between 21:00 and 08:00, as all policies here have it."""
    return not 8 <= now.astimezone(ZoneInfo(policy.facility.timezone)).hour < 21


def is_blocked(slot: Slot) -> bool:
    """Whether a block lies over a slot."""
    return any(
        block.provider_id in (None, slot.provider_id)
        and block.period.lower < slot.period.upper
        and slot.period.lower < block.period.upper
        for block in TimeBlock.objects.filter(facility=slot.facility_id)
    )


def check_claims() -> None:
    """Check that each claimed place is one person's, and that no provider has two at once."""
    claims = list(Slot.objects.filter(status__in=Slot.CLAIMED).order_by("provider", "period"))
    whose: dict[UUID, list[UUID | None]] = {slot.pk: [] for slot in claims}
    for slot in claims:
        if slot.status == Slot.Status.RESERVED:
            whose[slot.pk].append(slot.reserved_by_id)
    for hold in Hold.objects.filter(status="offered"):
        assert hold.slot_id is not None
        whose[hold.slot_id].append(hold.patient_id)
    for appointment in Appointment.objects.exclude(status="cancelled"):
        whose[appointment.slot_id].append(appointment.patient_id)
    assert all(len(people) == 1 for people in whose.values()), whose
    for slot, following in pairwise(claims):
        assert (
            slot.provider_id != following.provider_id or slot.period.upper <= following.period.lower
        ), f"slots {slot.pk} and {following.pk} at once"


def check_places() -> None:
    """Check that each rank key is what the policy makes it."""
    policies = {policy.facility_id: policy for policy in WaitlistPolicy.objects.all()}
    for entry in WaitlistEntry.objects.filter(closed_at=None).select_related("patient"):
        policy = policies[entry.facility_id]
        assert entry.patient is not None
        points = 0
        if policy.ordering == WaitlistPolicy.Ordering.SCORE:
            week = entry.latest is not None and entry.latest - entry.joined_at <= WEEK
            points = (
                policy.membership * entry.patient.tier
                + policy.chronic * entry.patient.chronic_condition
                + policy.short_window * week
                + policy.urgency * entry.urgency
            )
        waited = policy.wait_per_day * ((entry.joined_at - EPOCH) / DAY)
        assert abs(entry.rank_key - (points - waited)) < 1e-6, f"entry {entry.pk}"
