"""Plain rows that people edit: found, made, changed and checked in one way."""

from collections.abc import Mapping
from typing import Any, TypeVar
from uuid import UUID

from django.db import transaction
from django.db.models import Model, ProtectedError, QuerySet

from audit.errors import NotFound, Refused, check_version

M = TypeVar("M", bound=Model)


class InUse(Refused):
    """Other rows refer to this one."""

    code = "in_use"


def find(*, rows: QuerySet[M], id: UUID | None, field: str) -> M:
    """Return one of the rows that somebody may see.

    :raises NotFound: naming `field`, if it is not one of them.
    """
    row = rows.filter(pk=id).first()
    if row is None:
        raise NotFound(field, id)
    return row


@transaction.atomic
def add(*, row: M) -> M:
    """Write a new row.

    :raises ValidationError: naming each field with a bad value.
    """
    row.full_clean()
    row.save(force_insert=True)
    row.refresh_from_db()
    return row


@transaction.atomic
def edit(
    *, rows: QuerySet[M], id: UUID, changes: Mapping[str, Any], version: int | None = None
) -> M:
    """Change columns of one of `rows` under its lock.

    :raises NotFound: if it is not one of them.
    :raises Stale: if its version is not the wanted one.
    :raises ValidationError: naming each field with a bad value.
    """
    row = lock(rows=rows, id=id, version=version)
    if not changes:
        return row
    for name, value in changes.items():
        setattr(row, name, value)
    row.full_clean()
    row.save(update_fields=list(changes))
    row.refresh_from_db()
    return row


@transaction.atomic
def remove(*, rows: QuerySet[M], id: UUID, version: int | None = None) -> None:
    """Delete one of `rows`.

    :raises NotFound, Stale: as `edit`.
    :raises InUse: if others refer to it.
    """
    row = lock(rows=rows, id=id, version=version)
    try:
        row.delete()
    except ProtectedError:
        name = row._meta.verbose_name
        raise InUse(f"Other rows refer to this {name}.") from None


def lock(*, rows: QuerySet[M], id: UUID, version: int | None = None) -> M:
    """Lock one of `rows`, unless it has another version than the wanted one.

    :raises NotFound, Stale: as `edit`.
    """
    row = rows.select_for_update(no_key=True, of=("self",)).filter(pk=id).first()
    if row is None:
        raise NotFound(str(rows.model._meta.verbose_name), id)
    check_version(version=getattr(row, "version", 0), wanted=version)
    return row
