import json
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit import jobs
from audit.models import JobRun


class Command(BaseCommand):
    help = "List the job runs that failed; send them again or put them aside."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add what to do, and to which runs."""
        parser.add_argument(
            "action",
            nargs="?",
            default="list",
            choices=["list", "retry", "retry-all", "dismiss"],
            help="what to do (list)",
        )
        parser.add_argument("ids", nargs="*", metavar="ID", help="for retry and dismiss: the runs")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it.

        :raises CommandError: naming the runs that are not failed ones, or one that was not sent.
        """
        action, ids = options["action"], options["ids"]
        if action in ("retry", "dismiss") and not ids:
            raise CommandError(f"{action}: give the ids of runs, as the list shows them.")
        if action in ("list", "retry-all") and ids:
            raise CommandError(f"{action}: it takes no ids; retry and dismiss do.")
        failed = JobRun.objects.filter(state=JobRun.State.FAILED).order_by("started_at")
        if action == "list":
            self._list(runs=failed, as_json=options["json"])
            return
        wanted = ids or list(failed.values_list("pk", flat=True))
        change = jobs.dismiss if action == "dismiss" else jobs.retry
        refused = []
        for number, one in enumerate(wanted):
            try:
                change(run_id=UUID(str(one)))
            except (jobs.NotFailed, ValueError):
                refused.append(str(one))
            except jobs.BrokerAway as away:  # it is for the others, too
                raise CommandError(f"{away} {number - len(refused)} were sent before.") from away
        done = len(wanted) - len(refused)
        word = "dismissed" if action == "dismiss" else "retried"
        text = (
            json.dumps({word: done, "refused": refused}) if options["json"] else f"{done} {word}."
        )
        self.stdout.write(text)
        if refused:
            raise CommandError(f"Not a failed run: {', '.join(refused)}")

    def _list(self, *, runs: Iterable[JobRun], as_json: bool) -> None:
        rows = [
            {
                "id": str(run.pk),
                "task": run.task,
                "args": run.args,
                "started_at": run.started_at.isoformat(),
                "attempts": run.attempts,
                "error": run.error_class,
            }
            for run in runs
        ]
        if as_json:
            self.stdout.write(json.dumps({"failed": rows}))
            return
        for row in rows:
            self.stdout.write("  ".join(str(value) for value in row.values()))
        self.stdout.write(f"{len(rows)} failed runs.")
