"""Feeds: the secret address at which somebody's calendar can be read without a login."""

import hashlib
import secrets
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import Exists, F, OuterRef, Q, QuerySet

from accounts.models import Membership
from accounts.roles import Caller, Role
from notifications.models import CalendarFeed
from scheduling import callers


def of(*, caller: Caller) -> QuerySet[CalendarFeed]:
    """Return the caller's own feed, if they have one: as a patient, or as a provider."""
    mine = CalendarFeed.objects.filter(tenant=caller.tenant_id, user=caller.user_id)
    return mine.filter(patient=caller.patient_id)


def rotate(*, caller: Caller, now: datetime) -> tuple[CalendarFeed, str]:
    """Give the caller's feed a new address, the first or in place of the last; return both.

    The address is known to nobody from then on but to who was given it.
    """
    token = secrets.token_urlsafe(32)
    whose: dict[str, Any] = {
        "tenant_id": caller.tenant_id,
        "user_id": caller.user_id,
        "patient_id": caller.patient_id,
    }
    address = {"digest": _digest(token=token), "rotated_at": now}
    feed, _ = CalendarFeed.objects.update_or_create(**whose, defaults=address)
    feed.refresh_from_db()  # its version
    return feed, f"{settings.SITE_URL}/api/v1/calendar/{token}.ics"


def find(*, token: str) -> CalendarFeed | None:
    """Return the feed of a token, while its user is still what they were when they asked for it."""
    found = CalendarFeed.objects.select_related("tenant", "user", "patient")
    feed = found.filter(digest=_digest(token=token), user__is_active=True).first()
    if feed is None:
        return None
    role = Role.PATIENT if feed.patient_id else Role.PROVIDER
    caller = callers.find(user_id=feed.user_id, tenant_id=feed.tenant_id, role=role)
    return feed if caller and caller.patient_id == feed.patient_id else None


def prune() -> int:
    """Delete the feeds of those who are not what they were; return how many. `find` finds none."""
    provider = Membership.objects.filter(
        user=OuterRef("user"), tenant=OuterRef("tenant"), role=Membership.Role.PROVIDER
    )
    gone = Q(patient__isnull=False) & ~Q(patient__user=F("user"))
    return CalendarFeed.objects.filter(gone | Q(~Exists(provider), patient=None)).delete()[0]


def _digest(*, token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
