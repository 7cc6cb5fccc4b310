"""The venue's story: who asked for a venue that has no room waits, and is offered it when it has.

The organizers and the venue's owner do all that they do over the API. What follows from that is
done by the worker, and by beat; the story waits until it sees it in the database.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from accounts.models import Tenant
from audit import clock
from availability.models import VenueAvailability
from availability.tasks import infer
from config.demo import clients, seed
from config.demo.clients import Client
from config.demo.stage import PATIENCE, Refill, Stage
from config.demo.supervisor import Unseen
from scheduling.models import Facility
from waitlist.models import CircuitBreaker, Hold, WaitlistEntry, WaitlistPolicy

CASCADE = ("waitlist.tasks.offer_vacancy",)
INFER = ("availability.tasks.infer",)

#: How many offers in a row end without an answer before they stop.
LAPSES = 2

#: What the organizers ask venues for: title, event type, people.
WISHES = (
    ("Spring gala", "gala", 120),
    ("Product launch", "launch", 90),
    ("Annual congress", "congress", 200),
)


@dataclass(frozen=True, kw_only=True)
class Organizer:
    """One who asks for venues, and what for."""

    name: str
    email: str
    path: str
    client: Client
    title: str
    event_type: str
    people: int


@dataclass(frozen=True, kw_only=True)
class Waiter:
    """An organizer, and their entry."""

    organizer: Organizer
    entry: UUID

    @property
    def path(self) -> str:
        """Where the entry is in the API."""
        return f"{self.organizer.path}/waitlists/{self.entry}"


@dataclass(frozen=True, kw_only=True)
class Scene(Stage):
    """A venue with its owner, the organizers, and what is needed to tell of them."""

    venue: Facility
    owner: Client
    organizers: Sequence[Organizer]

    @property
    def zone(self) -> ZoneInfo:
        """The zone of the venue."""
        return ZoneInfo(self.venue.timezone)

    @property
    def path(self) -> str:
        """Where the venue is in the API."""
        return f"venues/{self.venue.pk}"


def with_wishes(*, organizers: Sequence[Tenant], site: str) -> list[Organizer]:
    """Return the organizers, logged in, each with something to ask for."""
    return [
        Organizer(
            name=tenant.name,
            email=seed.admin(tenant=tenant).email,
            path=f"organizations/{tenant.pk}",
            client=clients.log_in(site=site, tenant=tenant),
            title=title,
            event_type=event_type,
            people=people,
        )
        for tenant, (title, event_type, people) in zip(organizers, WISHES, strict=True)
    ]


def hurry(*, scene: Scene, hold: timedelta) -> None:
    """Make the venue's waitlist quick enough to watch.

    Written to the table, since nobody may change this of a venue: an owner could count who waits.
    """
    WaitlistPolicy.objects.filter(facility=scene.venue).update(
        hold_window=hold,
        min_hold=timedelta(seconds=1),
        reminder_lead=None,
        breaker_threshold=LAPSES,
    )


def play(*, scene: Scene) -> Refill:
    """Play the whole story: RFPs, a venue without room, those who wait, and what follows.

    :raises Unseen, ChildEnded: see `supervisor.until`.
    """
    copies = ask(scene=scene)
    see_full(scene=scene)
    first, second, third = wait(scene=scene, copies=copies)
    freed_at = free(scene=scene)
    hold = see_offer(scene=scene, waiter=first, freed_at=freed_at)
    to_offer = hold.offered_at - freed_at
    lapsed_at = see_lapse(scene=scene, waiter=first, hold=hold)
    hold = see_offer(scene=scene, waiter=second, freed_at=lapsed_at)
    see_lapse(scene=scene, waiter=second, hold=hold)
    see_stopped(scene=scene)
    again = join(organizer=first.organizer, copy=copies[0])
    scene.narrator.step(
        f"{first.organizer.name} joins again, at place {place(waiter=again)}:"
        " one may, but nobody is offered anything now."
    )
    resume(scene=scene)
    see_offer(scene=scene, waiter=third, freed_at=None)
    converted_at = convert(scene=scene, waiter=third)
    scene.narrator.detail(
        f"That room is taken, so nobody else is asked: {again.organizer.name} goes on waiting,"
        f" at place {place(waiter=again)}."
    )
    return Refill(
        facility=scene.venue, offers=3, to_offer=to_offer, to_refill=converted_at - freed_at
    )


def ask(*, scene: Scene) -> list[str]:
    """Let organizers send RFPs to the venue, and its owner say that it has no room.

    Returns the venue's copies of the RFPs, in the organizers' order.
    """
    copies = []
    for one in scene.organizers:
        rfp = one.client.post(f"{one.path}/rfps", _contents(scene=scene, organizer=one))
        one.client.post(f"{one.path}/rfps/{rfp['id']}/send")
        [copy] = rfp["rfp_venues"]
        copies.append(str(copy["id"]))
    scene.narrator.step(f"{len(copies)} organizers send {scene.venue} an RFP, over the API:")
    scene.narrator.table(
        (one.name, one.title, f"for {one.people} people") for one in scene.organizers
    )
    for copy in received(scene=scene):
        respond(scene=scene, copy=copy["id"], availability="unavailable")
    scene.narrator.step("Its owner answers each of them: unavailable.")
    return copies


def received(*, scene: Scene) -> list[Any]:
    """Return the RFPs that the owner has not answered yet."""
    found: list[Any] = scene.owner.get(f"{scene.path}/rfps?status=pending")["results"]
    return found


def respond(*, scene: Scene, copy: str, availability: str) -> None:
    """Let the owner answer an RFP."""
    scene.owner.post(f"{scene.path}/rfps/{copy}/respond", {"availability": availability})


def see_full(*, scene: Scene) -> None:
    """See what the worker makes of the answers, and what everybody is shown."""
    infer.delay()
    inferred_at = scene.until(
        step=f"{scene.venue} shown as fully booked",
        look=lambda: (
            VenueAvailability.objects.filter(
                facility=scene.venue, status=VenueAvailability.Status.FULLY_BOOKED
            )
            .values_list("last_inferred_at", flat=True)
            .first()
        ),
        seconds=PATIENCE,
    )
    summary = scene.owner.get(f"{scene.path}/availability")["signal_summary"]
    scene.narrator.step(
        f"{summary['unavailable_ratio']:.0%} of its answers of the last"
        f" {summary['period_days']} days say so. Its badge, for everybody to see:"
        f" {badge(scene=scene)}."
    )
    scene.see_run(tasks=INFER, count="changed", at=inferred_at)
    scene.narrator.detail(
        "Inferred by the worker's infer, which beat calls every 6 hours; here it is sent at once."
    )


def badge(*, scene: Scene) -> str:
    """Read the badge as somebody who is not logged in."""
    shown = Client(site=scene.catcher.site).get(f"{scene.path}/availability/status")
    return f"{shown['badge_label']} ({shown['badge_color']})"


def wait(*, scene: Scene, copies: Sequence[str]) -> list[Waiter]:
    """Let organizers wait for the venue, and see that its owner does not notice."""
    before = owners_view(scene=scene)
    waiters = [
        join(organizer=one, copy=copy) for one, copy in zip(scene.organizers, copies, strict=True)
    ]
    scene.narrator.step(
        f"With that answer they join the waitlist of {scene.venue}. Each reads their own place:"
    )
    scene.narrator.table(
        (f"{place(waiter=one)}.", one.organizer.name, one.organizer.title) for one in waiters
    )
    after = owners_view(scene=scene)
    if after != before:
        raise Unseen(f"the owner seeing the same whoever waits: {after} after {before}")
    scene.narrator.step(
        "The owner reads what they read before anybody joined: neither who waits nor how many."
    )
    scene.narrator.detail(f"Their list of who waits here: {after['waitlists']['total']} entries.")
    return waiters


def join(*, organizer: Organizer, copy: str) -> Waiter:
    """Let an organizer wait for the venue that answered this copy of an RFP."""
    path = f"{organizer.path}/waitlists"
    entry = organizer.client.post(path, {"source_rfp_venue_id": copy})
    return Waiter(organizer=organizer, entry=UUID(entry["id"]))


def place(*, waiter: Waiter) -> int:
    """Return an organizer's place in the queue, as they read it."""
    return int(waiter.organizer.client.get(waiter.path)["queue_position"])


