"""A sender of the stream in a process of its own, for tests that kill it."""

import sys
from datetime import datetime

import django

django.setup()

from notifications import stream  # noqa: E402


def main(now: str) -> None:
    """Send in small batches until nothing is left, with a line before the first and after each."""
    with stream.open_broker() as broker:
        print("begins", flush=True)
        while stream.send(broker=broker, now=datetime.fromisoformat(now), limit=10):
            print("sent", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
