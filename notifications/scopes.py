"""What a caller sees of what people are told."""

from django.db.models import Q, QuerySet

from accounts.roles import Caller
from notifications.models import Channel, Message, Template


def inbox(*, caller: Caller) -> QuerySet[Message]:
    """Return what the caller was told in the app, here."""
    mine = Q(patient=caller.patient_id) if caller.patient_id else Q(user=caller.user_id)
    told = Message.objects.filter(mine, tenant=caller.tenant_id, channel=Channel.IN_APP)
    return told.filter(status=Message.Status.DELIVERED)


def deliveries(*, caller: Caller) -> QuerySet[Message]:
    """Return what the tenant tells anybody."""
    return Message.objects.filter(tenant=caller.tenant_id)


def templates(*, caller: Caller) -> QuerySet[Template]:
    """Return the tenant's own texts."""
    return Template.objects.filter(tenant=caller.tenant_id)
