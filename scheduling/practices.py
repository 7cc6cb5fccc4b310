"""Practices: what the files of opening hours say of them, row by row.

The format is that of NHS Choices: hours of a weekday (`General`), and of a date or a closed date
(`Additional`), and a directory of names. What is wrong with a row is told with its line.
"""

import csv
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import NamedTuple

from audit.errors import Refused
from scheduling.models import AvailabilityRule

HOURS = ("OrganisationId", "WeekDay", "Times", "IsOpen", "OpeningTimeType", "AdditonalOpeningDate")
DIRECTORY = ("OrganisationID", "OrganisationName", "City")

_WEEKDAYS = {str(day.label): day.value for day in AvailabilityRule.Weekday}
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_DAY = 24 * 60


class BadFile(Refused):
    """The file is not what it should be."""

    code = "bad_file"


@dataclass(frozen=True, slots=True)
class Remark:
    """What there is to say about a line of a file; the first line is 1."""

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}"


class Span(NamedTuple):
    """Hours in minutes since a midnight, at most a day long, and the line they stand in."""

    start: int
    end: int
    line: int


@dataclass(slots=True)
class Practice:
    """One practice: its hours by weekday and by date, and the dates on which it is closed."""

    line: int
    name: str = ""
    city: str = ""
    weekly: dict[int, list[Span]] = field(default_factory=lambda: defaultdict(list))
    special: dict[date, list[Span]] = field(default_factory=lambda: defaultdict(list))
    closed: dict[date, int] = field(default_factory=dict)


@dataclass(slots=True)
class Reading:
    """The practices by their ids, the rows left out, and what else should be known."""

    practices: dict[str, Practice] = field(default_factory=dict)
    bad_rows: list[Remark] = field(default_factory=list)
    warnings: list[Remark] = field(default_factory=list)


def read(*, hours: Path, directory: Path, slot_minutes: int) -> Reading:
    """Read opening hours, and names and cities from the directory; who is not in it is named by id.

    :raises BadFile: if a file lacks a column or is no CSV.
    :raises OSError: if a file cannot be read.
    """
    reading = Reading()
    _read_hours(path=hours, slot_minutes=slot_minutes, reading=reading)
    _read_directory(path=directory, reading=reading)
    for practice_id, practice in reading.practices.items():
        if not practice.name:
            practice.name = practice_id
            reason = f"practice {practice_id} is not in {directory.name}: named by its id"
            reading.warnings.append(Remark(hours.name, practice.line, reason))
    return reading


def _read_hours(*, path: Path, slot_minutes: int, reading: Reading) -> None:
    practices = reading.practices

    def take(line: int, row: Sequence[str]) -> None:
        practice_id, weekday, times, is_open, kind, day = row
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", practice_id):
            raise ValueError(f"there can be no practice {practice_id!r}")
        if is_open not in ("True", "False"):
            raise ValueError(f"IsOpen is {is_open!r}, not True or False")
        if bool(times) != (is_open == "True"):
            raise ValueError("open without times" if is_open == "True" else "closed with times")
        span = _span(times=times, line=line, least=slot_minutes) if times else None
        if kind == "General":
            if weekday not in _WEEKDAYS:
                raise ValueError(f"there is no weekday {weekday!r}")
            practice = practices.setdefault(practice_id, Practice(line))
            if span:
                practice.weekly[_WEEKDAYS[weekday]].append(span)
        elif kind == "Additional":
            on = _date(text=day)
            practice = practices.setdefault(practice_id, Practice(line))
            if span:
                practice.special[on].append(span)
            elif practice.closed.setdefault(on, line) != line:
                reading.warnings.append(
                    Remark(path.name, line, f"closed on {on} already in line {practice.closed[on]}")
                )
        else:
            raise ValueError(f"OpeningTimeType is {kind!r}, not General or Additional")

    _read(path=path, columns=HOURS, take=take, reading=reading)
    for practice in practices.values():
        _part_nights(practice=practice, file=path.name, reading=reading)
        for spans in (*practice.weekly.values(), *practice.special.values()):
            spans[:] = _merge(spans=spans, file=path.name, reading=reading)


