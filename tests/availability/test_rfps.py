"""The life of an RFP, and what each step tells."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.core.exceptions import ValidationError
from django.db import connection

from accounts.models import Tenant
from audit.errors import NotFound, Refused, Stale
from audit.models import Event
from availability import rfps, signals, tasks
from availability.models import MOVES, Rfp, RfpVenue, Signal
from tests import factories
from tests.venues import DEADLINE, OWNER, Scene, contents, open_venue, set_scene
from tests.waitlist.worlds import DAY, NOW, SECOND, STAFF

pytestmark = pytest.mark.django_db


@pytest.fixture
def scene() -> Scene:
    return set_scene()


def told(**columns: Any) -> list[tuple[Any, ...]]:
    """Return the events: kind, about what, status before and after."""
    found = Event.objects.filter(kind__startswith="rfp.", **columns).order_by("pk")
    return list(found.values_list("kind", "subject_type", "previous_status", "new_status"))


def signalled() -> list[tuple[Any, ...]]:
    return list(Signal.objects.order_by("pk").values_list("type", "facility_id"))


# Drafts


def test_a_draft_goes_to_venues_that_do_not_see_it_yet(scene: Scene) -> None:
    rfp = scene.draft()
    assert (rfp.status, rfp.tenant, rfp.version) == ("draft", scene.organizer, 1)
    target = scene.target(rfp)
    assert (target.status, target.tenant, target.response) == ("pending", scene.organizer, None)
    assert told() == [("rfp.drafted", "rfp", None, "draft")]
    assert Event.objects.get().tenant_id == scene.organizer.pk
    with pytest.raises(NotFound):
        scene.answer(rfp)


@pytest.mark.parametrize("why", ["clinic", "closed", "own", "nothing"])
def test_only_open_venues_of_others_are_asked(scene: Scene, why: str) -> None:
    facility = {
        "clinic": lambda: factories.FacilityFactory.create(),
        "closed": lambda: open_venue(is_active=False),
        "own": lambda: open_venue(tenant=scene.organizer),
        "nothing": lambda: scene.venue.__class__(pk=uuid4()),
    }[why]()
    with pytest.raises(NotFound, match=str(facility.pk)):
        scene.draft(to=[facility])
    assert not Rfp.objects.exists()


def test_only_organizers_ask() -> None:
    clinic = factories.TenantFactory.create(kind=Tenant.Kind.CLINIC)
    with pytest.raises(NotFound, match="organizer"):
        Scene(clinic, open_venue()).draft()


def test_a_draft_can_be_edited(scene: Scene) -> None:
    rfp = scene.draft()
    others = [open_venue(), open_venue()]
    edited = rfps.edit(rfp_id=rfp.pk, changes={"title": "Autumn gala"}, version=rfp.version)
    assert (edited.title, edited.version) == ("Autumn gala", 2)
    edited = rfps.edit(rfp_id=rfp.pk, changes={}, venue_ids=[one.pk for one in others])
    assert edited.version == 3
    assert set(rfp.targets.values_list("facility", flat=True)) == {one.pk for one in others}
    same = rfps.edit(rfp_id=rfp.pk, changes={}, venue_ids=[one.pk for one in others])
    assert same.version == 3
    with pytest.raises(Stale):
        rfps.edit(rfp_id=rfp.pk, changes={"title": "Mine"}, version=2)
    with pytest.raises(ValidationError) as caught:
        rfps.edit(rfp_id=rfp.pk, changes={"title": ""})
    assert list(caught.value.error_dict) == ["title"]


def test_a_sent_rfp_cannot_change(scene: Scene) -> None:
    rfp = scene.send()
    with pytest.raises(rfps.NotDraft):
        rfps.edit(rfp_id=rfp.pk, changes={"title": "Autumn gala"})
    with pytest.raises(rfps.NotDraft):
        rfps.edit(rfp_id=rfp.pk, changes={}, venue_ids=[])
    with pytest.raises(rfps.NotDraft):
        rfps.discard(rfp_id=rfp.pk, actor=STAFF, now=NOW)
    rfp.refresh_from_db()
    assert (rfp.title, rfp.status) == ("Spring gala", "sent")


def test_an_organizer_has_five_active_rfps(scene: Scene) -> None:
    first = [scene.draft() for _ in range(3)]
    second = [scene.send() for _ in range(2)]
    with pytest.raises(rfps.TooManyRfps):
        scene.draft()
    with pytest.raises(rfps.TooManyRfps):
        rfps.copy_as_draft(
            source_rfp=first[0], facility=scene.venue, deadline=DEADLINE, actor=STAFF, now=NOW
        )
    Scene(factories.TenantFactory.create(kind="organizer"), scene.venue).draft()
    rfps.discard(rfp_id=first[0].pk, actor=STAFF, now=NOW)
    scene.draft()
    scene.answer(second[0])
    rfps.award(rfp_id=second[0].pk, rfp_venue_id=scene.target(second[0]).pk, actor=STAFF, now=NOW)
    scene.draft()


def test_hold_conversion_creates_a_properly_pre_filled_draft_rfp_with_only_one_venue(
    scene: Scene,
) -> None:
    """The checklist's line of that name, as far as RFPs go: the copy that a conversion makes."""
    source = scene.send(to=[scene.venue, open_venue()])
    scene.answer(source, "unavailable")
    copy = rfps.copy_as_draft(
        source_rfp=source, facility=scene.venue, deadline=NOW + 7 * DAY, actor=STAFF, now=NOW
    )
    assert copy.status == "draft"
    assert copy.duplicated_from == source
    assert copy.response_deadline == NOW + 7 * DAY
    same = [name for name in contents() if name != "response_deadline"]
    assert {name: getattr(copy, name) for name in same} == {
        name: getattr(source, name) for name in same
    }
    assert [(one.facility, one.status, one.response) for one in copy.targets.all()] == [
        (scene.venue, "pending", None)
    ]


