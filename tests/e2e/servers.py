"""The web process as a person starts it: a process of its own, that writes a log."""

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

COMMANDS = {
    "uvicorn": (
        "-m", "uvicorn", "config.asgi:application", "--port", "{port}",
        "--timeout-graceful-shutdown", "1",
    ),
    "runserver": ("manage.py", "runserver", "--noreload", "{port}"),
}  # fmt: skip


@contextmanager
def serve(*, command: str, environment: dict[str, str], log: Path) -> Iterator[int]:
    """Run a server until the block ends; yield its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    given = [part.format(port=port) for part in COMMANDS[command]]
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, *given], cwd=settings.BASE_DIR, env=environment, stdout=file,
            stderr=file,
        )  # fmt: skip
        try:
            _wait(f"http://127.0.0.1:{port}/healthz", process)
            yield port
        finally:
            process.terminate()
            process.wait(timeout=10)


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(url, timeout=30):
                return
        except OSError:
            assert process.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.1)
