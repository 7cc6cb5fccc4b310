from collections.abc import Collection
from typing import Any, ClassVar
from uuid import UUID

import pgtrigger
from django.contrib.auth.models import (
    AbstractBaseUser,
    BaseUserManager,
    PermissionsMixin,
)
from django.core.exceptions import ValidationError
from django.core.serializers.json import DjangoJSONEncoder
from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Lower, Now
from django.utils.functional import cached_property

from audit import triggers
from audit.models import UUIDv7

phone_validator = RegexValidator(
    r"^\+[1-9]\d{6,14}$", "Give the number as +, country code, number."
)


class Language(models.TextChoices):
    EN = "en", "English"
    ES = "es", "Spanish"
    FR = "fr", "French"
    PT = "pt", "Portuguese"


class Row(models.Model):
    """A row of any table: a key that sorts by age, and when it was made and last changed."""

    id = models.UUIDField(primary_key=True, db_default=UUIDv7(), editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        abstract = True

    def validate_constraints(self, exclude: Collection[str] | None = None) -> None:
        """Check as the framework does, but name the column where one alone, or in its tenant, is
        to be unique.
        """
        faults: dict[str, list[ValidationError]] = {}
        for one in self._meta.constraints:
            try:
                one.validate(type(self), self, exclude=set(exclude or ()))
            except ValidationError as error:
                columns = {*getattr(one, "fields", ())} - {"tenant"}
                if len(columns) == 1:
                    text = f"Another {self._meta.verbose_name} has this."
                    faults.setdefault(columns.pop(), []).append(ValidationError(text, "unique"))
                else:
                    faults = error.update_error_dict(faults)
        if faults:
            raise ValidationError(faults)


class Tenant(Row):
    """An organisation that uses Backfill."""

    class Kind(models.TextChoices):
        CLINIC = "clinic"
        SALON = "salon"
        VENUE_OPERATOR = "venue_operator"
        ORGANIZER = "organizer"

    name = models.CharField(max_length=200)
    slug = models.SlugField(unique=True)
    kind = models.CharField(max_length=20, choices=Kind)
    version = models.BigIntegerField(db_default=1, editable=False)

    class Meta:
        triggers = [triggers.touch(version=True)]
        constraints = [
            models.CheckConstraint(
                name="tenant_kind",
                condition=models.Q(kind__in=["clinic", "salon", "venue_operator", "organizer"]),
            )
        ]

    def __str__(self) -> str:
        return self.name


class TenantRow(Row):
    """A row that one tenant may see."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+", db_index=False)

    class Meta:
        abstract = True


class UserManager(BaseUserManager["User"]):
    """Makes users; Django's own commands ask for it by this name."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        """Make a user who logs in with this address."""
        user = self.model(email=self.normalize_email(email), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> "User":
        """Make a user who may do everything, in every tenant."""
        return self.create_user(email, password, is_superuser=True, **fields)

    def get_by_natural_key(self, username: str | None) -> "User":
        """Find the user of a login; addresses differ in more than their case."""
        return self.get(email__iexact=username)


class User(Row, AbstractBaseUser, PermissionsMixin):
    """Who logs in. What they may do follows from their memberships, tenant by tenant."""

    email = models.EmailField(unique=True)
    name = models.CharField(max_length=200)
    phone = models.CharField(max_length=16, blank=True, validators=[phone_validator])
    language = models.CharField(max_length=5, choices=Language, default=Language.EN)
    is_active = models.BooleanField(default=True)

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = ["name"]

    class Meta:
        triggers = [triggers.touch()]
        constraints = [models.UniqueConstraint(Lower("email"), name="user_email")]

    def __str__(self) -> str:
        return self.email

    @cached_property
    def roles(self) -> dict[UUID, str]:
        """What they are in which tenant; a request reads its own, so that removal works at once."""
        return dict(self.memberships.values_list("tenant", "role"))

    @property
    def is_staff(self) -> bool:
        """Whether the admin lets them in."""
        staff = {Membership.Role.ADMIN, Membership.Role.STAFF}
        return self.is_superuser or not staff.isdisjoint(self.roles.values())


class Membership(TenantRow):
    """What a user is in a tenant."""

    class Role(models.TextChoices):
        ADMIN = "admin"
        STAFF = "staff"
        PROVIDER = "provider"

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role)
    version = models.BigIntegerField(db_default=1, editable=False)

    class Meta:
        triggers = [triggers.touch(version=True)]
        constraints = [
            models.UniqueConstraint(fields=["tenant", "user"], name="membership_once"),
            models.CheckConstraint(
                name="membership_role",
                condition=models.Q(role__in=["admin", "staff", "provider"]),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.role} of {self.tenant}"


class IdempotencyKey(models.Model):
    """An answered write: the same key of the same caller gets the same answer for a day."""

    caller = models.CharField(max_length=150)
    key = models.CharField(max_length=200)
    fingerprint = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField()
    body = models.JSONField(null=True, encoder=DjangoJSONEncoder)
    headers = models.JSONField()
    created_at = models.DateTimeField()

    class Meta:
        verbose_name = "answered write"
        constraints = [models.UniqueConstraint(fields=["caller", "key"], name="idempotency_key")]
        indexes = [models.Index(fields=["created_at"], name="idempotency_age")]

    def __str__(self) -> str:
        return self.key


#: Refuses to use an invitation whose sender may not send it: what `members.may_invite` says.
OF_WHO_MAY_INVITE = pgtrigger.Trigger(
    name="of_who_may_invite",
    when=pgtrigger.Before,
    operation=pgtrigger.Update,
    condition=pgtrigger.Q(old__accepted_at__isnull=True, new__accepted_at__isnull=False)
    & ~pgtrigger.Q(new__role="patient", new__patient_id__isnull=True),
    func="""
        PERFORM FROM accounts_membership AS sender JOIN accounts_user AS person
                ON person.id = sender.user_id AND person.is_active
          WHERE sender.tenant_id = NEW.tenant_id AND sender.user_id = NEW.invited_by_id
            AND (sender.role = 'admin' OR (sender.role = 'staff' AND NEW.role = 'patient'));
        IF NOT FOUND THEN
            RAISE EXCEPTION 'the sender of invitation % may not invite', NEW.id
                  USING ERRCODE = 'check_violation';
        END IF;
        RETURN NEW;
    """,
)


class Invitation(TenantRow):
    """A person may join a tenant in a role, once, by a link that is mailed to them.

    A registration is the invitation of a patient that they asked for themselves. A patient's has no
    name: who a mailbox belongs to is not known before its link is used.
    """

    class Role(models.TextChoices):
        ADMIN = "admin"
        STAFF = "staff"
        PROVIDER = "provider"
        PATIENT = "patient"

    email = models.EmailField()
    role = models.CharField(max_length=10, choices=Role)
    name = models.CharField(max_length=200, blank=True)
    language = models.CharField(max_length=5, choices=Language, default=Language.EN)
    # A row of another app: who they are already, as a patient.
    patient_id = models.UUIDField(null=True, blank=True)
    invited_by = models.ForeignKey(
        User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    expires_at = models.DateTimeField()
    mailed_at = models.DateTimeField(null=True, blank=True)
    accepted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        triggers = [triggers.touch(), OF_WHO_MAY_INVITE]
        constraints = [
            models.CheckConstraint(
                name="invitation_role",
                condition=models.Q(role__in=["admin", "staff", "provider", "patient"]),
            ),
            models.CheckConstraint(
                name="invitation_patient",
                condition=models.Q(patient_id__isnull=True) | models.Q(role="patient"),
            ),
            models.CheckConstraint(
                name="invitation_profile",
                condition=~models.Q(role="patient") | models.Q(name=""),
            ),
        ]
        indexes = [
            models.Index(fields=["tenant", "created_at"], name="invitation_tenant"),
            models.Index(
                fields=["expires_at"],
                name="invitation_unmailed",
                condition=models.Q(mailed_at__isnull=True, accepted_at__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.role} of {self.tenant}"
