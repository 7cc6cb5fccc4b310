"""Calendars: what is booked, as iCalendar (RFC 5545): in a mail, or at an address to subscribe to.

An address is a secret that its bearer needs no login for, and what it shows goes to whoever runs
the bearer's calendar. So a patient's says no more than the mails do, and a provider's names nobody.

Times are in UTC. They are instants, not rules: a zone could not tell the two hours apart that the
clocks show twice in autumn.
"""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from email.utils import parseaddr
from functools import partial
from uuid import UUID

from django.conf import settings
from django.db.models import Q, QuerySet
from icalendar import Calendar, Event, Timezone, vCalAddress
from icalendar.enums import STATUS

from notifications.models import CalendarFeed
from scheduling.models import Appointment

PRODUCT = "-//Backfill//Backfill//EN"
# How much of what was and of what comes is shown, and how long what was cancelled.
BEHIND = timedelta(days=90)
AHEAD = timedelta(days=366)
CANCELLED_FOR = timedelta(days=30)

# What an appointment is called in the calendar of its patient, and of its provider.
WITH: Mapping[str, str] = {
    "en": "Appointment with {provider}",
    "es": "Cita con {provider}",
    "fr": "Rendez-vous avec {provider}",
    "pt": "Hora marcada com {provider}",
}
BOOKED: Mapping[str, str] = {"en": "Booked", "es": "Reservado", "fr": "Réservé", "pt": "Reservado"}

CONTROL = re.compile(r"[\x00-\x1f\x7f]+")  # which no text of a calendar may have


def invitation(*, appointment: Appointment) -> Calendar:
    """Write what a mail tells its patient's calendar: to show an appointment, or to cancel it.

    That follows from the appointment as it is. A mail about an earlier state that is sent late
    would else bring back what was cancelled.
    """
    cancelled = appointment.status == Appointment.Status.CANCELLED
    calendar = _calendar()
    calendar.add("method", "CANCEL" if cancelled else "REQUEST")
    event = _event_for_patient(appointment=appointment)
    sender = parseaddr(settings.DEFAULT_FROM_EMAIL)[1]
    event.organizer = vCalAddress.new(sender, cn=_text(appointment.facility.name))
    event.add(
        "attendee",
        # They need not answer: what is booked is booked.
        vCalAddress.new(appointment.patient.email, partstat="ACCEPTED", rsvp=False),
    )
    calendar.add_component(event)
    return calendar


def subscription(*, feed: CalendarFeed, now: datetime) -> Calendar:
    """Write the calendar at a feed's address."""
    calendar = _calendar()
    calendar.calendar_name = _text(feed.tenant.name)
    whose, write = (
        (Q(patient=feed.patient_id), _event_for_patient)
        if feed.patient_id
        else (
            Q(provider__user=feed.user_id, provider__is_active=True, cancelled_at=None),
            partial(_event_for_provider, language=feed.user.language),
        )
    )
    for appointment in _shown(tenant_id=feed.tenant_id, whose=whose, now=now):
        calendar.add_component(write(appointment=appointment))
    if not calendar.subcomponents:  # there has to be one
        calendar.add_component(Timezone.from_tzid("UTC"))
    return calendar


def _shown(*, whose: Q, tenant_id: UUID, now: datetime) -> QuerySet[Appointment]:
    lately = Q(cancelled_at=None) | Q(cancelled_at__gte=now - CANCELLED_FOR)
    found = Appointment.objects.filter(
        whose,
        lately,
        tenant=tenant_id,
        period__startswith__gte=now - BEHIND,
        period__startswith__lt=now + AHEAD,
    )
    rows = found.select_related("facility", "patient", "provider", "service")
    return rows.order_by("period__startswith", "pk")


def _calendar() -> Calendar:
    calendar = Calendar()
    calendar.add("prodid", PRODUCT)
    calendar.add("version", "2.0")
    return calendar


def _event_for_patient(*, appointment: Appointment) -> Event:
    summary = WITH[appointment.patient.language].format(provider=appointment.provider.name)
    return _event(appointment=appointment, summary=summary)


def _event_for_provider(*, appointment: Appointment, language: str) -> Event:
    service = appointment.service
    summary = f"{BOOKED[language]}: {service.name}" if service else BOOKED[language]
    return _event(appointment=appointment, summary=summary)


def _event(*, appointment: Appointment, summary: str) -> Event:
    """Write an appointment. The same one, unchanged, is written the same: also its time stamp."""
    cancelled = appointment.status == Appointment.Status.CANCELLED
    place = ", ".join(filter(None, (appointment.facility.name, appointment.facility.city)))
    return Event.new(
        uid=f"{appointment.pk}@backfill",
        sequence=appointment.version,
        stamp=appointment.updated_at,
        start=appointment.period.lower,
        end=appointment.period.upper,
        summary=_text(summary),
        location=_text(place),
        status=STATUS.CANCELLED if cancelled else STATUS.CONFIRMED,
    )


def _text(text: str) -> str:
    return CONTROL.sub(" ", text)
