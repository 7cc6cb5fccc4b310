"""Measures: time, queries and memory of what is called, and what comes of them."""

import gc
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from django.db import connection

MOST_MB = 300  # that a worker may take

#: Under this name `Result.found` says what safety costs, where the floor has triggers to drop.
WITHOUT_TRIGGERS = "to the floor without triggers"


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One call: seconds, statements sent, the peak of this process in MB, and what it returned."""

    seconds: float
    queries: int
    peak_mb: float
    value: Any


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a bench found. `targets` are by name: what was reached, and what it must not exceed.

    `peak_mb` is of the process that did the work, of the floor's and the world's nothing.
    """

    bench: str
    sizes: dict[str, Any]
    seconds: dict[str, float]
    targets: dict[str, tuple[float, float]]
    queries: int
    peak_mb: float
    found: dict[str, Any] = field(default_factory=dict)

    @property
    def limits(self) -> dict[str, tuple[float, float]]:
        """The targets, and that of every worker's memory."""
        return {**self.targets, "peak memory, MB": (self.peak_mb, MOST_MB)}

    @property
    def is_met(self) -> bool:
        """Whether every target is reached."""
        return all(reached <= most for reached, most in self.limits.values())

    def as_json(self) -> dict[str, Any]:
        """Return it as one object, rounded to what was measured."""
        return {
            **{name: value for name, value in asdict(self).items() if name != "targets"},
            "seconds": {name: round(value, 6) for name, value in self.seconds.items()},
            "ratios": {
                name: {"reached": round(reached, 3), "at_most": most}
                for name, (reached, most) in self.limits.items()
            },
            "peak_mb": round(self.peak_mb, 1),
            "is_met": self.is_met,
        }


def sample(work: Callable[[], Any]) -> Sample:
    """Call once."""
    count = 0

    def counting(execute: Any, *args: Any) -> Any:
        nonlocal count
        count += 1
        return execute(*args)

    connection.ensure_connection()
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here on
    with ExitStack() as stack:
        stack.enter_context(connection.execute_wrapper(counting))
        start = time.perf_counter()
        value = work()
        seconds = time.perf_counter() - start
    return Sample(seconds=seconds, queries=count, peak_mb=peak_mb(), value=value)


def peak_mb(*, process: int | str = "self") -> float:
    """Return the most memory that a process has held, in MB."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def median(samples: list[Sample]) -> float:
    """Return the median of the times, in seconds."""
    return statistics.median(one.seconds for one in samples)


def peak(samples: list[Sample]) -> float:
    """Return the highest peak, in MB."""
    return max(one.peak_mb for one in samples)
