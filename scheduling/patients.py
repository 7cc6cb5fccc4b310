"""Patients: what may change about a person."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction

from audit import events
from audit.errors import NotFound, check_version
from audit.events import Actor
from scheduling.models import Patient

FIELDS = frozenset(
    {
        "user",
        "name",
        "email",
        "phone",
        "language",
        "tier",
        "chronic_condition",
        "external_ref",
    }
)


@transaction.atomic
def update(
    *, patient_id: UUID, changes: dict[str, Any], actor: Actor, now: datetime,
    version: int | None = None,
) -> Patient:  # fmt: skip
    """Change a patient's columns; the event names which, never what they hold.

    A changed tier or condition changes the person's place in every queue, which follows on commit.
    Locks patient.

    :raises NotFound: if the patient is not there.
    :raises Stale: if its version is not the wanted one.
    :raises ValidationError: naming each field with a bad value.
    """
    patient = Patient.objects.select_for_update(no_key=True).filter(pk=patient_id).first()
    if patient is None:
        raise NotFound("patient", patient_id)
    check_version(version=patient.version, wanted=version)
    unknown = set(changes) - FIELDS
    if unknown:
        raise ValidationError({name: "This cannot be changed." for name in unknown})
    if not changes:
        return patient
    for field, value in changes.items():
        setattr(patient, field, value)
    patient.full_clean()
    patient.save(update_fields=list(changes))
    events.record(
        kind="patient.updated",
        tenant_id=patient.tenant_id,
        subject_type="patient",
        subject_id=patient.pk,
        actor=actor,
        at=now,
        data={"fields": sorted(changes)},
    )
    patient.refresh_from_db()
    return patient
