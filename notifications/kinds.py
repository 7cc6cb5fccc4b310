"""What is told of which kind of event: to whom, and on which channels unless a tenant says else."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from notifications.models import Channel


class To(StrEnum):
    """Whom a kind concerns."""

    REQUESTER = "requester"  # the entry's patient; of an organizer who joined, else its admins
    PATIENT = "patient"  # the appointment's
    ADMINS = "admins"  # of the facility's tenant, or of the event's


@dataclass(frozen=True, slots=True)
class Kind:
    """How a kind is told; `urgent` ones wait for no throttle and no quiet hours."""

    to: To
    channels: frozenset[str]
    urgent: bool = False


def _kind(to: To, *channels: Channel, urgent: bool = False) -> Kind:
    return Kind(to, frozenset(map(str, channels)), urgent)


IN_APP, EMAIL, SMS, WHATSAPP = Channel.IN_APP, Channel.EMAIL, Channel.SMS, Channel.WHATSAPP

KINDS: Mapping[str, Kind] = {
    "waitlist.joined": _kind(To.REQUESTER, IN_APP, EMAIL),
    "waitlist.auto_expired": _kind(To.REQUESTER, IN_APP, EMAIL),
    "waitlist.hold_expired": _kind(To.REQUESTER, IN_APP, EMAIL),
    "waitlist.hold_offered": _kind(To.REQUESTER, IN_APP, EMAIL, SMS, WHATSAPP, urgent=True),
    "waitlist.hold_reminded": _kind(To.REQUESTER, EMAIL, SMS, WHATSAPP),
    "waitlist.converted": _kind(To.REQUESTER, IN_APP, EMAIL),
    "waitlist.cancelled": _kind(To.REQUESTER, IN_APP, EMAIL),
    "waitlist.position_changed": _kind(To.REQUESTER, IN_APP),
    "waitlist.still_interested": _kind(To.REQUESTER, EMAIL),
    "waitlist.hold_withdrawn": _kind(To.REQUESTER, IN_APP, EMAIL, SMS, WHATSAPP),
    "waitlist.circuit_breaker_triggered": _kind(To.ADMINS, IN_APP, EMAIL),
    "waitlist.circuit_breaker_resolved": _kind(To.ADMINS, IN_APP),
    "waitlist.deactivated": _kind(To.ADMINS, IN_APP, EMAIL),
    "venue.hold_converted": _kind(To.ADMINS, IN_APP, EMAIL),
    "appointment.booked": _kind(To.PATIENT, IN_APP, EMAIL),
    "appointment.cancelled": _kind(To.PATIENT, IN_APP, EMAIL),
    "appointment.rescheduled": _kind(To.PATIENT, IN_APP, EMAIL),
    "webhook.disabled": _kind(To.ADMINS, IN_APP, EMAIL),
}

URGENT = sorted(name for name, kind in KINDS.items() if kind.urgent)
CHOICES = [(name, name) for name in KINDS]
