"""Who a message is for, whether they still are somebody here, and their address on its channel."""

from accounts.models import Membership, User
from notifications.models import Channel, Message
from scheduling.models import Patient


def of(*, message: Message) -> Patient | User:
    """Return the person."""
    person = message.patient or message.user
    assert person is not None
    return person


def refusal(*, message: Message) -> str:
    """Say why nothing is sent to the person any more: `erased` or `left`, a code; or nothing."""
    if message.patient is not None:
        return "erased" if message.patient.erased_at else ""
    members = Membership.objects.filter(user=message.user_id, user__is_active=True)
    return "" if members.filter(tenant=message.tenant_id).exists() else "left"


def address(*, message: Message) -> str:
    """Return where the channel reaches them; nothing if it does not."""
    person = of(message=message)
    return person.email if message.channel == Channel.EMAIL else person.phone
