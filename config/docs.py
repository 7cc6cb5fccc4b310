"""The pages of docs/ that the code itself tells: the state machines, the locks and the access."""

import inspect
import pkgutil
import re
from collections.abc import Callable, Collection, Mapping
from importlib import import_module
from typing import Any

from django.utils.module_loading import import_string

import availability as availability_app
import notifications as notifications_app
import scheduling as scheduling_app
import waitlist as waitlist_app
from accounts import routes
from accounts.models import Language
from accounts.roles import FIELDS, ROUTES, Role
from audit.triggers import Move
from availability import models as availability
from config.graphql import schema
from notifications import models as notifications
from notifications import replies, templates
from notifications import whatsapp as whatsapp_channel
from notifications.kinds import KINDS
from notifications.models import Channel
from notifications.words import Meaning
from scheduling import models as scheduling
from waitlist import models as waitlist

LOCKS = re.compile(r"\bLocks ([a-z, \n]+)\.")
ORDER = (
    "queue", "provider", "patient", "user", "organizer", "slot", "appointment", "hold", "entry",
    "rfp", "venue", "unrelayed", "message", "endpoint", "delivery", "cursor",
)  # fmt: skip
MACHINES: Mapping[str, Mapping[Move, str]] = {
    **scheduling.MOVES,
    **availability.MOVES,
    **waitlist.MOVES,
    **notifications.MOVES,
}
MADE = "<!-- Made by `python3 manage.py write_docs` from `MOVES`; do not edit. -->\n"


class OutOfOrder(Exception):
    """A function says that it takes its locks in another order than `ORDER`, or does not say."""


def pages() -> dict[str, str]:
    """Return the text of each page by its path.

    :raises OutOfOrder: naming the function.
    """
    return {
        "docs/states.md": states(),
        "docs/locking.md": locking(),
        "docs/access.md": access(),
        "docs/whatsapp.md": whatsapp(),
        "docs/schema.graphql": graphql_schema(),
    }


def states() -> str:
    """Draw each state machine and name a function that makes each move."""
    parts = [
        MADE,
        "# States\n",
        "A move that is not listed is refused by a trigger of the table, whoever tries it. A slot"
        " whose claim ends lands where it belongs: `retired` when no rule makes it any longer,"
        " `blocked` when a block overlaps it, else `open`.\n",
    ]
    for machine, moves in MACHINES.items():
        parts.append(f"## {machine}\n")
        arrows = "\n".join(f"    {old or '[*]'} --> {new}" for old, new in moves)
        parts.append(f"```mermaid\nstateDiagram-v2\n{arrows}\n```\n")
        parts.append("| from | to | for example by |\n|---|---|---|")
        parts += [f"| {old or '–'} | {new} | `{name}` |" for (old, new), name in moves.items()]
        parts.append("")
    return "\n".join(parts)


def locking() -> str:
    """List the row locks of each function that makes a move, and of the others that say some."""
    moving = {name for moves in MACHINES.values() for name in moves.values()}
    names = sorted(moving | _lockers())
    parts = [
        MADE.replace("`MOVES`", "docstrings"),
        "# Locks\n",
        f"Row locks are taken in one order: {', '.join(ORDER)}; several of a kind by id. So no two"
        " transactions wait for each other in a ring. All are `FOR NO KEY UPDATE`, which rows that"
        " only refer to the locked one need not wait for. What a sweep finds locked it leaves to"
        " its next run. Advisory locks (`audit/locks.py`) are taken before all of them.\n",
        f"| function | {' | '.join(ORDER)} |",
        f"|---|{'---|' * len(ORDER)}",
    ]
    for name in names:
        taken = locks(function=import_string(name))
        parts.append(f"| `{name}` | {' | '.join('x' if o in taken else '' for o in ORDER)} |")
    return "\n".join([*parts, ""])


def locks(*, function: Callable[..., Any]) -> list[str]:
    """Read from a docstring, "Locks provider, slot.", which rows a function locks.

    :raises OutOfOrder: if it does not say, or says them in another order.
    """
    said = LOCKS.search(function.__doc__ or "")
    taken = re.split(r",\s+", said[1]) if said else []
    if not taken or taken != [kind for kind in ORDER if kind in taken]:
        raise OutOfOrder(f"{function.__module__}.{function.__qualname__}: {taken}")
    return taken


