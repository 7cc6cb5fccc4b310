"""The GraphQL endpoint: how operations come in, what they may cost, and what is said of errors."""

import json
import logging
import time
from collections.abc import Iterator
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command
from graphql import build_schema, get_introspection_query

from accounts import costs
from accounts.roles import Role
from availability import statuses
from config import docs
from config.graphql import schema
from scheduling.models import Facility
from tests.api import Api, log_in
from tests.graphql import ADDRESS, all_of, ask, types
from tests.venues import open_venue
from tests.waitlist import asking

pytestmark = pytest.mark.django_db

SECRET = "Key (email)=(jane@example.org) already exists"
VENUES = "{ venues { venues { id } } }"
SET = 'mutation {{ setVenueAvailability(venueId: "{}", status: SEASONAL) {{ version }} }}'
SHEET = "query Sheet($id: UUID!) { venueAvailability(venueId: $id) { version } }"


@pytest.fixture
def place() -> Facility:
    return open_venue()


@pytest.fixture
def owner(place: Facility) -> Api:
    return log_in(tenant=place.tenant, role=Role.ADMIN)


@pytest.fixture
def organizer() -> Api:
    return log_in(tenant=asking.organizer(), role=Role.ORGANIZER)


def send(api: Api, body: Any, **headers: str) -> tuple[int, str | None]:
    """Send a body as it is; return the status and, of a problem, the code."""
    response = api.post(ADDRESS, body, format="json", headers=headers)
    return response.status_code, response.json().get("code")


def badges(number: int, of: str = "") -> str:
    return "{" + " ".join(
        f'b{n}: venueAvailabilityBadge(venueId: "{of or uuid4()}") {{ badgeColor }}'
        for n in range(number)
    ) + "}"  # fmt: skip


# How operations come in


@pytest.mark.parametrize("method", ["get", "head", "put", "patch", "delete", "options"])
def test_only_post_is_taken(owner: Api, place: Facility, method: str) -> None:
    """So neither is a mutation by GET, nor is there a page to try things out."""
    text = SET.format(place.pk)
    response = getattr(owner, method)(
        ADDRESS, {"query": text}, headers={"Accept": "text/html"},
        **({} if method == "get" else {"format": "json"}),
    )  # fmt: skip
    assert response.status_code == 405
    assert response.headers["Content-Type"] == "application/problem+json"
    assert statuses.get(facility_id=place.pk).status == "not_set"


def test_one_operation_comes_as_json(owner: Api) -> None:
    assert send(owner, {"query": VENUES}) == (200, None)
    whole = {"query": VENUES, "variables": None, "operationName": None, "extensions": {"a": 1}}
    assert send(owner, whole) == (200, None)
    assert send(owner, [{"query": VENUES}]) == (400, "invalid")  # no batches
    bad: list[Any] = [
        {}, {"query": ""}, {"query": None}, {"query": 1}, {"query": VENUES, "variables": []},
        {"query": VENUES, "id": "1"}, {"query": "{" + " " * 10_000 + "}"}, "text", None,
        {"query": VENUES, "operationName": "Other"},
    ]  # fmt: skip
    for body in bad:
        assert send(owner, body) == (400, "invalid"), body
    assert owner.post(ADDRESS, "{", content_type="application/json").json()["code"] == "malformed"


def test_uploads_and_forms_are_not_taken(owner: Api) -> None:
    operations = {"operations": json.dumps({"query": VENUES}), "map": "{}"}
    for form in ("multipart", None):
        assert owner.post(ADDRESS, operations, format=form).status_code == 415
    for kind in ("application/x-www-form-urlencoded", "text/plain", "application/graphql"):
        assert owner.post(ADDRESS, VENUES, content_type=kind).status_code == 415


def test_one_of_several_operations_is_chosen_by_its_name(owner: Api) -> None:
    two = "query A { __typename } query B { t: __typename }"
    for name, data in (("A", {"__typename": "Query"}), ("B", {"t": "Query"})):
        body = {"query": two, "operationName": name}
        assert owner.post(ADDRESS, body, format="json").json() == {"data": data}
    assert ask(owner, two).codes == ["invalid"]


def test_a_session_needs_the_csrf_token_and_a_bearer_does_not(owner: Api, place: Facility) -> None:
    text = SET.format(place.pk)
    page = Api()
    page.handler.enforce_csrf_checks = True
    assert owner.user is not None
    page.force_login(owner.user)
    assert send(page, {"query": text}) == (403, "permission_denied")
    assert statuses.get(facility_id=place.pk).status == "not_set"
    token = "a" * 32
    page.cookies["csrftoken"] = token
    assert send(page, {"query": text}, **{"X-CSRFToken": token}) == (200, None)
    assert statuses.get(facility_id=place.pk).status == "seasonal"
    owner.handler.enforce_csrf_checks = True
    assert send(owner, {"query": text}) == (200, None)


def test_a_bad_token_is_refused_as_elsewhere() -> None:
    api = Api()
    api.credentials(HTTP_AUTHORIZATION="Bearer x")
    assert send(api, {"query": VENUES}) == (401, "not_authenticated")


# What operations may cost


