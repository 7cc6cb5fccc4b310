"""When a message may be sent: not in quiet hours, and not too many at once.

Both put off and never drop. Offers pass both, since the time to answer them runs: one that staff
make in quiet hours is due when they end.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from limits import RateLimitItem

from accounts import limits
from audit.models import Event
from notifications import messages
from notifications.kinds import URGENT
from notifications.models import Message
from waitlist import fill
from waitlist.models import WaitlistPolicy


@dataclass(frozen=True, slots=True)
class Wait:
    """Until when; `of_tenant` is the figure of the tenant's limit, if that is what is full."""

    until: datetime
    of_tenant: RateLimitItem | None = None


def wait(*, message: Message, now: datetime) -> Wait | None:
    """Say until when a message is put off; None if it may be sent, which is counted."""
    if message.kind in URGENT or messages.hurries(message=message, now=now):
        return None
    until = _quiet_until(message=message, now=now)
    # What would come too late at the end of quiet hours is sent in them.
    if until is not None and not any(now < at <= until for at in _needed(message=message)):
        return Wait(until)
    whom = message.patient_id or message.user_id
    room = {
        "messages": f"{message.channel}:{message.tenant_id}",
        "message": f"{message.channel}:{whom}",
    }
    # Room is looked for in both before any is taken, so that none is taken for nothing.
    for ask in (limits.room, limits.count):
        for limit, who in room.items():
            seconds = ask(limit=limit, who=who, tenant=message.tenant_id)
            if seconds:
                figure = limits.figure(limit=limit, tenant=message.tenant_id)
                until = now + timedelta(seconds=seconds)
                return Wait(until, figure if limit == "messages" else None)
    return None


def _quiet_until(*, message: Message, now: datetime) -> datetime | None:
    """Return when the quiet hours end that a message falls into."""
    found = WaitlistPolicy.objects.select_related("facility")
    policy = found.filter(facility=message.facility_id).first()
    return fill.quiet_until(policy=policy, now=now) if policy is not None else None


def _needed(*, message: Message) -> list[datetime]:
    """Return the times before which a message is of use: of a move, the old one and the new one."""
    if message.kind != "appointment.rescheduled":
        return [message.deadline] if message.deadline is not None else []
    told = Event.objects.values_list("data", flat=True).get(pk=message.event_id)
    times = (told.get(name) for name in ("from_starts_at", "starts_at"))
    return [datetime.fromisoformat(time) for time in times if time]
