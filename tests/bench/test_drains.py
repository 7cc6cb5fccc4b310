"""A drain in small: how fast messages come to a provider, by a clock that is moved."""

from datetime import timedelta

import pytest
from pytest_django import Settings

from bench import drains
from bench.drains import HOUR, MINUTE, Stub
from bench.worlds import NOW
from notifications.models import Message

pytestmark = pytest.mark.django_db

RECIPIENTS, EACH = 15, 6


def drained(settings: Settings, **figures: str) -> Stub:
    """Let all that is queued be sent with such limits; check that each was, once and in order."""
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, **figures}
    drains.queue(facilities=1, recipients=RECIPIENTS, each=EACH)
    with drains.serve() as stub:
        drains.forget()
        drains.drain(stub=stub)
        drains.forget()
    sent = Message.objects.filter(channel="sms").order_by("sent_at")
    assert set(sent.values_list("status", flat=True)) == {"sent"}
    assert sent.count() == RECIPIENTS * EACH
    ids = [callback.partition("message=")[2] for _, _, callback in stub.got]
    assert ids == [str(message.pk) for message in sent]
    for patient in set(sent.values_list("patient", flat=True)):
        seqs = list(sent.filter(patient=patient).values_list("seq", flat=True))
        assert seqs == sorted(seqs)
    return stub


def test_a_tenant_and_each_recipient_are_sent_as_many_as_they_may(settings: Settings) -> None:
    stub = drained(settings, messages="20/minute", message="4/hour")
    assert drains.most(stub=stub, within=MINUTE) == 20
    assert drains.most(stub=stub, within=HOUR, of_each=True) == 4
    # And it takes no longer than that: a first hour with four for each, and the rest after it.
    first = timedelta(minutes=RECIPIENTS * 4 / 20)
    assert stub.got[-1][0] - NOW < HOUR + 2 * first
    early = [at for at, _, _ in stub.got if at - NOW < 2 * first]
    assert len(early) == RECIPIENTS * 4


def test_without_limits_they_would_come_all_at_once(settings: Settings) -> None:
    """The control: the same is measured, and is more."""
    stub = drained(settings, messages="9999/minute", message="9999/hour")
    assert drains.most(stub=stub, within=MINUTE) == RECIPIENTS * EACH
    assert drains.most(stub=stub, within=HOUR, of_each=True) == EACH
