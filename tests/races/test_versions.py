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
from scheduling.models import Service
from tests import factories
from tests.races import race, sabotage, scene
from waitlist import entries, erasure, invites, nudges, policies
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
    return lambda n: nudges.answer(entry_id=row.pk, interested=True, **ASKED)


def promotion() -> Edit:
    row = scene.wait(at=scene.clinic())
    places = [scene.slot(at=row.facility), scene.slot(at=row.facility)]
    return lambda n: invites.promote(entry_id=row.pk, slot_id=places[n - 1].pk, **ASKED)


def cancellation() -> Edit:
    row = scene.book(place=scene.slot(at=scene.clinic()))
    return lambda n: appointments.cancel(appointment_id=row.pk, reason=f"r{n}", **ASKED)


def visit(end: Callable[..., object]) -> Edit:
    row = scene.book(place=scene.slot(at=scene.clinic()))
    asked = {**ASKED, "now": row.period.upper}
    return lambda n: end(appointment_id=row.pk, **asked)


def completion() -> Edit:
    return visit(appointments.complete)


def missed() -> Edit:
    return visit(appointments.miss)


def erased() -> Edit:
    row = factories.PatientFactory.create()
    return lambda n: erasure.erase(patient_id=row.pk, **ASKED)


def service_gone() -> Edit:
    row = factories.ServiceFactory.create()
    return lambda n: rows.remove(rows=Service.objects.all(), id=row.pk, version=1)


def patient_gone() -> Edit:
    row = factories.PatientFactory.create()
    return lambda n: patients.remove(patient_id=row.pk, version=1)


def member_gone() -> Edit:
    row = factories.MembershipFactory.create()
    remove = partial(members.remove, tenant_id=row.tenant_id, member_id=row.pk, **ASKED)
    return lambda n: remove()


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
    member, policy, wishes, entry_gone, nudge, promotion, cancellation, move, vacancy, completion,
    missed, erased, service_gone, patient_gone, member_gone,
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


#: The first statement of an edit that another must not have come to as well.
WRITES: dict[Callable[[], Edit], str] = {
    rule: '^UPDATE "scheduling_availabilityrule"',
    exception: '^UPDATE "scheduling_availabilityexception"',
    exception_gone: '^DELETE FROM "scheduling_availabilityexception"',
    block: '^UPDATE "scheduling_timeblock"',
    block_gone: '^DELETE FROM "scheduling_timeblock"',
    facility: '^UPDATE "scheduling_facility"',
    provider: '^UPDATE "scheduling_provider"',
    service: '^UPDATE "scheduling_service"',
    patient: '^UPDATE "scheduling_patient"',
    member: '^UPDATE "accounts_membership"',
    policy: '^UPDATE "waitlist_waitlistpolicy"',
    wishes: '^UPDATE "waitlist_waitlistentry"',
    entry_gone: '^UPDATE "waitlist_waitlistentry"',
    nudge: '^UPDATE "waitlist_waitlistentry"',
    promotion: '^UPDATE "scheduling_slot"',
    cancellation: '^UPDATE "scheduling_appointment"',
    move: '^UPDATE "scheduling_appointment"',
    vacancy: '^UPDATE "scheduling_appointment"',
    completion: '^UPDATE "scheduling_appointment"',
    missed: '^UPDATE "scheduling_appointment"',
    erased: '^UPDATE "scheduling_patient"',
    service_gone: '^DELETE FROM "scheduling_service"',
    patient_gone: '^DELETE FROM "scheduling_patient"',
    member_gone: '^DELETE FROM "accounts_membership"',
}


def test_each_edit_has_its_control() -> None:
    assert set(WRITES) == set(EDITS)


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__)
def test_without_locks_both_get_as_far_as_to_write(edit: Callable[[], Edit]) -> None:
    """Neither is told that it is too late, unless by what the table promises besides."""
    change = edit()
    with sabotage.no_row_locks(), sabotage.no_advisory_locks():
        outcomes = race.run(lambda: change(1), lambda: change(2), before=[WRITES[edit]])
    assert not race.errors(outcomes) & {Stale, *OVER}, outcomes
