"""Facts: the values of placeholders, in the recipient's language and by the facility's clock."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.conf import settings
from django.urls import reverse
from django.utils import formats, translation

from accounts.models import Tenant
from audit.models import Event
from availability.models import Rfp
from notifications import nudges, recipients
from notifications.models import Channel, Message
from scheduling.models import Appointment, Provider, Service, Slot
from waitlist import offers

# How a time is written: in full, and in messages that pay for each character.
FULL = {
    "en": "l j F Y, H:i",
    "es": r"l j \d\e F \d\e Y, H:i",
    "fr": "l j F Y, H:i",
    "pt": r"l, j \d\e F \d\e Y, H:i",
}
SHORT = {"en": "D j M H:i", "es": "j/n H:i", "fr": "j/n H:i", "pt": "j/n H:i"}
SAMPLES: Mapping[str, str] = {
    "patient_name": "Ada Byron",
    "provider_name": "Dr Osei",
    "facility_name": "City Clinic",
    "service_name": "Check-up",
    "duration": "30",
    "price": "45.00 EUR",
    "minutes_to_respond": "90",
    "hours_remaining": "24",
    "offer_url": "https://example.org/o/8dA2",
    "nudge_url": "https://example.org/n/8dA2",
    "position": "2",
    "organizer_name": "Bright Events",
    "rfp_title": "Spring gala",
    "rfp_url": "https://example.org/r/8dA2",
}
SAMPLE_TIMES = {
    "slot_time": datetime(2030, 9, 25, 9, 30, tzinfo=UTC),
    "respond_by": datetime(2030, 9, 24, 17, 45, tzinfo=UTC),
}
TERSE = {Channel.SMS, Channel.WHATSAPP}
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the values are read from: a message with its rows, in a language, at a time."""

    message: Message
    language: str
    now: datetime
    event: Event | None = None  # read when it is needed, unless it was before

    @property
    def place(self) -> Slot | Appointment | None:
        """What is booked, else what is offered."""
        hold = self.message.hold
        return self.message.appointment or (hold.slot if hold else None)

    @property
    def provider(self) -> Provider | None:
        """Who it is with, else whom the entry waits for."""
        entry = self.message.entry
        return self.place.provider if self.place else entry.provider if entry else None

    @property
    def service(self) -> Service | None:
        """What it is for."""
        entry = self.message.entry
        return (self.place.service if self.place else None) or (entry.service if entry else None)

    @property
    def rfp(self) -> Rfp | None:
        """The RFP that an organizer's entry was converted to, else the one it waits with."""
        entry = self.message.entry
        if entry is None or entry.rfp_venue is None:
            return None
        return entry.converted_rfp or entry.rfp_venue.rfp

    @property
    def duration(self) -> timedelta | None:
        """How long it takes."""
        if self.place is not None:
            length: timedelta = self.place.period.upper - self.place.period.lower
            return length
        return self.service.duration if self.service else None

    @property
    def left(self) -> timedelta:
        """How long there is to answer."""
        hold = self.message.hold
        return max(hold.expires_at - self.now, timedelta(0)) if hold else timedelta(0)

    def time(self, at: datetime | None) -> str:
        """Write a time by the facility's clock."""
        if at is None:
            return ""
        facility = self.message.facility
        local = at.astimezone(ZoneInfo(facility.timezone) if facility else UTC)
        return write_time(at=local, channel=self.message.channel, language=self.language)


def write_time(*, at: datetime, channel: str, language: str) -> str:
    """Write a local time as a channel and a language have it."""
    style = SHORT if channel in TERSE else FULL
    with translation.override(language):
        return str(formats.date_format(at, style[language]))


def sample(*, name: str, channel: str, language: str) -> str:
    """Return a value to see a text with that is sent to nobody yet."""
    at = SAMPLE_TIMES.get(name)
    return write_time(at=at, channel=channel, language=language) if at else SAMPLES[name]


def _price(facts: Facts) -> str:
    service = facts.service
    if service is None or service.price is None:
        return ""
    with translation.override(facts.language):
        return f"{formats.number_format(service.price)} {service.currency}"


def _told(facts: Facts) -> Mapping[str, Any]:
    """Return what the event tells besides its ids."""
    event = facts.event or Event.objects.filter(pk=facts.message.event_id).first()
    return event.data if event else {}


def _position(facts: Facts) -> str:
    """Say the position that the event tells: the one of now may be another."""
    return str(_told(facts).get("position") or "")


def offer_url(*, hold_id: UUID) -> str:
    """Return the address of an offer's page, for who answers it without logging in."""
    return f"{settings.SITE_URL}/api/v1/offers/{offers.sign(hold_id=hold_id)}"


def _offer_url(facts: Facts) -> str:
    hold = facts.message.hold_id
    return offer_url(hold_id=hold) if hold else ""


def _nudge_url(facts: Facts) -> str:
    entry = facts.message.entry_id
    return nudges.url(entry_id=entry) if entry else ""


def _organizer(facts: Facts) -> str:
    """Name whose entry it is; to a venue, whose entries are not its own, whom the event tells."""
    entry = facts.message.entry
    told = entry.organizer_id if entry else _told(facts).get("organization_id")
    organizer = Tenant.objects.filter(pk=told).first() if told else None
    return organizer.name if organizer else ""


def _rfp_url(facts: Facts) -> str:
    """Lead to the page of the admin on which an organizer's people check an RFP and send it."""
    rfp = facts.rfp
    return (
        settings.SITE_URL + reverse("admin:availability_rfp_change", args=[rfp.pk]) if rfp else ""
    )


VALUES: Mapping[str, Callable[[Facts], str]] = {
    "patient_name": lambda facts: recipients.of(message=facts.message).name,
    "provider_name": lambda facts: facts.provider.name if facts.provider else "",
    "facility_name": lambda facts: (facts.message.facility or facts.message.tenant).name,
    "service_name": lambda facts: facts.service.name if facts.service else "",
    "slot_time": lambda facts: facts.time(facts.place.period.lower if facts.place else None),
    "duration": lambda facts: str(facts.duration // MINUTE) if facts.duration else "",
    "price": _price,
    "respond_by": lambda facts: facts.time(
        facts.message.hold.expires_at if facts.message.hold else None
    ),
    "minutes_to_respond": lambda facts: str(facts.left // MINUTE),
    "hours_remaining": lambda facts: str(facts.left // (60 * MINUTE)),
    "offer_url": _offer_url,
    "nudge_url": _nudge_url,
    "position": _position,
    "organizer_name": _organizer,
    "rfp_title": lambda facts: facts.rfp.title if facts.rfp else "",
    "rfp_url": _rfp_url,
}
# Other spellings that are understood: `patientName`.
ALIASES: Mapping[str, str] = {
    re.sub(r"_(\w)", lambda found: found[1].upper(), name): name for name in VALUES
}
