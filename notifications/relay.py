"""The relay: gives each event its place in one order, and writes what each is told as.

Ids and times cannot be that order, since commits overtake each other. One relay runs at a time and
numbers only what has been committed, so what it numbers later comes later. What an event calls for
is written with its place, in the same transaction; sending is a second step, row by row.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import transaction

from audit import locks, sql
from notifications import senders
from notifications.kinds import KINDS
from notifications.models import Channel

# Statement that writes rows for the events of a batch → task that sends what it wrote. Each returns
# (what the task is sent with, how many rows).
FAN_OUTS: Mapping[str, str] = {
    "fan_out_messages": "notifications.tasks.send_messages",
    "fan_out_webhooks": "notifications.tasks.send_webhooks",
}


@dataclass(frozen=True, slots=True)
class Relayed:
    """How many events one run numbered, and what is to be sent: (task, its argument)."""

    events: int = 0
    sends: frozenset[tuple[str, str]] = field(default_factory=frozenset)


@transaction.atomic
def relay(*, limit: int, now: datetime) -> Relayed:
    """Number at most `limit` unrelayed events and write what they call for.

    Nothing is done while another relay runs. Locks unrelayed.
    """
    if not locks.try_lock(name=locks.RELAY):
        return Relayed()
    [(first, last, count)] = sql.run(
        app="notifications", name="relay_events", params={"limit": limit}
    )
    if not count:
        return Relayed()
    params = {"first": first, "last": last, "now": now, **_rules()}
    sends = {
        (task, what)
        for statement, task in FAN_OUTS.items()
        for what, _ in sql.run(app="notifications", name=statement, params=params)
    }
    return Relayed(count, frozenset(sends))


def _rules() -> Mapping[str, Any]:
    """Return the table of kinds in columns, and the channels that are on."""
    rules: Iterable[tuple[str, str, str, bool]] = (
        (name, kind.to.value, channel, channel in kind.channels)
        for name, kind in KINDS.items()
        for channel in Channel.values
    )
    kinds, recipients, channels, usual = zip(*rules, strict=True)
    return {
        "kinds": list(kinds),
        "recipients": list(recipients),
        "channels": list(channels),
        "usual": list(usual),
        "live": senders.live(),
    }
