"""Benches of requests, to a real server with two processes: joining, and answering one offer."""

import json
import logging
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from django.conf import settings
from django.db import connection
from django.test import Client

from accounts.models import Membership, Tenant, User
from audit import clock
from bench import databases, worlds
from bench.measures import WITHOUT_TRIGGERS, Result, peak_mb, sample
from scheduling import callers
from scheduling.models import Appointment, Facility, Patient, Slot
from waitlist import fill, invariants, offers
from waitlist.models import Hold, WaitlistEntry, WaitlistPolicy

PASSWORD = "for the bench alone"

#: Method, path, body: one request.
Request = tuple[str, str, dict[str, Any]]


def bench_join(*, clients: int, joins: int, runs: int) -> Result:
    """Join through the API with clients at once, each at a facility of its own.

    Against a view with the same authentication that inserts one row. `joins` are for each client.
    """
    kinds = {"ours": "/api/v1/waitlists", "floor": "/bench/join", "bare": "/bench/join"}
    times: dict[str, list[list[float]]] = {name: [] for name in kinds}
    peaks: list[float] = []
    with databases.world(build=lambda: worlds.make(facilities=clients, slots=0, waiting=100)):
        for number in range(runs + 1):
            for name, path in kinds.items():
                with databases.copy():
                    if name == "bare":
                        databases.drop_triggers()
                    with _server() as server:
                        batches = [_joins(facility, joins, path) for facility in _facilities()]
                        answers = _send(server.port, batches)
                        if name == "ours":
                            peaks.append(server.peak_mb())
                if number:  # the first run warms up what is cached and compiled
                    times[name].append([seconds for seconds, _ in answers])
        with databases.copy():
            [facility, *_] = _facilities()
            queries = _queries(*_joins(facility, 2, kinds["ours"]))
    middle = {
        name: statistics.median(statistics.median(run) for run in found)
        for name, found in times.items()
    }
    last = statistics.median(statistics.quantiles(run, n=100)[98] for run in times["ours"])
    return Result(
        bench="join",
        sizes={"clients": clients, "facilities": clients, "joins": clients * joins},
        seconds={**middle, "p99": last},
        targets={
            "p50 to the floor's": (middle["ours"] / middle["floor"], 3.0),
            "p99 to p50": (last / middle["ours"], 5.0),
        },
        queries=queries,
        peak_mb=max(peaks),
        found={WITHOUT_TRIGGERS: round(middle["ours"] / middle["bare"], 3)},
    )


def bench_accept(*, answers: int, runs: int) -> Result:
    """Answer one offer many times at once, by its link."""
    seconds: list[float] = []
    peaks: list[float] = []
    statuses: Counter[int] = Counter()
    astray = broken = 0
    with databases.world(build=_build_offer):
        hold = Hold.objects.get(status=Hold.Status.OFFERED)
        path = f"/api/v1/offers/{offers.sign(hold_id=hold.pk)}/accept"
        accept: list[Request] = [("POST", path, {})]
        before = Appointment.objects.count()
        # The world's rows were made without events.
        broken_before = len(invariants.breaches())
        for _ in range(runs):
            with databases.copy():
                with _server() as server:
                    start = time.perf_counter()
                    answered = _send(server.port, [(None, accept)] * answers)
                    statuses.update(status for _, status in answered)
                    seconds.append(time.perf_counter() - start)
                    peaks.append(server.peak_mb())
                astray += abs(Appointment.objects.count() - before - 1)
                broken += len(invariants.breaches()) - broken_before
        with databases.copy():
            queries = _queries(None, accept)
    return Result(
        bench="accept",
        sizes={"answers": answers},
        seconds={"all": statistics.median(seconds)},
        targets={
            "bookings, less one": (astray, 0),
            "answers of 500 and more": (sum(n for code, n in statuses.items() if code >= 500), 0),
            "invariants broken": (broken, 0),
        },
        queries=queries,
        peak_mb=max(peaks),
        found={"statuses": {str(code): number for code, number in sorted(statuses.items())}},
    )


def _build_offer() -> None:
    worlds.make(facilities=1, slots=1, waiting=10)
    _bring_near()
    for facility in Facility.objects.all():
        fill.fill(facility_id=facility.pk, now=clock.now())


def _queries(token: str | None, batch: list[Request]) -> int:
    """Count the statements of the last of some requests, sent in this process."""
    logging.getLogger("django_structlog").setLevel(logging.WARNING)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    client = Client(SERVER_NAME="localhost", headers=headers)
    for method, path, body in batch:
        words = json.dumps(body)
        send = partial(client.generic, method, path, words, content_type="application/json")
        done = sample(send)
        if done.value.status_code >= 400:
            raise RuntimeError(f"{path}: {done.value.status_code} {done.value.content.decode()}")
    return done.queries


