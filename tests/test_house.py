"""The rules of the house that no linter knows: who writes a status, what SQL says, docs."""

import ast
import gettext
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connection, connections
from django.utils.module_loading import import_string
from pytest_django import DjangoDbBlocker

from config import docs

ROOT = Path(settings.BASE_DIR)
# Texts of a page, and of a catalogue with what they are in another language.
TRANSLATED = re.compile(r'{% translate "([^"]+)"')
PAIR = re.compile(r'^msgid "(.*)"\nmsgstr "(.*)"$', re.MULTILINE)
APPS = ("accounts", "audit", "scheduling", "availability", "waitlist", "notifications")
ENTRANCES = {"admin", "api", "apps", "models", "tasks"}

# Whose modules may write the status of what, in Python and in SQL.
WRITERS: dict[str, set[str]] = {
    "Slot": {
        "scheduling.slots", "scheduling.appointments", "scheduling.blocks", "scheduling.generation"
    },
    "Appointment": {"scheduling.appointments"},
    "WaitlistEntry": {
        "waitlist.entries", "waitlist.holds", "waitlist.fill", "waitlist.invites",
        "waitlist.cascades",
    },
    "Hold": {
        "waitlist.holds", "waitlist.fill", "waitlist.invites", "waitlist.cascades",
        "waitlist.conversions",
    },
    "CircuitBreaker": {"waitlist.breakers"},
    "Rfp": {"availability.rfps"},
    "RfpVenue": {"availability.rfps"},
    "VenueAvailability": {"availability.statuses"},
    "Message": {"notifications.messages"},
    "WebhookDelivery": {"notifications.webhook_deliveries"},
}  # fmt: skip
TABLES = {
    "scheduling_slot": {
        "scheduling/sql/generate_slots.sql", "scheduling/sql/settle_slots.sql",
        "scheduling/sql/land_slots.sql", "waitlist/sql/write_offers.sql",
    },
    "scheduling_appointment": set(),
    "waitlist_waitlistentry": {
        "waitlist/sql/write_offers.sql", "waitlist/sql/close_holds.sql",
        "waitlist/sql/expire_entries.sql", "waitlist/sql/expire_nudged.sql",
    },
    "waitlist_hold": {"waitlist/sql/write_offers.sql", "waitlist/sql/close_holds.sql"},
    "waitlist_circuitbreaker": {
        "waitlist/sql/trip_breakers.sql", "waitlist/sql/deactivate_breakers.sql",
    },
    "availability_rfp": set(),
    "availability_venueavailability": {"availability/sql/infer_statuses.sql"},
    "availability_rfpvenue": {"availability/sql/close_overdue_rfps.sql"},
    "notifications_message": {"notifications/sql/fan_out_messages.sql"},
    "notifications_webhookdelivery": {"notifications/sql/fan_out_webhooks.sql"},
}  # fmt: skip


def _modules(*, all_of_it: bool = False) -> Iterator[tuple[str, ast.Module]]:
    """Yield the modules of our apps; the entrances, migrations and commands too where wanted."""
    for app in APPS:
        for path in sorted((ROOT / app).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            entrance = len(parts) > 2 or parts[1] in ENTRANCES | {"__init__"}
            if "migrations" in parts or (entrance and not all_of_it):
                continue
            yield ".".join(parts).removesuffix(".__init__"), ast.parse(path.read_text())


def _statements() -> dict[str, str]:
    """Return the SQL of our apps by its path."""
    return {
        str(path.relative_to(ROOT)): path.read_text()
        for app in APPS
        for path in sorted((ROOT / app).rglob("*.sql"))
    }


NOUNS = dict(_modules())
EVERYTHING = dict(_modules(all_of_it=True))
SQL = _statements()


# Who writes a status

CALLS = {"create", "update", "bulk_create", "get_or_create", "update_or_create", "aupdate"}


def _root(node: ast.expr) -> str:
    """Return the name that a chain of calls and attributes begins with."""
    while not isinstance(node, ast.Name):
        if isinstance(node, ast.Call):
            node = node.func
        elif isinstance(node, ast.Attribute | ast.Subscript):
            node = node.value
        else:
            return ""
    return node.id


def _queries(function: ast.AST) -> dict[str, str]:
    """Return which model the local names of a function query: `due = Slot.objects.filter(...)`."""
    return {
        node.targets[0].id: _root(node.value)
        for node in ast.walk(function)
        if isinstance(node, ast.Assign)
        and len(node.targets) == 1
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Call)
    }


