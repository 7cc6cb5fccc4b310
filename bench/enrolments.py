"""Enrolments: seats and waitlists of course sections over time, as a script to replay.

The format is that of UCSD-Historical-Enrollment-Data, as changes: time_local, course, section,
enrolled, available, waitlisted, total, marker (1 first sample, 0 change, 2 end of observation).

How a section is played. It is a facility, each seat a provider with one slot; all slots begin after
the end of observation, so that any seat can be offered at any time. Nobody is told apart in the
data: everyone who enrols or joins is another person, and chance, by the seed, says who cancels.

- Seats: enrolled + available, which is total, or more where a department enrols beyond it. Seats
  that go are blocked, free ones first; seats that come are unblocked or made.
- A rise of waitlisted: joins. A fall of enrolled: cancellations.
- Enrolled up while waitlisted falls: the real system's own matches. They are not replayed, Backfill
  makes its own; a seat that was made for such a match is there for the next in the queue.
- Any other rise of enrolled: direct enrolments. They take a free seat that is not held; who finds
  none, since Backfill gave it to somebody who waited, is turned away and counted.
- Any other fall of waitlisted: people who leave the waitlist.
- In one change cancellations come first, then seats, direct enrolments, leavers, joins.
- A section whose total is ever 9999 has no limit, so nothing to refill: left out and counted.

What the data say of the real system is the same as is measured of ours: for how long, in one spell,
a seat stood open while people waited. There a spell is seen if it outlasts a sample of ten minutes.
"""

import csv
import gzip
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain, pairwise
from pathlib import Path
from typing import NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.backends.postgresql.psycopg_any import DateTimeTZRange

from bench.figures import percentile
from bench.places import Place
from bench.players import MINUTE, Player
from bench.scripts import BadFile, Script, open_text

COLUMNS = (
    "time_local", "course", "section", "enrolled", "available", "waitlisted", "total", "marker",
)  # fmt: skip
ZONE = "America/Los_Angeles"
UNLIMITED = 9999
FIRST, LAST = 1, 2


class Sample(NamedTuple):
    """What a section was like at a time."""

    at: datetime
    enrolled: int
    available: int
    waitlisted: int
    total: int

    @property
    def seats(self) -> int:
        """The seats that are taken or may be."""
        return self.enrolled + self.available


class Change(NamedTuple):
    """What happened between two samples."""

    cancelled: int
    seats: int
    direct: int
    left: int
    joined: int
    matched: int


def read(*, path: Path) -> Script:
    """Read a file of changes.

    :raises BadFile: naming the line and the field that is wrong.
    :raises OSError: if the file cannot be read.
    """
    sections = _read(path=path)
    if not sections:
        raise BadFile(file=path.name, line=1, reason="there is no section in it")
    limited = {
        name: samples
        for name, samples in sections.items()
        if all(sample.total != UNLIMITED for sample in samples)
    }
    spells = [minutes for samples in limited.values() for minutes in _spells(samples)]
    open_yet = sum(_stands(samples[-1]) for samples in limited.values())
    ends_at = max(samples[-1].at for samples in sections.values())
    changes = {
        name: [(later.at, change(before=before, after=later))
               for before, later in pairwise(samples)]
        for name, samples in limited.items()
    }  # fmt: skip
    every = [one for timed in changes.values() for _, one in timed]
    # Who is there from the start counts as one who came.
    starts = [samples[0] for samples in limited.values()]
    joined = sum(one.joined for one in every) + sum(start.waitlisted for start in starts)
    direct = sum(one.direct for one in every) + sum(start.enrolled for start in starts)
    # All seats of all sections lie on a day when the observation is over.
    day = ends_at + timedelta(days=30)
    period = DateTimeTZRange(day, day + timedelta(hours=1))
    steps = [
        (samples[0].at, partial(_start, name=name, sample=samples[0], period=period))
        for name, samples in limited.items()
    ] + [
        (at, partial(_move, name=name, change=one, period=period))
        for name, timed in changes.items()
        for at, one in timed
    ]
    return Script(
        timezone=ZONE,
        facilities=list(limited),
        people=joined + direct,
        place=Section,
        steps=sorted(steps, key=lambda step: step[0]),
        ends_at=ends_at,
        observed={
            "seats refilled": sum(one.matched for one in every),
            "spells a seat stood open while people waited": len(spells),
            "minutes of a spell, median": percentile(values=spells, of=50) or 0,
            "minutes of a spell, 95th percentile": percentile(values=spells, of=95) or 0,
            "joined": joined,
            "left the waitlist": sum(one.left for one in every),
            "waiting at the end": sum(samples[-1].waitlisted for samples in limited.values()),
            "booked directly": direct,
            "cancelled": sum(one.cancelled for one in every),
        },
        hidden=frozenset(),
        assumptions=(
            "A section is a facility with as many seats as enrolled + available; seats that go are"
            " blocked, seats that come are open to all.",
            "Joins, cancellations, direct enrolments and leavers are the file's; who cancels or"
            " leaves is drawn by chance. Its matches are left to Backfill.",
            "A direct enrolment that finds no seat, since Backfill gave it to one who waited, is"
            " turned away.",
            "Observed are spells in which a seat stood open while people waited, sampled every ten"
            " minutes, whatever the reason; ours are measured in the same way to the second.",
        ),
        remarks=(
            f"{len(sections)} sections, {len(limited)} played;"
            f" {len(sections) - len(limited)} without a limit (total {UNLIMITED}) left out.",
            f"{len(spells)} spells observed, and {open_yet} that had not ended with the data.",
        ),
    )


