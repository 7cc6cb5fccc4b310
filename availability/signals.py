"""Signals: facts about a venue's availability, never changed once they are recorded."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.core.cache import cache
from django.db import transaction
from django.db.models import Count
from redis.exceptions import RedisError

from availability.models import Signal

log = structlog.get_logger(__name__)

#: How far back inference and summaries look.
PERIOD = timedelta(days=90)
#: The answers of venues, of which inference makes a ratio.
ANSWERS = (Signal.Type.CONFIRMED, Signal.Type.TENTATIVE, Signal.Type.UNAVAILABLE)
LOST = "availability.signals_lost"


@dataclass(frozen=True, slots=True)
class Summary:
    """How often each type was recorded in the last `period_days`.

    `unavailable_ratio` is of the answers, None where there is none.
    """

    period_days: int
    counts: dict[str, int]
    unavailable_ratio: float | None


def record(*, signals: Sequence[Signal]) -> None:
    """Write signals in a savepoint.

    Recording is beside the point of whatever happened: a failure is logged and counted, and what
    happened stands.
    """
    if not signals:
        return
    try:
        with transaction.atomic():
            Signal.objects.bulk_create(signals)
    except Exception:  # whatever it is, the caller's work is done
        types = sorted({str(signal.type) for signal in signals})
        log.exception("signals are not recorded", types=types, signals=len(signals))
        _count_lost(signals=len(signals))


def lost() -> int | None:
    """Return how many signals were not recorded since Valkey was emptied; None if it is away."""
    try:
        return int(cache.get(LOST, 0))
    except RedisError as error:
        log.warning("lost signals are not known", error=type(error).__name__)
        return None


def summarise(*, facility_id: UUID, now: datetime) -> Summary:
    """Count a venue's signals of the last 90 days."""
    lately = Signal.objects.filter(
        facility_id=facility_id, recorded_at__gt=now - PERIOD, recorded_at__lte=now
    )
    found = dict(lately.values_list("type").annotate(Count("id")))
    counts = {str(kind): found.get(kind, 0) for kind in Signal.Type.values}
    answers = sum(counts[kind] for kind in ANSWERS)
    ratio = counts[Signal.Type.UNAVAILABLE] / answers if answers else None
    return Summary(PERIOD.days, counts, ratio)


def _count_lost(*, signals: int) -> None:
    try:
        cache.add(LOST, 0, timeout=None)
        cache.incr(LOST, signals)
    except (RedisError, ValueError) as error:
        log.warning("lost signals are not counted", error=type(error).__name__)
