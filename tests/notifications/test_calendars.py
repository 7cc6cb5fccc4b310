"""Calendars in mails and at addresses, parsed by `icalendar`."""

from datetime import UTC, date, datetime, timedelta, tzinfo
from email.message import EmailMessage
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Membership, User
from accounts.roles import Caller, Role
from notifications import calendars, deliveries, feeds, messages
from notifications.models import CalendarFeed
from scheduling import appointments
from scheduling.models import Appointment, Patient, Provider
from tests import factories
from tests.notifications import ical
from tests.notifications.mailbox import Mailbox
from tests.notifications.told import relayed
from tests.waitlist import worlds
from tests.waitlist.worlds import DAY, HOUR, NOW, STAFF, World

LONDON = ZoneInfo("Europe/London")
SAO_PAULO = ZoneInfo("America/Sao_Paulo")
AUCKLAND = ZoneInfo("Pacific/Auckland")

pytestmark = pytest.mark.django_db


def _invitation(appointment: Appointment) -> bytes:
    found = Appointment.objects.select_related("facility", "patient", "provider")
    return bytes(calendars.invitation(appointment=found.get(pk=appointment.pk)).to_ical())


def _move(world: World, appointment: Appointment, *, to: datetime) -> None:
    appointments.reschedule(
        appointment_id=appointment.pk, slot_id=world.slot(at=to).pk, actor=STAFF, now=NOW
    )


def _cancel(appointment: Appointment, *, now: datetime = NOW) -> None:
    appointments.cancel(
        appointment_id=appointment.pk, reason="patient_request", actor=STAFF, now=now
    )


# In mails


def test_an_invitation_tells_what_the_mail_tells(clinic: World) -> None:
    type(clinic.facility).objects.update(name="Harley Street", city="London")
    patient = clinic.patient(email="ada@example.org")
    booked = clinic.book(patient=patient)
    event = ical.only(_invitation(booked))
    assert event.uid == f"{booked.pk}@backfill"
    assert event.summary == f"Appointment with {clinic.provider.name}"
    assert event.location == "Harley Street, London"
    assert (event.start, event.end) == (booked.period.lower, booked.period.upper)
    assert event.status == "CONFIRMED"
    assert event["attendee"] == "mailto:ada@example.org"
    assert event["organizer"] == "mailto:backfill@localhost"
    text = _invitation(booked).decode()
    for unsaid in (patient.name, str(patient.pk), clinic.service.name):
        assert unsaid not in text


@pytest.mark.parametrize(
    ("language", "summary"),
    [
        ("en", "Appointment with Dr. Núñez"),
        ("es", "Cita con Dr. Núñez"),
        ("fr", "Rendez-vous avec Dr. Núñez"),
        ("pt", "Hora marcada com Dr. Núñez"),
    ],
)
def test_an_invitation_is_in_the_patients_language(
    clinic: World, language: str, summary: str
) -> None:
    Provider.objects.update(name="Dr. Núñez")
    booked = clinic.book(patient=clinic.patient(language=language))
    assert ical.only(_invitation(booked)).summary == summary


def test_an_appointment_stays_one_event_through_all_that_becomes_of_it(clinic: World) -> None:
    booked = clinic.book()
    seen = [ical.read(_invitation(booked))]
    _move(clinic, booked, to=NOW + 2 * DAY)
    seen.append(ical.read(_invitation(booked)))
    _move(clinic, booked, to=NOW + 3 * DAY)
    seen.append(ical.read(_invitation(booked)))
    _cancel(booked)
    seen.append(ical.read(_invitation(booked)))
    assert [calendar["method"] for calendar in seen] == ["REQUEST"] * 3 + ["CANCEL"]
    events = [calendar.events[0] for calendar in seen]
    assert {event.uid for event in events} == {f"{booked.pk}@backfill"}
    assert [event.sequence for event in events] == [1, 2, 3, 4]
    assert [event.status for event in events] == ["CONFIRMED"] * 3 + ["CANCELLED"]
    starts = [NOW + DAY, NOW + 2 * DAY, NOW + 3 * DAY, NOW + 3 * DAY]
    assert [event.start for event in events] == starts


