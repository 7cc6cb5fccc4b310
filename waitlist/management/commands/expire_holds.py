import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from rich.console import Console
from rich.progress import Progress

from audit import clock
from waitlist import holds


class Command(BaseCommand):
    help = "End the holds that are past their deadline, as the job every 10 seconds does."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add `--json`."""
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        """End them and say how many."""
        total = 0
        console = Console(stderr=True)
        # Off a terminal it draws nothing.
        with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
            task = bar.add_task("ending holds", total=None)
            while done := holds.expire_due(now=clock.now(), limit=500):
                total += done
                bar.update(task, completed=total, description=f"ended {total} holds")
        if options["json"]:
            self.stdout.write(json.dumps({"holds": total}))
        else:
            self.stdout.write(f"Ended {total} holds.")
