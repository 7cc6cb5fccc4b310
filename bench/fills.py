"""Benches of the fill: a whole scan, one slot of a long queue, scans that find nothing to do."""

from collections.abc import Collection, Sequence
from datetime import datetime
from itertools import groupby
from uuid import UUID

import psycopg
from django.db import connection, transaction

from audit import sql
from bench import databases, textbook, worlds
from bench.measures import WITHOUT_TRIGGERS, Result, Sample, median, peak, sample
from bench.worlds import NOW
from scheduling.models import Slot
from waitlist import fill
from waitlist.models import Hold, WaitlistPolicy

#: Facility, slot, entry, score and deadline of an offer.
Known = tuple[UUID, UUID, UUID, int, datetime]


def bench_fill(*, facilities: int, slots: int, waiting: int, loop: int, runs: int) -> Result:
    """Scan everything once: against writing the same rows, and against the textbook's loop.

    The loop fills `loop` of the facilities; its time is counted for all of them.
    """
    kinds: dict[str, list[Sample]] = {
        name: [] for name in ("best_score", "max_fill", "floor", "bare", "textbook")
    }
    with databases.world(
        build=lambda: worlds.make(facilities=facilities, slots=slots, waiting=waiting)
    ):
        for number in range(runs + 1):
            for matching in ("best_score", "max_fill"):
                with databases.copy():
                    WaitlistPolicy.objects.update(matching=matching)
                    kinds[matching].append(sample(scan))
                    if matching == "best_score":
                        known = _known()
            for name in ("floor", "bare"):
                with databases.copy():
                    if name == "bare":
                        databases.drop_triggers()
                    kinds[name].append(_write(known))
            with databases.copy():
                kinds["textbook"].append(sample(lambda: textbook.fill(facilities=loop, now=NOW)))
            if number == 0:  # what is imported, planned and cached the first time is not counted
                kinds = {name: [] for name in kinds}
    offers = {
        name: samples[0].value["offers"] for name, samples in kinds.items() if samples[0].value
    }
    ours, floor = median(kinds["best_score"]), median(kinds["floor"])
    looped = median(kinds.pop("textbook")) * facilities / loop
    return Result(
        bench="fill",
        sizes={"facilities": facilities, "slots": slots, "waiting": waiting, "loop": loop},
        seconds={
            **{name: median(samples) for name, samples in kinds.items()},
            "textbook": looped,
        },
        targets={
            "to the floor": (ours / floor, 2.0),
            "to the textbook, times 50": (50 * ours / looped, 1.0),
            "max_fill to best_score": (median(kinds["max_fill"]) / ours, 1.5),
        },
        queries=kinds["best_score"][0].queries,
        peak_mb=peak([*kinds["best_score"], *kinds["max_fill"]]),
        found={
            "offers": offers,
            WITHOUT_TRIGGERS: round(ours / median(kinds["bare"]), 3),
        },
    )


def bench_fill_one(*, waiting: Sequence[int], fit: str, runs: int) -> Result:
    """Fill one freed slot, for queues of growing length at one facility; then scan once more."""
    found: dict[int, list[Sample]] = {}
    again: dict[int, Sample] = {}
    for length in waiting:
        with databases.world(
            build=lambda length=length: worlds.make(  # type: ignore[misc]
                facilities=1, slots=1, waiting=length, fit=fit
            )
        ):
            found[length] = []
            for _ in range(runs + 1):
                with databases.copy():
                    found[length].append(sample(_fill_freed))
                    again[length] = sample(scan)
            del found[length][0]
    first, last = found[waiting[0]], found[waiting[-1]]
    ratio = median(last) / median(first)
    queries = {length: samples[0].queries for length, samples in found.items()}
    return Result(
        bench=f"fill-one --fit {fit}",
        sizes={"facilities": 1, "slots": 1, "waiting": list(waiting)},
        seconds={str(length): median(samples) for length, samples in found.items()},
        targets={
            # Where nobody fits, all have to be read: that is stated, and paid once.
            **(
                {}
                if fit == "none"
                else {
                    "longest to shortest queue": (ratio, 1.5),
                    "statements more than for the shortest": (
                        max(queries.values()) - queries[waiting[0]],
                        0,
                    ),
                }
            ),
            "slots tried again": (
                max(one.value["offers"] + one.value["fruitless"] for one in again.values()),
                0,
            ),
        },
        queries=max(queries.values()),
        peak_mb=max(peak(samples) for samples in found.values()),
        found={
            "offers": {str(n): samples[0].value["offers"] for n, samples in found.items()},
            "queries": {str(n): count for n, count in queries.items()},
            "longest to shortest queue": round(ratio, 3),
            "second scan, seconds": {str(n): round(one.seconds, 6) for n, one in again.items()},
        },
    )


