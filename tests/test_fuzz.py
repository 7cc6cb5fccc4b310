"""The whole API against its schema, as each role; `manage.py fuzz_api` is the long run."""

import json
import logging
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command

from accounts.roles import Role
from audit.errors import Refused
from availability import statuses
from config import fuzz, fuzz_graphql
from config.api import schema
from waitlist import breakers

SEED = 20_260_302
# What no request gets done that is made from the schema alone, and why.
NEVER_DONE: dict[str, str] = {
    "POST /api/v1/inbound/mail-status": "the mail provider signs it",
    "POST /api/v1/inbound/sms": "Twilio signs it",
    "POST /api/v1/inbound/sms-status": "Twilio signs it",
    "GET /api/v1/inbound/whatsapp": "Meta knows the secret",
    "POST /api/v1/inbound/whatsapp": "Meta signs it",
}


@pytest.mark.django_db
@pytest.mark.filterwarnings("ignore")  # of the libraries that make the requests
def test_answers_are_those_of_the_schema() -> None:
    reports = dict(fuzz.run(examples=1, roles=[*Role], start=SEED))
    total = fuzz.totals(reports=reports)
    assert not total.findings, "\n\n".join(map(str, total.findings))
    assert max(total.statuses) < 500
    known = {
        f"{method.upper()} {path}" for path, item in schema()["paths"].items() for method in item
    }
    assert set(reports) == known
    done = {name for name, one in reports.items() if min(one.statuses) < 300}
    assert known - done == set(NEVER_DONE)


@pytest.mark.django_db
@pytest.mark.filterwarnings("ignore")
def test_every_error_of_graphql_has_a_code_of_ours() -> None:
    reports = dict(fuzz_graphql.run(examples=4, roles=[*Role], start=SEED))
    total = fuzz.totals(reports=reports)
    assert not total.findings, "\n\n".join(map(str, total.findings))
    assert len(reports) == 13
    assert total.requests > 500
    assert {200, 400, 401, 403, 404} <= set(total.statuses)
    assert total.statuses[200] > 30


@pytest.mark.django_db
@pytest.mark.filterwarnings("ignore")
def test_an_error_without_a_code_of_ours_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: Any) -> None:
        raise ValueError

    def refuse(**_: Any) -> None:
        raise Refused("No class of its own says what this is.")

    monkeypatch.setattr(statuses, "clear_override", fail)
    monkeypatch.setattr(breakers, "resolve", refuse)
    reports = dict(fuzz_graphql.run(examples=4, roles=["admin", "organizer"], start=SEED))
    found = {finding.operation for finding in fuzz.totals(reports=reports).findings}
    assert found == {
        "Mutation.clearVenueAvailabilityOverride", "Mutation.resolveWaitlistCircuitBreaker"
    }  # fmt: skip


@pytest.mark.django_db
@pytest.mark.filterwarnings("ignore")
def test_the_command_tells_what_it_sent() -> None:
    out = StringIO()
    given: dict[str, Any] = {"examples": 1, "path": "/services/", "role": ["staff", "none"]}
    call_command("fuzz_api", **given, json=True, stdout=out)
    told = json.loads(out.getvalue())
    assert (told["operations"], told["seed"], told["findings"]) == (5, 1, [])
    assert told["requests"] > 10
    assert logging.root.manager.disable == logging.NOTSET
