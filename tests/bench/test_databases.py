"""Scratch databases: of one process each, dropped at its end, swept when it was killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psycopg
import pytest

from bench import databases

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data"
SECONDS = 120


@pytest.fixture
def session() -> Iterator[psycopg.Connection]:
    """A session where processes meet."""
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True, dbname="postgres") as session:
        yield session


def _start(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "manage.py", *map(str, arguments)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # What a shell runs in the background, and what that starts, ignores interrupts.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def _found(session: psycopg.Connection) -> set[str]:
    rows = session.execute(
        "SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [databases.PREFIX]
    )
    return {name for (name,) in rows.fetchall()}


def _used(session: psycopg.Connection) -> bool:
    rows = session.execute(
        "SELECT FROM pg_stat_activity WHERE starts_with(datname, %s)", [databases.PREFIX]
    )
    return bool(rows.fetchall())


def test_several_at_once_finish_and_leave_nothing(session: psycopg.Connection) -> None:
    living, dead = databases.PREFIX + "living", databases.PREFIX + "dead"
    for name in (living, dead, dead + databases.COPY):
        session.execute(f"CREATE DATABASE {name}")
    session.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", [living])
    try:
        processes = [
            _start("replay", DATA / "enrolments.csv", "--json"),
            _start("replay", DATA / "bookings.csv", "--format", "hotel", "--json"),
            _start("bench", "fill-idle", "--facilities", 2, "--waiting", 5, "--runs", 1, "--json"),
        ]
        told = [process.communicate(timeout=SECONDS) for process in processes]
        assert [process.returncode for process in processes[:2]] == [0, 0], told
        sections, hotel, idle = (json.loads(out) for out, _ in told)
        assert sections["breaches"] == hotel["breaches"] == []
        assert hotel["policies"]["clinic"]["figures"]["joined"] == 3
        assert "minutes of a spell, median" not in hotel["policies"]["clinic"]["figures"]
        assert idle["queries"] == 1
        assert 0 < idle["peak_mb"] < 300
        assert _found(session) == {living}
    finally:
        for name in _found(session):
            session.execute(f"DROP DATABASE {name}")


def test_an_interrupt_drops_them(session: psycopg.Connection) -> None:
    process = _start("replay", DATA / "enrolments.csv")
    # The world is being built, whose process was forked: hooks of a fork swallow interrupts.
    deadline = time.monotonic() + SECONDS
    while not _used(session) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert _used(session)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=SECONDS)
    assert process.returncode != 0
    assert _found(session) == set()
