import json
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from rich.console import Console

from audit import clock
from availability import signals, statuses


class Command(BaseCommand):
    help = "Infer the status of venues from their answers, as the job every 6 hours does."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add `--json`."""
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        """Infer and tell."""
        with Console(stderr=True).status("Inferring"):
            found = statuses.infer(now=clock.now())
        lost = signals.lost()
        if options["json"]:
            self.stdout.write(json.dumps({**asdict(found), "signals_lost": lost}))
        else:
            said = "an unknown number of" if lost is None else lost
            self.stdout.write(
                f"{found.venues} venues, {found.changed} changed, {found.improved} better;"
                f" {said} signals were not recorded"
            )
