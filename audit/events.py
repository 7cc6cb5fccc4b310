"""The event log: `record` what happened, in the transaction that made it happen."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from celery import current_app
from django.conf import settings
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.db import connection, transaction

from audit.models import Event

log = structlog.get_logger(__name__)

# What `data` of each kind may hold besides the columns: codes, times, numbers and ids, never a
# name, an address, a note or metadata.
KINDS: dict[str, frozenset[str]] = {
    kind: frozenset(keys.split())
    for kind, keys in {
        "slot.generated": "slots retired reopened start_date end_date",
        "slot.opened": "",
        "slot.blocked": "",
        "slot.retired": "",
        "block.created": "starts_at ends_at conflicts",
        "block.removed": "",
        "reservation.made": "reserved_until",
        "reservation.released": "reason",
        "appointment.booked": "source starts_at ends_at",
        "appointment.cancelled": "reason starts_at ends_at",
        "appointment.rescheduled": "from_slot_id from_starts_at starts_at ends_at",
        "appointment.completed": "",
        "appointment.no_show": "",
        "patient.updated": "fields",
        "access.token_issued": "role",
        "access.denied": "reason route method",
        "access.invited": "role",
        "access.joined": "role",
        "access.changed": "role",
        "access.removed": "role",
        "waitlist.joined": "position expires_at",
        "waitlist.updated": "fields",
        "waitlist.hold_offered": "source score expires_at runs_from",
        "waitlist.hold_reminded": "expires_at",
        "waitlist.hold_declined": "offers_made",
        "waitlist.hold_expired": "offers_made",
        "waitlist.hold_withdrawn": "reason",
        "waitlist.requeued": "reason",
        "waitlist.converted": "appointment_id source starts_at rfp_id",
        "waitlist.cancelled": "reason",
        "waitlist.auto_expired": "reason",
        "waitlist.still_interested": "",
        "waitlist.nudge_answered": "interested",
        "waitlist.position_changed": "position",
        "waitlist.policy_changed": "fields",
        "waitlist.circuit_breaker_triggered": "",
        "waitlist.circuit_breaker_resolved": "",
        "waitlist.deactivated": "",
        "webhook.disabled": "reason",
        "rfp.drafted": "duplicated_from_id",
        "rfp.sent": "response_deadline",
        "rfp.responded": "rfp_id response",
        "rfp.no_response": "rfp_id",
        "rfp.shortlisted": "rfp_id",
        "rfp.awarded": "rfp_id",
        "rfp.closed": "",
        "venue.availability_inferred": "",
        "venue.availability_manual_set": "",
        "venue.availability_improved": "",
        "venue.override_cleared": "",
        "venue.hold_converted": "organization_id",
    }.items()
}


HURRY = 5  # seconds
MANY = 100  # subjects of which one message tells
#: In the cache while that task is on its way.
HURRIED = "audit.hurried"
ANY = "*"  # in `settings.EVENT_TASKS`: whatever the kind

CODE = r"[a-z][a-z0-9_]{0,49}"
# A code; a UUID; a date or a time of ISO 8601.
PLAIN = re.compile(
    r"[a-z][a-z0-9_-]*|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    r"|\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d))?"
)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did it: `user`, `patient`, `link` (bearer of a signed link) or `system`."""

    type: str
    id: UUID | None = None


SYSTEM = Actor("system")


class UnknownFact(ValueError):
    """An event of an unknown kind, or with data its kind does not allow."""


def check_code(*, field: str, code: str) -> None:
    """Check a code that people choose and events tell: a short word, and no sentence about anybody.

    :raises ValidationError: naming `field`.
    """
    if not re.fullmatch(CODE, code):
        raise ValidationError({field: "Give a code of letters a-z, digits and _, such as moved."})


def record(
    *,
    kind: str,
    tenant_id: UUID,
    subject_type: str,
    subject_id: UUID,
    actor: Actor,
    at: datetime,
    **columns: Any,
) -> None:
    """Write one event; `columns` are the further columns of `Event`.

    :raises UnknownFact: if the kind is not in `KINDS` or `data` has a key that it does not allow.
    """
    record_all(
        events=[
            Event(
                kind=kind, tenant_id=tenant_id, subject_type=subject_type, subject_id=subject_id,
                actor_type=actor.type, actor_id=actor.id, at=at, **{"data": {}, **columns},
            )
        ]
    )  # fmt: skip


