"""The embedded servers, with real processes that start, share, kill and end them."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import Popen

import psycopg
import pytest
import redis
from django.db import connection

from config import embedded
from config.embedded import locks, places, postgres, valkey
from config.embedded.errors import EmbeddedError
from config.embedded.places import Kind, Place

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 20.0

#: A process that uses the servers until its input ends.
USER = """
import os, pathlib, signal, sys
from config import embedded
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background job ignores
embedded.ensure(folder=pathlib.Path(sys.argv[1]), scratch=sys.argv[2] == "scratch")
print(os.environ["DATABASE_URL"], os.environ["REDIS_URL"], flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that any account can reach: pytest's own are closed."""
    path = Path(tempfile.mkdtemp(prefix="backfill-test-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[..., Popen[str]]]:
    """Start processes that use the servers in the folder; they end with the test."""
    users: list[Popen[str]] = []

    def start(mode: str = "lasting") -> Popen[str]:
        environment = {k: v for k, v in os.environ.items() if k not in embedded.KINDS}
        user = Popen(
            [sys.executable, "-c", USER, folder, mode],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        users.append(user)
        return user

    yield start
    for user in users:
        end(user)
    await_true(lambda: not running(folder))


def end(user: Popen[str]) -> None:
    """Let a user come to its own end."""
    with user:
        assert user.stdin
        user.stdin.close()


def addresses(user: Popen[str]) -> tuple[str, str]:
    """Wait for a user's servers and return their addresses."""
    assert user.stdout
    database, broker = user.stdout.readline().split()
    return database, broker


def place(folder: Path, kind: Kind) -> Place:
    """Return the place of a server that was started in the folder."""
    return places.prepare(folder=folder, kind=kind, scratch=False)


def running(folder: Path) -> list[str]:
    """Return the kinds of which a process lives."""
    return (
        [kind.name for kind in folder.iterdir() if locks.is_held(path=kind / "processes.lock")]
        if folder.exists()
        else []
    )


def await_true(condition: Callable[[], object]) -> None:
    """Wait until something holds; exceptions on the way mean that it does not yet."""
    deadline = time.monotonic() + DEADLINE
    while True:
        try:
            if condition():
                return
        except (psycopg.Error, redis.RedisError):
            pass
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)


def ask(address: str, query: str) -> object:
    """Run one statement and return its first value, if it has any."""
    with psycopg.connect(address, autocommit=True) as session:
        cursor = session.execute(query)
        row = cursor.fetchone() if cursor.description else None
        return row and row[0]


def keepers(folder: Path) -> list[int]:
    """Return the ids of the keepers of the folder's servers."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:  # it ended meanwhile
            continue
        if b"config.embedded.keeper" in words and os.fsencode(folder) in words:
            found.append(int(process.name))
    return found


def server_pid(folder: Path) -> int:
    """Return the id of a PostgreSQL that runs, as it wrote it down when it started."""
    return int((folder / "postgres" / "data" / "postmaster.pid").read_text().split()[0])


def test_parallel_cold_starts_share_one_pair(
    folder: Path, start: Callable[..., Popen[str]]
) -> None:
    users = [start() for _ in range(4)]
    found = {addresses(user) for user in users}
    assert len(found) == 1
    assert sorted(running(folder)) == ["postgres", "valkey"]
    assert len(keepers(folder)) == 2

    for user in users[:3]:  # the first of them started it
        end(user)
    [(database, broker)] = found
    assert ask(database, "SELECT 1") == 1
    assert redis.Redis.from_url(broker).ping()
    end(users[3])
    assert running(folder) == []  # an ordinary end waits for that of the servers


def test_killed_servers_come_back_with_their_data(
    folder: Path, start: Callable[..., Popen[str]]
) -> None:
    database, broker = addresses(start())
    ask(database, "CREATE TABLE kept AS SELECT 1 AS value")
    client = redis.Redis.from_url(broker)
    client.set("kept", "1")

    first = server_pid(folder)
    os.kill(first, signal.SIGKILL)
    os.kill(client.info("server")["process_id"], signal.SIGKILL)

    await_true(lambda: ask(database, "SELECT value FROM kept") == 1)
    assert server_pid(folder) != first
    await_true(lambda: client.get("kept") == b"1")


@pytest.mark.parametrize("last", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_servers_and_scratch_folder_end_with_a_killed_user(
    folder: Path, start: Callable[..., Popen[str]], last: signal.Signals
) -> None:
    user = start("scratch")
    addresses(user)
    user.send_signal(last)
    await_true(lambda: not running(folder))
    await_true(lambda: not folder.exists())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of a death")
def test_servers_die_with_a_killed_keeper_and_a_stale_pid_is_not_trusted(
    folder: Path, start: Callable[..., Popen[str]]
) -> None:
    user = start()
    database, _ = addresses(user)
    ask(database, "CREATE TABLE kept AS SELECT 1 AS value")
    for keeper in keepers(folder):
        os.kill(keeper, signal.SIGKILL)
    await_true(lambda: not running(folder))

    # A living process of the server's account with the id that a dead server left behind.
    where = place(folder, postgres)
    with Popen(["sleep", "60"], cwd="/", **where.as_server) as other:
        (where.data / "postmaster.pid").write_text(f"{other.pid}\n{where.data}\n")
        again, _ = addresses(start())
        assert ask(again, "SELECT value FROM kept") == 1
        assert other.poll() is None
        other.kill()


def test_folder_of_somebody_else_is_refused(folder: Path) -> None:
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    (folder / "valkey").symlink_to(elsewhere)
    with pytest.raises(EmbeddedError, match="is not a folder of user"):
        place(folder, valkey)
    if os.geteuid() == 0:
        os.chown(elsewhere, 12345, -1)
        with pytest.raises(EmbeddedError, match="is not a folder of user 0"):
            places.own(path=elsewhere, mode=0o700)
        places.own(path=elsewhere, mode=0o700, uid=12345)
    assert list(elsewhere.iterdir()) == []


def test_link_in_place_of_a_lock_is_refused(folder: Path) -> None:
    (folder / "users.lock").symlink_to(folder / "target")
    with pytest.raises(OSError, match="symbolic links"):
        locks.hold(path=folder / "users.lock", timeout=1)
    assert not (folder / "target").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to give its server away")
def test_data_leaves_a_closed_home(folder: Path) -> None:
    folder.chmod(0o700)
    assert place(folder / "var", valkey).home == folder / "var" / "valkey"
    where = place(folder / "var", postgres)
    try:
        assert where.home.is_relative_to(places.SHARED_DATA)
        assert where.home.parent.stat().st_uid == 0
        assert place(folder / "var", postgres) == where
    finally:
        places.remove(place=where)
    assert not where.home.parent.exists()


def test_long_path_gets_a_short_socket(folder: Path) -> None:
    where = place(folder / ("long" * 20), valkey)
    try:
        assert where.run.parent == places.SHARED_SOCKETS
    finally:
        places.remove(place=where)


def test_failure_to_start_says_what_the_log_says(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL")
    where = place(folder, postgres)
    places.own(path=where.data, mode=0o700, uid=where.uid, gid=where.gid)  # no cluster in it
    with pytest.raises(EmbeddedError, match=r"did not start; .* ends:\n.*configuration file"):
        embedded.ensure(folder=folder)


@pytest.mark.django_db
@pytest.mark.skipif("BACKFILL_TEST_TEMPLATE" not in os.environ, reason="a server of one's own")
def test_application_is_no_superuser() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user"
        )
        assert cursor.fetchone() == (False,)
