"""The routes of what people are told, over HTTP."""

from html import unescape
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import User
from accounts.roles import Role
from audit import clock
from notifications import messages, nudges, relay, unsubscribes
from notifications.models import Message, Preference
from scheduling import patients
from scheduling.models import Patient
from tests import factories
from tests.api import BASE, Api, log_in, patient_of
from tests.waitlist import worlds
from tests.waitlist.worlds import STAFF, World
from waitlist import entries
from waitlist.models import WaitlistEntry

pytestmark = pytest.mark.django_db


@pytest.fixture
def world() -> World:
    return worlds.build()


@pytest.fixture
def patient(world: World) -> Api:
    return log_in(tenant=world.tenant, role=Role.PATIENT)


@pytest.fixture
def staff(world: World) -> Api:
    return log_in(tenant=world.tenant, role=Role.STAFF)


@pytest.fixture
def admin(world: World) -> Api:
    return log_in(tenant=world.tenant, role=Role.ADMIN)


def _join(world: World, patient: Patient) -> WaitlistEntry:
    entry = world.join(patient=patient, at=clock.now())
    relay.relay(limit=100, now=clock.now())
    return entry


# Inbox


def test_an_inbox_holds_ones_own_messages_in_ones_language(world: World, patient: Api) -> None:
    me = patient_of(api=patient)
    Patient.objects.filter(pk=me.pk).update(language="fr")
    entry = _join(world, me)
    _join(world, world.patient())
    [message] = patient.get("inbox/").json()["results"]
    assert message["kind"] == "waitlist.joined"
    assert message["entry"] == str(entry.pk)
    assert message["subject"] == f"{world.facility.name}: vous êtes sur la liste d’attente"
    assert "place 1" in message["body"]
    assert message["read_at"] is None


def test_a_message_is_read_once(world: World, patient: Api) -> None:
    _join(world, patient_of(api=patient))
    [message] = patient.get("inbox/", {"unread": "true"}).json()["results"]
    first = patient.post(f"inbox/{message['id']}/read")
    assert first.status_code == 200
    assert first.json()["read_at"]
    assert patient.post(f"inbox/{message['id']}/read").json() == first.json()
    assert patient.get("inbox/", {"unread": "true"}).json()["total"] == 0
    assert patient.get("inbox/", {"unread": "false"}).json()["total"] == 1


def test_another_persons_message_is_not_there(world: World, patient: Api) -> None:
    _join(world, world.patient())
    theirs = Message.objects.get(channel="in_app")
    assert patient.post(f"inbox/{theirs.pk}/read").status_code == 404


# Preferences


def test_preferences_are_the_usual_until_they_are_said(world: World, patient: Api) -> None:
    usual = dict.fromkeys(("waitlist_reminders", "email", "sms", "whatsapp"), True)
    assert patient.get("preferences/").json() == usual
    assert not Preference.objects.exists()
    said = {**usual, "sms": False}
    assert patient.put("preferences/", said, format="json").json() == said
    assert patient.get("preferences/").json() == said
    assert Preference.objects.get().patient == patient_of(api=patient)


def test_a_member_has_preferences_too(staff: Api) -> None:
    said = {"waitlist_reminders": False, "email": True, "sms": True, "whatsapp": True}
    assert staff.put("preferences/", said, format="json").json() == said
    assert Preference.objects.get().user == staff.user


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"email": "yes"}, "email"),
        ({"in_app": False}, "in_app"),
        ({"waitlist_reminders": True, "email": True, "sms": True}, "whatsapp"),
    ],
)
def test_a_preference_with_a_fault_is_named(patient: Api, body: dict[str, Any], field: str) -> None:
    response = patient.put("preferences/", body, format="json")
    assert response.status_code == 400
    assert field in {error["field"] for error in response.json()["errors"]}


# Deliveries


def _failed(world: World) -> Message:
    _join(world, world.patient())
    [message] = messages.claim(channel="email", now=clock.now(), limit=1)
    messages.note_failure(message=message, permanent=True, code="refused", now=clock.now())
    return message


