"""Writing down what happened, and sending the tasks that act on it at once."""

import time
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from pytest_django import DjangoCaptureOnCommitCallbacks

from audit import events, sql
from audit.events import Actor, UnknownFact
from audit.models import Event, Unrelayed
from notifications import tasks
from scheduling import appointments, blocks
from tests.audit import broker
from tests.waitlist import worlds
from tests.waitlist.worlds import DAY, NOW, SECOND, STAFF, World
from waitlist import holds
from waitlist.models import Hold

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("empty_queues")]

FACILITY = UUID("00000000-0000-7000-8000-00000000000f")
SLOT = UUID("00000000-0000-7000-8000-00000000000e")


def _record(kind: str = "slot.opened", **columns: Any) -> None:
    given = {
        "tenant_id": uuid4(),
        "subject_type": "slot",
        "subject_id": uuid4(),
        "actor": events.SYSTEM,
        "at": NOW,
        "facility_id": FACILITY,
    }
    events.record(kind=kind, **{**given, **columns})


def _event(kind: str = "slot.opened", **columns: Any) -> Event:
    given = {
        "tenant_id": uuid4(),
        "subject_type": "slot",
        "subject_id": uuid4(),
        "actor_type": "system",
        "at": NOW,
        "data": {},
    }
    return Event(kind=kind, **{**given, **columns})


# What is written


def test_an_event_is_written_as_it_is_told() -> None:
    ids = {name: uuid4() for name in ("entry_id", "hold_id", "slot_id", "provider_id")}
    actor = Actor("patient", uuid4())
    _record("waitlist.hold_withdrawn", actor=actor, previous_status="offered",
            new_status="withdrawn", data={"reason": "blocked"}, **ids)  # fmt: skip
    event = Event.objects.get()
    assert (event.kind, event.previous_status, event.new_status, event.data, event.at) == (
        "waitlist.hold_withdrawn", "offered", "withdrawn", {"reason": "blocked"}, NOW
    )  # fmt: skip
    assert (event.actor_type, event.actor_id) == (actor.type, actor.id)
    assert {name: getattr(event, name) for name in ids} == ids


def test_many_events_are_written_in_one_statement_each_to_be_relayed() -> None:
    events.record_all(events=[_event() for _ in range(5)])
    assert Event.objects.count() == 5
    assert set(Unrelayed.objects.values_list("event_id", flat=True)) == set(
        Event.objects.values_list("pk", flat=True)
    )


def test_an_event_that_is_given_no_data_has_none() -> None:
    bare = Event(kind="slot.opened", tenant_id=uuid4(), subject_type="slot", subject_id=uuid4(),
                 actor_type="system", at=NOW)  # fmt: skip
    events.record_all(events=[bare])
    assert Event.objects.get().data == {}


def test_no_events_are_no_statement() -> None:
    events.record_all(events=[])
    assert not Event.objects.exists()


@pytest.mark.parametrize("kind", ["slot.painted", "", "SLOT.OPENED"])
def test_an_unknown_kind_is_refused(kind: str) -> None:
    with pytest.raises(UnknownFact):
        _record(kind)
    assert not Event.objects.exists()


@pytest.mark.parametrize("kind", sorted(events.KINDS))
def test_each_kind_takes_its_own_keys_and_no_other(kind: str) -> None:
    _record(kind, data=dict.fromkeys(events.KINDS[kind], 1))
    with pytest.raises(UnknownFact) as caught:
        _record(kind, data={**dict.fromkeys(events.KINDS[kind], 1), "patient_name": "x"})
    assert "patient_name" in str(caught.value)
    assert Event.objects.count() == 1


def test_one_bad_event_keeps_the_whole_batch_out() -> None:
    with pytest.raises(UnknownFact):
        events.record_all(events=[_event(), _event(data={"name": "x"})])
    assert not Event.objects.exists()


@pytest.mark.parametrize(
    "value",
    [
        "Ada Lovelace",
        "Ada",
        "ada@example.com",
        "+442071838750",
        ["moved", "Ada Lovelace"],
        {"name": "Ada Lovelace"},
        [{"name": "Ada Lovelace"}],
    ],
)
def test_data_holds_no_text_whatever_its_key(value: Any) -> None:
    with pytest.raises(UnknownFact) as caught:
        _record("waitlist.cancelled", data={"reason": value})
    assert "Ada" not in str(caught.value)
    assert not Event.objects.exists()


@pytest.mark.parametrize(
    "value", ["moved", str(FACILITY), NOW.isoformat(), "2030-03-04", 1.5, True, None, ["a", "b"]]
)
def test_data_holds_codes_ids_times_and_numbers(value: Any) -> None:
    _record("waitlist.cancelled", data={"reason": value})
    assert Event.objects.get().data == {"reason": value}


