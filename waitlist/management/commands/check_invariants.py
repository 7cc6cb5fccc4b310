import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from waitlist import invariants


class Command(BaseCommand):
    help = "Look for rows that break an invariant of the domain; name them and exit 1 if any do."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add `--json`."""
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        """Look and tell.

        :raises CommandError: if anything is broken.
        """
        breaches = invariants.breaches()
        unguarded = invariants.unguarded()
        if options["json"]:
            rows = [{"invariant": b.number, "what": b.what, "id": str(b.id)} for b in breaches]
            self.stdout.write(json.dumps({"breaches": rows, "unguarded_tables": unguarded}))
        else:
            for breach in breaches:
                self.stdout.write(f"invariant {breach.number}: {breach.what}: {breach.id}")
            for table in unguarded:
                self.stdout.write(f"invariant 7: the triggers of {table} are missing or off")
        if breaches or unguarded:
            raise CommandError(f"{len(breaches) + len(unguarded)} breaches")
        if not options["json"]:
            self.stdout.write(self.style.SUCCESS("Every invariant holds."))
