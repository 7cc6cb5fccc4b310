"""Bench of slot generation, on real opening hours: against copying the same rows in."""

from datetime import date
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from django.core.management import call_command
from django.db import connection

from bench import databases
from bench.measures import WITHOUT_TRIGGERS, Result, Sample, median, peak, sample
from bench.worlds import NOW
from scheduling import generation
from scheduling.models import Slot

FIRST, LAST = date(2014, 3, 24), date(2014, 4, 20)


def bench_generate(*, hours: Path, practices: Path, runs: int) -> Result:
    """Generate four weeks of all practices, and again: against COPY of the same rows."""
    ours: list[Sample] = []
    again: list[Sample] = []
    floor: list[Sample] = []
    bare: list[Sample] = []

    def build() -> None:
        call_command(
            "import_availability", str(hours), practices=practices, tenant="nhs",
            timezone="Europe/London", slot_minutes=30, verbosity=0,
        )  # fmt: skip

    with databases.world(build=build), TemporaryFile() as file:
        for number in range(runs):
            with databases.copy():
                ours.append(sample(_generate))
                again.append(sample(_generate))
                if number == 0:
                    made = Slot.objects.count()
                    _copy_out(file)
            for samples in (floor, bare):
                with databases.copy():
                    if samples is bare:
                        databases.drop_triggers()
                    samples.append(sample(lambda: _copy_in(file)))
    return Result(
        bench="generate",
        sizes={"from": str(FIRST), "to": str(LAST), "slots": made},
        seconds={
            "first": median(ours), "second": median(again), "floor": median(floor),
            "bare": median(bare),
        },
        targets={
            "to the floor": (median(ours) / median(floor), 2.0),
            "second to first": (median(again) / median(ours), 0.5),
            "slots of the second": (again[0].value, 0),
        },
        queries=ours[0].queries,
        peak_mb=peak([*ours, *again]),
        found={WITHOUT_TRIGGERS: round(median(ours) / median(bare), 3)},
    )  # fmt: skip


def _generate() -> int:
    return generation.generate(now=NOW, first=FIRST, last=LAST).created


def _copy_out(file: IO[bytes]) -> None:
    with (
        connection.cursor() as cursor,
        cursor.copy("COPY scheduling_slot TO STDOUT (FORMAT binary)") as rows,
    ):
        for block in rows:
            file.write(block)


def _copy_in(file: IO[bytes]) -> None:
    file.seek(0)
    with (
        connection.cursor() as cursor,
        cursor.copy("COPY scheduling_slot FROM STDIN (FORMAT binary)") as rows,
    ):
        while block := file.read(1 << 20):
            rows.write(block)
