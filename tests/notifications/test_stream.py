"""The stream: every event in its order, whatever becomes of the broker or of the sender."""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import redis
from django.conf import settings as django_settings
from django.db import connection
from pytest_django import Settings

from audit import events
from audit.models import Event, EventSeq
from notifications import brokers, stream, tasks
from notifications.brokers import Record
from notifications.models import Preference, StreamCursor
from tests.audit import broker as queues
from tests.notifications import clusters
from tests.notifications.told import relayed
from tests.waitlist.worlds import HOUR, NOW, SECOND, World

TOPIC = clusters.TOPIC
ROUNDS = 4
FACILITIES = [uuid4() for _ in range(7)]

Told = list[tuple[str, dict[str, Any]]]
Read = Callable[[], Told]


@dataclass
class Fake:
    """A broker that takes so many records and no more."""

    takes: int = 1000
    records: list[Record] = field(default_factory=list)

    def append(self, *, records: Sequence[Record]) -> int:
        taken = min(self.takes, len(records))
        self.records += records[:taken]
        return taken

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        pass

    @property
    def seqs(self) -> list[int]:
        """The places of what it has."""
        return [json.loads(body)["seq"] for _, body in self.records]


@pytest.fixture(params=["kafka", "redis"])
def read(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Read]:
    """A real broker of each kind; what is given reads all that it has."""
    settings.STREAM_TOPIC = TOPIC
    if request.param == "kafka":
        with clusters.opened() as servers:
            settings.STREAM_URL = f"kafka://{servers}?socket.timeout.ms=5000"
            yield lambda: clusters.read(servers=servers)
        return
    settings.STREAM_URL = settings.REDIS_URL
    client = redis.Redis.from_url(settings.REDIS_URL, decode_responses=True)
    client.delete(TOPIC)

    def read_stream() -> Told:
        found = cast(list[tuple[str, Mapping[str, str]]], client.xrange(TOPIC))
        return [(record["key"], json.loads(record["body"])) for _, record in found]

    yield read_stream
    client.delete(TOPIC)
    client.close()


def happen(count: int) -> list[int]:
    """Let events happen at several facilities, and relay them; return their places."""
    events.record_all(
        events=[
            Event(
                kind="slot.retired", tenant_id=uuid4(), subject_type="slot", subject_id=uuid4(),
                actor_type="system", at=NOW, facility_id=FACILITIES[number % len(FACILITIES)],
            )
            for number in range(count)
        ]
    )  # fmt: skip
    relayed()
    return list(EventSeq.objects.order_by("seq").values_list("seq", flat=True))


def send(broker: brokers.Broker, *, now: datetime = NOW, limit: int = 1000) -> int:
    return stream.send(broker=broker, now=now, limit=limit)


def seq() -> int:
    return StreamCursor.objects.get(name=TOPIC).seq


def check_order(told: Told, *, seqs: Sequence[int]) -> None:
    """Check that nothing is missing, and that each facility's news came in its order.

    What comes for the second time does not count: a reader passes over what is not newer.
    """
    assert {body["seq"] for _, body in told} == set(seqs)
    assert {key for key, _ in told} <= set(map(str, FACILITIES))
    for facility in map(str, FACILITIES):
        new = list(dict.fromkeys(body["seq"] for key, body in told if key == facility))
        assert new == sorted(new)


@pytest.mark.django_db
def test_the_body_is_the_same_on_both(clinic: World, read: Read) -> None:
    entry = clinic.join()
    hold = clinic.offer(entry=entry)
    relayed()
    assert tasks.stream_events() == {"events": EventSeq.objects.count()}
    told = {body["event_type"]: (key, body) for key, body in read()}
    key, body = told["waitlist.hold_offered"]
    assert key == str(clinic.facility.pk)
    assert hold.slot is not None
    assert body == {
        "event_type": "waitlist.hold_offered",
        "seq": body["seq"],
        "tenant_id": str(clinic.tenant.pk),
        "waitlist_entry_id": str(entry.pk),
        "hold_id": str(hold.pk),
        "slot_id": str(hold.slot_id),
        "facility_id": str(clinic.facility.pk),
        "provider_id": str(hold.slot.provider_id),
        "patient_id": str(entry.patient_id),
        "venue_id": None,
        "organization_id": None,
        "source_rfp_id": None,
        "previous_status": None,
        "new_status": "offered",
        "metadata": {
            "queue_position": 1,
            "queue_depth": 1,
            "hold_expires_at": hold.expires_at.isoformat().replace("+00:00", "Z"),
        },
        "timestamp": NOW.isoformat().replace("+00:00", "Z"),
    }


@pytest.mark.django_db
def test_it_goes_on_where_it_was(read: Read) -> None:
    first = happen(30)
    assert tasks.stream_events() == {"events": 30}
    assert tasks.stream_events() == {"events": 0}
    seqs = happen(30)
    assert tasks.stream_events() == {"events": 30}
    told = read()
    assert len(told) == 60
    check_order(told, seqs=seqs)
    assert (seq(), first) == (seqs[-1], seqs[:30])


