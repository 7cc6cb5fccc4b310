import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from itertools import chain
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from rich.progress import Progress

from accounts.roles import Role


class Command(BaseCommand):
    help = (
        "Send requests made from the schema to every route and every field of GraphQL, as each"
        " role, and hold the answers against it. Works on a tenant of its own; nothing is left."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options."""
        parser.add_argument(
            "--examples",
            type=int,
            default=50,
            metavar="N",
            help="good and as many bad requests for each operation (default 50)",
        )
        parser.add_argument("--role", action="append", choices=[*Role], help="only as this role")
        parser.add_argument("--path", default="", help="only paths with this text in them")
        parser.add_argument("--seed", type=int, default=1, metavar="N", help="default 1")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        """Fuzz.

        :raises CommandError: if schemathesis is not installed or the database is not migrated, or
            an answer is at odds with the schema.
        """
        if find_spec("schemathesis") is None:
            raise CommandError(
                "schemathesis is not installed: it comes with the development packages (uv sync)."
            )
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            raise CommandError("The database is not migrated: run manage.py migrate first.")
        fuzz, fuzz_graphql = map(import_module, ("config.fuzz", "config.fuzz_graphql"))
        reports = {}
        asked = {
            "examples": options["examples"],
            "roles": options["role"] or [*Role],
            "start": options["seed"],
            "only": options["path"],
        }
        quiet = options["json"] or not self.stdout.isatty()
        with Progress(disable=quiet) as progress, errors_only():
            bar = progress.add_task("Fuzzing", total=None)
            for name, report in chain(fuzz.run(**asked), fuzz_graphql.run(**asked)):
                reports[name] = report
                progress.update(bar, advance=1, description=name)
        total = fuzz.totals(reports=reports)
        findings = [
            {"role": one.role, "operation": one.operation, "check": one.check, "text": one.message}
            for one in total.findings
        ]
        if options["json"]:
            counts = {
                "operations": len(reports),
                "requests": total.requests,
                "statuses": total.statuses,
                "seed": options["seed"],
                "findings": findings,
            }
            self.stdout.write(json.dumps(counts))
        else:
            for one in findings:
                self.stdout.write(
                    f"{one['operation']} as {one['role']}: {one['check']}\n  {one['text']}"
                )
            self.stdout.write(
                f"{total.requests} requests to {len(reports)} operations,"
                f" {len(findings)} answers that were not as they should be."
            )
        if findings:
            raise CommandError(f"Fuzzing found {len(findings)} faults.")


@contextmanager
def errors_only() -> Iterator[None]:
    """Log errors alone: thousands of requests are refused, as they should be."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
