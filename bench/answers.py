"""Answers: what people say to an offer, and how long that takes them. Made up: no data tell."""

from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import NamedTuple


class Answer(NamedTuple):
    """What somebody says to an offer, if anything, and how long that takes them."""

    accepts: bool | None
    after: timedelta


@dataclass(frozen=True, kw_only=True)
class Answers:
    """How people answer. Made up: shares who accept or decline, and a log-normal time to answer.

    The rest never answers. A `spread` of 1 puts the 95th percentile at five times the median.
    """

    seed: int
    accept: float = 0.6
    decline: float = 0.2
    median: timedelta = timedelta(minutes=30)
    spread: float = 1.0

    def draw(self, *, person: int, number: int) -> Answer:
        """Return what a person says to their offer of that number."""
        dice = Random(f"{self.seed}:{person}:{number}")
        share, after = dice.random(), self.median * dice.lognormvariate(0, self.spread)
        if share < self.accept:
            return Answer(True, after)
        return Answer(False if share < self.accept + self.decline else None, after)

    def __str__(self) -> str:
        minutes = self.median / timedelta(minutes=1)
        return (
            f"An offer is accepted by {self.accept:.0%}, declined by {self.decline:.0%} and left"
            f" alone by the rest; answers take a log-normal time, median {minutes:g} min, sigma"
            f" {self.spread:g}; seed {self.seed}. This is assumed: the data do not tell."
        )