@pytest.mark.parametrize(
    "text",
    [
        "Ada Lovelace",
        "Ada",
        "ada@example.com",
        "+442071838750",
        "",
        "_x",
        "moved ",
        "x\n",
        "x" * 51,
    ],
)
def test_what_people_type_is_no_code(text: str) -> None:
    """A key that is allowed may still be given a sentence about somebody."""
    with pytest.raises(ValidationError) as caught:
        events.check_code(field="reason", code=text)
    assert set(caught.value.message_dict) == {"reason"}


@pytest.mark.parametrize("code", ["moved", "no_longer_needed", "x", "x" * 50, "covid19"])
def test_a_short_word_is_a_code(code: str) -> None:
    events.check_code(field="reason", code=code)


def test_no_kind_may_tell_what_is_personal() -> None:
    personal = {"name", "email", "phone", "notes", "metadata", "text", "patient_name", "address"}
    assert {key for keys in events.KINDS.values() for key in keys} & personal == set()


# What is sent


RELAY = settings.EVENT_TASKS[events.ANY]


def _sent(callbacks: list[Any]) -> list[tuple[str, str]]:
    """Return task and argument of what was sent besides the relay, which is sent once."""
    assert [callback.arg for callback in callbacks if callback.task == RELAY] == [None]
    return sorted((one.task, one.arg) for one in callbacks if one.task != RELAY)


def _told(callbacks: list[Any]) -> dict[str, list[str]]:
    """Return the arguments with which each task but the relay would be sent."""
    broker.empty()
    for callback in callbacks:
        callback()
    found = {task: args for _, task, args in broker.messages() if task != RELAY}
    broker.empty()
    return found


