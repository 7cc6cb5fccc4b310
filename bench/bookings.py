"""Bookings: two hotels' bookings with their lead times and waiting lists, as a script to replay.

The format is that of Antonio, de Almeida and Nunes, Hotel booking demand datasets (Data in Brief
22, 2019, doi 10.1016/j.dib.2018.11.126). It has dates only: booked = arrival minus lead_time; with
days_in_waiting_list > 0 the booking waited from then on; cancelled on reservation_status_date.

How a hotel is played. It is a facility, each room a provider; a slot is a whole stay in a room,
from 18:00 on the day of arrival to 11:00 on that of departure. Each row is another guest, and rooms
are alike.

- Rooms: capacity is not in the data, so it is the most that stayed in one night (226 and 187 in the
  published file).
- A booking that did not wait takes the first room that is free for all its nights, in the order of
  the rooms; who finds none (hotels overbook) is turned away and counted. A stay that nobody had
  before was open to nobody who waits, so such bookings are written many at once.
- A cancelled stay is open as a whole, until somebody's booking takes the room. It is offered to who
  waits for these very nights: a longer stay is not cut, and two are not put together.
- A booking that waited joins on the day it was booked and wants its own nights. Rooms that nobody
  had are not offered to it: most who waited did so while the hotel was far from full, for a reason
  that the data do not tell (an allotment, a rate). Its match in the data is not replayed, Backfill
  makes its own. On the day on which it was cancelled it leaves, or gives back what it got; who got
  nothing by the day of arrival expires.
- Bookings and joins fall between 08:00 and 13:00, cancellations between 13:00 and 18:00, by chance;
  rows that are alike, as those of a group, at the same minute.
- No-shows keep their room. Stays of no nights take none: left out and counted.
"""

import csv
import gzip
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from pathlib import Path
from random import Random
from typing import NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.backends.postgresql.psycopg_any import DateTimeTZRange

from bench.figures import percentile
from bench.places import Opening, Place
from bench.players import Player
from bench.scripts import BadFile, Script, open_text

ZONE = "Europe/Lisbon"
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
CANCELED = "Canceled"
STATUSES = (CANCELED, "Check-Out", "No-Show")
COLUMNS = (
    "hotel", "lead_time", "arrival_date_year", "arrival_date_month", "arrival_date_day_of_month",
    "stays_in_weekend_nights", "stays_in_week_nights", "children", "country", "agent", "company",
    "days_in_waiting_list", "adr", "reservation_status", "reservation_status_date",
)  # fmt: skip
CHECK_IN, CHECK_OUT = time(18), time(11)
EPOCH = date(2000, 1, 1)


class Booking(NamedTuple):
    """A row."""

    hotel: str
    booked: date
    arrival: date
    nights: int
    waited: int  # days
    status: str
    status_on: date

    @property
    def cancelled(self) -> bool:
        """Whether it was cancelled."""
        return self.status == CANCELED

    @property
    def departure(self) -> date:
        """The day of leaving."""
        return self.arrival + timedelta(days=self.nights)

    @property
    def mask(self) -> int:
        """The nights as bits."""
        return (1 << self.nights) - 1 << (self.arrival - EPOCH).days


def read(*, path: Path, seed: int) -> Script:
    """Read a file of bookings, and draw the minutes of what happened.

    :raises BadFile: naming the line and the field that is wrong.
    :raises OSError: if the file cannot be read.
    """
    rows, oddities = _read(path=path)
    stays = [row for row in rows if row.nights]
    if not stays:
        raise BadFile(file=path.name, line=1, reason="there is no stay in it")
    rooms = _rooms(stays)
    steps = []
    for person, row in enumerate(stays):
        begin = _join if row.waited else _book
        steps.append((_minute(row, seed, on=row.booked, hour=8), partial(begin, person, row)))
        if row.cancelled:
            at = _minute(row, seed, on=row.status_on, hour=13)
            steps.append((at, partial(_cancel, person, row)))
    waits = [row.waited for row in stays if row.waited]
    matched = [
        row.waited
        for row in stays
        if row.waited
        and not (row.cancelled and row.booked + timedelta(days=row.waited) == row.status_on)
    ]
    return Script(
        timezone=ZONE,
        facilities=list(rooms),
        people=len(stays),
        place=lambda name, facility_id: Hotel(name, facility_id, size=rooms[name]),
        steps=sorted(steps, key=lambda step: step[0]),
        ends_at=_local(max(row.departure for row in stays), CHECK_OUT),
        observed={
            "days from joining to the seat, median": percentile(values=matched, of=50) or 0,
            "joined": len(waits),
            "seats refilled": len(matched),
        },
        hidden=frozenset(
            {
                "spells a seat stood open while people waited",
                "minutes of a spell, median",
                "minutes of a spell, 95th percentile",
            }
        ),
        assumptions=(
            "A hotel is a facility, a room a provider, a slot a whole stay in it; rooms are alike: "
            + ", ".join(f"{name} {number}" for name, number in rooms.items())
            + ", the most that stayed in one night.",
            "Who waited wants their own nights and is offered stays that were cancelled, whole, not"
            " rooms that were never sold; the data's own matches are left to Backfill.",
            "A booking that did not wait takes the first free room, be it one that is open for the"
            " waitlist; days are the file's, minutes by chance between 08:00 and 18:00.",
            "Observed are matches by whatever freed or opened a room for them.",
        ),
        remarks=(
            f"{len(rows)} rows: {len(stays)} played, {len(rows) - len(stays)} stays of no nights"
            " left out.",
            "Odd values that a replay needs not, in rows that are played: "
            + (", ".join(f"{number} {what}" for what, number in sorted(oddities.items())) or "none")
            + ".",
        ),
    )


