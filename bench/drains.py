"""Bench of a drain: queued messages are sent as fast as the throttles let them, to a stub.

The clock is moved and nothing waits. What is measured is the work; what is checked is when, by that
clock, the stub got what.
"""

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest.mock import patch
from urllib.parse import parse_qs

from django.db import connection
from django.test import override_settings

from accounts import limits
from accounts.models import Tenant
from audit import clock, sql
from bench import databases, worlds
from bench.measures import Result, sample
from bench.worlds import NOW
from notifications import relay, tasks
from notifications.models import Channel, ChannelSwitch, Message
from scheduling.models import Patient

SENDING = timedelta(milliseconds=10)  # that one message takes, by the moved clock
SWEEP = timedelta(minutes=1)  # as beat has it
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
SMS = Channel.SMS
#: The limits of throttles, of a tenant and of a recipient.
LIMITS = ("messages", "message")
ACCOUNT = {
    "TWILIO_ACCOUNT_SID": "AC" + "0" * 32,
    "TWILIO_AUTH_TOKEN": "bench",
    "TWILIO_FROM": "+15005550001",
}


@dataclass
class Stub:
    """Twilio's API, for a drain: what it got, by the moved clock: (when, to whom, message)."""

    now: datetime = NOW
    got: list[tuple[datetime, str, str]] = field(default_factory=list)


def bench_drain(*, recipients: int, each: int) -> Result:
    """Send so many messages to each recipient, who are all one tenant's, once."""

    def build() -> None:
        queue(facilities=10, recipients=recipients, each=each)

    with databases.world(build=build), serve() as stub:
        forget()
        done = sample(lambda: drain(stub=stub))
    [tenant, recipient] = [limits.figure(limit=name, tenant=None) for name in LIMITS]
    count = recipients * each
    return Result(
        bench="drain",
        sizes={"recipients": recipients, "messages": count, "batch": tasks.BATCH},
        seconds={"ours": done.seconds, "each": done.seconds / count},
        targets={
            "of a tenant's minute": (most(stub=stub, within=MINUTE) / tenant.amount, 1.0),
            "of a recipient's hour": (
                most(stub=stub, within=HOUR, of_each=True) / recipient.amount,
                1.0,
            ),
            "lost or sent twice": (float(_wrong(stub=stub, count=count)), 0.0),
        },
        queries=done.queries,
        peak_mb=done.peak_mb,
        found={"minutes by the clock": done.value},
    )


def queue(*, facilities: int, recipients: int, each: int) -> None:
    """Make a world, and queue so many SMS for each of so many who wait; half of them are told."""
    waiting = 2 * recipients // facilities
    worlds.make(facilities=facilities, slots=0, waiting=waiting)
    people = list(Patient.objects.order_by("pk"))
    for number, patient in enumerate(people):
        patient.phone = f"+1{5_550_000_000 + number}"
    Patient.objects.bulk_update(people, ["phone"])
    for channel, is_on in ((SMS, True), (Channel.EMAIL, False)):
        ChannelSwitch.objects.bulk_create(
            ChannelSwitch(tenant=tenant, kind="waitlist.joined", channel=channel, is_on=is_on)
            for tenant in Tenant.objects.all()
        )
    with connection.cursor() as cursor:
        cursor.execute(
            sql.text(app="bench", name="make_events"),
            {"events": len(people) * each, "now": NOW},
        )
    with override_settings(**ACCOUNT):
        while relay.relay(limit=tasks.LIMIT, now=NOW).events:
            pass


def drain(*, stub: Stub) -> int:
    """Do what beat and a worker do until nothing is queued; return how many minutes that took.

    They are minutes of the clock that is moved. What beat and the worker send waits here, and not
    in the broker, from which another worker would take it.
    """
    queued = Message.objects.filter(status=Message.Status.QUEUED, channel=SMS)
    waiting: deque[tuple[str]] = deque()
    minutes = 0

    def send(*, args: tuple[str], expires: int) -> None:
        waiting.append(args)

    with (
        patch.object(tasks.send_messages, "apply_async", send),
        patch.object(clock, "now", lambda: stub.now),
        patch("time.time", lambda: stub.now.timestamp()),  # which the limits count by
    ):
        while queued.exists():
            tasks.retry_deliveries()
            while waiting:
                tasks.send_messages(*waiting.popleft())
            minutes += 1
            stub.now = max(stub.now, NOW + minutes * SWEEP)
    return minutes


def most(*, stub: Stub, within: timedelta, of_each: bool = False) -> int:
    """Return the most that the stub got in any such time, of one recipient where `of_each`."""
    times: dict[str, list[datetime]] = {}
    for at, to, _ in stub.got:
        times.setdefault(to if of_each else "", []).append(at)
    return max(_most(times=found, within=within) for found in times.values())


def forget() -> None:
    """Forget what another drain counted, at the same times and of the same people."""
    for tenant in Tenant.objects.all():
        limits.forget(limit="messages", who=f"{SMS}:{tenant.pk}", tenant=tenant.pk)
        for patient in Patient.objects.filter(tenant=tenant):
            limits.forget(limit="message", who=f"{SMS}:{patient.pk}", tenant=tenant.pk)


@contextmanager
def serve() -> Iterator[Stub]:
    """Run the stub, with the settings to use it."""
    stub = Stub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # else the body waits until the head is acknowledged

        def do_POST(self) -> None:
            stub.now += SENDING
            sent = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            [to], [callback] = sent["To"], sent["StatusCallback"]
            stub.got.append((stub.now, to, callback))
            answer = b'{"sid": "SM1", "status": "queued"}'
            self.send_response(201)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    url = f"http://127.0.0.1:{server.server_port}"
    with ExitStack() as stack:
        stack.callback(server.server_close)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        stack.callback(thread.join)
        stack.callback(server.shutdown)
        stack.enter_context(override_settings(**ACCOUNT, TWILIO_URL=url))
        yield stub


def _most(*, times: Sequence[datetime], within: timedelta) -> int:
    first = found = 0
    for last, at in enumerate(times):
        while times[first] <= at - within:
            first += 1
        found = max(found, last - first + 1)
    return found


def _wrong(*, stub: Stub, count: int) -> int:
    """Return how many messages the stub did not get, or got again."""
    ids = {message for _, _, message in stub.got}
    return count - len(ids) + len(stub.got) - len(ids)
