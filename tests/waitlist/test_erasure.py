"""Forgetting a patient: everything ends, goes on to the next, and says nothing of them."""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test import Client

from accounts import invitations
from accounts.models import Invitation, Membership, User
from audit import clock
from audit.errors import NotFound, Stale
from audit.models import Event
from scheduling import appointments, patients, registration
from scheduling.models import Appointment, Patient, Slot
from tests import factories
from tests.accounts.pages import act, send, url
from tests.api import Api, log_in
from tests.audit.log import written
from tests.waitlist import worlds
from tests.waitlist.worlds import DAY, HOUR, NOW, STAFF, World
from waitlist import entries, erasure, holds, invariants, offers
from waitlist.models import EntryNote, Hold, WaitlistEntry

pytestmark = pytest.mark.django_db

# Words that nothing else in a database has.
NAME, OTHER_NAME = "Xanthippe Quxley", "Xanthippe Zwarteveen"
EMAIL, LOGIN = "xanthippe@quxley.example", "xq@zwarteveen.example"
PHONE, REF = "+442071838750", "NHS4857773456"
NOTE, METADATA, REASON = "allergic-to-zanzibar-cloves", "wheelchair-zephyr", "moves-to-ulaanbaatar"
WORDS = ("xanthippe", "quxley", "zwarteveen", "2071838750", "4857773456", "zanzibar", "zephyr",
         "ulaanbaatar")  # fmt: skip


