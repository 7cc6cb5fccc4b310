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
from scheduling.models import Patient

SALT = "notifications.unsubscribe"


class BadLink(Refused):
    """The link is not one of ours."""

    code = "not_found"


@dataclass(frozen=True, slots=True)
class Subscriber:
    """Whom a link names."""

    tenant_id: UUID
    patient_id: UUID | None
    user_id: UUID | None


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

    :raises BadLink: if it is not one of ours.
    """
    try:
        tenant, whose, person = signing.loads(token, salt=SALT)
    except signing.BadSignature:
        raise BadLink("There is nothing to unsubscribe from with this link.") from None
    patient = UUID(person) if whose == "p" else None
    return Subscriber(UUID(tenant), patient, None if patient else UUID(person))


def language(*, subscriber: Subscriber) -> str:
    """Return the language of whom a link names; nothing of who is not there any longer."""
    whose = subscriber.patient_id or subscriber.user_id
    assert whose is not None
    known: QuerySet[Patient] | QuerySet[User] = (
        Patient.objects.filter(pk=whose) if subscriber.patient_id else User.objects.filter(pk=whose)
    )
    return known.values_list("language", flat=True).first() or ""


def unsubscribe(*, token: str) -> Preference:
    """Send them no more messages about the waitlist; what is booked they are told still.

    :raises BadLink: if the token is not one of ours.
    """
    whose = read(token=token)
    return preferences.change(
        tenant_id=whose.tenant_id,
        patient_id=whose.patient_id,
        user_id=whose.user_id,
        changes={"waitlist_reminders": False},
    )
