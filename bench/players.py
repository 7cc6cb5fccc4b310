"""The player of a replay: simulated time, what is still to come, and the calls.

It does what the script says through the functions that production calls, and does at each instant
what its worker and its beat would do. `places` mirror the rows, so that it need not ask for them.
"""

import heapq
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from functools import partial
from random import Random
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import transaction
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange

from audit import sql
from audit.events import SYSTEM
from audit.models import Event
from bench.answers import Answers
from bench.casts import Cast
from bench.figures import Figures
from bench.places import Opening, Place, Waiter
from bench.scripts import Act, Script
from scheduling import appointments, blocks
from scheduling.models import Appointment, Provider, ProviderFacility, Service, Slot
from waitlist import entries, fill, holds
from waitlist.models import Hold, WaitlistEntry, WaitlistPolicy

BEAT = 10  # seconds between two runs of expire_holds
LIMIT = 500
DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)


class Step(NamedTuple):
    """Something to do at a time; `order` tells what comes first at the same instant."""

    at: datetime
    order: int
    number: int
    act: Act


class _Live(NamedTuple):
    """A live hold."""

    place: Place
    slot: UUID
    entry: UUID
    expires_at: datetime


class _Sale(NamedTuple):
    """A booking of a slot that was never open to anybody else."""

    slot: UUID
    appointment: UUID
    facility: UUID
    provider: UUID
    person: UUID
    period: DateTimeTZRange
    at: datetime


