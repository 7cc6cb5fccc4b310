"""Providers: who or what is booked, and where they work."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from accounts import rows
from accounts.models import Membership
from audit import locks
from audit.errors import NotFound
from audit.events import Actor
from scheduling import generation
from scheduling.models import Facility, Provider, ProviderFacility


@transaction.atomic
def add(*, tenant_id: UUID, values: Mapping[str, Any], facility_ids: Collection[UUID]) -> Provider:
    """Make a provider who works at these facilities.

    :raises NotFound: naming `facilities` or `user` if one is not there.
    :raises ValidationError: naming each field with a bad value.
    """
    provider = Provider(tenant_id=tenant_id, **values)
    _check_user(provider=provider)
    rows.add(row=provider)
    _post(provider=provider, facilities=_find(tenant_id=tenant_id, ids=facility_ids))
    return provider


@transaction.atomic
def change(
    *, provider_id: UUID, changes: Mapping[str, Any], actor: Actor, now: datetime,
    facility_ids: Collection[UUID] | None = None, version: int | None = None,
) -> Provider:  # fmt: skip
    """Change a provider, or where they work; coming slots follow, unless they are claimed.

    Without `facility_ids` they work where they did. Locks provider, slot.

    :raises NotFound: if the provider is not there; naming `facilities` or `user` if one is not.
    :raises Stale: if its version is not the wanted one.
    :raises ValidationError: naming each field with a bad value.
    """
    mine = Provider.objects.filter(pk=provider_id)
    provider = rows.find(rows=mine, id=provider_id, field="provider")
    new = None
    if facility_ids is not None:
        new = _find(tenant_id=provider.tenant_id, ids=facility_ids)
    if "is_active" in changes or new is not None:
        locks.wait_lock(name=locks.GENERATE, of=provider.tenant_id)
    provider = rows.lock(rows=mine, id=provider_id, version=version)
    # Only now: somebody else may just have moved them.
    old = list(Facility.objects.filter(providerfacility__provider=provider_id).order_by("pk"))
    moves = new is not None and {one.pk for one in new} != {one.pk for one in old}
    concerned = {one.pk: one for one in [*old, *(new or ())]}
    if "is_active" not in changes and not moves:
        concerned = {}
    # Where they work is in another table: the version counts that, too.
    touched = {**changes, "name": changes.get("name", provider.name)} if moves else changes
    for name, value in touched.items():
        setattr(provider, name, value)
    _check_user(provider=provider)
    provider = rows.edit(rows=mine, id=provider_id, changes=touched)
    if new is not None and moves:
        postings = ProviderFacility.objects.filter(provider=provider)
        postings.exclude(facility__in=new).delete()
        posted = set(postings.values_list("facility", flat=True))
        _post(provider=provider, facilities=[one for one in new if one.pk not in posted])
    for facility in concerned.values():
        generation.sync(facility=facility, provider_id=provider_id, actor=actor, now=now)
    return provider


def _find(*, tenant_id: UUID, ids: Collection[UUID]) -> list[Facility]:
    found = {one.pk: one for one in Facility.objects.filter(tenant=tenant_id, pk__in=ids)}
    for id in ids:
        if id not in found:
            raise NotFound("facilities", id)
    return list(found.values())


def _post(*, provider: Provider, facilities: Collection[Facility]) -> None:
    ProviderFacility.objects.bulk_create(
        ProviderFacility(tenant_id=provider.tenant_id, provider=provider, facility=one)
        for one in facilities
    )


def _check_user(*, provider: Provider) -> None:
    """:raises NotFound: naming `user` if they are no member of the provider's tenant."""
    members = Membership.objects.filter(tenant=provider.tenant_id, user=provider.user_id)
    if provider.user_id is not None and not members.exists():
        raise NotFound("user", provider.user_id)