def test_an_invitation_is_the_same_each_time_it_is_sent(clinic: World) -> None:
    booked = clinic.book()
    assert _invitation(booked) == _invitation(booked)


def _by_clock(time: date, zone: tzinfo | None) -> datetime:
    assert isinstance(time, datetime)
    assert time.tzname() == "UTC"
    return time.astimezone(zone)


@pytest.mark.parametrize(
    ("at", "minutes", "until"),
    [
        (datetime(2030, 3, 30, 9, 0, tzinfo=LONDON), 30, "09:30"),
        (datetime(2030, 3, 31, 9, 0, tzinfo=LONDON), 30, "09:30"),
        (datetime(2030, 3, 31, 0, 30, tzinfo=LONDON), 60, "02:30"),  # the clocks skip an hour
        (datetime(2030, 10, 26, 9, 0, tzinfo=LONDON), 30, "09:30"),
        (datetime(2030, 10, 27, 9, 0, tzinfo=LONDON), 30, "09:30"),
        (datetime(2030, 10, 27, 1, 30, tzinfo=LONDON), 60, "01:30"),  # and show it twice
        (datetime(2030, 10, 27, 1, 30, fold=1, tzinfo=LONDON), 60, "02:30"),
        (datetime(2030, 10, 20, 0, 30, tzinfo=SAO_PAULO), 30, "01:00"),
        (datetime(2030, 7, 1, 23, 45, tzinfo=SAO_PAULO), 30, "00:15"),  # past midnight
        (datetime(2030, 12, 31, 23, 30, tzinfo=AUCKLAND), 60, "00:30"),
    ],
)
def test_times_are_those_of_the_facilitys_clock(at: datetime, minutes: int, until: str) -> None:
    world = worlds.build(timezone=str(at.tzinfo))
    booked = world.book(slot=world.slot(at=at.astimezone(UTC), minutes=minutes))
    event = ical.only(_invitation(booked))
    start, end = (_by_clock(time, at.tzinfo) for time in (event.start, event.end))
    assert event.duration == timedelta(minutes=minutes)
    assert (f"{start:%d %H:%M}", start.fold) == (f"{at:%d %H:%M}", at.fold)
    assert f"{end:%H:%M}" == until


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Clínica; São João, “Œuvre” \\ 日本語の診療所 " * 4, None),
        ('The "Grand" Hotel: Room 1', None),
        ("Bell\x07 and\r\nBEGIN:VALARM", "Bell  and BEGIN:VALARM"),
    ],
)
def test_any_name_can_be_told(clinic: World, name: str, shown: str | None) -> None:
    type(clinic.facility).objects.update(name=name)
    Provider.objects.update(name=name)
    event = ical.only(_invitation(clinic.book()))
    assert event.location == (shown or name)
    assert event.summary == f"Appointment with {shown or name}"
    assert event["organizer"].params["cn"] == (shown or name)


def _mailed(mailbox: Mailbox, now: datetime = NOW) -> EmailMessage:
    """Send what happened since, and return the last mail."""
    relayed()
    for message in messages.claim(channel="email", now=now, limit=10):
        assert deliveries.deliver(message=message, now=now) == "sent"
    return mailbox.mails[-1]


def _attached(mail: EmailMessage) -> bytes:
    [part] = mail.iter_attachments()
    assert (part.get_content_type(), part.get_filename()) == ("text/calendar", "appointment.ics")
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    assert part.get_param("method") == ical.read(payload)["method"]
    assert part.get_param("charset") == "utf-8"
    return payload


def test_the_mails_of_an_appointment_carry_it(clinic: World, mailbox: Mailbox) -> None:
    booked = clinic.book()
    first = ical.only(_attached(_mailed(mailbox)))
    _move(clinic, booked, to=NOW + 2 * DAY)
    moved = ical.only(_attached(_mailed(mailbox)))
    _cancel(booked)
    last = _attached(_mailed(mailbox))
    assert len(mailbox.mails) == 3
    assert ical.read(last)["method"] == "CANCEL"
    assert first.uid == moved.uid == ical.only(last).uid
    assert first.sequence < moved.sequence < ical.only(last).sequence
    assert (first.start, moved.start) == (NOW + DAY, NOW + 2 * DAY)