# Sending and answering


def test_an_rfp_is_sent_to_its_venues(scene: Scene) -> None:
    rfp = scene.send()
    assert (rfp.status, rfp.sent_at) == ("sent", NOW)
    assert told()[1:] == [("rfp.sent", "rfp", "draft", "sent")]
    with pytest.raises(rfps.NotDraft):
        scene.send(rfp)


def test_what_cannot_be_sent_says_why(scene: Scene) -> None:
    rfp = scene.draft(to=[], response_deadline=NOW)
    with pytest.raises(ValidationError) as caught:
        scene.send(rfp)
    assert set(caught.value.error_dict) == {"venues", "response_deadline"}


@pytest.mark.parametrize("response", ["confirmed", "tentative", "unavailable"])
def test_a_venue_answers_once(scene: Scene, response: str) -> None:
    rfp = scene.send()
    pk = scene.target(rfp).pk
    target = rfps.respond(
        rfp_venue_id=pk, response=response, notes="Call us", actor=OWNER, now=NOW, version=1
    )
    assert (target.status, target.response, target.responded_at) == ("responded", response, NOW)
    assert target.response_notes == "Call us"
    assert told(subject_id=pk) == [("rfp.responded", "rfp_venue", "pending", "responded")]
    event = Event.objects.get(subject_id=pk)
    assert event.data == {"rfp_id": str(rfp.pk), "response": response}
    assert (event.tenant_id, event.facility_id) == (scene.organizer.pk, scene.venue.pk)
    signal = Signal.objects.get()
    assert (signal.type, signal.facility_id, signal.tenant_id) == (
        response, scene.venue.pk, scene.venue.tenant_id
    )  # fmt: skip
    assert (signal.rfp_id, signal.rfp_venue_id) == (rfp.pk, pk)
    assert (signal.signal_date, signal.recorded_at) == (rfp.preferred_dates_start, NOW)
    with pytest.raises(rfps.AlreadyAnswered):
        scene.answer(rfp)
    assert Signal.objects.count() == 1


def test_an_answer_is_for_the_version_that_was_read(scene: Scene) -> None:
    rfp = scene.send()
    pk = scene.target(rfp).pk
    with pytest.raises(Stale):
        rfps.respond(rfp_venue_id=pk, response="confirmed", actor=OWNER, now=NOW, version=2)
    with pytest.raises(NotFound):
        rfps.respond(rfp_venue_id=uuid4(), response="confirmed", actor=OWNER, now=NOW)


