"""A process that imports everything and bears children: see `tests.notifications.mortals`.

A child runs a task, at a time that it is given, and dies at a statement, as by `kill -9`.
"""

import json
import os
import signal
import sys
import traceback
from datetime import datetime
from typing import Any

import django

django.setup()

from django.conf import settings  # noqa: E402
from django.db import connection  # noqa: E402

from audit import clock  # noqa: E402
from notifications import senders, tasks  # noqa: E402


def main() -> None:
    """For each line bear a child, and print how it ended."""
    tasks.LIMIT, tasks.BATCH = 2, 3
    senders.of(channel="sms")  # which takes long to load
    for line in sys.stdin:
        child = os.fork()
        if not child:
            _live(**json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _live(
    *, task: str, args: list[str], now: str, dies: str, at: int, given: dict[str, object]
) -> None:
    """Run a task, up to before or after a statement; do not return."""
    clock.now = lambda: datetime.fromisoformat(now)
    left = at
    for name, value in given.items():
        setattr(settings, name, value)

    def die(execute: Any, *statement: Any) -> Any:
        nonlocal left
        left -= 1
        if not left and dies == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = execute(*statement)
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    try:
        with connection.execute_wrapper(die):
            getattr(tasks, task)(*args)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    main()
