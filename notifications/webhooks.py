"""Webhooks: the endpoints of a tenant, their secrets, and what is sent to them.

What is sent follows the Standard Webhooks: an id that stays the same when it is sent again, the
time, and a signature of both and the body. A receiver checks the signature with the secret that it
was shown once. https://www.standardwebhooks.com
"""

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from random import uniform
from typing import Any
from uuid import UUID

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Exists, OuterRef, Q

from accounts import rows
from audit import events, locks
from audit.events import SYSTEM
from notifications import bodies, outbound
from notifications.bodies import Body
from notifications.models import WebhookDelivery, WebhookEndpoint
from notifications.outbound import Answer

PREFIX = "whsec_"
OVERLAP = timedelta(hours=24)  # for which an old secret signs, too
LEASE = timedelta(minutes=1)  # longer than a sender takes
PATIENCE = timedelta(hours=24)  # from the first failure to giving up
FIRST_PAUSE = timedelta(seconds=30)
LONGEST_PAUSE = timedelta(hours=3)
GONE = 410  # by which a receiver says that it wants nothing any more
TEST = "webhook.test"


def check(*, url: str, kinds: Sequence[str]) -> None:
    """Check what an endpoint is to be.

    :raises ValidationError: naming `url` or `kinds`.
    """
    errors = {}
    if fault := outbound.fault(url=url):
        errors["url"] = fault
    if not kinds or set(kinds) - set(events.KINDS) or len(set(kinds)) < len(kinds):
        errors["kinds"] = "Choose kinds of events, each once."
    if errors:
        raise ValidationError(errors)


def add(*, tenant_id: UUID, url: str, kinds: Sequence[str]) -> tuple[WebhookEndpoint, str]:
    """Make an endpoint; return it and its secret, which is not shown again.

    :raises ValidationError: naming `url` or `kinds`.
    """
    check(url=url, kinds=kinds)
    secret = new_secret()
    row = WebhookEndpoint(
        tenant_id=tenant_id, url=url, kinds=sorted(kinds), secret=_encrypt(secret)
    )
    return rows.add(row=row), secret


@transaction.atomic
def change(
    *, tenant_id: UUID, endpoint_id: UUID, changes: Mapping[str, Any], version: int | None = None
) -> WebhookEndpoint:
    """Change `url`, `kinds` or `is_active`. Switched on, it is as one that never failed.

    Locks endpoint.

    :raises NotFound: if it is not one of the tenant's.
    :raises Stale: if its version is not the wanted one.
    :raises ValidationError: naming each field with a bad value.
    """
    endpoint = _lock(tenant_id=tenant_id, endpoint_id=endpoint_id, version=version)
    if not changes:
        return endpoint
    check(url=changes.get("url", endpoint.url), kinds=changes.get("kinds", endpoint.kinds))
    fresh = dict.fromkeys(("failing_since", "rests_until", "disabled_at"))
    given = {**changes, **({**fresh, "disabled_reason": ""} if changes.get("is_active") else {})}
    for name, value in given.items():
        setattr(endpoint, name, sorted(value) if name == "kinds" else value)
    endpoint.full_clean()
    endpoint.save(update_fields=list(given))
    endpoint.refresh_from_db()
    return endpoint


@transaction.atomic
def remove(*, tenant_id: UUID, endpoint_id: UUID, version: int | None = None) -> None:
    """Delete an endpoint and its deliveries, while no relay writes more of them. Locks endpoint.

    :raises NotFound, Stale: as `change`.
    """
    locks.wait_lock(name=locks.RELAY)
    _lock(tenant_id=tenant_id, endpoint_id=endpoint_id, version=version).delete()


@transaction.atomic
def rotate(
    *, tenant_id: UUID, endpoint_id: UUID, now: datetime, version: int | None = None
) -> tuple[WebhookEndpoint, str]:
    """Give an endpoint a new secret; the old one signs beside it for a day. Locks endpoint.

    :raises NotFound, Stale: as `change`.
    """
    endpoint = _lock(tenant_id=tenant_id, endpoint_id=endpoint_id, version=version)
    secret = new_secret()
    endpoint.old_secret, endpoint.old_secret_until = endpoint.secret, now + OVERLAP
    endpoint.secret = _encrypt(secret)
    endpoint.save(update_fields=["secret", "old_secret", "old_secret_until"])
    endpoint.refresh_from_db()
    return endpoint, secret


def due(*, now: datetime) -> list[UUID]:
    """Return the endpoints that something is to be sent to."""
    pending = WebhookDelivery.objects.filter(
        endpoint=OuterRef("pk"),
        status=WebhookDelivery.Status.PENDING,
        next_attempt_at__lte=now,
    )
    found = WebhookEndpoint.objects.filter(_free(now=now), Exists(pending))
    return list(found.order_by("pk").values_list("pk", flat=True))


def claim(*, endpoint_id: UUID, now: datetime) -> WebhookEndpoint | None:
    """Take an endpoint for its one sender, unless another has it or it rests. Locks endpoint."""
    free = WebhookEndpoint.objects.filter(_free(now=now), pk=endpoint_id)
    if not free.update(claimed_until=now + LEASE):
        return None
    return WebhookEndpoint.objects.filter(pk=endpoint_id, claimed_until=now + LEASE).first()


