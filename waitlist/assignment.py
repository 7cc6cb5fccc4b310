"""The assignment with the highest total score: scipy's, which every process need not import."""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from waitlist.fitting import Level


def assign(*, rows: Sequence[Sequence[Level]], slots: Sequence[int]) -> list[int]:
    """Give each row one of the slots, no slot twice, at the highest total score.

    `rows` are the scores that each row reaches with the sets of slots; all rows can be served.
    Solved by shortest augmenting paths (Crouse, IEEE Transactions on Aerospace and Electronic
    Systems 52(4), 2016), in time cubic in the number of rows.
    """
    columns = np.asarray(slots)
    width = max(slots) // 8 + 1
    # What does not fit costs more than all that does could bring. Costs, not gains: for those the
    # solver would copy the whole.
    cost = np.full((len(rows), len(slots)), 1.0 + 100.0 * len(rows))
    for row, levels in zip(cost, rows, strict=True):
        for score, fitted in sorted(levels):
            octets = (fitted & (1 << 8 * width) - 1).to_bytes(width, "little")
            bits = np.unpackbits(np.frombuffer(octets, dtype=np.uint8), bitorder="little")
            row[bits[columns].astype(bool)] = -score
    _, chosen = linear_sum_assignment(cost)
    return [int(slot) for slot in columns[chosen]]
