"""Figures: what came of a replay."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf

#: Times to refill in minutes, each up to a limit.
BANDS = {
    "10 minutes": 10, "30 minutes": 30, "1 hour": 60, "3 hours": 180, "12 hours": 720,
    "1 day": 1440, "longer": inf,
}  # fmt: skip


@dataclass(kw_only=True)
class Figures:
    """What came of it; times to refill and spells in minutes, waits in days."""

    counts: Counter[str] = field(default_factory=Counter)
    refill_minutes: list[float] = field(default_factory=list)
    wait_days: list[float] = field(default_factory=list)
    spell_minutes: list[float] = field(default_factory=list)

    def as_rows(self) -> dict[str, float | None]:
        """Return the figures by name."""
        counts = self.counts
        return {
            "seats refilled": counts["refills"],
            "minutes to refill, median": percentile(values=self.refill_minutes, of=50),
            "minutes to refill, 95th percentile": percentile(values=self.refill_minutes, of=95),
            "offers": counts["offers"],
            "offers per refill": counts["offers"] / counts["refills"]
            if counts["refills"]
            else None,
            "offers declined": counts["declined"],
            "offers that lapsed": counts["lapsed"],
            "offers withdrawn": counts["withdrawn"],
            "seats offered and not refilled": counts["openings offered"] - counts["refills"],
            "spells a seat stood open while people waited": len(self.spell_minutes),
            "minutes of a spell, median": percentile(values=self.spell_minutes, of=50),
            "minutes of a spell, 95th percentile": percentile(values=self.spell_minutes, of=95),
            "days from joining to the seat, median": percentile(values=self.wait_days, of=50),
            "joined": counts["joined"],
            "left the waitlist": counts["left"],
            "expired": counts["expired"],
            "waiting at the end": counts["waiting at the end"],
            "booked directly": counts["booked"],
            "direct bookings that found nothing free": counts["turned away"],
            "cancelled": counts["cancelled"],
            "cancellations and leavings with nobody left": counts["nobody left"],
        }

    def refills_by_time(self) -> dict[str, int]:
        """Count the seats refilled within each band of time, and not within the one before it."""
        limits = [-1.0, *BANDS.values()]
        return {
            name: sum(low < minutes <= high for minutes in self.refill_minutes)
            for name, (low, high) in zip(BANDS, pairwise(limits), strict=True)
        }


def percentile(*, values: Sequence[float], of: int) -> float | None:
    """Return the value that `of` per cent do not exceed, by linear interpolation; None of none."""
    if not values:
        return None
    ordered = sorted(values)
    place = (len(ordered) - 1) * of / 100
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