def record_all(*, events: Sequence[Event]) -> None:
    """Write many events in one statement and send the tasks their kinds call for on commit.

    :raises UnknownFact: as `record`.
    """
    for event in events:
        allowed = KINDS.get(event.kind)
        if allowed is None or not allowed.issuperset(event.data):
            raise UnknownFact(f"{event.kind} with {sorted(event.data)}")
        for key, value in event.data.items():
            if not _is_plain(value):
                raise UnknownFact(f"{event.kind} with a text as its {key}")
    Event.objects.bulk_create(events)
    hurry()
    for event in events:
        told = event.facility_id or event.subject_id
        announce(kind=event.kind, ids=[told], subjects={told: [event.subject_id]})


def _is_plain(value: object) -> bool:
    """Whether a value is a number, a code, an id or a time, or a list of them, and no text."""
    if isinstance(value, list):
        return all(_is_plain(one) for one in value)
    if isinstance(value, str):
        return PLAIN.fullmatch(value) is not None
    return value is None or isinstance(value, int | float)


def announce(
    *, kind: str, ids: Iterable[UUID], subjects: Mapping[UUID, Collection[UUID]] | None = None
) -> None:
    """Send the task that `settings.EVENT_TASKS` names for this kind, on commit.

    `ids` are the facilities, or the subjects of events without one; the task is sent once for each
    in a transaction. For a kind in `settings.EVENT_SUBJECTS` it is told the `subjects` at each
    besides; where they are not given, or are many, it is told none, which stands for all. SQL that
    writes events itself calls this after it. A broker that is away costs the hurry, not the fact: a
    sweep finds what a lost message left.
    """
    task = settings.EVENT_TASKS.get(kind)
    if task is None:
        return
    which = subjects if subjects and kind in settings.EVENT_SUBJECTS else {}
    for one in ids:
        _send(message=_Send(task, str(one), _few(which.get(one, ()))))


def hurry() -> None:
    """Send the task of any kind, once in a transaction, on commit; `sql.run` does where it has to.

    It relays the events, which it would find a little later by itself. While one is on its way, no
    other is sent: it calls `heed` before it looks.
    """
    task = settings.EVENT_TASKS.get(ANY)
    if task is not None:
        _send(message=_Send(task))


def heed() -> None:
    """Say that the task of any kind has begun: what happens from now on sends it again."""
    cache.delete(HURRIED)


def _few(subjects: Collection[UUID]) -> frozenset[UUID] | None:
    return frozenset(subjects) if 0 < len(subjects) <= MANY else None


def _send(*, message: "_Send") -> None:
    for _, waiting, *_ in connection.run_on_commit:
        if isinstance(waiting, _Send) and waiting.takes_on(message):
            return
    transaction.on_commit(message)


@dataclass(slots=True)
class _Send:
    task: str
    arg: str | None = None
    subjects: frozenset[UUID] | None = None  # None for all

    def takes_on(self, other: "_Send") -> bool:
        """Take on what another message would tell, if it is to the same task and about the same."""
        if (self.task, self.arg) != (other.task, other.arg):
            return False
        if self.subjects and other.subjects:
            self.subjects = _few(self.subjects | other.subjects)
        else:
            self.subjects = None
        return True

    def __call__(self) -> None:
        args = [] if self.arg is None else [self.arg, *sorted(map(str, self.subjects or ()))]
        # What is about no id in particular is worth nothing once its sweep has come.
        expires = HURRY if self.arg is None else None
        try:
            if self.arg is None and not cache.add(HURRIED, True, timeout=HURRY):
                return
            current_app.send_task(self.task, args=args, expires=expires, retry=False)
        except Exception as error:  # whatever the broker has, the caller's work is done
            log.warning("task not sent", task=self.task, arg=self.arg, error=type(error).__name__)
