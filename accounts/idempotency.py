"""Idempotency-Key: a write that is sent again is answered again and not done again.

The key, what it stands for and the answer are stored in the transaction of the work, so that either
both are there or neither. Answers of 429, and of 500 and more, are not kept: those may be tried
again.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from accounts.models import IdempotencyKey
from accounts.roles import Caller
from audit import locks
from audit.errors import Refused

KEEP = timedelta(hours=24)
MAX_LENGTH = 200


class KeyReused(Refused):
    """The key came before with another request."""

    code = "key_reused"


class InFlight(Refused):
    """The same key is being worked on."""

    code = "in_flight"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What was answered: a status, a body of JSON values and a few headers."""

    status: int
    body: Any
    headers: dict[str, str]


def name(*, caller: Caller) -> str:
    """Say whose a key is: a user's in a tenant, in one role and as one patient."""
    who = f"{caller.user_id}:{caller.tenant_id}:{caller.role}"
    return who if caller.patient_id is None else f"{who}:{caller.patient_id}"


def fingerprint(*, method: str, path: str, body: bytes) -> str:
    """Say what a request asks for, in 64 characters."""
    text = b"\0".join([method.encode(), path.encode(), body])
    return hashlib.sha256(text).hexdigest()


@transaction.atomic
def once(
    *, caller: str, key: str, request: str, now: datetime, work: Callable[[], Answer]
) -> Answer:
    """Do the work unless this caller's key did it within a day; return the answer of then or now.

    `request` is the request's `fingerprint`.

    :raises KeyReused: if the key stands for another request.
    :raises InFlight: if the key's first request has not been answered.
    """
    if not locks.try_lock(name=f"{locks.IDEMPOTENCY}:{caller}:{key}"):
        raise InFlight("A request with this Idempotency-Key is being worked on.")
    found = IdempotencyKey.objects.filter(caller=caller, key=key).first()
    if found is not None and found.created_at > now - KEEP:
        if found.fingerprint != request:
            raise KeyReused("This Idempotency-Key came with another request.")
        return Answer(status=found.status, body=found.body, headers=found.headers)
    answer = work()
    if answer.status >= 500 or answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        transaction.set_rollback(True)
        return answer
    IdempotencyKey.objects.update_or_create(
        caller=caller,
        key=key,
        defaults={
            "fingerprint": request,
            "status": answer.status,
            "body": answer.body,
            "headers": answer.headers,
            "created_at": now,
        },
    )
    return answer


def prune(*, now: datetime) -> int:
    """Delete what is not replayed any longer; return how many."""
    return IdempotencyKey.objects.filter(created_at__lte=now - KEEP).delete()[0]


def erase(*, about: UUID, user_id: UUID | None, tenant_id: UUID) -> int:
    """Delete the answers that tell of a row, such as a patient, and those its user got there.

    Theirs in whatever role. Reads all answers of a day, as none is stored by what it is about;
    return how many went.
    """
    theirs = Q(body__icontains=str(about))
    if user_id is not None:
        theirs |= Q(caller__startswith=f"{user_id}:{tenant_id}")
    return IdempotencyKey.objects.filter(theirs).delete()[0]
