"""Calendars as a program reads them."""

from icalendar import Calendar, Event
from icalendar.enums import STATUS


def read(text: bytes) -> Calendar:
    """Parse a calendar, which has to be as RFC 5545 wants it."""
    assert text.endswith(b"END:VCALENDAR\r\n")
    for line in text.removesuffix(b"\r\n").split(b"\r\n"):
        assert len(line) <= 75
        assert not [byte for byte in line if byte < 32 or byte == 127]
    calendar = Calendar.from_ical(text)
    assert isinstance(calendar, Calendar)
    assert (calendar["version"], bool(calendar["prodid"])) == ("2.0", True)
    assert calendar.subcomponents, "one component at least"
    for component in calendar.walk():
        assert not component.errors
    for event in calendar.events:
        assert {"UID", "DTSTAMP", "DTSTART"} <= set(event)
    return calendar


def only(text: bytes) -> Event:
    """Parse a calendar with one event."""
    [event] = read(text).events
    return event


def summaries(text: bytes) -> list[str]:
    """Return what the events are called, with their status where they are off."""
    return [
        f"{event.summary} (off)" if event.status == STATUS.CANCELLED else str(event.summary)
        for event in read(text).events
    ]
