"""The stream: every event in its order, to one topic of a broker.

One sender reads the events by their places from where the cursor stands, and the cursor moves past
what the broker has for sure. So nothing is lost while the broker is away; what it took and did not
say so comes again, with the same `seq`. The sender stops at the first record that is not taken:
what has the same key, which is the facility, is there in its order.
"""

import json
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db.models import Q

from audit.models import EventSeq
from notifications import bodies
from notifications.bodies import Body
from notifications.brokers import Broker, Record, connect
from notifications.models import StreamCursor

log = structlog.get_logger(__name__)

LEASE = timedelta(minutes=1)  # longer than a batch takes; so long the stream rests when one fails


def is_on() -> bool:
    """Whether there is a stream."""
    return bool(settings.STREAM_URL)


def announce() -> None:
    """Say at start that there is none."""
    if not is_on():
        log.warning("stream is off: set STREAM_URL, see .env.example")


def open_broker() -> Broker:
    """Return the broker that settings name."""
    return connect(url=settings.STREAM_URL, topic=settings.STREAM_TOPIC)


def send(*, broker: Broker, now: datetime, limit: int) -> int:
    """Write at most `limit` events that come next; return how many the broker took.

    None while another sender is at it, or if nothing is left. Runs outside of any transaction.
    Locks cursor.
    """
    cursor = _claim(now=now)
    if cursor is None:
        return 0
    places = EventSeq.objects.filter(seq__gt=cursor.seq).order_by("seq")[:limit]
    event_ids = list(places.values_list("event_id", flat=True))
    told = bodies.read(event_ids=event_ids, contact=settings.STREAM_INCLUDE_CONTACT)
    taken = broker.append(records=[_record(body) for body in told]) if told else 0
    mine = StreamCursor.objects.filter(pk=cursor.pk, claimed_until=cursor.claimed_until)
    if taken < len(told):
        # The claim stays until it lapses, so that a broker that is away is not asked all the time.
        log.warning("stream is held up", left=len(told) - taken)
        mine.update(seq=told[taken - 1]["seq"] if taken else cursor.seq)
        return taken
    mine.update(seq=told[-1]["seq"] if told else cursor.seq, claimed_until=None)
    return taken


def _claim(*, now: datetime) -> StreamCursor | None:
    """Take the cursor, unless another sender has it."""
    name = settings.STREAM_TOPIC
    StreamCursor.objects.get_or_create(name=name)
    free = Q(claimed_until=None) | Q(claimed_until__lte=now)
    if not StreamCursor.objects.filter(free, name=name).update(claimed_until=now + LEASE):
        return None
    return StreamCursor.objects.filter(name=name, claimed_until=now + LEASE).first()


def _record(body: Body) -> Record:
    key = body["facility_id"] or body["tenant_id"]
    return key, json.dumps(body, separators=(",", ":"))
