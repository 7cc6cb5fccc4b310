"""The processes that the demo starts: they end with it, and their output is kept."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import TypeVar

from config.embedded.programs import LIBC, PR_SET_PDEATHSIG

ROOT = Path(__file__).resolve().parents[2]
LOG_LINES = 15
STOP_SECONDS = 15.0
POLL_SECONDS = 0.1

Seen = TypeVar("Seen")


@dataclass(frozen=True, kw_only=True)
class Child:
    """One process, and the file that its output goes to."""

    name: str
    process: Popen[bytes]
    log: Path

    def tail(self) -> str:
        """Return the last lines that it wrote."""
        lines = self.log.read_text(errors="replace").splitlines()[-LOG_LINES:]
        return "\n".join([f"{self.name} wrote last (all of it: {self.log}):", *lines])


class ChildEnded(Exception):
    """A process ended that should have gone on."""

    def __init__(self, child: Child) -> None:
        code = child.process.returncode
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        super().__init__(f"{child.name} ended with {how}.\n{child.tail()}")


class Unseen(Exception):
    """What should have happened was not seen in the database in time."""


def commands(*, port: int) -> dict[str, list[str]]:
    """Return what to run, by name, as a deployment runs it but for the number of processes."""
    celery = ["celery", "-A", "config"]
    return {
        "web": [
            *("uvicorn", "config.asgi:application", "--host", "127.0.0.1", "--port", str(port)),
            *("--no-access-log", "--timeout-graceful-shutdown", "3"),
        ],
        "worker": [
            *(*celery, "worker", "--queues", "waitlist,notifications,default"),
            *("--concurrency", "2", "--hostname", "demo@%h"),
            # There are no other workers to talk with.
            *("--without-gossip", "--without-mingle"),
        ],
        "beat": [*celery, "beat", "--pidfile", ""],
    }


@contextmanager
def running(
    *, folder: Path, commands: Mapping[str, list[str]], environment: Mapping[str, str]
) -> Iterator[list[Child]]:
    """Run Python modules for the length of a block, with their logs in `folder`.

    `environment` goes before this process's own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    children: list[Child] = []
    try:
        for name, command in commands.items():
            log = folder / f"{name}.log"
            child = start(name=name, command=command, log=log, environment=environment)
            children.append(child)
        yield children
    finally:
        stop(children=children)


def start(*, name: str, command: list[str], log: Path, environment: Mapping[str, str]) -> Child:
    """Start one process, which the kernel kills if this one dies.

    It has a session of its own, so that Ctrl-C reaches this process alone, which then ends the
    others in good order.
    """
    parent = os.getpid()

    def die_with_parent() -> None:
        if LIBC is not None:
            # Celery's pool does the same for the worker's own children.
            LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:  # it died before the line above
                os._exit(1)

    with open(log, "wb") as output:
        process = Popen(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
    return Child(name=name, process=process, log=log)


def stop(*, children: Sequence[Child]) -> None:
    """End all processes in their own good order, and without it what is left after a while."""
    for child in children:
        if child.process.poll() is None:
            child.process.terminate()
    deadline = time.monotonic() + STOP_SECONDS
    for child in children:
        try:
            child.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.process.kill()
            child.process.wait()


def check(*, children: Sequence[Child]) -> None:
    """:raises ChildEnded: if one of the processes has ended."""
    for child in children:
        if child.process.poll() is not None:
            raise ChildEnded(child)


def until(
    *, step: str, look: Callable[[], Seen | None], children: Sequence[Child], seconds: float
) -> Seen:
    """Look again and again until something is there, and return it.

    :raises Unseen: naming the step, if it is not there after `seconds`.
    :raises ChildEnded: if a process ended, which says more than that.
    """
    deadline = time.monotonic() + seconds
    while True:
        if seen := look():
            return seen
        check(children=children)
        if time.monotonic() > deadline:
            logs = [child.tail() for child in children]
            raise Unseen("\n".join([f"Not seen within {seconds:.0f} s: {step}.", *logs]))
        time.sleep(POLL_SECONDS)


def free_port(*, wanted: int) -> int:
    """Return the port wanted, or another one if that is taken."""
    for port in (wanted, 0):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(listener.getsockname()[1])
    raise OSError("127.0.0.1 has no free port")
