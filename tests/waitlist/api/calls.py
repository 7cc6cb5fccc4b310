"""Requests in threads of their own: all at once, or in step before a statement."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

from django.core.management import call_command
from django.db import connection
from rest_framework.test import APIClient

from tests.api import Api
from tests.races import race

URL = "/api/v1/waitlists"


def at_once(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Make the calls at the same moment; return their answers."""
    barrier = Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        try:
            connection.ensure_connection()
            barrier.wait()
            return call()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(calls)) as pool:
        answers = list(pool.map(run, calls))
    call_command("check_invariants")
    return answers


def post(client: APIClient, url: str, body: Any) -> Callable[[], tuple[int, str]]:
    """Return a call that posts, and answers the status and the code of a problem."""
    return send(client, "post", url, body)


def send(
    client: APIClient, method: str, url: str, body: Any, **headers: Any
) -> Callable[[], tuple[int, str]]:
    """Return a call that sends, and answers the status and the code of a problem."""
    known = client._credentials  # type: ignore[attr-defined]

    def call() -> tuple[int, str]:
        mine = Api()
        mine.credentials(**known)
        answer = mine.generic(method.upper(), url, json.dumps(body), "application/json", **headers)
        return answer.status_code, (answer.data or {}).get("code", "")

    return call


def in_step(*calls: Callable[[], Any], before: Sequence[race.Stop]) -> Counter[Any]:
    """Let requests all come to a statement before one goes on; count their answers."""
    return Counter(outcome.value for outcome in race.run(*calls, before=before))