def test_a_mail_that_comes_late_does_not_bring_back_what_was_cancelled(
    clinic: World, mailbox: Mailbox
) -> None:
    booked = clinic.book()
    _cancel(booked)
    relayed()
    [late] = messages.claim(channel="email", now=NOW, limit=10)
    assert deliveries.deliver(message=late, now=NOW) == "suppressed"
    assert ical.read(_attached(_mailed(mailbox)))["method"] == "CANCEL"
    assert len(mailbox.mails) == 1
    # It may have been cancelled while the mail was written.
    booked.refresh_from_db()
    assert calendars.invitation(appointment=booked)["method"] == "CANCEL"


def test_a_mail_about_the_waitlist_carries_none(clinic: World, mailbox: Mailbox) -> None:
    clinic.join()
    assert not [*_mailed(mailbox).iter_attachments()]


# At addresses


def _caller(patient: Patient) -> Caller:
    """Give a patient a user, and return who they are then."""
    patient.user = factories.UserFactory.create()
    patient.save()
    return Caller(patient.user.pk, patient.tenant_id, Role.PATIENT, patient.pk)


def _provider(world: World) -> Caller:
    """Give a world's provider a user, and return who they are then."""
    member = factories.MembershipFactory.create(tenant=world.tenant, role="provider")
    Provider.objects.filter(pk=world.provider.pk).update(user=member.user)
    return Caller(member.user_id, world.tenant.pk, Role.PROVIDER)


def _subscribe(caller: Caller) -> str:
    _, url = feeds.rotate(caller=caller, now=NOW)
    return url.rpartition("/")[2].removesuffix(".ics")


def _got(token: str, *, now: datetime = NOW) -> bytes:
    feed = feeds.find(token=token)
    assert feed is not None
    return bytes(calendars.subscription(feed=feed, now=now).to_ical())


def test_a_patient_sees_their_own_at_all_facilities_of_the_tenant(clinic: World) -> None:
    patient = clinic.patient(language="fr")
    other = clinic.neighbour()
    clinic.book(patient=patient)
    other.book(patient=patient, slot=other.slot(at=NOW + 2 * DAY))
    clinic.book(slot=clinic.slot(at=NOW + 3 * DAY))
    _cancel(clinic.book(patient=patient, slot=clinic.slot(at=NOW + 4 * DAY)))
    token = _subscribe(_caller(patient))
    names = [clinic.provider.name, other.provider.name, clinic.provider.name]
    first, second, off = (f"Rendez-vous avec {name}" for name in names)
    assert ical.summaries(_got(token)) == [first, second, f"{off} (off)"]
    calendar = ical.read(_got(token))
    assert calendar["x-wr-calname"] == clinic.tenant.name
    assert "method" not in calendar
    for event in calendar.events:
        assert not {"attendee", "organizer", "description"} & {name.lower() for name in event}
    long_ago = NOW + calendars.CANCELLED_FOR + HOUR
    assert ical.summaries(_got(token, now=long_ago)) == [first, second]


def test_what_is_shown_is_bounded(clinic: World) -> None:
    patient = clinic.patient()
    clinic.book(patient=patient)
    token = _subscribe(_caller(patient))
    at = NOW + DAY
    for now, shown in (
        (at + calendars.BEHIND, True),
        (at + calendars.BEHIND + HOUR, False),
        (at - calendars.AHEAD + HOUR, True),
        (at - calendars.AHEAD, False),
    ):
        assert bool(ical.read(_got(token, now=now)).events) == shown


def test_what_came_to_pass_stays(clinic: World) -> None:
    patient = clinic.patient()
    booked = clinic.book(patient=patient)
    appointments.complete(appointment_id=booked.pk, actor=STAFF, now=NOW + 2 * DAY)
    event = ical.only(_got(_subscribe(_caller(patient))))
    assert event.status == "CONFIRMED"


