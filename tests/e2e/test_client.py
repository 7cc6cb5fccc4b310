"""A typed client, generated from the schema and used against a real server."""

import json
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from config.api import schema
from tests.clinics import Clinic, open_clinic
from tests.e2e import servers

NAME = "generated_client"


@pytest.fixture
def clinic(transactional_db: None) -> Clinic:
    return open_clinic()


@pytest.fixture
def generated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The client's package, made as docs/api-tour.md says but for where it comes from."""
    (tmp_path / "schema.json").write_text(json.dumps(schema()))
    (tmp_path / "config.yaml").write_text("post_hooks: []")  # nobody reads it
    done = subprocess.run(
        [
            sys.executable, "-m", "openapi_python_client", "generate", "--fail-on-warning",
            "--path", "schema.json", "--config", "config.yaml", "--meta", "none",
            "--output-path", NAME,
        ],
        cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    monkeypatch.syspath_prepend(tmp_path)
    yield import_module(NAME)
    for name in [name for name in sys.modules if name.split(".")[0] == NAME]:
        del sys.modules[name]


def operation(generated: Any, tag: str, name: str) -> Any:
    """Return the module of an operation."""
    return import_module(f"{generated.__name__}.api.{tag}.{name}")


def test_every_operation_has_a_function(generated: Any) -> None:
    found = pkgutil.walk_packages(generated.__path__, f"{NAME}.")
    made = {module.name: import_module(module.name) for module in found}
    known = {
        operation["operationId"]
        for path in schema()["paths"].values()
        for operation in path.values()
    }
    functions = {
        name.rpartition(".")[2] for name, module in made.items() if hasattr(module, "sync_detailed")
    }
    assert functions == known


def test_a_patient_joins_with_it(
    generated: Any, clinic: Clinic, environment: dict[str, str], tmp_path: Path
) -> None:
    slot = clinic.slot()
    models = import_module(f"{NAME}.models")
    call = SimpleNamespace(
        token=operation(generated, "auth", "token"),
        slots=operation(generated, "slots", "list_slot"),
        join=operation(generated, "waitlists", "create_waitlist"),
    )
    log = tmp_path / "server.log"
    with ExitStack() as stack:
        port = stack.enter_context(
            servers.serve(command="uvicorn", environment=environment, log=log)
        )
        url = f"http://127.0.0.1:{port}"
        who = models.CredentialsRequest(
            email=clinic.users["patient"].email, password="secret", tenant=clinic.tenant.slug
        )
        with generated.Client(base_url=url) as nobody:
            tokens = call.token.sync(client=nobody, body=who)
        client = stack.enter_context(
            generated.AuthenticatedClient(base_url=url, token=tokens.access)
        )
        page = call.slots.sync(client=client, facility=clinic.facility.pk)
        assert [one.id for one in page.results] == [slot.pk]
        assert page.results[0].starts_at == slot.period.lower
        asked = models.JoinRequest(facility=clinic.facility.pk, service=clinic.service.pk)
        entry = call.join.sync(client=client, body=asked)
        assert isinstance(entry, models.EntryAnswer)
        assert (entry.facility, entry.patient) == (clinic.facility.pk, clinic.patient.pk)
        assert entry.status == models.EntryStatus.WAITING
        assert isinstance(entry.joined_at, datetime)
        again = call.join.sync_detailed(client=client, body=asked)
        assert isinstance(again.parsed, models.Problem)
        assert (again.status_code, again.parsed.code) == (409, "already_waiting")
