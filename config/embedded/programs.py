"""Starting a server's programs from the wheels."""

import ctypes
import os
import shutil
import signal
import stat
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from subprocess import Popen

from config.embedded.errors import EmbeddedError
from config.embedded.places import Place

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None

#: Nothing of the caller's environment: PGHOST and the like would lead the programs elsewhere.
ENVIRONMENT = {"LC_ALL": "C", "PATH": os.defpath}


def package(*, name: str) -> Path:
    """Find an installed package without importing it.

    :raises EmbeddedError: if it is not there.
    """
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise EmbeddedError(f"The package {name} is not installed.")
    return Path(spec.origin).parent


def run(*, command: list[str | Path], place: Place, words: str = "") -> str:
    """Run a program to its end as the server's account and return what it printed.

    :param words: its standard input.
    :raises EmbeddedError: with the program's own words.
    """
    done: subprocess.CompletedProcess[str] = subprocess.run(
        command,
        input=words,
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env=ENVIRONMENT,
        **place.as_server,
    )
    if done.returncode:
        raise EmbeddedError(f"{Path(command[0]).name} failed: {done.stderr.strip()}")
    return done.stdout


def spawn(
    *, command: list[str | Path], place: Place, lock: int, last: signal.Signals
) -> Popen[bytes]:
    """Start a server that holds `lock` and gets the signal `last` when this process dies."""
    parent = os.getpid()
    with open(place.log, "ab") as log:
        return Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=ENVIRONMENT,
            pass_fds=[lock],
            start_new_session=True,
            # Run as the server's account already: a change of account would clear it again.
            preexec_fn=lambda: die_with_parent(parent=parent, last=last),
            **place.as_server,
        )


def die_with_parent(*, parent: int, last: signal.Signals) -> None:
    """Have the kernel send this process `last` when the thread that started it is gone.

    Linux can do that; elsewhere nothing happens.
    """
    if LIBC is not None:
        LIBC.prctl(PR_SET_PDEATHSIG, last)
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)


def end(*, server: Popen[bytes], first: signal.Signals, timeout: float) -> None:
    """End a server in its own good order, or without it after `timeout` seconds."""
    if server.poll() is None:
        server.send_signal(first)
    try:
        server.wait(timeout)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def copy(*, folders: list[Path], below: Path, to: Path) -> None:
    """Copy folders with their paths below `below`, readable for all; `to` is whole or not there."""
    part = to.with_name(f"{to.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    for folder in folders:
        if folder.exists():
            shutil.copytree(folder, part / folder.relative_to(below), symlinks=True)
    for path in [part, *part.rglob("*")]:
        if not path.is_symlink():
            mode = stat.S_IMODE(path.stat().st_mode)
            path.chmod(mode | (0o555 if mode & stat.S_IXUSR else 0o444))
    part.rename(to)
