"""Unsubscribing by the link in a mail, without logging in.

The link names a person of a tenant and nothing else. Reading it changes nothing, since scanners of
mail follow links; a POST to it is the one click of RFC 8058.
"""

from dataclasses import dataclass
from uuid import UUID

from django.conf import settings
from django.core import signing
from django.db.models import QuerySet

from accounts.models import User
from audit.errors import Refused
from notifications import preferences
from notifications.models import Message, Preference
from scheduling import patients
from scheduling.models import Patient

SALT = "notifications.unsubscribe"


class BadLink(Refused):
    """The link is not one of ours, or that of somebody who is gone."""

    code = "not_found"


@dataclass(frozen=True, slots=True)
class Subscriber:
    """Whom a link names."""

    tenant_id: UUID
    patient_id: UUID | None
    user_id: UUID | None
    language: str


def sign(*, message: Message) -> str:
    """Return the token of the link in a message's mail."""
    whose = "p" if message.patient_id else "u"
    named = [str(message.tenant_id), whose, str(message.patient_id or message.user_id)]
    return signing.dumps(named, salt=SALT)


def url(*, message: Message) -> str:
    """Return the link."""
    return f"{settings.SITE_URL}/api/v1/unsubscribe/{sign(message=message)}"


def read(*, token: str) -> Subscriber:
    """Return whom a token names.

    :raises BadLink: if it is not one of ours, or they are not there any longer.
    """
    try:
        tenant, whose, person = signing.loads(token, salt=SALT)
    except signing.BadSignature:
        tenant = whose = person = None
    known: QuerySet[Patient] | QuerySet[User] = (
        patients.known() if whose == "p" else User.objects.all()
    )
    language = known.filter(pk=person).values_list("language", flat=True).first()
    if language is None:
        raise BadLink("There is nothing to unsubscribe from with this link.")
    patient = UUID(person) if whose == "p" else None
    return Subscriber(UUID(tenant), patient, None if patient else UUID(person), language)


def unsubscribe(*, subscriber: Subscriber) -> Preference:
    """Send them no more messages about the waitlist; what is booked they are told still."""
    return preferences.change(
        tenant_id=subscriber.tenant_id,
        patient_id=subscriber.patient_id,
        user_id=subscriber.user_id,
        changes={"waitlist_reminders": False},
    )
