"""A Kafka of librdkafka's own, and who reads it in a process apart."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition

TOPIC = "waitlist-events"


@contextmanager
def opened() -> Iterator[str]:
    """Run a mock cluster of one broker; give its address."""
    holder = Producer({"test.mock.num.brokers": 1})
    brokers = holder.list_topics(timeout=10).brokers.values()
    yield ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
    holder.flush(1)
    del holder


def read(*, servers: str) -> list[tuple[str, dict[str, Any]]]:
    """Read the whole topic in another process: key and body, of each partition in its order."""
    done = subprocess.run(
        [sys.executable, "-m", __name__, servers], capture_output=True, text=True, timeout=60,
        check=True,
    )  # fmt: skip
    return [(key, json.loads(body)) for key, body in json.loads(done.stdout)]


def main(servers: str) -> None:
    """Print what the topic holds."""
    found = []
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "test"})
    topics = consumer.list_topics(TOPIC, timeout=10).topics
    ends = {
        partition: consumer.get_watermark_offsets(TopicPartition(TOPIC, partition), timeout=10)
        for partition in topics[TOPIC].partitions
    }
    consumer.assign([TopicPartition(TOPIC, number, low) for number, (low, _) in ends.items()])
    left = sum(high - low for low, high in ends.values())
    while left:
        message = consumer.poll(10)
        assert message is not None
        assert message.error() is None, message.error()
        key, value = message.key(), message.value()
        assert key is not None
        assert value is not None
        found.append((_text(key), _text(value)))
        left -= 1
    consumer.close()
    print(json.dumps(found))


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


if __name__ == "__main__":
    main(sys.argv[1])
