"""Lists come in pages: `page`, `page_size` up to 100, `total`."""

from collections.abc import Sequence
from typing import Any

from rest_framework.pagination import PageNumberPagination
from rest_framework.response import Response


class Pages(PageNumberPagination):
    """`{total, page, page_size, results}`."""

    page_size = 25
    max_page_size = 100
    page_size_query_param = "page_size"

    def get_paginated_response(self, data: Sequence[Any]) -> Response:
        """Wrap one page."""
        assert self.page is not None
        return Response(
            {
                "total": self.page.paginator.count,
                "page": self.page.number,
                "page_size": self.page.paginator.per_page,
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
                "total": number | {"example": 1},
                "page": number | {"example": 1},
                "page_size": number | {"example": 25},
                "results": schema,
            },
        }
