"""What people were told, as tests read it."""

from collections.abc import Iterable
from datetime import datetime

from accounts.models import User
from notifications import relay
from notifications.models import Message
from scheduling.models import Patient
from tests.waitlist.worlds import NOW

Told = set[tuple[str, str]]


def relayed(*, now: datetime = NOW) -> relay.Relayed:
    """Relay all there is."""
    return relay.relay(limit=10_000, now=now)


def messages(*, to: Patient | User, only: Iterable[str] | None = None) -> dict[str, set[str]]:
    """Return kind → `channel status reason`s of what somebody is told."""
    field = "patient" if isinstance(to, Patient) else "user"
    found: dict[str, set[str]] = {}
    for message in Message.objects.filter(**{field: to}).order_by("seq"):
        said = " ".join(filter(None, (message.channel, message.status, message.reason)))
        assert said not in found.get(message.kind, set()), "told twice"
        found.setdefault(message.kind, set()).add(said)
    return {kind: said for kind, said in found.items() if only is None or kind in only}
