import os
import sys
from typing import NoReturn

from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Run pytest with the arguments that follow; it starts servers of its own."

    def run_from_argv(self, argv: list[str]) -> NoReturn:
        """Become pytest: its settings are not those this process has read already."""
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, "-m", "pytest", *argv[2:]])