def test_the_deadline_passes_unanswered(scene: Scene) -> None:
    other = open_venue()
    late, answered = scene.send(to=[scene.venue, other]), scene.send()
    scene.answer(late, venue=other)
    scene.answer(answered)
    draft = scene.draft()
    coming = scene.send(response_deadline=DEADLINE + SECOND)
    before = Event.objects.count()
    assert rfps.close_overdue(now=DEADLINE - SECOND, limit=10) == 0
    assert rfps.close_overdue(now=DEADLINE, limit=10) == 1
    assert rfps.close_overdue(now=DEADLINE, limit=10) == 0
    target = scene.target(late)
    assert (target.status, target.response) == ("no_response", None)
    assert Event.objects.count() == before + 1
    event = Event.objects.order_by("pk").last()
    assert event is not None
    assert (event.kind, event.subject_id, event.data) == (
        "rfp.no_response", target.pk, {"rfp_id": str(late.pk)}
    )  # fmt: skip
    assert (event.tenant_id, event.actor_type) == (scene.organizer.pk, "system")
    assert signalled()[-1] == ("no_response", scene.venue.pk)
    assert Signal.objects.filter(type="no_response").count() == 1
    assert {scene.target(one).status for one in (draft, coming)} == {"pending"}
    late.refresh_from_db()
    assert late.status == "sent"
    # Better late than never.
    assert scene.answer(late, at=DEADLINE + DAY).status == "responded"


def test_overdue_rfps_are_taken_so_many_at_once(scene: Scene, monkeypatch: Any) -> None:
    for _ in range(3):
        scene.send()
    assert rfps.close_overdue(now=DEADLINE, limit=2) == 2
    monkeypatch.setattr("audit.clock.now", lambda: DEADLINE)
    assert tasks.close_overdue_rfps() == {"rfps": 1}


# Choosing


def test_a_venue_is_shortlisted(scene: Scene) -> None:
    rfp = scene.send()
    pk = scene.answer(rfp, "tentative").pk
    rfps.shortlist(rfp_id=rfp.pk, rfp_venue_id=pk, actor=STAFF, now=NOW)
    assert scene.target(rfp).status == "shortlisted"
    assert told(subject_id=pk)[1:] == [("rfp.shortlisted", "rfp_venue", "responded", "shortlisted")]
    assert len(signalled()) == 1  # the answer: a list is no news of the venue
    with pytest.raises(rfps.NotEligible):
        rfps.shortlist(rfp_id=rfp.pk, rfp_venue_id=pk, actor=STAFF, now=NOW)


def test_an_rfp_is_awarded(scene: Scene) -> None:
    winner, loser, listed, full, silent = [open_venue() for _ in range(5)]
    rfp = scene.send(to=[winner, loser, listed, full, silent])
    for venue, response in (
        (winner, "tentative"), (loser, "confirmed"), (listed, "confirmed"), (full, "unavailable"),
    ):  # fmt: skip
        scene.answer(rfp, response, venue=venue)
    rfps.shortlist(rfp_id=rfp.pk, rfp_venue_id=scene.target(rfp, listed).pk, actor=STAFF, now=NOW)
    Signal.objects.count()
    before = set(Signal.objects.values_list("pk", flat=True))
    rfp = rfps.award(rfp_id=rfp.pk, rfp_venue_id=scene.target(rfp, winner).pk, actor=STAFF, now=NOW)
    assert rfp.status == "awarded"
    assert {one.facility_id: one.status for one in rfp.targets.all()} == {
        winner.pk: "awarded", loser.pk: "declined", listed.pk: "declined", full.pk: "declined",
        silent.pk: "pending",
    }  # fmt: skip
    new = Signal.objects.exclude(pk__in=before)
    assert dict(new.values_list("facility_id", "type")) == {
        winner.pk: "awarded", loser.pk: "lost_to_competitor", listed.pk: "lost_to_competitor",
        full.pk: "lost_to_competitor",
    }  # fmt: skip
    assert sorted(told(kind="rfp.awarded"), key=str) == sorted([
        ("rfp.awarded", "rfp", "sent", "awarded"),
        ("rfp.awarded", "rfp_venue", "responded", "awarded"),
        ("rfp.awarded", "rfp_venue", "responded", "declined"),
        ("rfp.awarded", "rfp_venue", "responded", "declined"),
        ("rfp.awarded", "rfp_venue", "shortlisted", "declined"),
    ], key=str)  # fmt: skip
    with pytest.raises(rfps.Ended):
        scene.answer(rfp, venue=silent)
    assert rfps.close_overdue(now=DEADLINE, limit=10) == 0


