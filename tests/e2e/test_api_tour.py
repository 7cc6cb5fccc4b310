"""docs/api-tour.md, run as it is written, against a real server."""

import os
import re
import shutil
import subprocess
from collections.abc import Collection, Mapping
from pathlib import Path

import pytest
from django.conf import settings

from tests.e2e import servers

ROOT = Path(settings.BASE_DIR)
TOUR = ROOT / "docs" / "api-tour.md"

MISSING = [name for name in ("curl", "jq") if not shutil.which(name)]


def is_left_out(*, missing: Collection[str], environment: Mapping[str, str]) -> bool:
    """Say whether the tour is skipped: never by CI, which has to have what it needs."""
    return bool(missing) and "CI" not in environment


def test_ci_does_not_leave_the_tour_out() -> None:
    assert is_left_out(missing=["jq"], environment={})
    assert not is_left_out(missing=["jq"], environment={"CI": "1"})
    assert not is_left_out(missing=[], environment={})
    assert "\nexport CI=1\n" in (ROOT / ".ci" / "run").read_text()


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(
    is_left_out(missing=MISSING, environment=os.environ),
    reason=f"{' and '.join(MISSING)} not installed; where CI is set this fails instead",
)
def test_the_tour_works_as_written(environment: dict[str, str], tmp_path: Path) -> None:
    assert not MISSING, "The tour needs curl and jq."
    blocks = re.findall(r"^```sh\n(.*?)^```$", TOUR.read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) > 8
    script = "set -eu -o pipefail\n" + "\n".join(blocks)
    log = tmp_path / "server.log"
    with servers.serve(command="uvicorn", environment=environment, log=log) as port:
        api = {"API": f"http://127.0.0.1:{port}/api/v1"}
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=ROOT, env=environment | api, capture_output=True, text=True, timeout=180,
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