def _read(*, path: Path) -> tuple[list[Booking], Counter[str]]:
    oddities: Counter[str] = Counter()
    found: list[Booking] = []
    with open_text(path=path) as file:
        rows = csv.DictReader(file, restval="")
        try:
            for missing in [name for name in COLUMNS if name not in (rows.fieldnames or ())]:
                raise BadFile(file=path.name, line=1, reason=f"there is no column {missing}")
            for row in rows:
                try:
                    found.append(_booking(row))
                except ValueError as error:
                    reason = str(error)
                    raise BadFile(file=path.name, line=rows.line_num, reason=reason) from None
                for column in ("children", "country", "agent", "company"):
                    if row[column] in ("NULL", "NA"):
                        oddities[f"{column} {row[column]}"] += 1
                oddities["adr below 0"] += float(row["adr"]) < 0
        except (csv.Error, UnicodeDecodeError, EOFError, gzip.BadGzipFile) as error:
            raise BadFile(file=path.name, line=rows.line_num, reason=str(error)) from None
    return found, +oddities


def _booking(row: dict[str, str]) -> Booking:
    month = row["arrival_date_month"]
    if month not in MONTHS:
        raise ValueError(f"arrival_date_month is {month!r}, not a month")
    year, day = (_count(row, f"arrival_date_{part}") for part in ("year", "day_of_month"))
    try:
        arrival = date(year, MONTHS.index(month) + 1, day)
    except ValueError:
        raise ValueError(f"arrival_date_day_of_month: no {day} {month} {year}") from None
    try:
        status_on = date.fromisoformat(row["reservation_status_date"])
    except ValueError:
        text = row["reservation_status_date"]
        raise ValueError(f"reservation_status_date is {text!r}, not a date") from None
    try:
        float(row["adr"])
    except ValueError:
        raise ValueError(f"adr is {row['adr']!r}, not a number") from None
    status = row["reservation_status"]
    if status not in STATUSES:
        raise ValueError(f"reservation_status is {status!r}, not one of {', '.join(STATUSES)}")
    booking = Booking(
        hotel=row["hotel"],
        booked=arrival - timedelta(days=_count(row, "lead_time")),
        arrival=arrival,
        nights=_count(row, "stays_in_weekend_nights") + _count(row, "stays_in_week_nights"),
        waited=_count(row, "days_in_waiting_list"),
        status=status,
        status_on=status_on,
    )
    if booking.cancelled and not booking.booked <= status_on <= arrival:
        raise ValueError(f"reservation_status_date {status_on}: cancelled before it was booked or"
                         " after arrival")  # fmt: skip
    return booking


def _count(row: dict[str, str], column: str) -> int:
    text = row[column]
    if not (text.isascii() and text.isdigit()) or len(text) > 5:
        raise ValueError(f"{column} is {text!r}, not a number")
    return int(text)


def _rooms(stays: list[Booking]) -> dict[str, int]:
    """Return the most rooms that were slept in on one night, by hotel."""
    nights: dict[str, Counter[date]] = {row.hotel: Counter() for row in stays}
    for row in stays:
        if row.status == "Check-Out":
            nights[row.hotel].update(row.arrival + timedelta(days=n) for n in range(row.nights))
    return {hotel: max(found.values(), default=0) for hotel, found in nights.items()}


