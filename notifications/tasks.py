import time
from uuid import UUID

from celery import current_app, shared_task
from django.core.cache import cache

from audit import clock, events
from notifications import (
    deliveries,
    feeds,
    messages,
    preferences,
    relay,
    stream,
    webhook_deliveries,
    webhooks,
)

LIMIT = 5000
STREAMED = 1000  # events in one batch
BATCH = 20  # with what one may take to be sent, less than a claim lasts
FAILURES = 3  # in a row, after which a channel rests
REST = 60  # seconds
TURN = 15  # seconds, after which one channel or receiver gives way to what waits for a worker


@shared_task
def relay_events() -> dict[str, int]:
    """Beat, every 5 s and on commit: number what happened, and write and send what it calls for."""
    events.heed()
    total = 0
    while (done := relay.relay(limit=LIMIT, now=clock.now())).events:
        total += done.events
        for task, what in sorted(done.sends):
            current_app.send_task(task, args=[what], expires=REST, retry=False)
    if total and stream.is_on():
        stream_events.apply_async(expires=REST, retry=False)
    return {"events": total}


@shared_task
def retry_deliveries() -> dict[str, int]:
    """Beat, every minute: what is due again, and what a lost message left."""
    found = messages.due(now=clock.now())
    for channel in found:
        send_messages.apply_async(args=(channel,), expires=REST)
    endpoints = webhooks.due(now=clock.now())
    for endpoint_id in endpoints:
        send_webhooks.apply_async(args=(str(endpoint_id),), expires=REST)
    return {"channels": len(found), "endpoints": len(endpoints)}


@shared_task
def send_messages(channel: str) -> dict[str, int]:
    """At once when something was queued on a channel, and with the sweep: send what is due.

    A channel that is away several times in a row rests a while, so that it takes no worker from
    the others; a message that is not taken tires no channel. After its turn, what is left waits in
    the queue behind all others.
    """
    counts: dict[str, int] = {}
    rests = f"notifications.rests.{channel}"
    failures, end = 0, time.monotonic() + TURN
    while not cache.get(rests):
        if time.monotonic() >= end:
            send_messages.apply_async(args=(channel,), expires=REST)
            break
        claimed = messages.claim(channel=channel, now=clock.now(), limit=BATCH)
        if not claimed:
            break
        for message in claimed:
            if failures >= FAILURES:
                messages.put_off(message=message, until=clock.now())
                continue
            outcome = deliveries.deliver(message=message, now=clock.now())
            counts[outcome] = counts.get(outcome, 0) + 1
            failures = failures + 1 if outcome == "away" else 0
        if failures >= FAILURES:
            cache.set(rests, True, timeout=REST - 5)  # over when the next sweep comes
    return counts


@shared_task
def send_webhooks(endpoint_id: str) -> dict[str, int]:
    """At once when an endpoint is to be told something, and with the sweep: send what is due.

    It stops at the first that is not taken, and after its turn: what is left waits in the queue
    behind all others.
    """
    counts = {"delivered": 0, "failed": 0}
    id, end = UUID(endpoint_id), time.monotonic() + TURN
    if webhook_deliveries.next_due(endpoint_id=id, now=clock.now()) is None:
        return counts
    endpoint = webhooks.claim(endpoint_id=id, now=clock.now())
    while endpoint is not None and not counts["failed"]:
        delivery = webhook_deliveries.next_due(endpoint_id=id, now=clock.now())
        if delivery is None or time.monotonic() >= end:
            break
        answer = webhook_deliveries.deliver(endpoint=endpoint, delivery=delivery, now=clock.now())
        webhook_deliveries.note_answer(delivery=delivery, answer=answer, now=clock.now())
        counts["delivered" if answer.is_taken else "failed"] += 1
    if endpoint is not None:
        webhooks.release(endpoint=endpoint)
        # Something may have come before the release, and found no sender.
        if not counts["failed"] and webhook_deliveries.next_due(endpoint_id=id, now=clock.now()):
            send_webhooks.apply_async(args=(endpoint_id,), expires=REST)
    return counts


@shared_task
def stream_events() -> dict[str, int]:
    """Beat, every minute and after the relay: write what comes next to the stream."""
    total, end = 0, time.monotonic() + TURN
    if not stream.is_on():
        return {"events": total}
    with stream.open_broker() as broker:
        while taken := stream.send(broker=broker, now=clock.now(), limit=STREAMED):
            total += taken
            if time.monotonic() >= end:
                stream_events.apply_async(expires=REST)
                break
    return {"events": total}


@shared_task
def prune() -> dict[str, int]:
    """Beat, daily: what is of no use to anybody any longer."""
    return {
        "webhook_deliveries": webhook_deliveries.prune(now=clock.now()),
        "preferences": preferences.prune(),
        "calendar_feeds": feeds.prune(),
        "provider_ids": messages.forget(),
    }
