"""Columns of the admin's lists and pages: coloured labels, links between rows, local times."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.contrib.admin import display
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html

from audit.clock import span

Column = Callable[[Any], str]

EMPTY = "-"


def label(*, colours: Mapping[str, str], field: str = "status") -> Column:
    """Show a choice as a label; a colour is `success`, `info`, `warning`, `danger` or `primary`."""

    def show(row: Any) -> str:
        context = {
            "type": colours.get(getattr(row, field)),
            "text": getattr(row, f"get_{field}_display")(),
        }
        return render_to_string("unfold/helpers/label.html", context)

    return _named(show, field=field, ordering=field)


def link(*, field: str) -> Column:
    """Show a row that this one refers to, with a link where it is the same tenant's."""

    def show(row: Any) -> str:
        other = getattr(row, field)
        if other is None:
            return EMPTY
        period = getattr(other, "period", None)
        place = row if hasattr(row, "facility") else other
        text = span(period=period, zone=_zone(place)) if period else str(other)
        # Another tenant's row would not open.
        if getattr(other, "tenant_id", None) != row.tenant_id:
            return text
        meta = other._meta
        url = reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[other.pk])
        return format_html('<a href="{}" class="text-link">{}</a>', url, text)

    return _named(show, field=field)


def rows(*, title: str, of: str, by: str) -> Column:
    """Link to the list `of` (app_model) narrowed to the rows whose column `by` is this row's id."""

    def show(row: Any) -> str:
        url = f"{reverse(f'admin:{of}_changelist')}?{urlencode({by: row.pk})}"
        return format_html('<a href="{}" class="text-link">show</a>', url)

    return _named(show, field=title)


def period(*, field: str = "period") -> Column:
    """Show a period by the clock of the row's facility."""

    def show(row: Any) -> str:
        value = getattr(row, field)
        return span(period=value, zone=_zone(row)) if value else EMPTY

    return _named(show, field=field, ordering=field)


def moment(*, field: str) -> Column:
    """Show a time by the clock of the row's facility."""

    def show(row: Any) -> str:
        value: datetime | None = getattr(row, field)
        return f"{value.astimezone(_zone(row)):%a %d %b %Y %H:%M %Z}" if value else EMPTY

    return _named(show, field=field, ordering=field)


def _zone(row: Any) -> ZoneInfo:
    return ZoneInfo(row.facility.timezone)


def _named(show: Column, *, field: str, ordering: str | None = None) -> Column:
    show.__name__ = field.replace(" ", "_").lower()
    return display(description=field.replace("_", " "), ordering=ordering)(show)
