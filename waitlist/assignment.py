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
    kept = sum(1 << slot for slot in slots)
    width = (kept.bit_length() + 7) // 8
    # What does not fit costs more than all that does could bring.
    value = np.full((len(rows), width * 8), -1.0 - 100.0 * len(rows))
    for row, levels in zip(value, rows, strict=True):
        for score, fitted in sorted(levels):
            octets = np.frombuffer((fitted & kept).to_bytes(width, "little"), dtype=np.uint8)
            row[np.unpackbits(octets, bitorder="little").astype(bool)] = score
    columns = np.asarray(slots)
    _, chosen = linear_sum_assignment(value[:, columns], maximize=True)
    return [int(slot) for slot in columns[chosen]]
