"""Every id that a body or a filter of the API can name, given one of somebody else's.

The fields and parameters come from the schema, so one that nobody thought of fails here. Each is
sent with an own id first, which is taken; then with one of another tenant, by every role that may
call; by a provider with one of another facility of the same tenant, and by a patient with one of
another patient. None of these is there, and nothing of theirs is answered or changed.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from accounts import routes
from accounts.roles import Role, roles
from accounts.routes import Route
from audit.models import Event
from config.api import schema
from tests.places import Place, call, fill, kind_of, make_place, send, undone

pytestmark = pytest.mark.django_db

# The kind of row that a field is of, where it is not called after it; `venues` are anybody's, but
# all of them venues.
KINDS: Mapping[str, str] = {
    "entry": "waitlist", "facilities": "facility", "source_rfp_venue_id": "source",
    "venues": "venue",
}  # fmt: skip
STRANGE: Mapping[str, str] = {**KINDS, "venues": "facility"}

# What a provider sees of their own facilities alone.
OF_A_FACILITY = {
    "facility", "provider", "slot", "appointment", "waitlist", "hold", "availability-rule",
    "availability-exception", "time-block", "venue",
}  # fmt: skip
# What a patient sees of themselves alone.
OF_A_PATIENT = {"patient", "appointment", "waitlist", "hold", "inbox", "delivery", "message"}

# What has to be in a body besides, by route or by route and field, where the example of the schema
# does not do.
BESIDES: Mapping[str, dict[str, Any]] = {
    "availability-rule-list": {"weekday": 2},
    "rfp-list": {"dates_flexible": True},
    "template-list": {"channel": "sms", "language": "fr", "body": "Bonjour"},
    "waitlist-detail slot": {"status": "converted"},
}  # fmt: skip
# Who may send a body, but not this field of it or nothing new, whatever is in it.
NOT_THEIRS: set[tuple[str, str, str]] = {
    ("waitlist-detail", "slot", Role.PATIENT),  # staff and providers book
    ("template-detail", "facility", Role.ADMIN),  # a text keeps it
}


@dataclass(frozen=True, slots=True)
class Field:
    """A member of a body that is an id, or a list of ids."""

    route: Route
    method: str
    name: str
    is_list: bool

    def value(self, *, place: Place, kinds: Mapping[str, str]) -> Any:
        """Return an id of a place's row."""
        id = str(place.rows[kinds.get(self.name, self.name)].pk)
        return [id] if self.is_list else id

    def body(self, *, place: Place) -> dict[str, Any]:
        """Return what goes with the field: what is required, and a new row's other ids."""
        operation = schema()["paths"][self.route.path][self.method.lower()]
        content = operation["requestBody"]["content"]["application/json"]
        required = whole(content["schema"]).get("required", ())
        body = {name: content["example"][name] for name in required}
        for other in fields():
            same = (other.route, other.method) == (self.route, self.method)
            if same and (self.method == "POST" or other.name in required):
                body[other.name] = other.value(place=place, kinds=KINDS)
        for key in (self.route.name, f"{self.route.name} {self.name}"):
            body |= BESIDES.get(key, {})
        return body


