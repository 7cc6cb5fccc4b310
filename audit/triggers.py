"""Triggers that several tables share: legal moves, append-only rows, `updated_at` and versions."""

from collections.abc import Iterable, Sequence

import pgtrigger

Move = tuple[str | None, str]


def state_machine(*, moves: Iterable[Move], field: str = "status") -> list[pgtrigger.Trigger]:
    """Refuse a first state or a move that is not in `moves`; `None` is the state before birth."""
    first = [new for old, new in moves if old is None]
    return [
        pgtrigger.FSM(
            name=f"{field}_moves",
            field=field,
            transitions=[(old, new) for old, new in moves if old is not None],
            condition=pgtrigger.Condition(f'OLD."{field}" IS DISTINCT FROM NEW."{field}"'),
        ),
        pgtrigger.Protect(
            name=f"{field}_first",
            operation=pgtrigger.Insert,
            condition=~pgtrigger.Q(**{f"new__{field}__in": first}),
        ),
    ]


def append_only() -> list[pgtrigger.Trigger]:
    """Refuse UPDATE, DELETE and TRUNCATE.

    `Protect` knows rows only, so TRUNCATE has a statement trigger of its own.
    """
    return [
        pgtrigger.Protect(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete),
        pgtrigger.Trigger(
            name="no_truncate",
            level=pgtrigger.Statement,
            when=pgtrigger.Before,
            operation=pgtrigger.Truncate,
            func="RAISE EXCEPTION 'cannot truncate the append-only table %', TG_TABLE_NAME;",
        ),
    ]


def touch(*, version: bool = False, of: Sequence[str] = ()) -> pgtrigger.Trigger:
    """Set `updated_at`, and count `version` up by one, on every update, whoever makes it.

    Where `of` names columns, only on updates of those: the others are no person's to edit.
    """
    count = "NEW.version := OLD.version + 1; " if version else ""
    return pgtrigger.Trigger(
        name="touch",
        when=pgtrigger.Before,
        operation=pgtrigger.UpdateOf(*of) if of else pgtrigger.Update,  # type: ignore[no-untyped-call]
        func=f"NEW.updated_at := statement_timestamp(); {count}RETURN NEW;",
    )
