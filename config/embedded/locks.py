"""File locks: the kernel gives them back when the process that holds them dies, however it dies."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from config.embedded.errors import EmbeddedError

POLL_SECONDS = 0.01


def hold(*, path: Path, shared: bool = False, timeout: float) -> int:
    """Take a lock and return the open file that holds it; whoever inherits the file holds it too.

    :param timeout: seconds to wait for others.
    :raises EmbeddedError: if they do not let go in that time.
    """
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    deadline = time.monotonic() + timeout
    while not attempt(lock=lock, shared=shared):
        if time.monotonic() > deadline:
            os.close(lock)
            raise EmbeddedError(f"Waited {timeout:.0f} s for {path}, which another process holds.")
        time.sleep(POLL_SECONDS)
    return lock


@contextmanager
def held(*, path: Path, timeout: float) -> Iterator[int]:
    """Hold a lock for the length of a block; a child that inherits the file keeps it longer."""
    lock = hold(path=path, timeout=timeout)
    try:
        yield lock
    finally:
        os.close(lock)


def attempt(*, lock: int, shared: bool = False) -> bool:
    """Try to take or change a lock without waiting."""
    try:
        fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_held(*, path: Path) -> bool:
    """Say whether a living process holds a lock exclusively."""
    try:
        lock = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        return not attempt(lock=lock, shared=True)
    finally:
        os.close(lock)
