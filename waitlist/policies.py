"""Policies: how a queue behaves, changed under its lock."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import DurationField, F
from django.utils.dateparse import parse_duration

from audit import events
from audit.errors import check_version
from audit.events import Actor
from waitlist import presets, queues, ranking
from waitlist.models import ACTIVE, WaitlistEntry, WaitlistPolicy

FIXED = {"id", "tenant", "facility", "created_at", "updated_at", "version"}
FIELDS = frozenset(field.name for field in WaitlistPolicy._meta.fields) - FIXED
DURATIONS = frozenset(
    field.name for field in WaitlistPolicy._meta.fields if isinstance(field, DurationField)
)
LONGEST = timedelta(days=3660)  # beyond it, a time plus a duration may be no time any more
MATCH_WEIGHTS = ("match_provider", "match_location", "match_service", "match_days")


@transaction.atomic
def change(
    *,
    facility_id: UUID,
    changes: Mapping[str, Any],
    actor: Actor,
    now: datetime,
    version: int | None = None,
) -> WaitlistPolicy:
    """Change fields of a facility's policy, and put its queue in another order if that follows.

    Locks queue, entry.

    :raises NotFound: if there is no such facility.
    :raises ValidationError: naming each field with a bad value, or one that is not for its kind of
        facility to change.
    :raises Stale: if its version is not the wanted one.
    """
    queue = queues.lock(facility_id=facility_id)
    policy = WaitlistPolicy.objects.select_for_update(no_key=True).get(facility=facility_id)
    check_version(version=policy.version, wanted=version)
    unknown = set(changes) - FIELDS
    if unknown:
        raise ValidationError({name: "A policy has no such field." for name in unknown})
    before = {name: getattr(policy, name) for name in changes}
    for name, value in changes.items():
        if isinstance(value, float) and name not in DURATIONS:
            raise ValidationError({name: "Give a whole number."})
        setattr(policy, name, _duration(name=name, value=value) if name in DURATIONS else value)
    check(policy=policy)
    fixed = presets.FIXED.get(queue.facility.kind, frozenset())
    changed = {name for name, was in before.items() if getattr(policy, name) != was}
    if fixed & changed:
        raise ValidationError(
            dict.fromkeys(fixed & changed, f"This is the same at every {queue.facility.kind}.")
        )
    policy.save(update_fields=sorted(changes))
    policy.refresh_from_db()
    if "unique_per_service" in changed:
        _mark_unique(policy=policy)
    if changed & ranking.WEIGHTS:
        ranking.rerank(facility_ids=[facility_id])
    queues.revise(facility_ids=[facility_id], visitors=[facility_id])
    events.record(
        kind="waitlist.policy_changed",
        tenant_id=queue.tenant_id,
        subject_type="policy",
        subject_id=policy.pk,
        actor=actor,
        at=now,
        facility_id=facility_id,
        data={"fields": sorted(changes)},
    )
    return policy


def check(*, policy: WaitlistPolicy) -> None:
    """:raises ValidationError: naming each field with a bad value, or at odds with another."""
    policy.clean_fields(exclude=FIXED)
    errors: dict[str, str] = {}
    for name in ("hold_window", "look_ahead", "entry_ttl"):
        if getattr(policy, name) <= timedelta(0):
            errors[name] = "Give more than no time."
    for name in ("min_notice", "min_hold", "grace"):
        if getattr(policy, name) < timedelta(0):
            errors[name] = "Give no time, or more."
    for name in DURATIONS:
        if (getattr(policy, name) or timedelta(0)) > LONGEST:
            errors[name] = f"Give at most {LONGEST.days} days."
    if sum(getattr(policy, name) for name in MATCH_WEIGHTS) != 100:
        errors |= dict.fromkeys(MATCH_WEIGHTS, "The four weights of a match sum to 100.")
    if policy.min_match_score > 100:
        errors["min_match_score"] = "A score is at most 100."
    if policy.min_hold > policy.hold_window:
        errors["min_hold"] = "No offer leaves so much time: it is more than the hold window."
    lead = policy.reminder_lead
    if lead is not None and not timedelta(0) < lead <= policy.hold_window / 2:
        errors["reminder_lead"] = "A reminder comes in the second half of the hold."
    for name, other in (
        ("nudge_after", "nudge_grace"),
        ("breaker_threshold", "breaker_timeout"),
        ("quiet_from", "quiet_until"),
    ):
        if (getattr(policy, name) is None) != (getattr(policy, other) is None):
            missing = name if getattr(policy, name) is None else other
            errors[missing] = f"Give {name} and {other}, or neither."
    for name in ("nudge_after", "nudge_grace", "breaker_timeout"):
        if getattr(policy, name) is not None and getattr(policy, name) <= timedelta(0):
            errors[name] = "Give more than no time."
    if policy.breaker_threshold == 0:
        errors["breaker_threshold"] = "Give 1 or more."
    if policy.quiet_from is not None and policy.quiet_from == policy.quiet_until:
        errors["quiet_until"] = "Quiet hours end at another time than they begin."
    if errors:
        raise ValidationError(errors)


def _duration(*, name: str, value: object) -> timedelta | None:
    if value is None or isinstance(value, timedelta):
        return value
    parsed = None
    if isinstance(value, str):
        with suppress(OverflowError):
            parsed = parse_duration(value)
    if parsed is None:
        raise ValidationError({name: "Give a duration."})
    return parsed


def _mark_unique(*, policy: WaitlistPolicy) -> None:
    """Say anew what makes the queue's active entries unique.

    :raises ValidationError: if some that wait for several services would now be one too many.
    """
    active = WaitlistEntry.objects.filter(ACTIVE, facility=policy.facility_id)
    try:
        with transaction.atomic():
            list(active.select_for_update(no_key=True).order_by("pk").values_list("pk"))
            active.update(unique_service=F("service_id") if policy.unique_per_service else None)
    except IntegrityError:
        raise ValidationError(
            {"unique_per_service": "Somebody waits here for several services."}
        ) from None
