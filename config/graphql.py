"""The GraphQL endpoint, of one schema that the apps above accounts each give a part of.

It is a view of the API like any other: the same people log in in the same ways, and what a function
refuses has the code that it has there. One operation comes by POST as JSON; there are no batches,
no uploads and no page to try it out.
"""

import re
from typing import Any, ClassVar

import strawberry
from django.conf import settings
from graphql import GraphQLError, GraphQLSyntaxError
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.exceptions import CannotGetOperationTypeError
from strawberry.types import ExecutionContext
from strawberry.utils.str_converters import to_camel_case

from accounts.bodies import Body
from accounts.graphql import Checks, Context, NotAllowed
from accounts.views import ApiView
from availability.api.graphql import VenueMutations, VenueQueries
from waitlist.api.graphql import EntryMutations, EntryQueries

MAX_LENGTH = 10_000
#: What is said of an operation that cannot be read; graphql-core would quote it.
MALFORMED = "This is no operation of GraphQL from here on."
#: Where graphql-core quotes a value that was given, which may be anybody's name.
QUOTED = re.compile(r"(cannot represent [^:]*|found): .*", re.DOTALL)
CHOSEN = re.compile(r"\bValue '.*' does not exist", re.DOTALL)


@strawberry.type
class Query(EntryQueries, VenueQueries):
    """What can be asked."""


@strawberry.type
class Mutation(EntryMutations, VenueMutations):
    """What can be done."""


class Schema(strawberry.Schema):
    """Leaves errors to the view: the library's log would quote what was asked."""

    def process_errors(
        self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None
    ) -> None:
        """Do nothing."""


schema = Schema(
    query=Query,
    mutation=Mutation,
    extensions=[Checks],
    config=StrawberryConfig(disable_field_suggestions=not settings.GRAPHQL_INTROSPECTION),
)


class Operation(Body):
    """A request as other servers take it; `extensions` are for clients and do nothing here."""

    query = serializers.CharField(max_length=MAX_LENGTH, trim_whitespace=False)
    variables = serializers.DictField(required=False, allow_null=True)
    operationName = serializers.CharField(required=False, allow_null=True, max_length=100)
    extensions = serializers.DictField(required=False, allow_null=True)


class GraphqlView(ApiView):
    """One operation."""

    schema = None  # it has one of its own: docs/schema.graphql
    # An answer of 200 tells of several things, some of which may be tried again.
    idempotent: ClassVar[bool] = False

    def post(self, request: Request) -> Response:
        """Execute an operation; what is refused is among its errors.

        :raises ValidationError: if there is none.
        """
        body = Operation(data=request.data)
        body.is_valid(raise_exception=True)
        try:
            result = schema.execute_sync(
                body.validated_data["query"],
                variable_values=body.validated_data.get("variables"),
                operation_name=body.validated_data.get("operationName"),
                context_value=Context(request),
            )
        except CannotGetOperationTypeError:
            raise ValidationError({"operationName": ["There is no such operation."]}) from None
        errors = result.errors or []
        answer: dict[str, Any] = {}
        if errors:
            answer["errors"] = [self._error(error) for error in errors]
        if result.data is not None or any(error.path for error in errors):
            answer["data"] = result.data
        return Response(answer)

    def _error(self, error: GraphQLError) -> dict[str, Any]:
        """Write an error; its `extensions` hold what a problem of the API does."""
        told = error.formatted
        cause = error.original_error
        if cause is None or isinstance(cause, GraphQLError):
            is_malformed = isinstance(error, GraphQLSyntaxError)
            usual = "malformed" if is_malformed else "invalid"
            return {
                **told,
                "message": MALFORMED if is_malformed else _without_values(error.message),
                "extensions": {"code": usual, "status": 400, **(error.extensions or {})},
            }
        try:
            if isinstance(cause, NotAllowed):
                self.permission_denied(self.request)
            raise cause
        except Exception as raised:  # whatever it is, as in `dispatch`
            response = self.handle_exception(raised)
        problem = dict(response.data)
        extensions = {
            name: problem[name] for name in problem if name not in ("type", "title", "detail")
        }
        for one in extensions.get("errors", ()):
            one["field"] = to_camel_case(one["field"])
        if "Retry-After" in response:
            extensions["retryAfter"] = int(response["Retry-After"])
        return {**told, "message": problem["detail"], "extensions": extensions}


def _without_values(message: str) -> str:
    return CHOSEN.sub("The value does not exist", QUOTED.sub(r"\1.", message))
