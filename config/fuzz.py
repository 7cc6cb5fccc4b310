"""Fuzzing: requests made from the schema, sent as each role, their answers held against it.

Works on a scratch tenant in a transaction that is rolled back: each request finds the same rows,
and none is left behind. Needs schemathesis and hypothesis, which only developers have.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from django.conf import settings as django_settings
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, transaction
from django.test import override_settings
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.core.parameters import ParameterLocation
from schemathesis.core.result import Err
from schemathesis.generation import GenerationMode

from accounts.problems import MEDIA_TYPE
from accounts.roles import Role
from accounts.roles import roles as allowed
from accounts.routes import names
from config.scratch import Scratch, prepare

CONFIG = {
    # What no schema can say, such as that a period ends after it begins, is a 400 as well.
    "checks": {
        "positive_data_acceptance": {
            "expected-statuses": [
                "2xx", "3xx", "400", "401", "403", "404", "405", "409", "412", "422", "429",
            ]
        },
        # A version that moved is told before the values are looked at.
        "negative_data_rejection": {
            "expected-statuses": [
                "400", "401", "403", "404", "405", "409", "412", "413", "415", "422", "429",
            ]
        },
    }
}  # fmt: skip
Place = tuple[ParameterLocation, dict[str, Any], str, list[str]]
# Each role would use its share up within the first operations.
UNLIMITED = {"RATE_LIMITS": dict.fromkeys(django_settings.RATE_LIMITS, "1000000/minute")}


@dataclass(frozen=True, slots=True)
class Finding:
    """An answer that was not as it should be."""

    role: str
    operation: str
    check: str
    message: str


@dataclass(slots=True)
class Report:
    """What was sent, and what came of it: statuses by how often."""

    requests: int = 0
    statuses: dict[int, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def run(
    *, examples: int, roles: Sequence[str], start: int, only: str = ""
) -> Iterator[tuple[str, Report]]:
    """Fuzz each operation whose path has `only` in it; yield its name and its report.

    `examples` are the requests with good and as many with bad values, each sent as each role;
    `start` is the seed.
    """
    app = get_wsgi_application()
    config = SchemathesisConfig.from_dict(CONFIG)
    with one_connection(), override_settings(**UNLIMITED), transaction.atomic():
        schema = schemathesis.openapi.from_wsgi("/api/v1/schema/?format=json", app, config=config)
        scratch = prepare()
        for found in schema.get_all_operations():
            if isinstance(found, Err):
                raise found.err()
            operation = found.ok()
            if only in operation.path:
                name = f"{operation.method.upper()} {operation.path}"
                yield name, _fuzz(operation, name, scratch, examples, roles, start)
        transaction.set_rollback(True)


@contextmanager
def one_connection() -> Iterator[None]:
    """Keep requests from closing the connection, whose transaction outlasts them."""
    signals = (request_started, request_finished)
    for signal in signals:
        signal.disconnect(close_old_connections)
    try:
        yield
    finally:
        for signal in signals:
            signal.connect(close_old_connections)


def _fuzz(
    operation: Any, name: str, scratch: Scratch, examples: int, roles: Sequence[str], start: int
) -> Report:
    report = Report()
    luck = random.Random(f"{start}{name}")
    route = names()[operation.path]
    welcome = allowed(route=route, method=operation.method.upper())
    callers = [one for one in roles if one in welcome]
    for case in _shown(operation, scratch, start):
        for role in callers:
            _send(case=case, role=role, name=name, scratch=scratch, report=report)
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
        drawn = draw(
            strategy=operation.as_strategy(generation_mode=mode), most=examples, start=start
        )
        for n, case in enumerate(drawn):
            _use_known_ids(case=case, scratch=scratch, luck=luck)
            # Who may not call gets one answer, whatever they send.
            all_of_them = n == 0 and mode == GenerationMode.POSITIVE
            for role in roles if all_of_them else callers:
                _send(case=case, role=role, name=name, scratch=scratch, report=report)
    return report


def _shown(operation: Any, scratch: Scratch, start: int) -> Iterator[Any]:
    """Give the example of the schema, with each of the ids that are there in turn.

    What it needs is filled in, so that somewhere it can be done.
    """
    for strategy in operation.get_strategies_from_examples():
        for case in draw(strategy=strategy, most=1, start=start):
            case.headers.pop("If-Match", None)
            places = _places(case=case, scratch=scratch)
            for n in range(max((len(ids) for *_, ids in places), default=1)):
                for _, part, member, ids in places:
                    part[member] = _like(part[member], ids[n % len(ids)])
                yield case


def draw(*, strategy: Any, most: int, start: int) -> list[Any]:
    """Draw requests; none where no request can be bad."""
    drawn: list[Any] = []

    @seed(start)
    @settings(
        max_examples=most,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def draw(case: Any) -> None:
        drawn.append(case)

    try:
        draw()
    except Exception as error:
        if type(error).__name__ not in {"Unsatisfiable", "SkipTest", "Skipped"}:
            raise
    return drawn


def _send(*, case: Any, role: str, name: str, scratch: Scratch, report: Report) -> None:
    """Send a request as a role, check the answer, and undo what it did."""
    headers = {"Authorization": f"Bearer {scratch.tokens[role]}"} if role != Role.NONE else {}
    if not _is_good(case, ParameterLocation.HEADER):
        headers = {}  # what it says of who asks is bad, too, and stays so
    with transaction.atomic():
        try:
            response = case.call(headers=headers)
            report.requests += 1
            status = response.status_code
            report.statuses[status] = report.statuses.get(status, 0) + 1
            case.validate_response(
                response, headers=headers or None, transport_kwargs={"headers": headers}
            )
            if MEDIA_TYPE in response.headers.get("content-type", [""])[0]:
                code, known = response.json()["code"], _codes(case=case, status=status)
                if code not in known:
                    text = f"{status} {code} is not one of {sorted(known)}."
                    report.findings.append(Finding(role, name, "UndocumentedCode", text))
        except FailureGroup as group:
            for failure in group.exceptions:
                report.findings.append(_finding(failure, role, name, case))
        finally:
            transaction.set_rollback(True)


def _codes(*, case: Any, status: int) -> set[str]:
    """Return the codes of problems that the schema shows for a status of the operation."""
    answer = case.operation.definition.raw["responses"].get(str(status), {})
    return set(answer.get("content", {}).get(MEDIA_TYPE, {}).get("examples", ()))


def _finding(failure: Any, role: str, name: str, case: Any) -> Finding:
    message = failure.message if isinstance(failure, Failure) else str(failure)
    text = f"{message} {case.as_curl_command()}"
    return Finding(role, name, type(failure).__name__, text[:1500])


def _use_known_ids(*, case: Any, scratch: Scratch, luck: random.Random) -> None:
    """Put ids of rows that are there in place of made up ones, mostly: they would all be 404."""
    known = {one: luck.random() < 0.9 for one in (ParameterLocation.PATH, ParameterLocation.BODY)}
    for location, part, member, ids in _places(case=case, scratch=scratch):
        if known[location] and _is_good(case, location):
            part[member] = _like(part[member], luck.choice(ids))


def _places(*, case: Any, scratch: Scratch) -> list[Place]:
    """Return where a request names rows: in its path or its body, by which member, and what is
    known to be there.
    """
    nouns = [part for part in case.operation.path.split("/") if part and part[0] != "{"]
    own = f"own {nouns[3]}" if nouns[2] == "organizations" else nouns[2]
    rows = {"id": own, "token": own, "tenant": "tenants", "organization": "organizations"}
    path = case.path_parameters or {}
    found: list[Place] = [
        (ParameterLocation.PATH, path, member, scratch.ids[rows.get(member, member)])
        for member in path
    ]
    body = case.body if isinstance(case.body, dict) else {}
    return found + [
        (ParameterLocation.BODY, body, member, scratch.ids[member])
        for member, value in body.items()
        if member in scratch.ids and isinstance(value, str | list)
    ]


def _like(given: Any, id: str) -> Any:
    """Return an id as what is in its place: alone, or in a list."""
    return [id] if isinstance(given, list) else id


def _is_good(case: Any, location: ParameterLocation) -> bool:
    info = case.meta.components.get(location) if case.meta else None
    return info is None or info.mode == GenerationMode.POSITIVE


def totals(*, reports: Mapping[str, Report]) -> Report:
    """Add reports up."""
    total = Report()
    for report in reports.values():
        total.requests += report.requests
        total.findings += report.findings
        for status, n in report.statuses.items():
            total.statuses[status] = total.statuses.get(status, 0) + n
    return total
