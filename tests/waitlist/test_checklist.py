"""The lines of the venue document's verification checklist that concern waiting, one test each.

Those about RFPs, signals, inference and the badge are in tests/availability; `LINES` has all.
"""

from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from pytest_django import DjangoCaptureOnCommitCallbacks

from audit import clock
from audit.errors import Refused
from audit.events import SYSTEM
from audit.models import Event, EventSeq
from availability import rfps, statuses
from notifications import bodies, relay
from scheduling.models import Facility
from tests import venues
from tests.waitlist import asking
from tests.waitlist.worlds import DAY, HOUR, MINUTE, NOW, STAFF
from waitlist import breakers, cascades, entries, holds, nudges, ranking, tasks
from waitlist.models import CircuitBreaker, Hold, WaitlistEntry

pytestmark = pytest.mark.django_db

TESTS = Path(__file__).parents[1]
HERE = "waitlist/test_checklist"
#: Each line, and the test that is named after it.
LINES: dict[str, tuple[str, str]] = {
    "Migration runs cleanly (upgrade and downgrade)": (
        "test_house", "migrations_go_down_to_nothing_and_up_again"
    ),
    "Joining waitlist inherits all context from RFP (no manual input needed)": (
        HERE, "joining_waitlist_inherits_all_context_from_rfp"
    ),
    "Rate limit (5 active entries) is enforced": (
        HERE, "rate_limit_of_five_active_entries_is_enforced"
    ),
    "Duplicate active entry for same venue is blocked": (
        HERE, "duplicate_active_entry_for_same_venue_is_blocked"
    ),
    "Hold conversion creates a properly pre-filled draft RFP with only the waitlisted venue": (
        HERE, "hold_conversion_creates_a_prefilled_draft_rfp_with_only_the_waitlisted_venue"
    ),
    "Hold expiry cascades to next person in FIFO order": (
        HERE, "hold_expiry_cascades_to_next_person_in_fifo_order"
    ),
    "Circuit breaker fires after 3 consecutive no-responses": (
        HERE, "circuit_breaker_fires_after_three_consecutive_no_responses"
    ),
    "Signal recording in RFP endpoints doesn't break existing RFP functionality": (
        "availability/test_rfps",
        "signal_recording_in_rfp_endpoints_doesnt_break_existing_rfp_functionality",
    ),
    "Inference engine correctly computes availability from signals": (
        "availability/test_statuses",
        "inference_engine_correctly_computes_availability_from_signals",
    ),
    "Manual override takes precedence over inference": (
        "availability/test_statuses", "manual_override_takes_precedence_over_inference"
    ),
    "Cascade triggers on both inference improvement and manual override": (
        HERE, "cascade_triggers_on_both_inference_improvement_and_manual_override"
    ),
    "All Kafka events are emitted for state transitions": (
        HERE, "all_kafka_events_are_emitted_for_state_transitions"
    ),
    "Queue position is calculated correctly and updates when people ahead leave": (
        HERE, "queue_position_is_calculated_correctly_and_updates_when_people_ahead_leave"
    ),
    "Auto-expiry works for both date-specific (30 days) and general (90 days) entries": (
        HERE, "auto_expiry_works_for_both_date_specific_and_general_entries"
    ),
    '"Still interested?" nudge is sent at 60 days, auto-expire at 67 days if no response': (
        HERE, "still_interested_nudge_is_sent_at_60_days_auto_expire_at_67_if_no_response"
    ),
    "Availability badge is included in venue list/detail GraphQL responses": (
        "availability/test_graphql",
        "availability_badge_is_included_in_venue_list_and_detail_graphql_responses",
    ),
    "Public availability badge endpoint is cached": (
        "availability/test_badges", "public_availability_badge_endpoint_is_cached"
    ),
}  # fmt: skip


@pytest.mark.parametrize("line", LINES)
def test_every_line_has_its_test(line: str) -> None:
    file, name = LINES[line]
    assert f"def test_{name}(" in (TESTS / f"{file}.py").read_text()


@pytest.fixture
def place() -> Facility:
    return venues.open_venue()


