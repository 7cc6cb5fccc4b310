"""The routes of the API as the URL resolver has them: what the schema, docs and tests walk."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver

PREFIXES = ("api/", "graphql/")


@dataclass(frozen=True, slots=True)
class Route:
    """One address: its name, its path with `{parameters}`, and the view's class."""

    name: str
    path: str
    view: Any

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that the view has, but for HEAD."""
        names = self.view.http_method_names
        return tuple(one.upper() for one in names if one != "head" and hasattr(self.view, one))


@cache
def walk() -> tuple[Route, ...]:
    """Return all routes of the API but for the one that answers what has none."""
    return tuple(
        Route(pattern.name or "", path, vars(pattern.callback)["view_class"])
        for path, pattern in _patterns(resolver=get_resolver(), before="")
        if path.startswith(tuple(f"/{one}" for one in PREFIXES)) and pattern.name != "unknown"
    )


@cache
def names() -> dict[str, str]:
    """Return each route's name by its path."""
    return {route.path: route.name for route in walk()}


def _patterns(*, resolver: URLResolver, before: str) -> Iterator[tuple[str, URLPattern]]:
    for one in resolver.url_patterns:
        path = before + str(one.pattern)
        if isinstance(one, URLResolver):
            if not path or path.startswith(PREFIXES):
                yield from _patterns(resolver=one, before=path)
        elif isinstance(one, URLPattern):
            yield "/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", path.lstrip("^")), one