def _writes(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield the model, `?` if it cannot be told, and line of each write of a status."""
    named = _queries(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                if isinstance(target, ast.Attribute) and target.attr == "status":
                    yield "?", node.lineno
        if not isinstance(node, ast.Call):
            continue
        by_keyword = any(keyword.arg == "status" for keyword in node.keywords)
        by_name = any(_is_status(part) for part in ast.walk(node))
        match node.func:
            case ast.Name(id=name) if name in WRITERS and by_keyword:
                yield name, node.lineno
            case ast.Name(id="setattr") if by_name:
                yield "?", node.lineno
            case ast.Attribute(attr=name) if name in CALLS and by_keyword:
                root = _root(node.func)
                found = root if root in WRITERS else named.get(root, "?")
                yield found if found in WRITERS else "?", node.lineno
            case ast.Attribute(attr="save" | "bulk_update") if by_name:
                yield "?", node.lineno


def _is_status(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value == "status"


def test_a_status_is_written_by_the_modules_of_its_noun_only() -> None:
    strangers = {
        f"{module}:{line} {model}"
        for module, tree in EVERYTHING.items()
        for model, line in _writes(tree)
        if module not in WRITERS.get(model, set())
    }
    assert strangers == set()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Slot.objects.filter(pk=1).update(status='open')", ["Slot"]),
        ("Slot.objects.create(status='open')", ["Slot"]),
        ("Hold(status='offered')", ["Hold"]),
        ("slot.status = 'open'", ["?"]),
        ("due = Hold.objects.filter(pk=1)\ndue.update(status='expired')", ["Hold"]),
        ("mine.update(status='open')", ["?"]),
        ("slot.save(update_fields=['status'])", ["?"]),
        ("Slot.objects.bulk_update(slots, ['status'])", ["?"]),
        ("setattr(slot, 'status', 'open')", ["?"]),
        ("Slot.objects.filter(status='open').update(service=None)", []),
        ("was = slot.status", []),
        ("run.state = 'failed'", []),
    ],
)
def test_the_rule_above_sees_every_way_to_write_one(text: str, found: list[str]) -> None:
    assert [model for model, _ in _writes(ast.parse(text))] == found


def _written_tables(text: str) -> Iterator[str]:
    """Yield the tables whose status a statement inserts or updates."""
    text = re.sub(r"--.*", "", text)
    for table, columns in re.findall(r"INSERT\s+INTO\s+(\w+)\s*\(([^)]*)\)", text, re.I):
        if re.search(r"\bstatus\b", columns):
            yield table
    for table, assignments in re.findall(
        r"UPDATE\s+(\w+)(?:\s+AS\s+\w+)?\s+SET\s+(.*?)(?:\bFROM\b|\bWHERE\b|\bRETURNING\b|;|\Z)",
        text,
        re.I | re.S,
    ):
        if re.search(r"(?:^|,|\s)status\s*=", assignments):
            yield table


def test_a_status_is_written_by_the_statements_of_its_noun_only() -> None:
    writers: dict[str, set[str]] = {table: set() for table in TABLES}
    for path, text in SQL.items():
        for table in _written_tables(text):
            if table in writers:
                writers[table].add(path)
    assert writers == TABLES


# Functions


def _public(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node


def test_public_functions_of_nouns_take_keywords_only() -> None:
    positional = {
        f"{module}.{function.name}"
        for module, tree in NOUNS.items()
        for function in _public(tree)
        if function.args.args or function.args.posonlyargs or function.args.vararg
    }
    # Views and hooks are called by the frameworks.
    hooks = {"accounts.problems.handle", "accounts.schema.finish"}
    ours = {name for name in positional if not name.startswith("audit.pages.")}
    assert ours - hooks == set()


def test_public_functions_of_nouns_say_what_they_do() -> None:
    silent = {
        f"{module}.{function.name}"
        for module, tree in NOUNS.items()
        for function in _public(tree)
        if not ast.get_docstring(function)
    }
    assert silent == set()


def test_the_clock_is_an_argument_below_the_entrances() -> None:
    """`now` is required, and nothing but the clock and the record of runs asks what time it is."""
    optional = {
        f"{module}.{function.name}"
        for module, tree in NOUNS.items()
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        for argument, default in zip(
            function.args.kwonlyargs, function.args.kw_defaults, strict=True
        )
        if argument.arg == "now" and default is not None
    }
    assert optional == set()
    asking = {
        module
        for module, tree in NOUNS.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"now", "utcnow", "today"}
        and ast.unparse(node.func) not in {"zones.today"}
    }
    shared = {"accounts.views", "accounts.graphql"}  # by the entrances
    assert asking <= {"audit.clock", "audit.jobs", "audit.pages", *shared}


def test_no_module_is_named_after_nothing() -> None:
    vague = {"utils", "helpers", "base", "managers", "services", "repositories", "common", "misc"}
    named = {module for module in EVERYTHING if set(module.split(".")) & vague}
    assert named == {"scheduling.api.services"}  # the routes of the noun Service


def test_no_signals_are_used() -> None:
    imported = {
        (module, name)
        for module, tree in EVERYTHING.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [f"{node.module}.{alias.name}" for alias in node.names]
        )
        if "signals" in name.split(".") or name.startswith("django.dispatch")
    }
    ours = {(module, name) for module, name in imported if name == "availability.signals"}
    assert imported == ours  # the noun Signal, a fact about a venue


@pytest.mark.parametrize("app", APPS)
def test_each_app_says_in_five_lines_what_it_is(app: str) -> None:
    said = ast.get_docstring(ast.parse((ROOT / app / "__init__.py").read_text()))
    assert said is not None
    lines = [line for line in said.splitlines() if line]
    assert 4 <= len(lines) <= 6
    assert "Owns" in said
    assert "reads" in said or "read " in said
    assert re.search(r"\bLocks?\b", said)
    assert "Start reading" in said


# SQL


@pytest.mark.parametrize("path", SQL)
def test_each_statement_says_what_it_does_and_what_it_locks(path: str) -> None:
    head = "".join(
        line.removeprefix("--")
        for line in re.match(r"(?:--.*\n)*", SQL[path]).group().splitlines()  # type: ignore[union-attr]
    )
    assert len(head) > 40
    assert re.search(r"\block", head, re.I), "its head says which locks it takes, or that none"


@pytest.mark.parametrize("path", SQL)
def test_each_statement_is_run_by_somebody(path: str) -> None:
    app, _, name = path.removesuffix(".sql").split("/")
    said = "".join(ast.unparse(tree) for tree in EVERYTHING.values())
    assert re.search(rf"'{name}'", said), f"{app} has a statement that nobody runs"


def test_statements_are_named_by_a_verb_and_a_noun() -> None:
    assert {path for path in SQL if not re.search(r"/[a-z]+(_[a-z]+)+\.sql$", path)} == set()


# Docs


def test_each_transaction_says_which_rows_it_locks() -> None:
    """Else docs/locking.md lacks it. Those that are named here lock none."""
    silent = {
        f"{module}.{function.name}"
        for module, tree in NOUNS.items()
        for function in _public(tree)
        if module.startswith(("scheduling.", "availability.", "waitlist.", "notifications."))
        and "transaction.atomic" in map(ast.unparse, function.decorator_list)
        and not docs.LOCKS.search(ast.get_docstring(function) or "")
    }
    assert silent == {
        "scheduling.facilities.add", "scheduling.providers.add",
        "waitlist.explanations.explain_entry", "waitlist.explanations.explain_slot",
        "waitlist.metrics.roll_up", "notifications.preferences.change",
    }  # fmt: skip


@pytest.mark.parametrize(
    "name", sorted({name for moves in docs.MACHINES.values() for name in moves.values()})
)
def test_each_function_that_makes_a_move_exists_and_tells_its_locks_in_order(name: str) -> None:
    function = import_string(name)
    assert inspect.isfunction(inspect.unwrap(function))
    assert docs.locks(function=function)


@pytest.mark.parametrize("language", [code for code, _ in settings.LANGUAGES if code != "en"])
def test_each_text_of_a_page_is_translated(language: str) -> None:
    """And what is compiled, which is read, is what is written."""
    for app in APPS:
        pages = [page.read_text() for page in (ROOT / app).rglob("templates/**/*.html")]
        texts = {text for page in pages for text in TRANSLATED.findall(page)}
        if not texts:
            continue
        folder = ROOT / app / "locale"
        written = folder / language / "LC_MESSAGES" / "django.po"
        pairs = {(unescape(a), unescape(b)) for a, b in PAIR.findall(written.read_text()) if a}
        read = gettext.translation("django", localedir=folder, languages=[language])
        assert {text for text, _ in pairs} == texts, app
        assert [text for text, said in pairs if read.gettext(text) != said or not said] == []


def unescape(text: str) -> str:
    return text.replace("\\\\", "\\").replace('\\"', '"')


def test_a_command_loads_no_providers_sdk() -> None:
    """Each takes longer to load than most commands take to run."""
    script = (
        "import sys, django; django.setup();"
        "from django.urls import get_resolver; get_resolver().url_patterns;"
        "print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    sdks = {"anymail", "boto3", "httpx", "icalendar", "pywa", "scipy", "twilio.rest"}
    assert sdks & set(done.stdout.split()) == set()


def test_the_pages_are_as_they_are_made() -> None:
    stale = {
        path
        for path, text in docs.pages().items()
        if not (ROOT / path).exists() or (ROOT / path).read_text() != text
    }
    assert stale == set(), "run python3 manage.py write_docs"


# Migrations


@pytest.fixture
def scratch(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    """A migrated database of its own; the alias by which Django knows it."""
    alias = "scratch"
    template = connection.settings_dict["TEST"].get("TEMPLATE")
    settings_of_it = {
        **connection.settings_dict,
        "NAME": f"{connection.settings_dict['NAME']}_{alias}",
    }
    name = connection.ops.quote_name(settings_of_it["NAME"])
    with django_db_blocker.unblock():
        with connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {name}")
            cursor.execute(f"CREATE DATABASE {name} TEMPLATE {template or 'template1'}")
        connections.settings[alias] = settings_of_it
        try:
            if not template:
                call_command("migrate", database=alias, verbosity=0)
            yield alias
        finally:
            connections[alias].close()
            del connections[alias]
            del connections.settings[alias]
            with connection.cursor() as cursor:
                cursor.execute(f"DROP DATABASE {name}")
            connection.close()


def _ours(alias: str) -> dict[str, set[str]]:
    """Return our tables of a database, with their constraints, indexes and triggers."""
    found: dict[str, set[str]] = {}
    mine = "^(accounts|audit|scheduling|availability|waitlist|notifications)_"
    with connections[alias].cursor() as cursor:
        for what, query in (
            ("tables", "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ %s"),
            ("constraints", "SELECT conname || pg_get_constraintdef(oid) FROM pg_constraint"
                            " WHERE conrelid::regclass::text ~ %s"),
            ("indexes", "SELECT indexdef FROM pg_indexes WHERE tablename ~ %s"),
            ("triggers", "SELECT tgname FROM pg_trigger"
                         " WHERE NOT tgisinternal AND tgrelid::regclass::text ~ %s"),
        ):  # fmt: skip
            cursor.execute(query, [mine])
            found[what] = {name for (name,) in cursor.fetchall()}
    return found


def test_migrations_go_down_to_nothing_and_up_again(scratch: str) -> None:
    """All of ours stand on these two, and come down with them.

    Of the checklist of venues, the line: migration runs cleanly (upgrade and downgrade).
    """
    up = _ours(scratch)
    assert len(up["tables"]) >= 20
    assert len(up["triggers"]) >= 30
    for app in ("audit", "accounts"):
        call_command("migrate", app, "zero", database=scratch, verbosity=0)
    assert not any(_ours(scratch).values())
    call_command("migrate", database=scratch, verbosity=0)
    assert _ours(scratch) == up
