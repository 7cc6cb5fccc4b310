"""Processes that run a task and are killed at one of its statements, as by `kill -9`.

Django is started once, in a process that forks each of them, so that many may die in a second.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from django.db import connection

PATIENCE = 30.0  # seconds


@dataclass(frozen=True, slots=True)
class Mortals:
    """Bears processes, one after the other."""

    mother: "subprocess.Popen[str]"

    def run(
        self, task: str, *args: str, now: datetime, dies: str = "before", at: int = 0, **given: Any
    ) -> bool:
        """Run a task with given settings; return whether it was killed.

        It is, `before` or `after` the statement `at`, from 1 on, unless it sends fewer. What it
        left unfinished is rolled back by then.
        """
        assert self.mother.stdin is not None
        assert self.mother.stdout is not None
        life = {"task": task, "args": args, "now": now.isoformat(), "dies": dies, "at": at}
        self.mother.stdin.write(json.dumps({**life, "given": given}) + "\n")
        self.mother.stdin.flush()
        status = int(self.mother.stdout.readline())
        assert status in {0, -signal.SIGKILL}, "it failed"
        _wait_for_the_server()
        return status != 0


@contextmanager
def opened() -> Iterator[Mortals]:
    """Start the process that forks, on this test's database."""
    url = urlsplit(os.environ["DATABASE_URL"])
    database = url._replace(path=f"/{connection.settings_dict['NAME']}").geturl()
    with subprocess.Popen(
        [sys.executable, "-m", "tests.notifications.mother"],
        env={**os.environ, "DATABASE_URL": database},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as mother:
        yield Mortals(mother)
        assert mother.stdin is not None
        mother.stdin.close()


def _wait_for_the_server() -> None:
    """Wait until the database has noticed that they are gone."""
    end = time.monotonic() + PATIENCE
    with connection.cursor() as cursor:
        while True:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            if cursor.fetchone() == (0,):
                return
            assert time.monotonic() < end, "a session stays"
            time.sleep(0.001)
