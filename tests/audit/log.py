"""What the event log says of a call."""

from collections.abc import Iterator
from contextlib import contextmanager

from audit.models import Event


@contextmanager
def written() -> Iterator[list[Event]]:
    """Collect the events that are written inside, in the order of their ids."""
    before = set(Event.objects.values_list("pk", flat=True))
    found: list[Event] = []
    yield found
    found += Event.objects.exclude(pk__in=before).order_by("pk")


def brief(events: list[Event]) -> list[tuple[str, str | None, str | None]]:
    """Return kind, previous and new status of each."""
    return [(event.kind, event.previous_status, event.new_status) for event in events]
