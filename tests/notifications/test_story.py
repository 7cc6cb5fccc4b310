"""One slot and three who wait: what each is told, on which channel and in which language.

It is read from what the servers of mail, SMS and WhatsApp got, and in the app from the inboxes.
"""

from collections.abc import Iterator
from email.message import EmailMessage
from urllib.parse import urlsplit

import icalendar
import pytest

from notifications import preferences
from notifications.models import Message
from scheduling.models import Appointment, Patient
from tests.api import Api
from tests.factories import UserFactory
from tests.notifications import days
from tests.notifications.days import Day
from tests.notifications.mailbox import Mailbox
from tests.notifications.providers import SMS, post_form
from tests.notifications.stub import Call, Stub
from tests.waitlist import worlds
from tests.waitlist.worlds import DAY, HOUR, MINUTE, NOW, World
from waitlist import invariants
from waitlist.models import Hold

pytestmark = pytest.mark.django_db(transaction=True)

#: What is read in a message → its kind. Chloé is written to in French, Ben in English, Ana in
#: Spanish; so a message in another language than its reader's is of no kind.
TEMPLATES = {
    ("waitlist_hold_offered", "fr"): "waitlist.hold_offered",
    ("waitlist_hold_reminder", "fr"): "waitlist.hold_reminded",
}
TEXTS = {
    "is free for you. Reply YES or NO until": "waitlist.hold_offered",
    "is kept for you until": "waitlist.hold_reminded",
}
SUBJECTS = {
    "City Clinic: está en la lista de espera": "waitlist.joined",
    "City Clinic: hay una hora libre para usted": "waitlist.hold_offered",
    "City Clinic: todavía le guardamos una hora": "waitlist.hold_reminded",
    "City Clinic: tiene una cita": "waitlist.converted",
    "City Clinic: su cita, jueves 14 de marzo de 2030, 10:00": "appointment.booked",
}
INBOXES = {"fr": "liste d’attente", "en": "waitlist", "es": "lista de espera"}

#: Kind and channel of all that each is told, in order: what jobs-and-events.md says, less what
#: they do not want or cannot be sent.
TOLD = {
    "Chloé": [
        ("waitlist.joined", "in_app"),
        ("waitlist.hold_offered", "in_app"),
        ("waitlist.hold_expired", "in_app"),
        ("waitlist.hold_offered", "whatsapp"),
        ("waitlist.hold_reminded", "whatsapp"),
    ],
    "Ben": [
        ("waitlist.joined", "in_app"),
        ("waitlist.hold_offered", "in_app"),
        ("waitlist.hold_offered", "sms"),
        ("waitlist.hold_reminded", "sms"),
    ],
    "Ana": [
        ("waitlist.joined", "in_app"),
        ("waitlist.hold_offered", "in_app"),
        ("appointment.booked", "in_app"),
        ("waitlist.converted", "in_app"),
        ("waitlist.joined", "email"),
        ("waitlist.hold_offered", "email"),
        ("waitlist.hold_reminded", "email"),
        ("appointment.booked", "email"),
        ("waitlist.converted", "email"),
    ],
}
#: Kind, channel and reason of the other rows of the table: what was not sent, and why.
NOT_TOLD = {
    "Chloé": [
        ("waitlist.joined", "email", "not_wanted"),
        ("waitlist.hold_offered", "email", "not_wanted"),
        ("waitlist.hold_offered", "sms", "not_wanted"),
        ("waitlist.hold_reminded", "email", "not_wanted"),
        ("waitlist.hold_reminded", "sms", "not_wanted"),
        ("waitlist.hold_expired", "email", "not_wanted"),
    ],
    "Ben": [
        ("waitlist.joined", "email", "not_wanted"),
        ("waitlist.hold_offered", "email", "not_wanted"),
        ("waitlist.hold_offered", "whatsapp", "not_wanted"),
        ("waitlist.hold_reminded", "email", "not_wanted"),
        ("waitlist.hold_reminded", "whatsapp", "not_wanted"),
    ],
    "Ana": [
        ("waitlist.hold_offered", "sms", "no_address"),
        ("waitlist.hold_offered", "whatsapp", "no_address"),
        ("waitlist.hold_reminded", "sms", "no_address"),
        ("waitlist.hold_reminded", "whatsapp", "no_address"),
    ],
}


@pytest.fixture
def day(monkeypatch: pytest.MonkeyPatch) -> Iterator[Day]:
    with days.begun(at=NOW, monkeypatch=monkeypatch) as day:
        yield day


