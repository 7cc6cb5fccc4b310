"""What is of no use any longer goes: deliveries, what those wanted who left, ids of the erased."""

from typing import Any

import pytest
from django.db import connection

from accounts.models import Membership
from accounts.roles import Caller, Role
from audit import clock
from notifications import feeds, messages, preferences, tasks, webhook_deliveries, webhooks
from notifications.models import CalendarFeed, Message, Preference
from notifications.outbound import Answer
from scheduling import patients
from scheduling.models import Patient
from tests import factories
from tests.notifications.told import relayed
from tests.waitlist.worlds import MINUTE, NOW, STAFF, World
from waitlist import erasure

pytestmark = pytest.mark.django_db


def _want_no_sms(world: World, **whose: Any) -> None:
    given = {"patient_id": None, "user_id": None, **whose}
    preferences.change(tenant_id=world.tenant.pk, changes={"sms": False}, **given)


def _subscribe(world: World, *, patient: Patient | None = None, **whose: Any) -> CalendarFeed:
    role = Role.PATIENT if patient else Role.PROVIDER
    user_id: Any = patient.user_id if patient else whose["user_id"]
    caller = Caller(user_id, world.tenant.pk, role, patient.pk if patient else None)
    return feeds.rotate(caller=caller, now=NOW)[0]


def test_what_was_delivered_or_put_aside_goes_after_a_while(clinic: World) -> None:
    endpoint, _ = webhooks.add(
        tenant_id=clinic.tenant.pk, url="https://a.example/", kinds=["waitlist.joined"]
    )
    for _ in range(3):
        clinic.join()
    relayed()
    delivered, dismissed, pending = endpoint.deliveries.order_by("seq")
    webhook_deliveries.note_answer(delivery=delivered, answer=Answer(204, ""), now=NOW)
    endpoint.deliveries.filter(pk=dismissed.pk).update(status="failed", next_attempt_at=None,
                                                       reason="refused")  # fmt: skip
    webhook_deliveries.dismiss(tenant_id=clinic.tenant.pk, delivery_id=dismissed.pk)
    end = clock.now() + webhook_deliveries.KEEP
    assert webhook_deliveries.prune(now=end - MINUTE) == 0
    assert webhook_deliveries.prune(now=end + MINUTE) == 2
    assert [row.pk for row in endpoint.deliveries.all()] == [pending.pk]


def test_what_those_wanted_who_left_goes_and_nobody_elses(clinic: World) -> None:
    member = factories.MembershipFactory.create(tenant=clinic.tenant, role="provider")
    patient = clinic.patient(user=factories.UserFactory.create())
    _want_no_sms(clinic, user_id=member.user_id)
    _want_no_sms(clinic, patient_id=patient.pk)
    _subscribe(clinic, user_id=member.user_id)
    mine = _subscribe(clinic, patient=patient)
    nothing = {"webhook_deliveries": 0, "preferences": 0, "calendar_feeds": 0, "provider_ids": 0}
    assert tasks.prune() == nothing
    Membership.objects.filter(pk=member.pk).delete()
    assert tasks.prune() == {**nothing, "preferences": 1, "calendar_feeds": 1}
    assert Preference.objects.get().patient == patient
    assert CalendarFeed.objects.get() == mine
    other = {"user": factories.UserFactory.create()}
    patients.update(patient_id=patient.pk, changes=other, actor=STAFF, now=NOW)
    assert tasks.prune() == {**nothing, "calendar_feeds": 1}
    assert tasks.prune() == nothing


# Who is erased


def test_who_is_erased_leaves_nothing_by_which_a_provider_knows_them(clinic: World) -> None:
    user = factories.UserFactory.create()
    factories.MembershipFactory.create(user=user)  # else the account would go, and all with it
    patient, other = clinic.patient(user=user, phone="+447700900123"), clinic.patient()
    for who in (patient, other):
        clinic.join(patient=who)
        _want_no_sms(clinic, patient_id=who.pk)
    _subscribe(clinic, patient=patient)
    relayed()
    for claimed in messages.claim(channel="email", now=NOW, limit=2):
        messages.note_sent(message=claimed, provider_message_id="wamid.447700900123", now=NOW)
    erasure.erase(patient_id=patient.pk, actor=STAFF, now=NOW)
    known = Message.objects.exclude(provider_message_id="")
    assert [message.patient for message in known] == [other]
    assert Preference.objects.get().patient == other
    assert not CalendarFeed.objects.exists()


def test_what_was_on_its_way_then_is_forgotten_by_night(clinic: World) -> None:
    patient = clinic.patient()
    clinic.join(patient=patient)
    relayed()
    [claimed] = messages.claim(channel="email", now=NOW, limit=1)
    erasure.erase(patient_id=patient.pk, actor=STAFF, now=NOW)
    assert messages.note_sent(message=claimed, provider_message_id="wamid.1", now=NOW)
    assert tasks.prune()["provider_ids"] == 1
    claimed.refresh_from_db()
    assert claimed.provider_message_id == ""


def test_a_change_that_is_no_erasure_forgets_nothing(clinic: World) -> None:
    patient = clinic.patient()
    _want_no_sms(clinic, patient_id=patient.pk)
    patients.update(patient_id=patient.pk, changes={"name": "Ada"}, actor=STAFF, now=NOW)
    with connection.cursor() as cursor:  # as one statement may, that writes every column
        cursor.execute("UPDATE scheduling_patient SET erased_at = NULL")
    assert Preference.objects.exists()
