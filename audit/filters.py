"""Filters of the admin's lists."""

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from typing import Any

from django.contrib.admin import FieldListFilter, SimpleListFilter
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.postgres.fields import DateTimeRangeField
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.dateparse import parse_date
from unfold.contrib.filters.forms import RangeDateForm

from audit.events import KINDS


class DayFilter(FieldListFilter):
    """From one day to another, in UTC; a period counts by its start."""

    template = "unfold/filters/filters_date_range.html"
    form_class = RangeDateForm  # whose media the page loads

    def expected_parameters(self) -> list[str | None]:
        return [f"{self.field_path}_from", f"{self.field_path}_to"]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
        lookup = self.field_path
        if isinstance(self.field, DateTimeRangeField):
            lookup += "__startswith"
        start, end = (self._midnight(name) for name in self.expected_parameters())
        if start is not None:
            queryset = queryset.filter(**{f"{lookup}__gte": start})
        if end is not None:
            queryset = queryset.filter(**{f"{lookup}__lt": end + timedelta(days=1)})
        return queryset

    def choices(self, changelist: Any) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        given = {name: self._given(name) for name in self.expected_parameters()}
        yield {
            "request": self.request,
            "parameter_name": self.field_path,
            "form": self.form_class(name=self.field_path, data=given),
        }

    def _given(self, name: str | None) -> str:
        values: Any = self.used_parameters.get(name or "", [])
        return values if isinstance(values, str) else next(iter(values), "")

    def _midnight(self, name: str | None) -> datetime | None:
        text = self._given(name)
        if not text:
            return None
        try:
            day = parse_date(text)
        except ValueError:
            day = None
        if day is None:
            raise IncorrectLookupParameters
        return datetime.combine(day, time(), UTC)


class LevelFilter(FieldListFilter):
    """A level from 0 to 3; a big table is not asked which there are."""

    def expected_parameters(self) -> list[str | None]:
        return [f"{self.field_path}__exact"]

    def choices(self, changelist: Any) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        [name] = self.expected_parameters()
        given: Any = self.used_parameters.get(name or "", [])
        chosen = given if isinstance(given, str) else next(iter(given), "")
        for level, text in (("", "All"), *((level, level) for level in "0123")):
            query = {name: level} if level else {}
            yield {
                "selected": level == chosen,
                "query_string": changelist.get_query_string(query, [name]),
                "display": text,
            }


class KindFilter(SimpleListFilter):
    """Events of a kind; the kinds are known without asking a big table for them."""

    title = "kind"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(kind, kind) for kind in KINDS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
        return queryset.filter(kind=self.value()) if self.value() else queryset