def told() -> dict[str, list[str]]:
    """Search every table; return by table the words of one patient that are in it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        tables = [name for (name,) in cursor.fetchall()]
        found: dict[str, list[str]] = {}
        for table in tables:
            cursor.execute(f'SELECT lower(to_jsonb(t)::text) FROM "{table}" AS t')  # noqa: S608
            text = " ".join(row for (row,) in cursor.fetchall())
            if words := [word for word in WORDS if word in text]:
                found[table] = words
    return found


def test_no_table_says_anything_of_who_was_erased(clinic: World, client: Client) -> None:
    """What the API, the pages and the functions have written down of them is gone."""
    clinic.change(quiet_from=None, quiet_until=None)
    admin, staff = (log_in(tenant=clinic.tenant, role=role) for role in ("admin", "staff"))
    now = clock.now()
    about = {"name": NAME, "email": EMAIL, "phone": PHONE, "external_ref": REF, "tier": 2}
    made = staff.post("patients/", about, format="json", HTTP_IDEMPOTENCY_KEY="made")
    assert made.status_code == 201, made.content
    patient = Patient.objects.get()
    # They get a login and change their address after.
    assert staff.post(f"patients/{patient.pk}/invite").status_code == 202
    link = invitations.token(invitation=Invitation.objects.get())
    registration.accept(token=link, password="correct horse battery", about={"name": NAME}, now=now)
    patient.refresh_from_db()
    assert patient.user is not None
    User.objects.filter(pk=patient.user.pk).update(email=LOGIN, name=OTHER_NAME, phone=PHONE)
    registration.register(tenant=clinic.tenant.slug, email=LOGIN.upper(), now=now)
    them = Api(user=patient.user, tenant=clinic.tenant)
    # On the pages their name is changed.
    client.force_login(admin.user)  # type: ignore[arg-type]
    form = {"name": OTHER_NAME, "email": EMAIL, "phone": PHONE, "language": "en", "tier": "1",
            "external_ref": REF}  # fmt: skip
    assert send(client, url(Patient, "change", patient.pk), **form)[0] == {}

    def wait(api: Api, key: str, **more: Any) -> str:
        body = {"facility": str(clinic.facility.pk), "metadata": {"needs": METADATA}, **more}
        joined = api.post("waitlists", body, format="json", HTTP_IDEMPOTENCY_KEY=key)
        assert joined.status_code == 201, joined.content
        return str(joined.json()["id"])

    def give(entry: str, verb: str, at: int) -> Any:
        slot = clinic.slot(at=now + at * DAY)
        path, body = {
            "promote": (f"waitlists/{entry}/promote", {"slot": str(slot.pk)}),
            "invite": (f"slots/{slot.pk}/waitlist/invite", {"entry": entry}),
        }[verb]
        answer = staff.post(path, body, format="json", HTTP_IDEMPOTENCY_KEY=f"{verb}{at}")
        assert answer.status_code in {200, 201}, answer.content
        return answer.json()

    give(wait(them, "j1"), "promote", 1)
    # What they leave with a reason, what is offered, and what they go on waiting for.
    left = wait(them, "j2")
    cancelled = {"status": "cancelled", "reason": "other", "notes": REASON}
    answer = staff.patch(f"waitlists/{left}", cancelled, format="json", HTTP_IDEMPOTENCY_KEY="left")
    assert answer.status_code == 200, answer.content
    whom = {"patient": str(patient.pk)}
    offered = wait(staff, "j3", **whom)
    hold = Hold.objects.get(pk=give(offered, "invite", 2)["id"])
    waiting = wait(staff, "j4", **whom, provider=str(clinic.provider.pk), any_facility=True)
    for entry in (left, offered, waiting):
        noted = staff.post(f"waitlists/{entry}/notes", {"text": NOTE}, format="json")
        assert noted.status_code == 201
    page = url(WaitlistEntry, "change", UUID(waiting))
    note = {
        "notes-TOTAL_FORMS": "2", "notes-INITIAL_FORMS": "1", "notes-1-text": NOTE,
        "notes-0-id": EntryNote.objects.get(entry=UUID(waiting)).pk, "notes-0-entry": waiting,
        "notes-1-entry": waiting, "preferred_time": "any", "urgency": "1",
        "provider": clinic.provider.pk, "any_facility": "on",
    }  # fmt: skip
    assert send(client, page, **note)[0] == {}
    clinic.reserve(slot=clinic.slot(at=now + 3 * DAY), patient=patient, now=now)
    seen = told()
    assert {
        "scheduling_patient", "accounts_user", "accounts_invitation", "accounts_idempotencykey",
        "waitlist_waitlistentry", "waitlist_entrynote",
    } == set(seen)  # fmt: skip
    assert {word for words in seen.values() for word in words} == set(WORDS)

    version = staff.get(f"patients/{patient.pk}")["ETag"]
    erased = admin.post(
        f"patients/{patient.pk}/erase", HTTP_IF_MATCH=version, HTTP_IDEMPOTENCY_KEY="erase"
    )
    assert (erased.status_code, erased.content) == (204, b"")
    assert told() == {}
    assert invariants.breaches() == []
    # Nothing of theirs is left to be used, either.
    assert them.get("auth/me").status_code == 401
    link = f"offers/{offers.sign(hold_id=hold.pk)}"
    assert Api().get(link).json()["state"] == "withdrawn"
    for verb in ("accept", "decline"):
        answered = Api().post(f"{link}/{verb}")
        assert (answered.status_code, answered.json()["code"]) == (409, "hold_closed")
    for path in ("", "/waitlists"):
        assert staff.get(f"patients/{patient.pk}{path}").status_code == 404
    assert admin.post(f"patients/{patient.pk}/erase").status_code == 404
    again = admin.post(
        f"patients/{patient.pk}/erase", HTTP_IF_MATCH=version, HTTP_IDEMPOTENCY_KEY="erase"
    )
    assert again.status_code == 204
    assert told() == {}


@pytest.fixture
def patient(clinic: World) -> Patient:
    """A patient with an offer, a reservation, coming appointments, and one that goes on."""
    patient = clinic.patient(user=factories.UserFactory.create(), name=NAME)
    for at in (NOW + DAY, NOW - HOUR / 4):
        clinic.book(slot=clinic.slot(at=at), patient=patient, now=NOW - HOUR)
    clinic.reserve(slot=clinic.slot(at=NOW + 2 * DAY), patient=patient)
    clinic.offer(slot=clinic.slot(at=NOW + 3 * DAY), entry=clinic.join(patient=patient))
    clinic.join(patient=patient, provider_id=clinic.provider.pk, metadata={"needs": METADATA})
    return patient


def erase(patient: Patient, **more: Any) -> None:
    erasure.erase(patient_id=patient.pk, actor=STAFF, now=NOW, **more)


def test_each_place_goes_on_to_the_next(clinic: World, patient: Patient) -> None:
    others = [clinic.join(service_id=None) for _ in range(3)]
    with written() as events:
        erase(patient)
    ended = WaitlistEntry.objects.filter(patient=patient)
    assert set(ended.values_list("status", "cancellation_reason")) == {
        ("cancelled", "patient_erased")
    }
    assert set(Hold.objects.values_list("status", flat=True)) == {"withdrawn"}
    assert sorted(event.kind for event in events if event.kind != "slot.opened") == [
        "appointment.cancelled", "patient.updated", "reservation.released",
        "waitlist.cancelled", "waitlist.cancelled", "waitlist.hold_withdrawn",
    ]  # fmt: skip
    assert {event.actor_id for event in events} == {STAFF.id}
    coming = Slot.objects.filter(period__startswith__gt=NOW)
    assert set(coming.values_list("status", flat=True)) == {"open"}
    assert clinic.fill().offers == 3
    assert {entry for _, entry in worlds.offered()} == {entry.pk for entry in others}
    assert invariants.breaches() == []


def test_an_appointment_that_has_begun_is_left_to_the_team(clinic: World, patient: Patient) -> None:
    erase(patient)
    going_on = Appointment.objects.get(period__startswith__lte=NOW)
    assert going_on.status == "booked"
    done = appointments.complete(appointment_id=going_on.pk, actor=STAFF, now=NOW)
    assert (done.status, done.patient.name) == ("completed", "Erased")


def test_an_account_stays_as_long_as_it_is_anything(clinic: World) -> None:
    def kept(make: Callable[[User], object]) -> bool:
        user = factories.UserFactory.create()
        make(user)
        erase(clinic.patient(user=user))
        return User.objects.filter(pk=user.pk).exists()

    assert not kept(lambda user: None)
    assert kept(lambda user: worlds.build().patient(user=user))
    assert kept(lambda user: factories.MembershipFactory.create(user=user))
    assert kept(lambda user: factories.ProviderFactory.create(user=user))
    assert kept(lambda user: User.objects.filter(pk=user.pk).update(is_superuser=True))


def test_another_version_is_refused_and_nothing_ends(patient: Patient) -> None:
    events = Event.objects.count()
    with pytest.raises(Stale):
        erase(patient, version=7)
    assert Patient.objects.get(pk=patient.pk).name == NAME
    assert WaitlistEntry.objects.filter(patient=patient, closed_at=None).count() == 2
    assert Event.objects.count() == events


def test_who_is_not_there_or_was_erased_is_not_found(patient: Patient) -> None:
    erase(patient)
    for wrong in (patient.pk, uuid4()):
        with pytest.raises(NotFound) as caught:
            erasure.erase(patient_id=wrong, actor=STAFF, now=NOW)
        assert caught.value.field == "patient"


def test_nothing_is_begun_for_who_was_erased(clinic: World, patient: Patient) -> None:
    entry = WaitlistEntry.objects.filter(patient=patient).first()
    assert entry is not None
    erase(patient)
    slot, author = clinic.slot(at=NOW + 5 * DAY), factories.UserFactory.create()
    for call in (
        lambda: clinic.join(patient=patient),
        lambda: clinic.book(slot=slot, patient=patient),
        lambda: clinic.reserve(slot=slot, patient=patient),
        lambda: patients.update(
            patient_id=patient.pk, changes={"name": NAME}, actor=STAFF, now=NOW
        ),
        lambda: entries.add_note(entry_id=entry.pk, author=author, text=NOTE, now=NOW),
    ):
        with pytest.raises(NotFound) as caught:
            call()
        assert caught.value.field == "patient"
    with pytest.raises(holds.HoldClosed):
        worlds.accept(Hold.objects.get())


# On the pages


def test_an_admin_is_asked_before_somebody_is_erased(client: Client, patient: Patient) -> None:
    client.force_login(admin_of(patient))
    page = url(Patient, "change", patient.pk)
    assert 'value="erase"' in client.get(page).content.decode()
    data = {"action": "erase", "_selected_action": str(patient.pk)}
    asked = client.post(url(Patient, "changelist"), data)
    assert "Erase for good" in asked.content.decode()
    assert Patient.objects.get(pk=patient.pk).erased_at is None
    told = client.post(url(Patient, "changelist"), {**data, "answered": "1"}, follow=True)
    assert "Erased: 1 of 1." in told.content.decode()
    assert Patient.objects.get(pk=patient.pk).name == "Erased"


def admin_of(patient: Patient) -> User:
    member = factories.MembershipFactory.create(tenant=patient.tenant, role=Membership.Role.ADMIN)
    return member.user


def test_staff_do_not_erase(client: Client, patient: Patient) -> None:
    """Nor does who is an admin elsewhere only."""
    staff = factories.MembershipFactory.create(tenant=patient.tenant, role="staff").user
    client.force_login(staff)
    assert 'value="erase"' not in client.get(url(Patient, "change", patient.pk)).content.decode()
    act(client, "erase", patient, sure="1")
    factories.MembershipFactory.create(user=staff, role=Membership.Role.ADMIN)
    assert act(client, "erase", patient, sure="1") == ["Only an admin of their tenant may."]
    assert Patient.objects.get(pk=patient.pk).erased_at is None
