"""A sender of the stream in a process of its own, for tests that kill it."""

import sys
from datetime import datetime

import django

django.setup()

from notifications import stream  # noqa: E402


def main(now: str) -> None:
    """Say that it begins, and send in small batches until nothing is left."""
    with stream.open_broker() as broker:
        print("begins", flush=True)
        while stream.send(broker=broker, now=datetime.fromisoformat(now), limit=20):
            pass


if __name__ == "__main__":
    main(sys.argv[1])
