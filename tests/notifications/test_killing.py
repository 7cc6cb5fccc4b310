"""Who relays or sends is killed at any statement: nothing is lost, and nothing told twice anew."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
from pytest_django import Settings

from audit.models import Event, EventSeq, Unrelayed
from notifications import messages, webhooks
from notifications.models import ChannelSwitch, Message, WebhookEndpoint
from tests.audit import broker
from tests.notifications import mortals, receivers
from tests.notifications.mortals import Mortals
from tests.notifications.stub import Stub
from tests.notifications.told import relayed
from tests.waitlist import worlds
from tests.waitlist.worlds import NOW, World

pytestmark = pytest.mark.django_db(transaction=True)

PEOPLE = 12
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


def join(clinic: World, *, people: int = PEOPLE) -> None:
    """Let people join, so that there is something to tell."""
    for number in range(people):
        clinic.join(patient=clinic.patient(phone=f"+4477009001{number:02}"))


def deaths(*, seed: int, statements: int, rounds: int) -> Iterator[tuple[str, int]]:
    """Choose statements, each to die before or after it; the same for the same seed."""
    luck = random.Random(seed)
    for _ in range(rounds):
        yield luck.choice(["before", "after"]), luck.randint(1, statements)


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
    """At each statement of two batches, before it and after it, which is before its commit."""
    url = "https://a.example/"
    endpoint, _ = webhooks.add(tenant_id=clinic.tenant.pk, url=url, kinds=[JOINED])
    join(clinic, people=2 * PEOPLE)
    done = []
    for statement in range(1, 9):
        for dies in ("before", "after"):
            assert mortal.run("relay_events", now=NOW, dies=dies, at=statement)
            done.append(check_relayed(endpoint))
    assert not mortal.run("relay_events", now=NOW)
    assert check_relayed(endpoint) == Event.objects.count()
    assert done[0] == 0
    assert 0 < done[-1] < Event.objects.count(), "they died of nothing that mattered"


# Senders


def test_a_sender_that_is_killed_anywhere_loses_no_message(
    clinic: World, mortal: Mortals, twilio: Stub, settings: Settings
) -> None:
    """What it had is sent again, with the same id, once its claim has lapsed."""
    join(clinic)
    relayed()
    names = ("TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_FROM", "TWILIO_URL")
    given = {name: getattr(settings, name) for name in names}
    now, killed = NOW, 0
    for dies, at in deaths(seed=5, statements=40, rounds=14):
        killed += mortal.run("send_messages", "sms", now=now, dies=dies, at=at, **given)
        now += messages.LEASE
    assert not mortal.run("send_messages", "sms", now=now, **given)
    queued = Message.objects.filter(channel="sms")
    assert set(queued.values_list("status", flat=True)) == {"sent"}
    sent = [call.form for call in twilio.calls]
    ids = [form["StatusCallback"].partition("message=")[2] for form in sent]
    assert set(ids) == {str(message.pk) for message in queued}
    # What came again is the same in every word, and no more than one for each that was killed.
    assert PEOPLE < len(sent) <= PEOPLE + killed
    assert len({tuple(sorted(form.items())) for form in sent}) == PEOPLE


def test_a_sender_of_webhooks_that_is_killed_anywhere_loses_none(
    clinic: World, mortal: Mortals, settings: Settings
) -> None:
    near: Any = {"WEBHOOKS_ALLOW_HTTP": True, "WEBHOOKS_ALLOW_PRIVATE": True}
    settings.WEBHOOKS_ALLOW_HTTP = settings.WEBHOOKS_ALLOW_PRIVATE = True
    with receivers.opened() as receiver:
        url = receiver.url
        endpoint, _ = webhooks.add(tenant_id=clinic.tenant.pk, url=url, kinds=[JOINED])
        join(clinic)
        relayed()
        now, killed, args = NOW, 0, ("send_webhooks", str(endpoint.pk))
        for dies, at in deaths(seed=7, statements=25, rounds=12):
            killed += mortal.run(*args, now=now, dies=dies, at=at, **near)
            now += webhooks.LEASE
        assert not mortal.run(*args, now=now, **near)
    told = endpoint.deliveries.order_by("seq")
    assert set(told.values_list("status", flat=True)) == {"delivered"}
    # In their order; what came again has the id that it had, and follows itself.
    assert list(dict.fromkeys(receiver.ids)) == [str(row.event_id) for row in told]
    assert PEOPLE < len(receiver.ids) <= PEOPLE + killed
