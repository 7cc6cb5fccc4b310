"""Preferences: what somebody wants to be told, and on which channels."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Exists, OuterRef, Q

from accounts.models import Membership
from notifications.models import Channel, Message, Preference

FIELDS = ("waitlist_reminders", "email", "sms", "whatsapp")


def get(*, tenant_id: UUID, patient_id: UUID | None, user_id: UUID | None) -> Preference:
    """Return what somebody wants; the usual, unsaved, of who never said."""
    mine = Q(patient=patient_id) if patient_id else Q(user=user_id)
    found = Preference.objects.filter(mine, tenant=tenant_id).first()
    if found is not None:
        return found
    return Preference(
        tenant_id=tenant_id, patient_id=patient_id, user_id=None if patient_id else user_id
    )


@transaction.atomic
def change(
    *,
    tenant_id: UUID,
    patient_id: UUID | None,
    user_id: UUID | None,
    changes: Mapping[str, Any],
) -> Preference:
    """Write what somebody wants from now on, of what is queued for them, too.

    :raises ValidationError: naming each field that is not one or has a bad value.
    """
    unknown = set(changes) - set(FIELDS)
    if unknown:
        raise ValidationError({name: "There is no such preference." for name in unknown})
    if not changes:
        return get(tenant_id=tenant_id, patient_id=patient_id, user_id=user_id)
    whose: dict[str, Any] = {
        "tenant_id": tenant_id,
        "patient_id": patient_id,
        "user_id": None if patient_id else user_id,
    }
    preference, _ = Preference.objects.update_or_create(**whose, defaults=dict(changes))
    return preference


def refusal(*, message: Message) -> str:
    """Say why its recipient does not want a message, as sql/fan_out_messages.sql does; or nothing.

    They may have said so since it was queued.
    """
    if message.channel == Channel.IN_APP:
        return ""
    wants = get(tenant_id=message.tenant_id, patient_id=message.patient_id, user_id=message.user_id)
    if not wants.waitlist_reminders and message.kind.startswith("waitlist."):
        return "unsubscribed"
    return "" if getattr(wants, message.channel) else "not_wanted"


def prune() -> int:
    """Delete what those wanted who work for the tenant no longer; return how many."""
    member = Membership.objects.filter(user=OuterRef("user"), tenant=OuterRef("tenant"))
    return Preference.objects.filter(~Exists(member), patient=None).delete()[0]
