import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

PROGRAMS = Path(sys.executable).parent
DJANGO = (sys.executable, "-W", "ignore::RuntimeWarning", "-m", "django")

#: Settings of a deployment, for the checks that look at them; the addresses lead nowhere.
DEPLOYMENT = {
    "BACKFILL_ENV": "production",
    "DEBUG": "0",
    "SECRET_KEY": "only-to-check-the-settings-0123456789-abcdefghijklmnopqrstuvwxyz",
    "ALLOWED_HOSTS": "backfill.example",
    "DATABASE_URL": "postgresql:///none?host=/none",
    "REDIS_URL": "unix:///none?db=0",
}


@dataclass(frozen=True, kw_only=True)
class Check:
    """One program that finds faults in the code; it ends with 0 when there are none."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a check said, and how many seconds it took."""

    check: Check
    passed: bool
    words: str
    seconds: float


#: All checks, those that take longest first: as many run at once as there are cores.
CHECKS = (
    Check(name="mypy", command=(f"{PROGRAMS}/mypy",)),
    Check(name="imports", command=(f"{PROGRAMS}/lint-imports",)),
    Check(name="migrations", command=(*DJANGO, "makemigrations", "--check", "--dry-run")),
    Check(name="django", command=(*DJANGO, "check")),
    Check(
        name="deployment",
        command=(*DJANGO, "check", "--deploy", "--fail-level", "WARNING"),
        environment=DEPLOYMENT,
    ),
    Check(name="docs", command=(*DJANGO, "write_docs", "--check")),
    Check(name="ruff", command=(f"{PROGRAMS}/ruff", "check", ".")),
    Check(name="format", command=(f"{PROGRAMS}/ruff", "format", "--check", ".")),
)


class Command(BaseCommand):
    help = "Run every check of the code and say which fail."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        """Run all checks.

        :raises CommandError: if one fails.
        """
        failed = 0
        for outcome in outcomes():
            verdict = self.style.SUCCESS("ok") if outcome.passed else self.style.ERROR("FAILED")
            self.stdout.write(f"{outcome.check.name:<12}{outcome.seconds:6.1f} s  {verdict}")
            if not outcome.passed:
                failed += 1
                self.stdout.write(outcome.words)
        if failed:
            raise CommandError(f"{failed} of {len(CHECKS)} checks failed")


def outcomes() -> Iterator[Outcome]:
    """Run the checks side by side and give their outcomes in the order of CHECKS."""
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        yield from pool.map(lambda check: run(check=check), CHECKS)


def run(*, check: Check) -> Outcome:
    """Run one check; a program that is missing is a failure that says what to do."""
    start = time.monotonic()
    environment = {
        **os.environ,
        "BACKFILL_ENV": "development",
        "DJANGO_SETTINGS_MODULE": "config.settings",
        **check.environment,
    }
    try:
        done = subprocess.run(
            check.command,
            cwd=settings.BASE_DIR,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        words = f"{check.command[0]} is missing: remove .venv, and manage.py makes it again."
        return Outcome(check=check, passed=False, words=words, seconds=0)
    return Outcome(
        check=check,
        passed=done.returncode == 0,
        words=(done.stdout + done.stderr).rstrip(),
        seconds=time.monotonic() - start,
    )
