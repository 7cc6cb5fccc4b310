"""When a message may be sent: not in quiet hours, and not too many at once.

Both put off and never drop. Offers pass both, since the time to answer them runs.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from limits import RateLimitItem

from accounts import limits
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
    until = _quiet_until(message=message, now=now)
    # What would be worth nothing at the end of quiet hours is sent in them.
    if until is not None and (message.deadline is None or message.deadline > until):
        return Wait(until)
    if _passes(message=message):
        return None
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


def _passes(*, message: Message) -> bool:
    return message.kind in URGENT or messages.hurries(message=message)


def _quiet_until(*, message: Message, now: datetime) -> datetime | None:
    """Return when the quiet hours end that a message falls into.

    No offer is made in them but by staff, and the time to answer that one begins at their end.
    """
    found = WaitlistPolicy.objects.select_related("facility")
    policy = found.filter(facility=message.facility_id).first()
    if policy is None or messages.hurries(message=message):
        return None
    if message.kind not in URGENT:
        return fill.quiet_until(policy=policy, now=now)
    offered_at = message.hold.offered_at if message.hold else now
    until = fill.quiet_until(policy=policy, now=offered_at)
    return until if until is not None and until > now else None
