"""Who relays or sends is killed at each statement: nothing is lost, and nothing told twice anew.

How many statements there are is seen in the run: the last one is that after which nobody dies.
"""

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from pytest_django import Settings

from audit.models import Event, EventSeq, Unrelayed
from notifications import messages, webhooks
from notifications.models import ChannelSwitch, Message, WebhookEndpoint
from scheduling.models import Patient
from tests.audit import broker
from tests.notifications import mortals, receivers
from tests.notifications.mortals import Mortals
from tests.notifications.stub import Stub
from tests.notifications.told import relayed
from tests.waitlist import worlds
from tests.waitlist.worlds import NOW, World

pytestmark = pytest.mark.django_db(transaction=True)

#: More than one batch of what a mortal takes at once, which is 2 events or 3 messages.
WAITING = 4
JOINED = "waitlist.joined"


@pytest.fixture(scope="module")
def mortal(django_db_setup: None) -> Iterator[Mortals]:
    with mortals.opened() as mortal:
        yield mortal


@pytest.fixture
def clinic(transactional_db: None) -> World:
    """A clinic whose patients are told by SMS, too, that they joined."""
    clinic = worlds.build()
    ChannelSwitch.objects.create(tenant=clinic.tenant, kind=JOINED, channel="sms", is_on=True)
    return clinic


@pytest.fixture(autouse=True)
def _empty_queues() -> Iterator[None]:
    broker.empty()
    yield
    broker.empty()


def join(clinic: World, *, people: int) -> None:
    """Let so many more join, so that there is something to tell."""
    for _ in range(people):
        number = Patient.objects.count()
        clinic.join(patient=clinic.patient(phone=f"+447700{number:06}"))


def deaths() -> Iterator[tuple[int, str]]:
    """Yield each statement, and to die before it and after it, which is before its commit."""
    for statement in count(1):
        yield statement, "before"
        yield statement, "after"


# The relay


def check_relayed(endpoint: WebhookEndpoint) -> int:
    """Check that each event is still to be relayed, or is told as it should; return how many are.

    An event has a place and all its deliveries, or nothing at all.
    """
    happened = set(Event.objects.values_list("pk", flat=True))
    places = list(EventSeq.objects.values_list("event_id", flat=True))
    unrelayed = set(Unrelayed.objects.values_list("event_id", flat=True))
    assert len(places) == len(set(places))
    assert unrelayed | set(places) == happened
    assert not unrelayed & set(places)
    joined = Event.objects.filter(kind=JOINED, pk__in=places).values_list("pk", flat=True)
    assert sorted(Message.objects.values_list("event_id", "channel")) == sorted(
        (id, channel) for id in joined for channel in ("in_app", "email", "sms")
    )  # fmt: skip
    assert sorted(endpoint.deliveries.values_list("event_id", flat=True)) == sorted(joined)
    return len(places)


def test_a_relay_that_is_killed_anywhere_leaves_no_event_without_its_deliveries(
    clinic: World, mortal: Mortals
) -> None:
    """At each statement of two batches, and of the look that finds no third."""
    url = "https://a.example/"
    endpoint, _ = webhooks.add(tenant_id=clinic.tenant.pk, url=url, kinds=[JOINED])
    relayed()
    done = []
    for at, dies in deaths():
        join(clinic, people=WAITING - Unrelayed.objects.count())
        before = check_relayed(endpoint)
        if not mortal.run("relay_events", now=NOW, dies=dies, at=at):
            break
        done.append(check_relayed(endpoint) - before)
    assert check_relayed(endpoint) == Event.objects.count()
    # Batches are whole: each death was in the first, in the second, or after both.
    assert done == sorted(done)
    assert {*done} == {0, 2, 4}, "they died of nothing that mattered"


# Senders


def test_a_sender_that_is_killed_anywhere_loses_no_message(
    clinic: World, mortal: Mortals, twilio: Stub, settings: Settings
) -> None:
    """What it had is sent again, with the same id, once its claim has lapsed.

    At each statement of two batches, so also between sending and noting it.
    """
    names = ("TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_FROM", "TWILIO_URL")
    given = {name: getattr(settings, name) for name in names}
    queued = Message.objects.filter(channel="sms")
    now, killed, done = NOW, 0, set()
    for at in count(1):
        join(clinic, people=WAITING - queued.filter(status="queued").count())
        relayed(now=now)
        died = mortal.run("send_messages", "sms", now=now, dies="before", at=at, **given)
        done.add(WAITING - queued.filter(status="queued").count())
        if not died:
            break
        killed += 1
        now += messages.LEASE
    assert done == {*range(WAITING + 1)}, "they died of nothing that mattered"
    assert set(queued.values_list("status", flat=True)) == {"sent"}
    sent = [call.form for call in twilio.calls]
    ids = [form["StatusCallback"].partition("message=")[2] for form in sent]
    assert set(ids) == {str(message.pk) for message in queued}
    # What came again is the same in every word, and no more than one for each that was killed.
    assert len(queued) < len(sent) <= len(queued) + killed
    assert len({tuple(sorted(form.items())) for form in sent}) == len(queued)


def test_a_sender_of_webhooks_that_is_killed_anywhere_loses_none(
    clinic: World, mortal: Mortals, settings: Settings
) -> None:
    near: Any = {"WEBHOOKS_ALLOW_HTTP": True, "WEBHOOKS_ALLOW_PRIVATE": True}
    settings.WEBHOOKS_ALLOW_HTTP = settings.WEBHOOKS_ALLOW_PRIVATE = True
    with receivers.opened() as receiver:
        url = receiver.url
        endpoint, _ = webhooks.add(tenant_id=clinic.tenant.pk, url=url, kinds=[JOINED])
        told = endpoint.deliveries.order_by("seq")
        now, killed, args = NOW, 0, ("send_webhooks", str(endpoint.pk))
        for at, dies in deaths():
            join(clinic, people=WAITING - told.filter(status="pending").count())
            relayed(now=now)
            if not mortal.run(*args, now=now, dies=dies, at=at, **near):
                break
            killed += 1
            now += webhooks.LEASE
    assert set(told.values_list("status", flat=True)) == {"delivered"}
    # In their order; what came again has the id that it had, and follows itself.
    assert list(dict.fromkeys(receiver.ids)) == [str(row.event_id) for row in told]
    assert len(told) < len(receiver.ids) <= len(told) + killed