def owners_view(*, scene: Scene) -> dict[str, Any]:
    """Return what the owner reads of who waits, of RFPs and of what is shown."""
    paths = {
        "waitlists": f"waitlists?facility={scene.venue.pk}",
        "rfps": f"{scene.path}/rfps",
        "availability": f"{scene.path}/availability",
    }
    return {name: scene.owner.get(path) for name, path in paths.items()}


def free(*, scene: Scene) -> datetime:
    """Let the owner show that the venue has room; return when."""
    shown = {"availability_status": VenueAvailability.Status.ACCEPTING_EVENTS}
    scene.owner.put(f"{scene.path}/availability", shown)
    vacant = VenueAvailability.objects.filter(facility=scene.venue, vacant_since__isnull=False)
    freed_at = scene.until(
        step=f"{scene.venue} with room",
        look=lambda: vacant.values_list("vacant_since", flat=True).first(),
        seconds=1,
    )
    scene.narrator.step(
        f"The owner shows that {scene.venue} has room: {badge(scene=scene)}."
        " What follows is done by the worker."
    )
    return freed_at


def see_offer(*, scene: Scene, waiter: Waiter, freed_at: datetime | None) -> Hold:
    """See the venue held for an organizer, and a mail that tells them.

    The worker does it when the venue is free; without `freed_at` it was done as the owner resumed.
    """
    one = waiter.organizer
    hold = scene.until(
        step=f"an offer of {scene.venue} to {one.name}",
        look=lambda: Hold.objects.filter(
            entry=waiter.entry,
            slot=None,
            status=Hold.Status.OFFERED,
            entry__status=WaitlistEntry.Status.OFFERED,
        ).first(),
        seconds=PATIENCE,
    )
    scene.tell_offer(hold=hold, who=one.name, what=str(scene.venue))
    if freed_at is not None:
        scene.see_held(hold=hold, tasks=CASCADE, freed_at=freed_at)
    scene.see_mail(email=one.email, about="has room again", since=hold.offered_at)
    return hold


