"""Changing what is known of a person."""

from typing import Any
from uuid import uuid4

import pytest
from django.core.exceptions import ValidationError

from accounts import idempotency
from accounts.models import IdempotencyKey, Invitation
from accounts.roles import Caller, Role
from accounts.rows import InUse
from audit import clock
from audit.errors import NotFound, Stale
from audit.models import Event
from scheduling import patients
from scheduling.models import Patient
from tests import factories
from tests.audit.log import written
from tests.waitlist.worlds import NOW, STAFF

pytestmark = pytest.mark.django_db


def _update(patient: Patient, **changes: Any) -> Patient:
    return patients.update(patient_id=patient.pk, changes=changes, actor=STAFF, now=NOW)


def test_a_change_is_written_with_an_event_that_names_the_fields_only() -> None:
    patient = factories.PatientFactory.create()
    with written() as events:
        changed = _update(patient, tier=2, phone="+442071838750", name="New Name")
    stored = Patient.objects.get(pk=patient.pk)
    assert (stored.tier, stored.phone, stored.name) == (2, "+442071838750", "New Name")
    assert changed.pk == patient.pk
    [event] = events
    assert (event.kind, event.subject_type, event.subject_id, event.tenant_id) == (
        "patient.updated", "patient", patient.pk, patient.tenant_id
    )  # fmt: skip
    assert event.data == {"fields": ["name", "phone", "tier"]}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tier", 4),
        ("tier", -1),
        ("tier", "gold"),
        ("email", "nobody"),
        ("phone", "020 7183 8750"),
        ("phone", "+0123"),
        ("language", "xx"),
        ("name", ""),
        ("name", None),
        ("chronic_condition", "perhaps"),
    ],
)
def test_a_bad_value_is_an_error_that_names_the_field_and_changes_nothing(
    field: str, value: Any
) -> None:
    patient = factories.PatientFactory.create()
    with pytest.raises(ValidationError) as caught:
        _update(patient, **{field: value})
    assert field in caught.value.message_dict
    assert Patient.objects.get(pk=patient.pk).version == 1
    assert not Event.objects.exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tenant", None),
        ("tenant_id", uuid4()),
        ("id", uuid4()),
        ("version", 9),
        ("created_at", NOW),
        ("colour", "red"),
        ("save", None),
    ],
)
def test_what_is_no_column_for_people_to_edit_cannot_be_changed(field: str, value: Any) -> None:
    patient = factories.PatientFactory.create()
    if field.startswith("tenant"):
        other = factories.TenantFactory.create()
        value = other if field == "tenant" else other.pk
    with pytest.raises(ValidationError) as caught:
        _update(patient, **{field: value})
    assert field in caught.value.message_dict
    stored = Patient.objects.get(pk=patient.pk)
    assert (stored.tenant_id, stored.version) == (patient.tenant_id, 1)


def test_two_patients_of_a_tenant_do_not_share_an_external_ref() -> None:
    first = factories.PatientFactory.create(external_ref="A1")
    second = factories.PatientFactory.create(tenant=first.tenant)
    with pytest.raises(ValidationError):
        _update(second, external_ref="A1")
    other = factories.PatientFactory.create()
    assert _update(other, external_ref="A1").external_ref == "A1"


def test_an_unknown_patient_is_named() -> None:
    wrong = uuid4()
    with pytest.raises(NotFound) as caught:
        patients.update(patient_id=wrong, changes={"tier": 1}, actor=STAFF, now=NOW)
    assert caught.value.field == "patient"
    assert str(wrong) in str(caught.value)


# Erasing


def _answered(*, caller: str, key: str, body: Any) -> None:
    answer = idempotency.Answer(status=200, body=body, headers={})
    idempotency.once(caller=caller, key=key, request="r", now=clock.now(), work=lambda: answer)


@pytest.fixture
def known() -> Patient:
    """A patient with a login, of whom answers are stored, as of others."""
    patient = factories.PatientFactory.create(
        user=factories.UserFactory.create(), name="Ada Lovelace", phone="+442071838750",
        external_ref="A1", tier=2, chronic_condition=True,
    )  # fmt: skip
    assert patient.user_id is not None
    for role, patient_id in ((Role.PATIENT, patient.pk), (Role.STAFF, None)):
        caller = Caller(patient.user_id, patient.tenant_id, role, patient_id)
        _answered(caller=idempotency.name(caller=caller), key=f"theirs as {role}", body={})
    about = {"results": [{"id": str(patient.pk), "name": "Ada Lovelace"}]}
    _answered(caller=f"{uuid4()}:{patient.tenant_id}", key="about", body=about)
    _answered(caller=f"{uuid4()}:{patient.tenant_id}", key="other", body={"id": str(uuid4())})
    _answered(caller=f"{uuid4()}:{patient.tenant_id}", key="empty", body=None)
    return patient


def _keys() -> set[str]:
    return set(IdempotencyKey.objects.values_list("key", flat=True))


def test_an_erased_patient_is_nobody_and_no_stored_answer_tells_of_them(known: Patient) -> None:
    with written() as events:
        erased = patients.erase(patient_id=known.pk, actor=STAFF, now=NOW)
    assert erased.erased_at == NOW
    assert (erased.user, erased.email, erased.phone, erased.external_ref) == (None, "", "", "")
    assert (erased.name, erased.tier, erased.chronic_condition) == ("Erased", 0, False)
    assert _keys() == {"other", "empty"}
    assert [(event.kind, "erased_at" in event.data["fields"]) for event in events] == [
        ("patient.updated", True)
    ]
    with pytest.raises(NotFound):
        patients.erase(patient_id=known.pk, actor=STAFF, now=NOW)


def test_an_erased_patient_keeps_no_invitation_and_what_is_elsewhere_stays(known: Patient) -> None:
    user = known.user
    assert user is not None
    there = factories.TenantFactory.create()
    _answered(caller=f"{user.pk}:{there.pk}", key="elsewhere", body={})
    for email, patient_id, tenant in (
        (known.email, known.pk, known.tenant),
        (user.email.upper(), None, known.tenant),  # as they registered
        ("other@example.com", uuid4(), known.tenant),
        (user.email, None, there),
    ):
        Invitation.objects.create(
            tenant=tenant, email=email, role="patient", patient_id=patient_id, expires_at=NOW
        )  # fmt: skip
    team = Invitation.objects.create(
        tenant=known.tenant, email=user.email, role="staff", expires_at=NOW
    )
    patients.erase(patient_id=known.pk, actor=STAFF, now=NOW)
    left = set(Invitation.objects.values_list("email", "tenant"))
    assert left == {
        ("other@example.com", known.tenant_id), (user.email, there.pk), (team.email, team.tenant_id)
    }  # fmt: skip
    assert _keys() == {"other", "empty", "elsewhere"}


def test_who_was_made_by_mistake_is_in_no_stored_answer_either(known: Patient) -> None:
    with pytest.raises(Stale):
        patients.remove(patient_id=known.pk, version=7)
    assert len(_keys()) == 5
    patients.remove(patient_id=known.pk, version=1)
    assert not Patient.objects.exists()
    assert _keys() == {"other", "empty"}


def test_answers_of_who_is_referred_to_stay(known: Patient) -> None:
    factories.WaitlistEntryFactory.create(
        facility=factories.FacilityFactory.create(tenant=known.tenant), patient=known
    )
    with pytest.raises(InUse):
        patients.remove(patient_id=known.pk)
    assert len(_keys()) == 5
