import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from bench import drains, expiries, fills, generations, inferences, machines, relays, requests
from bench.measures import WITHOUT_TRIGGERS, Result

DENTISTS = Path(settings.BASE_DIR).parent / "shared" / "data" / "nhs_dentists"

Given = dict[str, Any]


def _many(given: Given) -> dict[str, int]:
    """Return the sizes of a world of many facilities."""
    return {
        "facilities": given["facilities"] or 100,
        "slots": given["slots"] or 100,
        "waiting": given["waiting"] or 1000,
        "runs": given["runs"],
    }


def _fill_one(given: Given) -> list[Result]:
    longest = given["waiting"] or 1_000_000
    return [
        fills.bench_fill_one(waiting=[1000, longest], fit=fit, runs=given["runs"])
        for fit in ([given["fit"]] if given["fit"] else ["all", "sparse", "lower", "none"])
    ]


def _generate(given: Given) -> list[Result]:
    files = {name: Path(given[name]) for name in ("hours", "practices")}
    for name, path in files.items():
        if not path.is_file():
            raise CommandError(f"There is no file {path}: name one with --{name}.")
    return [generations.bench_generate(**files, runs=given["runs"])]


BENCHES: dict[str, Callable[[Given], list[Result]]] = {
    "fill": lambda given: [fills.bench_fill(**_many(given), loop=given["loop"])],
    "fill-one": _fill_one,
    "fill-stale": lambda given: [fills.bench_fill_stale(**_many(given))],
    "fill-idle": lambda given: [
        fills.bench_fill_idle(
            facilities=given["facilities"] or 100,
            waiting=given["waiting"] or 10_000,
            runs=given["runs"],
        )
    ],
    "expire": lambda given: [expiries.bench_expire(**_many(given))],
    "generate": _generate,
    "relay": lambda given: [
        relays.bench_relay(
            facilities=given["facilities"] or 100,
            waiting=given["waiting"] or 100,
            events=given["events"],
            runs=given["runs"],
        )
    ],
    "infer": lambda given: [
        inferences.bench_infer(
            venues=given["venues"], recorded=given["signals"], runs=given["runs"]
        )
    ],
    "drain": lambda given: [
        drains.bench_drain(recipients=given["recipients"], each=given["messages"])
    ],
    "join": lambda given: [
        requests.bench_join(clients=given["clients"], joins=given["joins"], runs=given["runs"])
    ],
    "accept": lambda given: [requests.bench_accept(answers=given["answers"], runs=given["runs"])],
}


class Command(BaseCommand):
    help = (
        "Measure, in scratch databases on the server in use: ratios to the least that PostgreSQL"
        " can be asked to do for the same result. Exit 1 if a target is missed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options."""
        parser.add_argument("name", choices=[*BENCHES, "all"], help="what to measure")
        parser.add_argument("--runs", type=int, default=5, help="runs per median (default 5)")
        parser.add_argument("--facilities", type=int, help="facilities of the world")
        parser.add_argument("--slots", type=int, help="open slots at each facility")
        parser.add_argument("--waiting", type=int, help="people waiting at each facility")
        parser.add_argument(
            "--fit", choices=["all", "sparse", "lower", "none"], help="fill-one: who fits"
        )
        parser.add_argument(
            "--loop", type=int, default=2, help="fill: facilities that the textbook's loop fills"
        )
        parser.add_argument("--clients", type=int, default=8, help="join: clients, facilities")
        parser.add_argument("--joins", type=int, default=100, help="join: for each client")
        parser.add_argument("--events", type=int, default=50_000, help="relay: events")
        parser.add_argument("--venues", type=int, default=20_000, help="infer: venues")
        parser.add_argument("--signals", type=int, default=2_000_000, help="infer: their signals")
        parser.add_argument("--recipients", type=int, default=400, help="drain: recipients")
        parser.add_argument("--messages", type=int, default=25, help="drain: for each recipient")
        parser.add_argument("--answers", type=int, default=200, help="accept: answers at once")
        parser.add_argument(
            "--hours", default=str(DENTISTS / "dentist_opening_times.csv"), metavar="FILE",
            help="generate: opening hours",
        )  # fmt: skip
        parser.add_argument(
            "--practices", default=str(DENTISTS / "dentists.csv"), metavar="FILE",
            help="generate: the practices",
        )  # fmt: skip
        parser.add_argument("--json", action="store_true", help="print one JSON object for each")
        parser.add_argument("--markdown", action="store_true", help="print the table of the docs")

    def handle(self, *args: Any, **options: Any) -> None:
        """Measure and print.

        :raises CommandError: if a file is missing, or a target is missed.
        """
        settings.DEBUG = False  # else Django writes down each statement, which takes its time
        results: list[Result] = []
        if options["markdown"]:
            self.stdout.write("\n".join([*machines.describe(), "", HEAD]))
        for name in BENCHES if options["name"] == "all" else [options["name"]]:
            self.stderr.write(f"{name} ...")
            for result in BENCHES[name](options):
                results.append(result)
                self.stdout.write(self._shown(result, options))
        missed = [result.bench for result in results if not result.is_met]
        if missed:
            raise CommandError(f"Missed: {', '.join(missed)}.")

    def _shown(self, result: Result, options: Given) -> str:
        if options["json"]:
            return json.dumps(result.as_json())
        if options["markdown"]:
            return "\n".join(rows(result))
        return "\n".join(
            [
                f"{result.bench}: {_sizes(result)}",
                *(
                    f"  {name}: {reached:.3g} (at most {most:g})"
                    + ("" if reached <= most else "  MISSED")
                    for name, (reached, most) in result.limits.items()
                ),
                *(f"  {name}: {seconds:.4g} s" for name, seconds in result.seconds.items()),
                f"  statements: {result.queries}",
                *(f"  {name}: {value}" for name, value in result.found.items()),
            ]
        )


HEAD = (
    "| bench | what | reached | at most | without triggers | statements | peak memory, MB | sizes |"
    " seconds |\n|---|---|---|---|---|---|---|---|---|"
)


def rows(result: Result) -> list[str]:
    """Return a line for each target; the first has what is the same for all."""
    seconds = ", ".join(f"{name} {value:.4g}" for name, value in result.seconds.items())
    bare = result.found.get(WITHOUT_TRIGGERS)
    once = (
        f"{'–' if bare is None else f'{bare:.2f}'} | {result.queries:,} | {result.peak_mb:.0f}"
        f" | {_sizes(result)} | {seconds}"
    )
    lines = [
        f"{result.bench} | {name} | {reached:.2f} | {most:g}"
        for name, (reached, most) in result.targets.items()
    ] or [f"{result.bench} | stated only | – | –"]
    return [f"| {lines[0]} | {once} |", *(f"| {line} | | | | | |" for line in lines[1:])]


def _sizes(result: Result) -> str:
    return ", ".join(f"{name} {value}" for name, value in result.sizes.items())
