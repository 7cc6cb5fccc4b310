"""The API's description of itself: the schema, and the page that shows it from local files."""

from functools import cache
from typing import Any

from django.utils.decorators import method_decorator
from django.views.decorators.vary import vary_on_headers
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView
from rest_framework.request import Request
from rest_framework.response import Response


@cache
def schema() -> dict[str, Any]:
    """Make the schema, once in a process: it follows from the code alone."""
    return SchemaGenerator().get_schema(public=True)  # type: ignore[no-untyped-call, no-any-return]


@method_decorator(vary_on_headers("Accept"), name="dispatch")
class SchemaView(SpectacularAPIView):
    """OpenAPI 3.1, as YAML or JSON."""

    authentication_classes = ()
    http_method_names = ("get", "head")

    def _get_schema_response(self, request: Request) -> Response:
        return Response(schema())


class DocsView(SpectacularSwaggerView):
    """The schema to read and to try out."""

    authentication_classes = ()
    http_method_names = ("get", "head")
    url_name = "schema"
