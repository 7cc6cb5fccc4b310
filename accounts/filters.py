"""Filters of lists: what is asked for is understood or refused, never passed over."""

import re
from collections.abc import Mapping
from typing import Any

from django.core.validators import RegexValidator
from django.db.models import Model, Q, QuerySet
from django_filters.rest_framework import (
    BooleanFilter,
    CharFilter,
    DjangoFilterBackend,
    MultipleChoiceFilter,
    OrderingFilter,
)
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.request import Request

from accounts.problems import one_of

PAGING = {"page", "page_size"}
TRIGRAM = re.compile(r"[^\W_]{3}")
HAS_LETTER = RegexValidator(r"[^\W_]", "Give a letter or a digit.")


class KnownFilters(DjangoFilterBackend):  # type: ignore[misc]
    """Refuses parameters that the list does not have, or that are given twice where one counts."""

    def filter_queryset(
        self, request: Request, queryset: QuerySet[Model], view: Any
    ) -> QuerySet[Model]:
        """Narrow the rows.

        :raises ValidationError: naming the parameters that are unknown, repeated or have a bad
            value.
        """
        filterset = self.get_filterset(request, queryset, view)
        known = {**dict.fromkeys(PAGING), **(filterset.filters if filterset else {})}
        faults = {
            name: [fault]
            for name, texts in request.query_params.lists()
            if (fault := _fault(known=known, name=name, texts=texts))
        }
        if faults:
            raise ValidationError(faults)
        if filterset and not filterset.is_valid():
            raise ValidationError(
                {
                    name: [
                        ErrorDetail(message, error.code or "invalid")
                        for error in errors
                        for message in _messages(error, filterset.form.fields[name])
                    ]
                    for name, errors in filterset.errors.as_data().items()
                }
            )
        return filterset.qs if filterset else queryset


def _messages(error: Any, field: Any) -> list[str]:
    if error.code == "invalid_choice" and hasattr(field, "choices"):
        return [one_of(choices=(value for value, _ in field.choices))]
    return list(error.messages)


def _fault(*, known: Mapping[str, Any], name: str, texts: list[str]) -> ErrorDetail | None:
    """Say what is wrong with a parameter that its filter would pass over."""
    if name not in known:
        return ErrorDetail("There is no such parameter.", "unknown")
    wanted = known[name]
    if len(texts) > 1 and not isinstance(wanted, MultipleChoiceFilter):
        return ErrorDetail("Give it once.", "repeated")
    if any(_is_empty(wanted, text) for text in texts):
        return ErrorDetail("Give a value.", "required")
    # A form takes any other text for no answer at all.
    if isinstance(wanted, BooleanFilter) and not {"true", "false"}.issuperset(texts):
        return ErrorDetail("Say true or false.", "invalid")
    return None


def _is_empty(wanted: Any, text: str) -> bool:
    if isinstance(wanted, SortFilter):  # several, with commas between them
        return "" in text.split(",")
    return text == "" and not isinstance(wanted, SearchFilter)


class SearchFilter(CharFilter):  # type: ignore[misc]
    """Finds rows that have the text in one of the columns, in any case.

    A text without three letters or digits in a row is looked for where a column begins, or after a
    space: an index of trigrams has these, too, and not what is in the middle of a word.
    """

    def __init__(self, *, columns: tuple[str, ...], **kwargs: Any) -> None:
        where = ", ".join(columns)
        kwargs.setdefault(
            "label",
            f"Text in {where}, in any case. A text without three letters or digits in a row is"
            " found only at the start, or after a space.",
        )
        super().__init__(max_length=100, validators=[HAS_LETTER], **kwargs)
        self.columns = columns

    def filter(self, qs: QuerySet[Model], value: str) -> QuerySet[Model]:
        """Narrow the rows."""
        if not value:
            return qs
        found = Q()
        for column in self.columns:
            if TRIGRAM.search(value):
                found |= Q(**{f"{column}__icontains": value})
            else:
                found |= Q(**{f"{column}__istartswith": value})
                found |= Q(**{f"{column}__icontains": f" {value}"})
        return qs.filter(found)


class SortFilter(OrderingFilter):  # type: ignore[misc]
    """Sorts by a column, then by id: what is alike has one order, so that no two pages overlap."""

    def filter(self, qs: QuerySet[Model], value: list[str] | None) -> QuerySet[Model]:
        """Sort the rows."""
        if not value:
            return qs
        columns = [self.get_ordering_value(name) for name in value]
        # In the direction of the column before it, so that one index serves both ways.
        return qs.order_by(*columns, "-id" if columns[-1].startswith("-") else "id")
