"""What manage.py does once its packages are there: make sure of servers, then be Django's own."""

import os
import sys
from pathlib import Path

import environ
from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line
from django.db import ProgrammingError
from psycopg.errors import UndefinedTable

from config import embedded

ROOT = Path(__file__).resolve().parent.parent

#: Commands that read code only. In place of servers they get addresses that lead nowhere.
WITHOUT_SERVERS = frozenset(
    {
        "check_code",
        "compilemessages",
        "help",
        "makemessages",
        "startapp",
        "test",
        "version",
        "write_docs",
    }
)


def run(*, arguments: list[str]) -> None:
    """Run a command line, `arguments[0]` being the program."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    if (ROOT / ".env").is_file():
        environ.Env.read_env(ROOT / ".env")
    # Only this file calls itself development: a process started in another way has to be told.
    os.environ.setdefault("BACKFILL_ENV", "development")
    if os.environ["BACKFILL_ENV"] != "production" and needs_servers(arguments=arguments[1:]):
        try:
            embedded.ensure(folder=var_folder())
        except embedded.EmbeddedError as error:
            sys.exit(f"{error}\nSet DATABASE_URL and REDIS_URL to use servers of your own.")
    try:
        execute_from_command_line(arguments)
    except ImproperlyConfigured as error:
        sys.exit(f"Wrong settings: {error}")
    except ProgrammingError as error:
        if not isinstance(error.__cause__, UndefinedTable):
            raise
        sys.exit("The database lacks tables. Make them first: python3 manage.py migrate")


def var_folder() -> Path:
    """Return where embedded servers and logs are kept: BACKFILL_VAR, else `var/` here."""
    return Path(os.environ.get("BACKFILL_VAR") or ROOT / "var").resolve()


def needs_servers(*, arguments: list[str]) -> bool:
    """Say whether a command works on data; asking how to call one does not."""
    if not arguments or arguments[0].startswith("-") or {"-h", "--help"} & set(arguments):
        return False
    return arguments[0] not in WITHOUT_SERVERS
