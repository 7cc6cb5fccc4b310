"""Plain rows that people edit: made, changed and checked in one way."""

from collections.abc import Mapping
from typing import Any, TypeVar
from uuid import UUID

from django.db import transaction
from django.db.models import Model, QuerySet

from audit.errors import NotFound, check_version

M = TypeVar("M", bound=Model)


@transaction.atomic
def edit(
    *, rows: QuerySet[M], id: UUID, changes: Mapping[str, Any], version: int | None = None
) -> M:
    """Change columns of one of `rows` under its lock.

    :raises NotFound: if it is not one of them.
    :raises Stale: if its version is not the wanted one.
    :raises ValidationError: naming each field with a bad value.
    """
    row = rows.select_for_update(no_key=True, of=("self",)).filter(pk=id).first()
    if row is None:
        raise NotFound(rows.model._meta.model_name or "row", id)
    check_version(version=getattr(row, "version", 0), wanted=version)
    for name, value in changes.items():
        setattr(row, name, value)
    row.full_clean()
    row.save(update_fields=list(changes))
    row.refresh_from_db()
    return row
