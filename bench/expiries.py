"""Bench of expiry: holds that are all due at once, requeued in batches."""

import time
from datetime import timedelta
from typing import Any

from django.db import connection, transaction

from audit import sql
from bench import databases, worlds
from bench.fills import scan
from bench.measures import WITHOUT_TRIGGERS, Result, Sample, median, peak, sample
from bench.worlds import NOW
from waitlist import holds
from waitlist.models import Hold
from waitlist.tasks import LIMIT

LATER = NOW + timedelta(hours=25)  # past the deadline of every hold


def bench_expire(*, facilities: int, slots: int, waiting: int, runs: int) -> Result:
    """Let all holds lapse: against writing the same rows by their ids, one statement each."""
    ours: list[Sample] = []
    floor: list[Sample] = []
    bare: list[Sample] = []

    def build() -> None:
        worlds.make(facilities=facilities, slots=slots, waiting=waiting)
        scan()

    with databases.world(build=build):
        due = Hold.objects.filter(status=Hold.Status.OFFERED).count()
        for _ in range(runs + 1):
            with databases.copy():
                ours.append(sample(_expire))
                known = _known()
            for samples in (floor, bare):
                with databases.copy():
                    if samples is bare:
                        databases.drop_triggers()
                    _load(known)
                    samples.append(sample(_write))
    del ours[0], floor[0], bare[0]
    longest = max(one.value["longest"] for one in ours)
    return Result(
        bench="expire",
        sizes={"facilities": facilities, "holds": due, "batch": LIMIT},
        seconds={"ours": median(ours), "floor": median(floor), "bare": median(bare)},
        targets={
            "to the floor": (median(ours) / median(floor), 2.0),
            "longest batch, seconds": (longest, 0.2),
        },
        queries=ours[0].queries,
        peak_mb=peak(ours),
        found={
            "expired": ours[0].value["expired"],
            WITHOUT_TRIGGERS: round(median(ours) / median(bare), 3),
        },
    )


def _expire() -> dict[str, Any]:
    """Do what the sweep does; its locks are held as long as a batch takes."""
    expired, longest = 0, 0.0
    while True:
        start = time.perf_counter()
        done = holds.expire_due(now=LATER, limit=LIMIT)
        longest = max(longest, time.perf_counter() - start)
        if not done:
            return {"expired": expired, "longest": longest}
        expired += done


def _known() -> list[bytes]:
    """Return the events that the sweep wrote, as PostgreSQL copies rows."""
    with (
        connection.cursor() as cursor,
        cursor.copy(
            "COPY (SELECT * FROM audit_event WHERE at = %s) TO STDOUT (FORMAT binary)", [LATER]
        ) as rows,
    ):
        return [bytes(block) for block in rows]


def _load(known: list[bytes]) -> None:
    """Put the known events where the floor reads them."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE known_event (LIKE audit_event)")
        with cursor.copy("COPY known_event FROM STDIN (FORMAT binary)") as rows:
            for block in known:
                rows.write(block)
        cursor.execute("ANALYZE known_event")


@transaction.atomic
def _write() -> None:
    with connection.cursor() as cursor:
        for statement in sql.text(app="bench", name="write_expiries").split(";"):
            cursor.execute(statement, {"now": LATER})
