#!/usr/bin/env python3
"""Django's manage.py, which first makes `.venv` from `uv.lock` where it is missing.

Needs Python 3.11 with pip and nothing else. This file is plain Python: it also has to run, and say
what is wrong, where nothing is installed yet. The rest is in `config/terminal.py`.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
TOOLS = ROOT / ".tools"
UV = "uv==0.13.8"


def main() -> None:
    """Run the command given on the command line."""
    if sys.version_info < (3, 11):
        sys.exit(f"Backfill needs Python 3.11 or newer; this is {sys.version.split()[0]}.")
    enter_venv()
    # By name, since what it imports may only be there by now.
    importlib.import_module("config.terminal").run(arguments=sys.argv)


def enter_venv() -> None:
    """Go on in `.venv`, made from `uv.lock` first where it is missing or older.

    In production nothing is installed: an image brings its packages, in `.venv` or elsewhere.
    """
    if os.environ.get("BACKFILL_ENV") != "production":
        sync()
    elif not (VENV / "bin" / "python").exists():
        return
    if Path(sys.prefix).resolve() != VENV.resolve():
        python = os.fspath(VENV / "bin" / "python")
        sys.stdout.flush()
        os.execv(python, [python, __file__, *sys.argv[1:]])


def sync() -> None:
    """Make `.venv` hold what `uv.lock` names, unless its mark says that it does."""
    mark = VENV / "uv.lock.sha256"
    wanted = hashlib.sha256((ROOT / "uv.lock").read_bytes()).hexdigest()

    def is_current() -> bool:
        python = VENV / "bin" / "python"
        return python.exists() and mark.exists() and mark.read_text() == wanted

    if is_current():
        return
    with one_at_a_time():
        if is_current():  # another process made it meanwhile
            return
        print("Installing what uv.lock names into .venv ...", file=sys.stderr, flush=True)
        environment = {
            "UV_SYSTEM_CERTS": "1",
            **os.environ,
            "UV_PYTHON_DOWNLOADS": "never",
            # The interpreter itself, not the environment it may be running in.
            "UV_PYTHON": getattr(sys, "_base_executable", sys.executable),
            "UV_PROJECT_ENVIRONMENT": os.fspath(VENV),
        }
        environment.pop("VIRTUAL_ENV", None)
        run(
            [os.fspath(installed_uv()), "sync", "--frozen", "--quiet", "--project", ROOT],
            environment=environment,
            failure="uv could not make .venv from uv.lock.",
        )
        mark.write_text(wanted)


def installed_uv() -> Path:
    """Install the pinned uv unless it is there; with pip's `--target`, which needs no root."""
    folder = TOOLS / UV.replace("==", "-")
    uv = folder / "bin" / "uv"
    if not uv.exists():
        if importlib.util.find_spec("pip") is None:
            sys.exit(f"{sys.executable} has no pip: install it (Debian: apt install python3-pip).")
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
        run(
            [*pip, "install", "--no-warn-script-location", "--target", folder, UV],
            environment={**os.environ, "PIP_ROOT_USER_ACTION": "ignore"},
            failure=f"pip could not install {UV}.",
        )
    return uv


def run(command: list[str | Path], *, environment: dict[str, str], failure: str) -> None:
    """Run a program; where it fails, end with its own words and one line on top."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{failure} It said:\n{(done.stderr or done.stdout).strip()}")


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Keep two fresh starts from installing into one folder at once."""
    TOOLS.mkdir(exist_ok=True)
    with open(TOOLS / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    main()
