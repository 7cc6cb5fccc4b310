"""What all GraphQL fields share: who asks, and what is looked at before anything is read for them.

An operation with one field that the caller's role may not ask for is refused as a whole. So is one
that costs too much, or comes too often.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial
from typing import Any, Self, cast

import strawberry
import structlog
from django.conf import settings
from graphql import (
    ASTValidationRule,
    DocumentNode,
    FieldNode,
    GraphQLError,
    NoSchemaIntrospectionCustomRule,
    OperationDefinitionNode,
    ValidationContext,
    ValidationRule,
)
from rest_framework.request import Request
from strawberry.extensions import SchemaExtension

from accounts import costs, limits, pages
from accounts.roles import Caller, Role, field_roles
from audit import clock


class Context:
    """A request: who asks, `known` if they are logged in, and what is asked for costs."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.known = request.auth if isinstance(request.auth, Caller) else None
        self.cost = 0

    @property
    def caller(self) -> Caller:
        """Who asks; only where `roles.FIELDS` lets nobody in without a token."""
        assert self.known is not None
        return self.known

    @cached_property
    def now(self) -> datetime:
        """When it is asked."""
        return clock.now()

    def add_cost(self, cost: int) -> None:
        """Note what an operation costs."""
        self.cost += cost


Info = strawberry.Info[Context, None]


class NotAllowed(Exception):
    """The caller's role may not ask for a field."""


class Rights(ValidationRule):
    """Refuses an operation for its first field that `roles.FIELDS` keeps from the caller."""

    def __init__(self, context: ValidationContext, *, role: Role) -> None:
        super().__init__(context)
        self.role = role
        self.refused = False

    def enter_field(self, node: FieldNode, *_: Any) -> None:
        """Compare the caller's role with the field's."""
        parent, name = self.context.get_parent_type(), node.name.value
        if parent is None or self.context.get_field_def() is None or self.refused:
            return  # other rules refuse what is unknown
        if name.startswith("__") or parent.name.startswith("__"):
            return  # what describes the schema
        if self.role not in field_roles(type=parent.name, field=name):
            self.refused = True
            text = f"{parent.name}.{name} is not for {self.role}."
            self.report_error(GraphQLError(text, node, original_error=NotAllowed(text)))


class OneMeant(ValidationRule):
    """Refuses several operations none of which is named, as the specification does (6.1)."""

    def __init__(self, context: ValidationContext, *, named: bool) -> None:
        super().__init__(context)
        self.named = named

    def enter_document(self, node: DocumentNode, *_: Any) -> None:
        """Count the operations."""
        operations = [one for one in node.definitions if isinstance(one, OperationDefinitionNode)]
        if len(operations) > 1 and not self.named:
            self.report_error(GraphQLError("Say by operationName which operation is meant.", node))


class Checks(SchemaExtension):
    """Looks at an operation before it is executed."""

    def on_operation(self) -> Iterator[None]:
        """Say what it is to be held against."""
        context: Context = self.execution_context.context
        role = context.known.role if context.known else Role.NONE
        told = cast("dict[str, Any]", context.request.data)
        rules: list[Any] = [
            partial(Rights, role=role),
            partial(OneMeant, named=bool(told.get("operationName"))),
            partial(costs.Scales, note=context.add_cost),
        ]
        if not settings.GRAPHQL_INTROSPECTION:
            rules.append(NoSchemaIntrospectionCustomRule)
        self.execution_context.parse_options["max_tokens"] = costs.MOST_TOKENS
        self.execution_context.validation_rules += cast(
            tuple[type[ASTValidationRule]], tuple(rules)
        )
        yield

    def on_execute(self) -> Iterator[None]:
        """Count it; the log gets its name and nothing else of it.

        :raises Throttled: if there was too much.
        """
        context: Context = self.execution_context.context
        name = self.execution_context.operation_name
        structlog.contextvars.bind_contextvars(operation=name and name[:100])
        limits.check(
            limit="graphql",
            who=str(context.known.user_id)
            if context.known
            else limits.address(request=context.request),
            tenant=context.known.tenant_id if context.known else None,
            times=-(-context.cost // costs.ROOT),
        )
        yield


@strawberry.type(description="Which page this is, and how many rows and pages there are.")
@dataclass
class Pagination:
    """The `pagination` of a list."""

    page: int
    page_size: int
    total_count: int
    total_pages: int

    @classmethod
    def of(cls, *, page: int, page_size: int, total: int) -> Self:
        """Count the pages."""
        return cls(page, page_size, total, -(-total // page_size))


def check_page(*, page: int, page_size: int) -> None:
    """:raises ValidationError: naming the one that is out of its range."""
    for name, number, most in (
        ("page", page, pages.MAX_PAGE), ("page_size", page_size, costs.ROWS)
    ):  # fmt: skip
        if not 1 <= number <= most:
            raise pages.out_of_range(name=name, most=most)
