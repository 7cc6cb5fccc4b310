"""Clients of the GraphQL endpoint."""

from typing import Any, NamedTuple

from graphql import GraphQLObjectType, get_named_type, is_object_type

from config.graphql import schema
from tests.api import Api

ADDRESS = "/graphql/"


class Answer(NamedTuple):
    """What was answered; `codes` are those of the errors."""

    data: Any
    errors: list[dict[str, Any]]

    @property
    def codes(self) -> list[str]:
        """Return what the errors are."""
        return [error["extensions"]["code"] for error in self.errors]


def ask(api: Api, query: str, **variables: Any) -> Answer:
    """Send an operation."""
    body = {"query": query, "variables": variables}
    response = api.post(ADDRESS, body, format="json")
    assert response.status_code == 200, response.content
    answer = response.json()
    return Answer(answer.get("data"), answer.get("errors", []))


def types() -> dict[str, GraphQLObjectType]:
    """Return the types of the schema that have fields, but for those that describe it."""
    return {
        name: kind
        for name, kind in schema._schema.type_map.items()
        if is_object_type(kind) and not name.startswith("__")
    }


def all_of(kind: str) -> str:
    """Write a selection of all fields of a type, and of those below."""
    return "{" + " ".join(
        name + (all_of(below.name) if is_object_type(below) else "")
        for name, field in types()[kind].fields.items()
        for below in [get_named_type(field.type)]
    ) + "}"  # fmt: skip
