"""Days in which everything runs that runs by itself: beat's tasks, and what waits in the broker."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import uuid4

import pytest
import time_machine

from audit import clock
from config.celery import app
from tests.audit import broker

#: What beat runs in a day of the waitlist, in the order in which it matters to a test.
BEAT = (
    "waitlist.tasks.expire_holds",
    "waitlist.tasks.send_hold_reminders",
    "waitlist.tasks.fill_open_slots",
    "waitlist.tasks.tell_positions",
    "notifications.tasks.relay_events",
    "notifications.tasks.retry_deliveries",
    "notifications.tasks.stream_events",
)


@dataclass
class Day:
    """The clock of a test, which stands still until it is moved.

    `sent` is every message that a worker took out of the broker, as it lay there.
    """

    now: datetime
    traveller: time_machine.Traveller
    sent: list[str] = field(default_factory=list)

    def work(self) -> None:
        """Do what waits in the broker, and what that sends, until nothing is left."""
        while waiting := broker.messages():
            self.sent += broker.texts()
            broker.empty()
            for _, task, args in waiting:
                run(task, *args)

    def move(self, by: timedelta) -> None:
        """Move the clock; all that is due by then is done."""
        self.now += by
        self.traveller.move_to(self.now)
        for task in BEAT:
            run(task)
        self.work()


@contextmanager
def begun(*, at: datetime, monkeypatch: pytest.MonkeyPatch) -> Iterator[Day]:
    """Let it be a time, for rows and for limits; nothing waits in the broker before or after."""
    app.loader.import_default_modules()
    broker.empty()
    with time_machine.travel(at, tick=False) as traveller:
        day = Day(at, traveller)
        monkeypatch.setattr(clock, "now", lambda: day.now)
        yield day
    broker.empty()


def run(task: str, *args: str) -> None:
    """Run a task as a worker does."""
    done = app.tasks[task].apply(args=args, task_id=str(uuid4()))
    assert done.successful(), done.traceback
