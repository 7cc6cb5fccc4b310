"""What a bench measures and prints."""

import pytest

from bench.management.commands import bench
from bench.measures import WITHOUT_TRIGGERS, Result, sample


def _result(*, peak_mb: float) -> Result:
    return Result(
        bench="fill", sizes={"slots": 2}, seconds={"ours": 0.5, "floor": 0.4},
        targets={"to the floor": (1.25, 2.0), "to the loop": (0.5, 1.0)}, queries=7,
        peak_mb=peak_mb, found={WITHOUT_TRIGGERS: 1.5},
    )  # fmt: skip


@pytest.mark.django_db
def test_memory_counts_from_the_call_on() -> None:
    large = sample(lambda: len(bytearray(b"x") * (200 << 20)))
    small = sample(lambda: None)
    assert large.peak_mb - small.peak_mb > 190
    assert large.value == 200 << 20


def test_a_worker_that_takes_too_much_misses() -> None:
    assert _result(peak_mb=299).is_met
    assert not _result(peak_mb=301).is_met
    told = _result(peak_mb=301).as_json()
    assert told["ratios"]["peak memory, MB"] == {"reached": 301, "at_most": 300}
    assert told["ratios"]["to the floor"] == {"reached": 1.25, "at_most": 2.0}


def test_the_table_says_what_is_the_same_for_all_targets_once() -> None:
    assert bench.rows(_result(peak_mb=120)) == [
        "| fill | to the floor | 1.25 | 2 | 1.50 | 7 | 120 | slots 2 | ours 0.5, floor 0.4 |",
        "| fill | to the loop | 0.50 | 1 | | | | | |",
    ]
