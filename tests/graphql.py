"""Clients of the GraphQL endpoint."""

from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import uuid4

from graphql import (
    GraphQLField,
    GraphQLObjectType,
    get_named_type,
    is_enum_type,
    is_object_type,
    is_required_argument,
)

from accounts.roles import FIELDS, Role
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


def all_of(kind: str, role: Role | None = None) -> str:
    """Write a selection of all fields of a type, or those for a role, and of those below."""
    return "{" + " ".join(
        name + (all_of(below.name, role) if is_object_type(below) else "")
        for name, field in types()[kind].fields.items()
        if role is None or role in FIELDS[kind][name]
        for below in [get_named_type(field.type)]
    ) + "}"  # fmt: skip


def arguments(field: GraphQLField, given: Mapping[str, str]) -> str:
    """Write what a field needs: what is given of it, else ids of nobody and first choices."""
    values = []
    for name, argument in field.args.items():
        if is_required_argument(argument):
            kind = get_named_type(argument.type)
            plain = {"UUID": f'"{uuid4()}"', "Boolean": "true"}
            usual = next(iter(kind.values)) if is_enum_type(kind) else plain[kind.name]
            values.append(f"{name}: {given.get(name, usual)}")
    return f"({', '.join(values)})" if values else ""
