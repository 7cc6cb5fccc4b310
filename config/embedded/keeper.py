"""The keeper of one embedded server: starts it, revives it, and ends it after its last user.

`python -m config.embedded.keeper KIND FOLDER MODE LOCK`, as `config.embedded.begin` calls it. It
has one thread only: the kernel's signal on a parent's death goes by the thread that started a
child.
"""

import os
import signal
import sys
import time
from pathlib import Path

from config.embedded import locks, places, postgres, valkey
from config.embedded.errors import EmbeddedError
from config.embedded.places import Kind, Place

KINDS: dict[str, Kind] = {postgres.NAME: postgres, valkey.NAME: valkey}

#: How often it looks whether anybody uses the server, and whether the server lives.
POLL_SECONDS = 0.05


def main() -> None:
    """Keep the server named on the command line until nobody uses it."""
    name, folder, mode, starting = sys.argv[1:]
    kind = KINDS[name]
    place = places.prepare(folder=Path(folder), kind=kind, scratch=mode == "scratch")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    try:
        keep(kind=kind, place=place, starting=int(starting))
    except EmbeddedError as error:
        sys.exit(str(error))
    finally:
        if place.scratch:
            places.remove(place=place)


def keep(*, kind: Kind, place: Place, starting: int) -> None:
    """Run the server; `starting` is the open file of the start lock, held until it is ready.

    The locks taken here end with the process, after the server: who comes meanwhile waits for them.
    """
    server = kind.start(place=place)
    try:
        locks.hold(path=place.ready, timeout=1)
        os.close(starting)
        users = os.open(place.users, os.O_RDWR)
        while not locks.attempt(lock=users):
            if server.poll() is not None:
                print(f"{kind.NAME} ended with {server.returncode}; starting it again", flush=True)
                server = kind.start(place=place)
            time.sleep(POLL_SECONDS)
    finally:
        kind.stop(place=place, server=server)


if __name__ == "__main__":
    main()