def run(task: object, *args: str, now: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a worker run a task at a time."""
    monkeypatch.setattr(clock, "now", lambda: now)
    task(*args)  # type: ignore[operator]


def test_joining_waitlist_inherits_all_context_from_rfp(place: Facility) -> None:
    [source] = asking.refused(
        places=[place], by=asking.organizer(), event_type="congress", attendance_min=200,
        attendance_max=300, space_requirements=["boardroom"], dates_flexible=True,
        preferred_dates_start=date(2030, 9, 1), preferred_dates_end=date(2030, 9, 2),
    )  # fmt: skip
    entry = entries.join_venue(
        rfp_venue_id=source.pk, organizer_id=source.tenant_id, actor=STAFF, now=NOW
    )
    entry.refresh_from_db()
    assert entry.earliest is not None
    assert entry.latest is not None
    assert (entry.earliest.date(), entry.latest.date(), entry.dates_flexible) == (
        date(2030, 8, 31), date(2030, 9, 2), True  # in UTC, an hour behind the venue
    )  # fmt: skip
    assert entry.rfp_venue is not None
    rfp = entry.rfp_venue.rfp
    assert (rfp.event_type, rfp.attendance_min, rfp.attendance_max, rfp.space_requirements) == (
        "congress", 200, 300, ["boardroom"]
    )  # fmt: skip


def test_rate_limit_of_five_active_entries_is_enforced() -> None:
    organizer = asking.organizer()
    sources = asking.refused(places=[venues.open_venue() for _ in range(6)], by=organizer)
    for source in sources[:5]:
        asking.join(source=source)
    asking.offer(place=sources[0].facility)  # who is offered a venue waits for it still
    with pytest.raises(entries.TooManyEntries):
        asking.join(source=sources[5])
    entry = WaitlistEntry.objects.get(facility=sources[1].facility)
    entries.cancel(entry_id=entry.pk, reason="other", actor=STAFF, now=NOW)
    assert asking.join(source=sources[5]).status == "waiting"


def test_duplicate_active_entry_for_same_venue_is_blocked(place: Facility) -> None:
    organizer = asking.organizer()
    first, second = (asking.refused(places=[place], by=organizer)[0] for _ in range(2))
    asking.join(source=first)
    for again in (first, second):
        with pytest.raises(entries.AlreadyWaiting):
            asking.join(source=again)
    asking.offer(place=place)
    with pytest.raises(entries.AlreadyWaiting):
        asking.join(source=second)
    # Nor is it the cap that blocks it: with five it is still a duplicate, and leaves nothing.
    for source in asking.refused(places=[venues.open_venue() for _ in range(4)], by=organizer):
        asking.join(source=source)
    with pytest.raises(entries.AlreadyWaiting):
        asking.join(source=second)
    assert WaitlistEntry.objects.filter(organizer=organizer).count() == 5
    # Who has left may come again.
    entry = WaitlistEntry.objects.get(facility=place)
    entries.cancel(entry_id=entry.pk, reason="other", actor=STAFF, now=NOW)
    assert asking.join(source=second).status == "waiting"


def test_hold_conversion_creates_a_prefilled_draft_rfp_with_only_the_waitlisted_venue(
    place: Facility,
) -> None:
    source, _ = asking.refused(places=[place, venues.open_venue()], by=asking.organizer())
    asking.join(source=source)
    rfp = asking.convert(asking.offer(place=place)).converted_rfp
    assert rfp is not None
    filled = {name: getattr(rfp, name) for name in venues.contents()}
    assert filled == venues.contents(response_deadline=NOW + 7 * DAY)
    assert (rfp.status, rfp.sent_at, rfp.duplicated_from) == ("draft", None, source.rfp)
    assert [target.facility for target in rfp.targets.all()] == [place]


def test_hold_expiry_cascades_to_next_person_in_fifo_order(
    place: Facility, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = [asking.wait(place=place, at=NOW + n * HOUR) for n in range(3)]
    asking.offer(place=place, at=NOW + DAY)
    offered = []
    for n in range(2):
        at = NOW + DAY + (n + 1) * 2 * DAY
        run(tasks.expire_holds, now=at, monkeypatch=monkeypatch)
        run(tasks.offer_vacancy, str(place.pk), now=at, monkeypatch=monkeypatch)
        offered.append(Hold.objects.get(status="offered").entry_id)
    assert offered == [waiting[1].pk, waiting[2].pk]


def test_circuit_breaker_fires_after_three_consecutive_no_responses(
    place: Facility, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(4):
        asking.wait(place=place, at=NOW + n * HOUR)
    asking.offer(place=place, at=NOW + DAY)
    tripped = []
    for n in range(3):
        at = NOW + DAY + (n + 1) * 2 * DAY
        run(tasks.expire_holds, now=at, monkeypatch=monkeypatch)
        run(tasks.offer_vacancy, str(place.pk), now=at, monkeypatch=monkeypatch)
        tripped.append(CircuitBreaker.objects.filter(status="tripped").count())
    assert tripped == [0, 0, 1]
    assert not Hold.objects.filter(status="offered").exists()
    assert WaitlistEntry.objects.filter(status="waiting").count() == 1


@pytest.mark.parametrize("by_hand", [True, False], ids=["manual override", "inference"])
def test_cascade_triggers_on_both_inference_improvement_and_manual_override(
    place: Facility,
    by_hand: bool,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    entry = asking.wait(place=place)
    statuses.infer(now=NOW + HOUR)
    assert place.availability.status == "fully_booked"
    with django_capture_on_commit_callbacks() as callbacks:
        if by_hand:
            asking.free(place=place, at=NOW + DAY)
        else:
            answer(place, "confirmed", times=2)
            statuses.infer(now=NOW + DAY)
    sent = {getattr(one, "task", ""): getattr(one, "arg", "") for one in callbacks}
    assert sent["waitlist.tasks.offer_vacancy"] == str(place.pk)
    hold = cascades.go_on(facility_id=place.pk, now=NOW + DAY)
    assert hold is not None
    assert hold.entry_id == entry.pk


def answer(place: Facility, response: str, *, times: int) -> None:
    """Let a venue answer RFPs of others."""
    for _ in range(times):
        scene = venues.set_scene(venue=place)
        rfp = scene.send()
        rfps.respond(
            rfp_venue_id=scene.target(rfp).pk, response=response, actor=venues.OWNER,
            now=NOW + 2 * HOUR,
        )  # fmt: skip


def test_all_kafka_events_are_emitted_for_state_transitions(place: Facility) -> None:
    """Each way through the two state machines, and the breaker's, by what really happens."""
    first, declining, leaving, converted, second, third, cancelled, asked, silent = (
        asking.wait(place=place, at=NOW + n * MINUTE, dates_flexible=n > 6) for n in range(9)
    )
    hold = asking.offer(place=place, at=NOW + DAY)
    at = hold.expires_at
    holds.remind_due(now=at - DAY, limit=10)
    holds.expire_due(now=at, limit=10)
    holds.decline(hold_id=offered(place, to=declining, at=at).pk, actor=STAFF, now=at)
    offered(place, to=leaving, at=at)
    entries.cancel(entry_id=leaving.pk, reason="declined_offer", actor=STAFF, now=at)
    asking.convert(offered(place, to=converted, at=at), at=at)
    entries.cancel(entry_id=cancelled.pk, reason="other", actor=STAFF, now=at)
    nudges.ask_due(now=NOW + 61 * DAY, limit=10)
    nudges.answer(entry_id=asked.pk, interested=True, actor=STAFF, now=NOW + 62 * DAY)
    # Three who do not answer, one after the other, trip the breaker.
    at = NOW + 63 * DAY
    asking.free(place=place, at=at)
    for entry in (second, third, asked):
        at = offered(place, to=entry, at=at).expires_at
        holds.expire_due(now=at, limit=10)
    nudges.expire_due(now=at, limit=10)
    breakers.deactivate_due(now=at + 7 * DAY, limit=10)
    breakers.resolve(facility_id=place.pk, actor=SYSTEM, now=at + 8 * DAY)
    relay.relay(limit=1000, now=NOW)
    places = EventSeq.objects.order_by("seq").values_list("event_id", flat=True)
    told = bodies.read(event_ids=list(places))
    assert len(told) == Event.objects.count()

    def steps(entry: WaitlistEntry) -> list[str]:
        mine = [body for body in told if body["waitlist_entry_id"] == str(entry.pk)]
        assert entry.rfp_venue is not None
        for body in mine:
            assert (body["venue_id"], body["organization_id"], body["source_rfp_id"]) == (
                str(place.pk), str(entry.organizer_id), str(entry.rfp_venue.rfp_id)
            )  # fmt: skip
        return [body["event_type"].removeprefix("waitlist.") for body in mine]

    lapsed = ["joined", "hold_offered", "hold_expired", "auto_expired"]
    assert steps(first) == [*lapsed[:2], "hold_reminded", *lapsed[2:]]
    assert steps(declining) == ["joined", "hold_offered", "hold_declined", "cancelled"]
    assert steps(leaving) == ["joined", "hold_offered", "hold_withdrawn", "cancelled"]
    assert steps(converted) == ["joined", "hold_offered", "converted"]
    assert steps(second) == steps(third) == lapsed
    assert steps(cancelled) == ["joined", "cancelled"]
    assert steps(asked) == ["joined", "still_interested", "nudge_answered", *lapsed[1:]]
    assert steps(silent) == ["joined", "still_interested", "auto_expired"]
    # To the venue's own tenant, without a word of who waited until one has the room.
    owners = [body for body in told if body["tenant_id"] == str(place.tenant_id)]
    assert [body["event_type"] for body in owners] == [
        "venue.availability_manual_set", "venue.availability_improved", "venue.hold_converted",
        "venue.availability_manual_set", "venue.availability_improved",
        "waitlist.circuit_breaker_triggered", "waitlist.deactivated",
        "waitlist.circuit_breaker_resolved",
    ]  # fmt: skip
    named = {body["organization_id"] for body in owners}
    assert named == {None, str(converted.organizer_id)}
    for body in owners:
        assert (body["waitlist_entry_id"], body["hold_id"]) == (None, None)
        assert body["metadata"]["queue_depth"] is None


def offered(place: Facility, *, to: WaitlistEntry, at: datetime) -> Hold:
    """Let the cascade go on, with who is expected."""
    hold = cascades.go_on(facility_id=place.pk, now=at)
    assert hold is not None
    assert hold.entry_id == to.pk
    return hold


def test_queue_position_is_calculated_correctly_and_updates_when_people_ahead_leave(
    place: Facility,
) -> None:
    waiting = [asking.wait(place=place, at=NOW + n * HOUR) for n in range(5)]

    def positions() -> list[int | None]:
        for entry in waiting:
            entry.refresh_from_db()
        return [ranking.position(entry=entry) for entry in waiting]

    assert positions() == [1, 2, 3, 4, 5]
    entries.cancel(entry_id=waiting[0].pk, reason="other", actor=STAFF, now=NOW + DAY)
    assert positions() == [None, 1, 2, 3, 4]
    hold = asking.offer(place=place, at=NOW + DAY)
    assert positions() == [None, 1, 2, 3, 4]  # who is offered it keeps their place
    holds.expire_due(now=hold.expires_at, limit=10)
    assert positions() == [None, None, 1, 2, 3]
    asking.convert(asking.offer(place=place, at=hold.expires_at), at=hold.expires_at)
    assert positions() == [None, None, None, 1, 2]


def test_auto_expiry_works_for_both_date_specific_and_general_entries(place: Facility) -> None:
    dated = asking.wait(place=place)  # to 3 May, by the venue's clock
    general = asking.wait(place=place, dates_flexible=True)
    assert general.expires_at == NOW + 90 * DAY
    assert dated.expires_at == dated.latest + timedelta(days=30)  # type: ignore[operator]
    for entry in sorted((dated, general), key=lambda entry: entry.expires_at):
        assert entries.expire_due(now=entry.expires_at - HOUR, limit=10) == 0
        assert entries.expire_due(now=entry.expires_at, limit=10) == 1
        entry.refresh_from_db()
        assert entry.status == "expired"


def test_still_interested_nudge_is_sent_at_60_days_auto_expire_at_67_if_no_response(
    place: Facility, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = asking.wait(place=place, dates_flexible=True)
    found = []
    for day in (59, 60, 66, 67):
        run(tasks.send_nudges, now=NOW + day * DAY, monkeypatch=monkeypatch)
        run(tasks.expire_nudges, now=NOW + day * DAY, monkeypatch=monkeypatch)
        entry.refresh_from_db()
        found.append((entry.nudged_at is not None, entry.status))
    assert found == [
        (False, "waiting"), (True, "waiting"), (True, "waiting"), (True, "expired")
    ]  # fmt: skip
    with pytest.raises(Refused):
        nudges.answer(entry_id=entry.pk, interested=True, actor=STAFF, now=NOW + 68 * DAY)