def _lockers() -> set[str]:
    """Find the public functions of the nouns that say which rows they lock."""
    found = set()
    for app in (scheduling_app, availability_app, waitlist_app, notifications_app):
        for module in pkgutil.iter_modules(app.__path__, prefix=f"{app.__name__}."):
            if module.ispkg or module.name.endswith((".admin", ".tasks", ".apps", ".urls")):
                continue
            for name, function in vars(import_module(module.name)).items():
                own = inspect.isfunction(function) and function.__module__ == module.name
                if own and not name.startswith("_") and LOCKS.search(function.__doc__ or ""):
                    found.add(f"{module.name}.{name}")
    return found


def access() -> str:
    """List who may call which route of the API."""
    parts = [
        MADE.replace("MOVES", "accounts.roles.ROUTES"),
        "# Access\n",
        "Who may call what: `x` may, for the rest the answer is 401 to who is not logged in (none)"
        " and 403 to who is. `HEAD` is as `GET`; a method that is not listed is 405.\n",
        "A token is for one role, looked up on each request: what a membership says, else patient."
        " Who is both asks for one with `role` in `POST auth/token`. `organizer_admin` is an admin"
        " of an organizer, `organizer` any other member of one.\n",
        "What a caller sees there are rows of the tenant in their token, a provider those of own"
        " facilities, a patient their own: other rows, in the path or in the body, are 404, and a"
        " filter by their ids finds nothing. A path"
        " that names another tenant is 403; `{tenant}` is a tenant's id, not its slug."
        " `tests/test_access.py` walks every route of the URL resolver × method × role × own and"
        " foreign tenant and holds it against this table; `tests/test_foreign_ids.py` walks every"
        " id that the schema has in a body or a filter.\n",
        f"| route | method | {' | '.join(Role)} |",
        f"|---|---|{'---|' * len(Role)}",
    ]
    for route in sorted(routes.walk(), key=lambda one: one.path):
        for method in route.methods:
            who = ROUTES[route.name].get(method, ())
            parts.append(f"| `{route.path}` | {method} | {_marks(who)} |")
    parts += [
        "",
        "## GraphQL\n",
        "Who may ask for what at `/graphql/`. An operation with a field that one may not ask for is"
        " refused as a whole, with the code `not_authenticated` or `permission_denied`."
        " `tests/test_graphql_access.py` holds every field of the schema against this table.\n",
        f"| type | fields | {' | '.join(Role)} |",
        f"|---|---|{'---|' * len(Role)}",
    ]
    for kind, fields in FIELDS.items():
        for who in dict.fromkeys(fields.values()):
            names = ", ".join(name for name in fields if fields[name] == who)
            parts.append(f"| {kind} | {names} | {_marks(who)} |")
    return "\n".join([*parts, ""])


def graphql_schema() -> str:
    """Print the schema of GraphQL."""
    return f"# Made by `python3 manage.py write_docs`; do not edit.\n\n{schema}\n"


def _marks(who: Collection[Role]) -> str:
    return " | ".join("x" if role in who else "" for role in Role)


def whatsapp() -> str:
    """List the templates that Meta is to approve, in each language."""
    parts = [
        MADE.replace("MOVES", "notifications/texts"),
        "# WhatsApp\n",
        "Who did not write to us within a day gets templates only, which Meta approves before. They"
        " are of category `UTILITY` with named parameters. Those with buttons have two quick"
        " replies, in this order. Without one of them, its messages fail with the reason"
        " `whatsapp_132001`. Those of `organizer_…` are for organizers, who answer by the link.\n",
        "A kind that a tenant switches on besides needs a template of its name, such as"
        " `waitlist_joined` for `waitlist.joined`, with the parameters of its short text in"
        " `notifications/texts/`.\n",
    ]
    usual = [kind for kind, rule in KINDS.items() if Channel.WHATSAPP in rule.channels]
    others = [kind.replace("waitlist.", "organizer.") for kind in usual]
    for kind in [*usual, *(kind for kind in others if kind in templates.to_organizers())]:
        parts += [f"## {whatsapp_channel.template_name(kind=kind)}\n"]
        parts += ["| language | text | buttons |", "|---|---|---|"]
        for language in Language.values:
            code = whatsapp_channel.LANGUAGES[language].value
            text = whatsapp_channel.template_text(kind=kind, language=language)
            buttons = " · ".join(
                replies.write(name=f"button_{meaning}", language=language)
                for meaning in (Meaning.YES, Meaning.NO)
                if kind in whatsapp_channel.ANSWERABLE
            )
            parts.append(f"| {code} | {text} | {buttons} |")
        parts.append("")
    return "\n".join(parts)
