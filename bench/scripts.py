"""Scripts: who books, cancels, joins and leaves when, as it is read from a file."""

import gzip
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TextIO
from uuid import UUID

from audit.errors import Refused
from bench.places import Place

if TYPE_CHECKING:
    from bench.players import Player

Act = Callable[["Player"], None]


class BadFile(Refused):
    """The file is not what it should be."""

    code = "bad_file"

    def __init__(self, *, file: str, line: int, reason: str) -> None:
        super().__init__(f"{file}:{line}: {reason}")


def open_text(*, path: Path) -> TextIO:
    """Open a CSV file, unpacked if it ends in .gz.

    :raises OSError: if it cannot be read.
    """
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")


@dataclass(frozen=True, kw_only=True)
class Script:
    """What is to be played: how many people there are, and what happens, by time.

    `observed` are the figures that the data themselves give, by the names of `Figures`; `hidden`
    are those that mean nothing here.
    """

    timezone: str
    facilities: Sequence[str]
    people: int
    place: Callable[[str, UUID], Place]
    steps: Sequence[tuple[datetime, Act]]
    ends_at: datetime
    observed: Mapping[str, float]
    hidden: frozenset[str]
    assumptions: Sequence[str]
    remarks: Sequence[str]
