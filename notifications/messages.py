"""Messages: what becomes of a row that tells somebody something.

A sender claims rows in a short transaction, sends outside of any, and notes the outcome in another.
A claim lapses, so that what a killed sender had is sent again, with the same id. `attempts` is the
token of a claim: who had a message and lost it changes nothing any more.
"""

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q, QuerySet
from limits import RateLimitItem

from audit import sql
from audit.errors import NotFound, Refused
from notifications.kinds import URGENT
from notifications.models import Message

FAULT = "error"
LEASE = timedelta(minutes=5)  # longer than a task may run
FIRST_PAUSE = timedelta(seconds=30)
LONGEST_PAUSE = timedelta(hours=1)
MAX_ATTEMPTS = 12  # with these pauses, about six hours
MAX_FAULTS = 3  # attempts that end in a fault of our own, which hardly passes


class NotFailed(Refused):
    """Only a message that failed can be retried or dismissed."""

    code = "not_failed"


@transaction.atomic
def claim(*, channel: str, now: datetime, limit: int) -> Sequence[Message]:
    """Take at most `limit` messages that are due. Locks message."""
    rows = sql.run(
        app="notifications",
        name="claim_messages",
        params={
            "channel": channel,
            "now": now,
            "until": now + LEASE,
            "urgent": URGENT,
            "limit": limit,
        },
    )
    return list(Message.objects.filter(pk__in=[id for (id,) in rows]).order_by("seq", "pk"))


def read_claimed(*, message: Message) -> Message | None:
    """Return a claimed message as it is now, with all that rendering it reads.

    None if the claim is lost, or the message went with its user.
    """
    return to_render(found=Message.objects.filter(_claimed(message=message))).first()


def to_render(*, found: QuerySet[Message]) -> QuerySet[Message]:
    """Read with messages all that rendering them reads."""
    return found.select_related(
        "tenant", "facility", "patient", "user", "entry__service", "entry__provider",
        "entry__organizer", "entry__rfp_venue__rfp", "entry__converted_rfp",
        "hold__slot__provider", "hold__slot__service", "appointment__provider",
        "appointment__service", "appointment__facility", "appointment__patient",
    )  # fmt: skip


def note_sent(*, message: Message, provider_message_id: str, now: datetime) -> bool:
    """Note that a provider took a claimed message; return whether the claim still held.

    Locks message.
    """
    noted = Message.objects.filter(_claimed(message=message)).update(
        status=Message.Status.SENT,
        provider_message_id=provider_message_id,
        sent_at=now,
        next_attempt_at=None,
        claimed_until=None,
        reason="",
    )
    return bool(noted)


def note_failure(*, message: Message, permanent: bool, code: str, now: datetime) -> bool:
    """Note that a claimed message was not taken; return whether it will be tried again.

    It is, after a pause that grows, until it has been tried `MAX_ATTEMPTS` times, or `MAX_FAULTS`
    where the fault is ours, or its failure would come again. Locks message.
    """
    most = MAX_FAULTS if code == FAULT else MAX_ATTEMPTS
    if permanent or message.attempts >= most:
        Message.objects.filter(_claimed(message=message)).update(
            status=Message.Status.FAILED,
            reason=code,
            closed_at=now,
            next_attempt_at=None,
            claimed_until=None,
        )
        return False
    Message.objects.filter(_claimed(message=message)).update(
        next_attempt_at=now + pause(attempts=message.attempts), claimed_until=None, reason=code
    )
    return True


def suppress(*, message: Message, reason: str, now: datetime) -> None:
    """Note that a claimed message is not to be sent any more, and why. Locks message."""
    Message.objects.filter(_claimed(message=message)).update(
        status=Message.Status.SUPPRESSED,
        reason=reason,
        closed_at=now,
        next_attempt_at=None,
        claimed_until=None,
    )


def put_off(*, message: Message, until: datetime) -> None:
    """Give a claimed message back untried, due at `until`. Locks message."""
    Message.objects.filter(_claimed(message=message)).update(
        next_attempt_at=until, claimed_until=None, attempts=F("attempts") - 1
    )


def spread(*, message: Message, start: datetime, figure: RateLimitItem, now: datetime) -> int:
    """Put off what else its tenant has due on its channel, so many at a time from `start`.

    Else each would be claimed and put off one by one, time and again. Return how many.
    Locks message.
    """
    params = {
        "tenant": message.tenant_id,
        "channel": message.channel,
        "urgent": URGENT,
        "now": now,
        "start": start,
        "amount": figure.amount,
        "period": timedelta(seconds=figure.get_expiry()),
    }
    return len(sql.run(app="notifications", name="spread_messages", params=params))


def hurries(*, message: Message, now: datetime) -> bool:
    """Whether something urgent that is due waits for a message to be sent before it."""
    later = Message.objects.filter(
        status=Message.Status.QUEUED,
        entry=message.entry,
        channel=message.channel,
        patient=message.patient,
        user=message.user,
        seq__gt=message.seq,
        kind__in=URGENT,
        next_attempt_at__lte=now,
    )
    return message.entry is not None and later.exists()


