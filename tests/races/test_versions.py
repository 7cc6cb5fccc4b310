"""Races of edits that ask for the version they read: one is written, the other is told."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from accounts import members, rows
from audit import events
from audit.errors import NotFound, Stale
from config import testing
from scheduling import appointments, blocks, exceptions, facilities, patients, providers, rules
from scheduling.appointments import NotBooked
from scheduling.models import (
    Service,
)
from tests import factories
from tests.races import race, sabotage, scene
from waitlist import entries, invites, policies
from waitlist.entries import EntryClosed

ASKED: dict[str, Any] = {"actor": events.SYSTEM, "now": scene.NOW, "version": 1}
Edit = Callable[[int], object]


def rule() -> Edit:
    row = factories.AvailabilityRuleFactory.create()
    return lambda n: rules.change(rule_id=row.pk, changes={"slot_minutes": 20 + n}, **ASKED)


def exception() -> Edit:
    row = factories.AvailabilityExceptionFactory.create()
    change = partial(exceptions.change, exception_id=row.pk, **ASKED)
    return lambda n: change(changes={"date": row.date + timedelta(days=n)})


def exception_gone() -> Edit:
    row = factories.AvailabilityExceptionFactory.create()
    return lambda n: exceptions.remove(exception_id=row.pk, **ASKED)


def block() -> Edit:
    slot = scene.slot(at=scene.clinic())
    row = factories.TimeBlockFactory.create(facility=slot.facility, starts_at=slot.period.lower)
    change = partial(blocks.change, block_id=row.pk, **ASKED)
    return lambda n: change(changes={"ends_at": row.period.upper + timedelta(hours=n)})


def block_gone() -> Edit:
    row = factories.TimeBlockFactory.create()
    return lambda n: blocks.remove(block_id=row.pk, **ASKED)


def facility() -> Edit:
    place = scene.clinic()
    change = partial(facilities.change, facility_id=place.pk, **ASKED)
    return lambda n: change(changes={"city": str(n), "is_active": n == 1})


def provider() -> Edit:
    row = scene.provider(scene.clinic())
    change = partial(providers.change, provider_id=row.pk, **ASKED)
    return lambda n: change(changes={"is_active": n == 1})


def service() -> Edit:
    row = factories.ServiceFactory.create()
    edit = partial(rows.edit, rows=Service.objects.all(), id=row.pk, version=1)
    return lambda n: edit(changes={"name": str(n)})


def patient() -> Edit:
    row = factories.PatientFactory.create()
    return lambda n: patients.update(patient_id=row.pk, changes={"tier": n}, **ASKED)


def member() -> Edit:
    row = factories.MembershipFactory.create()
    change = partial(members.change, tenant_id=row.tenant_id, member_id=row.pk, **ASKED)
    return lambda n: change(role=("admin", "provider")[n - 1])


def policy() -> Edit:
    place = factories.FacilityFactory.create()
    change = partial(policies.change, facility_id=place.pk, **ASKED)
    return lambda n: change(changes={"urgency": 10 + n})


def wishes() -> Edit:
    row = scene.wait(at=scene.clinic())
    return lambda n: entries.update(entry_id=row.pk, wishes={"urgency": n}, **ASKED)


def entry_gone() -> Edit:
    row = scene.wait(at=scene.clinic())
    return lambda n: entries.cancel(entry_id=row.pk, reason=f"r{n}", **ASKED)


def nudge() -> Edit:
    row = scene.wait(at=scene.clinic())
    return lambda n: entries.answer_nudge(entry_id=row.pk, interested=True, **ASKED)


def promotion() -> Edit:
    row = scene.wait(at=scene.clinic())
    places = [scene.slot(at=row.facility), scene.slot(at=row.facility)]
    return lambda n: invites.promote(entry_id=row.pk, slot_id=places[n - 1].pk, **ASKED)


def cancellation() -> Edit:
    row = scene.book(place=scene.slot(at=scene.clinic()))
    return lambda n: appointments.cancel(appointment_id=row.pk, reason=f"r{n}", **ASKED)


def move() -> Edit:
    row = scene.book(place=scene.slot(at=scene.clinic()))
    later = [scene.TOMORROW + timedelta(hours=5 + n) for n in (0, 1)]
    places = [scene.slot(at=row.facility, by=row.provider, starts_at=at) for at in later]
    change = partial(appointments.reschedule, appointment_id=row.pk, **ASKED)
    return lambda n: change(slot_id=places[n - 1].pk)


def vacancy() -> Edit:
    row = scene.book(place=scene.slot(at=scene.clinic()))
    for _ in range(2):
        scene.wait(at=row.facility)
    offer = partial(invites.invite_for, appointment_id=row.pk, entry_id=None, **ASKED)
    return lambda n: offer(reason=f"r{n}")


EDITS = (
    rule, exception, exception_gone, block, block_gone, facility, provider, service, patient,
    member, policy, wishes, entry_gone, nudge, promotion, cancellation, move, vacancy,
)  # fmt: skip
#: What tells the loser where the row has ended.
OVER = {NotFound, NotBooked, EntryClosed}


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__)
def test_of_two_edits_of_one_version_one_is_written(edit: Callable[[], Edit]) -> None:
    made: list[Edit] = []

    def first() -> race.Call:
        testing.empty_tables()
        made[:] = [edit()]
        return lambda: made[0](1)

    for outcomes in race.interleave(first=first, then=lambda: lambda: made[0](2)):
        assert [outcome.won for outcome in outcomes].count(True) == 1, outcomes
        assert race.errors(outcomes) <= {Stale, *OVER}, outcomes


@pytest.mark.parametrize(
    ("edit", "table"),
    [
        (rule, "scheduling_availabilityrule"),
        (exception, "scheduling_availabilityexception"),
        (block, "scheduling_timeblock"),
        (facility, "scheduling_facility"),
        (provider, "scheduling_provider"),
        (service, "scheduling_service"),
        (patient, "scheduling_patient"),
        (member, "accounts_membership"),
        (policy, "waitlist_waitlistpolicy"),
        (wishes, "waitlist_waitlistentry"),
        (move, "scheduling_appointment"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_without_locks_both_are_written(edit: Callable[[], Edit], table: str) -> None:
    change = edit()
    with sabotage.no_row_locks(), sabotage.no_advisory_locks():
        outcomes = race.run(lambda: change(1), lambda: change(2), before=[f'^UPDATE "{table}"'])
    assert all(outcome.won for outcome in outcomes), outcomes