def bench_fill_stale(*, facilities: int, slots: int, waiting: int, runs: int) -> Result:
    """Scan a second time where nobody fits anything: what production does most of the time.

    At each facility a slot is hidden by a booking besides, for which people wait.
    """
    with databases.world(
        build=lambda: worlds.make(
            facilities=facilities, slots=slots, waiting=waiting, fit="none", hidden=1
        )
    ):
        first = sample(scan)
        databases.settle()
        ours, floor = _against_probe(runs)
    return Result(
        bench="fill-stale",
        sizes={"facilities": facilities, "slots": slots, "hidden": 1, "waiting": waiting},
        seconds={"first": first.seconds, "second": median(ours), "floor": median(floor)},
        targets={
            "to the floor": (median(ours) / median(floor), 2.0),
            "facilities tried again": (ours[0].value["facilities"], 0),
        },
        queries=ours[0].queries,
        peak_mb=peak([first, *ours]),
        found={"first": first.value, "second": ours[0].value},
    )


def bench_fill_idle(*, facilities: int, waiting: int, runs: int) -> Result:
    """Scan where many wait and nothing is open."""
    with databases.world(
        build=lambda: worlds.make(facilities=facilities, slots=0, waiting=waiting)
    ):
        ours, floor = _against_probe(runs)
        read = _rows_read()
    return Result(
        bench="fill-idle",
        sizes={"facilities": facilities, "slots": 0, "waiting": waiting},
        seconds={"ours": median(ours), "floor": median(floor)},
        targets={
            "to the floor": (median(ours) / median(floor), 2.0),
            "rows of slots and entries read": (read, 0),
        },
        queries=ours[0].queries,
        peak_mb=peak(ours),
    )


def scan() -> dict[str, int]:
    """Do what the periodic scan does, in this process."""
    done = {"facilities": 0, "offers": 0, "fruitless": 0, "clashes": 0}
    for facility in fill.facilities(now=NOW):
        done["facilities"] += 1
        for what, count in _fill(facility=facility).items():
            done[what] += count
    return done


def _fill(*, facility: UUID, changed: Collection[UUID] | None = None) -> dict[str, int]:
    done = {"offers": 0, "fruitless": 0, "clashes": 0}
    for filled in fill.passes(facility_id=facility, clock=lambda: NOW, changed=changed):
        done["offers"] += filled.offers
        done["fruitless"] += filled.fruitless
        done["clashes"] += filled.clashes
    return done


def _fill_freed() -> dict[str, int]:
    """Do what the worker does when the one open slot was freed."""
    slot = Slot.objects.get(status=Slot.Status.OPEN)
    return _fill(facility=slot.facility_id, changed=[slot.pk])


def _known() -> list[Known]:
    """Return the offers that were made, by facility."""
    made = Hold.objects.filter(status=Hold.Status.OFFERED, slot__isnull=False)
    return list(
        made.order_by("facility", "entry").values_list(
            "facility", "slot", "entry", "score", "expires_at"
        )
    )


def _write(known: list[Known]) -> Sample:
    """Write offers that are known by one prepared statement for each facility."""
    batches = [
        [list(column) for column in zip(*rows, strict=True)][1:]
        for _, rows in groupby(known, key=lambda row: row[0])
    ]
    connection.ensure_connection()
    session = connection.connection

    def work() -> None:
        for slots, entries, scores, deadlines in batches:
            with transaction.atomic():
                cursor.execute(statement, [slots, entries, scores, deadlines, NOW], prepare=True)

    # Django's cursor binds on this side; this one lets the server prepare the statement.
    with psycopg.RawCursor(session) as cursor:
        statement = sql.text(app="bench", name="write_known")
        return sample(work)


def _against_probe(runs: int) -> tuple[list[Sample], list[Sample]]:
    """Scan and probe by turns, in many runs, since both take less than a millisecond."""
    ours, floor = [], []
    for _ in range(20 * runs):
        ours.append(sample(scan))
        floor.append(sample(_probe))
    return ours[runs:], floor[runs:]


def _probe() -> None:
    """Ask one index, once for each facility, whether a slot is open."""
    sql.run(app="bench", name="probe_open_slots", params={"now": NOW})


def _rows_read() -> int:
    """Count the rows of slots and entries that one scan reads."""
    before = _read_so_far()
    scan()
    return _read_so_far() - before


def _read_so_far() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute(
            "SELECT coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), 0)"
            " FROM pg_stat_user_tables"
            " WHERE relname IN ('scheduling_slot', 'waitlist_waitlistentry')"
        )
        return int(cursor.fetchone()[0])
