"""Every field of GraphQL × every role: what may be asked for is answered, and nothing else is.

The fields come from the schema, so one that nobody decided about fails here.
"""

from typing import Any
from uuid import uuid4

import pytest
from graphql import get_named_type, is_object_type

from accounts import roles
from accounts.models import Tenant
from accounts.roles import FIELDS, Role
from audit.models import Event
from tests.api import Api, log_in
from tests.factories import TenantFactory
from tests.graphql import all_of, arguments, ask, types

pytestmark = pytest.mark.django_db


@pytest.fixture
def apis() -> dict[Role, Api]:
    operator = TenantFactory.create(kind=Tenant.Kind.VENUE_OPERATOR)
    organizer = TenantFactory.create(kind=Tenant.Kind.ORGANIZER)
    return {
        role: log_in(tenant=organizer if role.startswith("organizer") else operator, role=role)
        for role in Role
    }


@pytest.fixture(autouse=True)
def no_limits(settings: Any) -> None:  # the fixture, which is undone after the test
    settings.RATE_LIMITS = dict.fromkeys(settings.RATE_LIMITS, "100000/minute")


def ways() -> dict[tuple[str, str], list[tuple[str, str]]]:
    """Return for each field those by which it is reached from Query or Mutation, itself last."""
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    todo: list[tuple[str, list[tuple[str, str]]]] = [("Query", []), ("Mutation", [])]
    while todo:
        kind, before = todo.pop(0)
        for name, field in types()[kind].fields.items():
            if (kind, name) not in found:
                found[kind, name] = [*before, (kind, name)]
                below = get_named_type(field.type)
                if is_object_type(below):
                    todo.append((below.name, found[kind, name]))
    return found


def operation(way: list[tuple[str, str]]) -> str:
    """Write an operation that asks for the last field of a way."""
    text = ""
    for kind, name in reversed(way):
        field = types()[kind].fields[name]
        below = get_named_type(field.type)
        if not text and is_object_type(below):
            text = "{ __typename }"
        text = f"{{ {name}{arguments(field, {})} {text} }}"
    return ("mutation " if way[0][0] == "Mutation" else "query ") + text


def test_every_field_was_decided_about() -> None:
    known = {name: set(kind.fields) for name, kind in types().items()}
    assert {name: set(fields) for name, fields in FIELDS.items()} == known
    assert set(ways()) == {(kind, name) for kind, fields in known.items() for name in fields}


def test_each_role_may_ask_for_what_it_may_and_nothing_else(apis: dict[Role, Api]) -> None:
    wrong = []
    for way in ways().values():
        for role, api in apis.items():
            answer = ask(api, operation(way))
            refused = {"not_authenticated", "permission_denied"} & set(answer.codes)
            if all(role in FIELDS[kind][name] for kind, name in way):
                right = not refused and "internal" not in answer.codes
            else:
                expected = "not_authenticated" if role == Role.NONE else "permission_denied"
                right = set(answer.codes) == {expected} and answer.data is None
            if not right:
                wrong.append((way[-1], str(role), answer))
    assert not wrong


def test_a_field_that_nobody_decided_about_is_for_nobody(
    apis: dict[Role, Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = {
        name: who for name, who in FIELDS["AvailabilityBadge"].items() if name != "badgeColor"
    }
    monkeypatch.setitem(roles.FIELDS, "AvailabilityBadge", fields)
    way = ways()["AvailabilityBadge", "badgeColor"]
    assert {*ask(apis[Role.ADMIN], operation(way)).codes} == {"permission_denied"}


def test_a_fragment_does_not_get_round_it(apis: dict[Role, Api]) -> None:
    text = (
        "query { ...A } fragment A on Query { ...B } fragment B on Query { myWaitlistEntries %s }"
    )
    answer = ask(apis[Role.ADMIN], text % all_of("WaitlistEntryListResult"))
    assert set(answer.codes) == {"permission_denied"}
    assert answer.data is None


def test_nothing_of_an_operation_is_done_if_a_part_is_refused(apis: dict[Role, Api]) -> None:
    text = """mutation { a: setVenueAvailability(venueId: "%s", status: SEASONAL) { version }
        b: joinVenueWaitlist(sourceRfpVenueId: "%s") { id } }"""
    answer = ask(apis[Role.ADMIN], text % (uuid4(), uuid4()))
    assert answer.codes == ["permission_denied"]
    assert answer.data is None


def test_who_is_refused_is_noted(apis: dict[Role, Api]) -> None:
    ask(apis[Role.NONE], "{ venues { __typename } }")
    assert not Event.objects.filter(kind="access.denied").exists()
    ask(apis[Role.PROVIDER], operation(ways()["VenueAvailabilityType", "version"]))
    noted = Event.objects.get(kind="access.denied")
    assert noted.data == {"reason": "role", "route": "graphql", "method": "post"}


def test_who_is_removed_is_out_at_once(apis: dict[Role, Api]) -> None:
    api = apis[Role.STAFF]
    assert api.user is not None
    api.user.memberships.all().delete()
    response = api.post("/graphql/", {"query": "{ venues { __typename } }"}, format="json")
    assert (response.status_code, response.json()["code"]) == (401, "not_authenticated")
