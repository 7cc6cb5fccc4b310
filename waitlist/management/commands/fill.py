import json
from argparse import ArgumentTypeError
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.template.defaultfilters import pluralize
from rich.progress import track

from audit import clock
from scheduling.models import Facility
from waitlist import fill


class Command(BaseCommand):
    help = "Offer what is open to those who wait, now, as the periodic scan does."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options."""
        parser.add_argument("--facility", type=_uuid, metavar="ID", help="only this facility")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        """Fill.

        :raises CommandError: if the facility is unknown or another pass is filling it.
        """
        wanted = options["facility"]
        if wanted and not Facility.objects.filter(pk=wanted).exists():
            raise CommandError(f"There is no facility {wanted}.")
        found = [wanted] if wanted else fill.facilities(now=clock.now())
        offers = fruitless = 0
        busy: list[str] = []
        bar = not options["json"] and self.stdout.isatty()
        for facility_id in track(found, "Filling", disable=not bar):
            try:
                for filled in fill.passes(facility_id=facility_id, clock=clock.now):
                    offers += filled.offers
                    fruitless += filled.fruitless
            except fill.Busy:
                busy.append(str(facility_id))
        counts = {"facilities": len(found), "offers": offers, "fruitless": fruitless, "busy": busy}
        if options["json"]:
            self.stdout.write(json.dumps(counts))
        else:
            self.stdout.write(
                f"{offers} offer{pluralize(offers)} at {len(found)}"
                f" facilit{pluralize(len(found), 'y,ies')}; nobody fits {fruitless}"
                f" slot{pluralize(fruitless)}."
            )
        if busy:
            raise CommandError(f"Another pass is filling {', '.join(busy)}.")


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not an id") from None