def release(*, endpoint: WebhookEndpoint) -> None:
    """Give a claimed endpoint back. Locks endpoint."""
    mine = WebhookEndpoint.objects.filter(pk=endpoint.pk, claimed_until=endpoint.claimed_until)
    mine.update(claimed_until=None)


def send(*, endpoint: WebhookEndpoint, message_id: str, body: Body, now: datetime) -> Answer:
    """Send a signed body; outside of any transaction."""
    text = json.dumps(body, separators=(",", ":")).encode()
    try:
        signature = _signature(endpoint=endpoint, message_id=message_id, body=text, now=now)
    except InvalidToken:  # it was encrypted with another SECRET_KEY
        return Answer(None, "secret_unreadable")
    headers = {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": signature,
    }
    return outbound.post(url=endpoint.url, body=text, headers=headers)


def probe(*, endpoint: WebhookEndpoint, message_id: str, now: datetime) -> Answer:
    """Send a body about nothing, at once; one that is taken ends the endpoint's rest.

    Runs outside of any transaction. Locks endpoint.
    """
    body = bodies.sample(event_type=TEST, tenant_id=endpoint.tenant_id, now=now)
    answer = send(endpoint=endpoint, message_id=message_id, body=body, now=now)
    if answer.is_taken:
        note_success(endpoint_id=endpoint.pk)
    return answer


def wake(*, tenant_id: UUID, delivery_id: UUID) -> None:
    """End the rest of the endpoint that a tenant's delivery is for. Locks endpoint."""
    theirs = WebhookEndpoint.objects.filter(tenant=tenant_id, deliveries=delivery_id)
    theirs.update(rests_until=None)


def note_success(*, endpoint_id: UUID) -> None:
    """Note that an endpoint took something. Locks endpoint."""
    failing = WebhookEndpoint.objects.filter(pk=endpoint_id, failing_since__isnull=False)
    failing.update(failing_since=None, rests_until=None)


@transaction.atomic
def note_failure(*, endpoint_id: UUID, answer: Answer, now: datetime) -> bool:
    """Note that an endpoint took something not; return whether it is disabled for it.

    It is when it has failed for a day, or says that it is gone; else it rests. Locks endpoint.
    """
    found = WebhookEndpoint.objects.select_for_update(no_key=True)
    endpoint = found.filter(pk=endpoint_id, is_active=True).first()
    if endpoint is None:
        return False
    since = endpoint.failing_since or now
    gone = answer.status == GONE
    if not gone and now < since + PATIENCE:
        WebhookEndpoint.objects.filter(pk=endpoint_id).update(
            failing_since=since, rests_until=next_attempt(failing_since=since, now=now)
        )
        return False
    reason = "gone" if gone else "failing"
    WebhookEndpoint.objects.filter(pk=endpoint_id, is_active=True).update(
        is_active=False, disabled_at=now, disabled_reason=reason, rests_until=None
    )
    events.record(
        kind="webhook.disabled",
        tenant_id=endpoint.tenant_id,
        subject_type="webhook",
        subject_id=endpoint.pk,
        actor=SYSTEM,
        at=now,
        data={"reason": reason},
    )
    return True


def next_attempt(*, failing_since: datetime, now: datetime) -> datetime:
    """Say when to try again what has failed since then: after as long again, less some chance.

    So the pauses double. The last attempt is made when patience ends, unless it has. The chance
    keeps what failed together from coming back together.
    """
    full = min(max(now - failing_since, FIRST_PAUSE), LONGEST_PAUSE)
    return min(now + full * uniform(0.5, 1), failing_since + PATIENCE)


def new_secret() -> str:
    """Make a secret as the Standard Webhooks write them."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def sign(*, secret: str, message_id: str, at: datetime, body: bytes) -> str:
    """Sign a message with a secret."""
    key = base64.b64decode(secret.removeprefix(PREFIX))
    signed = f"{message_id}.{int(at.timestamp())}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()


def _signature(*, endpoint: WebhookEndpoint, message_id: str, body: bytes, now: datetime) -> str:
    """Sign with the secret, and with the one before it while that counts."""
    kept = [endpoint.secret]
    if endpoint.old_secret_until is not None and endpoint.old_secret_until > now:
        kept.append(endpoint.old_secret)
    return " ".join(
        sign(secret=_decrypt(one), message_id=message_id, at=now, body=body) for one in kept
    )


def _free(*, now: datetime) -> Q:
    unclaimed = Q(claimed_until=None) | Q(claimed_until__lte=now)
    return Q(is_active=True) & unclaimed & (Q(rests_until=None) | Q(rests_until__lte=now))


def _lock(*, tenant_id: UUID, endpoint_id: UUID, version: int | None) -> WebhookEndpoint:
    mine = WebhookEndpoint.objects.filter(tenant=tenant_id)
    return rows.lock(rows=mine, id=endpoint_id, version=version)


# At rest, so that a copy of the database does not let anybody sign in our name.


def _encrypt(secret: str) -> str:
    return _box().encrypt(secret.encode()).decode()


def _decrypt(sealed: str) -> str:
    return _box().decrypt(sealed.encode()).decode()


def _box() -> MultiFernet:
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    digests = [hashlib.sha256(f"webhook:{key}".encode()).digest() for key in map(str, keys)]
    return MultiFernet([Fernet(base64.urlsafe_b64encode(digest)) for digest in digests])
