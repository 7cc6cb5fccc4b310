from celery import current_app, shared_task
from django.core.cache import cache

from audit import clock, events
from notifications import deliveries, messages, relay

LIMIT = 5000
BATCH = 20  # with what one may take to be sent, less than a claim lasts
FAILURES = 3  # in a row, after which a channel rests
REST = 60  # seconds


@shared_task
def relay_events() -> dict[str, int]:
    """Beat, every 5 s and on commit: number what happened, and write and send what it calls for."""
    events.heed()
    total = 0
    while (done := relay.relay(limit=LIMIT, now=clock.now())).events:
        total += done.events
        for task, what in sorted(done.sends):
            current_app.send_task(task, args=[what], expires=REST, retry=False)
    return {"events": total}


@shared_task
def retry_deliveries() -> dict[str, int]:
    """Beat, every minute: what is due again, and what a lost message left."""
    found = messages.due(now=clock.now())
    for channel in found:
        send_messages.apply_async(args=(channel,), expires=REST)
    return {"channels": len(found)}


@shared_task
def send_messages(channel: str) -> dict[str, int]:
    """At once when something was queued on a channel, and with the sweep: send what is due.

    A channel that fails several times in a row rests a while, so that one whose provider is away
    takes no worker from the others.
    """
    counts: dict[str, int] = {}
    rests = f"notifications.rests.{channel}"
    failures = 0
    while not cache.get(rests):
        claimed = messages.claim(channel=channel, now=clock.now(), limit=BATCH)
        if not claimed:
            break
        for message in claimed:
            if failures >= FAILURES:
                messages.put_off(message=message, until=clock.now())
                continue
            outcome = deliveries.deliver(message=message, now=clock.now())
            counts[outcome] = counts.get(outcome, 0) + 1
            failures = failures + 1 if outcome == "retried" else 0
        if failures >= FAILURES:
            cache.set(rests, True, timeout=REST - 5)  # over when the next sweep comes
    return counts
