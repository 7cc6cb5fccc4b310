"""What a function refuses to do. Each refusal has its class beside the function that raises it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar


class Refused(Exception):
    """Nothing was changed; `code` is stable, `field` is the argument at fault, where it is one.

    `more` are further facts of the refusal that the caller may be told, such as a state.
    """

    code: ClassVar[str] = "refused"
    more: Mapping[str, str] = MappingProxyType({})

    def __init__(self, detail: str, *, field: str | None = None) -> None:
        super().__init__(detail)
        self.field = field


class NotFound(Refused):
    """There is no such row, or it is another tenant's: the two are not told apart."""

    code = "not_found"

    def __init__(self, field: str, id: object) -> None:
        super().__init__(f"There is no {field.replace('_', ' ')} {id}.", field=field)


class Stale(Refused):
    """The row has another version than the one that was to be changed."""

    code = "stale"


def check_version(*, version: int, wanted: int | None) -> None:
    """Compare a locked row's version with the one that somebody read; None asks for nothing.

    :raises Stale: if they differ.
    """
    if wanted is not None and version != wanted:
        raise Stale(f"The row has version {version}, not {wanted}.")
