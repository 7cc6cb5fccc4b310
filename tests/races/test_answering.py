"""Races of answers by SMS: one that comes twice at once, and one that comes as the offer lapses."""

import pytest

from config import testing
from notifications import inbound, relay
from notifications.models import InboundMessage
from notifications.words import Meaning, Said
from scheduling.models import Appointment, Patient
from tests.races import race, sabotage, scene
from waitlist import holds, invariants
from waitlist.models import Hold

PHONE = "+15005550006"


def offer() -> Hold:
    """Offer a slot to somebody with a phone, who is told so."""
    hold = scene.offer(at=scene.clinic())
    Patient.objects.filter(hold=hold).update(phone=PHONE)
    relay.relay(limit=100, now=scene.NOW)
    return hold


def say(meaning: Meaning, *, id: str = "SM1") -> race.Call:
    """Answer in time."""

    def call() -> str:
        taken = inbound.take(
            channel="sms",
            provider_message_id=id,
            phones=[PHONE],
            said=Said(meaning),
            now=scene.NOW,
        )
        return str(taken.outcome)

    return call


def expire() -> int:
    """Sweep after the deadline."""
    return holds.expire_due(now=scene.LATER, limit=100)


@pytest.mark.parametrize("meaning", [Meaning.YES, Meaning.NO])
def test_of_many_replays_at_once_one_answers_and_all_are_told_the_same(meaning: Meaning) -> None:
    hold = offer()
    outcomes = race.run(*[say(meaning)] * 20)
    answer = "accepted" if meaning == Meaning.YES else "declined"
    assert {outcome.value for outcome in outcomes} == {answer}
    assert InboundMessage.objects.count() == 1
    hold.refresh_from_db()
    assert hold.status == answer
    assert invariants.breaches() == []


INSERT = 'INSERT INTO "notifications_inboundmessage"'


def test_of_two_replays_the_second_waits_for_the_first() -> None:
    offer()
    outcomes = race.run(*[say(Meaning.YES)] * 2, before=[INSERT])
    assert [outcome.value for outcome in outcomes] == ["accepted"] * 2
    assert InboundMessage.objects.count() == 1


def test_without_the_constraint_both_are_taken() -> None:
    with sabotage.no_constraints("inbound_once"):
        offer()
        outcomes = race.run(*[say(Meaning.YES)] * 2, before=[INSERT])
        assert race.errors(outcomes) == set()
        assert InboundMessage.objects.count() == 2
        # The lock of the hold lets only one of them book nevertheless.
        assert Appointment.objects.count() == 1


@pytest.mark.parametrize("first", ["answer", "expiry"])
def test_a_yes_books_or_is_told_that_it_is_late_wherever_the_expiry_comes_in(first: str) -> None:
    """Stop the first before each of its statements in turn and let the other in."""
    hold: list[Hold] = []
    ends = set()

    def begin() -> None:
        testing.empty_tables()
        hold[:] = [offer()]

    def answer() -> race.Call:
        if first == "answer":
            begin()
        return say(Meaning.YES)

    def expiry() -> race.Call:
        if first == "expiry":
            begin()
        return expire

    makers = (answer, expiry) if first == "answer" else (expiry, answer)
    for outcomes in race.interleave(first=makers[0], then=makers[1]):
        assert race.errors(outcomes) == set(), outcomes
        values = {type(outcome.value): outcome.value for outcome in outcomes}
        hold[0].refresh_from_db()
        booked = hold[0].status == Hold.Status.ACCEPTED
        assert values[str] == ("accepted" if booked else "closed")
        assert values[int] == (0 if booked else 1)
        assert Appointment.objects.count() == booked
        assert InboundMessage.objects.get().outcome == values[str]
        assert invariants.breaches() == []
        ends.add(hold[0].status)
    assert ends == {Hold.Status.ACCEPTED, Hold.Status.EXPIRED}


def test_two_different_answers_at_once_book_once() -> None:
    hold = offer()
    outcomes = race.run(say(Meaning.YES, id="SM1"), say(Meaning.NO, id="SM2"))
    assert race.errors(outcomes) == set()
    hold.refresh_from_db()
    assert sorted(str(outcome.value) for outcome in outcomes) in (
        ["accepted", "closed"],
        ["closed", "declined"],
    )
    assert hold.status in {"accepted", "declined"}
    assert invariants.breaches() == []
