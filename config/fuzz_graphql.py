"""Fuzzing GraphQL: operations made from its schema, good ones and bad, sent as each role.

An answer is never of 500 or more, and every error in it has a code that we gave a name. Works as
`config.fuzz` does, on the same rows, each operation undone.
"""

import random
import re
from collections.abc import Iterator, Sequence
from typing import Any

import schemathesis
from django.core.wsgi import get_wsgi_application
from django.db import transaction
from django.test import override_settings
from schemathesis.core.result import Err
from schemathesis.generation import GenerationMode

from accounts.roles import Role
from audit.errors import Refused
from config import fuzz
from config.fuzz import Finding, Report
from config.scratch import Scratch, prepare

PATH = "/graphql/"
#: What is refused before any function is called.
CODES = frozenset(
    {"malformed", "invalid", "too_costly", "too_deep", "throttled", "not_authenticated",
     "permission_denied"}
)  # fmt: skip
#: An argument that is an id, and the id.
ID = re.compile(r'(\w+): "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"')
#: By argument, the rows that are there.
NOUNS = {
    "id": ("venue", "own waitlists"), "venueId": ("venue",), "waitlistId": ("own waitlists",),
    "sourceRfpVenueId": ("source_rfp_venue_id",),
}  # fmt: skip


def run(
    *, examples: int, roles: Sequence[str], start: int, only: str = ""
) -> Iterator[tuple[str, Report]]:
    """Fuzz each field of Query and Mutation if the path has `only` in it; yield name and report.

    `examples` are the good operations and as many bad ones, each sent as each role; `start` is the
    seed.
    """
    if only not in PATH:
        return
    app = get_wsgi_application()
    with (
        fuzz.one_connection(),
        override_settings(**fuzz.UNLIMITED, GRAPHQL_INTROSPECTION=True),
        transaction.atomic(),
    ):
        schema = schemathesis.graphql.from_wsgi(PATH, app)
        scratch = prepare()
        for found in schema.get_all_operations():
            if isinstance(found, Err):
                raise found.err()
            field = found.ok()
            yield field.label, _fuzz(field, scratch, examples, roles, start)
        transaction.set_rollback(True)


def _fuzz(field: Any, scratch: Scratch, examples: int, roles: Sequence[str], start: int) -> Report:
    report = Report()
    luck = random.Random(f"{start}{field.label}")
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
        strategy = field.as_strategy(generation_mode=mode)
        for case in fuzz.draw(strategy=strategy, most=examples, start=start):
            case.body = _with_known_ids(case.body, scratch=scratch, luck=luck)
            for role in roles:
                _send(case=case, role=role, name=field.label, scratch=scratch, report=report)
    return report


def _with_known_ids(text: str, *, scratch: Scratch, luck: random.Random) -> str:
    """Put ids of rows that are there in place of made up ones, mostly: they would all be 404."""

    def known(found: re.Match[str]) -> str:
        ids = [one for noun in NOUNS.get(found[1], ()) for one in scratch.ids[noun]]
        return f'{found[1]}: "{luck.choice(ids)}"' if ids and luck.random() < 0.9 else found[0]

    return ID.sub(known, text)


def _send(*, case: Any, role: str, name: str, scratch: Scratch, report: Report) -> None:
    """Send an operation as a role, check the answer, and undo what it did."""
    headers = {"Authorization": f"Bearer {scratch.tokens[role]}"} if role != Role.NONE else {}
    with transaction.atomic():
        response = case.call(headers=headers)
        transaction.set_rollback(True)
    report.requests += 1
    answer = response.json()
    refusals = [error.get("extensions", {}) for error in answer.get("errors", ())]
    if response.status_code != 200:  # of the request as a whole
        refusals.append({"status": response.status_code, "code": answer.get("code")})
    for status in {one.get("status", 200) for one in refusals} or {200}:
        report.statuses[status] = report.statuses.get(status, 0) + 1
    for one in refusals:
        status, code = one.get("status", 200), one.get("code")
        if status >= 500 or code not in CODES | _refused():
            text = f"{status} {code} is no code of ours. {case.as_curl_command()}"
            report.findings.append(Finding(role, name, "UnknownCode", text[:1500]))


def _refused(of: type[Refused] = Refused) -> set[str]:
    """Return the codes that the refusals of functions have of their own."""
    below = of.__subclasses__()
    return {one.code for one in below}.union(*map(_refused, below)) - {Refused.code}