class Player:
    """Simulated time, what is still to come, and the calls."""

    def __init__(
        self, *, script: Script, cast: Cast, policy: WaitlistPolicy, answers: Answers,
        start: datetime,
    ) -> None:  # fmt: skip
        self.script, self.cast, self.answers = script, cast, answers
        self.now = start
        self.figures = Figures()
        self.named = {name: script.place(name, id) for name, id in cast.facilities.items()}
        self.places = {place.facility_id: place for place in self.named.values()}
        self._persons = iter(range(len(cast.people)))
        self._ahead = [Step(at, 0, n, act) for n, (at, act) in enumerate(script.steps)]
        self._number = len(self._ahead)
        self._live: dict[UUID, _Live] = {}
        self._sold: list[_Sale] = []
        self._touched: dict[UUID, set[UUID] | None] = {}  # to be filled: what changed there, or all
        self._changed: dict[UUID, None] = {}
        self._daily = policy.quiet_until or time(0)
        self._zone = ZoneInfo(script.timezone)

    def run(self, *, progress: Callable[[int], None]) -> None:
        """Play to the end of the script; what is due after it is left."""
        heapq.heapify(self._ahead)
        self._wait_for_tomorrow()
        done = 0
        while self._ahead and self._ahead[0].at <= self.script.ends_at:
            self.now = self._ahead[0].at
            while self._ahead and self._ahead[0].at == self.now:
                step = heapq.heappop(self._ahead)
                done += step.order == 0
                if step.order:
                    self._write_sold()
                step.act(self)
            progress(done)
            self._fill_touched()
        self._write_sold()
        counts = self.figures.counts
        counts["waiting at the end"] = sum(
            len(place.waiting) + len(place.offered) for place in self.places.values()
        )

    def next_person(self) -> int:
        """Return somebody who has not been there before."""
        return next(self._persons)

    def dice(self, *words: object) -> Random:
        """Return what decides a question by chance, the same for a seed."""
        return Random(":".join(map(str, (self.answers.seed, *words))))

    # What the script does

    def make_providers(self, *, place: Place, number: int) -> list[UUID]:
        """Make providers who work at a place."""
        tenant, facility_id = self.cast.tenant, place.facility_id
        made = Provider.objects.bulk_create(
            Provider(id=next(self.cast.ids), tenant=tenant, name=f"{place.name} {n}")
            for n in range(number)
        )
        ProviderFacility.objects.bulk_create(
            ProviderFacility(tenant=tenant, provider=provider, facility_id=facility_id)
            for provider in made
        )
        return [provider.pk for provider in made]

    def make_service(self, *, name: str, duration: timedelta) -> UUID:
        """Make a service."""
        tenant = self.cast.tenant
        return Service.objects.create(tenant=tenant, name=name, duration=duration).pk

    def make_slot(self, *, place: Place, provider: UUID, period: DateTimeTZRange) -> UUID:
        """Make an open slot, as generated ones are."""
        slot = next(self.cast.ids)
        sql.run(
            app="bench",
            name="insert_slot",
            params={
                "id": slot, "tenant": self.cast.tenant.pk, "facility": place.facility_id,
                "provider": provider, "period": period,
            },
        )  # fmt: skip
        place.open[slot] = Opening(self.now)
        return slot

    def sell(self, *, place: Place, provider: UUID, period: DateTimeTZRange, person: int) -> UUID:
        """Make a slot that is booked from the first, so that nobody else could have it.

        As matching has no part in it, many are written at once, before what happens next.
        """
        sale = _Sale(
            next(self.cast.ids), next(self.cast.ids), place.facility_id, provider,
            self.cast.people[person], period, self.now,
        )  # fmt: skip
        self._sold.append(sale)
        place.booked[sale.slot] = sale.appointment
        self.figures.counts["booked"] += 1
        self._changed[place.facility_id] = None
        return sale.slot

    @transaction.atomic
    def _write_sold(self) -> None:
        sold, self._sold = self._sold, []
        if not sold:
            return
        tenant = self.cast.tenant.pk
        Slot.objects.bulk_create(
            Slot(id=one.slot, tenant_id=tenant, facility_id=one.facility, provider_id=one.provider,
                 period=one.period)
            for one in sold
        )  # fmt: skip
        Slot.objects.filter(pk__in=[one.slot for one in sold]).update(status=Slot.Status.BOOKED)
        Appointment.objects.bulk_create(
            Appointment(id=one.appointment, tenant_id=tenant, slot_id=one.slot,
                        patient_id=one.person, facility_id=one.facility,
                        provider_id=one.provider, period=one.period, source="direct")
            for one in sold
        )  # fmt: skip
        Event.objects.bulk_create(
            Event(kind="appointment.booked", tenant_id=tenant, subject_type="appointment",
                  subject_id=one.appointment, actor_type=SYSTEM.type, at=one.at, slot_id=one.slot,
                  facility_id=one.facility, provider_id=one.provider, new_status="booked",
                  data={"source": "direct"})
            for one in sold
        )  # fmt: skip

    def book(self, *, place: Place, slot: UUID, person: int) -> None:
        """Book an open slot directly."""
        self._write_sold()
        appointment = appointments.book(
            slot_id=slot, patient_id=self.cast.people[person], source="direct", actor=SYSTEM,
            now=self.now,
        )  # fmt: skip
        del place.open[slot]
        place.booked[slot] = appointment.pk
        place.claim(slot=slot)
        self.figures.counts["booked"] += 1
        self._changed[place.facility_id] = None

    def cancel(self, place: Place, slot: UUID) -> None:
        """Cancel the appointment in a slot."""
        self._write_sold()
        appointments.cancel(
            appointment_id=place.booked.pop(slot), reason="patient_request", actor=SYSTEM,
            now=self.now,
        )  # fmt: skip
        place.free(slot=slot, now=self.now)
        if slot not in place.blocks:
            place.open[slot] = Opening(self.now)
        self.figures.counts["cancelled"] += 1
        self.touch(place=place, what=slot)

    def join(self, *, place: Place, person: int, wishes: Mapping[str, Any]) -> UUID:
        """Let somebody wait."""
        self._write_sold()
        entry = entries.join(
            facility_id=place.facility_id, patient_id=self.cast.people[person], wishes=wishes,
            actor=SYSTEM, now=self.now,
        )  # fmt: skip
        place.waiting[entry.pk] = Waiter(person, self.now)
        self.figures.counts["joined"] += 1
        self.touch(place=place, what=entry.pk)
        return entry.pk

    def leave(self, place: Place, entry: UUID) -> None:
        """Let somebody leave the waitlist, with what they were offered."""
        self._write_sold()
        entries.cancel(entry_id=entry, reason="no_longer_needed", actor=SYSTEM, now=self.now)
        for hold, live in list(self._live.items()):
            if live.entry == entry:
                self._withdrawn(hold)
        del place.waiting[entry]
        self.figures.counts["left"] += 1
        self._changed[place.facility_id] = None

    def block(self, *, place: Place, slot: UUID, period: DateTimeTZRange, provider: UUID) -> None:
        """Take a seat out of what can be offered; a hold on it is withdrawn, a booking stays."""
        blocked = blocks.create(
            facility_id=place.facility_id, provider_id=provider, starts_at=period.lower,
            ends_at=period.upper, reason="", actor=SYSTEM, now=self.now,
        )  # fmt: skip
        place.blocks[slot] = blocked.block.pk
        if slot in place.held:
            holds.withdraw_blocked(now=self.now, limit=LIMIT)
            for hold, live in list(self._live.items()):
                if live.slot == slot:
                    self._withdrawn(hold)
        place.open.pop(slot, None)
        self._changed[place.facility_id] = None

    def unblock(self, *, place: Place, slot: UUID) -> None:
        """Give a seat back."""
        blocks.remove(block_id=place.blocks.pop(slot), actor=SYSTEM, now=self.now)
        if slot not in place.booked:
            place.open[slot] = Opening(self.now)
        self.touch(place=place, what=slot)

    def touch(self, *, place: Place, what: UUID) -> None:
        """Have this slot filled, or what this entry may take, when the instant is over."""
        changed = self._touched.setdefault(place.facility_id, set())
        if changed is not None:
            changed.add(what)
        self._changed[place.facility_id] = None

    # What the worker and beat do

    def _fill_touched(self) -> None:
        if self._touched:
            self._write_sold()
        touched, self._touched = self._touched, {}
        for facility_id, which in touched.items():
            place = self.places[facility_id]
            # Where nobody waits or nothing is open a pass has nothing to find.
            if place.waiting and place.open:
                self._fill(place, which)
        changed, self._changed = self._changed, {}
        for facility_id in changed:
            self._note_spell(self.places[facility_id])

    def _fill(self, place: Place, changed: set[UUID] | None) -> None:
        offers = 0
        for filled in fill.passes(
            facility_id=place.facility_id, clock=lambda: self.now, changed=changed
        ):
            offers += filled.offers
            self.figures.counts["clashes"] += filled.clashes
        if not offers:
            return
        found = Hold.objects.filter(
            facility=place.facility_id, status=Hold.Status.OFFERED, offered_at=self.now
        )
        rows = found.exclude(pk__in=self._live).values_list("pk", "slot", "entry", "expires_at")
        for hold, slot, entry, expires_at in rows.order_by("entry__joined_at", "entry"):
            assert slot is not None
            self._offered(place, hold, _Live(place, slot, entry, expires_at))

    def _offered(self, place: Place, hold: UUID, live: _Live) -> None:
        counts = self.figures.counts
        self._live[hold] = live
        opening = place.held[live.slot] = place.open.pop(live.slot)
        place.claim(slot=live.slot)
        waiter = place.offered[live.entry] = place.waiting.pop(live.entry)
        waiter.offers += 1
        counts["offers"] += 1
        counts["openings offered"] += opening.wanted_since is None
        since = max(opening.opened_at, waiter.joined_at)
        opening.wanted_since = min(opening.wanted_since or since, since)
        answer = self.answers.draw(person=waiter.person, number=waiter.offers)
        if answer.accepts is not None and self.now + answer.after < live.expires_at:
            act = Player._accept if answer.accepts else Player._decline
            self._later(self.now + answer.after, 1, partial(act, hold=hold))
        seconds = -(-live.expires_at.timestamp() // BEAT) * BEAT
        self._later(datetime.fromtimestamp(seconds, UTC), 2, partial(Player._lapse, hold=hold))

    def _accept(self, hold: UUID) -> None:
        if hold not in self._live:
            return  # it was withdrawn
        place, slot, entry, _ = self._live.pop(hold)
        appointment = holds.accept(hold_id=hold, actor=SYSTEM, now=self.now)
        waiter = place.offered.pop(entry)
        opening = place.held.pop(slot)
        place.booked[slot] = appointment.pk
        place.seated[entry] = slot
        assert opening.wanted_since is not None
        self.figures.counts["refills"] += 1
        self.figures.refill_minutes.append((self.now - opening.wanted_since) / MINUTE)
        self.figures.wait_days.append((self.now - waiter.joined_at) / DAY)
        self._changed[place.facility_id] = None

    def _decline(self, hold: UUID) -> None:
        if hold not in self._live:
            return
        holds.decline(hold_id=hold, actor=SYSTEM, now=self.now)
        self.figures.counts["declined"] += 1
        self._settle([hold])

    def _lapse(self, hold: UUID) -> None:
        if hold not in self._live:
            return
        while holds.expire_due(now=self.now, limit=LIMIT):
            pass
        due = [one for one, live in self._live.items() if live.expires_at <= self.now]
        self.figures.counts["lapsed"] += len(due)
        self._settle(due)

    def _withdrawn(self, hold: UUID) -> None:
        self.figures.counts["withdrawn"] += 1
        place, slot, entry, _ = self._live.pop(hold)
        self._reopen(place, slot)
        place.waiting[entry] = place.offered.pop(entry)
        self.touch(place=place, what=entry)

    def _settle(self, hold_ids: Sequence[UUID]) -> None:
        """Learn what became of slots and entries whose offers came to nothing."""
        closed = [self._live.pop(hold) for hold in hold_ids]
        found = WaitlistEntry.objects.filter(pk__in=[live.entry for live in closed])
        status = dict(found.values_list("pk", "status"))
        for place, slot, entry, _ in closed:
            self._reopen(place, slot)
            waiter = place.offered.pop(entry)
            if status[entry] == WaitlistEntry.Status.WAITING:
                place.waiting[entry] = waiter
                self.touch(place=place, what=entry)
            else:
                self.figures.counts["expired"] += 1

    def _reopen(self, place: Place, slot: UUID) -> None:
        place.open[slot] = place.held.pop(slot)
        place.free(slot=slot, now=self.now)
        self.touch(place=place, what=slot)

    def _run_daily(self) -> None:
        while entries.expire_due(now=self.now, limit=LIMIT):
            pass
        found = WaitlistEntry.objects.filter(
            status=WaitlistEntry.Status.EXPIRED, closed_at=self.now
        )
        for entry, facility_id in found.values_list("pk", "facility"):
            if self.places[facility_id].waiting.pop(entry, None):
                self.figures.counts["expired"] += 1
                self._changed[facility_id] = None
        for facility_id in fill.facilities(now=self.now):
            self._touched[facility_id] = None
        self._wait_for_tomorrow()

    def _wait_for_tomorrow(self) -> None:
        day = self.now.astimezone(self._zone).date()
        at = datetime.combine(day, self._daily, tzinfo=self._zone).astimezone(UTC)
        if at <= self.now:
            tomorrow = day + DAY
            at = datetime.combine(tomorrow, self._daily, tzinfo=self._zone).astimezone(UTC)
        self._later(at, 3, Player._run_daily)

    def _later(self, at: datetime, order: int, act: Act) -> None:
        self._number += 1
        heapq.heappush(self._ahead, Step(at, order, self._number, act))

    def _note_spell(self, place: Place) -> None:
        """Measure for how long a seat stood open, offered or not, while people waited."""
        stands = bool(place.open or place.held) and bool(place.waiting or place.offered)
        if stands and place.stood_since is None:
            place.stood_since = self.now
        elif not stands and place.stood_since is not None:
            minutes = (self.now - place.stood_since) / MINUTE
            if minutes:
                self.figures.spell_minutes.append(minutes)
            place.stood_since = None
