"""Sending: rows are claimed, sent with the same id until that works, and sent in order."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection

from accounts import members
from accounts.models import Membership, User
from audit import sql
from audit.events import Actor
from notifications import deliveries, messages, preferences, senders, tasks
from notifications.channels import Away, Content, Failed
from notifications.models import Message
from scheduling import appointments, patients
from scheduling.models import Appointment, Patient
from tests import factories, venues
from tests.audit import broker
from tests.notifications.stub import Stub
from tests.notifications.told import relayed
from tests.waitlist import asking
from tests.waitlist.worlds import DAY, HOUR, MINUTE, NOW, SECOND, STAFF, World
from waitlist import entries, holds

pytestmark = pytest.mark.django_db


@dataclass
class Fake:
    """A channel that notes what it is to send, and fails as it is told."""

    sent: list[tuple[Message, str, Content]] = field(default_factory=list)
    failure: Failed | Exception | None = None

    def is_on(self) -> bool:
        return True

    def send(self, *, message: Message, address: str, content: Content) -> str:
        if self.failure:
            raise self.failure
        self.sent.append((message, address, content))
        return f"id of {message.pk}"

    @property
    def kinds(self) -> list[str]:
        """What was sent, in order."""
        return [message.kind for message, _, _ in self.sent]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    fake = Fake()
    monkeypatch.setattr(senders, "of", lambda *, channel: fake)
    return fake


def _claim(*, now: datetime = NOW, limit: int = 100) -> list[Message]:
    return list(messages.claim(channel="email", now=now, limit=limit))


def _send(*, now: datetime = NOW) -> list[str]:
    return [deliveries.deliver(message=message, now=now) for message in _claim(now=now)]


def _send_all() -> None:
    """Relay, and send until nothing is due."""
    relayed()
    while _send():
        pass


def _queue(clinic: World) -> Message:
    clinic.join()
    relayed()
    return Message.objects.get(channel="email")


def test_a_message_is_sent_once_and_what_the_provider_calls_it_is_noted(
    clinic: World, fake: Fake
) -> None:
    queued = _queue(clinic)
    assert _send() == ["sent"]
    assert _send(now=NOW + DAY) == []
    queued.refresh_from_db()
    assert (queued.status, queued.provider_message_id) == ("sent", f"id of {queued.pk}")
    assert (queued.sent_at, queued.attempts, queued.next_attempt_at) == (NOW, 1, None)
    [(_, address, content)] = fake.sent
    assert queued.patient is not None
    assert address == queued.patient.email
    assert clinic.facility.name in content.subject
    assert queued.patient.name in content.body


def test_what_a_killed_sender_had_is_sent_again_with_the_same_id(clinic: World, fake: Fake) -> None:
    _queue(clinic)
    [lost] = _claim()
    assert _claim(now=NOW + messages.LEASE - SECOND) == []
    [again] = _claim(now=NOW + messages.LEASE)
    assert again.pk == lost.pk
    assert deliveries.deliver(message=again, now=NOW + messages.LEASE) == "sent"
    # The one that was thought lost comes back: what it says is not heard.
    assert not messages.note_sent(message=lost, provider_message_id="late", now=NOW + DAY)
    lost.refresh_from_db()
    assert lost.provider_message_id == f"id of {lost.pk}"


def test_a_failure_that_may_pass_is_tried_again_later_and_later_until_given_up(
    clinic: World, fake: Fake
) -> None:
    queued = _queue(clinic)
    fake.failure = Failed(permanent=False, code="unreachable")
    now, waits = NOW, []
    for _ in range(messages.MAX_ATTEMPTS - 1):
        assert _send(now=now) == ["retried"]
        queued.refresh_from_db()
        assert queued.next_attempt_at is not None
        assert _send(now=queued.next_attempt_at - SECOND) == []
        waits.append(queued.next_attempt_at - now)
        now = queued.next_attempt_at
    assert _send(now=now) == ["failed"]
    queued.refresh_from_db()
    assert (queued.status, queued.reason, queued.closed_at) == ("failed", "unreachable", now)
    assert timedelta(seconds=15) <= waits[0] <= timedelta(seconds=30)
    assert timedelta(minutes=30) <= waits[-1] <= timedelta(hours=1)


def test_a_failure_that_would_come_again_is_final_until_staff_try_again(
    clinic: World, fake: Fake
) -> None:
    queued = _queue(clinic)
    fake.failure = Failed(permanent=True, code="address_refused")
    assert _send() == ["failed"]
    fake.failure = None
    assert _send(now=NOW + DAY) == []
    messages.retry(message_id=queued.pk, now=NOW + DAY)
    assert _send(now=NOW + DAY) == ["sent"]
    with pytest.raises(messages.NotFailed):
        messages.retry(message_id=queued.pk, now=NOW)


def test_a_failed_message_can_be_put_aside(clinic: World, fake: Fake) -> None:
    queued = _queue(clinic)
    with pytest.raises(messages.NotFailed):
        messages.dismiss(message_id=queued.pk, now=NOW)
    fake.failure = Failed(permanent=True, code="address_refused")
    _send()
    assert messages.dismiss(message_id=queued.pk, now=NOW).status == "dismissed"
    assert _send(now=NOW + DAY) == []


def test_a_fault_of_ours_is_a_failure_of_one_message(clinic: World, fake: Fake) -> None:
    queued = _queue(clinic)
    fake.failure = ZeroDivisionError()
    assert _send() == ["retried"]
    queued.refresh_from_db()
    assert queued.reason == "error"


def test_a_fault_of_ours_is_not_tried_for_hours(clinic: World, fake: Fake) -> None:
    """It comes again each time, and all else about the entry would wait for that."""
    queued = _queue(clinic)
    fake.failure = ZeroDivisionError()
    outcomes = [_send(now=NOW + n * HOUR) for n in range(messages.MAX_FAULTS + 1)]
    assert outcomes == [["retried"], ["retried"], ["failed"], []]
    queued.refresh_from_db()
    assert (queued.status, queued.reason) == ("failed", "error")


def test_what_a_provider_reports_is_noted_once(clinic: World, fake: Fake) -> None:
    queued = _queue(clinic)
    _send()

    def report(*, delivered: bool, id: str = f"id of {queued.pk}") -> bool:
        return messages.note_report(
            channel="email", provider_message_id=id, delivered=delivered, code="bounced", now=NOW
        )

    assert not report(delivered=True, id="another")
    assert report(delivered=True)
    assert not report(delivered=True)
    assert not report(delivered=False)
    queued.refresh_from_db()
    assert (queued.status, queued.delivered_at, queued.reason) == ("delivered", NOW, "")


# What is worth nothing any more


def test_an_offer_that_is_answered_before_it_is_sent_is_not_sent(clinic: World, fake: Fake) -> None:
    hold = clinic.offer()
    relayed()
    holds.decline(hold_id=hold.pk, actor=STAFF, now=NOW)
    _send()
    _send()
    assert fake.kinds == ["waitlist.joined"]
    offer = Message.objects.get(kind="waitlist.hold_offered", channel="email")
    assert (offer.status, offer.reason) == ("suppressed", "closed")


def test_an_offer_whose_time_is_over_is_not_sent(clinic: World, fake: Fake) -> None:
    hold = clinic.offer()
    relayed()
    _send()
    assert _send(now=hold.expires_at) == ["suppressed"]
    offer = Message.objects.get(kind="waitlist.hold_offered", channel="email")
    assert offer.reason == "too_late"


def _unsubscribe(patient: Patient) -> None:
    preferences.change(
        tenant_id=patient.tenant_id,
        patient_id=patient.pk,
        user_id=None,
        changes={"waitlist_reminders": False},
    )


def _want_no_mail(patient: Patient) -> None:
    preferences.change(
        tenant_id=patient.tenant_id, patient_id=patient.pk, user_id=None, changes={"email": False}
    )


def _lose_address(patient: Patient) -> None:
    Patient.objects.filter(pk=patient.pk).update(email="")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_unsubscribe, "unsubscribed"),
        (_want_no_mail, "not_wanted"),
        (_lose_address, "no_address"),
    ],
)
def test_what_somebody_wants_is_asked_again_when_it_is_sent(
    clinic: World, fake: Fake, change: Callable[[Patient], None], reason: str
) -> None:
    queued = _queue(clinic)
    assert queued.patient is not None
    change(queued.patient)
    assert _send() == ["suppressed"]
    queued.refresh_from_db()
    assert (queued.status, queued.reason) == ("suppressed", reason)
    assert fake.sent == []


# Who is there no longer


@pytest.fixture
def member(clinic: World) -> Membership:
    """Who works for an organizer, and is to be told that it waits."""
    place = venues.open_venue(name="Great Hall")
    organizer = asking.organizer(name="Bright Events")
    factories.MembershipFactory.create(tenant=organizer, role="admin")
    member = factories.MembershipFactory.create(tenant=organizer)
    [source] = asking.refused(places=[place], by=organizer, title="Spring gala")
    entries.join_venue(
        rfp_venue_id=source.pk,
        organizer_id=organizer.pk,
        actor=Actor("user", member.user_id),
        now=NOW,
    )
    relayed()
    return member


def _remove(member: Membership) -> None:
    factories.MembershipFactory.create(user=member.user)  # elsewhere, which counts for nothing
    members.remove(tenant_id=member.tenant_id, member_id=member.pk, actor=STAFF, now=NOW)


def _disable(member: Membership) -> None:
    User.objects.filter(pk=member.user_id).update(is_active=False)


def test_who_works_there_is_written_to(fake: Fake, member: Membership) -> None:
    assert _send() == ["sent"]
    assert [address for _, address, _ in fake.sent] == [member.user.email]


@pytest.mark.parametrize("is_claimed", [False, True])
@pytest.mark.parametrize("leave", [_remove, _disable])
def test_who_works_there_no_longer_is_not_written_to(
    fake: Fake, member: Membership, leave: Callable[[Membership], None], is_claimed: bool
) -> None:
    claimed = _claim() if is_claimed else []
    leave(member)
    for message in claimed or _claim():
        assert deliveries.deliver(message=message, now=NOW) == "suppressed"
    assert fake.sent == []
    message = Message.objects.get(channel="email", user=member.user)
    assert (message.status, message.reason) == ("suppressed", "left")


def test_what_is_claimed_is_not_sent_to_a_user_who_is_gone(fake: Fake, member: Membership) -> None:
    [message] = _claim()
    User.objects.filter(pk=member.user_id).delete()
    assert deliveries.deliver(message=message, now=NOW) == "lost"
    assert fake.sent == []


def test_what_is_claimed_is_not_sent_to_who_was_erased(clinic: World, fake: Fake) -> None:
    queued = _queue(clinic)
    [message] = _claim()
    assert queued.patient_id is not None
    patients.erase(patient_id=queued.patient_id, actor=STAFF, now=NOW)
    assert deliveries.deliver(message=message, now=NOW) == "suppressed"
    assert fake.sent == []
    queued.refresh_from_db()
    assert (queued.status, queued.reason) == ("suppressed", "erased")


def test_what_is_claimed_is_sent_to_the_address_of_now(
    clinic: World, fake: Fake, twilio: Stub
) -> None:
    patient = clinic.patient(phone="+447700900123")
    clinic.offer(entry=clinic.join(patient=patient))
    relayed()
    [sms] = messages.claim(channel="sms", now=NOW, limit=1)
    [mail] = _claim()
    changes = {"phone": "+447700900456", "email": "new@example.org"}
    patients.update(patient_id=patient.pk, changes=changes, actor=STAFF, now=NOW)
    assert [deliveries.deliver(message=one, now=NOW) for one in (sms, mail)] == ["sent", "sent"]
    assert [address for _, address, _ in fake.sent] == [changes["phone"], changes["email"]]


# In order


def test_what_is_told_about_one_entry_is_told_in_order(clinic: World, fake: Fake) -> None:
    entry = clinic.join()
    hold = clinic.offer(entry=entry)
    entries.cancel(entry_id=entry.pk, reason="no_longer_needed", actor=STAFF, now=NOW)
    relayed()
    assert [_send() for _ in range(4)] == [["sent"], ["suppressed"], ["sent"], []]
    assert fake.kinds == ["waitlist.joined", "waitlist.cancelled"]
    assert Message.objects.get(reason="closed").hold == hold


def test_what_is_told_later_waits_for_what_is_tried_again(clinic: World, fake: Fake) -> None:
    entry = clinic.join()
    entries.cancel(entry_id=entry.pk, reason="no_longer_needed", actor=STAFF, now=NOW)
    relayed()
    fake.failure = Failed(permanent=False, code="unreachable")
    assert _send() == ["retried"]
    fake.failure = None
    assert _send() == []
    later = NOW + MINUTE
    assert [_send(now=later) for _ in range(3)] == [["sent"], ["sent"], []]
    assert fake.kinds == ["waitlist.joined", "waitlist.cancelled"]


def test_an_offer_waits_for_nothing_that_was_not_taken(clinic: World, fake: Fake) -> None:
    """Else its time to answer would run out for a mail that says less."""
    clinic.offer(entry=clinic.join())
    relayed()
    fake.failure = Failed(permanent=False, code="address_refused")
    assert _send() == ["retried"]
    fake.failure = None
    assert _send() == ["sent"]
    assert fake.kinds == ["waitlist.hold_offered"]
    assert _send(now=NOW + MINUTE) == ["sent"]
    assert fake.kinds[1:] == ["waitlist.joined"]


def test_an_offer_waits_for_what_is_being_sent(clinic: World, fake: Fake) -> None:
    clinic.offer(entry=clinic.join())
    relayed()
    [joined] = _claim()
    assert _claim() == []
    assert deliveries.deliver(message=joined, now=NOW) == "sent"
    assert _send() == ["sent"]


def test_what_was_put_off_is_told_before_an_offer_though_what_was_before_it_fails(
    clinic: World, fake: Fake
) -> None:
    entry = clinic.join()
    hold = clinic.offer(entry=entry)
    now = hold.expires_at
    holds.expire_due(now=now, limit=10)
    clinic.offer(entry=entry, slot=clinic.slot(at=now + 2 * DAY), now=now)
    relayed()
    joined, expired = (
        Message.objects.filter(kind=f"waitlist.{name}", channel="email")
        for name in ("joined", "hold_expired")
    )
    joined.update(attempts=1, next_attempt_at=now + DAY)
    expired.update(next_attempt_at=now + DAY)
    for _ in range(3):
        _send(now=now)
    assert fake.kinds == ["waitlist.hold_expired", "waitlist.hold_offered"]


def test_one_that_failed_for_good_holds_up_no_later_one(clinic: World, fake: Fake) -> None:
    entry = clinic.join()
    entries.cancel(entry_id=entry.pk, reason="no_longer_needed", actor=STAFF, now=NOW)
    relayed()
    fake.failure = Failed(permanent=True, code="refused")
    assert _send() == ["failed"]
    fake.failure = None
    assert _send() == ["sent"]
    assert fake.kinds == ["waitlist.cancelled"]


def test_one_entry_holds_up_no_other(clinic: World, fake: Fake) -> None:
    clinic.join()
    clinic.join()
    relayed()
    [first, second] = _claim()
    fake.failure = Failed(permanent=False, code="unreachable")
    assert deliveries.deliver(message=first, now=NOW) == "retried"
    fake.failure = None
    assert deliveries.deliver(message=second, now=NOW) == "sent"


# Of one appointment, which no entry need have been for


def _book(clinic: World) -> Appointment:
    appointment = clinic.book()
    relayed()
    return appointment


def _move(appointment: Appointment, clinic: World) -> None:
    appointments.reschedule(
        appointment_id=appointment.pk,
        slot_id=clinic.slot(at=NOW + 3 * DAY).pk,
        actor=STAFF,
        now=NOW,
    )
    relayed()


def _cancel(appointment: Appointment) -> None:
    appointments.cancel(
        appointment_id=appointment.pk, reason="patient_request", actor=STAFF, now=NOW
    )
    relayed()


def test_what_is_told_about_one_appointment_is_told_in_order(clinic: World, fake: Fake) -> None:
    appointment = _book(clinic)
    _move(appointment, clinic)
    [booked] = _claim()
    assert _claim() == []  # while the first is being sent
    assert deliveries.deliver(message=booked, now=NOW) == "sent"
    assert [_send(), _send()] == [["sent"], []]
    assert fake.kinds == ["appointment.booked", "appointment.rescheduled"]


def test_an_offer_that_was_accepted_is_one_appointment_too(clinic: World, fake: Fake) -> None:
    hold = clinic.offer(entry=clinic.join())
    _send_all()
    appointment = holds.accept(hold_id=hold.pk, actor=STAFF, now=NOW)
    _move(appointment, clinic)
    told = set[str]()
    while claimed := _claim():
        [message] = claimed
        told.add(message.kind)
        assert message.kind != "appointment.rescheduled" or len(told) == 3
        deliveries.deliver(message=message, now=NOW)
    assert told == {"appointment.booked", "waitlist.converted", "appointment.rescheduled"}


@pytest.mark.parametrize("move", [False, True])
def test_who_is_booked_no_longer_is_not_told_late_that_they_are(
    clinic: World, fake: Fake, move: bool
) -> None:
    appointment = _book(clinic)
    if move:
        _send()
        _move(appointment, clinic)
    fake.failure = Failed(permanent=False, code="unreachable")
    assert _send() == ["retried"]
    fake.failure = None
    _cancel(appointment)
    # The last word does not wait for what is tried again, and is the last.
    assert _send() == ["sent"]
    assert _send(now=NOW + MINUTE) == ["suppressed"]
    assert fake.kinds[int(move) :] == ["appointment.cancelled"]
    assert Message.objects.get(reason="closed").kind != "appointment.cancelled"


def test_staff_cannot_tell_again_what_is_over(clinic: World, fake: Fake) -> None:
    appointment = _book(clinic)
    fake.failure = Failed(permanent=True, code="address_refused")
    assert _send() == ["failed"]
    fake.failure = None
    _cancel(appointment)
    assert _send() == ["sent"]
    messages.retry(message_id=Message.objects.get(status="failed").pk, now=NOW)
    assert _send() == ["suppressed"]


def test_who_has_left_the_waitlist_for_what_was_cancelled_is_not_told_that_they_are_booked(
    clinic: World, fake: Fake
) -> None:
    hold = clinic.offer(entry=clinic.join())
    _send_all()
    _cancel(holds.accept(hold_id=hold.pk, actor=STAFF, now=NOW))
    fake.sent.clear()
    _send_all()
    assert fake.kinds == ["appointment.cancelled"]


def test_one_appointment_holds_up_no_other(clinic: World, fake: Fake) -> None:
    patient = clinic.patient()
    for day in (1, 2):
        clinic.book(patient=patient, slot=clinic.slot(at=NOW + day * DAY))
    relayed()
    assert len(_claim()) == 2


def test_the_order_is_read_by_index(clinic: World) -> None:
    """However many are queued, each is compared with those of its own entry and appointment."""
    statement = sql.text(app="notifications", name="claim_messages")
    params: dict[str, Any] = {
        "channel": "email", "now": NOW, "until": NOW, "urgent": ["waitlist.hold_offered"],
        "limit": 20,
    }  # fmt: skip
    with connection.cursor() as cursor:
        for other in ("seqscan", "hashjoin", "mergejoin"):  # which so few rows would have
            cursor.execute(f"SET LOCAL enable_{other} = off")
        cursor.execute(f"EXPLAIN {statement}", params)
        plan = "\n".join(line for (line,) in cursor.fetchall())
    for index in ("message_due", "message_order", "message_appointment"):
        assert index in plan


# The tasks


@pytest.mark.usefixtures("by_day")
def test_the_task_sends_all_there_is_in_order(
    clinic: World, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "BATCH", 2)
    for _ in range(3):
        clinic.join()
    entry = clinic.join()
    entries.cancel(entry_id=entry.pk, reason="no_longer_needed", actor=STAFF, now=NOW)
    relayed(now=NOW)
    assert tasks.send_messages("email") == {"sent": 5}
    assert fake.kinds[-1] == "waitlist.cancelled"
    assert tasks.send_messages("email") == {}


@pytest.mark.usefixtures("by_day")
def test_what_is_left_after_a_turn_waits_behind_all_others(
    clinic: World, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    clinic.join()
    relayed(now=NOW)
    broker.empty()
    monkeypatch.setattr(tasks, "TURN", 0)
    assert tasks.send_messages("email") == {}
    again = ("notifications", "notifications.tasks.send_messages", ["email"])
    assert broker.messages() == [again]
    broker.empty()


@pytest.mark.usefixtures("by_day")
def test_a_channel_that_is_away_rests(clinic: World, fake: Fake) -> None:
    for _ in range(5):
        clinic.join()
    relayed(now=NOW)
    fake.failure = Away(code="unreachable")
    assert tasks.send_messages("email") == {"away": 3}
    fake.failure = None
    assert tasks.send_messages("email") == {}
    cache.clear()
    assert tasks.send_messages("email") == {"sent": 2}
    untried = Message.objects.filter(channel="email", status="sent")
    assert set(untried.values_list("attempts", flat=True)) == {1}


@pytest.mark.usefixtures("by_day")
@pytest.mark.parametrize("failure", [Failed(permanent=False, code="refused"), ZeroDivisionError()])
def test_what_is_wrong_with_single_messages_makes_no_channel_rest(
    clinic: World, fake: Fake, failure: Exception
) -> None:
    for _ in range(5):
        clinic.join()
    relayed(now=NOW)
    fake.failure = failure
    assert tasks.send_messages("email") == {"retried": 5}
