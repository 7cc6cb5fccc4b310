"""What messages say: whose text, in which language, by which clock, with which values."""

import re
from datetime import timedelta
from decimal import Decimal

import pytest
from django.core.exceptions import ValidationError

from accounts.models import Language
from audit.errors import NotFound
from notifications import lengths, templates
from notifications.channels import Content
from notifications.facts import ALIASES, VALUES
from notifications.kinds import KINDS
from notifications.models import Channel, Message, Template
from notifications.templates import Text
from scheduling.models import Facility, Provider, Service
from tests.notifications.told import relayed
from tests.waitlist import worlds
from tests.waitlist.worlds import DAY, NOW, World

ALL = [
    (kind, channel, language)
    for kind in [*KINDS, *sorted(templates.to_organizers())]
    for channel in Channel.values
    for language in Language.values
]


def _offered(clinic: World, language: str = "en") -> Message:
    """Offer a patient a time, and return the mail about it."""
    Provider.objects.update(name="Dr Osei")
    Facility.objects.update(name="City Clinic")
    Service.objects.update(price=Decimal("45.50"), currency="EUR")
    patient = clinic.patient(name="Ada Byron", language=language, phone="+447700900123")
    clinic.offer(entry=clinic.join(patient=patient), slot=clinic.slot(at=NOW + DAY))
    relayed()
    return Message.objects.get(kind="waitlist.hold_offered", channel="email")


def _render(message: Message) -> Content:
    return templates.render(message=Message.objects.get(pk=message.pk), now=NOW)


def _own(clinic: World, body: str, **fields: object) -> None:
    given = {
        "tenant_id": clinic.tenant.pk, "kind": "waitlist.hold_offered", "channel": "email",
        "language": "en", "subject": "Own", "body": body and f"{body}\n{{offer_url}}", **fields,
    }  # fmt: skip
    templates.add(**given)  # type: ignore[arg-type]


def _said(message: Message) -> str:
    return _render(message).body.splitlines()[0]


# What is shipped


@pytest.mark.parametrize(("kind", "channel", "language"), ALL)
def test_each_kind_has_a_text_for_each_channel_and_language(
    kind: str, channel: str, language: str
) -> None:
    text = templates.shipped(kind=kind, channel=channel, language=language)
    usual = kind.replace("organizer.", "waitlist.")
    templates.check(kind=usual, channel=channel, subject=text.subject, body=text.body)
    said = templates.preview(text=text, channel=channel, language=language)
    assert not re.search(r"[{}]", said.subject + said.body)
    if channel == Channel.SMS:
        length = lengths.measure(text=said.body)
        assert (length.encoding, length.segments, length.others) == ("GSM-7", 1, "")


def test_no_two_languages_say_the_same() -> None:
    for kind in {*KINDS, *templates.to_organizers()}:
        mails = {
            templates.shipped(kind=kind, channel="email", language=language).body
            for language in Language.values
        }
        assert len(mails) == len(Language.values)


# Values


@pytest.mark.django_db
def test_every_placeholder_has_a_value(clinic: World) -> None:
    message = _offered(clinic)
    _own(clinic, "\n".join(f"{name}={{{name}}}" for name in VALUES))
    *lines, _ = _render(message).body.splitlines()
    said = dict(line.split("=", 1) for line in lines)
    assert said["offer_url"].startswith("http://localhost:8000/api/v1/offers/")
    assert said["nudge_url"].startswith("http://localhost:8000/api/v1/nudges/")
    assert {name: value for name, value in said.items() if not name.endswith("_url")} == {
        "patient_name": "Ada Byron",
        "provider_name": "Dr Osei",
        "facility_name": "City Clinic",
        "service_name": clinic.service.name,
        "slot_time": "Tuesday 5 March 2030, 10:00",
        "duration": "30",
        "price": "45.50 EUR",
        "respond_by": "Tuesday 5 March 2030, 09:30",
        "minutes_to_respond": str(23 * 60 + 30),
        "hours_remaining": "23",
        "position": "",
        "organizer_name": "",
        "rfp_title": "",
    }


@pytest.mark.django_db
def test_other_spellings_of_placeholders_are_understood(clinic: World) -> None:
    message = _offered(clinic)
    assert {"patientName", "slotTime", "minutesToRespond"} <= set(ALIASES)
    _own(clinic, "{patientName} {facilityName}")
    assert _said(message) == "Ada Byron City Clinic"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("language", "time"),
    [
        ("en", "Monday 1 July 2030, 10:00"),
        ("es", "lunes 1 de julio de 2030, 10:00"),
        ("fr", "lundi 1 juillet 2030, 10:00"),
        ("pt", "segunda-feira, 1 de Julho de 2030, 10:00"),
    ],
)
def test_times_are_in_the_facilitys_zone_and_the_persons_language(
    clinic: World, language: str, time: str
) -> None:
    """It is summer in London: 09:00 UTC is 10:00."""
    clinic.change(look_ahead=timedelta(days=365))
    patient = clinic.patient(language=language)
    at = NOW.replace(month=7, day=1, hour=9)
    clinic.book(patient=patient, slot=clinic.slot(at=at))
    relayed()
    message = Message.objects.get(kind="appointment.booked", channel="email")
    assert time.lower() in _render(message).body.lower()


