import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import date
from typing import Any, TypeVar
from uuid import UUID

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.progress import Progress

from accounts.models import Tenant
from audit import clock
from audit.errors import NotFound
from scheduling import generation

T = TypeVar("T")


class Command(BaseCommand):
    help = (
        "Make the slots that rules and exceptions call for, retire coming ones that nothing calls "
        "for any longer, and open those again that are called for again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add what to restrict the run to."""
        parser.add_argument("--tenant", metavar="SLUG", help="only this tenant")
        parser.add_argument("--facility", metavar="ID", help="only this facility")
        parser.add_argument("--provider", metavar="ID", help="only this provider")
        parser.add_argument("--start-date", metavar="YYYY-MM-DD", help="local; by default today")
        parser.add_argument("--end-date", metavar="YYYY-MM-DD", help="by default 30 days later")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        """Make them and say how many.

        :raises CommandError: naming the option that is wrong, or if facilities were left out.
        """
        tenant = None
        if slug := options["tenant"]:
            tenant = Tenant.objects.filter(slug=slug).first()
            if tenant is None:
                raise CommandError(f"There is no tenant {slug}.")
        facility_id = _read(UUID, options, "facility", "an id")
        provider_id = _read(UUID, options, "provider", "an id")
        first = _read(date.fromisoformat, options, "start_date", "a date")
        last = _read(date.fromisoformat, options, "end_date", "a date")
        console = Console(stderr=True)
        try:
            # Off a terminal it draws nothing.
            with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
                task = bar.add_task("generating", total=None)

                def progress(done: int, total: int) -> None:
                    bar.update(task, completed=done, total=total)

                outcome = generation.generate(
                    now=clock.now(),
                    tenant_id=tenant.pk if tenant else None,
                    facility_id=facility_id,
                    provider_id=provider_id,
                    first=first,
                    last=last,
                    progress=progress,
                )
        except ValidationError as error:
            told = (f"{name}: {' '.join(texts)}" for name, texts in error.message_dict.items())
            raise CommandError("; ".join(told)) from error
        except NotFound as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self.stdout.write(json.dumps(asdict(outcome), default=str))
        else:
            self.stdout.write(
                f"Created {outcome.created} slots, retired {outcome.retired}, "
                f"opened {outcome.reopened} again."
            )
        if outcome.skipped:
            raise CommandError(f"{len(outcome.skipped)} facilities are in unknown time zones.")


def _read(kind: Callable[[str], T], options: dict[str, Any], name: str, noun: str) -> T | None:
    """Read an option.

    :raises CommandError: naming it.
    """
    text = options[name]
    try:
        return None if text is None else kind(text)
    except ValueError as error:
        raise CommandError(f"--{name.replace('_', '-')}: {text!r} is not {noun}.") from error
