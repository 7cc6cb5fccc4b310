"""Rows in their first states. Later states are reached by the functions that tests are about.

A facility comes with its queue and its policy: a trigger makes them. Rows that refer to others get
them from the same tenant, unless a test says otherwise.
"""
# factory_boy calls itself typed and is not.
# mypy: disable-error-code="attr-defined, no-untyped-call, untyped-decorator"

from collections.abc import Iterable
from datetime import UTC, datetime, time, timedelta
from typing import Any, TypeVar

import factory
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange
from factory.django import DjangoModelFactory

from accounts.models import Membership, Tenant, User
from scheduling.models import (
    AvailabilityException,
    AvailabilityRule,
    Facility,
    Patient,
    Provider,
    ProviderFacility,
    Service,
    Slot,
    TimeBlock,
)
from waitlist.models import WaitlistEntry


def tomorrow(*, hour: int = 9) -> datetime:
    """Return an hour of tomorrow, in UTC."""
    day = datetime.now(UTC).replace(hour=hour, minute=0, second=0, microsecond=0)
    return day + timedelta(days=1)


class TenantFactory(DjangoModelFactory[Tenant]):
    class Meta:
        model = Tenant

    name = factory.Sequence(lambda n: f"Tenant {n}")
    slug = factory.Sequence(lambda n: f"tenant-{n}")
    kind = Tenant.Kind.CLINIC


class UserFactory(DjangoModelFactory[User]):
    """`password` is the plain text to log in with."""

    class Meta:
        model = User

    email = factory.Sequence(lambda n: f"user{n}@example.com")
    name = factory.Sequence(lambda n: f"User {n}")
    password = "secret"

    @classmethod
    def _create(cls, model_class: type[User], *args: Any, **fields: Any) -> User:
        return model_class.objects.create_user(*args, **fields)


class MembershipFactory(DjangoModelFactory[Membership]):
    class Meta:
        model = Membership

    tenant = factory.SubFactory(TenantFactory)
    user = factory.SubFactory(UserFactory)
    role = Membership.Role.STAFF


class FacilityFactory(DjangoModelFactory[Facility]):
    class Meta:
        model = Facility

    tenant = factory.SubFactory(TenantFactory)
    name = factory.Sequence(lambda n: f"Facility {n}")
    slug = factory.Sequence(lambda n: f"facility-{n}")
    kind = Facility.Kind.CLINIC
    timezone = "Europe/London"


class ProviderFactory(DjangoModelFactory[Provider]):
    """`facilities` are those the provider works at."""

    class Meta:
        model = Provider
        skip_postgeneration_save = True

    tenant = factory.SubFactory(TenantFactory)
    name = factory.Sequence(lambda n: f"Provider {n}")

    @factory.post_generation
    def facilities(provider: Provider, create: bool, places: Iterable[Facility] | None) -> None:
        for place in places or ():
            post(provider=provider, facility=place)


def post(*, provider: Provider, facility: Facility) -> None:
    """Make a provider work at a facility, unless they do."""
    ProviderFacility.objects.get_or_create(
        provider=provider, facility=facility, defaults={"tenant": provider.tenant}
    )


class ServiceFactory(DjangoModelFactory[Service]):
    class Meta:
        model = Service

    tenant = factory.SubFactory(TenantFactory)
    name = factory.Sequence(lambda n: f"Service {n}")
    duration = timedelta(minutes=30)


class PatientFactory(DjangoModelFactory[Patient]):
    class Meta:
        model = Patient

    tenant = factory.SubFactory(TenantFactory)
    name = factory.Sequence(lambda n: f"Patient {n}")
    email = factory.Sequence(lambda n: f"patient{n}@example.com")


AtFacility = TypeVar("AtFacility", AvailabilityRule, AvailabilityException, TimeBlock, Slot)


class _AtFacilityFactory(DjangoModelFactory[AtFacility]):
    """A row of a provider at a facility: the provider is made to work there."""

    class Meta:
        abstract = True
        skip_postgeneration_save = True

    tenant = factory.SelfAttribute("facility.tenant")
    facility = factory.SubFactory(FacilityFactory)
    provider: Any = factory.SubFactory(
        ProviderFactory, tenant=factory.SelfAttribute("..facility.tenant")
    )

    @factory.post_generation
    def posting(row: Any, create: bool, extracted: None) -> None:
        if row.provider is not None:
            post(provider=row.provider, facility=row.facility)


class AvailabilityRuleFactory(_AtFacilityFactory[AvailabilityRule]):
    """Monday 09:00 to 12:00 in half hours."""

    class Meta:
        model = AvailabilityRule

    weekday = AvailabilityRule.Weekday.MONDAY
    start_time = time(9)
    end_time = time(12)
    slot_minutes = 30


class AvailabilityExceptionFactory(_AtFacilityFactory[AvailabilityException]):
    """The whole facility closed on a date that tests should give."""

    class Meta:
        model = AvailabilityException

    provider = None
    date = factory.LazyFunction(lambda: tomorrow().date())
    kind = AvailabilityException.Kind.CLOSED


class TimeBlockFactory(_AtFacilityFactory[TimeBlock]):
    """A block of the whole facility, tomorrow 09:00 to 10:00 UTC, that no slot knows of yet."""

    class Meta:
        model = TimeBlock

    class Params:
        starts_at = factory.LazyFunction(tomorrow)
        minutes = 60

    provider = None
    period = factory.LazyAttribute(
        lambda row: DateTimeTZRange(row.starts_at, row.starts_at + timedelta(minutes=row.minutes))
    )


class SlotFactory(_AtFacilityFactory[Slot]):
    """An open slot made by hand, tomorrow from 09:00 to 09:30 UTC."""

    class Meta:
        model = Slot

    class Params:
        starts_at = factory.LazyFunction(tomorrow)
        minutes = 30

    period = factory.LazyAttribute(
        lambda row: DateTimeTZRange(row.starts_at, row.starts_at + timedelta(minutes=row.minutes))
    )
    status = Slot.Status.OPEN


class WaitlistEntryFactory(DjangoModelFactory[WaitlistEntry]):
    """A patient who waits; a test about joining or about the order calls `entries.join` instead."""

    class Meta:
        model = WaitlistEntry

    tenant = factory.SelfAttribute("facility.tenant")
    facility = factory.SubFactory(FacilityFactory)
    patient = factory.SubFactory(PatientFactory, tenant=factory.SelfAttribute("..facility.tenant"))
    rank_key = 0.0
    joined_at = factory.LazyFunction(lambda: datetime.now(UTC))
    expires_at = factory.LazyAttribute(lambda entry: entry.joined_at + timedelta(days=90))
    status = WaitlistEntry.Status.WAITING
