"""Who a message is for: their address on its channel, their language and their name."""

from accounts.models import User
from notifications.models import Channel, Message
from scheduling.models import Patient


def of(*, message: Message) -> Patient | User:
    """Return the person."""
    person = message.patient or message.user
    assert person is not None
    return person


def address(*, message: Message) -> str:
    """Return where the channel reaches them; nothing if it does not."""
    person = of(message=message)
    return person.email if message.channel == Channel.EMAIL else person.phone
