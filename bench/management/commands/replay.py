import json
from argparse import ArgumentTypeError
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from rich.console import Console
from rich.progress import Progress, TaskID

from bench import bookings, casts, databases, enrolments, replays, reports
from bench.answers import Answers
from bench.casts import Cast
from bench.figures import Figures
from bench.scripts import BadFile, Script
from waitlist import invariants

FORMATS: dict[str, Callable[[Path, int], Script]] = {
    "ucsd": lambda path, _: enrolments.read(path=path),
    "hotel": lambda path, seed: bookings.read(path=path, seed=seed),
}


class Command(BaseCommand):
    help = (
        "Play joins and cancellations that happened elsewhere through Backfill, in simulated time"
        " and a scratch database on the server in use, and compare what came of it with what the"
        " data say and between policies. Ends with 1 if an invariant is broken."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the file and the options."""
        given = Answers(seed=1)
        parser.add_argument("file", type=Path, metavar="FILE", help="CSV; .gz is unpacked")
        parser.add_argument(
            "--format", choices=FORMATS, default="ucsd",
            help="ucsd: changes of seats and waitlists of course sections (default);"
            " hotel: bookings, as Antonio, de Almeida and Nunes published them",
        )  # fmt: skip
        parser.add_argument(
            "--policy", type=Path, metavar="FILE", action="append", default=[],
            help="JSON: an object of policy fields, or a list of objects, each a column of the"
            ' table, such as {"ordering": "fifo", "hold_window": "PT15M", "reminder_lead": null};'
            " other fields are the clinic's. May be given several times",
        )  # fmt: skip
        parser.add_argument("--seed", type=int, default=given.seed, help="of all chance (1)")
        parser.add_argument(
            "--accept", type=_share, default=given.accept, metavar="SHARE",
            help=f"of offers that are accepted, if the answer comes in time ({given.accept})",
        )  # fmt: skip
        parser.add_argument(
            "--decline", type=_share, default=given.decline, metavar="SHARE",
            help=f"of offers that are declined ({given.decline}); the rest is never answered",
        )  # fmt: skip
        parser.add_argument(
            "--answer-minutes", type=_minutes, default=given.median, metavar="N",
            help="median of the time that an answer takes (30)",
        )  # fmt: skip
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        """Play and tell.

        :raises CommandError: naming what is wrong with a file or an option, or if an invariant
            is broken.
        """
        if options["accept"] + options["decline"] > 1:
            raise CommandError("--accept and --decline: together they are at most 1.")
        answers = Answers(
            seed=options["seed"], accept=options["accept"], decline=options["decline"],
            median=options["answer_minutes"],
        )  # fmt: skip
        policies: dict[str, dict[str, Any]] = {"clinic": {}}
        for path in options["policy"]:
            found = read_policies(path)
            for name in found.keys() & policies.keys():
                raise CommandError(f"--policy: two are called {name}; clinic is always there.")
            policies |= found
        try:
            script = FORMATS[options["format"]](options["file"], answers.seed)
        except (BadFile, OSError) as error:
            raise CommandError(str(error)) from error
        results, breaches = self._play(script=script, policies=policies, answers=answers)
        if options["json"]:
            found = reports.as_json(
                script=script, policies=policies, results=results, answers=answers,
                breaches=breaches,
            )  # fmt: skip
            self.stdout.write(json.dumps(found))
        else:
            for line in (*script.remarks, *script.assumptions, str(answers)):
                self.stdout.write(line)
            for line in reports.lines(script=script, results=results):
                self.stdout.write(line)
        if breaches:
            raise CommandError("\n".join(breaches))
        if not options["json"]:
            self.stdout.write(self.style.SUCCESS("Every invariant holds."))

    def _play(
        self, *, script: Script, policies: Mapping[str, Mapping[str, Any]], answers: Answers
    ) -> tuple[dict[str, Figures], list[str]]:
        """Play once for each policy, each time in a copy of the same database."""
        results: dict[str, Figures] = {}
        breaches: list[str] = []
        console = Console(stderr=True)
        with (
            databases.world(),
            Progress(console=console, disable=not console.is_terminal, transient=True) as bar,
        ):
            cast = casts.assemble(script=script)
            databases.settle()
            _check(policies=policies, cast=cast, script=script)
            for name, changes in policies.items():
                task = bar.add_task(name, total=len(script.steps))
                with databases.copy():
                    results[name] = replays.play(
                        script=script, cast=cast, changes=changes, answers=answers,
                        progress=partial(_advance, bar, task),
                    )  # fmt: skip
                    breaches += [
                        f"{name}: invariant {breach.number}: {breach.what}: {breach.id}"
                        for breach in invariants.breaches()
                    ]
        return results, breaches


def read_policies(path: Path) -> dict[str, dict[str, Any]]:
    """Read the policies of a file; several are told apart by a number.

    :raises CommandError: if the file cannot be read, or has something else in it.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CommandError(str(error)) from error
    except ValueError as error:  # the message says the line
        raise CommandError(f"{path}: {error}") from error
    if isinstance(found, dict):
        return {path.stem: found}
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise CommandError(f"{path}: a policy is an object of fields, or a list of such objects")
    return {f"{path.stem} {number}": one for number, one in enumerate(found, 1)}


def _advance(bar: Progress, task: TaskID, done: int) -> None:
    bar.update(task, completed=done)


def _check(*, policies: Mapping[str, Mapping[str, Any]], cast: Cast, script: Script) -> None:
    """:raises CommandError: naming the policy and each field with a bad value."""
    for name, changes in policies.items():
        try:
            with transaction.atomic():
                replays.set_policy(cast=cast, changes=changes, now=script.ends_at)
                transaction.set_rollback(True)
        except ValidationError as error:
            told = (f"{field}: {' '.join(texts)}" for field, texts in error.message_dict.items())
            raise CommandError(f"--policy {name}: {'; '.join(told)}") from error


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1
    if not 0 <= share <= 1:
        raise ArgumentTypeError(f"{text!r} is not a share, 0 to 1")
    return share


def _minutes(text: str) -> timedelta:
    try:
        minutes = timedelta(minutes=float(text))
    except (ValueError, OverflowError):
        minutes = timedelta(0)
    if not timedelta(0) < minutes <= timedelta(days=365):
        raise ArgumentTypeError(f"{text!r} is not a number of minutes, more than 0")
    return minutes
