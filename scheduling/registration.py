"""Registration: somebody becomes a patient of a tenant with a login of their own."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from django.db import transaction

from accounts import invitations, rows
from accounts.invitations import Accepted, InvitationOver
from accounts.models import Invitation, Tenant
from audit import events
from audit.errors import NotFound, Refused
from audit.events import Actor
from scheduling import callers
from scheduling.models import Patient

TREATING = (Tenant.Kind.CLINIC, Tenant.Kind.SALON)


class NoAddress(Refused):
    """The patient has no mail address."""

    code = "no_address"


class HasLogin(Refused):
    """The patient logs in already."""

    code = "has_login"


def register(*, tenant: str, email: str, now: datetime) -> None:
    """Mail somebody the link that makes them a patient; nothing else tells whether it will.

    Who they are and their password is said with the link, and nothing of it before: so nobody can
    take an address that is another's, or leave a name or a phone with it.

    :raises NotFound: naming `tenant`, if there is none that has patients.
    :raises ValidationError: naming each field with a bad value.
    """
    place = callers.find_tenant(name=tenant)
    if place is None or place.kind not in TREATING:
        raise NotFound("tenant", tenant)
    invitations.invite(
        tenant_id=place.pk,
        email=email,
        role=Invitation.Role.PATIENT,
        invited_by=None,
        actor=events.SYSTEM,
        now=now,
    )


@transaction.atomic
def invite(*, patient_id: UUID, invited_by: UUID, actor: Actor, now: datetime) -> Invitation:
    """Mail a patient the link that gives them a login; earlier ones end. Locks patient.

    :raises NotFound: if there is no such patient.
    :raises HasLogin, NoAddress: see there.
    """
    patient = rows.lock(rows=Patient.objects.filter(erased_at=None), id=patient_id)
    if patient.user_id is not None:
        raise HasLogin("This patient logs in already.", field="patient")
    if not patient.email:
        raise NoAddress("This patient has no mail address.", field="patient")
    Invitation.objects.filter(
        tenant=patient.tenant_id, patient_id=patient.pk, accepted_at=None
    ).delete()
    return invitations.invite(
        tenant_id=patient.tenant_id,
        email=patient.email,
        role=Invitation.Role.PATIENT,
        patient_id=patient.pk,
        language=patient.language,
        invited_by=invited_by,
        actor=actor,
        now=now,
    )


@transaction.atomic
def accept(
    *, token: str, password: str, now: datetime, about: Mapping[str, str] | None = None,
    role: str | None = None,
) -> Accepted:  # fmt: skip
    """Use an invitation: of a member, or of a patient, who is then this user. Locks patient.

    `about` is their name, phone and language. Who registers is a new patient, whatever others of
    the same address there are: that they are one of these is for staff to say, by an invitation.

    :raises InvitationOver: as `invitations.accept`, or if the patient has another address now.
    :raises AlreadyMember, ValidationError: as `invitations.accept`.
    :raises NotFound: if the patient was erased.
    :raises HasLogin: if the patient it was for logs in already.
    """
    # The patient before the invitation, as `invite` does.
    patient = _invited(invitation=invitations.read(token=token, now=now))
    said = dict(about or {})
    known = {"name": patient.name, "phone": patient.phone} if patient else {}
    accepted = invitations.accept(
        token=token, password=password, now=now, about=known | said, role=role
    )
    invitation, user = accepted.invitation, accepted.user
    if invitation.role != Invitation.Role.PATIENT:
        return accepted
    mine = Patient.objects.filter(tenant=invitation.tenant_id, user=user, erased_at=None)
    if patient is not None:
        if patient.user_id is not None or mine.exists():
            raise HasLogin("This patient logs in already.", field="patient")
        patient.user = user
        patient.save(update_fields=["user"])
    elif not mine.exists():  # who asks again is who they were
        rows.add(
            row=Patient(
                tenant_id=invitation.tenant_id,
                user=user,
                name=user.name,
                email=user.email,
                phone=said.get("phone", ""),
                language=said.get("language") or user.language,
            )
        )
    return accepted


def _invited(*, invitation: Invitation) -> Patient | None:
    """Lock the patient that an invitation is for, if it is for one who is known already."""
    if invitation.patient_id is None:
        return None
    others = Patient.objects.filter(tenant=invitation.tenant_id, erased_at=None)
    patient = rows.lock(rows=others, id=invitation.patient_id)
    if patient.email.casefold() != invitation.email.casefold():
        raise InvitationOver("This link does not count any longer.")
    return patient
