"""The schema: complete, valid, and shown from local files."""

from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
from django.core.management import call_command
from django.test import Client

from accounts import routes
from audit.errors import Refused
from config import api

METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return api.schema()


def operations(schema: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in schema["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def test_it_is_valid_and_made_without_a_warning(tmp_path: Any) -> None:
    file = tmp_path / "schema.yaml"
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(file))
    assert file.read_text().startswith("openapi: 3.1")


def test_it_has_every_route_and_method(schema: dict[str, Any]) -> None:
    known = {(path, method.upper()) for path, method, _ in operations(schema)}
    for route in routes.walk():
        if route.name not in {"schema", "docs", "graphql"}:  # which describe themselves
            assert {(route.path, method) for method in route.methods} <= known
    names = [operation["operationId"] for _, _, operation in operations(schema)]
    assert len(names) == len(set(names))


def test_every_body_answer_and_parameter_has_an_example(schema: dict[str, Any]) -> None:
    for path, method, operation in operations(schema):
        for body in (operation.get("requestBody", {}), *operation["responses"].values()):
            for content in body.get("content", {}).values():
                assert "example" in content or "examples" in content, (path, method)
        for parameter in operation.get("parameters", ()):
            assert "example" in parameter or "examples" in parameter, (path, parameter["name"])


def test_every_example_is_what_its_schema_allows(schema: dict[str, Any]) -> None:
    """A program may send an example of a parameter as it is, and get one of an answer."""
    components = {"components": schema["components"]}
    for path, method, operation in operations(schema):
        bodies = (operation.get("requestBody", {}), *operation["responses"].values())
        contents = [one for body in bodies for one in body.get("content", {}).values()]
        for given in (*contents, *operation.get("parameters", ())):
            examples = [one["value"] for one in given.get("examples", {}).values()]
            for example in examples or [given["example"]]:
                check = jsonschema_rs.Draft202012Validator({**components, **given["schema"]})
                wrong = [error.message for error in check.iter_errors(example)]
                assert not wrong, (path, method, given.get("name"), example, wrong)


def test_every_operation_says_what_it_does_and_refuses(schema: dict[str, Any]) -> None:
    for path, method, operation in operations(schema):
        assert operation.get("description"), (path, method)
        answers = operation["responses"]
        problems = {status for status in answers if status >= "400"}
        if operation.get("security"):
            assert {"401", "403"} <= problems, (path, method)
        if "{" in path:
            assert "404" in problems, (path, method)
        if method in {"put", "patch", "delete"}:
            assert "412" in problems, (path, method)
        # Behind a link there is a page, where a problem is shown, too.
        kinds = {"application/problem+json"} | ({"text/html"} & kinds_of(operation, "2", "3"))
        for status in problems:
            assert {*answers[status]["content"]} == kinds, (path, method, status)


def kinds_of(operation: dict[str, Any], *statuses: str) -> set[str]:
    """Return the media types of an operation's answers; one that leads on leads to a page."""
    return {
        kind
        for status, answer in operation["responses"].items()
        if status.startswith(statuses)
        for kind in answer.get("content", {"text/html": {}} if status == "303" else {})
    }


def test_every_write_says_that_rows_may_change_meanwhile(schema: dict[str, Any]) -> None:
    for path, method, operation in operations(schema):
        if method != "get":
            problems = operation["responses"]["409"]["content"]["application/problem+json"]
            assert "conflict" in problems["examples"], (path, method)


@pytest.mark.parametrize("verb", ["accept", "decline"])
def test_a_form_of_an_offer_is_led_on(schema: dict[str, Any], verb: str) -> None:
    answers = schema["paths"][f"/api/v1/offers/{{token}}/{verb}"]["post"]["responses"]
    assert {*answers["200"]["content"]} == {"application/json"}
    assert answers["303"]["headers"]["Location"]["description"]


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["offers", "nudges", "unsubscribe", "auth/invitations"])
def test_a_problem_behind_a_link_is_a_page_as_the_schema_says(
    client: Client, schema: dict[str, Any], name: str
) -> None:
    answer = client.get(f"/api/v1/{name}/x", headers={"accept": "text/html"})
    known = schema["paths"][f"/api/v1/{name}/{{token}}"]["get"]["responses"]
    kind = answer["Content-Type"].split(";")[0]
    assert (answer.status_code, kind) == (404, "text/html")
    assert known["404"]["content"][kind]["example"] == "<!doctype html>…"
    assert known["200"]["content"][kind]["example"] == "<!doctype html>…"


def test_every_refusal_is_in_the_answers_of_an_operation(schema: dict[str, Any]) -> None:
    """By its code, with an example; those that only commands and the admin meet are named here."""
    shown = {
        code
        for _, _, operation in operations(schema)
        for status, answer in operation["responses"].items()
        if status >= "400"
        for code in answer["content"]["application/problem+json"]["examples"]
    }
    elsewhere = {"refused", "bad_file", "job_not_failed", "broker_away"}
    assert {one.code for one in refusals(Refused)} - elsewhere <= shown
    assert {"throttled", "csrf_failed", "malformed", "invalid", "not_authenticated"} <= shown


def refusals(kind: type[Refused]) -> Iterator[type[Refused]]:
    """Give a class of refusals and all below it."""
    yield kind
    for one in kind.__subclasses__():
        if not one.__module__.startswith("tests"):
            yield from refusals(one)


def test_an_answer_has_all_its_members(schema: dict[str, Any]) -> None:
    """So that a client that is made from the schema need not ask whether they are there."""
    for name, one in schema["components"]["schemas"].items():
        if not name.endswith("Request") and name != "Problem":
            assert set(one.get("required", ())) == set(one.get("properties", ())), name


def test_what_is_limited_says_so(schema: dict[str, Any]) -> None:
    limited = {
        operation["operationId"]
        for _, _, operation in operations(schema)
        if "throttled" in operation["responses"].get("429", {}).get("content", {}).get(
            "application/problem+json", {"examples": {}}
        )["examples"]
    }  # fmt: skip
    assert limited == {
        "token", "token_refresh", "register", "register_confirm", "get_invitation_accept",
        "invitation_accept", "get_offer", "offer_accept", "offer_decline", "create_waitlist",
        "get_slot_explain", "get_waitlist_explain", "get_unsubscribe",
        "unsubscribe", "get_nudge", "nudge", "get_calendar", "webhook_test", "inbound_sms",
        "inbound_sms_status", "inbound_mail_status", "inbound_whatsapp", "get_inbound_whatsapp",
        "get_venue_badge", "create_invitation", "patient_invite",
    }  # fmt: skip


def test_every_parameter_is_described(schema: dict[str, Any]) -> None:
    for path, _, operation in operations(schema):
        for parameter in operation.get("parameters", ()):
            assert parameter["description"], (path, parameter["name"])


def test_it_is_served_as_yaml_and_json(client: Client) -> None:
    assert client.get("/api/v1/schema/").content.startswith(b"openapi: 3.1")
    response = client.get("/api/v1/schema/", headers={"accept": "application/json"})
    assert response.json()["openapi"] == "3.1.0"


def test_the_docs_are_shown_from_local_files(client: Client) -> None:
    response = client.get("/api/v1/docs/")
    assert response.status_code == 200
    page = response.content.decode()
    assert "swagger-ui-bundle.js" in page
    assert "https://" not in page
    assert "http://" not in page.replace("http://testserver", "")
