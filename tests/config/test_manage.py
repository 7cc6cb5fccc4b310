"""manage.py before Django: the environment that it makes and enters."""

import os
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from config import terminal
from config.management.commands import check_code
from config.management.commands import test as test_command

FILE = Path(__file__).resolve().parents[2] / "manage.py"

#: A uv that writes down how it was called and makes an environment, or fails.
FAKE_UV = """#!/bin/sh
echo "$@" >> "$(dirname "$UV_PROJECT_ENVIRONMENT")/calls"
[ -n "$FAKE_UV_FAILS" ] && echo "the lock is odd" >&2 && exit 2
mkdir -p "$UV_PROJECT_ENVIRONMENT/bin" && touch "$UV_PROJECT_ENVIRONMENT/bin/python"
"""


@pytest.fixture
def manage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Load manage.py for a project in a folder of its own, with the pinned uv installed."""
    spec = spec_from_file_location("manage_under_test", FILE)
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(module, "TOOLS", tmp_path / ".tools")
    monkeypatch.delenv("BACKFILL_ENV")
    (tmp_path / "uv.lock").write_text("version = 1")
    uv = tmp_path / ".tools" / module.UV.replace("==", "-") / "bin" / "uv"
    uv.parent.mkdir(parents=True)
    uv.write_text(FAKE_UV)
    uv.chmod(0o755)
    return module


def calls(folder: Path) -> int:
    """Count how often uv was called."""
    file = folder / "calls"
    return len(file.read_text().splitlines()) if file.exists() else 0


def test_old_python_is_told_in_one_line(
    manage: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = SimpleNamespace(version_info=(3, 10, 9), version="3.10.9 (main)", exit=sys.exit)
    monkeypatch.setattr(manage, "sys", old)
    with pytest.raises(SystemExit) as end:
        manage.main()
    assert end.value.code == "Backfill needs Python 3.11 or newer; this is 3.10.9."


def test_environment_is_made_once_and_again_for_another_lock(
    manage: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manage.sync()
    assert calls(tmp_path) == 1
    assert "Installing" in capsys.readouterr().err
    manage.sync()
    assert calls(tmp_path) == 1
    assert capsys.readouterr().err == ""
    (tmp_path / "uv.lock").write_text("version = 2")
    manage.sync()
    assert calls(tmp_path) == 2
    (tmp_path / ".venv" / "bin" / "python").unlink()  # as when its interpreter is gone
    manage.sync()
    assert calls(tmp_path) == 3


def test_failing_uv_is_quoted_and_tried_again(
    manage: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_UV_FAILS", "1")
    with pytest.raises(SystemExit) as end:
        manage.sync()
    assert end.value.code == "uv could not make .venv from uv.lock. It said:\nthe lock is odd"
    monkeypatch.delenv("FAKE_UV_FAILS")
    manage.sync()
    assert calls(tmp_path) == 2


def test_python_without_pip_is_told(
    manage: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manage, "TOOLS", tmp_path / "empty")
    monkeypatch.setattr(manage.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(SystemExit, match="has no pip: install it"):
        manage.sync()


def entered(manage: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Enter the environment and return the programs that the process became."""
    became: list[str] = []
    monkeypatch.setattr(os, "execv", lambda program, _arguments: became.append(program))
    manage.enter_venv()
    return became


def test_another_interpreter_gives_way_to_the_environment(
    manage: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert entered(manage, monkeypatch) == [str(tmp_path / ".venv" / "bin" / "python")]
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    assert entered(manage, monkeypatch) == []


def test_production_installs_nothing(
    manage: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKFILL_ENV", "production")
    assert entered(manage, monkeypatch) == []
    assert calls(tmp_path) == 0
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    assert entered(manage, monkeypatch) == [str(python)]
    assert calls(tmp_path) == 0


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        (["migrate"], True),
        (["shell", "-c", "1"], True),
        (["check_code"], False),
        (["test", "-x"], False),
        (["migrate", "--help"], False),
        (["--version"], False),
        ([], False),
    ],
)
def test_servers_are_for_commands_that_work_on_data(arguments: list[str], needed: bool) -> None:
    assert terminal.needs_servers(arguments=arguments) is needed


def test_test_command_becomes_pytest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    became: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _program, arguments: became.append(arguments))
    monkeypatch.chdir(tmp_path)
    test_command.Command().run_from_argv(["manage.py", "test", "-k", "hold", "--lf"])
    assert became == [[sys.executable, "-m", "pytest", "-k", "hold", "--lf"]]
    assert Path.cwd() == FILE.parent


def test_check_reports_what_it_found() -> None:
    command = (sys.executable, "-c", "print('line 7 is wrong'); raise SystemExit(1)")
    outcome = check_code.run(check=check_code.Check(name="some", command=command))
    assert (outcome.passed, outcome.words) == (False, "line 7 is wrong")


def test_check_without_its_program_says_what_to_do() -> None:
    outcome = check_code.run(check=check_code.Check(name="some", command=("/nowhere/ruff",)))
    assert not outcome.passed
    assert outcome.words.startswith("/nowhere/ruff is missing: remove .venv")
