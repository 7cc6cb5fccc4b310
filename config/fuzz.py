"""Fuzzing: requests made from the schema, sent as each role, their answers held against it.

Works on a scratch tenant in a transaction that is rolled back: each request finds the same rows,
and none is left behind. Needs schemathesis and hypothesis, which only developers have.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import schemathesis
from django.conf import settings as django_settings
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, transaction
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange
from django.test import override_settings
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.core.parameters import ParameterLocation
from schemathesis.core.result import Err
from schemathesis.generation import GenerationMode

from accounts.models import Membership, Tenant, User
from accounts.problems import MEDIA_TYPE
from accounts.roles import Role
from accounts.roles import roles as allowed
from accounts.routes import names
from audit import clock
from audit.events import SYSTEM
from availability import rfps, statuses
from notifications import feeds, relay, webhooks
from scheduling import appointments, callers
from scheduling.models import Facility, Patient, Provider, ProviderFacility, Service, Slot
from waitlist import cascades, entries, invites, offers
from waitlist.models import WaitlistPolicy

CONFIG = {
    # What no schema can say, such as that a period ends after it begins, is a 400 as well.
    "checks": {
        "positive_data_acceptance": {
            "expected-statuses": [
                "2xx", "3xx", "400", "401", "403", "404", "405", "409", "412", "422", "429",
            ]
        },
        # A version that moved is told before the values are looked at.
        "negative_data_rejection": {
            "expected-statuses": [
                "400", "401", "403", "404", "405", "409", "412", "413", "415", "422", "429",
            ]
        },
    }
}  # fmt: skip
# Each role would use its share up within the first operations.
UNLIMITED = {"RATE_LIMITS": dict.fromkeys(django_settings.RATE_LIMITS, "1000000/minute")}


@dataclass(frozen=True, slots=True)
class Finding:
    """An answer that was not as it should be."""

    role: str
    operation: str
    check: str
    message: str


@dataclass(slots=True)
class Report:
    """What was sent, and what came of it: statuses by how often."""

    requests: int = 0
    statuses: dict[int, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


@dataclass(slots=True)
class Scratch:
    """A tenant to try things on: ids by the noun they are of, and a token for each role."""

    ids: dict[str, list[str]]
    tokens: dict[str, str]


def run(
    *, examples: int, roles: Sequence[str], start: int, only: str = ""
) -> Iterator[tuple[str, Report]]:
    """Fuzz each operation whose path has `only` in it; yield its name and its report.

    `examples` are the requests with good and as many with bad values, each sent as each role;
    `start` is the seed.
    """
    app = get_wsgi_application()
    config = SchemathesisConfig.from_dict(CONFIG)
    with one_connection(), override_settings(**UNLIMITED), transaction.atomic():
        schema = schemathesis.openapi.from_wsgi("/api/v1/schema/?format=json", app, config=config)
        scratch = prepare()
        for found in schema.get_all_operations():
            if isinstance(found, Err):
                raise found.err()
            operation = found.ok()
            if only in operation.path:
                name = f"{operation.method.upper()} {operation.path}"
                yield name, _fuzz(operation, name, scratch, examples, roles, start)
        transaction.set_rollback(True)


@contextmanager
def one_connection() -> Iterator[None]:
    """Keep requests from closing the connection, whose transaction outlasts them."""
    signals = (request_started, request_finished)
    for signal in signals:
        signal.disconnect(close_old_connections)
    try:
        yield
    finally:
        for signal in signals:
            signal.connect(close_old_connections)


def _fuzz(
    operation: Any, name: str, scratch: Scratch, examples: int, roles: Sequence[str], start: int
) -> Report:
    report = Report()
    luck = random.Random(f"{start}{name}")
    route = names()[operation.path]
    welcome = allowed(route=route, method=operation.method.upper())
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
        for n, case in enumerate(cases(operation, mode, examples, start)):
            _use_known_ids(case=case, scratch=scratch, luck=luck)
            # Who may not call gets one answer, whatever they send.
            for role in roles if n == 0 else [one for one in roles if one in welcome]:
                _send(case=case, role=role, name=name, scratch=scratch, report=report)
    return report


def cases(operation: Any, mode: GenerationMode, examples: int, start: int) -> list[Any]:
    """Draw requests; none where no request can be bad."""
    drawn: list[Any] = []

    @seed(start)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode))
    def draw(case: Any) -> None:
        drawn.append(case)

    try:
        draw()
    except Exception as error:
        if type(error).__name__ not in {"Unsatisfiable", "SkipTest", "Skipped"}:
            raise
    return drawn


def _send(*, case: Any, role: str, name: str, scratch: Scratch, report: Report) -> None:
    """Send a request as a role, check the answer, and undo what it did."""
    headers = {"Authorization": f"Bearer {scratch.tokens[role]}"} if role != Role.NONE else {}
    if not _is_good(case, ParameterLocation.HEADER):
        headers = {}  # what it says of who asks is bad, too, and stays so
    with transaction.atomic():
        try:
            response = case.call(headers=headers)
            report.requests += 1
            status = response.status_code
            report.statuses[status] = report.statuses.get(status, 0) + 1
            case.validate_response(
                response, headers=headers or None, transport_kwargs={"headers": headers}
            )
            if MEDIA_TYPE in response.headers.get("content-type", [""])[0]:
                code, known = response.json()["code"], _codes(case=case, status=status)
                if code not in known:
                    text = f"{status} {code} is not one of {sorted(known)}."
                    report.findings.append(Finding(role, name, "UndocumentedCode", text))
        except FailureGroup as group:
            for failure in group.exceptions:
                report.findings.append(_finding(failure, role, name, case))
        finally:
            transaction.set_rollback(True)


def _codes(*, case: Any, status: int) -> set[str]:
    """Return the codes of problems that the schema shows for a status of the operation."""
    answer = case.operation.definition.raw["responses"].get(str(status), {})
    return set(answer.get("content", {}).get(MEDIA_TYPE, {}).get("examples", ()))


def _finding(failure: Any, role: str, name: str, case: Any) -> Finding:
    message = failure.message if isinstance(failure, Failure) else str(failure)
    text = f"{message} {case.as_curl_command()}"
    return Finding(role, name, type(failure).__name__, text[:1500])


def _use_known_ids(*, case: Any, scratch: Scratch, luck: random.Random) -> None:
    """Put ids of rows that are there in place of made up ones, mostly: they would all be 404."""
    if _is_good(case, ParameterLocation.PATH) and case.path_parameters and luck.random() < 0.9:
        nouns = [part for part in case.operation.path.split("/") if part and part[0] != "{"]
        of_organization = nouns[2] == "organizations"
        known = {
            "id": f"own {nouns[3]}" if of_organization else nouns[2], "token": nouns[2],
            "tenant": "tenants", "facility": "facilities", "organization": "organizations",
            "venue": "venue", "rfp_venue": "rfp_venue",
        }  # fmt: skip
        for name in case.path_parameters:
            if scratch.ids.get(known.get(name, "")):
                case.path_parameters[name] = luck.choice(scratch.ids[known[name]])
    if (
        _is_good(case, ParameterLocation.BODY)
        and isinstance(case.body, dict)
        and luck.random() < 0.8
    ):
        for name in case.body:
            if name in scratch.ids and case.body[name] is not None:
                case.body[name] = luck.choice(scratch.ids[name])


def _is_good(case: Any, location: ParameterLocation) -> bool:
    info = case.meta.components.get(location) if case.meta else None
    return info is None or info.mode == GenerationMode.POSITIVE


def prepare() -> Scratch:
    """Make a clinic with somebody of each role, slots, appointments, entries and holds."""
    now = clock.now()
    mark = f"fuzz-{now:%Y%m%d%H%M%S%f}"
    tenant = Tenant.objects.create(name="Scratch", slug=mark, kind=Tenant.Kind.CLINIC)
    users = {role: _user(f"{role}@{mark}.example") for role in (*Membership.Role.values, "patient")}
    for role in Membership.Role.values:
        Membership.objects.create(tenant=tenant, user=users[role], role=role)
    facility = Facility.objects.create(
        tenant=tenant, name="Scratch", slug="scratch", kind="clinic", timezone="Europe/London"
    )
    WaitlistPolicy.objects.filter(facility=facility).update(quiet_from=None, quiet_until=None)
    provider = Provider.objects.create(tenant=tenant, name="Scratch", user=users["provider"])
    ProviderFacility.objects.create(tenant=tenant, provider=provider, facility=facility)
    service = Service.objects.create(tenant=tenant, name="Scratch", duration=timedelta(minutes=30))
    patients = [
        Patient.objects.create(tenant=tenant, name=f"P {n}", user=None if n else users["patient"])
        for n in range(6)
    ]
    slots = [_slot(facility, provider, service, now + timedelta(days=1, hours=n)) for n in range(8)]
    entry_ids, hold_ids, appointment_ids = [], [], []
    for n, patient in enumerate(patients[:5]):
        entry = entries.join(facility_id=facility.pk, patient_id=patient.pk, actor=SYSTEM, now=now)
        entry_ids.append(entry.pk)
        if n in (0, 1):
            hold = invites.invite(slot_id=slots[n].pk, entry_id=entry.pk, actor=SYSTEM, now=now)
            hold_ids.append(hold.pk)
    for n in (0, 5):
        booked = appointments.book(
            slot_id=slots[2 + n // 5].pk,
            patient_id=patients[n].pk,
            source="staff",
            actor=SYSTEM,
            now=now,
        )
        appointment_ids.append(booked.pk)
    caller = callers.find(user_id=users["patient"].pk, tenant_id=tenant.pk)
    assert caller is not None
    _, url = feeds.rotate(caller=caller, now=now)
    endpoint, _ = webhooks.add(
        tenant_id=tenant.pk, url="https://webhooks.invalid/", kinds=["waitlist.joined"]
    )
    relay.relay(limit=1000, now=now)
    one = _texts([facility.pk]), _texts([provider.pk]), _texts([service.pk])
    ids = {
        "tenants": [str(tenant.pk)], "tenant": [mark],
        "facilities": one[0], "facility": one[0], "providers": one[1], "provider": one[1],
        "services": one[2], "service": one[2],
        "patients": _texts(row.pk for row in patients),
        "slots": _texts(row.pk for row in slots),
        "waitlists": _texts(entry_ids), "holds": _texts(hold_ids),
        "appointments": _texts(appointment_ids),
        "offers": [offers.sign(hold_id=pk) for pk in hold_ids],
        "calendar": [url.rpartition("/")[2].removesuffix(".ics")],
        "webhooks": _texts([endpoint.pk]),
        "webhook-deliveries": _texts(endpoint.deliveries.values_list("pk", flat=True)),
    }  # fmt: skip
    ids |= {"patient": ids["patients"], "slot": ids["slots"], "entry": ids["waitlists"]}
    organizer = Tenant.objects.create(
        name="Organizer", slug=f"{mark}-organizer", kind=Tenant.Kind.ORGANIZER
    )
    ids |= _rfps(tenant, organizer, now)
    tokens = {role: callers.issue(user=user, tenant_id=tenant.pk) for role, user in users.items()}
    return Scratch(ids, {**tokens, **_organizers(organizer, mark)})


def _rfps(tenant: Tenant, organizer: Tenant, now: datetime) -> dict[str, list[str]]:
    """Make a venue of a tenant, and RFPs of an organizer at it, drafted, sent and answered."""
    venue = Facility.objects.create(
        tenant=tenant, name="Hall", slug="hall", kind="venue", timezone="Europe/London"
    )
    made = [
        rfps.add(
            organizer_id=organizer.pk, venue_ids=[venue.pk], actor=SYSTEM, now=now,
            values={
                "title": "Gala", "event_type": "gala", "dates_flexible": True,
                "attendance_min": 1, "attendance_max": 9,
                "response_deadline": now + timedelta(days=7),
            },
        )
        for _ in range(4)
    ]  # fmt: skip
    for rfp in made[1:]:
        rfps.send(rfp_id=rfp.pk, actor=SYSTEM, now=now)
    targets = [rfp.targets.get().pk for rfp in made]
    rfps.respond(rfp_venue_id=targets[2], response="confirmed", actor=SYSTEM, now=now)
    rfps.respond(rfp_venue_id=targets[3], response="unavailable", actor=SYSTEM, now=now)
    rfps.close(rfp_id=made[3].pk, actor=SYSTEM, now=now)
    entry = entries.join_venue(
        rfp_venue_id=targets[3], organizer_id=organizer.pk, actor=SYSTEM, now=now
    )
    statuses.set_by_hand(facility_id=venue.pk, status="accepting_events", actor=SYSTEM, now=now)
    cascades.go_on(facility_id=venue.pk, now=now)
    return {
        "organizations": [str(organizer.pk)], "own rfps": _texts(rfp.pk for rfp in made),
        "own waitlists": [str(entry.pk)], "venue": [str(venue.pk)],
        "rfp_venue": _texts(targets), "source_rfp_venue_id": _texts(targets),
    }  # fmt: skip


def _organizers(tenant: Tenant, mark: str) -> dict[str, str]:
    """Make people of an organizer, and return their tokens by role."""
    roles = {Role.ORGANIZER: Membership.Role.STAFF, Role.ORGANIZER_ADMIN: Membership.Role.ADMIN}
    tokens = {}
    for role, member in roles.items():
        user = _user(f"{role}@{mark}.example")
        Membership.objects.create(tenant=tenant, user=user, role=member)
        tokens[str(role)] = callers.issue(user=user, tenant_id=tenant.pk)
    return tokens


def _user(email: str) -> User:
    return User.objects.create_user(email, "correct horse battery", name="Scratch")


def _slot(facility: Facility, provider: Provider, service: Service, start: Any) -> Slot:
    return Slot.objects.create(
        tenant=facility.tenant,
        facility=facility,
        provider=provider,
        service=service,
        period=DateTimeTZRange(start, start + timedelta(minutes=30)),
    )


def _texts(ids: Any) -> list[str]:
    return [str(one) for one in ids]


def totals(*, reports: Mapping[str, Report]) -> Report:
    """Add reports up."""
    total = Report()
    for report in reports.values():
        total.requests += report.requests
        total.findings += report.findings
        for status, n in report.statuses.items():
            total.statuses[status] = total.statuses.get(status, 0) + n
    return total
