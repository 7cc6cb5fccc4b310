import os
import sys
from typing import NoReturn

from django.conf import settings
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = (
        "Run pytest with the arguments that follow; it starts servers of its own. Paths are those"
        " in the project's folder."
    )

    def run_from_argv(self, argv: list[str]) -> NoReturn:
        """Become pytest: its settings are not those this process has read already."""
        os.chdir(settings.BASE_DIR)
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, "-m", "pytest", *argv[2:]])
