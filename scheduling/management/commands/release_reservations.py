import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from rich.console import Console
from rich.progress import Progress

from audit import clock
from scheduling import slots


class Command(BaseCommand):
    help = "Free the reservations that ran out, as the job every minute does."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add `--json`."""
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        """Free them and say how many."""
        total = 0
        console = Console(stderr=True)
        # Off a terminal it draws nothing.
        with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
            task = bar.add_task("releasing", total=None)
            while done := slots.release_expired(now=clock.now(), limit=500):
                total += done
                bar.update(task, completed=total, description=f"released {total}")
        if options["json"]:
            self.stdout.write(json.dumps({"slots": total}))
        else:
            self.stdout.write(f"Released {total} expired reservations.")
