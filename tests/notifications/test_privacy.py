"""The whole story on every channel, with failures: nothing that is written down names anybody."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
import structlog
from celery import current_app
from pytest_django import Settings

from accounts.roles import Role
from audit import events
from audit.models import JobRun
from notifications import email, messages, tasks, webhooks
from notifications.models import Message
from scheduling import appointments, blocks, patients
from scheduling.models import Appointment, Patient
from tests import factories
from tests.api import Api, log_in
from tests.graphql import ADDRESS
from tests.notifications import days, receivers, scanner, stub
from tests.notifications.days import Day
from tests.notifications.mailbox import Mailbox
from tests.notifications.providers import (
    FORM,
    SMS,
    SMS_STATUS,
    WHATSAPP,
    post_form,
    post_update,
    pressed,
)
from tests.notifications.receivers import Receiver
from tests.notifications.stub import Stub
from tests.waitlist import worlds
from tests.waitlist.worlds import DAY, HOUR, MINUTE, NOW, STAFF, World
from waitlist import entries
from waitlist.models import Hold

pytestmark = pytest.mark.django_db(transaction=True)

NAME, PROVIDER, AUTHOR = "Xanthippe Quxley", "Dr Jabberwock", "Nurse Bandersnatch"
EMAIL, PHONE, OTHER_PHONE = "xanthippe@quxley.example", "+442071838750", "+442071838759"
REF, NOTE, METADATA = "NHS4857773456", "allergic to zanzibar cloves", "wheelchair-zephyr"
SAID, BLOCKED = "my migraine says zugzwang", "burst pipe in the yurt"
LINK = "xanthippe.ics"
#: Operations of GraphQL with values that are wrong, in them or in the variable `it`.
QUERIES = (
    f'{{ "{NAME}" }}',
    f'{{ venue(id: "{NAME}") {{ id }} }}',
    f'{{ venue(id: {{name: "{NAME}", note: ["{NOTE}"]}}) {{ id }} }}',
    "query($it: UUID!) { venue(id: $it) { id } }",
    "query($it: Int) { venues(page: $it) { pagination { page } } }",
    """mutation($it: AvailabilityStatus!, $id: UUID! = "019a1b2c-3d4e-7f50-8a9b-0c1d2e3f4a5b") {
        setVenueAvailability(venueId: $id, status: $it) { version }
    }""",
)
#: No code, id or number has any of these.
WORDS = ("xanthippe", "quxley", "jabberwock", "bandersnatch", "207183875", "4857773456", "allergic",
         "zanzibar", "zephyr", "migraine", "zugzwang", "yurt")  # fmt: skip


@pytest.fixture
def day(monkeypatch: pytest.MonkeyPatch) -> Iterator[Day]:
    with days.begun(at=NOW, monkeypatch=monkeypatch) as day:
        yield day


@pytest.fixture
def receiver(settings: Settings) -> Iterator[Receiver]:
    settings.WEBHOOKS_ALLOW_HTTP = settings.WEBHOOKS_ALLOW_PRIVATE = True
    with receivers.opened() as opened:
        yield opened


@pytest.fixture
def clinic(transactional_db: None, settings: Settings) -> World:
    """A clinic with a stream, whose people have the names."""
    settings.STREAM_URL = settings.REDIS_URL
    settings.STREAM_TOPIC = "scanned"
    clinic = worlds.build()
    clinic.change(quiet_from=None, quiet_until=None)
    type(clinic.provider).objects.update(name=PROVIDER)
    return clinic


def person(clinic: World, *, phone: str = PHONE) -> Patient:
    about = {"name": NAME, "email": EMAIL, "phone": phone, "external_ref": f"{REF}-{uuid4()}"}
    return clinic.patient(**about)


def wait(clinic: World, patient: Patient, *, now: Any) -> None:
    """Let a person wait who says why, and about whom the team writes a note."""
    entry = clinic.join(patient=patient, metadata={"needs": METADATA}, at=now)
    author = factories.UserFactory.create(name=AUTHOR)
    entries.add_note(entry_id=entry.pk, author=author, text=NOTE, now=now)


def let_fail(mailbox: Mailbox, twilio: Stub, meta: Stub, receiver: Receiver) -> None:
    """Let each receiver refuse once, and say whom."""
    about = f"{NAME} {EMAIL} {PHONE}"
    mailbox.answer = f"451 {about}"
    twilio.answers = [(503, {"code": 20503, "message": about, "status": 503}), *twilio.answers]
    meta.answers = [(500, {"error": {"code": 131000, "message": about}}), *meta.answers]
    receiver.statuses = [500]


def answer(hold: Hold, twilio: Stub, meta: Stub) -> None:
    """Let a person write in their own words, and then accept; let providers report."""
    api, sender = Api(), PHONE.removeprefix("+")
    post_form(api, SMS, From=PHONE, Body=f"{SAID}. {NAME}", MessageSid="SM1")
    words = {"type": "text", "text": {"body": SAID}, "from": sender, "id": "wamid.1"}
    contacts = [{"profile": {"name": NAME}, "wa_id": sender}]
    post_update(api, {"messages": [words], "contacts": contacts})
    sms = Message.objects.filter(channel="sms", hold=hold)[0]
    lost = {"MessageStatus": "undelivered", "ErrorCode": "30003", "ErrorMessage": NAME}
    post_form(api, f"{SMS_STATUS}?message={sms.pk}", To=PHONE, **lost)
    failed = {"id": "wamid.1", "status": "failed", "recipient_id": sender}
    errors = [{"code": 131026, "title": NAME, "error_data": {"details": PHONE}}]
    post_update(api, {"statuses": [{**failed, "errors": errors}]})
    meta.answers = [(400, {"error": {"code": 131026, "message": PHONE}}), *meta.answers]
    assert post_update(api, pressed(hold, phone=PHONE)).status_code == 200
    assert Appointment.objects.filter(patient=hold.patient).exists()


def quote_a_row(**_: Any) -> Any:
    """Fail as a database does."""
    raise ValueError(f"Key (email)=({EMAIL}) already exists, {NOTE}")


def break_down(
    clinic: World, day: Day, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    """Let a provider of mail refuse, and what runs by itself fail, in words of a person."""
    refusal = {"ErrorCode": 300, "Message": f"Invalid 'To' address: {NAME} <{EMAIL}>"}
    with monkeypatch.context() as patch, stub.opened(status=422, body=refusal) as postmark:
        backend = settings.EMAIL_BACKEND
        settings.EMAIL_BACKEND = "anymail.backends.postmark.EmailBackend"
        settings.ANYMAIL = {"POSTMARK_SERVER_TOKEN": "t", "POSTMARK_API_URL": postmark.url}
        wait(clinic, person(clinic, phone=""), now=day.now)
        day.move(MINUTE)
        assert postmark.calls
        settings.EMAIL_BACKEND = backend
        patch.setattr(email, "write", quote_a_row)
        wait(clinic, person(clinic, phone=""), now=day.now)
        day.move(MINUTE)
        assert Message.objects.filter(reason="error").exists()
        patch.setattr(messages, "due", quote_a_row)
        assert tasks.retry_deliveries.apply(task_id=str(uuid4())).failed()


def live(
    clinic: World, day: Day, mailbox: Mailbox, twilio: Stub, meta: Stub, receiver: Receiver
) -> None:
    """Let everything happen that people are told of."""
    webhooks.add(tenant_id=clinic.tenant.pk, url=receiver.url, kinds=sorted(events.KINDS))
    first, second = person(clinic), person(clinic, phone=OTHER_PHONE)
    wait(clinic, second, now=day.now)
    wait(clinic, first, now=day.now + MINUTE)
    let_fail(mailbox, twilio, meta, receiver)
    clinic.slot(at=NOW + 10 * DAY)
    day.move(2 * MINUTE)
    assert Message.objects.filter(reason__in=["address_refused", "twilio_20503"]).count() > 1
    mailbox.answer = None
    for _ in range(25):  # reminded and lapsed
        day.move(HOUR)
    answer(Hold.objects.get(status="offered"), twilio, meta)
    day.work()
    [booked] = Appointment.objects.all()
    appointments.cancel(appointment_id=booked.pk, reason="moved", actor=STAFF, now=day.now)
    blocks.create(facility_id=clinic.facility.pk, provider_id=clinic.provider.pk,
                  starts_at=NOW + 9 * DAY, ends_at=NOW + 11 * DAY, reason=BLOCKED,
                  actor=STAFF, now=day.now)  # fmt: skip
    changes = {"name": f"{NAME} II", "tier": 3}
    patients.update(patient_id=first.pk, changes=changes, actor=STAFF, now=day.now)
    for _ in range(3):
        day.move(DAY)


def ask(clinic: World, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> dict[str, str]:
    """Ask the API for what it refuses, in words of a person; return the problems by their code."""
    admin = log_in(tenant=clinic.tenant, role=Role.ADMIN)
    staff, patient = (log_in(tenant=clinic.tenant, role=role) for role in ("staff", "patient"))
    known, free = person(clinic, phone=""), clinic.slot(at=NOW + 30 * DAY)
    nobody, path = Api(), f"patients/{known.pk}"
    for client in (admin, staff, patient, nobody):
        client.default_format = "json"
    bad = {"name": NAME * 99, "email": f"{NAME}@", "phone": f"{PHONE}x", "language": NAME,
           "tier": NAME, "chronic_condition": NOTE, "user": NAME,
           "external_ref": REF * 99}  # fmt: skip
    wishes = {"facility": NAME, "patient": NAME, "provider": NAME, "service": NAME,
              "preferred_time": NOTE, "preferred_days": [NAME], "earliest": NOTE, "latest": NOTE,
              "urgency": NOTE, "metadata": NOTE, "dates_flexible": NOTE}  # fmt: skip
    here = {"facility": str(clinic.facility.pk), "patient": str(known.pk),
            "metadata": {"needs": METADATA}}  # fmt: skip
    asked = [{"query": query, "variables": {"it": NAME}} for query in QUERIES]
    key: Any = {"HTTP_IDEMPOTENCY_KEY": "one"}
    about = {"name": NAME, "email": EMAIL, "phone": PHONE}
    credentials = {"email": EMAIL, "password": NOTE, "tenant": clinic.tenant.slug}
    answers = [
        # Malformed, and not valid.
        (400, staff.post("patients/", f'{{"name": "{NAME}', content_type="application/json")),
        (415, staff.post("patients/", f"name={NAME}", content_type="text/plain")),
        (400, staff.post("patients/", bad)),
        (400, staff.post("patients/", [about])),
        (400, staff.patch(path, bad)),
        (400, staff.post("waitlists", wishes)),
        (400, staff.post("appointments/", {"slot": NAME, "patient": NAME})),
        (400, staff.post("time-blocks/", {"facility": NAME, "starts_at": NOTE, "reason": BLOCKED})),
        (400, staff.get("waitlists", {"status": NAME, "facility": NAME, "patient": NAME})),
        (400, staff.get("slots/", {"facility": NAME, "from": NOTE, "cursor": NAME})),
        (400, admin.get("deliveries/", {"channel": NAME, "status": NAME, "patient": NAME})),
        (400, admin.post("webhooks/", {"url": f"https://{EMAIL}/", "kinds": [NAME]})),
        (400, admin.post("templates/", {"kind": NAME, "channel": NAME, "language": NAME})),
        (400, patient.put("preferences/", {"sms": NAME, "email": NAME})),
        (400, nobody.post("auth/register", {"tenant": NAME, "email": f"{NAME}@"})),
        *((200, admin.post(ADDRESS, body)) for body in asked),  # with errors in it
        # Nobody, somebody else, and nothing there.
        (401, nobody.post("patients/", about)),
        (401, nobody.post("auth/token", credentials)),
        (401, nobody.post("auth/token/refresh", {"refresh": NAME})),
        (403, patient.post("patients/", about)),
        (403, post_form(Api(), SMS, sign="wrong", From=PHONE, Body=SAID)),
        (403, Api().post(WHATSAPP, {"entry": [{"changes": [NAME]}]}, format="json")),
        (403, Api().post(SMS, f"Body={SAID}", content_type=FORM)),
        (404, nobody.post("auth/register/confirm", {"token": NAME, "password": NAME})),
        *((404, nobody.get(f"{link}/{LINK}")) for link in ("offers", "nudges", "unsubscribe")),
        (404, nobody.get(f"calendar/{LINK}")),
        (404, staff.post("waitlists", {**here, "provider": str(uuid4())})),
        (404, staff.get(f"patients/{uuid4()}", {"search": NAME})),
        # In the way of something else.
        (405, staff.delete("patients/", about)),
        (412, staff.patch(path, {"name": NAME}, HTTP_IF_MATCH='"99"')),
        (400, staff.patch(path, {"name": NAME}, HTTP_IF_MATCH=NAME)),
        (400, staff.patch(path, {"external_ref": person(clinic, phone="").external_ref})),
        (201, staff.post("waitlists", here, **key)),
        (422, staff.post("waitlists", {**here, "metadata": {"needs": NOTE}}, **key)),
        (409, staff.post("waitlists", here)),
        (400, staff.post(f"slots/{free.pk}/waitlist/invite", {"entry": NAME})),
        (400, staff.post(f"slots/{free.pk}/reserve", {"patient": NAME})),
    ]
    assert staff.get("patients/", {"search": NAME}).status_code == 200
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "token": "1/minute"}
    answers += [(429, [nobody.post("auth/token", credentials) for _ in range(2)][1])]
    with monkeypatch.context() as patch:
        patch.setattr(patients, "update", quote_a_row)
        staff.raise_request_exception = False
        answers.append((500, staff.patch(path, {"name": NAME})))
    told = [answer for status, answer in answers if status != 201]
    assert [answer.status_code for _, answer in answers] == [status for status, _ in answers]
    assert sum("errors" in answer.json() for answer in told if answer.status_code == 200) == len(
        QUERIES
    )
    return {
        f"{number} {answer.request['REQUEST_METHOD']} {answer.request['PATH_INFO']}"
        f" {answer.status_code}": answer.content.decode()
        for number, answer in enumerate(told)
    }


def test_nothing_that_is_written_down_names_anybody(
    clinic: World, day: Day, mailbox: Mailbox, twilio: Stub, meta: Stub, receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch, settings: Settings,
) -> None:  # fmt: skip
    with scanner.logs() as lines:
        live(clinic, day, mailbox, twilio, meta, receiver)
        break_down(clinic, day, monkeypatch, settings)
        days.run("waitlist.tasks.roll_up_metrics")
        days.run("notifications.tasks.prune")
        problems = ask(clinic, monkeypatch, settings)
    # The servers were told whom they are for, so there was something to be found.
    assert scanner.find(words=WORDS, texts={
        "mail": [str(mail) for mail in mailbox.mails],
        "sms": [call.body.decode() for call in twilio.calls],
        "whatsapp": [call.body.decode() for call in meta.calls],
    }).keys() == {"mail", "sms", "whatsapp"}  # fmt: skip
    assert JobRun.objects.filter(state="failed").exists()
    told = {
        "logs": lines,
        "broker": day.sent,
        "webhooks": [request.body.decode() for request in receiver.requests],
        **{f"problem {name}": [body] for name, body in problems.items()},
        **scanner.rows(),
        **scanner.valkey(),
    }
    for place in ("logs", "broker", "webhooks", "audit_event", "audit_jobrun",
                  "notifications_message", "notifications_inboundmessage", "waitlist_dailymetric",
                  "valkey scanned", "valkey notifications"):  # fmt: skip
        assert told[place], f"{place} is empty"
    assert scanner.find(words=WORDS, texts=told) == {}


def test_the_scanner_finds_what_is_told(clinic: World, day: Day) -> None:
    """The control: in each place one thing that should not be there, as it might get there."""
    with scanner.logs() as lines:
        structlog.get_logger("told").warning("told", to=EMAIL)
    entry = clinic.join()
    events.record(
        kind="waitlist.cancelled", tenant_id=clinic.tenant.pk, subject_type="entry",
        subject_id=entry.pk, actor=STAFF, at=NOW, data={"reason": "zanzibar"},
    )  # fmt: skip
    tasks.relay_events.apply(task_id=str(uuid4()))
    tasks.send_messages.apply(args=(SAID,), task_id=str(uuid4()))
    current_app.send_task("notifications.tasks.send_messages", args=[PHONE])
    day.work()
    current_app.send_task("notifications.tasks.send_messages", args=[PHONE])
    Message.objects.filter(channel="email").update(reason=NAME)
    found = scanner.find(
        words=WORDS,
        texts={
            "logs": lines,
            "broker": day.sent,
            "problem": [json.dumps({"detail": f"{NAME} is not a valid choice."})],
            **scanner.rows(),
            **scanner.valkey(),
        },
    )
    assert {place.rpartition(":")[0] or place: words for place, words in found.items()} == {
        "logs": {"xanthippe", "quxley"},
        "problem": {"xanthippe", "quxley"},
        "broker": {"207183875"},
        "audit_event": {"zanzibar"},
        "audit_jobrun": {"migraine", "zugzwang", "207183875"},
        "notifications_message": {"xanthippe", "quxley"},
        "valkey notifications": {"207183875"},
    }
