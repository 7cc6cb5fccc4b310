"""Registration: somebody becomes a patient of a tenant with a login of their own."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from django.db import transaction

from accounts import invitations, rows
from accounts.invitations import Accepted, InvitationOver, WrongPassword
from accounts.models import Invitation, Tenant, User
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


class OtherPatient(Refused):
    """Who has this address logs in as another patient of the tenant; staff keep one of the two."""

    code = "other_patient"


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
    :raises HasLogin, NoAddress, OtherPatient: as `check`.
    """
    patient = rows.lock(rows=Patient.objects.filter(erased_at=None), id=patient_id)
    check(patient=patient)
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


def check(*, patient: Patient) -> None:
    """Check that a link would give a patient a login.

    :raises HasLogin: if they have one.
    :raises NoAddress: if there is no address to mail it to.
    :raises OtherPatient: naming the one who logs in with their address.
    """
    if patient.user_id is not None:
        raise HasLogin("This patient logs in already.", field="patient")
    if not patient.email:
        raise NoAddress("This patient has no mail address.", field="patient")
    others = Patient.objects.filter(tenant=patient.tenant_id, erased_at=None)
    other = others.filter(user__email__iexact=patient.email).first()
    if other is not None:
        raise OtherPatient(
            f"Patient {other.pk} logs in with this address. Keep that one, or delete it and invite"
            " again.",
            field="patient",
        )


def accept(
    *, token: str, password: str, now: datetime, about: Mapping[str, str] | None = None,
    role: str | None = None,
) -> Accepted:  # fmt: skip
    """Use an invitation: of a member, or of a patient, who is then this user. Locks patient, user.

    `about` is their name, phone and language. Who registers is a new patient, whatever others of
    the same address there are: that they are one of these is for staff to say, by an invitation.
    It gives a login to a patient whose address has an account already, unless that is a patient's
    of the tenant, who stays who they are.

    :raises InvitationOver: as `invitations.accept`, or if the patient has another address now, or
        the user was deleted meanwhile.
    :raises AlreadyMember, ValidationError: as `invitations.accept`.
    :raises WrongPassword: as `invitations.accept`; it is noted as at a login.
    :raises NotFound: if the patient was erased.
    :raises HasLogin: if the patient it was for logs in already.
    :raises OtherPatient: if they are another patient of the tenant by now.
    """
    try:
        return _accept(token=token, password=password, now=now, about=about or {}, role=role)
    except WrongPassword as wrong:  # noted here, where what was begun is undone
        caller = callers.find(user_id=wrong.user.pk, tenant_id=wrong.tenant_id)
        callers.record_denial(tenant_id=wrong.tenant_id, caller=caller, now=now)
        raise


@transaction.atomic
def _accept(
    *, token: str, password: str, now: datetime, about: Mapping[str, str], role: str | None
) -> Accepted:
    # The patient before the invitation, as `invite` does.
    patient = _invited(invitation=invitations.read(token=token, now=now))
    known = {"name": patient.name, "phone": patient.phone} if patient else {}
    accepted = invitations.accept(
        token=token, password=password, now=now, about={**known, **about}, role=role
    )
    invitation, user = accepted.invitation, accepted.user
    if invitation.role != Invitation.Role.PATIENT:
        return accepted
    # Who uses two links at once is one patient: the second finds what the first made of them.
    if User.objects.select_for_update(no_key=True).filter(pk=user.pk).first() is None:
        raise InvitationOver("This link does not count any longer.")
    mine = Patient.objects.filter(tenant=invitation.tenant_id, user=user, erased_at=None)
    if patient is not None:
        if patient.user_id is not None:
            raise HasLogin("This patient logs in already.", field="patient")
        if mine.exists():
            raise OtherPatient("You are a patient here already, with this login.", field="patient")
        patient.user = user
        patient.save(update_fields=["user"])
    elif not mine.exists():  # who asks again is who they were
        rows.add(
            row=Patient(
                tenant_id=invitation.tenant_id,
                user=user,
                name=user.name,
                email=user.email,
                phone=about.get("phone", ""),
                language=about.get("language") or user.language,
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
