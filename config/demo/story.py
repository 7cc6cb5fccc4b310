"""The story: what people do at one facility, and what the worker and beat make of it.

Here people book, join, cancel, decline and accept. What follows from that is done by the worker,
which a message on commit calls, and by beat; the story waits until it sees it in the database.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from accounts.models import Language
from audit import clock
from audit.events import Actor
from config.demo import answers, seed, supervisor
from config.demo.catcher import Caught
from config.demo.seed import Place
from config.demo.stage import PATIENCE, Refill, Stage
from notifications import whatsapp, words
from notifications.models import Channel
from notifications.words import Meaning
from scheduling import appointments, generation, rules
from scheduling.models import Appointment, AvailabilityRule, Patient, Slot
from waitlist import entries, holds, ranking
from waitlist.models import ACTIVE, Hold, WaitlistEntry, WaitlistPolicy

FILL = ("waitlist.tasks.fill_facility", "waitlist.tasks.fill_facilities")


@dataclass(frozen=True, kw_only=True)
class Joiner:
    """Somebody who will wait: what gives them priority, and how they answer an offer."""

    patient: Patient
    why: str = ""
    urgency: int = 0
    answer: str = ""
    #: How they are told and answer, besides by mail; and in which language.
    channel: Channel = Channel.EMAIL
    language: Language = Language.EN


@dataclass(frozen=True, kw_only=True)
class Scene(Stage):
    """A place, and what is needed to tell of it."""

    place: Place

    @property
    def zone(self) -> ZoneInfo:
        """The zone that its times are told in."""
        return self.place.zone


def play(*, scene: Scene, joiners: Sequence[Joiner]) -> Refill:
    """Play the whole story: a full day, those who wait, a cancellation, and what follows.

    :raises Unseen, ChildEnded: see `supervisor.until`.
    """
    slots = open_day(scene=scene)
    book_day(scene=scene, slots=slots)
    waiting = join(scene=scene, joiners=joiners)
    slot = slots[len(slots) // 2]
    cancelled = cancel(scene=scene, slot=slot)
    freed_at = cancelled
    who: dict[UUID | None, Joiner] = {joiner.patient.pk: joiner for joiner in joiners}
    for offers, entry in enumerate(waiting, start=1):
        hold = see_offer(scene=scene, slot=slot, entry=entry, freed_at=freed_at)
        if offers == 1:
            offered = hold.offered_at
        joiner = who[hold.patient_id]
        told = see_told(scene=scene, hold=hold, joiner=joiner)
        if joiner.answer == "accept":
            converted = accept(scene=scene, hold=hold, told=told)
            break
        if joiner.answer == "decline":
            freed_at = decline(scene=scene, hold=hold, told=told)
        else:
            freed_at = see_lapse(scene=scene, hold=hold)
    tell_rest(scene=scene)
    return Refill(
        facility=scene.place.facility,
        offers=offers,
        to_offer=offered - cancelled,
        to_refill=converted - cancelled,
    )


def open_day(*, scene: Scene) -> list[Slot]:
    """Make slots from opening hours; return those of the day."""
    place = scene.place
    day = f"{place.day:%A %d %B %Y}"
    if place.hours:
        rules.add(
            facility_id=place.facility.pk,
            provider_id=place.provider.pk,
            service_id=place.service.pk if place.service else None,
            weekday=place.day.isoweekday(),
            start_time=place.hours.opens,
            end_time=place.hours.closes,
            slot_minutes=place.hours.minutes,
            actor=seed.desk(tenant=place.facility.tenant),
            now=clock.now(),
        )
    else:
        generation.generate(
            now=clock.now(),
            facility_id=place.facility.pk,
            provider_id=place.provider.pk,
            first=place.day,
            last=place.day + generation.HORIZON,
        )
    weekly = AvailabilityRule.objects.filter(
        facility=place.facility, provider=place.provider, weekday=place.day.isoweekday()
    )
    hours = " and ".join(
        f"{rule.start_time:%H:%M}-{rule.end_time:%H:%M}" for rule in weekly.order_by("start_time")
    )
    # A practice that was imported has one provider, who is called the same.
    who = dict.fromkeys([str(place.provider), str(place.facility)])
    scene.narrator.step(f"{' at '.join(who)} is open on {place.day:%A}s, {hours}.")
    open_slots = Slot.objects.filter(facility=place.facility, status=Slot.Status.OPEN)
    slots = scene.until(
        step=f"slots of {place.provider} on {day}",
        look=lambda: list(
            open_slots.filter(period__contained_by=(place.opens, place.closes)).order_by("period")
        ),
        seconds=1,
    )
    times = " ".join(scene.clock(slot.period.lower) for slot in slots)
    scene.narrator.detail(
        f"So there are {open_slots.count()} slots in the next weeks, {len(slots)} on {day}:"
    )
    scene.narrator.detail(times)
    return slots


def book_day(*, scene: Scene, slots: Sequence[Slot]) -> None:
    """Let people book every slot."""
    patients = seed.people(tenant=scene.place.facility.tenant, count=len(slots))
    for slot, patient in zip(slots, patients, strict=True):
        appointments.book(
            slot_id=slot.pk,
            patient_id=patient.pk,
            source=Appointment.Source.DIRECT,
            actor=acting(patient.pk),
            now=clock.now(),
        )
    ids = [slot.pk for slot in slots]
    scene.until(
        step="a full day",
        look=lambda: Slot.objects.filter(pk__in=ids, status=Slot.Status.BOOKED).count() == len(ids),
        seconds=1,
    )
    scene.narrator.step(f"{len(slots)} people book. The day is full.")


def join(*, scene: Scene, joiners: Sequence[Joiner]) -> list[WaitlistEntry]:
    """Let people join the waitlist for that day; return them in the order of the queue."""
    place = scene.place
    for joiner in joiners:
        seed.prefer(
            patient=joiner.patient,
            channel=joiner.channel,
            language=joiner.language,
            now=clock.now(),
        )
    joined = [
        entries.join(
            facility_id=place.facility.pk,
            patient_id=joiner.patient.pk,
            actor=acting(joiner.patient.pk),
            now=clock.now(),
            wishes={
                "service_id": place.service.pk if place.service else None,
                "earliest": place.opens,
                "latest": place.closes,
                "urgency": joiner.urgency,
            },
        )
        for joiner in joiners
    ]
    why: dict[UUID | None, str] = {joiner.patient.pk: joiner.why for joiner in joiners}
    ids = [entry.pk for entry in joined]
    found = scene.until(
        step="everybody waiting",
        look=lambda: list(WaitlistEntry.objects.filter(pk__in=ids, status="waiting")),
        seconds=1,
    )
    waiting = sorted(found, key=lambda entry: ranking.position(entry=entry) or 0)
    scene.narrator.step(
        f"{len(joined)} people join the waitlist for that day, one after the other. The order:"
    )
    tell_queue(scene=scene, waiting=waiting, remarks=[why[entry.patient_id] for entry in waiting])
    return waiting


def cancel(*, scene: Scene, slot: Slot) -> datetime:
    """Let the patient of a slot cancel; return when."""
    appointment = Appointment.objects.select_related("patient").get(
        slot=slot, status=Appointment.Status.BOOKED
    )
    appointments.cancel(
        appointment_id=appointment.pk,
        reason="patient_request",
        actor=acting(appointment.patient_id),
        now=clock.now(),
    )
    at = scene.until(
        step="the cancellation",
        look=lambda: Appointment.objects.get(pk=appointment.pk).cancelled_at,
        seconds=1,
    )
    scene.narrator.step(
        f"{appointment.patient} cancels {scene.clock(slot.period.lower)}."
        " All that follows is done by the worker."
    )
    return at


def see_offer(*, scene: Scene, slot: Slot, entry: WaitlistEntry, freed_at: datetime) -> Hold:
    """See the worker hold a slot for an entry, without any help from here."""
    hold = scene.until(
        step=f"an offer of {scene.clock(slot.period.lower)} to {entry.patient}",
        look=lambda: (
            Hold.objects.select_related("patient")
            .filter(
                slot=slot,
                entry=entry,
                status=Hold.Status.OFFERED,
                source__in=(Hold.Source.SCAN, Hold.Source.CASCADE),
                slot__status=Slot.Status.HELD,
                entry__status=WaitlistEntry.Status.OFFERED,
            )
            .first()
        ),
        seconds=PATIENCE,
    )
    scene.tell_offer(hold=hold, who=hold.patient, what=scene.clock(slot.period.lower))
    scene.see_held(hold=hold, tasks=FILL, freed_at=freed_at)
    return hold


def see_told(*, scene: Scene, hold: Hold, joiner: Joiner) -> Caught:
    """See the offer arrive where its patient is told of it."""
    address = joiner.patient.email if joiner.channel == Channel.EMAIL else joiner.patient.phone
    since = hold.offered_at

    def look() -> Caught | None:
        last = scene.catcher.last(channel=joiner.channel, address=address)
        return last if last and last.at >= since else None

    told = scene.until(
        step=f"the offer to {hold.patient} by {joiner.channel.label}", look=look, seconds=PATIENCE
    )
    scene.narrator.detail(f"{joiner.channel.label}: {told.subject or told.text}")
    return told


def answer(*, scene: Scene, hold: Hold, told: Caught, meaning: Meaning) -> str:
    """Let somebody answer where they are told, and return how they did.

    By mail it is as on the page that its link leads to.
    """
    try:
        if told.channel == Channel.WHATSAPP:
            payload = whatsapp.button(meaning=meaning, hold_id=hold.pk)
            answers.press(catcher=scene.catcher, message=told, payload=payload)
            return "by a button on WhatsApp"
        if told.channel == Channel.SMS:
            assert hold.patient is not None
            known = words.WORDS[hold.patient.language].get(meaning, meaning)
            word = known.split()[0].upper()
            answers.write(catcher=scene.catcher, message=told, text=word)
            return f"by an SMS that says {word}"
    except OSError as error:
        raise supervisor.Unseen(f"an answer that web takes: {error}") from None
    act = holds.accept if meaning == Meaning.YES else holds.decline
    act(hold_id=hold.pk, actor=acting(hold.patient_id), now=clock.now())
    return "on the page of the offer"


def decline(*, scene: Scene, hold: Hold, told: Caught) -> datetime:
    """Let somebody say no; return when."""
    how = answer(scene=scene, hold=hold, told=told, meaning=Meaning.NO)
    scene.narrator.step(f"{hold.patient} answers {how}.")
    return see_closed(scene=scene, hold=hold, how=Hold.Status.DECLINED)


def see_lapse(*, scene: Scene, hold: Hold) -> datetime:
    """See an offer that nobody answers end by itself; return when."""
    at = see_closed(scene=scene, hold=hold, how=Hold.Status.EXPIRED)
    scene.see_swept(hold=hold, at=at)
    return at


def see_closed(*, scene: Scene, hold: Hold, how: Hold.Status) -> datetime:
    """See an offer end, and what its policy makes of the entry; return when it ended."""
    closed = scene.until(
        step=f"the {how} offer of {hold.patient}",
        look=lambda: Hold.objects.filter(pk=hold.pk, status=how).first(),
        seconds=(hold.expires_at - hold.offered_at).total_seconds() + PATIENCE,
    )
    policy = WaitlistPolicy.objects.get(facility=scene.place.facility)
    requeues = "requeue" in (
        policy.on_decline if how == Hold.Status.DECLINED else policy.on_hold_expiry
    )
    status = WaitlistEntry.Status.WAITING if requeues else WaitlistEntry.Status.EXPIRED
    entry = scene.until(
        step=f"{hold.patient} {status} after that",
        look=lambda: WaitlistEntry.objects.filter(pk=hold.entry_id, status=status).first(),
        seconds=PATIENCE,
    )
    does = "declines" if how == Hold.Status.DECLINED else "lets the time run out"
    position = ranking.position(entry=entry)
    then = f"is back on the list, at place {position}" if requeues else "is off the list"
    scene.narrator.step(f"{hold.patient} {does} and {then}, as the policy here says.")
    if requeues and hold.period:
        start = scene.clock(hold.period.lower)
        scene.narrator.detail(f"Nobody is asked twice about {start}: it goes to the next.")
    assert closed.closed_at is not None
    return closed.closed_at


def accept(*, scene: Scene, hold: Hold, told: Caught) -> datetime:
    """Let somebody say yes, and see that the slot is theirs; return when."""
    how = answer(scene=scene, hold=hold, told=told, meaning=Meaning.YES)
    scene.narrator.step(f"{hold.patient} answers {how}.")
    entry = scene.until(
        step=f"{hold.patient} booked in the freed slot",
        look=lambda: WaitlistEntry.objects.filter(
            pk=hold.entry_id,
            status=WaitlistEntry.Status.CONVERTED,
            appointment__slot=hold.slot_id,
            appointment__status=Appointment.Status.BOOKED,
            appointment__source=Appointment.Source.WAITLIST,
            appointment__slot__status=Slot.Status.BOOKED,
        ).first(),
        seconds=1,
    )
    assert entry.closed_at is not None
    assert hold.period is not None
    start = scene.clock(hold.period.lower)
    scene.narrator.step(f"{hold.patient} accepts. {start} is booked again: the day is full.")
    return entry.closed_at


def tell_rest(*, scene: Scene) -> None:
    """Tell who still waits."""
    found = WaitlistEntry.objects.filter(ACTIVE, facility=scene.place.facility)
    waiting = sorted(found, key=lambda entry: ranking.position(entry=entry) or 0)
    if waiting:
        scene.narrator.detail("Still on the list:")
        tell_queue(scene=scene, waiting=waiting, remarks=[""] * len(waiting))


def tell_queue(*, scene: Scene, waiting: Sequence[WaitlistEntry], remarks: Sequence[str]) -> None:
    """Tell the order of a queue, and why it is that."""
    policy = WaitlistPolicy.objects.get(facility=scene.place.facility)
    now = clock.now()
    scored = policy.ordering == WaitlistPolicy.Ordering.SCORE
    scene.narrator.table(
        [
            f"{ranking.position(entry=entry)}.",
            entry.patient,
            f"priority {ranking.priority_score(entry=entry, policy=policy, now=now):.0f}"
            if scored
            else f"since {scene.clock(entry.joined_at, form='%H:%M:%S %Z')}",
            remark,
        ]
        for entry, remark in zip(waiting, remarks, strict=True)
    )


def acting(patient_id: UUID | None) -> Actor:
    """Name a patient as the one who acts."""
    return Actor("patient", patient_id)
