"""Quiet hours and throttles put messages off, and drop none."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from django.conf import LazySettings

from notifications import deliveries, messages
from notifications.models import Message
from scheduling import appointments
from tests.notifications.mailbox import Mailbox
from tests.notifications.told import relayed
from tests.waitlist import worlds
from tests.waitlist.worlds import DAY, HOUR, MINUTE, NOW, STAFF, World
from waitlist import entries, invites
from waitlist.models import WaitlistEntry

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
    [offer] = _queued()
    assert offer.next_attempt_at == MORNING
    assert _send(now=NIGHT) == []
    assert _send(now=MORNING) == ["sent"]


def test_an_offer_that_staff_make_by_night_wakes_nobody_with_what_was_told_before(
    clinic: World, mailbox: Mailbox
) -> None:
    """What quiet hours put off goes out before the offer, in the morning."""
    entry = clinic.join(at=NIGHT)
    relayed(now=NIGHT)
    assert _send(now=NIGHT) == ["put_off"]
    clinic.offer(entry=entry, slot=clinic.slot(at=NOW + 3 * DAY), now=NIGHT)
    relayed(now=NIGHT)
    assert _send(now=NIGHT) == []
    assert _send(now=MORNING - MINUTE) == []
    assert mailbox.mails == []
    assert [_send(now=MORNING) for _ in range(3)] == [["sent"], ["sent"], []]
    assert ["free for you" in mail["Subject"] for mail in mailbox.mails] == [False, True]


def test_what_falls_into_quiet_hours_hurries_for_no_offer_that_is_not_due(
    clinic: World, mailbox: Mailbox
) -> None:
    entry = clinic.join(at=NIGHT)
    clinic.offer(entry=entry, slot=clinic.slot(at=NOW + 3 * DAY), now=NIGHT)
    relayed(now=NIGHT)
    assert _send(now=NIGHT) == ["put_off"]
    assert _send(now=NIGHT) == []
    assert [_send(now=MORNING) for _ in range(3)] == [["sent"], ["sent"], []]


def test_what_would_be_worth_nothing_in_the_morning_is_sent_by_night(
    clinic: World, mailbox: Mailbox
) -> None:
    clinic.book(slot=clinic.slot(at=MORNING - HOUR), now=NIGHT)
    relayed(now=NIGHT)
    assert _send(now=NIGHT) == ["sent"]


def _joined(clinic: World) -> WaitlistEntry:
    return clinic.join(at=NIGHT)


def _offered(clinic: World) -> WaitlistEntry:
    return clinic.offer(slot=clinic.slot(at=NOW + 3 * DAY), now=NIGHT).entry


def _promote(clinic: World, entry: WaitlistEntry, *, at: datetime) -> None:
    """Let staff book somebody at six in the morning."""
    early = MORNING - 2 * HOUR
    invites.promote(entry_id=entry.pk, slot_id=clinic.slot(at=at).pk, actor=STAFF, now=early)
    relayed(now=early)


@pytest.mark.parametrize("told", [_joined, _offered])
def test_who_is_booked_before_the_morning_is_told_before_what_waits_for_it(
    clinic: World, mailbox: Mailbox, told: Callable[[World], WaitlistEntry]
) -> None:
    entry = told(clinic)
    relayed(now=NIGHT)
    while _send(now=NIGHT):
        pass
    _promote(clinic, entry, at=MORNING - 30 * MINUTE)
    mailbox.mails.clear()
    assert [_send(now=MORNING - 2 * HOUR) for _ in range(3)] == [["sent"], ["sent"], []]
    sent = Message.objects.filter(channel="email", sent_at__gte=MORNING - 2 * HOUR)
    assert set(sent.values_list("kind", flat=True)) == {"appointment.booked", "waitlist.converted"}
    while _send(now=MORNING):
        pass
    assert _queued() == []
    assert not Message.objects.filter(reason="too_late").exists()


def test_who_is_booked_for_later_is_told_in_the_morning_in_order(
    clinic: World, mailbox: Mailbox
) -> None:
    entry = _joined(clinic)
    relayed(now=NIGHT)
    assert _send(now=NIGHT) == ["put_off"]
    _promote(clinic, entry, at=MORNING + HOUR)
    assert _send(now=MORNING - 2 * HOUR) == []
    assert [_send(now=MORNING) for _ in range(4)] == [["sent"], ["sent"], ["sent"], []]
    assert "waitlist" in mailbox.mails[0]["Subject"]


def _move(clinic: World, *, old: datetime, new: datetime, now: datetime) -> Message:
    """Move an appointment, which the patient was told of, and return the mail about that."""
    appointment = clinic.book(slot=clinic.slot(at=old))
    relayed()
    _send(now=NOW)
    appointments.reschedule(
        appointment_id=appointment.pk, slot_id=clinic.slot(at=new).pk, actor=STAFF, now=now
    )
    relayed(now=now)
    [message] = _queued()
    return message


@pytest.mark.parametrize(("old", "new"), [(-HOUR, 2 * DAY), (2 * DAY, -HOUR)])
def test_a_move_is_told_by_night_to_who_would_else_come_in_vain_or_too_late(
    clinic: World, mailbox: Mailbox, old: timedelta, new: timedelta
) -> None:
    _move(clinic, old=MORNING + old, new=MORNING + new, now=NIGHT)
    assert _send(now=NIGHT) == ["sent"]


# An old time that is over when it is told is no reason to hurry.
@pytest.mark.parametrize("old", [NOW + HOUR, MORNING + HOUR])
def test_a_move_that_can_wait_for_the_morning_does(
    clinic: World, mailbox: Mailbox, old: datetime
) -> None:
    _move(clinic, old=old, new=MORNING + 2 * DAY, now=NIGHT)
    assert _send(now=NIGHT) == ["put_off"]
    assert _send(now=MORNING) == ["sent"]


@pytest.mark.parametrize(("old", "new"), [(DAY, 3 * DAY), (3 * DAY, DAY)])
def test_a_move_is_told_until_both_its_times_are_over(
    clinic: World, mailbox: Mailbox, old: timedelta, new: timedelta
) -> None:
    message = _move(clinic, old=NOW + old, new=NOW + new, now=NOW)
    assert message.deadline == NOW + 3 * DAY
    Message.objects.filter(pk=message.pk).update(next_attempt_at=NOW + 2 * DAY)
    assert _send(now=NOW + 2 * DAY) == ["sent"]


def test_a_move_of_which_both_times_are_over_is_not_told(clinic: World, mailbox: Mailbox) -> None:
    message = _move(clinic, old=NOW + 3 * DAY, new=NOW + DAY, now=NOW)
    assert _send(now=NOW + 3 * DAY) == ["suppressed"]
    message.refresh_from_db()
    assert message.reason == "too_late"


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
