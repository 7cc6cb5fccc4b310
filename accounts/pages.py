"""Lists come in pages: `page`, `page_size` up to 100, `total`. A page beyond the last is empty."""

from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar

from django.db.models import Model, QuerySet
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response

M = TypeVar("M", bound=Model)

PAGE_SIZE = 25
MAX_PAGE_SIZE = 100
MAX_PAGE = 1_000_000


class Pages(BasePagination):
    """`{total, page, page_size, results}`."""

    usual: ClassVar[int] = PAGE_SIZE
    most: ClassVar[int] = MAX_PAGE_SIZE
    total = 0
    page = 1
    page_size = PAGE_SIZE

    def paginate_queryset(  # type: ignore[override]
        self, queryset: QuerySet[Any] | list[Any], request: Request, view: Any = None
    ) -> list[Any]:
        """Return the rows of the page that is asked for; a list is what was read already.

        :raises ValidationError: naming the parameter that is no number of its range.
        """
        self.page = _number(request=request, name="page", most=MAX_PAGE, otherwise=1)
        self.page_size = _number(
            request=request, name="page_size", most=self.most, otherwise=self.usual
        )
        if isinstance(queryset, list):
            self.total = len(queryset)
            start = (self.page - 1) * self.page_size
            return queryset[start : start + self.page_size]
        self.total, found = cut(rows=queryset, page=self.page, page_size=self.page_size)
        return found

    def get_paginated_response(self, data: Any) -> Response:
        """Wrap one page."""
        return Response(
            {
                "total": self.total,
                "page": self.page,
                "page_size": self.page_size,
                "results": data,
            }
        )

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Say so in the schema."""
        number = {"type": "integer", "minimum": 0}
        return {
            "type": "object",
            "required": ["total", "page", "page_size", "results"],
            "properties": {
                "total": number | {"examples": [1]},
                "page": number | {"examples": [1]},
                "page_size": number | {"examples": [25]},
                "results": schema,
            },
        }

    def get_schema_operation_parameters(self, view: Any) -> Sequence[dict[str, Any]]:  # type: ignore[override]
        """Name the two parameters in the schema."""
        return [
            {
                "name": name,
                "in": "query",
                "required": False,
                "description": description,
                "schema": {"type": "integer", "minimum": 1, "maximum": most, "default": default},
            }
            for name, most, default, description in (
                ("page", MAX_PAGE, 1, "Which page; one beyond the last is empty."),
                ("page_size", self.most, self.usual, "Rows of a page."),
            )
        ]


def cut(*, rows: QuerySet[M], page: int, page_size: int) -> tuple[int, list[M]]:
    """Return how many rows there are, and those of a page."""
    total, start = rows.count(), (page - 1) * page_size
    if start >= total:
        return total, []
    # The ids first, for which an index is enough: what is passed over is not read.
    wanted = rows.values("pk")[start : start + page_size]
    return total, list(rows.filter(pk__in=wanted))


def out_of_range(*, name: str, most: int) -> ValidationError:
    """Say that a parameter is no number from 1 to `most`."""
    return ValidationError({name: [ErrorDetail(f"Give a number from 1 to {most}.", "invalid")]})


def _number(*, request: Request, name: str, most: int, otherwise: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return otherwise
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= most):
        raise out_of_range(name=name, most=most)
    return int(text)