def _minute(row: Booking, seed: int, *, on: date, hour: int) -> datetime:
    """Draw a minute of five hours of a day, the same for rows that are alike."""
    dice = Random(f"{seed}:{row}:{hour}")
    return _local(on, time(hour)) + timedelta(minutes=dice.randrange(300))


def _local(day: date, at: time) -> datetime:
    return datetime.combine(day, at, tzinfo=ZoneInfo(ZONE)).astimezone(UTC)


@dataclass(slots=True)
class Hotel(Place):
    """A hotel: which nights of which room are taken, and by whom."""

    size: int = 0
    rooms: list[UUID] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)  # by room, nights as bits
    stays: dict[UUID, tuple[int, int]] = field(default_factory=dict)  # slot: room, nights
    made: dict[int, list[tuple[UUID, int]]] = field(default_factory=dict)  # room: slots, nights
    covered: dict[int, set[UUID]] = field(default_factory=dict)  # open, but the room is taken
    guests: dict[int, UUID] = field(default_factory=dict)  # person: slot they booked directly
    waiters: dict[int, UUID] = field(default_factory=dict)  # person: entry
    services: dict[int, UUID] = field(default_factory=dict)  # nights: service

    def claim(self, *, slot: UUID) -> None:
        """Learn that a slot is held or booked: others of the room cannot be offered now."""
        room, mask = self.stays[slot]
        self.taken[room] |= mask
        others = self.covered.setdefault(room, set())
        for other, nights in self.made[room]:
            if nights & mask and other in self.open:
                del self.open[other]
                others.add(other)

    def free(self, *, slot: UUID, now: datetime) -> None:
        """Learn that a slot is neither any longer; what else opens by that, does so now."""
        room, mask = self.stays[slot]
        self.taken[room] &= ~mask
        for other in list(self.covered.get(room, ())):
            if not self.stays[other][1] & self.taken[room]:
                self.covered[room].remove(other)
                self.open[other] = Opening(now)

    def find(self, *, mask: int) -> int | None:
        """Return the first room that is free for all these nights."""
        return next((room for room, taken in enumerate(self.taken) if not taken & mask), None)


def _hotel(player: Player, row: Booking) -> Hotel:
    """Return the hotel, with its rooms made."""
    hotel = player.named[row.hotel]
    assert isinstance(hotel, Hotel)
    if not hotel.rooms:
        hotel.rooms = player.make_providers(place=hotel, number=hotel.size)
        hotel.taken = [0] * hotel.size
    return hotel


def _book(person: int, row: Booking, player: Player) -> None:
    """Book the first free room."""
    hotel = _hotel(player, row)
    room = hotel.find(mask=row.mask)
    if room is None:
        player.figures.counts["turned away"] += 1
        return
    known = hotel.made.setdefault(room, [])
    slot = next((slot for slot, nights in known if nights == row.mask), None)
    if slot is None:
        provider = hotel.rooms[room]
        slot = player.sell(place=hotel, provider=provider, period=_period(row), person=person)
        hotel.stays[slot] = room, row.mask
        known.append((slot, row.mask))
        hotel.claim(slot=slot)
    else:
        player.book(place=hotel, slot=slot, person=person)
    hotel.guests[person] = slot


def _join(person: int, row: Booking, player: Player) -> None:
    """Wait for one's nights."""
    hotel = _hotel(player, row)
    if row.nights not in hotel.services:
        # As long as the shortest such stay, which is the one when clocks go forward.
        duration = timedelta(hours=24 * row.nights - 8)
        hotel.services[row.nights] = player.make_service(
            name=f"{row.nights} nights, {row.hotel}", duration=duration
        )
    period = _period(row)
    hotel.waiters[person] = player.join(
        place=hotel,
        person=person,
        wishes={
            "service_id": hotel.services[row.nights],
            "earliest": period.lower,
            "latest": period.upper,
        },
    )


def _cancel(person: int, row: Booking, player: Player) -> None:
    """Cancel a booking, or leave the waitlist."""
    hotel = _hotel(player, row)
    entry = hotel.waiters.get(person)
    slot = hotel.guests.get(person) if entry is None else hotel.seated.get(entry)
    if slot is not None:
        player.cancel(hotel, slot)
    elif entry is not None and (entry in hotel.waiting or entry in hotel.offered):
        player.leave(hotel, entry)
    else:
        player.figures.counts["nobody left"] += 1


def _period(row: Booking) -> DateTimeTZRange:
    return DateTimeTZRange(_local(row.arrival, CHECK_IN), _local(row.departure, CHECK_OUT))