def _read_directory(*, path: Path, reading: Reading) -> None:
    """Give practices their names and cities."""

    def take(line: int, row: Sequence[str]) -> None:
        practice_id, name, city = (" ".join(text.split()) for text in row)
        if not 1 <= len(name) <= 200:
            raise ValueError("a name has 1 to 200 characters")
        if len(city) > 100:
            raise ValueError("a city has at most 100 characters")
        practice = reading.practices.get(practice_id)
        if practice and practice.name:
            raise ValueError(f"practice {practice_id} was named already")
        if practice:
            practice.name, practice.city = name, city

    _read(path=path, columns=DIRECTORY, take=take, reading=reading)


def _read(
    *,
    path: Path,
    columns: Sequence[str],
    take: Callable[[int, Sequence[str]], None],
    reading: Reading,
) -> None:
    """Hand each row's columns to `take`; a ValueError from it, or from reading, is a bad row."""
    # UTF-8 with or without a mark; bytes that are not become surrogates, so that one row is bad.
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        lines = csv.reader(file)
        try:
            header = next(lines, [])
            if missing := [name for name in columns if name not in header]:
                raise BadFile(f"{path.name} has no column {', '.join(missing)}.")
            places = [header.index(name) for name in columns]
            for row in lines:
                if not row:
                    continue
                try:
                    if len(row) != len(header):
                        raise ValueError(f"{len(row)} columns instead of {len(header)}")
                    if not all(map(_is_text, row)):
                        raise ValueError("not UTF-8 text")
                    take(lines.line_num, [row[place].strip() for place in places])
                except ValueError as error:
                    reading.bad_rows.append(Remark(path.name, lines.line_num, str(error)))
        except csv.Error as error:
            raise BadFile(f"{path.name}:{lines.line_num}: {error}") from error


def _is_text(value: str) -> bool:
    return "\0" not in value and not any("\ud800" <= one <= "\udfff" for one in value)


def _span(*, times: str, line: int, least: int) -> Span:
    """Read `HH:MM-HH:MM`; an end at or before the start is next day's.

    :raises ValueError: if it is something else, or shorter than a slot.
    """
    match = re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d)-(24(?=:00)|[01]\d|2[0-3]):([0-5]\d)", times)
    if not match:
        raise ValueError(f"{times!r} is not HH:MM-HH:MM")
    hour, minute, end_hour, end_minute = map(int, match.groups())
    start, end = hour * 60 + minute, end_hour * 60 + end_minute
    span = Span(start, end if end > start else end + _DAY, line)
    if span.end - span.start < least:
        raise ValueError(f"{times} is shorter than a slot of {least} minutes")
    return span


def _date(*, text: str) -> date:
    """Read a date such as `Apr 18 2014` or `May  5 2014`.

    :raises ValueError: if it is something else.
    """
    match = re.fullmatch(rf"({'|'.join(_MONTHS)})\s+([0-9]{{1,2}})\s+([0-9]{{4}})", text)
    if not match:
        raise ValueError(f"{text!r} is not a date like Apr 18 2014")
    month, day, year = match.groups()
    try:
        return date(int(year), _MONTHS.index(month) + 1, int(day))
    except ValueError as error:
        raise ValueError(f"{text!r} is not a date: {error}") from error


def _merge(*, spans: Sequence[Span], file: str, reading: Reading) -> list[Span]:
    """Make one of overlapping hours of a day, with a warning; those that touch stay two."""
    merged: list[Span] = []
    for span in sorted(spans):
        before = merged[-1] if merged else Span(0, 0, 0)
        if span.start >= before.end:
            merged.append(span)
        elif max(span.end, before.end) - before.start > _DAY:
            reading.bad_rows.append(
                Remark(file, span.line, f"with line {before.line}, which it overlaps, over a day")
            )
        else:
            merged[-1] = before._replace(end=max(span.end, before.end))
            reading.warnings.append(
                Remark(file, span.line, f"overlaps line {before.line}: made one of the two")
            )
    return merged


def _part_nights(*, practice: Practice, file: str, reading: Reading) -> None:
    """Leave out hours that begin before those of the evening before have ended."""
    for weekday in sorted(practice.weekly):
        evening = practice.weekly.get((weekday - 2) % 7 + 1, [])
        end = max((span.end for span in evening), default=0) - _DAY
        kept = [span for span in practice.weekly[weekday] if span.start >= end]
        reading.bad_rows.extend(
            Remark(file, span.line, "begins before the hours of the evening before end")
            for span in practice.weekly[weekday]
            if span not in kept
        )
        practice.weekly[weekday] = kept