def test_a_provider_sees_their_own_and_no_names(clinic: World) -> None:
    patient = clinic.patient()
    clinic.book(patient=patient)
    bare = clinic.slot(at=NOW + 2 * DAY, service=None)
    clinic.book(slot=bare)
    _cancel(clinic.book(slot=clinic.slot(at=NOW + 3 * DAY)))
    colleague = factories.ProviderFactory.create(tenant=clinic.tenant, facilities=[clinic.facility])
    clinic.book(slot=clinic.slot(at=NOW + 4 * DAY, provider=colleague))
    token = _subscribe(_provider(clinic))
    assert ical.summaries(_got(token)) == [f"Booked: {clinic.service.name}", "Booked"]
    for unsaid in (patient.name, patient.email, str(patient.pk)):
        assert unsaid not in _got(token).decode()


def test_a_calendar_with_nothing_in_it_is_one(clinic: World) -> None:
    token = _subscribe(_caller(clinic.patient()))
    assert ical.read(_got(token)).events == []
    assert _got(token) == _got(token)


@pytest.mark.parametrize("role", [Role.PATIENT, Role.PROVIDER])
def test_queries_do_not_grow_with_the_appointments(clinic: World, role: Role) -> None:
    patient = clinic.patient()
    token = _subscribe(_caller(patient) if role == Role.PATIENT else _provider(clinic))
    taken = {}
    for hour in range(50):
        clinic.book(patient=patient, slot=clinic.slot(at=NOW + DAY + hour * HOUR))
        if hour in (0, 49):
            with CaptureQueriesContext(connection) as queries:
                assert len(ical.read(_got(token)).events) == hour + 1
            taken[hour] = len(queries)
    assert taken[0] == taken[49] <= 3


def test_a_user_has_a_calendar_in_each_tenant_and_role(clinic: World) -> None:
    """And sees in none what is another's."""
    mine = clinic.patient()
    patient = _caller(mine)
    elsewhere = worlds.build()
    theirs = elsewhere.patient(user=mine.user)
    there = Caller(patient.user_id, elsewhere.tenant.pk, Role.PATIENT, theirs.pk)
    factories.MembershipFactory.create(tenant=clinic.tenant, user=mine.user, role="provider")
    Provider.objects.filter(pk=clinic.provider.pk).update(user=mine.user)
    # A provider's row of another tenant, in which they are none.
    Provider.objects.filter(pk=elsewhere.provider.pk).update(user=mine.user)
    works = Caller(patient.user_id, clinic.tenant.pk, Role.PROVIDER)
    elsewhere.book(patient=theirs)
    clinic.book()
    tokens = [_subscribe(one) for one in (patient, there, works)]
    assert [ical.summaries(_got(token)) for token in tokens] == [
        [],
        [f"Appointment with {elsewhere.provider.name}"],
        [f"Booked: {clinic.service.name}"],
    ]


def test_another_address_ends_the_last(clinic: World) -> None:
    caller = _caller(clinic.patient())
    first = _subscribe(caller)
    second = _subscribe(caller)
    assert feeds.find(token=first) is None
    assert feeds.find(token=second) == CalendarFeed.objects.get()
    assert CalendarFeed.objects.get().version == 2


def test_the_address_is_not_kept(clinic: World) -> None:
    token = _subscribe(_caller(clinic.patient()))
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM notifications_calendarfeed AS feed"
                       " WHERE feed::text LIKE %s", [f"%{token}%"])  # fmt: skip
        assert cursor.fetchone() == (0,)


def test_an_address_ends_with_what_its_user_was(clinic: World) -> None:
    mine, works = clinic.patient(), _provider(clinic)
    caller = _caller(mine)
    patients, providers = _subscribe(caller), _subscribe(works)
    user = User.objects.get(pk=works.user_id)

    def alive(token: str) -> bool:
        return feeds.find(token=token) is not None

    assert alive(patients)
    assert alive(providers)
    Patient.objects.filter(pk=mine.pk).update(user=None)
    assert not alive(patients)
    clinic.patient(user_id=caller.user_id)  # another row: the address was not for it
    assert not alive(patients)
    member = Membership.objects.get(user=user)
    Membership.objects.filter(pk=member.pk).update(role="staff")
    assert not alive(providers)
    Membership.objects.filter(pk=member.pk).update(role="provider")
    assert alive(providers)
    User.objects.filter(pk=user.pk).update(is_active=False)
    assert not alive(providers)
    User.objects.filter(pk=user.pk).update(is_active=True)
    member.delete()
    assert not alive(providers)
    user.delete()
    assert CalendarFeed.objects.count() == 1
