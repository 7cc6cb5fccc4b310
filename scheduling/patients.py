"""Patients: what may change about a person, and that they may be forgotten."""

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q, QuerySet

from accounts import idempotency, rows
from accounts.models import Invitation, User
from audit import events
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

    :raises NotFound: if the patient is not there, or was erased.
    :raises Stale: if its version is not the wanted one.
    :raises ValidationError: naming each field with a bad value.
    """
    patient = rows.lock(rows=known(), id=patient_id, version=version)
    unknown = set(changes) - FIELDS
    if unknown:
        raise ValidationError({name: "This cannot be changed." for name in unknown})
    if not changes:
        return patient
    for field, value in changes.items():
        setattr(patient, field, value)
    patient.full_clean()
    patient.save(update_fields=list(changes))
    _record(patient=patient, fields=changes, actor=actor, now=now)
    patient.refresh_from_db()
    return patient


@transaction.atomic
def erase(*, patient_id: UUID, actor: Actor, now: datetime) -> Patient:
    """Forget who a patient is: the row stays, for what refers to it, and tells nothing of them.

    They lose their login here, and their account where they are nothing else; the stored answers
    that tell of them or were given to them here go, and so do their invitations. What they wait
    for and are booked for is ended by the caller before. Locks patient.

    :raises NotFound: if the patient is not there, or was erased.
    """
    patient = rows.lock(rows=known(), id=patient_id)
    _forget(patient=patient)
    user, patient.user = patient.user, None
    patient.name = "Erased"
    patient.email = patient.phone = patient.external_ref = ""
    patient.tier, patient.chronic_condition = 0, False
    patient.erased_at = now
    patient.save()
    if user is not None:
        _close_account(user=user)
    _record(patient=patient, fields=[*FIELDS - {"language"}, "erased_at"], actor=actor, now=now)
    patient.refresh_from_db()
    return patient


@transaction.atomic
def remove(*, patient_id: UUID, version: int | None = None) -> None:
    """Delete a patient made by mistake, with their invitations and the stored answers.

    Locks patient.

    :raises NotFound, Stale: as `update`.
    :raises InUse: if others refer to them.
    """
    patient = rows.lock(rows=known(), id=patient_id, version=version)
    rows.remove(rows=known(), id=patient_id)
    _forget(patient=patient)


def known() -> QuerySet[Patient]:
    """Return the patients who were not erased."""
    return Patient.objects.filter(erased_at=None)


def _close_account(*, user: User) -> None:
    """Delete a user who is nothing any longer: no patient, member or provider anywhere."""
    accounts = User.objects.filter(memberships=None, patients=None, providers=None)
    accounts.filter(pk=user.pk, is_superuser=False).delete()


def _forget(*, patient: Patient) -> None:
    """Delete what tells of a locked patient elsewhere: stored answers, invitations, registrations.

    A registration names no patient, so it is known by its address.
    """
    tenant_id = patient.tenant_id
    idempotency.erase(about=patient.pk, user_id=patient.user_id, tenant_id=tenant_id)
    theirs = Q(patient_id=patient.pk)
    for address in {patient.email, patient.user.email if patient.user else ""} - {""}:
        theirs |= Q(patient_id=None, email__iexact=address)
    mine = Invitation.objects.filter(tenant=tenant_id, role=Invitation.Role.PATIENT)
    mine.filter(theirs).delete()


def _record(*, patient: Patient, fields: Collection[str], actor: Actor, now: datetime) -> None:
    events.record(
        kind="patient.updated",
        tenant_id=patient.tenant_id,
        subject_type="patient",
        subject_id=patient.pk,
        actor=actor,
        at=now,
        data={"fields": sorted(fields)},
    )