def change(*, before: Sample, after: Sample) -> Change:
    """Say what happened between two samples."""
    enrolled = after.enrolled - before.enrolled
    waitlisted = after.waitlisted - before.waitlisted
    matched = max(0, min(enrolled, -waitlisted))
    return Change(
        cancelled=max(0, -enrolled),
        seats=after.seats - before.seats,
        direct=max(0, enrolled) - matched,
        left=max(0, -waitlisted) - matched,
        joined=max(0, waitlisted),
        matched=matched,
    )


def _read(*, path: Path) -> dict[str, list[Sample]]:
    sections: dict[str, list[Sample]] = defaultdict(list)
    ended: set[str] = set()
    with open_text(path=path) as file:
        rows = csv.DictReader(file, restval="")
        try:
            for missing in [name for name in COLUMNS if name not in (rows.fieldnames or ())]:
                raise BadFile(file=path.name, line=1, reason=f"there is no column {missing}")
            for row in rows:
                try:
                    _take(row, sections, ended)
                except ValueError as error:
                    reason = str(error)
                    raise BadFile(file=path.name, line=rows.line_num, reason=reason) from None
        except (csv.Error, UnicodeDecodeError, EOFError, gzip.BadGzipFile) as error:
            raise BadFile(file=path.name, line=rows.line_num, reason=str(error)) from None
    return dict(sections)


def _take(row: dict[str, str], sections: dict[str, list[Sample]], ended: set[str]) -> None:
    name = f"{row['course']} {row['section']}"
    try:
        at = datetime.fromisoformat(row["time_local"]).replace(tzinfo=ZoneInfo(ZONE))
    except ValueError:
        raise ValueError(f"time_local is {row['time_local']!r}, not a time") from None
    sample = Sample(
        at.astimezone(UTC),
        *(_count(row, column) for column in ("enrolled", "available", "waitlisted", "total")),
    )
    marker, samples = _count(row, "marker"), sections[name]
    if marker > LAST:
        raise ValueError(f"marker is {marker}, not 0, 1 or 2")
    if (marker == FIRST) == bool(samples):
        raise ValueError(f"marker is {marker}, yet {name} has {len(samples)} samples before it")
    if name in ended:
        raise ValueError(f"marker of {name} was 2 before, the end of observation")
    if samples and sample.at < samples[-1].at:
        raise ValueError(f"time_local of {name} goes back")
    if marker == LAST:
        ended.add(name)
    samples.append(sample)


def _count(row: dict[str, str], column: str) -> int:
    text = row[column]
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{column} is {text!r}, not a number")
    return int(text)


def _stands(sample: Sample) -> bool:
    return sample.available > 0 and sample.waitlisted > 0


def _spells(samples: list[Sample]) -> Iterator[float]:
    """Yield the minutes of each spell that ended in which a seat stood open while people waited."""
    since = None
    for sample in samples:
        if _stands(sample) and since is None:
            since = sample.at
        elif not _stands(sample) and since is not None:
            yield (sample.at - since) / MINUTE
            since = None


@dataclass(slots=True)
class Section(Place):
    """A section: the provider that stands for the seat of a slot, and what chance has decided."""

    providers: dict[UUID, UUID] = field(default_factory=dict)
    drawn: int = 0


def _start(player: Player, *, name: str, sample: Sample, period: DateTimeTZRange) -> None:
    """Bring a section into the state of its first sample."""
    _move(
        player,
        name=name,
        change=Change(0, sample.seats, sample.enrolled, 0, sample.waitlisted, 0),
        period=period,
    )


def _move(player: Player, *, name: str, change: Change, period: DateTimeTZRange) -> None:
    """Play what happened between two samples of a section."""
    section = player.named[name]
    assert isinstance(section, Section)
    for _ in range(change.cancelled):
        _draw(player, section, section.booked, player.cancel)
    if change.seats > 0:
        _add_seats(player, section, change.seats, period)
    for _ in range(-change.seats):
        slot = next(chain(section.open, section.held, _unblocked(section)), None)
        if slot is not None:
            provider = section.providers[slot]
            player.block(place=section, slot=slot, period=period, provider=provider)
    for _ in range(change.direct):
        person = player.next_person()
        slot = next(iter(section.open), None)
        if slot is None:
            player.figures.counts["turned away"] += 1
        else:
            player.book(place=section, slot=slot, person=person)
    for _ in range(change.left):
        _draw(player, section, section.waiting | section.offered, player.leave)
    for _ in range(change.joined):
        player.join(place=section, person=player.next_person(), wishes={})


def _unblocked(section: Section) -> list[UUID]:
    """Return the booked seats that could be blocked, so that they go when they are cancelled."""
    return [slot for slot in section.booked if slot not in section.blocks]


def _add_seats(player: Player, section: Section, number: int, period: DateTimeTZRange) -> None:
    """Unblock seats, first those that somebody sits on, and make those that are missing."""
    taken = sorted(section.blocks, key=lambda slot: slot not in section.booked)
    for slot in taken[:number]:
        player.unblock(place=section, slot=slot)
    missing = number - len(taken)
    if missing > 0:
        for provider in player.make_providers(place=section, number=missing):
            slot = player.make_slot(place=section, provider=provider, period=period)
            section.providers[slot] = provider
            player.touch(place=section, what=slot)


def _draw(
    player: Player, section: Section, among: Mapping[UUID, object], act: Callable[..., None]
) -> None:
    """Do something to one of those there are, drawn by chance."""
    if not among:
        player.figures.counts["nobody left"] += 1
        return
    section.drawn += 1
    act(section, player.dice(section.name, section.drawn).choice(list(among)))