@pytest.mark.django_db
def test_while_the_broker_is_away_nothing_is_lost(
    read: Read, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(brokers, "SECONDS", 0.3)
    there = settings.STREAM_URL
    settings.STREAM_URL = (
        "kafka://127.0.0.1:1" if there.startswith("kafka") else "redis://127.0.0.1:1/0"
    )
    seqs = happen(20)
    with stream.open_broker() as broker:
        assert send(broker) == 0
        assert seq() == 0
    monkeypatch.setattr(brokers, "SECONDS", 20.0)
    settings.STREAM_URL = there
    with stream.open_broker() as broker:
        assert send(broker, now=NOW + SECOND) == 0  # it rests
        assert send(broker, now=NOW + stream.LEASE) == 20
    told = read()
    assert len(told) == 20
    check_order(told, seqs=seqs)


@pytest.mark.django_db
def test_the_cursor_passes_only_what_the_broker_took(settings: Settings) -> None:
    settings.STREAM_TOPIC = TOPIC
    seqs = happen(10)
    broker = Fake(takes=4)
    assert send(broker) == 4
    assert seq() == seqs[3]
    broker.takes = 1000
    assert send(broker, now=NOW + SECOND) == 0
    assert send(broker, now=NOW + stream.LEASE, limit=3) == 3
    assert send(broker, now=NOW + stream.LEASE) == 3
    assert broker.seqs == seqs


@pytest.mark.django_db
def test_there_is_one_sender_and_one_that_is_lost_says_nothing_any_more(
    settings: Settings,
) -> None:
    settings.STREAM_TOPIC = TOPIC
    seqs = happen(3)
    follower = Fake()

    class Slow(Fake):
        def append(self, *, records: Sequence[Record]) -> int:
            assert send(follower, now=NOW + SECOND) == 0
            assert send(follower, now=NOW + stream.LEASE) == 3  # it is given up for lost
            return super().append(records=records[:1])

    slow = Slow()
    assert send(slow) == 1
    assert (follower.seqs, slow.seqs, seq()) == (seqs, seqs[:1], seqs[-1])


@pytest.mark.django_db
def test_contact_is_told_where_the_topic_is_ones_own_and_nowhere_else(
    clinic: World, settings: Settings
) -> None:
    patient = clinic.patient(name="Ada Lovelace", email="ada@example.org", phone="+447700900123")
    Preference.objects.create(tenant=clinic.tenant, patient=patient, sms=False)
    clinic.join(patient=patient)
    relayed()
    settings.STREAM_TOPIC = "public"
    public = Fake()
    send(public)
    [*_, (_, text)] = public.records
    assert not [one for one in ("Ada", "example.org", "7700900123", "contact") if one in text]
    settings.STREAM_TOPIC, settings.STREAM_INCLUDE_CONTACT = "private", True
    private = Fake()
    send(private)
    body = json.loads(private.records[-1][1])
    assert body["contact"] == {
        "name": "Ada Lovelace", "email": "ada@example.org", "phone": "+447700900123",
        "language": patient.language,
    }  # fmt: skip
    assert body["preferences"] == {
        "waitlist_reminders": True, "email": True, "sms": False, "whatsapp": True,
    }  # fmt: skip
    patient.erased_at = NOW
    patient.save()
    StreamCursor.objects.filter(name="private").update(seq=0)
    send(private)
    assert json.loads(private.records[-1][1])["contact"] is None


@pytest.mark.django_db
def test_it_is_off_unless_somebody_says_where(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    assert settings.STREAM_URL == ""
    happen(1)
    assert tasks.stream_events() == {"events": 0}
    stream.announce()
    assert "stream is off" in caplog.text
    with pytest.raises(ValueError, match="STREAM_URL"):
        brokers.connect(url="amqp://localhost", topic=TOPIC)


@pytest.mark.django_db(transaction=True)
def test_the_relay_sends_for_the_stream(clinic: World, settings: Settings) -> None:
    queues.empty()
    clinic.join()
    tasks.relay_events()
    streamed: tuple[str, str, list[Any]] = (
        "notifications",
        "notifications.tasks.stream_events",
        [],
    )
    assert streamed not in queues.messages()
    settings.STREAM_URL = "redis://127.0.0.1:1/0"
    clinic.join()
    tasks.relay_events()
    assert streamed in queues.messages()
    queues.empty()


@pytest.mark.django_db(transaction=True)
def test_a_sender_that_is_killed_anywhere_loses_nothing(read: Read) -> None:
    """Each runs until it is killed at some point; the next takes over once its claim lapsed."""
    seqs = happen(1000)
    luck = random.Random(20_300_304)
    url = urlsplit(os.environ["DATABASE_URL"])
    database = url._replace(path=f"/{connection.settings_dict['NAME']}").geturl()
    given = {"STREAM_URL": django_settings.STREAM_URL, "STREAM_TOPIC": TOPIC}
    killed, moved = 0, set[int]()
    for number in range(ROUNDS):
        sender = subprocess.Popen(
            [sys.executable, "-m", "tests.notifications.sender", (NOW + HOUR * number).isoformat()],
            env={**os.environ, **given, "DATABASE_URL": database},
            stdout=subprocess.PIPE,
        )
        assert sender.stdout is not None
        # After so many batches, not after so long: a slow machine takes longer to start one.
        for _ in range(luck.randint(1, 5)):
            sender.stdout.readline()
        time.sleep(luck.uniform(0, 0.01))
        killed += sender.poll() is None
        sender.kill()
        sender.wait()
        sender.stdout.close()
        moved.add(seq() if StreamCursor.objects.exists() else 0)
    with stream.open_broker() as broker:
        while send(broker, now=NOW + HOUR * ROUNDS):
            pass
    assert killed >= 2
    assert len(moved) > 1, "all were killed before they sent anything"
    check_order(read(), seqs=seqs)
    assert seq() == seqs[-1]
