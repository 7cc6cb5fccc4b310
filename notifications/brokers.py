"""Brokers that a stream is written to: Kafka, or a Redis stream.

Each takes records in their order, and says how many of the first it has for sure. None takes a
record while it refuses one before it: so who reads a stream and passes over what is not newer than
what they had has read everything, in its order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Protocol, Self
from urllib.parse import parse_qsl, urlsplit

import redis
import structlog
from confluent_kafka import KafkaError, KafkaException, Producer

log = structlog.get_logger(__name__)

SECONDS = 20.0  # that a broker may take for one batch
KEPT = 1_000_000  # records of a Redis stream, about; Kafka's topics say so themselves

Record = tuple[str, str]  # key, body: what has the same key is kept in its order


class Broker(Protocol):
    """Something that records are appended to."""

    def append(self, *, records: Sequence[Record]) -> int:
        """Append records; return how many of the first are there for sure."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...  # fmt: skip


def connect(*, url: str, topic: str) -> Broker:
    """Open the broker of an address: `kafka://host:port,host:port?option=value`, or a Redis URL.

    Options are librdkafka's, such as `security.protocol=SASL_SSL`.

    :raises ValueError: if it is neither.
    """
    parts = urlsplit(url)
    if parts.scheme == "kafka":
        return Kafka(servers=parts.netloc, options=dict(parse_qsl(parts.query)), topic=topic)
    if parts.scheme in {"redis", "rediss", "unix"}:
        return RedisStream(url=url, topic=topic)
    raise ValueError("STREAM_URL begins with kafka://, redis://, rediss:// or unix://")


@dataclass
class Kafka:
    """A topic of Kafka. It is written by one producer, which Kafka lets repeat nothing."""

    servers: str
    options: dict[str, str]
    topic: str

    def __enter__(self) -> Self:
        self.producer = Producer(
            {
                "linger.ms": 5,
                "partitioner": "murmur2_random",  # the one that Java's clients use
                **self.options,
                "bootstrap.servers": self.servers,
                "acks": "all",
                "enable.idempotence": True,
                # Else what follows a record that is given up could be written without it.
                "enable.gapless.guarantee": True,
                "message.timeout.ms": 0,
                "log_level": 2,  # what matters is told by `append`
            }
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.producer.purge()
        self.producer.flush(1)

    def append(self, *, records: Sequence[Record]) -> int:
        """Append records, and wait until Kafka has them."""
        refused = set(range(len(records)))

        def note(place: int, error: KafkaError | None, _: Any) -> None:
            if error is None:
                refused.discard(place)
            elif place == min(refused):
                log.warning("kafka refuses", error=error.name())

        try:
            for place, (key, body) in enumerate(records):
                self.producer.produce(
                    self.topic, key=key, value=body, on_delivery=partial(note, place)
                )
        except (BufferError, KafkaException) as error:  # what was not produced is not there
            log.warning("kafka takes no more", error=str(error))
        self.producer.flush(SECONDS)
        return min(refused, default=len(records))


@dataclass
class RedisStream:
    """A stream of Redis or Valkey; a batch is appended as a whole or not at all."""

    url: str
    topic: str

    def __enter__(self) -> Self:
        self.client = redis.Redis.from_url(
            self.url, socket_timeout=SECONDS, socket_connect_timeout=SECONDS
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.client.close()

    def append(self, *, records: Sequence[Record]) -> int:
        """Append records in one transaction."""
        try:
            with self.client.pipeline(transaction=True) as batch:
                for key, body in records:
                    fields: Any = {"key": key, "body": body}
                    batch.xadd(self.topic, fields, maxlen=KEPT, approximate=True)
                batch.execute()
        except redis.RedisError as error:
            log.warning("redis refuses", error=type(error).__name__)
            return 0
        return len(records)
