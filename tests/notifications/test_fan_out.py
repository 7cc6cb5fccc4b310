"""The relay writes who is told what on which channel, as jobs-and-events.md says."""

from datetime import timedelta
from uuid import uuid4

import pytest

from accounts.models import Membership, Tenant
from audit import events
from audit.models import Event, EventSeq, Unrelayed
from notifications import senders
from notifications.kinds import KINDS
from notifications.models import Channel, ChannelSwitch, Message, Preference
from scheduling import appointments
from tests import factories
from tests.audit.refusals import unguarded
from tests.notifications.told import messages, relayed
from tests.waitlist import asking, worlds
from tests.waitlist.worlds import DAY, HOUR, NOW, STAFF, World
from waitlist import entries, holds
from waitlist.models import Hold

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _all_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every channel be on."""
    live = sorted({*Channel.values} - {"in_app"})
    monkeypatch.setattr(senders, "live", lambda: live)


@pytest.fixture
def clinic() -> World:
    return worlds.build()


def test_an_offer_is_told_on_every_channel_and_a_joining_on_two(clinic: World) -> None:
    patient = clinic.patient(phone="+447700900123")
    clinic.offer(entry=clinic.join(patient=patient))
    assert relayed().sends == {
        ("notifications.tasks.send_messages", channel) for channel in ("email", "sms", "whatsapp")
    }
    assert messages(to=patient) == {
        "waitlist.joined": {"in_app delivered", "email queued"},
        "waitlist.hold_offered": {
            "in_app delivered", "email queued", "sms queued", "whatsapp queued"
        },
    }  # fmt: skip


def test_nothing_is_written_twice_whatever_the_relay_finds(clinic: World) -> None:
    patient = clinic.patient()
    clinic.join(patient=patient)
    relayed()
    written = Message.objects.count()
    assert relayed().events == 0
    # A belt to the braces: the rows of an event that is relayed again are there already.
    event = Event.objects.get(kind="waitlist.joined")
    unguarded("DELETE FROM audit_eventseq WHERE event_id = %(id)s", {"id": event.pk})
    Unrelayed.objects.create(event_id=event.pk)
    assert relayed().events == 1
    assert Message.objects.count() == written


def test_what_somebody_does_not_want_is_a_row_that_says_why(clinic: World) -> None:
    silent, deaf, nowhere = (clinic.patient(phone="+447700900123") for _ in range(3))
    Preference.objects.create(tenant=clinic.tenant, patient=silent, waitlist_reminders=False)
    Preference.objects.create(tenant=clinic.tenant, patient=deaf, email=False, whatsapp=False)
    type(nowhere).objects.filter(pk=nowhere.pk).update(email="", phone="")
    for day, patient in enumerate((silent, deaf, nowhere), 1):
        clinic.offer(entry=clinic.join(patient=patient), slot=clinic.slot(at=NOW + day * DAY))
    relayed()
    only = ["waitlist.hold_offered"]
    assert messages(to=silent, only=only) == {
        "waitlist.hold_offered": {
            "in_app delivered", "email suppressed unsubscribed", "sms suppressed unsubscribed",
            "whatsapp suppressed unsubscribed",
        }
    }  # fmt: skip
    assert messages(to=deaf, only=only) == {
        "waitlist.hold_offered": {
            "in_app delivered", "email suppressed not_wanted", "sms queued",
            "whatsapp suppressed not_wanted",
        }
    }  # fmt: skip
    assert messages(to=nowhere, only=only) == {
        "waitlist.hold_offered": {
            "in_app delivered", "email suppressed no_address", "sms suppressed no_address",
            "whatsapp suppressed no_address",
        }
    }  # fmt: skip


def test_bookings_are_told_to_who_wants_no_word_of_the_waitlist(clinic: World) -> None:
    patient = clinic.patient()
    Preference.objects.create(tenant=clinic.tenant, patient=patient, waitlist_reminders=False)
    appointment = clinic.book(patient=patient)
    appointments.cancel(
        appointment_id=appointment.pk, reason="patient_request", actor=STAFF, now=NOW
    )
    relayed()
    both = {"in_app delivered", "email queued"}
    assert messages(to=patient) == {"appointment.booked": both, "appointment.cancelled": both}


def test_a_preference_in_one_tenant_says_nothing_of_another(clinic: World) -> None:
    elsewhere = worlds.build()
    user = factories.UserFactory.create()
    here = clinic.patient(user=user)
    there = elsewhere.patient(user=user)
    Preference.objects.create(tenant=clinic.tenant, patient=here, email=False)
    clinic.join(patient=here)
    elsewhere.join(patient=there)
    relayed()
    assert messages(to=here) == {
        "waitlist.joined": {"in_app delivered", "email suppressed not_wanted"}
    }
    assert messages(to=there) == {"waitlist.joined": {"in_app delivered", "email queued"}}


def test_a_tenant_switches_channels_per_kind(clinic: World) -> None:
    for channel, is_on in (("email", False), ("sms", True)):
        ChannelSwitch.objects.create(
            tenant=clinic.tenant, kind="waitlist.joined", channel=channel, is_on=is_on
        )
    patient = clinic.patient(phone="+447700900123")
    clinic.join(patient=patient)
    relayed()
    assert messages(to=patient) == {
        "waitlist.joined": {"in_app delivered", "email suppressed switched_off", "sms queued"}
    }


def test_a_channel_without_settings_is_off(clinic: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(senders, "live", lambda: ["email"])
    patient = clinic.patient(phone="+447700900123")
    clinic.offer(entry=clinic.join(patient=patient))
    relayed()
    assert messages(to=patient)["waitlist.hold_offered"] == {
        "in_app delivered", "email queued", "sms suppressed channel_off",
        "whatsapp suppressed channel_off",
    }  # fmt: skip


def test_what_is_over_when_it_is_relayed_is_told_in_the_app_alone(clinic: World) -> None:
    patient = clinic.patient()
    hold = clinic.offer(entry=clinic.join(patient=patient))
    relayed(now=hold.expires_at)
    assert messages(to=patient, only=["waitlist.hold_offered"]) == {
        "waitlist.hold_offered": {
            "in_app delivered", "email suppressed too_late", "sms suppressed no_address",
            "whatsapp suppressed no_address",
        }
    }  # fmt: skip


def test_who_leaves_is_told_so_and_not_that_the_offer_is_gone(clinic: World) -> None:
    leaver, moved = clinic.patient(), clinic.patient()
    left = clinic.join(patient=leaver)
    clinic.offer(entry=left)
    entries.cancel(entry_id=left.pk, reason="no_longer_needed", actor=STAFF, now=NOW)
    hold = clinic.offer(entry=clinic.join(patient=moved), slot=clinic.slot(at=NOW + 2 * DAY))
    holds.take_back(hold_id=hold.pk, reason="by_mistake", actor=STAFF, now=NOW)
    relayed()
    assert set(messages(to=leaver)) == {
        "waitlist.joined", "waitlist.hold_offered", "waitlist.cancelled"
    }  # fmt: skip
    assert set(messages(to=moved)) == {
        "waitlist.joined", "waitlist.hold_offered", "waitlist.hold_withdrawn"
    }  # fmt: skip


def test_an_erased_patient_is_told_nothing(clinic: World) -> None:
    patient = clinic.patient()
    clinic.join(patient=patient)
    type(patient).objects.filter(pk=patient.pk).update(erased_at=NOW)
    relayed()
    assert messages(to=patient) == {}


# Organizers and venues


@pytest.fixture
def organizer() -> Tenant:
    return factories.TenantFactory.create(kind=Tenant.Kind.ORGANIZER)


def _member(tenant: Tenant, role: str) -> Membership:
    return factories.MembershipFactory.create(tenant=tenant, role=role)


def test_an_organizers_news_go_to_who_joined_else_to_its_admins(organizer: Tenant) -> None:
    venue = worlds.build(kind="venue")
    joiner, admin, other = (_member(organizer, role) for role in ("staff", "admin", "admin"))
    stranger = _member(venue.tenant, "admin")
    [source] = asking.refused(places=[venue.facility], by=organizer)
    entry = entries.join_venue(
        rfp_venue_id=source.pk,
        organizer_id=organizer.pk,
        actor=events.Actor("user", joiner.user_id),
        now=NOW,
    )
    relayed()
    assert messages(to=joiner.user) == {"waitlist.joined": {"in_app delivered", "email queued"}}
    assert messages(to=admin.user) == messages(to=stranger.user) == {}
    joiner.delete()
    entries.cancel(entry_id=entry.pk, reason="no_longer_needed", actor=STAFF, now=NOW)
    relayed()
    for member in (admin, other):
        assert set(messages(to=member.user)) == {"waitlist.cancelled"}
    assert messages(to=stranger.user) == {}
    assert set(Message.objects.values_list("tenant", flat=True)) == {organizer.pk}


def test_a_venues_admins_are_told_of_its_breaker() -> None:
    venue = worlds.build(kind="venue")
    admin, staff = _member(venue.tenant, "admin"), _member(venue.tenant, "staff")
    events.record(
        kind="waitlist.circuit_breaker_triggered",
        tenant_id=venue.tenant.pk,
        subject_type="breaker",
        subject_id=uuid4(),
        actor=events.SYSTEM,
        at=NOW,
        facility_id=venue.facility.pk,
    )
    relayed()
    assert messages(to=admin.user) == {
        "waitlist.circuit_breaker_triggered": {"in_app delivered", "email queued"}
    }
    assert messages(to=staff.user) == {}


# The whole of it


def test_a_row_has_the_place_of_its_event(clinic: World) -> None:
    clinic.join()
    relayed()
    [message, _] = Message.objects.all()
    place = EventSeq.objects.get(event_id=message.event_id)
    assert message.seq == place.seq


def test_the_kinds_that_are_told_are_those_of_the_table() -> None:
    told = {name.split(".", 1)[1]: kind for name, kind in KINDS.items()}
    assert {name for name, kind in told.items() if "sms" in kind.channels} == {
        "hold_offered", "hold_reminded", "hold_withdrawn"
    }  # fmt: skip
    assert {name for name, kind in told.items() if "email" not in kind.channels} == {
        "position_changed", "circuit_breaker_resolved"
    }  # fmt: skip
    assert {name for name, kind in told.items() if "in_app" not in kind.channels} == {
        "hold_reminded", "still_interested"
    }  # fmt: skip


def test_a_reminder_is_told_by_all_that_sends(clinic: World) -> None:
    patient = clinic.patient(phone="+447700900123")
    hold = clinic.offer(entry=clinic.join(patient=patient))
    assert holds.remind_due(now=hold.expires_at - HOUR, limit=10) == 1
    relayed(now=hold.expires_at - HOUR)
    assert messages(to=patient, only=["waitlist.hold_reminded"]) == {
        "waitlist.hold_reminded": {"email queued", "sms queued", "whatsapp queued"}
    }


def test_three_people_are_told_exactly_what_the_table_says(clinic: World) -> None:
    """Join, offer, reminder, lapse, the next offer, acceptance."""
    first = clinic.patient(phone="+447700900001")
    second = clinic.patient(phone="+447700900002")
    third = clinic.patient()
    Preference.objects.create(tenant=clinic.tenant, patient=second, sms=False)
    Preference.objects.create(tenant=clinic.tenant, patient=third, waitlist_reminders=False)
    for wait, patient in enumerate((first, second, third)):
        clinic.join(patient=patient, at=NOW - (3 - wait) * DAY)
    slot = clinic.slot(at=NOW + 5 * DAY)
    clinic.fill()
    [hold] = Hold.objects.all()
    assert hold.patient == first
    holds.remind_due(now=hold.expires_at - HOUR, limit=10)
    late = hold.expires_at
    holds.expire_due(now=late, limit=10)
    clinic.fill(now=late)
    hold = Hold.objects.get(slot=slot, status=Hold.Status.OFFERED)
    assert hold.patient == second
    worlds.accept(hold, now=late + timedelta(minutes=5))
    relayed(now=NOW)
    two = {"in_app delivered", "email queued"}
    assert messages(to=first) == {
        "waitlist.joined": two,
        "waitlist.hold_offered": {*two, "sms queued", "whatsapp queued"},
        "waitlist.hold_reminded": {"email queued", "sms queued", "whatsapp queued"},
        "waitlist.hold_expired": two,
    }
    assert messages(to=second) == {
        "waitlist.joined": two,
        "waitlist.hold_offered": {*two, "sms suppressed not_wanted", "whatsapp queued"},
        "waitlist.converted": two,
        "appointment.booked": two,
    }
    assert messages(to=third) == {
        "waitlist.joined": {"in_app delivered", "email suppressed unsubscribed"}
    }
