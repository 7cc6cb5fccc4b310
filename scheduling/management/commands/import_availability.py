import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.progress import Progress

from audit.errors import Refused
from scheduling import imports


class Command(BaseCommand):
    help = (
        "Load opening hours in the CSV format of NHS Choices: a facility and a provider for each "
        "practice, rules, and exceptions. Bad rows are told on stderr with their line, the others "
        "are loaded. Importing a file again changes nothing. Slots are made by generate_slots."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the file and the options."""
        parser.add_argument("file", type=Path, metavar="FILE", help="opening hours")
        parser.add_argument(
            "--practices", type=Path, metavar="FILE", required=True, help="directory of practices"
        )
        parser.add_argument(
            "--tenant", required=True, metavar="SLUG", help="whose they are; made if it is missing"
        )
        parser.add_argument(
            "--timezone", required=True, metavar="ZONE", help="such as Europe/London"
        )
        parser.add_argument("--slot-minutes", required=True, type=int, metavar="N")
        parser.add_argument(
            "--strict", action="store_true", help="load nothing and exit 1 if any row is bad"
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        """Load the file and tell what came of it.

        :raises CommandError: if it cannot be loaded, or with `--strict` not all of it.
        """
        console = Console(stderr=True)
        try:
            # Off a terminal it draws nothing.
            with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
                task = bar.add_task("importing", total=None)

                def progress(done: int, total: int) -> None:
                    bar.update(task, completed=done, total=total)

                report = imports.load(
                    hours=options["file"],
                    directory=options["practices"],
                    tenant=options["tenant"],
                    timezone=options["timezone"],
                    slot_minutes=options["slot_minutes"],
                    strict=options["strict"],
                    progress=progress,
                )
        except ValidationError as error:
            told = (f"{name}: {' '.join(texts)}" for name, texts in error.message_dict.items())
            raise CommandError("; ".join(told)) from error
        except FileNotFoundError as error:
            raise CommandError(f"There is no file {error.filename}.") from error
        except OSError as error:
            raise CommandError(f"{error.filename} cannot be read: {error.strerror}.") from error
        except Refused as error:
            raise CommandError(str(error)) from error
        for remark in report.bad_rows:
            self.stderr.write(str(remark))
        for remark in report.warnings:
            self.stderr.write(f"{remark} (warning)", self.style.WARNING)
        if options["json"]:
            self.stdout.write(json.dumps(asdict(report)))
        else:
            self.stdout.write(
                f"Loaded {report.facilities} facilities, {report.rules} rules and "
                f"{report.exceptions} exceptions; {len(report.bad_rows)} bad rows, "
                f"{len(report.warnings)} warnings."
            )
        if options["strict"] and report.bad_rows:
            raise CommandError(f"{len(report.bad_rows)} bad rows: nothing was loaded.")
