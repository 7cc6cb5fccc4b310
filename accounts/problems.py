"""Errors as `application/problem+json` (RFC 9457): one shape, stable codes, nothing of the inside.

`type, title, status, detail, code`, and for validation `errors` of `field, code, detail`.
"""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import structlog
from django.core.exceptions import SuspiciousOperation
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import DataError, IntegrityError
from drf_standardized_errors.formatter import ExceptionFormatter
from drf_standardized_errors.handler import ExceptionHandler
from drf_standardized_errors.types import ErrorResponse
from rest_framework import exceptions
from rest_framework.response import Response

from audit.errors import Refused

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"

# The status of a refusal by its code; what is not here is a conflict.
STATUS: dict[str, int] = {
    "not_found": HTTPStatus.NOT_FOUND,
    "not_yours": HTTPStatus.FORBIDDEN,
    "permission_denied": HTTPStatus.FORBIDDEN,
    "stale": HTTPStatus.PRECONDITION_FAILED,
    "too_many_entries": HTTPStatus.TOO_MANY_REQUESTS,
    "too_many_rfps": HTTPStatus.TOO_MANY_REQUESTS,
    "hold_lapsed": HTTPStatus.UNPROCESSABLE_ENTITY,
    "key_reused": HTTPStatus.UNPROCESSABLE_ENTITY,
    "bad_credentials": HTTPStatus.UNAUTHORIZED,
    "bad_token": HTTPStatus.UNAUTHORIZED,
    "invitation_over": HTTPStatus.NOT_FOUND,
}
# The framework's codes under our names.
CODES: dict[str, str] = {
    "error": "internal",
    "parse_error": "malformed",
    "no_active_account": "not_authenticated",
    "authentication_failed": "not_authenticated",
    "token_not_valid": "not_authenticated",
}
# The framework's names for what is wrong with no single field.
FIELDS: dict[str | None, str] = {None: "", "non_field_errors": "", "__all__": ""}
# What we say where something is none of the choices; the choices follow.
ONE_OF = "Give one of: "
# What the framework says to these quotes what was given, which may be anything about anybody.
QUOTING: dict[str, str] = {
    "invalid_choice": "This is not one of the choices.",
    "does_not_exist": "This is not there.",
}
RETRY_AFTER = {"too_many_entries": 3600, "too_many_rfps": 3600, "in_flight": 1}  # seconds


def one_of(*, choices: Iterable[Any]) -> str:
    """Say which choices there are, without what was given, which may be anything."""
    return f"{ONE_OF}{', '.join(str(one) for one in choices if one != '')}."


class Conflict(Refused):
    """The database refused what the functions let pass."""

    code = "conflict"


class Refusal(exceptions.APIException):
    """What a function refused, on its way to an answer."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(detail=str(refused), code=refused.code)
        self.status_code = STATUS.get(refused.code, HTTPStatus.CONFLICT)
        self.field = refused.field
        self.wait = RETRY_AFTER.get(refused.code)
        self.more = refused.more


class Handler(ExceptionHandler):
    """Knows the exceptions of the domain besides those of the framework."""

    def convert_known_exceptions(self, exc: Exception) -> Exception:
        """Turn a refusal or a failed validation into the framework's words."""
        if isinstance(exc, Refused):
            return Refusal(exc)
        if isinstance(exc, IntegrityError):  # a race that no lock was taken for
            log.warning("refused by the database", error=type(exc.__cause__).__name__)
            return Refusal(Conflict("The rows changed meanwhile; try again."))
        if isinstance(exc, SuspiciousOperation):
            return exceptions.ParseError("The request is malformed.")
        if isinstance(exc, DataError):
            log.warning("refused by the database", error=type(exc.__cause__).__name__)
            return exceptions.ValidationError("A value is out of range.")
        if isinstance(exc, DjangoValidationError):
            by_field = exc.error_dict if hasattr(exc, "error_dict") else {"": exc.error_list}
            return exceptions.ValidationError(
                {
                    field or "non_field_errors": [
                        exceptions.ErrorDetail(message, code=error.code or "invalid")
                        for error in errors
                        for message in error.messages
                    ]
                    for field, errors in by_field.items()
                }
            )
        return super().convert_known_exceptions(exc)


class Formatter(ExceptionFormatter):
    """Writes the problem."""

    def format_error_response(self, error_response: ErrorResponse) -> dict[str, Any]:
        """Return the body."""
        invalid = isinstance(self.exc, exceptions.ValidationError)
        first = error_response.errors[0]
        code = "invalid" if invalid else CODES.get(first.code, first.code)
        problem = {
            "type": f"urn:backfill:problem:{code}",
            "title": HTTPStatus(self.exc.status_code).phrase,
            "status": int(self.exc.status_code),
            "detail": "Some values are not valid." if invalid else first.detail,
            "code": code,
        }
        if invalid:
            problem["errors"] = [
                {
                    "field": FIELDS.get(error.attr, error.attr),
                    "code": error.code,
                    "detail": error.detail
                    if error.detail.startswith(ONE_OF)
                    else QUOTING.get(error.code, error.detail),
                }
                for error in error_response.errors
            ]
        elif isinstance(self.exc, Refusal) and self.exc.field:
            problem["errors"] = [{"field": self.exc.field, "code": code, "detail": first.detail}]
        if isinstance(self.exc, Refusal):
            problem |= self.exc.more
        return problem


def handle(exc: Exception, context: Any) -> Response | None:
    """Answer an exception of a view."""
    response = Handler(exc, context).run()
    if response is not None:
        response.content_type = MEDIA_TYPE
    return response
