"""docs/api-tour.md, run as it is written, against a real server."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.db import connection

ROOT = Path(settings.BASE_DIR)
TOUR = ROOT / "docs" / "api-tour.md"

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        not (shutil.which("curl") and shutil.which("jq")), reason="needs curl and jq"
    ),
]


@pytest.fixture
def environment(transactional_db: None) -> dict[str, str]:
    """The environment of processes that work on the test's own database."""
    given = urlsplit(os.environ["DATABASE_URL"])
    name = connection.settings_dict["NAME"]
    return {
        **os.environ,
        "DATABASE_URL": given._replace(path=f"/{name}").geturl(),
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "LOG_LEVEL": "ERROR",
    }


@pytest.fixture
def server(environment: dict[str, str], tmp_path: Path) -> Iterator[str]:
    """A running server; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (tmp_path / "server.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "config.asgi:application", "--port", str(port),
             "--timeout-graceful-shutdown", "1", "--log-level", "warning"],
            cwd=ROOT, env=environment, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            _wait(f"http://127.0.0.1:{port}/api/v1/schema/", process)
            yield f"http://127.0.0.1:{port}/api/v1"
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


def test_the_tour_works_as_written(environment: dict[str, str], server: str) -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```$", TOUR.read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) > 8
    script = "set -eu -o pipefail\n" + "\n".join(blocks)
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=ROOT, env=environment | {"API": server}, capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "already_waiting" in done.stdout
    assert "1 offer at 1 facility" in done.stdout
    told = done.stdout.split()
    assert told[told.index("converted") :][:2] == ["converted", "booked"]
    assert told[-4:] == [
        "waitlist.updated",
        "waitlist.hold_offered",
        "appointment.booked",
        "waitlist.converted",
    ]