@pytest.fixture
def people(transactional_db: None) -> tuple[World, dict[str, Patient]]:
    """A clinic, and three patients who can log in: each can be reached on one channel."""
    clinic = worlds.build(name="City Clinic")
    clinic.change(quiet_from=None, quiet_until=None)
    wants = {"email": False, "sms": False, "whatsapp": False}
    about = {
        "Chloé": ("fr", "+33612345678", {**wants, "whatsapp": True}),
        "Ben": ("en", "+447700900123", {**wants, "sms": True}),
        "Ana": ("es", "", {}),
    }
    people = {}
    for name, (language, phone, changes) in about.items():
        user = UserFactory.create(language=language)
        patient = clinic.patient(name=name, language=language, phone=phone, user=user)
        preferences.change(
            tenant_id=clinic.tenant.pk, patient_id=patient.pk, user_id=None, changes=changes
        )
        people[name] = patient
    return clinic, people


def test_each_is_told_what_concerns_them_once_as_they_want_it(
    people: tuple[World, dict[str, Patient]],
    day: Day,
    mailbox: Mailbox,
    twilio: Stub,
    meta: Stub,
) -> None:
    clinic, patients = people
    for patient in patients.values():
        clinic.join(patient=patient, at=day.now)
        day.move(MINUTE)
    slot = clinic.slot(at=NOW + 10 * DAY)
    day.move(MINUTE)
    assert offered_to() == "Chloé"

    day.move(19 * HOUR)
    assert len(meta.calls) == 1, "it is too early for a reminder"
    for _ in range(5):  # she is reminded, and says nothing
        day.move(HOUR)
    assert offered_to() == "Ben"

    day.move(21 * HOUR)  # he is reminded, and says no
    sender = patients["Ben"].phone
    assert post_form(Api(), SMS, From=sender, Body="No, thanks").status_code == 200
    day.work()
    assert offered_to() == "Ana"

    day.move(22 * HOUR)  # she is reminded, and accepts by the link in her mail
    assert Api().post(f"{link_in(mailbox.mails[-1])}/accept").status_code == 200
    day.work()
    appointment = Appointment.objects.get()
    assert (appointment.slot, appointment.patient) == (slot, patients["Ana"])
    day.move(30 * DAY)  # nothing is told again, however often it is looked

    told = {
        "Chloé": [(TEMPLATES[template_of(call)], "whatsapp") for call in meta.calls],
        "Ben": [(kind_of(call), "sms") for call in twilio.calls],
        "Ana": [(SUBJECTS[mail["Subject"]], "email") for mail in mailbox.mails],
    }
    assert {who: inbox_of(patient) + told[who] for who, patient in patients.items()} == TOLD
    assert {call.json["to"] for call in meta.calls} == {patients["Chloé"].phone.strip("+")}
    assert {call.form["To"] for call in twilio.calls} == {patients["Ben"].phone}
    assert {mail["To"] for mail in mailbox.mails} == {patients["Ana"].email}
    [calendar] = [part for mail in mailbox.mails for part in mail.iter_attachments()]
    [event] = icalendar.Calendar.from_ical(calendar.get_content()).events
    assert (event.start, event["SUMMARY"]) == (
        slot.period.lower,
        f"Cita con {clinic.provider.name}",
    )
    for who, patient in patients.items():
        suppressed = Message.objects.filter(patient=patient, status="suppressed")
        rows = suppressed.order_by("seq", "channel").values_list("kind", "channel", "reason")
        assert list(rows) == NOT_TOLD[who]
    assert not Message.objects.filter(status__in=["queued", "failed"]).exists()
    assert invariants.breaches() == []


def offered_to() -> str:
    """Return whom something is offered to."""
    return Hold.objects.get(status="offered").entry.patient.name  # type: ignore[union-attr]


def template_of(call: Call) -> tuple[str, str]:
    """Return the name and the language of what was sent by WhatsApp."""
    template = call.json["template"]
    return str(template["name"]), str(template["language"]["code"])


def kind_of(call: Call) -> str:
    """Return the kind of an SMS."""
    [kind] = [kind for words, kind in TEXTS.items() if words in call.form["Body"]]
    return kind


def link_in(mail: EmailMessage) -> str:
    """Return the path of the offer that a mail is about."""
    part = mail.get_body()
    assert part is not None
    [url] = [line for line in part.get_content().split() if "/offers/" in line]
    return str(urlsplit(url).path)


def inbox_of(patient: Patient) -> list[tuple[str, str]]:
    """Return what a patient reads in the app, in order and in their language."""
    inbox = Api(user=patient.user, tenant=patient.tenant).get("inbox/").json()["results"]
    [joined] = [said for said in inbox if said["kind"] == "waitlist.joined"]
    assert INBOXES[patient.language] in joined["subject"]
    return [(said["kind"], "in_app") for said in reversed(inbox)]