def test_a_task_is_told_of_the_subjects_of_some_kinds(
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    slots = sorted(uuid4() for _ in range(3))
    with django_capture_on_commit_callbacks() as callbacks:
        for slot in slots[:2]:
            _record(subject_id=slot)
        with transaction.atomic():
            events.announce(
                kind="slot.opened", ids=[FACILITY], subjects={FACILITY: [slots[2], slots[0]]}
            )
        _record("block.created")
    assert _told(callbacks) == {
        "waitlist.tasks.fill_facility": [str(FACILITY), *map(str, slots)],
        "waitlist.tasks.withdraw_blocked_holds": [str(FACILITY)],
    }


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("number", [None, events.MANY + 1])
def test_a_task_is_told_of_none_where_all_or_many_are_concerned(
    order: int,
    number: int | None,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    many = {FACILITY: [uuid4() for _ in range(number)]} if number else None
    told = [many, {FACILITY: [uuid4()]}][::order]
    with django_capture_on_commit_callbacks() as callbacks:
        for subjects in told:
            events.announce(kind="slot.opened", ids=[FACILITY], subjects=subjects)
    assert _told(callbacks) == {"waitlist.tasks.fill_facility": [str(FACILITY)]}


def test_subjects_that_come_to_many_one_by_one_are_many(
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    for number in (events.MANY, events.MANY + 1):
        with django_capture_on_commit_callbacks() as callbacks:
            for _ in range(number):
                _record()
        [args] = _told(callbacks).values()
        assert len(args) == 1 + (events.MANY if number == events.MANY else 0)
        connection.run_on_commit.clear()


def test_what_is_rolled_back_is_not_told(
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    lost, kept = uuid4(), uuid4()
    with django_capture_on_commit_callbacks() as callbacks:
        with transaction.atomic():
            _record(subject_id=lost)
            transaction.set_rollback(True)
        _record(subject_id=kept)
    assert _told(callbacks) == {"waitlist.tasks.fill_facility": [str(FACILITY), str(kept)]}


def test_each_task_is_sent_once_per_facility_and_transaction(
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    other = uuid4()
    with django_capture_on_commit_callbacks() as callbacks, transaction.atomic():
        for facility in (FACILITY, FACILITY, other):
            _record(facility_id=facility)
        with transaction.atomic():
            events.announce(kind="waitlist.joined", ids=[FACILITY, other, FACILITY])
        _record("block.created", facility_id=FACILITY)
    assert _sent(callbacks) == sorted([
        ("waitlist.tasks.fill_facility", str(FACILITY)),
        ("waitlist.tasks.fill_facility", str(other)),
        ("waitlist.tasks.withdraw_blocked_holds", str(FACILITY)),
    ])  # fmt: skip


def test_an_event_without_a_facility_is_announced_by_its_subject(
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    patient = uuid4()
    with django_capture_on_commit_callbacks() as callbacks:
        _record("patient.updated", subject_id=patient, facility_id=None)
    assert _sent(callbacks) == [("waitlist.tasks.rerank_patient", str(patient))]


def test_what_no_task_acts_on_is_not_announced(
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    with django_capture_on_commit_callbacks() as callbacks:
        _record("slot.retired")
    assert _sent(callbacks) == []


def test_what_is_undone_is_not_announced_and_can_be_again(
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    with django_capture_on_commit_callbacks() as callbacks:
        with transaction.atomic():
            _record()
            transaction.set_rollback(True)
        with transaction.atomic():
            _record()
    assert len(_sent(callbacks)) == 1


def test_tasks_go_to_the_queues_of_their_apps(
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        _record(subject_id=SLOT)
        _record("block.created")
        _record(subject_id=SLOT)
        assert broker.messages() == []
    assert sorted(broker.messages()) == [
        ("notifications", RELAY, []),
        ("waitlist", "waitlist.tasks.fill_facility", [str(FACILITY), str(SLOT)]),
        ("waitlist", "waitlist.tasks.withdraw_blocked_holds", [str(FACILITY)]),
    ]


@pytest.mark.django_db(transaction=True)
def test_a_commit_sends_what_a_rollback_does_not() -> None:
    with transaction.atomic():
        _record()
        assert broker.messages() == []
        transaction.set_rollback(True)
    assert broker.messages() == []
    with transaction.atomic():
        _record()
    sent = [task for _, task, _ in broker.messages()]
    assert sent == ["waitlist.tasks.fill_facility", RELAY]


@pytest.mark.django_db(transaction=True)
def test_while_a_relay_is_on_its_way_no_other_is_sent() -> None:
    for _ in range(3):
        _record("slot.retired")
    assert broker.messages() == [("notifications", RELAY, [])]
    assert tasks.relay_events() == {"events": 3}
    _record("slot.retired")
    assert broker.messages() == [("notifications", RELAY, [])] * 2


@pytest.mark.usefixtures("broker_away")
def test_a_broker_that_is_away_costs_the_hurry_and_nothing_else(
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    """Neither an error nor a wait of the caller, who may be a web request."""
    begun = time.monotonic()
    with django_capture_on_commit_callbacks(execute=True) as callbacks:
        _record()
        _record(facility_id=uuid4())
    assert len(_sent(callbacks)) == 2
    assert Event.objects.count() == 2
    assert time.monotonic() - begun < 2


@pytest.fixture
def clinic() -> World:
    return worlds.build()


def test_who_joins_lets_the_facility_be_filled_at_once(
    clinic: World, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    with django_capture_on_commit_callbacks() as callbacks:
        clinic.join()
    assert _sent(callbacks) == [("waitlist.tasks.fill_facility", str(clinic.facility.pk))]


def test_a_cancellation_lets_the_facility_be_filled_at_once(
    clinic: World, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    appointment = clinic.book()
    connection.run_on_commit.clear()  # as if that had been committed
    with django_capture_on_commit_callbacks() as callbacks:
        appointments.cancel(appointment_id=appointment.pk, reason="moved", actor=STAFF, now=NOW)
    assert _sent(callbacks) == [("waitlist.tasks.fill_facility", str(clinic.facility.pk))]


def test_lapsed_offers_let_each_facility_be_filled_once_at_once(
    clinic: World, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    """There for the slots that are free, here for who waits again."""
    own = clinic.neighbour()
    offers = [_offer_of(clinic, own, number) for number in range(2)]
    connection.run_on_commit.clear()  # as if all that had been committed
    with django_capture_on_commit_callbacks() as callbacks:
        assert holds.expire_due(now=NOW + 9 * DAY, limit=10) == 2
    sends: list[Any] = list(callbacks)
    assert {one.arg: one.subjects for one in sends if one.arg} == {
        str(clinic.facility.pk): {hold.slot_id for hold in offers},
        str(own.facility.pk): {hold.entry_id for hold in offers},
    }


def _offer_of(world: World, own: World, number: int) -> Hold:
    """Offer a slot of one facility to somebody who waits at another."""
    entry = own.join(service_id=None, any_facility=True)
    return world.offer(entry=entry, slot=world.slot(at=NOW + (number + 1) * DAY))


def test_a_block_lets_holds_be_withdrawn_at_once(
    clinic: World, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    with django_capture_on_commit_callbacks() as callbacks:
        blocks.create(facility_id=clinic.facility.pk, provider_id=None, starts_at=NOW,
                      ends_at=NOW + DAY, reason="", actor=STAFF, now=NOW)  # fmt: skip
    assert _sent(callbacks) == [("waitlist.tasks.withdraw_blocked_holds", str(clinic.facility.pk))]


def test_every_kind_with_a_task_is_a_known_one() -> None:
    assert set(settings.EVENT_TASKS) - {events.ANY} <= set(events.KINDS)


def test_a_statement_that_writes_events_lets_the_relay_hurry_and_no_other(
    clinic: World, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    hold = clinic.offer()
    for statement, params, sent in (
        ("remind_holds", {"now": hold.expires_at - SECOND, "limit": 10}, 1),
        ("remind_holds", {"now": hold.expires_at - SECOND, "limit": 10}, 0),  # there is none left
        ("find_blocked_holds", {"facility": None, "holds": None, "limit": 10}, 0),
    ):
        connection.run_on_commit.clear()
        with django_capture_on_commit_callbacks() as callbacks:
            sql.run(app="waitlist", name=statement, params=params)
        assert len(callbacks) == sent
