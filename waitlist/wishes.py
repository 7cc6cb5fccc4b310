"""Wishes: what an entry waits for, checked, and what follows from it."""

import json
from collections.abc import Mapping
from datetime import datetime, time, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.core.exceptions import ValidationError

from audit.errors import NotFound
from availability.models import Rfp
from scheduling.models import Patient, Provider, ProviderFacility, Service
from waitlist import ranking
from waitlist.models import Queue, WaitlistEntry, WaitlistPolicy

# What may be wished, and changed later; `urgency` is for staff to set.
WISHES = frozenset(
    {
        "provider_id",
        "provider_required",
        "service_id",
        "any_facility",
        "preferred_days",
        "preferred_time",
        "earliest",
        "latest",
        "dates_flexible",
        "urgency",
        "metadata",
    }
)
# What an organizer wishes; all else is in their RFP. So no service or provider of the venue's, and
# no rule of its policy, is at odds with an entry that the venue's owner does not see.
DATES = frozenset({"earliest", "latest", "dates_flexible"})
IDS = frozenset({"provider_id", "service_id"})
FARTHEST = timedelta(days=3650)
MAX_METADATA = 4096  # bytes, as JSON


def apply(
    *,
    entry: WaitlistEntry,
    changes: Mapping[str, Any],
    queue: Queue,
    policy: WaitlistPolicy,
    patient: Patient | None,
) -> None:
    """Set wishes on an entry, and what follows: its rank, its end, what makes it unique.

    :raises NotFound: naming the id that is not there or another tenant's, or a new provider who is
        not active.
    :raises ValidationError: naming each wish with a bad value.
    """
    unknown = set(changes) - (WISHES if patient else DATES)
    if unknown:
        raise ValidationError({name: "This cannot be wished." for name in unknown})
    wished = entry.provider_id
    for name, value in changes.items():
        setattr(entry, name, _id(name=name, value=value) if name in IDS else value)
    _check_wishes(entry=entry, tenant_id=queue.tenant_id)
    entry.preferred_days = sorted(set(entry.preferred_days))  # who wish alike wait in one line
    if entry.provider_id not in (None, wished):
        active = Provider.objects.filter(pk=entry.provider_id, is_active=True)
        if not active.exists():
            raise NotFound("provider", entry.provider_id)
    entry.unique_service = entry.service_id if policy.unique_per_service else None
    entry.rank_key = ranking.rank_key(entry=entry, policy=policy, patient=patient)
    if entry.latest is not None and not entry.dates_flexible:
        entry.expires_at = entry.latest + policy.grace
    else:
        entry.expires_at = entry.joined_at + policy.entry_ttl


def of_rfp(*, rfp: Rfp, zone: ZoneInfo) -> dict[str, Any]:
    """Return when an RFP would have its event, as wishes: whole days by the clock of a zone."""
    first, last = rfp.preferred_dates_start, rfp.preferred_dates_end or rfp.preferred_dates_start
    return {
        "earliest": first and datetime.combine(first, time(), zone),
        "latest": last and datetime.combine(last + timedelta(days=1), time(), zone),
        "dates_flexible": rfp.dates_flexible,
    }


def _check_wishes(*, entry: WaitlistEntry, tenant_id: UUID) -> None:
    days: Any = entry.preferred_days
    if not isinstance(days, list) or not all(type(day) is int and 0 < day < 8 for day in days):
        raise ValidationError({"preferred_days": "Give a list of weekdays, 1 (Monday) to 7."})
    if isinstance(entry.urgency, float):
        raise ValidationError({"urgency": "Give a whole number."})
    for name in ("earliest", "latest"):
        at = getattr(entry, name)
        if at is None:
            continue
        if not isinstance(at, datetime) or at.utcoffset() is None:
            raise ValidationError({name: "Give a time with its offset from UTC."})
        if abs(at - entry.joined_at) > FARTHEST:
            raise ValidationError({name: "This is too far away."})
    entry.clean_fields(
        exclude={field.name for field in entry._meta.fields} - WISHES  # ids are checked below
    )
    _check_metadata(entry=entry)
    if entry.earliest and entry.latest and entry.latest <= entry.earliest:
        raise ValidationError({"latest": "The latest time must be after the earliest."})
    if entry.provider_required and entry.provider_id is None:
        raise ValidationError({"provider_required": "Say which provider."})
    if entry.service_id is not None:
        _check_mine(model=Service, field="service", id=entry.service_id, tenant_id=tenant_id)
    if entry.provider_id is not None:
        _check_mine(model=Provider, field="provider", id=entry.provider_id, tenant_id=tenant_id)
        posted = ProviderFacility.objects.filter(
            provider=entry.provider_id, facility=entry.facility_id
        )
        if not entry.any_facility and not posted.exists():
            raise NotFound("provider", entry.provider_id)


def _check_metadata(*, entry: WaitlistEntry) -> None:
    """Check that it is an object that PostgreSQL can store, and a small one."""
    if not isinstance(entry.metadata, dict):
        raise ValidationError({"metadata": "Give an object."})
    try:
        text = json.dumps(entry.metadata, ensure_ascii=False, allow_nan=False).encode()
    except ValueError:
        raise ValidationError({"metadata": "This cannot be stored."}) from None
    if b"\\u0000" in text:
        raise ValidationError({"metadata": "This cannot be stored."})
    if len(text) > MAX_METADATA:
        raise ValidationError({"metadata": f"Give at most {MAX_METADATA} bytes."})


def _id(*, name: str, value: Any) -> UUID | None:
    try:
        return value if value is None or isinstance(value, UUID) else UUID(str(value))
    except ValueError:
        raise ValidationError({name: f"{value!r} is not an id."}) from None


def _check_mine(
    *, model: type[Service] | type[Provider], field: str, id: UUID, tenant_id: UUID
) -> None:
    if not model._default_manager.filter(pk=id, tenant=tenant_id).exists():
        raise NotFound(field, id)
