"""Offer links: a hold answered without logging in, by whoever bears the signed link.

A link names its hold and nothing else. It can be used while the hold is live; after that it tells
what became of the offer. Reading it changes nothing, so that scanners of mail may follow it.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.core.signing import BadSignature, Signer

from audit.errors import Refused
from audit.events import Actor
from scheduling.models import Appointment
from waitlist import conversions, holds
from waitlist.models import Hold

BEARER = Actor("link")

_signer = Signer(salt="waitlist.offers", sep=".")


class BadLink(Refused):
    """The link is not one of ours, or what it named is gone."""

    code = "not_found"


@dataclass(frozen=True, slots=True)
class Offer:
    """What the bearer of a link gets to see; the place and time while they concern them."""

    state: str
    expires_at: datetime
    facility: str
    timezone: str
    provider: str | None = None
    service: str | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None


def accept(*, hold_id: UUID, actor: Actor, now: datetime) -> None:
    """Say yes to an offer: its slot is booked, or a request to the venue is drafted.

    :raises NotFound: if there is no such hold.
    :raises Refused: as `holds.accept`, or as `conversions.convert`.
    """
    whole = holds.get(hold_id=hold_id).slot_id is None
    take = conversions.convert if whole else holds.accept
    take(hold_id=hold_id, actor=actor, now=now)


def sign(*, hold_id: UUID) -> str:
    """Return the token of a hold's link."""
    return _signer.sign(urlsafe_b64encode(hold_id.bytes).rstrip(b"=").decode())


def read(*, token: str) -> Hold:
    """Return the hold that a token names.

    :raises BadLink: if the token is not one of ours.
    """
    found = Hold.objects.select_related(
        "facility", "patient", "slot__provider", "slot__service", "entry__appointment__provider",
        "entry__appointment__service", "entry__service",
    )  # fmt: skip
    hold = found.filter(pk__in=_hold_ids(token=token)).first()
    if hold is None:
        raise BadLink("There is no offer with this link.", field="token")
    return hold


def tenant_of(*, token: str) -> UUID | None:
    """Return whose hold a token names, if it is one of ours."""
    found = Hold.objects.filter(pk__in=_hold_ids(token=token))
    return found.values_list("tenant", flat=True).first()


def describe(*, hold: Hold, now: datetime) -> Offer:
    """Say what is offered, or what became of it.

    An accepted offer tells the time booked now, until that is over or was cancelled; from then on
    it tells only that it was accepted.
    """
    state = holds.state(hold=hold, now=now)
    offer = Offer(state, hold.expires_at, hold.facility.name, hold.facility.timezone)
    booked = hold.entry.appointment if state == Hold.Status.ACCEPTED else None
    if booked and (booked.status != Appointment.Status.BOOKED or booked.period.upper <= now):
        return offer
    shown = booked or (hold.slot if state == Hold.Status.OFFERED else None)
    if shown is None:
        return offer
    service = shown.service or hold.entry.service
    return Offer(
        state,
        hold.expires_at,
        hold.facility.name,
        hold.facility.timezone,
        provider=shown.provider.name,
        service=service.name if service else None,
        starts_at=shown.period.lower,
        ends_at=shown.period.upper,
    )


def _hold_ids(*, token: str) -> list[UUID]:
    """Read the id that a token names; none if it is not one of ours."""
    try:
        name = _signer.unsign(token)
        return [UUID(bytes=urlsafe_b64decode(f"{name}=="))]
    except (BadSignature, ValueError):
        return []
