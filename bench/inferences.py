"""Bench of inference: what the signals of 90 days make of each venue."""

from datetime import timedelta
from typing import Any

from django.db import connection

from audit import sql
from availability import signals, statuses
from bench import databases
from bench.measures import Result, Sample, median, peak, sample
from bench.worlds import NOW

BEFORE = NOW - timedelta(hours=6)  # the run before


def bench_infer(*, venues: int, recorded: int, runs: int) -> Result:
    """Infer all venues, six hours after the last time: against grouping their signals."""
    ours: list[Sample] = []
    floor: list[Sample] = []
    first: list[Sample] = []

    def build() -> None:
        with connection.cursor() as cursor:
            given: dict[str, Any] = {"venues": venues, "signals": recorded, "now": NOW}
            cursor.execute(sql.text(app="bench", name="make_venues"), given)
            cursor.execute("ANALYZE")

    def build_twice() -> None:
        build()
        statuses.infer(now=BEFORE)

    with databases.world(build=build_twice):
        for _ in range(runs + 1):
            with databases.copy():
                floor.append(sample(_group))
                ours.append(sample(_infer))
    with databases.world(build=build):
        for _ in range(runs + 1):
            with databases.copy():
                first.append(sample(_infer))
    del ours[0], floor[0], first[0]  # what is planned and cached the first time is not counted
    return Result(
        bench="infer",
        sizes={"venues": venues, "signals": recorded},
        seconds={"ours": median(ours), "floor": median(floor), "all anew": median(first)},
        targets={"to the floor": (median(ours) / median(floor), 1.5)},
        queries=ours[0].queries,
        peak_mb=peak(ours),
        found={
            "changed": ours[0].value.changed,
            "changed, all anew": first[0].value.changed,
        },
    )


def _infer() -> statuses.Inferred:
    return statuses.infer(now=NOW)


def _group() -> int:
    with connection.cursor() as cursor:
        given = {"now": NOW, "since": NOW - signals.PERIOD}
        cursor.execute(sql.text(app="bench", name="group_signals"), given)
        return len(cursor.fetchall())