def test_the_longest_list_may_be_read_whole_and_not_twice(organizer: Api) -> None:
    shown = all_of("WaitlistEntryListResult")
    assert not ask(organizer, f"{{ myWaitlistEntries(pageSize: 50) {shown} }}").errors
    twice = f"{{ a: myWaitlistEntries {shown} b: myWaitlistEntries(page: 2) {shown} }}"
    answer = ask(organizer, twice)
    assert answer.codes == ["too_costly"]
    assert answer.data is None


def test_a_field_costs_what_is_below_it_as_often_as_there_are_rows(organizer: Api) -> None:
    """And fragments, however often they are spread."""
    venue = f'venue(id: "{uuid4()}") {{ id }}'
    fragments = "".join(
        f" fragment F{n} on Query {{ ...F{n + 1} a{n}: {venue} ...F{n + 1} }}" for n in range(4)
    )
    answer = ask(organizer, f"{{ ...F0 }} fragment F4 on Query {{ {venue} }} {fragments}")
    assert answer.codes == ["too_costly"]
    cost = 31 * (costs.ROOT + 1)
    assert answer.errors[0]["message"] == f"This costs {cost}, and at most {costs.MOST}."


def test_what_is_counted_for_a_field_costs_as_much_as_what_is_asked_first(
    owner: Api, place: Facility
) -> None:
    def sheet(times: int) -> str:
        counted = " ".join(f"s{n}: signalSummary {{ periodDays }}" for n in range(times))
        return f'{{ venueAvailability(venueId: "{place.pk}") {{ {counted} }} }}'

    assert not ask(owner, sheet(18)).errors
    answer = ask(owner, sheet(19))
    assert answer.codes == ["too_costly"]
    cost = 20 * costs.ROOT + 19
    assert answer.errors[0]["message"] == f"This costs {cost}, and at most {costs.MOST}."


