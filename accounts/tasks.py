from celery import shared_task

from accounts import idempotency, invitations
from audit import clock

LIMIT = 100


@shared_task
def mail_invitations(invitation_id: str | None = None) -> dict[str, int]:
    """On commit of an invitation, and every minute: whatever was not mailed yet."""
    return {"mails": invitations.mail_due(now=clock.now(), limit=LIMIT)}


@shared_task
def prune_idempotency_keys() -> dict[str, int]:
    """Beat, daily: answers are kept for a day."""
    return {"keys": idempotency.prune(now=clock.now())}
