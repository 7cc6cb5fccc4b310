"""The narrator: prints what happens and when; plainly where there is no terminal."""

import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.text import Text

MARGIN = " " * 9


@dataclass(frozen=True, kw_only=True)
class Narrator:
    """Prints to standard output."""

    started: float = field(default_factory=time.monotonic)
    console: Console = field(
        default_factory=lambda: Console(
            file=sys.stdout, force_terminal=sys.stdout.isatty(), highlight=False, soft_wrap=True
        )
    )

    def title(self, text: str) -> None:
        """Begin a chapter."""
        self.console.print()
        self.console.print(Text(text, style="bold"))

    def step(self, text: str) -> None:
        """Tell a step, with the time that it was seen."""
        seconds = f"{time.monotonic() - self.started:6.1f} s "
        self.console.print(Text.assemble((seconds, "dim"), " ", text))

    def detail(self, text: str, *, style: str = "") -> None:
        """Tell more of the last step."""
        self.console.print(Text(f"{MARGIN}{text}", style=style))

    def table(self, rows: Iterable[Sequence[object]]) -> None:
        """Tell more of the last step, in columns."""
        cells = [[str(cell) for cell in row] for row in rows]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        for row in cells:
            line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self.detail(line.rstrip())