def test_few_ids_can_be_tried_at_once() -> None:
    answer = ask(Api(), badges(costs.MOST // costs.ROOT))
    assert answer.codes == ["too_costly"]
    assert set(ask(Api(), badges(10)).codes) == {"not_found"}


def test_depth_is_limited(organizer: Api) -> None:
    deepest = "{ venues { venues { id { id { id { id } } } } } }"
    answer = ask(organizer, deepest)
    assert "too_deep" not in answer.codes
    assert "too_deep" in ask(organizer, deepest.replace("{ id }", "{ id { id } }", 1)).codes
    hidden = "{ venues { ...A } } fragment A on VenueListResult { venues { ...B } } fragment B on"
    hidden += " VenueType { id { ... on VenueType { id { id { id { id } } } } } }"
    assert "too_deep" in ask(organizer, hidden).codes


def test_text_that_would_keep_the_limiters_busy_is_refused_at_once(organizer: Api) -> None:
    """The library's take twice as long with each fragment: hours for these."""
    bomb = "{ ...F0 } fragment F50 on Query { venues { __typename } }" + "".join(
        f" fragment F{n} on Query {{ ...F{n + 1} ...F{n + 1} }}" for n in range(50)
    )
    ring = "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }"
    start = time.monotonic()
    assert "too_costly" in ask(organizer, bomb).codes
    assert set(ask(organizer, ring).codes) == {"invalid"}
    assert set(ask(organizer, "{ ...Nowhere }").codes) == {"invalid"}
    assert ask(organizer, "{" + "venues " * 700 + "}").codes == ["malformed"]
    assert ask(organizer, "{" + "venues " * 590 + "}").codes
    assert ask(organizer, "{venues" * 250 + "}" * 250).codes == ["malformed"]
    assert ask(organizer, "{venues(page:" + "[" * 250 + "]" * 250 + ")}").codes == ["malformed"]
    assert time.monotonic() - start < 5


# How often


def test_operations_are_counted_by_what_they_cost(
    organizer: Api, owner: Api, settings: Any
) -> None:
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "graphql": "6/minute"}
    one = "{ venues { pagination { page } } }"  # costs 102: two hundreds
    several = "{ a: venues { pagination { page } } b: venues { pagination { page } } }"  # three
    assert not ask(organizer, several).errors
    assert not ask(organizer, one).errors
    answer = ask(organizer, one)
    assert answer.codes == ["throttled"]
    assert answer.data is None
    assert answer.errors[0]["extensions"]["status"] == 429
    assert answer.errors[0]["extensions"]["retryAfter"] > 0
    assert not ask(owner, one).errors
    for _ in range(3):
        codes = ask(Api(), badges(1)).codes
        assert codes == ["not_found"]
    assert ask(Api(), badges(1)).codes == ["throttled"]


def test_a_mutation_that_comes_too_often_is_not_done(
    owner: Api, place: Facility, settings: Any
) -> None:
    settings.RATE_LIMITS = {
        **settings.RATE_LIMITS, "graphql": "1000/minute", f"graphql:{place.tenant_id}": "1/minute"
    }  # fmt: skip
    text = SET.format(place.pk)
    assert ask(owner, text).codes == ["throttled"]
    assert statuses.get(facility_id=place.pk).status == "not_set"


# What is said of errors


def test_errors_say_what_rest_does(organizer: Api) -> None:
    assert ask(organizer, "{").codes == ["malformed"]
    assert set(ask(organizer, "{ nothing }").codes) == {"invalid"}
    assert ask(organizer, "subscription { venues }").codes
    found = ask(organizer, '{ venue(id: "%s") { id } }' % uuid4())  # noqa: UP031
    [error] = found.errors
    assert (found.data, error["path"]) == ({"venue": None}, ["venue"])
    assert error["extensions"]["code"] == "not_found"
    assert error["extensions"]["status"] == 404
    assert error["extensions"]["errors"][0]["field"] == "venue"
    assert error["message"].startswith("There is no venue")


@pytest.fixture
def log() -> Iterator[StringIO]:
    """What is logged, as production writes it."""
    options = dict(django_settings.LOGGING["formatters"]["lines"])
    handler = logging.StreamHandler(StringIO())
    handler.setFormatter(options.pop("()")(**options))
    logging.root.addHandler(handler)
    yield handler.stream
    logging.root.removeHandler(handler)


def test_an_error_of_ours_tells_nobody_what_it_was(
    owner: Api, place: Facility, monkeypatch: pytest.MonkeyPatch, log: StringIO
) -> None:
    def fail(**_: Any) -> None:
        raise ValueError(SECRET)

    monkeypatch.setattr(statuses, "get", fail)
    owner.raise_request_exception = False
    answer = ask(owner, SHEET, id=str(place.pk))
    assert answer.codes == ["internal"]
    assert SECRET not in str(answer)
    line = log.getvalue()
    failed = json.loads(line)
    assert (failed["event"], failed["operation"]) == ("request_failed", "Sheet")
    assert failed["exception_class"] == "builtins.ValueError"
    assert SECRET not in line


def test_the_log_has_an_operations_name_and_nothing_it_was_asked(
    owner: Api, place: Facility, log: StringIO
) -> None:
    ask(owner, SHEET, id=str(place.pk))
    ask(owner, VENUES)
    assert ask(owner, SHEET, id=SECRET).codes == ["invalid"]
    assert ask(owner, '{ venue(id: "jane@example.org") { id } }').codes == ["invalid"]
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [line.get("operation") for line in lines] == ["Sheet", None, "Sheet", None]
    for asked in (str(place.pk), "venueAvailability", "jane"):
        assert asked not in log.getvalue()


# The schema


def test_the_schema_is_told_unless_that_is_off(organizer: Api, settings: Any) -> None:
    asked = get_introspection_query(descriptions=False)
    assert settings.GRAPHQL_INTROSPECTION
    assert ask(organizer, asked).data["__schema"]["queryType"] == {
        "name": "Query",
        "kind": "OBJECT",
    }
    settings.GRAPHQL_INTROSPECTION = False
    for text in (asked, '{ __type(name: "Query") { name } }', "{ a: __schema { types { name } } }"):
        answer = ask(organizer, text)
        assert set(answer.codes) == {"invalid"}
        assert answer.data is None
    assert ask(organizer, "{ __typename }").data == {"__typename": "Query"}


def test_the_page_of_docs_is_as_made(tmp_path: Any, settings: Any) -> None:
    """And `write_docs --check`, which check_code runs, fails where it is not."""
    page = django_settings.BASE_DIR / "docs/schema.graphql"
    assert page.read_text() == docs.pages()["docs/schema.graphql"], "Run manage.py write_docs."
    assert {*types()} <= {*build_schema(page.read_text()).type_map}
    call_command("write_docs", "--check")
    settings.BASE_DIR = tmp_path
    with pytest.raises(CommandError, match=r"docs/schema\.graphql"):
        call_command("write_docs", "--check")


def test_it_has_what_was_designed() -> None:
    kinds = schema._schema.type_map
    assert {
        "VenueWaitlistEntryType", "WaitlistEntryListResult", "WaitlistConversionResult",
        "VenueAvailabilityType", "AvailabilitySignalSummary", "AvailabilityBadge",
    } <= {*types()}  # fmt: skip
    values = {
        name: {*getattr(kinds[name], "values")}  # noqa: B009
        for name in ("WaitlistStatus", "CancellationReason", "AvailabilityStatus", "SignalType")
    }
    assert values == {
        "WaitlistStatus": {"WAITING", "OFFERED", "CONVERTED", "EXPIRED", "CANCELLED"},
        "CancellationReason": {
            "NO_LONGER_NEEDED", "FOUND_ALTERNATIVE", "DECLINED_OFFER", "OTHER", "NUDGE_DECLINED",
        },
        "AvailabilityStatus": {
            "ACCEPTING_EVENTS", "LIMITED_AVAILABILITY", "FULLY_BOOKED", "SEASONAL", "NOT_SET",
        },
        "SignalType": {
            "CONFIRMED", "TENTATIVE", "UNAVAILABLE", "NO_RESPONSE", "AWARDED",
            "LOST_TO_COMPETITOR", "RFP_CANCELLED", "MANUAL_AVAILABLE", "MANUAL_UNAVAILABLE",
        },
    }  # fmt: skip