@pytest.mark.parametrize("step", [rfps.shortlist, rfps.award])
def test_who_cannot_be_chosen(scene: Scene, step: Callable[..., Rfp]) -> None:
    full, silent = open_venue(), open_venue()
    rfp = scene.send(to=[full, silent])
    scene.answer(rfp, "unavailable", venue=full)
    elsewhere = scene.send()
    scene.answer(elsewhere)

    def choose(target: RfpVenue, *, of: Rfp = rfp, version: int | None = None) -> None:
        step(rfp_id=of.pk, rfp_venue_id=target.pk, actor=STAFF, now=NOW, version=version)

    for venue in (full, silent):
        with pytest.raises(rfps.NotEligible):
            choose(scene.target(rfp, venue))
    with pytest.raises(NotFound):
        choose(scene.target(elsewhere))
    with pytest.raises(Stale):
        choose(scene.target(rfp, full), version=1)
    draft = scene.draft()
    with pytest.raises(rfps.NotSent):
        choose(scene.target(draft), of=draft)
    rfps.close(rfp_id=rfp.pk, actor=STAFF, now=NOW)
    with pytest.raises(rfps.NotSent):
        choose(scene.target(rfp, full))


def test_an_rfp_is_closed(scene: Scene) -> None:
    silent = open_venue()
    rfp = scene.send(to=[scene.venue, silent])
    scene.answer(rfp)
    rfp = rfps.close(rfp_id=rfp.pk, actor=STAFF, now=NOW, version=rfp.version)
    assert rfp.status == "closed"
    assert told(kind="rfp.closed") == [("rfp.closed", "rfp", "sent", "closed")]
    assert set(signalled()[1:]) == {("rfp_cancelled", scene.venue.pk), ("rfp_cancelled", silent.pk)}
    for again in (
        lambda: rfps.close(rfp_id=rfp.pk, actor=STAFF, now=NOW),
        lambda: scene.answer(rfp, venue=silent),
    ):
        with pytest.raises(rfps.Ended):
            again()


def test_closing_a_draft_tells_venues_nothing(scene: Scene) -> None:
    rfp = scene.draft()
    rfps.discard(rfp_id=rfp.pk, actor=STAFF, now=NOW)
    assert told()[1:] == [("rfp.closed", "rfp", "draft", "closed")]
    assert signalled() == []


# Signals beside the point


