"""Answers by SMS and WhatsApp: whose they are, which offer they mean, and what is said to them."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from audit.models import Event
from notifications import inbound, preferences, replies, words
from notifications.models import InboundMessage, Preference
from notifications.words import Meaning, Said
from scheduling import appointments
from scheduling.models import Appointment, Patient
from tests.factories import MembershipFactory, UserFactory
from tests.notifications.told import relayed
from tests.waitlist import worlds
from tests.waitlist.worlds import DAY, HOUR, MINUTE, NOW, STAFF, World, accept, decline
from waitlist import holds, invariants
from waitlist.models import Hold

pytestmark = pytest.mark.django_db

PHONE = "+15005550006"


@pytest.fixture
def patient(clinic: World) -> Patient:
    """Somebody with a phone."""
    return clinic.patient(phone=PHONE)


def _offer(clinic: World, patient: Patient, *, after: timedelta = DAY) -> Hold:
    """Offer a time in its own queue and tell them."""
    place = clinic if not Hold.objects.exists() else clinic.neighbour()
    hold = place.offer(entry=place.join(patient=patient), slot=place.slot(at=NOW + after))
    relayed()
    return hold


def _say(
    text: str | Said, *, id: str | None = None, phone: str = PHONE, now: datetime = NOW,
    channel: str = "sms",
) -> InboundMessage:  # fmt: skip
    """Let somebody send a text, or press a button."""
    return inbound.take(
        channel=channel,
        provider_message_id=id or f"SM{InboundMessage.objects.count()}",
        phones=[phone],
        said=words.read(text=text) if isinstance(text, str) else text,
        now=now,
    )


def _reply(taken: InboundMessage) -> str:
    return replies.compose(inbound=taken, language="en")


def _status(hold: Hold) -> str:
    hold.refresh_from_db()
    return hold.status


# Yes and no


def test_yes_books_the_one_offer(clinic: World, patient: Patient) -> None:
    hold = _offer(clinic, patient)
    taken = _say("YES")
    assert (taken.outcome, taken.patient, taken.hold) == ("accepted", patient, hold)
    assert Appointment.objects.get().patient == patient
    assert _reply(taken) == (
        f"You are booked: Tue 5 Mar 10:00 with {clinic.provider.name}, {clinic.facility.name}."
    )
    assert invariants.breaches() == []


def test_no_declines_it(clinic: World, patient: Patient) -> None:
    hold = _offer(clinic, patient)
    taken = _say("no")
    assert (taken.outcome, _status(hold)) == ("declined", "declined")
    assert _reply(taken) == "Thank you. Tue 5 Mar 10:00 goes to the next person."


def test_the_answer_is_the_patients_in_the_log(clinic: World, patient: Patient) -> None:
    _offer(clinic, patient)
    _say("YES")
    booked = Event.objects.get(kind="appointment.booked")
    assert (booked.actor_type, booked.actor_id) == ("patient", patient.pk)


def test_a_button_answers_its_offer_whatever_else_there_is(clinic: World, patient: Patient) -> None:
    first, second = _offer(clinic, patient), _offer(clinic, patient, after=2 * DAY)
    said = Said(Meaning.NO, hold_id=second.pk)
    assert _say(said, channel="whatsapp").outcome == "declined"
    assert (_status(first), _status(second)) == ("offered", "declined")


def test_each_is_answered_in_their_language(clinic: World, patient: Patient) -> None:
    Patient.objects.update(language="fr")
    _offer(clinic, patient)
    assert _reply(_say("yes")).startswith("Votre rendez-vous : 5/3 10:00 avec")


# The same again


def test_a_message_that_comes_again_is_told_the_same_and_does_nothing(
    clinic: World, patient: Patient
) -> None:
    _offer(clinic, patient)
    first = _reply(_say("YES", id="one"))
    second = _offer(clinic, patient, after=2 * DAY)
    assert _reply(_say("YES", id="one")) == first
    assert _status(second) == "offered"
    assert InboundMessage.objects.count() == 1


def test_the_same_id_on_another_channel_is_another_message(clinic: World, patient: Patient) -> None:
    _offer(clinic, patient)
    assert _say("YES", id="one").outcome == "accepted"
    assert _say("hello", id="one", channel="whatsapp").outcome == "nothing"


@pytest.mark.parametrize(("text", "outcome"), [("YES", "accepted"), ("NO", "declined")])
def test_who_says_it_twice_is_told_the_same(
    clinic: World, patient: Patient, text: str, outcome: str
) -> None:
    _offer(clinic, patient)
    assert _reply(_say(text)) == _reply(_say(text))
    assert set(InboundMessage.objects.values_list("outcome", flat=True)) == {outcome}


# Too late


def _expire(hold: Hold) -> None:
    holds.expire_due(now=hold.expires_at, limit=10)


def _accept_then_cancel(hold: Hold) -> None:
    booked = accept(hold)
    appointments.cancel(appointment_id=booked.pk, reason="patient_request", actor=STAFF, now=NOW)


@pytest.mark.parametrize(
    "end",
    [
        decline,
        _expire,
        _accept_then_cancel,
        lambda hold: holds.take_back(hold_id=hold.pk, reason="by_mistake", actor=STAFF, now=NOW),
    ],
)
def test_a_stale_yes_is_told_so(
    clinic: World, patient: Patient, end: Callable[[Hold], object]
) -> None:
    hold = _offer(clinic, patient)
    end(hold)
    for said in ("YES", Said(Meaning.YES, hold_id=hold.pk)):
        taken = _say(said)
        assert (taken.outcome, taken.hold) == ("closed", hold)
        assert "answered or is over" in _reply(taken)
    assert not Appointment.objects.filter(status="booked").exists()


def test_a_yes_after_the_deadline_is_too_late_though_no_sweep_was_there(
    clinic: World, patient: Patient
) -> None:
    hold = _offer(clinic, patient)
    assert _say("YES", now=hold.expires_at).outcome == "closed"


def test_a_time_that_cannot_be_booked_is_told(clinic: World, patient: Patient) -> None:
    _offer(clinic, patient)
    type(clinic.provider).objects.update(is_active=False)
    taken = _say("YES")
    assert taken.outcome == "gone"
    assert "not available any longer" in _reply(taken)


def test_who_is_booked_elsewhere_at_that_time_is_told(clinic: World, patient: Patient) -> None:
    hold = _offer(clinic, patient)
    place = clinic.neighbour()
    slot = place.slot(at=NOW + DAY)
    place.book(slot=slot, patient=patient)
    taken = _say("YES")
    assert (taken.outcome, _status(hold)) == ("busy", "offered")
    assert "another appointment" in _reply(taken)


# Several offers


def test_of_several_offers_a_number_says_which(clinic: World, patient: Patient) -> None:
    later = _offer(clinic, patient, after=2 * DAY)
    sooner = _offer(clinic, patient, after=DAY)
    taken = _say("YES")
    assert (taken.outcome, taken.hold) == ("which", None)
    assert _reply(taken).splitlines()[1:] == [
        f"1: Tue 5 Mar 10:00, {sooner.facility.name}",
        f"2: Wed 6 Mar 10:00, {later.facility.name}",
    ]
    assert _say("2 YES").hold == later
    assert (_status(sooner), _status(later)) == ("offered", "accepted")
    assert _say("1 NO").hold == sooner
    assert _status(sooner) == "declined"


def test_a_number_is_of_the_list_that_was_sent(clinic: World, patient: Patient) -> None:
    """What was offered or ended since moves no number."""
    first, second = _offer(clinic, patient, after=2 * DAY), _offer(clinic, patient, after=3 * DAY)
    _say("YES")
    sooner = _offer(clinic, patient, after=DAY)
    decline(first)
    assert _say("1 YES").outcome == "closed"
    assert _say("2 YES").hold == second
    assert (_status(sooner), _status(second)) == ("offered", "accepted")


def test_a_list_of_what_is_over_counts_no_more(clinic: World, patient: Patient) -> None:
    _offer(clinic, patient)
    _offer(clinic, patient, after=2 * DAY)
    _say("YES")
    for hold in Hold.objects.all():
        decline(hold)
    new = _offer(clinic, patient, after=3 * DAY)
    assert _say("1 YES").hold == new


@pytest.mark.parametrize("text", ["0 YES", "3 YES", "99 NO"])
def test_a_number_that_is_not_on_the_list_is_asked_again(
    clinic: World, patient: Patient, text: str
) -> None:
    _offer(clinic, patient)
    _offer(clinic, patient, after=2 * DAY)
    _say("YES")
    assert _say(text).outcome == "which"
    assert Hold.objects.filter(status="offered").count() == 2


def test_a_phone_of_several_patients_and_tenants_answers_for_each(
    clinic: World, patient: Patient
) -> None:
    mine = _offer(clinic, patient)
    other = worlds.build()
    child = other.patient(phone=PHONE)
    theirs = other.offer(entry=other.join(patient=child), slot=other.slot(at=NOW + DAY + HOUR))
    taken = _say("YES")
    assert taken.asked == [mine.pk, theirs.pk]
    assert patient.name not in _reply(taken)
    answered = _say("2 YES")
    assert (answered.hold, answered.patient) == (theirs, child)
    assert Appointment.objects.get().tenant == other.tenant


# Nobody's


def test_nobody_is_told_anything_about_others(clinic: World, patient: Patient) -> None:
    hold = _offer(clinic, patient)
    for said in ("YES", "1 YES", "hello", Said(Meaning.YES, hold_id=hold.pk)):
        taken = _say(said, phone="+15005550009")
        assert (taken.outcome, taken.patient, taken.hold) == ("nothing", None, None)
        assert clinic.facility.name not in _reply(taken)
    assert _status(hold) == "offered"


def test_another_patients_button_is_not_ones_own(clinic: World, patient: Patient) -> None:
    hold = _offer(clinic, patient)
    clinic.patient(phone="+15005550009")
    said = Said(Meaning.YES, hold_id=hold.pk)
    assert _say(said, phone="+15005550009", channel="whatsapp").outcome == "nothing"
    assert _status(hold) == "offered"


def test_who_was_erased_has_no_phone(clinic: World, patient: Patient) -> None:
    hold = _offer(clinic, patient)
    Patient.objects.update(erased_at=NOW)
    assert _say("YES").outcome == "nothing"
    assert _status(hold) == "offered"


def test_who_is_nobody_is_answered_in_the_language_of_their_word() -> None:
    taken = _say("oui")
    assert replies.compose(inbound=taken, language="fr").startswith("Il n'y a pas d'offre")


def test_what_is_not_clear_is_asked(clinic: World, patient: Patient) -> None:
    assert _say("thank you").outcome == "nothing"
    hold = _offer(clinic, patient)
    taken = _say("maybe later")
    assert (taken.outcome, _reply(taken)) == ("unclear", "Please answer YES or NO.")
    assert _status(hold) == "offered"


# Stop and start


@pytest.mark.parametrize("channel", ["sms", "whatsapp"])
def test_stop_and_start_turn_a_channel_off_and_on_for_all_with_that_phone(
    clinic: World, patient: Patient, channel: str
) -> None:
    other = worlds.build().patient(phone=PHONE)
    member = MembershipFactory.create(user=UserFactory.create(phone=PHONE), tenant=clinic.tenant)
    stranger = clinic.patient(phone="+15005550009")
    for text, is_on in (("STOP", False), ("START", True)):
        taken = _say(text, channel=channel)
        assert "START" in _reply(taken) or "STOP" in _reply(taken)
        for whose in ({"patient_id": patient.pk}, {"patient_id": other.pk}):
            tenant_id = Patient.objects.get(pk=whose["patient_id"]).tenant_id
            wants = preferences.get(tenant_id=tenant_id, user_id=None, **whose)
            assert getattr(wants, channel) is is_on
            assert wants.email is True
        mine = Preference.objects.get(user=member.user)
        assert getattr(mine, channel) is is_on
    assert not Preference.objects.filter(patient=stranger).exists()


def test_stop_answers_no_offer(clinic: World, patient: Patient) -> None:
    hold = _offer(clinic, patient)
    assert _say("STOP").outcome == "stopped"
    assert _status(hold) == "offered"
    assert _say("YES", now=NOW + MINUTE).outcome == "accepted"