def see_lapse(*, scene: Scene, waiter: Waiter, hold: Hold) -> datetime:
    """See an offer that nobody answers end by itself, and its entry with it; return when."""
    closed_at = scene.until(
        step=f"the end of the offer to {waiter.organizer.name}",
        look=lambda: (
            Hold.objects.filter(
                pk=hold.pk,
                status=Hold.Status.EXPIRED,
                entry__status=WaitlistEntry.Status.EXPIRED,
            )
            .values_list("closed_at", flat=True)
            .first()
        ),
        seconds=(hold.expires_at - hold.offered_at).total_seconds() + PATIENCE,
    )
    scene.narrator.step(
        f"{waiter.organizer.name} lets the time run out and is off the list, as the policy here"
        " says."
    )
    scene.see_swept(hold=hold, at=closed_at)
    return closed_at


def see_stopped(*, scene: Scene) -> None:
    """See the breaker stop the offers, and its owner be asked."""
    tripped = CircuitBreaker.objects.filter(
        facility=scene.venue, status=CircuitBreaker.Status.TRIPPED
    )
    tripped_at = scene.until(
        step="a breaker that stops the offers",
        look=lambda: tripped.values_list("tripped_at", flat=True).first(),
        seconds=PATIENCE,
    )
    scene.narrator.step(
        f"{LAPSES} offers in a row had no answer: the breaker stops them, and the owner is asked."
    )
    email = seed.admin(tenant=scene.venue.tenant).email
    scene.see_mail(email=email, about="offers have stopped", since=tripped_at)


def resume(*, scene: Scene) -> None:
    """Let the owner say that offers go on."""
    answer = scene.owner.post(
        f"{scene.path}/waitlist-circuit-breaker/resolve", {"action": "resume"}
    )
    if not answer["next_entry_offered"]:
        raise Unseen(f"the next being offered {scene.venue} when offers go on: {answer}")
    scene.narrator.step(
        "The owner lets offers go on, and reads that the next is asked: not who that is, nor"
        " whether others wait."
    )


def convert(*, scene: Scene, waiter: Waiter) -> datetime:
    """Let an organizer accept, see a new RFP drafted, and let it be sent; return when."""
    one = waiter.organizer
    rfp = one.client.post(f"{waiter.path}/convert")["new_rfp"]
    entry = scene.until(
        step=f"{one.name} converted, and {scene.venue} taken",
        look=lambda: WaitlistEntry.objects.filter(
            pk=waiter.entry,
            status=WaitlistEntry.Status.CONVERTED,
            converted_rfp=rfp["id"],
            facility__availability__vacant_since=None,
        ).first(),
        seconds=1,
    )
    assert entry.closed_at is not None
    scene.narrator.step(
        f"{one.name} accepts: a new RFP, {rfp['title']}, is drafted for {scene.venue} alone."
    )
    scene.see_mail(email=one.email, about="request is drafted", since=entry.closed_at)
    scene.narrator.step(f"Only now the owner learns of {one.name}.")
    owner = seed.admin(tenant=scene.venue.tenant)
    scene.see_mail(email=owner.email, about="offer was accepted", since=entry.closed_at)
    one.client.post(f"{one.path}/rfps/{rfp['id']}/send")
    [copy] = received(scene=scene)
    scene.narrator.step("They send it, and the owner confirms.")
    respond(scene=scene, copy=copy["id"], availability="confirmed")
    one.client.post(f"{one.path}/rfps/{rfp['id']}/award", {"rfp_venue": copy["id"]})
    scene.narrator.step(f"{one.name} chooses {scene.venue} for {rfp['title']}.")
    return entry.closed_at


def _contents(*, scene: Scene, organizer: Organizer) -> dict[str, Any]:
    """Return what an organizer asks the venue for, some weeks ahead."""
    now = clock.now()
    day = now.astimezone(scene.zone).date() + timedelta(days=60)
    return {
        "title": organizer.title,
        "event_type": organizer.event_type,
        "preferred_dates_start": day.isoformat(),
        "preferred_dates_end": (day + timedelta(days=1)).isoformat(),
        "attendance_min": organizer.people // 2,
        "attendance_max": organizer.people,
        "response_deadline": (now + timedelta(days=7)).isoformat(),
        "venues": [str(scene.venue.pk)],
    }