def _break(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """Let recording fail: in Python, or in the database, which fails a transaction."""
    if how == "python":

        def fail(*_: Any, **__: Any) -> None:
            raise RuntimeError("Xanthippe Quxley")

        monkeypatch.setattr(Signal.objects, "bulk_create", fail)
    else:
        create = Signal.objects.bulk_create

        def spoil(rows: list[Signal]) -> Any:
            for row in rows:
                row.type = "nonsense"
            return create(rows)

        monkeypatch.setattr(Signal.objects, "bulk_create", spoil)


STEPS: dict[str, Callable[[Scene, Rfp], Any]] = {
    "respond": lambda scene, rfp: scene.answer(rfp, "tentative", venue=None),
    "no_response": lambda scene, rfp: rfps.close_overdue(now=DEADLINE, limit=10),
    "award": lambda scene, rfp: rfps.award(
        rfp_id=rfp.pk, rfp_venue_id=rfp.targets.get(response="confirmed").pk, actor=STAFF, now=NOW
    ),
    "close": lambda scene, rfp: rfps.close(rfp_id=rfp.pk, actor=STAFF, now=NOW),
    "by hand": lambda scene, rfp: scene.set("fully_booked"),
}
LEFT: dict[str, set[str]] = {
    "respond": {"sent", "responded"},
    "no_response": {"sent", "no_response", "responded"},
    "award": {"awarded", "pending"},
    "close": {"closed", "pending", "responded"},
    "by hand": {"sent", "pending", "responded"},
}


@pytest.mark.parametrize("how", ["python", "database"])
@pytest.mark.parametrize("step", STEPS)
def test_signal_recording_in_rfp_endpoints_doesnt_break_existing_rfp_functionality(
    scene: Scene,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    step: str,
    how: str,
) -> None:
    """The checklist's line of that name: the step stands, the loss is logged and counted."""
    other = open_venue()
    rfp = scene.send(to=[scene.venue, other])
    scene.answer(rfp, "confirmed", venue=other)
    recorded, lost, events = Signal.objects.count(), signals.lost() or 0, Event.objects.count()
    _break(monkeypatch, how)
    STEPS[step](scene, rfp)
    rfp.refresh_from_db()
    assert {rfp.status, *rfp.targets.values_list("status", flat=True)} == LEFT[step]
    assert Event.objects.count() > events
    assert Signal.objects.count() == recorded
    assert signals.lost() == lost + (2 if step == "close" else 1)
    [said] = [record for record in caplog.records if record.name == "availability.signals"]
    assert "signals are not recorded" in said.getMessage()
    assert "Quxley" not in said.getMessage()


def test_steps_that_are_refused_leave_no_trace(scene: Scene) -> None:
    rfp = scene.send()
    target = scene.target(rfp)
    before = (Event.objects.count(), Signal.objects.count())
    calls: list[Callable[[], object]] = [
        lambda: rfps.award(rfp_id=rfp.pk, rfp_venue_id=target.pk, actor=STAFF, now=NOW),
        lambda: rfps.send(rfp_id=rfp.pk, actor=STAFF, now=NOW),
        lambda: rfps.close(rfp_id=uuid4(), actor=STAFF, now=NOW),
        lambda: scene.draft(to=[open_venue() for _ in range(2)], title=""),
    ]
    for call in calls:
        with pytest.raises((Refused, ValidationError)):
            call()
    assert (Event.objects.count(), Signal.objects.count()) == before


def test_an_rfp_goes_to_so_many_venues(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rfps, "MOST_VENUES", 2)
    with pytest.raises(ValidationError) as caught:
        scene.draft(to=[open_venue() for _ in range(3)])
    assert set(caught.value.error_dict) == {"venues"}
    assert scene.draft(response_deadline=NOW + timedelta(days=1)).targets.count() == 1


def test_what_people_write_is_in_no_event_and_no_signal(scene: Scene) -> None:
    secret = "Xanthippe Quxley"
    rfp = scene.send(title=secret, event_type=secret, space_requirements=[secret])
    rfps.respond(
        rfp_venue_id=scene.target(rfp).pk, response="confirmed", notes=secret, actor=OWNER, now=NOW
    )
    rfps.award(rfp_id=rfp.pk, rfp_venue_id=scene.target(rfp).pk, actor=STAFF, now=NOW)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT to_jsonb(e)::text FROM audit_event AS e"
            " UNION ALL SELECT to_jsonb(s)::text FROM availability_signal AS s"
        )
        said = [text for (text,) in cursor.fetchall()]
    assert len(said) == 7
    assert not [text for text in said if "Quxley" in text]


def test_all_kafka_events_are_emitted_for_state_transitions(scene: Scene) -> None:
    """The checklist's line of that name, for RFPs: each legal move is told, and no other.

    That a venue is asked is told with its RFP. The stream carries every event of the log.
    """
    others = [open_venue() for _ in range(3)]
    rfp = scene.send(to=[scene.venue, *others])
    given: dict[str, Any] = {"rfp_id": rfp.pk, "actor": STAFF, "now": NOW}
    rfps.close_overdue(now=DEADLINE, limit=10)
    for venue in [scene.venue, *others]:
        scene.answer(rfp, venue=venue)
    for venue in others[:2]:
        rfps.shortlist(**given, rfp_venue_id=scene.target(rfp, venue).pk)
    rfps.award(**given, rfp_venue_id=scene.target(rfp, others[0]).pk)
    quick = scene.send()
    scene.answer(quick)
    rfps.award(rfp_id=quick.pk, rfp_venue_id=scene.target(quick).pk, actor=STAFF, now=NOW)
    rfps.close(rfp_id=scene.send().pk, actor=STAFF, now=NOW)
    rfps.discard(rfp_id=scene.draft().pk, actor=STAFF, now=NOW)
    for subject, machine in (("rfp", "Rfp"), ("rfp_venue", "RfpVenue")):
        moves = {move for move in MOVES[machine] if machine == "Rfp" or move[0] is not None}
        told_moves = Event.objects.filter(subject_type=subject)
        assert set(told_moves.values_list("previous_status", "new_status")) == moves