def test_admins_see_what_became_of_messages_and_no_text_or_address(
    world: World, admin: Api, staff: Api
) -> None:
    failed = _failed(world)
    assert failed.patient is not None
    answer = admin.get("deliveries/", {"status": "failed"})
    [delivery] = answer.json()["results"]
    assert (delivery["id"], delivery["reason"]) == (str(failed.pk), "refused")
    assert failed.patient.name not in answer.content.decode()
    assert failed.patient.email not in answer.content.decode()
    assert admin.get("deliveries/", {"channel": "sms"}).json()["total"] == 0
    assert admin.get(f"deliveries/{failed.pk}").json() == delivery
    assert staff.get("deliveries/").status_code == 403


def test_admins_retry_and_dismiss_what_failed(world: World, admin: Api) -> None:
    failed = _failed(world)
    assert admin.post(f"deliveries/{failed.pk}/retry").json()["status"] == "queued"
    again = admin.post(f"deliveries/{failed.pk}/dismiss")
    assert (again.status_code, again.json()["code"]) == (409, "not_failed")
    [message] = messages.claim(channel="email", now=clock.now(), limit=1)
    messages.note_failure(message=message, permanent=True, code="refused", now=clock.now())
    assert admin.post(f"deliveries/{failed.pk}/dismiss").json()["status"] == "dismissed"


# Templates


TEXT = {
    "kind": "waitlist.joined", "channel": "sms", "language": "es", "body": "{patientName}, así es",
}  # fmt: skip


def test_an_admin_writes_a_text_and_sees_what_it_says_and_how_long_it_is(admin: Api) -> None:
    made = admin.post("templates/", TEXT, format="json")
    assert made.status_code == 201
    assert made.json()["preview"] == {
        "subject": "",
        "body": "Ada Byron, así es",
        "sms_length": {"encoding": "UCS-2", "units": 17, "segments": 1, "others": "í"},
    }
    path = made["Location"]
    changed = admin.patch(path, {"body": "{patient_name}"}, format="json", HTTP_IF_MATCH='"1"')
    assert changed.json()["preview"]["sms_length"]["encoding"] == "GSM-7"
    assert admin.get(path)["ETag"] == '"2"'
    assert admin.patch(path, {"body": "x"}, format="json", HTTP_IF_MATCH='"1"').status_code == 412
    assert admin.delete(path).status_code == 204
    assert admin.get("templates/").json()["total"] == 0


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"body": "{nobody}"}, "body"),
        ({"subject": "x"}, "subject"),
        ({"kind": "slot.opened"}, "kind"),
        ({"facility": str(uuid4())}, "facility"),
    ],
)
def test_a_text_with_a_fault_is_refused_by_name(
    admin: Api, fields: dict[str, str], field: str
) -> None:
    response = admin.post("templates/", {**TEXT, **fields}, format="json")
    assert response.status_code == (404 if field == "facility" else 400)
    assert [error["field"] for error in response.json()["errors"]] == [field]


def test_the_same_text_twice_is_refused(admin: Api) -> None:
    admin.post("templates/", TEXT, format="json")
    assert admin.post("templates/", TEXT, format="json").status_code == 400


# Links


def _unsubscribe_path(world: World) -> tuple[str, Patient]:
    patient = world.patient()
    _join(world, patient)
    message = Message.objects.get(patient=patient, channel="email")
    return f"{BASE}unsubscribe/{unsubscribes.sign(message=message)}", patient


def test_one_click_unsubscribes_and_a_look_does_not(world: World) -> None:
    path, patient = _unsubscribe_path(world)
    client = Api()
    assert client.get(path).json() == {"waitlist_reminders": True}
    page = client.get(path, HTTP_ACCEPT="text/html")
    assert b"<form" in page.content
    assert not Preference.objects.exists()
    # What a mail's reader sends (RFC 8058), with no cookie and no page of ours before it.
    clicked = APIClient(enforce_csrf_checks=True).post(
        path, "List-Unsubscribe=One-Click", content_type="application/x-www-form-urlencoded"
    )
    assert clicked.json() == {"waitlist_reminders": False}
    assert not Preference.objects.get(patient=patient).waitlist_reminders
    assert client.post(path).json() == {"waitlist_reminders": False}
    assert b"<form" not in client.get(path, HTTP_ACCEPT="text/html").content


