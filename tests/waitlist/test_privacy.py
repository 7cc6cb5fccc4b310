"""Nothing personal in events, job runs, task arguments or refusals: ids, codes, times, numbers."""

from datetime import time
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from pytest_django import DjangoCaptureOnCommitCallbacks

from audit import clock
from audit.errors import Refused
from audit.models import Event, JobRun
from notifications import tasks as notification_tasks
from scheduling import appointments, blocks, patients, slots
from scheduling import tasks as scheduling_tasks
from tests import factories
from tests.waitlist import worlds
from tests.waitlist.worlds import DAY, HOUR, NOW, STAFF, World
from waitlist import entries, invites, tasks
from waitlist.models import Hold

# No code, id or number holds any of these.
SECRETS = {
    "name": "Xanthippe Quxley",
    "email": "xanthippe@quxley.example",
    "phone": "+442071838750",
    "external_ref": "NHS4857773456",
    "notes": "allergic to zanzibar cloves",
    "metadata": "wheelchair-zephyr",
    "reason": "burst pipe in yurt seven",
    "facility": "Wobblecroft Surgery",
    "provider": "Dr Jabberwock",
    "service": "Vorpal filling",
    "author": "Nurse Bandersnatch",
}

TABLES = (
    "audit_event",
    "audit_jobrun",
    "audit_eventseq",
    "audit_unrelayed",
    "waitlist_dailymetric",
)


@pytest.fixture
def clinic(db: None) -> World:
    facility = factories.FacilityFactory.create(name=SECRETS["facility"])
    tenant = facility.tenant
    return World(
        facility=facility,
        provider=factories.ProviderFactory.create(
            tenant=tenant, name=SECRETS["provider"], facilities=[facility]
        ),
        service=factories.ServiceFactory.create(tenant=tenant, name=SECRETS["service"]),
    )


def _person(world: World) -> Any:
    return world.patient(
        name=SECRETS["name"],
        email=SECRETS["email"],
        phone=SECRETS["phone"],
        external_ref=f"{SECRETS['external_ref']}{uuid4()}",
    )


def _live(world: World) -> None:
    """Let everything happen that people's data passes through."""
    author = factories.UserFactory.create(name=SECRETS["author"])
    for number, way in enumerate(("accept", "decline", "lapse", "cancel", "block", "promote")):
        at = NOW + (number + 1) * DAY
        entry = world.join(
            patient=_person(world), metadata={"needs": SECRETS["metadata"]}, dates_flexible=True
        )
        entries.add_note(entry_id=entry.pk, author=author, text=SECRETS["notes"], now=NOW)
        entries.update(
            entry_id=entry.pk, wishes={"metadata": {"x": SECRETS["metadata"]}}, actor=STAFF, now=NOW
        )
        hold = world.offer(entry=entry, slot=world.slot(at=at))
        if way == "accept":
            moved = worlds.accept(hold)
            appointments.reschedule(
                appointment_id=moved.pk, slot_id=world.slot(at=at + HOUR).pk, actor=STAFF, now=NOW
            )
        elif way == "decline":
            worlds.decline(hold)
        elif way == "cancel":
            entries.cancel(entry_id=entry.pk, reason="moved", notes=SECRETS["notes"],
                           actor=STAFF, now=NOW)  # fmt: skip
        elif way == "block":
            blocks.create(facility_id=world.facility.pk, provider_id=world.provider.pk,
                          starts_at=at, ends_at=at + HOUR, reason=SECRETS["reason"],
                          actor=STAFF, now=NOW)  # fmt: skip
        elif way == "promote":
            slot = world.slot(at=at + 2 * HOUR)
            invites.promote(entry_id=entry.pk, slot_id=slot.pk, actor=STAFF, now=NOW)
    patient = _person(world)
    slot = world.reserve(slot=world.slot(at=NOW + 20 * DAY), patient=patient)
    slots.release(slot_id=slot.pk, actor=STAFF, now=NOW)
    appointment = world.book(slot=slot, patient=patient)
    appointments.cancel(appointment_id=appointment.pk, reason="moved", actor=STAFF, now=NOW)
    patients.update(patient_id=patient.pk, changes={"name": SECRETS["name"] + " II", "tier": 3},
                    actor=STAFF, now=NOW)  # fmt: skip
    world.change(quiet_from=time(22))


def _work(world: World) -> None:
    """Run every task that takes an id or sweeps."""
    patient = str(Hold.objects.exclude(patient=None).values_list("patient", flat=True)[0])
    for task, *arguments in (
        (tasks.fill_facility, str(world.facility.pk)),
        (tasks.rerank_patient, patient),
        (tasks.rerank_patient, "no id"),
        (tasks.fill_open_slots,),
        (tasks.fill_facilities, str(world.facility.pk)),
        (tasks.expire_holds,),
        (tasks.withdraw_blocked_holds,),
        (tasks.send_hold_reminders,),
        (tasks.send_nudges,),
        (tasks.expire_entries,),
        (tasks.roll_up_metrics,),
        (tasks.rerank_queues,),
        (scheduling_tasks.release_expired_reservations,),
        (notification_tasks.relay_events,),
    ):
        task.apply(args=tuple(arguments), task_id=str(uuid4()))


def test_no_row_of_the_log_tells_what_is_personal(
    clinic: World,
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW + 10 * HOUR)
    with django_capture_on_commit_callbacks() as callbacks:
        _live(clinic)
        _work(clinic)
    assert Event.objects.values("kind").distinct().count() >= 18
    assert JobRun.objects.count() == 14
    said = []
    for table in TABLES:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT to_jsonb(t)::text FROM {table} AS t")  # noqa: S608
            said += [text for (text,) in cursor.fetchall()]
    said += [str((callback.task, callback.arg)) for callback in callbacks]  # type: ignore[attr-defined]
    assert len(said) > 60
    told = {
        word: text
        for secret in SECRETS.values()
        for word in secret.split()
        for text in said
        if len(word) > 5 and word.lower() in text.lower()
    }
    assert told == {}


def test_a_refusal_names_ids_and_nobody(clinic: World) -> None:
    patient = _person(clinic)
    clinic.book(patient=patient)
    clinic.join(patient=patient)
    elsewhere = clinic.neighbour()
    said = []
    for call in (
        lambda: elsewhere.book(patient=patient),
        lambda: clinic.join(patient=patient),
        lambda: worlds.build().book(patient=patient),
        lambda: clinic.reserve(slot=clinic.slot(minutes=45), patient=patient),
    ):
        with pytest.raises(Refused) as caught:
            call()
        said.append(str(caught.value))
    assert not any(secret in text for secret in SECRETS.values() for text in said)
