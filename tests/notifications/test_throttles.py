"""Quiet hours and throttles put messages off, and drop none."""

from datetime import timedelta

import pytest
from django.conf import LazySettings

from notifications import deliveries, messages
from notifications.models import Message
from tests.notifications.mailbox import Mailbox
from tests.notifications.told import relayed
from tests.waitlist import worlds
from tests.waitlist.worlds import DAY, HOUR, MINUTE, NOW, STAFF, World
from waitlist import entries

pytestmark = pytest.mark.django_db

NIGHT = NOW.replace(hour=23)  # in London, in winter
MORNING = (NOW + DAY).replace(hour=8)


def _send(*, now: object) -> list[str]:
    claimed = messages.claim(channel="email", now=now, limit=100)  # type: ignore[arg-type]
    return [deliveries.deliver(message=one, now=now) for one in claimed]  # type: ignore[arg-type]


def _queued() -> list[Message]:
    return list(Message.objects.filter(channel="email", status="queued").order_by("seq"))


# Quiet hours


def test_what_falls_into_quiet_hours_is_sent_at_their_end(clinic: World, mailbox: Mailbox) -> None:
    clinic.join(at=NIGHT)
    relayed(now=NIGHT)
    assert _send(now=NIGHT) == ["put_off"]
    [message] = _queued()
    assert (message.next_attempt_at, message.attempts) == (MORNING, 0)
    assert _send(now=MORNING - MINUTE) == []
    assert _send(now=MORNING) == ["sent"]


def test_an_offer_passes_quiet_hours_and_takes_along_what_was_told_before(
    clinic: World, mailbox: Mailbox
) -> None:
    """Made at 20:59 and sent a little late: the time to answer it runs."""
    evening = NOW.replace(hour=20, minute=59)
    entry = clinic.join(at=NIGHT - DAY)
    relayed(now=NIGHT - DAY)
    assert _send(now=NIGHT - DAY) == ["put_off"]
    Message.objects.filter(channel="email").update(next_attempt_at=NIGHT + DAY)
    clinic.offer(entry=entry, slot=clinic.slot(at=NOW + 3 * DAY), now=evening)
    relayed(now=NIGHT)
    assert _send(now=NIGHT) == ["sent"]
    assert _send(now=NIGHT) == ["sent"]
    assert ["free for you" in mail["Subject"] for mail in mailbox.mails] == [False, True]


def test_an_offer_that_staff_make_by_night_is_told_when_its_time_begins(
    clinic: World, mailbox: Mailbox
) -> None:
    entry = clinic.join()
    relayed()
    _send(now=NOW)
    clinic.offer(entry=entry, slot=clinic.slot(at=NOW + 3 * DAY), now=NIGHT)
    relayed(now=NIGHT)
    assert _send(now=NIGHT) == ["put_off"]
    assert _send(now=MORNING) == ["sent"]


def test_what_would_be_worth_nothing_in_the_morning_is_sent_by_night(
    clinic: World, mailbox: Mailbox
) -> None:
    clinic.book(slot=clinic.slot(at=MORNING - HOUR), now=NIGHT)
    relayed(now=NIGHT)
    assert _send(now=NIGHT) == ["sent"]


def test_without_quiet_hours_nights_are_as_days(clinic: World, mailbox: Mailbox) -> None:
    clinic.change(quiet_from=None, quiet_until=None)
    clinic.join(at=NIGHT)
    relayed(now=NIGHT)
    assert _send(now=NIGHT) == ["sent"]


# Throttles


def test_a_tenant_sends_so_many_and_the_rest_turn_by_turn(
    clinic: World, mailbox: Mailbox, settings: LazySettings
) -> None:
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "messages": "3/minute"}
    for _ in range(8):
        clinic.join()
    relayed()
    now = NOW
    first = messages.claim(channel="email", now=now, limit=4)
    assert [deliveries.deliver(message=one, now=now) for one in first] == [*["sent"] * 3, "put_off"]
    waits = sorted(m.next_attempt_at - now for m in _queued() if m.next_attempt_at)
    assert len(waits) == 5
    assert timedelta(0) < waits[0] <= MINUTE
    # The one that was refused, three in the next turn with it, and one a minute later.
    assert waits[-1] - waits[0] == MINUTE
    assert len(mailbox.mails) == 3


def test_another_tenant_is_not_held_up(
    clinic: World, mailbox: Mailbox, settings: LazySettings
) -> None:
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "messages": "1/minute"}
    for world in (clinic, clinic, worlds.build()):
        world.join()
    relayed()
    assert sorted(_send(now=NOW)) == ["put_off", "sent", "sent"]


def test_a_person_is_sent_so_many_and_others_are_sent_theirs(
    clinic: World, mailbox: Mailbox, settings: LazySettings
) -> None:
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "message": "1/hour"}
    mine = clinic.join()
    clinic.join()
    entries.cancel(entry_id=mine.pk, reason="no_longer_needed", actor=STAFF, now=NOW)
    relayed()
    assert _send(now=NOW) == ["sent", "sent"]
    assert _send(now=NOW) == ["put_off"]
    [message] = _queued()
    assert message.next_attempt_at is not None
    assert MINUTE < message.next_attempt_at - NOW <= HOUR


def test_offers_pass_throttles(clinic: World, mailbox: Mailbox, settings: LazySettings) -> None:
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "messages": "1/hour"}
    clinic.join(at=NOW - 2 * DAY)
    clinic.offer()
    relayed()
    # Somebody's joining takes the room there is; who is offered something is told all the same.
    assert sorted(_send(now=NOW)) == ["sent", "sent"]
    assert _send(now=NOW) == ["sent"]
    assert _queued() == []