def whole(part: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow a reference of the schema."""
    while "$ref" in part:
        part = schema()["components"]["schemas"][part["$ref"].rpartition("/")[2]]
    return part


def is_id(part: Mapping[str, Any]) -> bool:
    """Say whether a value is an id, maybe null."""
    choices = [*part.get("oneOf", ()), *part.get("anyOf", ())]
    return whole(part).get("format") == "uuid" or any(is_id(one) for one in choices)


def fields() -> Iterator[Field]:
    """Give all ids of bodies."""
    for route in routes.walk():
        for method, operation in schema()["paths"].get(route.path, {}).items():
            content = operation.get("requestBody", {}).get("content", {})
            known = whole(content.get("application/json", {}).get("schema", {}))
            for name, part in known.get("properties", {}).items():
                is_list = "items" in part
                below = whole(part).get("properties", {})
                assert not any(map(is_id, below.values())), f"Look for ids in {name}, too."
                if is_id(part["items"] if is_list else part):
                    yield Field(route, method.upper(), name, is_list)


def parameters(*, wanted: Callable[[Mapping[str, Any]], bool]) -> Iterator[tuple[Route, str]]:
    """Give the parameters of queries whose schema is wanted, but for what anybody may ask."""
    for route in routes.walk():
        if Role.NONE in roles(route=route.name, method="GET"):
            continue
        operation = schema()["paths"].get(route.path, {}).get("get", {})
        for one in operation.get("parameters", ()):
            if one["in"] == "query" and wanted(one["schema"]):
                yield route, one["name"]


def is_text(part: Mapping[str, Any]) -> bool:
    """Say whether a parameter is any text."""
    return part.get("type") == "string" and not {"format", "enum"} & set(part)


def hidden(role: Role, place: Place, stranger: Place) -> set[str]:
    """Return the kinds of a stranger's rows that a role of this place must not see."""
    if stranger.tenant != place.tenant:
        return set(stranger.rows)
    return {Role.PROVIDER: OF_A_FACILITY, Role.PATIENT: OF_A_PATIENT}.get(role, set())


def state(place: Place) -> list[Any]:
    """Return what is known of a place, to see whether it changed."""
    rows = [type(row)._default_manager.filter(pk=row.pk).values() for row in place.rows.values()]
    at = place.rows["facility"].pk
    return [*map(list, rows), Event.objects.filter(facility_id=at).count()]


@pytest.fixture
def own() -> Place:
    return make_place()


@pytest.fixture
def strangers(own: Place) -> tuple[Place, Place]:
    """Another tenant, and another facility of the same."""
    return make_place(), make_place(tenant=own.tenant)


@pytest.fixture(autouse=True)
def no_limits(settings: Any) -> None:  # the fixture, which is undone after the test
    settings.RATE_LIMITS = dict.fromkeys(settings.RATE_LIMITS, "100000/minute")


def test_an_id_of_others_in_a_body_is_not_there_and_named(
    own: Place, strangers: tuple[Place, Place]
) -> None:
    wrong = []
    for field in fields():
        for role in roles(route=field.route.name, method=field.method):
            case = (field.route.name, field.name, str(role))
            if case in NOT_THEIRS:
                continue
            asked: dict[str, Any] = {
                "api": own.apis[role], "method": field.method,
                "path": fill(route=field.route, place=own),
            }  # fmt: skip
            body = field.body(place=own)
            mine = body | {field.name: field.value(place=own, kinds=KINDS)}
            taken = call(**asked, body=mine)
            if taken.status_code >= 300 and taken.status_code != 409:  # which comes after the ids
                wrong.append((*case, "own", taken.status_code, taken.content))
            for stranger in strangers:
                if STRANGE.get(field.name, field.name) not in hidden(role, own, stranger):
                    continue
                before = state(stranger)
                with undone():
                    theirs = field.value(place=stranger, kinds=STRANGE)
                    answer = send(**asked, body=body | {field.name: theirs})
                    changed = state(stranger) != before
                named = [error["field"] for error in answer.json().get("errors", ())]
                if (answer.status_code, named, changed) != (404, [field.name], False):
                    wrong.append((*case, "theirs", answer.status_code, answer.content))
    assert not wrong, "\n".join(map(str, wrong))
    assert {"slot", "patient", "entry", "facilities"} <= {field.name for field in fields()}


def test_a_filter_by_an_id_of_others_finds_nothing(
    own: Place, strangers: tuple[Place, Place]
) -> None:
    wrong: list[tuple[Any, ...]] = []
    for route, name in parameters(wanted=is_id):
        path, most = fill(route=route, place=own), 0
        for role in roles(route=route.name, method="GET"):
            api, case = own.apis[role], (route.name, name, str(role))
            most = max(
                most, api.get(path, {name: str(own.rows[KINDS.get(name, name)].pk)}).data["total"]
            )
            for stranger in strangers:
                kinds = hidden(role, own, stranger)
                theirs = str(stranger.rows[KINDS.get(name, name)].pk)
                answer = api.get(path, {name: theirs})
                found = KINDS.get(name, name) in kinds and answer.json()["total"]
                if answer.status_code != 200 or found or shown(answer, stranger, kinds):
                    wrong.append((*case, answer.content))
        if not most:
            wrong.append((route.name, name, "finds nothing of one's own"))
    assert not wrong, "\n".join(map(str, wrong))


def test_a_search_finds_nothing_of_others(own: Place, strangers: tuple[Place, Place]) -> None:
    wrong: list[tuple[Any, ...]] = []
    for route, name in parameters(wanted=is_text):
        path, kind, most = fill(route=route, place=own), kind_of(route=route, place=own), 0
        for role in roles(route=route.name, method="GET"):
            api = own.apis[role]
            most = max(most, api.get(path, {name: text(own.rows[kind], name)}).data["total"])
            for stranger in strangers:
                answer = api.get(path, {name: text(stranger.rows[kind], name)})
                found = shown(answer, stranger, hidden(role, own, stranger))
                if answer.status_code != 200 or found:
                    wrong.append((route.name, name, str(role), found))
        if not most:
            wrong.append((route.name, name, "finds nothing of one's own"))
    assert not wrong, "\n".join(map(str, wrong))


def text(row: Any, name: str) -> str:
    """Return what a row is found by."""
    found: str = getattr(row, "name" if name == "search" else name, "") or row.user.name
    return found


def shown(answer: Any, stranger: Place, kinds: set[str]) -> list[str]:
    """Return the kinds of a stranger's rows whose ids an answer tells."""
    return [kind for kind in kinds if str(stranger.rows[kind].pk) in answer.content.decode()]
