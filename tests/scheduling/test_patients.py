"""Changing what is known of a person."""

from typing import Any
from uuid import uuid4

import pytest
from django.core.exceptions import ValidationError

from audit.errors import NotFound
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