def _bring_near() -> None:
    """Move a world to the present: a server has no other time."""
    start = clock.now() + timedelta(days=2)
    slot = Slot.objects.get(status=Slot.Status.OPEN)
    Slot.objects.filter(pk=slot.pk).update(period=(start, start + timedelta(minutes=30)))
    WaitlistEntry.objects.update(earliest=None, latest=None, expires_at=start)
    WaitlistPolicy.objects.update(min_match_score=0)


def _facilities() -> list[Facility]:
    return list(Facility.objects.select_related("tenant").order_by("pk"))


def _joins(facility: Facility, count: int, path: str) -> tuple[str | None, list[Request]]:
    """Make people of a facility's tenant, and what somebody of its staff asks for them."""
    people = Patient.objects.bulk_create(
        [Patient(id=uuid4(), tenant=facility.tenant, name="Patient") for _ in range(count)]
    )
    ids = [patient.pk for patient in people]
    token = _token(tenant=facility.tenant, name=facility.slug)
    return token, [
        ("POST", path, {"facility": str(facility.pk), "patient": str(patient)}) for patient in ids
    ]


def _token(*, tenant: Tenant, name: str) -> str:
    user = User.objects.create_user(email=f"{name}@example.org", password=PASSWORD)
    Membership.objects.create(user=user, tenant=tenant, role=Membership.Role.STAFF)
    tokens = callers.log_in(
        email=user.email, password=PASSWORD, tenant=tenant.slug, now=clock.now()
    )
    return str(tokens["access"])


def _send(
    port: int, batches: Sequence[tuple[str | None, list[Request]]]
) -> list[tuple[float, int]]:
    """Send the batches at once, each on a connection of its own, one request after the other.

    Returns the seconds and the status of each request.
    """
    line = threading.Barrier(len(batches))

    def send(token: str | None, batch: list[Request]) -> list[tuple[float, int]]:
        headers = {"Content-Type": "application/json"}
        headers |= {"Authorization": f"Bearer {token}"} if token else {}
        answers: list[tuple[float, int]] = []
        with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as client:
            client.connect()
            line.wait(60)
            for method, path, body in batch:
                start = time.perf_counter()
                client.request(method, path, json.dumps(body), headers)
                answer = client.getresponse()
                words = answer.read()
                if token and answer.status != 201:
                    raise RuntimeError(f"{path}: {answer.status} {words.decode()}")
                answers.append((time.perf_counter() - start, answer.status))
        return answers

    with ThreadPoolExecutor(len(batches)) as pool:
        done = [pool.submit(send, token, batch) for token, batch in batches]
    return [answer for future in done for answer in future.result()]


@dataclass(frozen=True)
class _Server:
    """A server that answers."""

    port: int
    process: int

    def peak_mb(self) -> float:
        """Return the peak of that process of it that took the most memory, in MB."""
        tasks = Path(f"/proc/{self.process}/task/{self.process}/children").read_text()
        return max(peak_mb(process=child) for child in tasks.split())


@contextmanager
def _server() -> Iterator[_Server]:
    """Serve the database in use, with two processes, on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    name = connection.settings_dict["NAME"]
    address = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}").geturl()
    limits = ",".join(f"{limit}=1000000/minute" for limit in settings.RATE_LIMITS)
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "bench.asgi:application", "--port", str(port),
         "--workers", "2", "--log-level", "warning", "--no-access-log"],
        env={
            **os.environ, "DATABASE_URL": address, "DATABASE_POOL": "1", "RATE_LIMITS": limits,
            "DEBUG": "0", "LOG_LEVEL": "ERROR", "SECRET_KEY": settings.SECRET_KEY,
            "ALLOWED_HOSTS": "127.0.0.1", "DJANGO_SETTINGS_MODULE": "config.settings",
        },
    )  # fmt: skip
    try:
        _await(port=port, process=process)
        yield _Server(port, process.pid)
    finally:
        process.terminate()
        process.wait(timeout=20)


def _await(*, port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until both processes have answered.

    :raises RuntimeError: if the server ends, or does not answer within a minute.
    """
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with closing(HTTPConnection("127.0.0.1", port, timeout=10)) as client:
                client.request("GET", "/api/v1/schema/")
                if client.getresponse().status == 200:
                    return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError("The server does not answer.")
