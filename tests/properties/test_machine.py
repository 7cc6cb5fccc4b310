"""Every path through a small world keeps the invariants, step by step.

Two facilities of one tenant share a provider; a few people wait, are offered, book and cancel,
while staff block times, change rules and policies, and the clock goes on. What the functions
refuse they refuse as they say, and then nothing has changed; anything else is a failure.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, datetime, time, timedelta
from functools import partial
from typing import Any, ClassVar, TypeVar
from uuid import UUID

import pytest
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.db.models import QuerySet
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from audit import events
from audit.errors import Refused
from audit.models import Event, EventSeq
from config.settings import EVENT_TASKS
from notifications import relay
from scheduling import appointments, blocks, generation, patients, rules, slots
from scheduling import models as scheduling_models
from scheduling.models import Appointment, AvailabilityRule, Slot, TimeBlock
from tests.factories import (
    AvailabilityRuleFactory,
    FacilityFactory,
    PatientFactory,
    ProviderFactory,
    ServiceFactory,
    SlotFactory,
    TenantFactory,
)
from tests.properties import oracle
from waitlist import entries, fill, holds, invariants, invites, nudges, policies, tasks
from waitlist import models as waitlist_models
from waitlist.models import Hold, WaitlistEntry, WaitlistPolicy

MORNING = datetime(2030, 1, 7, 9, tzinfo=UTC)  # a Monday, in winter: local time is UTC
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

#: Facility, provider, service, start after MORNING, minutes; some overlap.
SLOTS = (
    (0, 0, None, 2 * HOUR, 60),
    (0, 0, 0, 2.5 * HOUR, 30),
    (1, 0, None, 2.5 * HOUR, 60),
    (0, 1, 1, 2 * HOUR, 60),
    (1, 0, 0, 4 * HOUR, 30),
    (0, 1, None, DAY, 30),
    (1, 0, None, DAY, 60),
)

POLICIES: tuple[dict[str, Any], ...] = (
    {"ordering": "fifo"},
    {"ordering": "score"},
    {"on_hold_expiry": "requeue", "on_decline": "requeue"},
    {"on_hold_expiry": "expire", "on_decline": "cancel"},
    {"max_offers_per_entry": 1},
    {"max_offers_per_entry": None},
    {"unique_per_service": True},
    {"unique_per_service": False},
    {"min_match_score": 75},
    {"min_match_score": 50},
    {"hold_window": 20 * MINUTE, "reminder_lead": 10 * MINUTE},
    {"max_queue_size": 2},
    {"max_queue_size": None, "max_active_per_requester": None},
    {"max_active_per_requester": 1},
    {"urgency": 0},
    {"urgency": 9, "membership": 4},
)

#: What runs again and again, whatever happens.
SWEEPS: tuple[Callable[..., int], ...] = (
    holds.expire_due,
    holds.withdraw_blocked,
    holds.remind_due,
    slots.release_expired,
    blocks.apply,
    entries.expire_due,
    nudges.ask_due,
    nudges.expire_due,
)

#: The kinds of event after which a facility is filled at once.
PROMPTING = {kind for kind, task in EVENT_TASKS.items() if task.endswith("fill_facility")}

WISHES = st.fixed_dictionaries(
    {},
    optional={
        "provider": st.sampled_from([None, 0, 1]),
        "service": st.sampled_from([None, 0, 1]),
        "any_facility": st.booleans(),
        "preferred_days": st.sampled_from([[], [1], [2, 3]]),
        "preferred_time": st.sampled_from(["any", "morning", "afternoon"]),
        "earliest": st.sampled_from([None, 2 * HOUR, DAY]),
        "latest": st.sampled_from([None, 3 * HOUR, 2 * DAY]),
        "dates_flexible": st.booleans(),
        "urgency": st.sampled_from([0, 1, 3]),
    },
)
#: What is done in turn with a slot that a rule made: it is claimed, a block or the rule's end comes
#: under the claim, and then the claim ends. Chance alone comes to this too seldom.
PATHS = (
    ("reserve", "book"),
    ("reserve", "release"),
    ("reserve", "block"),
    ("reserve", "end the rule", "release", "resume the rule"),
    ("offer", "block"),
    ("offer", "end the rule", "decline", "resume the rule"),
    ("book", "block", "cancel"),
    ("book", "end the rule", "cancel", "resume the rule"),
    ("block", "end the rule", "resume the rule"),
    ("end the rule", "block", "resume the rule"),
)

ANY = st.integers(0, 11)
MAYBE = st.none() | ANY

T = TypeVar("T")


def pick(among: Sequence[T], number: int) -> T:
    """Pick one, whatever the number."""
    return among[number % len(among)]


def mostly(usable: list[UUID], number: int, *, otherwise: Iterable[UUID]) -> UUID:
    """Pick one that something can be done with, where there is one, or now and then any."""
    return pick(usable if usable and number % 6 else list(otherwise), number)


class Machine(RuleBasedStateMachine):
    """The world and what may happen in it; `attempt` checks what each step does."""

    #: How often each move was seen: (machine, from, to).
    moves: ClassVar[Counter[tuple[str, str | None, str]]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.example = transaction.atomic()
        self.example.__enter__()
        self.now = MORNING
        tenant = TenantFactory.create()
        self.places = [
            FacilityFactory.create(tenant=tenant, kind=kind) for kind in ("clinic", "salon")
        ]
        shared = ProviderFactory.create(tenant=tenant, facilities=self.places)
        own = ProviderFactory.create(tenant=tenant, facilities=self.places[:1])
        self.providers = [shared, own]
        self.services = [
            ServiceFactory.create(tenant=tenant, duration=length * MINUTE) for length in (30, 60)
        ]
        self.people = [PatientFactory.create(tenant=tenant, tier=tier) for tier in (0, 0, 1, 3)]
        WaitlistPolicy.objects.filter(tenant=tenant).update(
            hold_window=HOUR, reminder_lead=20 * MINUTE, nudge_after=3 * HOUR, nudge_grace=HOUR,
            entry_ttl=2 * DAY, max_queue_size=5,
        )  # fmt: skip
        for place, provider, service, start, minutes in SLOTS:
            SlotFactory.create(
                facility=self.places[place], provider=self.providers[provider],
                service=None if service is None else self.services[service],
                starts_at=MORNING + start, minutes=minutes,
            )  # fmt: skip
        self.hours = [
            AvailabilityRuleFactory.create(
                facility=self.places[0],
                provider=own,
                weekday=weekday,
                slot_minutes=60,
                start_time=time(14),
                end_time=time(16),
                valid_until=(MORNING + 3 * DAY).date(),
            )
            for weekday in (1, 2)
        ]
        self.is_prompt = False
        self.joined: dict[UUID, datetime] = {}
        self.heard = UUID(int=0)  # the last event that was looked at
        self.rows = oracle.Rows.read()

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.example.__exit__(None, None, None)

    @initialize(prompt=st.booleans(), blocked=st.booleans(), path=st.sampled_from(PATHS))
    def begin(self, prompt: bool, blocked: bool, path: Sequence[str]) -> None:
        """Let some wait; `prompt` is whether the tasks sent on commit come at once, or never."""
        self.is_prompt = prompt
        if blocked:  # a time for which the rules have made no slot yet
            self.block_time(self.places[0].pk, MORNING + DAY + 6 * HOUR, MORNING + DAY + 7 * HOUR)
        self.generate()
        for number in range(4):
            self.join(number, number, {"any_facility": number == 3})
            if number == 0:  # while there are slots that nobody has claimed
                self.walk(0, 1, path)

    # What people do

    @rule(place=ANY, who=ANY, wishes=WISHES)
    def join(self, place: int, who: int, wishes: dict[str, Any]) -> None:
        self.attempt(
            lambda: entries.join(
                facility_id=pick(self.places, place).pk,
                patient_id=pick(self.people, who).pk,
                wishes=self.resolve(wishes),
                actor=events.SYSTEM,
                now=self.now,
            )
        )

    @precondition(lambda self: self.waiting)
    @rule(entry=ANY, wishes=WISHES)
    def update(self, entry: int, wishes: dict[str, Any]) -> None:
        pk = self.pick_entry(entry)
        self.attempt(
            lambda: entries.update(
                entry_id=pk, wishes=self.resolve(wishes), actor=events.SYSTEM, now=self.now
            ),
            moved=[pk],
        )

    @precondition(lambda self: self.waiting)
    @rule(entry=ANY, how=st.sampled_from(["leave", "answer no", "answer yes"]))
    def speak(self, entry: int, how: str) -> None:
        pk = self.pick_entry(entry)
        if how == "leave":
            self.attempt(
                lambda: entries.cancel(
                    entry_id=pk, reason="test", actor=events.SYSTEM, now=self.now
                )
            )
        else:
            self.attempt(
                lambda: nudges.answer(
                    entry_id=pk, interested=how == "answer yes", actor=events.SYSTEM, now=self.now
                )
            )

    @precondition(lambda self: self.offered)
    @rule(hold=ANY, how=st.sampled_from(["accept", "accept", "decline", "take back", "let lapse"]))
    def answer(self, hold: int, how: str) -> None:
        if how == "let lapse":
            row = Hold.objects.get(pk=pick(self.offered, hold))
            self.now = max(self.now, row.expires_at)
            self.sweep(holds.expire_due, 100)
        else:
            ends: dict[str, Callable[..., object]] = {
                "accept": holds.accept,
                "decline": holds.decline,
                "take back": partial(holds.take_back, reason="test"),
            }
            pk = self.pick_hold(hold)
            self.attempt(lambda: ends[how](hold_id=pk, actor=events.SYSTEM, now=self.now))

    @rule(slot=ANY, who=ANY, books=st.booleans())
    def claim(self, slot: int, who: int, books: bool) -> None:
        pk, patient = self.pick_slot(slot), pick(self.people, who).pk
        if books:
            self.book(pk, patient)
        else:
            self.attempt(
                lambda: slots.reserve(
                    slot_id=pk, patient_id=patient, actor=events.SYSTEM, now=self.now
                )
            )

    def book(self, slot: UUID, patient: UUID) -> bool:
        return self.attempt(
            lambda: appointments.book(
                slot_id=slot,
                patient_id=patient,
                source=Appointment.Source.DIRECT,
                actor=events.SYSTEM,
                now=self.now,
            )
        )

    @precondition(lambda self: self.reserved)
    @rule(slot=ANY, who=MAYBE, how=st.sampled_from(["book", "release", "let lapse"]))
    def settle_reservation(self, slot: int, who: int | None, how: str) -> None:
        row = Slot.objects.get(pk=pick(self.reserved, slot))
        patient = row.reserved_by_id if who is None else pick(self.people, who).pk
        assert patient is not None
        assert row.reserved_until is not None
        if how == "book":
            self.book(row.pk, patient)
        elif how == "release":
            self.attempt(
                lambda: slots.release(
                    slot_id=row.pk, patient_id=patient, actor=events.SYSTEM, now=self.now
                )
            )
        else:
            self.now = max(self.now, row.reserved_until)
            self.sweep(slots.release_expired, 100)

    @precondition(lambda self: self.booked)
    @rule(appointment=ANY, slot=ANY, how=st.sampled_from(["cancel", "move", "come", "miss"]))
    def change_appointment(self, appointment: int, slot: int, how: str) -> None:
        pk = self.pick_appointment(appointment)
        if how == "cancel":
            self.attempt(
                lambda: appointments.cancel(
                    appointment_id=pk, reason="test", actor=events.SYSTEM, now=self.now
                )
            )
        elif how == "move":
            self.attempt(
                lambda: appointments.reschedule(
                    appointment_id=pk,
                    slot_id=self.pick_slot(slot),
                    actor=events.SYSTEM,
                    now=self.now,
                )
            )
        else:
            if slot % 4:
                self.now = max(self.now, Appointment.objects.get(pk=pk).period.lower)
            end = appointments.complete if how == "come" else appointments.miss
            self.attempt(lambda: end(appointment_id=pk, actor=events.SYSTEM, now=self.now))

    # What staff do

    @precondition(lambda self: self.waiting)
    @rule(slot=ANY, entry=MAYBE)
    def invite(self, slot: int, entry: int | None) -> None:
        pk = None if entry is None else self.pick_entry(entry)
        self.attempt(
            lambda: invites.invite(
                slot_id=self.pick_slot(slot), entry_id=pk, actor=events.SYSTEM, now=self.now
            )
        )

    @precondition(lambda self: self.waiting and self.booked)
    @rule(appointment=ANY, entry=MAYBE)
    def invite_for(self, appointment: int, entry: int | None) -> None:
        pk = None if entry is None else self.pick_entry(entry)
        self.attempt(
            lambda: invites.invite_for(
                appointment_id=self.pick_appointment(appointment),
                entry_id=pk,
                reason="test",
                actor=events.SYSTEM,
                now=self.now,
            )
        )

    @precondition(lambda self: self.waiting)
    @rule(entry=ANY, slot=ANY)
    def promote(self, entry: int, slot: int) -> None:
        pk = self.pick_entry(entry)
        self.attempt(
            lambda: invites.promote(
                entry_id=pk, slot_id=self.pick_slot(slot), actor=events.SYSTEM, now=self.now
            )
        )

    @rule(slot=ANY, whole=st.booleans())
    def block(self, slot: int, whole: bool) -> None:
        row = Slot.objects.get(pk=pick(list(self.rows.slots), slot))
        provider = None if whole else row.provider_id
        start, end = row.period.lower, row.period.upper - 10 * MINUTE
        self.block_time(row.facility_id, start, end, provider=provider)

    def block_time(
        self, facility: UUID, start: datetime, end: datetime, *, provider: UUID | None = None
    ) -> bool:
        return self.attempt(
            lambda: blocks.create(
                facility_id=facility,
                provider_id=provider,
                starts_at=start,
                ends_at=end,
                reason="",
                actor=events.SYSTEM,
                now=self.now,
            )
        )

    @precondition(lambda self: TimeBlock.objects.exists())
    @rule(block=ANY)
    def unblock(self, block: int) -> None:
        pk = pick(list(TimeBlock.objects.order_by("pk")), block).pk
        self.attempt(lambda: blocks.remove(block_id=pk, actor=events.SYSTEM, now=self.now))

    @rule(place=ANY, changes=st.sampled_from(POLICIES))
    def change_policy(self, place: int, changes: dict[str, Any]) -> None:
        facility = pick(self.places, place).pk
        self.attempt(
            lambda: policies.change(
                facility_id=facility, changes=changes, actor=events.SYSTEM, now=self.now
            ),
            moved=self.rows.queues.get(facility, ()),
        )

    @rule(who=ANY, tier=st.integers(0, 3))
    def change_tier(self, who: int, tier: int) -> None:
        patient = pick(self.people, who).pk
        mine = WaitlistEntry.objects.filter(patient=patient).values_list("pk", flat=True)
        self.attempt(lambda: self.update_patient(patient, tier=tier), moved=list(mine))

    def update_patient(self, patient: UUID, **changes: Any) -> None:
        patients.update(patient_id=patient, changes=changes, actor=events.SYSTEM, now=self.now)
        tasks.rerank_patient(str(patient))  # sent on commit, which never comes here

    @rule(number=ANY)
    def switch_rule(self, number: int) -> None:
        """End a rule, or take it up again."""
        row = AvailabilityRule.objects.get(pk=pick(self.hours, number).pk)
        self.set_rule(row.pk, is_active=not row.is_active)

    def set_rule(self, rule: UUID, *, is_active: bool) -> bool:
        return self.attempt(
            lambda: rules.change(
                rule_id=rule,
                changes={"is_active": is_active},
                actor=events.SYSTEM,
                now=self.now,
            )
        )

    @precondition(lambda self: self.made().exists())
    @rule(slot=ANY, who=ANY, path=st.sampled_from(PATHS))
    def walk(self, slot: int, who: int, path: Sequence[str]) -> None:
        """Go a path with a slot that a rule made, as far as that is not refused."""
        row, patient = pick(list(self.made()), slot), pick(self.people, who).pk
        assert row.rule_id is not None
        given: dict[str, Any] = {"actor": events.SYSTEM, "now": self.now}
        for step in path:
            if step == "reserve":
                went = self.attempt(
                    lambda: slots.reserve(slot_id=row.pk, patient_id=patient, **given)
                )
            elif step == "book":
                went = self.book(row.pk, patient)
            elif step == "offer":
                went = self.attempt(lambda: invites.invite(slot_id=row.pk, entry_id=None, **given))
            elif step == "release":
                went = self.attempt(lambda: slots.release(slot_id=row.pk, **given))
            elif step == "cancel":
                booked = Appointment.objects.get(slot=row, status="booked").pk
                cancel = partial(appointments.cancel, appointment_id=booked, reason="test")
                went = self.attempt(partial(cancel, **given))
            elif step == "decline":
                live = Hold.objects.get(slot=row, status="offered").pk
                went = self.attempt(partial(holds.decline, hold_id=live, **given))
            elif step == "block":
                went = self.block_time(row.facility_id, row.period.lower, row.period.upper)
                self.sweep(holds.withdraw_blocked, 100)
            else:
                went = self.set_rule(row.rule_id, is_active=step == "resume the rule")
            if not went:
                return

    # What the clock brings

    @rule(by=st.sampled_from([5 * MINUTE, 20 * MINUTE, HOUR, 3 * HOUR, DAY]))
    def go_on(self, by: timedelta) -> None:
        self.now += by
        if self.is_prompt:
            for sweep in SWEEPS:
                self.sweep(sweep, 100)

    @rule(sweep=st.sampled_from(SWEEPS), limit=st.sampled_from([1, 100]))
    def sweep(self, sweep: Callable[..., int], limit: int) -> None:
        self.attempt(lambda: sweep(now=self.now, limit=limit))

    @rule()
    def fill(self) -> None:
        for place in self.places:
            self.fill_at(place.pk)

    def fill_at(self, facility: UUID, changed: Collection[UUID] | None = None) -> None:
        self.attempt(lambda: fill.fill(facility_id=facility, now=self.now, changed=changed))

    @rule()
    def generate(self) -> None:
        self.attempt(
            lambda: generation.generate(
                now=self.now,
                facility_id=self.places[0].pk,
                first=self.now.date(),
                last=(self.now + DAY).date(),
            )
        )

    @rule(limit=st.sampled_from([3, 100]))
    def relay(self, limit: int) -> None:
        last = EventSeq.objects.order_by("-seq").values_list("seq", flat=True).first() or 0
        done = relay.relay(limit=limit, now=self.now).events
        assert EventSeq.objects.filter(seq__gt=last).count() == done

    # How each step is checked

    def attempt(self, call: Callable[[], object], *, moved: Iterable[UUID] = ()) -> bool:
        """Make a step and check what it did; return whether it was not refused.

        `moved` are the entries whose place it may change.
        """
        before = self.rows
        try:
            call()
        except (Refused, ValidationError):
            assert oracle.Rows.read() == before, "a refusal that changed something"
            assert not self.listen(), "a refusal that wrote an event"
            return False
        self.rows = after = oracle.Rows.read()
        told = self.listen()
        if after == before and not told:
            return True
        self.check()
        oracle.check_told(before=before, after=after, told=told)
        oracle.check_order(before=before, after=after, moved=set(moved))
        for hold in Hold.objects.filter(pk__in=after.holds.keys() - before.holds.keys()):
            oracle.check_offer(hold=hold, now=self.now)
        self.moves.update(oracle.moves(before=before, after=after))
        if self.is_prompt:
            self.act_on(told)
        return True

    def act_on(self, told: Iterable[Event]) -> None:
        """Do what the tasks do that these events send."""
        if any(event.kind == "block.created" for event in told):
            self.sweep(holds.withdraw_blocked, 100)
        changed = defaultdict[UUID, set[UUID]](set)
        for event in told:
            if event.kind in PROMPTING:
                assert event.facility_id is not None
                changed[event.facility_id].add(event.subject_id)
        for facility, which in changed.items():
            self.fill_at(facility, which)

    def check(self) -> None:
        """Check the invariants, and what stays as it is whatever happens."""
        assert invariants.breaches() == []
        connection.check_constraints()
        oracle.check_claims()
        oracle.check_places()
        for pk, joined_at in WaitlistEntry.objects.values_list("pk", "joined_at"):
            assert self.joined.setdefault(pk, joined_at) == joined_at

    def listen(self) -> list[Event]:
        """Return the events written since the last time."""
        told = list(Event.objects.filter(pk__gt=self.heard).order_by("pk"))
        if told:
            self.heard = told[-1].pk
        return told

    # How rows are picked

    def resolve(self, wishes: dict[str, Any]) -> dict[str, Any]:
        """Put ids and times in the place of numbers and of times after MORNING."""
        found: dict[str, Any] = {}
        for name, value in wishes.items():
            if name == "provider":
                found["provider_id"] = None if value is None else self.providers[value].pk
                found["provider_required"] = value is not None and "service" in wishes
            elif name == "service":
                found["service_id"] = None if value is None else self.services[value].pk
            elif name in ("earliest", "latest"):
                found[name] = None if value is None else MORNING + value
            else:
                found[name] = value
        return found

    def made(self) -> QuerySet[Slot]:
        """Return the coming slots that a rule made and nobody has claimed."""
        coming = Slot.objects.filter(rule__isnull=False, period__startswith__gt=self.now)
        return coming.filter(status="open").order_by("period")

    @property
    def reserved(self) -> list[UUID]:
        return [pk for pk, status in self.rows.slots.items() if status == "reserved"]

    @property
    def offered(self) -> list[UUID]:
        return [pk for pk, status in self.rows.holds.items() if status == "offered"]

    @property
    def waiting(self) -> list[UUID]:
        return [pk for queue in self.rows.queues.values() for pk in queue]

    @property
    def booked(self) -> list[UUID]:
        return [pk for pk, (status, _) in self.rows.appointments.items() if status == "booked"]

    def pick_slot(self, number: int) -> UUID:
        usable = [pk for pk, status in self.rows.slots.items() if status in ("open", "booked")]
        return mostly(usable, number, otherwise=self.rows.slots)

    def pick_hold(self, number: int) -> UUID:
        return mostly(self.offered, number, otherwise=self.rows.holds)

    def pick_entry(self, number: int) -> UUID:
        return mostly(self.waiting, number, otherwise=self.rows.entries)

    def pick_appointment(self, number: int) -> UUID:
        return mostly(self.booked, number, otherwise=self.rows.appointments)


SEEDS = range(5)
#: In a run of more, most examples repeat steps of an earlier one.
EXAMPLES = 8
STEPS = 40

ENGINE_MOVES = waitlist_models.MOVES


@pytest.mark.django_db
def test_every_step_keeps_the_invariants(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="scheduling")
    Machine.moves.clear()
    bounds = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    for number in SEEDS:
        run_state_machine_as_test(seed(number)(Machine), settings=bounds)
    sought = {
        **scheduling_models.MOVES,
        "Hold": ENGINE_MOVES["Hold"],
        "WaitlistEntry": ENGINE_MOVES["WaitlistEntry"],
    }
    for name, moves in sought.items():
        assert not {move for move in moves if (name, *move) not in Machine.moves}
