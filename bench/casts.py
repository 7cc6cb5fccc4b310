"""Casts: the rows that every run of a replay begins with."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from uuid import UUID

from accounts.models import Tenant
from bench.scripts import Script
from scheduling.models import Facility, Patient


@dataclass(frozen=True, kw_only=True)
class Cast:
    """The rows that every run begins with."""

    tenant: Tenant
    facilities: Mapping[str, UUID]
    people: Sequence[UUID]
    ids: Iterator[UUID]  # that no row has


def assemble(*, script: Script) -> Cast:
    """Make a tenant with the script's facilities and people."""
    tenant = Tenant.objects.create(name="Replay", slug="replay", kind=Tenant.Kind.CLINIC)
    # Rows inserted in bulk do not learn what ids the database would have given.
    ids = (UUID(int=number) for number in count(1))
    facilities = Facility.objects.bulk_create(
        Facility(id=next(ids), tenant=tenant, name=name, slug=f"place-{number}",
                 kind=Facility.Kind.CLINIC, timezone=script.timezone)
        for number, name in enumerate(script.facilities)
    )  # fmt: skip
    people = Patient.objects.bulk_create(
        (
            Patient(id=next(ids), tenant=tenant, name=f"Person {number}")
            for number in range(script.people)
        ),
        batch_size=5000,
    )
    return Cast(
        tenant=tenant,
        facilities={facility.name: facility.pk for facility in facilities},
        people=[person.pk for person in people],
        ids=ids,
    )
