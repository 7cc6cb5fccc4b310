"""Deliveries: one claimed message is sent, or is found to be worth nothing any more."""

from datetime import datetime

import structlog

from notifications import messages, preferences, recipients, senders, templates, throttles
from notifications.channels import Away, Failed
from notifications.models import Message
from scheduling.models import Appointment
from waitlist.models import ACTIVE, Hold, WaitlistEntry

log = structlog.get_logger(__name__)

# What is told only while a hold, or an entry, lives.
OF_A_HOLD = {"waitlist.hold_offered", "waitlist.hold_reminded"}
OF_AN_ENTRY = {"waitlist.still_interested", "waitlist.position_changed"}
# What is told of an appointment only while it stands, and when it does no longer.
OF_AN_APPOINTMENT = {"appointment.booked", "appointment.rescheduled", "waitlist.converted"}
OVER = {Appointment.Status.CANCELLED, Appointment.Status.COMPLETED}


def deliver(*, message: Message, now: datetime) -> str:
    """Send a claimed message and note the outcome; return it, a word to count.

    It is `away` when the channel failed and not the message, which is noted as any failure.

    Runs outside of any transaction: a message may be sent and its outcome lost, and is sent again.
    Who it is for may have been erased, or have another address, since it was claimed.
    """
    claimed = messages.read_claimed(message=message)
    if claimed is None:
        return "lost"
    message = claimed
    reason = refusal(message=message, now=now)
    if reason:
        messages.suppress(message=message, reason=reason, now=now)
        return "suppressed"
    wait = throttles.wait(message=message, now=now)
    if wait is not None:
        messages.put_off(message=message, until=wait.until)
        if wait.of_tenant is not None:
            messages.spread(message=message, start=wait.until, figure=wait.of_tenant, now=now)
        return "put_off"
    try:
        provider_message_id = _send(message=message, now=now)
    except Failed as failed:
        again = messages.note_failure(
            message=message, permanent=failed.permanent, code=failed.code, now=now
        )
        if isinstance(failed, Away):
            return "away"
        return "retried" if again else "failed"
    messages.note_sent(message=message, provider_message_id=provider_message_id, now=now)
    return "sent"


def refusal(*, message: Message, now: datetime) -> str:
    """Say why a message that was queued is not to be sent any more, a code; or nothing."""
    if not senders.is_on(channel=message.channel):
        return "channel_off"
    if message.deadline is not None and message.deadline <= now:
        return "too_late"
    if reason := recipients.refusal(message=message):
        return reason
    if message.kind in OF_A_HOLD and not _is_live(message=message):
        return "closed"
    if message.kind in OF_AN_ENTRY and not _is_active(message=message):
        return "closed"
    if message.kind in OF_AN_APPOINTMENT and _is_over(message=message):
        return "closed"
    if not recipients.address(message=message):
        return "no_address"
    return preferences.refusal(message=message)


def _send(*, message: Message, now: datetime) -> str:
    try:
        content = templates.render(message=message, now=now)
        address = recipients.address(message=message)
        sender = senders.of(channel=message.channel)
        return sender.send(message=message, address=address, content=content)
    except Failed:
        raise
    except Exception as error:  # one message that cannot be sent keeps no other from being sent
        log.exception("message not sent", message=str(message.pk), error=type(error).__name__)
        raise Failed(permanent=False, code=messages.FAULT) from error


def _is_live(*, message: Message) -> bool:
    return Hold.objects.filter(messages=message, status=Hold.Status.OFFERED).exists()


def _is_active(*, message: Message) -> bool:
    return WaitlistEntry.objects.filter(ACTIVE, messages=message).exists()


def _is_over(*, message: Message) -> bool:
    return message.appointment is not None and message.appointment.status in OVER
