"""Every (state, move) pair of every state machine, tried against the database."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.apps import apps
from django.db import connection, models

from config import docs
from notifications import webhooks
from notifications.models import Message, WebhookDelivery
from tests import venues
from tests.audit.refusals import refusal, unguarded
from tests.waitlist import worlds
from tests.waitlist.worlds import HOUR, NOW, World
from waitlist.models import CircuitBreaker, Hold

Columns = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Machine:
    """A table with a row in its first state, and what goes with each state besides `status`."""

    make: Callable[[World], models.Model]
    always: Columns
    companions: Mapping[str, Columns]


def _hold(world: World) -> Hold:
    return worlds.without_slot(world.join())


def _rfp_venue(world: World) -> models.Model:
    scene = venues.set_scene()
    return scene.target(scene.draft())


def _breaker(world: World) -> CircuitBreaker:
    return CircuitBreaker.objects.create(
        tenant=world.tenant, facility=world.facility, tripped_at=NOW
    )


def _message(world: World) -> Message:
    """Make a message that is queued, by hand: the relay writes them."""
    return Message.objects.create(
        tenant=world.tenant,
        event_id=uuid4(),
        seq=1,
        kind="waitlist.joined",
        facility=world.facility,
        patient=world.patient(),
        channel="email",
        next_attempt_at=NOW,
    )


def _webhook_delivery(world: World) -> WebhookDelivery:
    """Make a delivery that is pending, by hand: the relay writes them."""
    endpoint, _ = webhooks.add(
        tenant_id=world.tenant.pk, url="https://hooks.example/", kinds=["waitlist.joined"]
    )
    return WebhookDelivery.objects.create(
        tenant=world.tenant,
        endpoint=endpoint,
        event_id=uuid4(),
        seq=1,
        kind="waitlist.joined",
        next_attempt_at=NOW,
    )


def _converted(world: World) -> models.Model:
    """Make an entry, and an appointment that it may point at: see `_appointment`."""
    world.book()
    return world.join()


MACHINES = {
    "Slot": Machine(
        make=lambda world: world.slot(),
        always={"reserved_until": None},
        companions={"reserved": {"reserved_until": NOW + HOUR}},
    ),
    "Appointment": Machine(
        make=lambda world: world.book(),
        always={"cancelled_at": None},
        companions={"cancelled": {"cancelled_at": NOW}},
    ),
    "WaitlistEntry": Machine(
        make=_converted,
        always={"closed_at": NOW, "appointment_id": None, "cancellation_reason": ""},
        companions={
            "waiting": {"closed_at": None},
            "offered": {"closed_at": None},
            "converted": {"appointment_id": "appointment"},
            "cancelled": {"cancellation_reason": "no_longer_needed"},
        },
    ),
    "Hold": Machine(
        make=_hold, always={"closed_at": NOW}, companions={"offered": {"closed_at": None}}
    ),
    "Rfp": Machine(
        make=lambda world: venues.set_scene().draft(to=[]),
        always={"sent_at": NOW},
        companions={"draft": {"sent_at": None}},
    ),
    "RfpVenue": Machine(
        make=_rfp_venue,
        always={"response": "confirmed", "responded_at": NOW},
        companions={
            state: {"response": None, "responded_at": None} for state in ("pending", "no_response")
        },
    ),
    "CircuitBreaker": Machine(
        make=_breaker,
        always={"resolved_at": None},
        companions={"resolved": {"resolved_at": NOW}},
    ),
    "Message": Machine(
        make=_message,
        always={
            "next_attempt_at": None, "sent_at": None, "delivered_at": None, "closed_at": None,
            "reason": "",
        },
        companions={
            "queued": {"next_attempt_at": NOW},
            "sent": {"sent_at": NOW},
            "delivered": {"delivered_at": NOW},
            **{
                state: {"closed_at": NOW, "reason": "why"}
                for state in ("failed", "suppressed", "dismissed")
            },
        },
    ),
    "WebhookDelivery": Machine(
        make=_webhook_delivery,
        always={"next_attempt_at": None, "delivered_at": None, "reason": ""},
        companions={
            "pending": {"next_attempt_at": NOW},
            "delivered": {"delivered_at": NOW},
            "failed": {"reason": "why"},
            "dismissed": {"reason": "why"},
        },
    ),
}  # fmt: skip


def _model(name: str) -> type[models.Model]:
    [model] = [model for model in apps.get_models() if model.__name__ == name]
    return model


def _states(name: str) -> list[str]:
    field = _model(name)._meta.get_field("status")
    assert isinstance(field, models.CharField)
    assert field.choices is not None
    return [state for state, _ in field.flatchoices]


def _columns(name: str, state: str) -> Columns:
    machine = MACHINES[name]
    columns = {**machine.always, **machine.companions.get(state, {}), "status": state}
    return {
        column: _appointment() if value == "appointment" else value
        for column, value in columns.items()
    }


def _appointment() -> UUID:
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM scheduling_appointment")
        [(found,)] = cursor.fetchall()
        assert isinstance(found, UUID)
        return found


def _update(name: str, columns: Columns) -> str:
    settings = ", ".join(f"{column} = %({column})s" for column in columns)
    return f"UPDATE {_model(name)._meta.db_table} SET {settings} WHERE id = %(id)s"  # noqa: S608


@pytest.fixture
def world(db: None) -> World:
    return worlds.build()


def test_each_machine_is_tried() -> None:
    assert set(MACHINES) == set(docs.MACHINES)


@pytest.mark.parametrize("name", MACHINES)
def test_the_states_are_those_that_moves_name(name: str) -> None:
    moves = docs.MACHINES[name]
    assert {state for move in moves for state in move if state} == set(_states(name))


@pytest.mark.parametrize("name", MACHINES)
def test_listed_moves_are_accepted_and_all_others_refused(world: World, name: str) -> None:
    row = MACHINES[name].make(world)
    outcome: dict[tuple[str, str], str | None] = {}
    for old in _states(name):
        placed = _columns(name, old)
        unguarded(_update(name, placed), {**placed, "id": row.pk})
        for new in [*_states(name), "nonsense"]:
            columns = _columns(name, new)
            outcome[old, new] = refusal(_update(name, columns), {**columns, "id": row.pk})
    table = _model(name)._meta.db_table
    moves = docs.MACHINES[name]
    assert outcome == {
        (old, new): None
        if (old, new) in moves or old == new
        else f'pgtrigger: Invalid transition of field "status" from "{old}" to "{new}"'
        f" on table {table}"
        for old, new in outcome
    }


@pytest.mark.parametrize("name", MACHINES)
def test_a_row_is_born_in_a_first_state_only(world: World, name: str) -> None:
    row = MACHINES[name].make(world)
    table = _model(name)._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT to_jsonb(t)::text FROM {table} AS t")  # noqa: S608
        [(text,)] = cursor.fetchall()
    unguarded(f"DELETE FROM {table}")  # noqa: S608
    born: dict[str, str | None] = {}
    for state in [*_states(name), "nonsense"]:
        columns = {**json.loads(text), **_columns(name, state)}
        born[state] = refusal(
            f"INSERT INTO {table} SELECT (jsonb_populate_record(NULL::{table}, %(row)s::jsonb)).*",
            {"row": json.dumps(columns, default=str)},
        )
    assert row.pk is not None
    assert born == {
        state: None
        if (None, state) in docs.MACHINES[name]
        else f"pgtrigger: Cannot insert rows from {table} table"
        for state in born
    }
