import json
from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from bench import fills
from bench.measures import Result

BENCHES: dict[str, Callable[[dict[str, Any]], list[Result]]] = {
    "fill": lambda given: [
        fills.bench_fill(
            facilities=given["facilities"] or 100,
            slots=given["slots"] or 100,
            waiting=given["waiting"] or 1000,
            loop=given["loop"],
            runs=given["runs"],
        )
    ],
    "fill-one": lambda given: [
        fills.bench_fill_one(
            waiting=[1000, given["waiting"] or 1_000_000], fit=fit, runs=given["runs"]
        )
        for fit in ([given["fit"]] if given["fit"] else ["all", "sparse", "none"])
    ],
    "fill-stale": lambda given: [
        fills.bench_fill_stale(
            facilities=given["facilities"] or 100,
            slots=given["slots"] or 100,
            waiting=given["waiting"] or 1000,
            runs=given["runs"],
        )
    ],
    "fill-idle": lambda given: [
        fills.bench_fill_idle(waiting=given["waiting"] or 1_000_000, runs=given["runs"])
    ],
}


class Command(BaseCommand):
    help = (
        "Measure, in scratch databases on the server in use: ratios to the least that PostgreSQL"
        " can be asked to do for the same result."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options."""
        parser.add_argument("name", choices=[*BENCHES, "all"], help="what to measure")
        parser.add_argument("--runs", type=int, default=5, help="runs per median (default 5)")
        parser.add_argument("--facilities", type=int, help="facilities of the world")
        parser.add_argument("--slots", type=int, help="open slots at each facility")
        parser.add_argument("--waiting", type=int, help="people waiting at each facility")
        parser.add_argument("--fit", choices=["all", "sparse", "none"], help="fill-one: who fits")
        parser.add_argument(
            "--loop", type=int, default=2, help="fill: facilities that the textbook's loop fills"
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object each")
        parser.add_argument("--markdown", action="store_true", help="print a table")

    def handle(self, *args: Any, **options: Any) -> None:
        """Measure and print."""
        for name in BENCHES if options["name"] == "all" else [options["name"]]:
            for result in BENCHES[name](options):
                self.stdout.write(json.dumps(result.as_json()))
