"""Replays: what once happened elsewhere, played in simulated time through Backfill's own functions.

A script says who books, cancels, joins and leaves when. The player does that through the functions
that production calls, and does at each instant what its worker and its beat would do: a fill where
a slot opened or somebody joined, the end of what is due, once a day (when quiet hours end, else at
midnight) the scan and the end of entries. Between events the scan of every five minutes finds
nothing that these do not, so it is left out; messages take no time.

What is made up is how people answer, since no data say: see `Answers`. The same person gives the
same answers to their first, second, … offer whatever the policy, so that policies are compared on
the same people. One seed gives one outcome.
"""

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection

from audit.events import SYSTEM
from bench.answers import Answers
from bench.casts import Cast
from bench.figures import Figures
from bench.players import Player
from bench.scripts import Script
from waitlist import policies
from waitlist.models import WaitlistPolicy

#: What differs from the clinic's policy unless a policy says otherwise: the slots lie as far ahead
#: as the data have them, nobody was turned away from a full queue, and who left is in the data.
GROUND: dict[str, Any] = {
    "look_ahead": timedelta(days=3650),
    "entry_ttl": timedelta(days=3650),
    "max_queue_size": None,
}


def set_policy(*, cast: Cast, changes: Mapping[str, Any], now: datetime) -> WaitlistPolicy:
    """Give every facility the clinic's policy, changed as GROUND and `changes` say.

    :raises ValidationError: naming each field with a bad value.
    """
    for facility_id in cast.facilities.values():
        policy = policies.change(
            facility_id=facility_id, changes={**GROUND, **changes}, actor=SYSTEM, now=now
        )
    return policy


def play(
    *,
    script: Script,
    cast: Cast,
    changes: Mapping[str, Any],
    answers: Answers,
    progress: Callable[[int], None] = lambda done: None,
) -> Figures:
    """Play a script in the database in use, which holds the cast and nothing else.

    :raises ValidationError: naming each field of the policy with a bad value.
    """
    start = min([script.ends_at, *(at for at, _ in script.steps[:1])])
    with _alone():
        policy = set_policy(cast=cast, changes=changes, now=start)
        player = Player(script=script, cast=cast, policy=policy, answers=answers, start=start)
        player.run(progress=progress)
    return player.figures


@contextmanager
def _alone() -> Iterator[None]:
    """Send no tasks, which a worker would look for in the database it serves; log no statements.

    No commit waits for the disk: the database is dropped at the end.

    Rubbish is collected less often: the calls leave little, and looking for it every 700 objects
    takes a tenth of the time.
    """
    given, thresholds = (settings.EVENT_TASKS, settings.DEBUG), gc.get_threshold()
    settings.EVENT_TASKS, settings.DEBUG = {}, False
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = off")
    gc.set_threshold(100_000, 20, 20)
    try:
        yield
    finally:
        settings.EVENT_TASKS, settings.DEBUG = given
        gc.set_threshold(*thresholds)
        with connection.cursor() as cursor:
            cursor.execute("RESET synchronous_commit")