def note_report(
    *, channel: str, provider_message_id: str, delivered: bool, code: str, now: datetime
) -> bool:
    """Note what a provider says became of a message; return whether that was news.

    Reports come twice and in any order: a delivered message stays so. One that comes before the
    sender has noted the provider's id is news to nobody. `code` says why it was not delivered.
    Locks message.
    """
    known = Q(channel=channel, provider_message_id=provider_message_id)
    if delivered:
        changed = Message.objects.filter(known, status=Message.Status.SENT).update(
            status=Message.Status.DELIVERED, delivered_at=now, reason=""
        )
    else:
        changed = Message.objects.filter(known, status=Message.Status.SENT).update(
            status=Message.Status.FAILED, reason=code, closed_at=now
        )
    return bool(changed)


def send_as_template(*, channel: str, provider_message_id: str, now: datetime) -> bool:
    """Queue again, as a template, a message whose own words WhatsApp took and then refused.

    That is done once: a template is refused for other reasons. Return whether it was.

    Locks message.
    """
    refused = Message.objects.filter(
        channel=channel,
        provider_message_id=provider_message_id,
        status=Message.Status.SENT,
        template_only=False,
    )
    queued = refused.update(
        status=Message.Status.QUEUED, template_only=True, sent_at=None, next_attempt_at=now
    )
    return bool(queued)


def note_taken(*, channel: str, message_id: UUID, provider_message_id: str, now: datetime) -> bool:
    """Note that a provider reports on a message whose sender did not note that it was taken.

    Else what was sent by a sender that was killed since would be sent again. A report on what was
    refused, and is queued again, says nothing new. Locks message.
    """
    tried = Message.objects.filter(
        pk=message_id, channel=channel, status=Message.Status.QUEUED, attempts__gt=0
    )
    noted = tried.exclude(provider_message_id=provider_message_id).update(
        status=Message.Status.SENT,
        provider_message_id=provider_message_id,
        sent_at=now,
        next_attempt_at=None,
        claimed_until=None,
        reason="",
    )
    return bool(noted)


def forget() -> int:
    """Forget the providers' ids of messages to who was erased while they were sent.

    Those noted before went with the patient. Return how many. Locks message.
    """
    theirs = Message.objects.filter(patient__erased_at__isnull=False)
    return theirs.exclude(provider_message_id="").update(provider_message_id="")


@transaction.atomic
def retry(*, message_id: UUID, now: datetime) -> Message:
    """Queue a failed message again, with all its attempts before it. Locks message.

    :raises NotFound: if it is not there.
    :raises NotFailed: unless it failed.
    """
    message = _lock_failed(message_id=message_id)
    Message.objects.filter(pk=message.pk, status=Message.Status.FAILED).update(
        status=Message.Status.QUEUED,
        reason="",
        attempts=0,
        next_attempt_at=now,
        provider_message_id="",
        sent_at=None,
        closed_at=None,
    )
    message.refresh_from_db()
    return message


@transaction.atomic
def dismiss(*, message_id: UUID, now: datetime) -> Message:
    """Put a failed message aside. Locks message.

    :raises NotFound, NotFailed: as `retry`.
    """
    message = _lock_failed(message_id=message_id)
    Message.objects.filter(pk=message.pk, status=Message.Status.FAILED).update(
        status=Message.Status.DISMISSED, closed_at=now
    )
    message.refresh_from_db()
    return message


def mark_read(*, message_id: UUID, now: datetime) -> None:
    """Note that somebody read what they were told in the app; the first time counts."""
    Message.objects.filter(pk=message_id, channel="in_app", read_at=None).update(read_at=now)


def due(*, now: datetime) -> list[str]:
    """Return the channels on which something is due."""
    queued = Message.objects.filter(status=Message.Status.QUEUED, next_attempt_at__lte=now)
    return sorted(queued.order_by().values_list("channel", flat=True).distinct())


def pause(*, attempts: int) -> timedelta:
    """Say how long to wait after so many attempts: twice as long each time, less a part of chance.

    The chance keeps what failed together from coming back together.
    """
    full: timedelta = min(FIRST_PAUSE * 2 ** (attempts - 1), LONGEST_PAUSE)
    return full * random.uniform(0.5, 1)


def _claimed(*, message: Message) -> Q:
    mine = Q(pk=message.pk, attempts=message.attempts, claimed_until__isnull=False)
    return mine & Q(status=Message.Status.QUEUED)


def _lock_failed(*, message_id: UUID) -> Message:
    message = Message.objects.select_for_update(no_key=True).filter(pk=message_id).first()
    if message is None:
        raise NotFound("delivery", message_id)
    if message.status != Message.Status.FAILED:
        raise NotFailed(f"Delivery {message_id} is {message.status}.", field="delivery")
    return message
