from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from config import docs


class Command(BaseCommand):
    help = "Write the pages of docs/ that are made from the code."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Add `--check`."""
        parser.add_argument(
            "--check", action="store_true", help="write nothing; exit 1 if a page is not as made"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Write or compare.

        :raises CommandError: naming the pages that differ.
        """
        stale = []
        for path, text in docs.pages().items():
            page = Path(settings.BASE_DIR) / path
            if page.exists() and page.read_text() == text:
                continue
            stale.append(path)
            if not options["check"]:
                page.parent.mkdir(exist_ok=True)
                page.write_text(text)
        if options["check"] and stale:
            raise CommandError(f"Run manage.py write_docs: {', '.join(stale)} would change.")