@pytest.mark.django_db
def test_a_value_that_looks_like_a_placeholder_is_not_one(clinic: World) -> None:
    message = _offered(clinic)
    clinic.tenant.__class__.objects.update(name="x")
    patient = message.patient
    assert patient is not None
    type(patient).objects.update(name="{offer_url}")
    _own(clinic, "{patient_name}")
    assert _said(message) == "{offer_url}"


# Whose text


@pytest.mark.django_db
def test_a_facilitys_text_goes_before_its_tenants_and_that_before_what_is_shipped(
    clinic: World,
) -> None:
    message = _offered(clinic)
    assert "A time is free at City Clinic" in _render(message).body
    _own(clinic, "tenant's")
    _own(clinic, "neighbour's", facility_id=clinic.neighbour().facility.pk)
    assert _said(message) == "tenant's"
    _own(clinic, "facility's", facility_id=clinic.facility.pk)
    assert _said(message) == "facility's"


@pytest.mark.django_db
def test_another_tenants_text_is_nobodys(clinic: World) -> None:
    message = _offered(clinic)
    _own(worlds.build(), "stranger's")
    assert "stranger" not in _render(message).body


@pytest.mark.django_db
def test_a_text_in_one_language_is_for_nobody_who_speaks_another(clinic: World) -> None:
    message = _offered(clinic, language="fr")
    _own(clinic, "english")
    assert "Bonjour Ada Byron" in _render(message).body


# What is refused


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"body": "{patient_nam}"}, "body"),
        ({"subject": "{0}"}, "subject"),
        ({"subject": ""}, "subject"),
        ({"channel": "sms"}, "subject"),
        ({"channel": "fax"}, "channel"),
        ({"kind": "slot.opened"}, "kind"),
        ({"language": "xx"}, "language"),
        ({"body": ""}, "body"),
    ],
)
def test_a_text_with_a_fault_is_refused_and_the_fault_named(
    clinic: World, fields: dict[str, str], field: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        _own(clinic, **{"body": "x", **fields})
    assert set(refused.value.message_dict) == {field}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("kind", "channel", "missing"),
    [
        ("waitlist.hold_offered", "email", "{offer_url}"),
        ("waitlist.hold_offered", "sms", None),
        ("waitlist.still_interested", "sms", "{nudge_url}"),
        ("waitlist.joined", "email", None),
    ],
)
def test_a_text_by_which_nobody_could_answer_is_refused(
    kind: str, channel: str, missing: str | None
) -> None:
    subject = "Own" if channel == "email" else ""
    given = {"kind": kind, "channel": channel, "subject": subject, "body": "Hi {patient_name}"}
    if missing is None:
        templates.check(**given)
        return
    with pytest.raises(ValidationError) as refused:
        templates.check(**given)
    assert refused.value.message_dict == {"body": [f"Nobody could answer without {missing}."]}


@pytest.mark.django_db
def test_a_text_is_there_once_and_a_facility_is_the_tenants(clinic: World) -> None:
    _own(clinic, "x")
    with pytest.raises(ValidationError):
        _own(clinic, "y")
    with pytest.raises(NotFound):
        _own(clinic, "z", facility_id=worlds.build().facility.pk)


@pytest.mark.django_db
def test_a_text_is_changed_and_removed(clinic: World) -> None:
    _own(clinic, "x")
    [template] = Template.objects.all()
    with pytest.raises(ValidationError):
        templates.change(template_id=template.pk, changes={"body": "{nobody}"})
    with pytest.raises(ValidationError):
        templates.change(template_id=template.pk, changes={"kind": "waitlist.joined"})
    assert templates.change(template_id=template.pk, changes={"body": "y {offerUrl}"}).version == 2
    templates.remove(template_id=template.pk)
    assert not Template.objects.exists()


# How long


@pytest.mark.parametrize(
    ("text", "encoding", "units", "segments"),
    [
        ("", "GSM-7", 0, 1),
        ("a" * 160, "GSM-7", 160, 1),
        ("a" * 161, "GSM-7", 161, 2),
        ("a" * 306, "GSM-7", 306, 2),
        ("a" * 307, "GSM-7", 307, 3),
        ("€" * 80, "GSM-7", 160, 1),
        ("€" * 81, "GSM-7", 162, 2),
        # A letter of two septets is not cut in two: the first segment ends one early.
        ("a" * 152 + "€" + "a" * 152, "GSM-7", 306, 3),
        ("ñ" * 160, "GSM-7", 160, 1),
        ("á" * 70, "UCS-2", 70, 1),
        ("á" * 71, "UCS-2", 71, 2),
        ("😀" * 35, "UCS-2", 70, 1),
        ("😀" * 36, "UCS-2", 72, 2),
    ],
)
def test_the_length_of_an_sms(text: str, encoding: str, units: int, segments: int) -> None:
    length = lengths.measure(text=text)
    assert (length.encoding, length.units, length.segments) == (encoding, units, segments)


def test_the_letters_that_make_an_sms_longer_are_named() -> None:
    assert lengths.measure(text="así, ¿mañana?").others == "í"


def test_a_preview_has_values_of_nobody() -> None:
    said = templates.preview(
        text=Text("{facilityName}", "{slot_time} {patient_name}"), channel="sms", language="en"
    )
    assert said == Content("City Clinic", "Wed 25 Sep 09:30 Ada Byron")