def test_a_provider_of_mail_may_click_for_many_from_one_address(
    world: World, settings: Settings
) -> None:
    """Nor do they who look at offers from there keep anybody from it."""
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "offer": "1/minute", "unsubscribe": "2/minute"}
    paths = [_unsubscribe_path(world)[0] for _ in range(3)]
    client = APIClient()
    assert [client.post(path).status_code for path in paths] == [200, 200, 200]
    assert [client.get(paths[0]).status_code for _ in range(2)] == [200, 429]
    wrong = [client.post(f"{BASE}unsubscribe/wrong{n}").status_code for n in range(3)]
    assert wrong == [404, 404, 429]


def test_the_link_of_who_is_gone_is_not_there(world: World) -> None:
    path, patient = _unsubscribe_path(world)
    patients.erase(patient_id=patient.pk, actor=STAFF, now=clock.now())
    user = factories.UserFactory.create()
    told = Message(tenant=world.tenant, user=user)
    user_path = f"{BASE}unsubscribe/{unsubscribes.sign(message=told)}"
    assert Api().get(user_path).status_code == 200
    User.objects.filter(pk=user.pk).delete()
    for link in (path, user_path):
        assert Api().get(link).status_code == 404
        assert Api().post(link).status_code == 404
    assert not Preference.objects.exists()


@pytest.mark.parametrize(
    ("language", "unsubscribe", "nudge", "over"),
    [
        ("en", "no more messages", "Do you still wait?", "You are no longer on"),
        ("es", "No me envíen más", "¿Sigue esperando?", "Ya no está en esta"),
        ("fr", "Ne m’envoyez plus", "Attendez-vous toujours ?", "Vous n’êtes plus sur"),
        ("pt", "Não me enviem mais", "Ainda está à espera?", "Já não está nesta"),
    ],
)
def test_the_pages_are_in_the_language_of_who_was_written_to(
    world: World, language: str, unsubscribe: str, nudge: str, over: str
) -> None:
    path, patient = _unsubscribe_path(world)
    Patient.objects.filter(pk=patient.pk).update(language=language)
    entry = WaitlistEntry.objects.get(patient=patient)
    nudge_path = nudges.url(entry_id=entry.pk).removeprefix("http://localhost:8000")
    # What the browser would rather have does not count.
    client = Client(headers={"accept": "text/html", "accept-language": "de, es;q=0.5"})
    for address, text in ((path, unsubscribe), (nudge_path, nudge)):
        page = client.get(address)
        assert page["Content-Language"] == language
        assert f'<html lang="{language}">' in page.content.decode()
        assert text in unescape(page.content.decode())
    client.post(nudge_path, {"interested": "false"})
    assert over in unescape(client.post(nudge_path, {"interested": "true"}).content.decode())
    assert over in unescape(client.get(nudge_path).content.decode())


def test_a_page_of_nobodys_is_in_the_browsers_language() -> None:
    asked = {"accept": "text/html", "accept-language": "fr"}
    page = Client(headers=asked).get(f"{BASE}nudges/nonsense")
    assert "Vérifiez que le lien" in page.content.decode()


def test_a_link_that_is_not_ours_is_not_there() -> None:
    for name in ("unsubscribe", "nudges"):
        assert Api().get(f"{BASE}{name}/nonsense").status_code == 404
        page = Api().get(f"{BASE}{name}/nonsense", HTTP_ACCEPT="text/html")
        assert page.status_code == 404
        assert b"copied in full" in page.content


def test_a_nudge_is_answered_by_its_link(world: World) -> None:
    entry = world.join(at=clock.now())
    path = nudges.url(entry_id=entry.pk).removeprefix("http://localhost:8000")
    client = Api()
    assert client.get(path).json() == {"status": "waiting", "answered": False}
    assert client.post(path, {}, format="json").status_code == 400
    assert client.post(path, {"interested": "true"}).json() == {
        "status": "waiting", "answered": True,
    }  # fmt: skip
    assert client.post(path, {"interested": False}, format="json").json()["status"] == "cancelled"
    assert client.post(path, {"interested": True}, format="json").status_code == 409
    assert entries.get(entry_id=entry.pk).cancellation_reason == "nudge_declined"
