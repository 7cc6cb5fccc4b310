"""The lines of the venue document's verification checklist that concern waiting, one test each.

Those about RFPs, signals, inference and the badge are in tests/availability.
"""

from datetime import date, timedelta

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
from tests.waitlist.worlds import DAY, HOUR, NOW, STAFF
from waitlist import breakers, cascades, entries, holds, ranking, tasks
from waitlist.models import CircuitBreaker, Hold, WaitlistEntry

pytestmark = pytest.mark.django_db


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
    with pytest.raises(entries.TooManyEntries):
        asking.join(source=sources[5])


def test_duplicate_active_entry_for_same_venue_is_blocked(place: Facility) -> None:
    organizer = asking.organizer()
    first, second = (asking.refused(places=[place], by=organizer)[0] for _ in range(2))
    asking.join(source=first)
    for again in (first, second):
        with pytest.raises(entries.AlreadyWaiting):
            asking.join(source=again)


def test_hold_conversion_creates_a_prefilled_draft_rfp_with_only_the_waitlisted_venue(
    place: Facility,
) -> None:
    source, _ = asking.refused(places=[place, venues.open_venue()], by=asking.organizer())
    asking.join(source=source)
    rfp = asking.convert(asking.offer(place=place)).converted_rfp
    assert rfp is not None
    assert (rfp.status, rfp.title, rfp.duplicated_from) == ("draft", "Spring gala", source.rfp)
    assert (rfp.attendance_min, rfp.attendance_max, rfp.preferred_dates_start) == (
        50, 120, date(2030, 5, 1)
    )  # fmt: skip
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
    first, second, third, fourth, fifth = (
        asking.wait(place=place, at=NOW + n * HOUR, dates_flexible=n > 2) for n in range(5)
    )
    hold = asking.offer(place=place, at=NOW + DAY)
    holds.remind_due(now=hold.expires_at - DAY, limit=10)
    holds.expire_due(now=hold.expires_at, limit=10)
    following = cascades.go_on(facility_id=place.pk, now=hold.expires_at)
    assert following is not None
    asking.convert(following, at=hold.expires_at)
    entries.cancel(entry_id=third.pk, reason="other", actor=STAFF, now=NOW)
    entries.nudge_due(now=NOW + 61 * DAY, limit=10)
    entries.answer_nudge(entry_id=fourth.pk, interested=True, actor=STAFF, now=NOW + 62 * DAY)
    entries.expire_due(now=NOW + 91 * DAY, limit=10)
    CircuitBreaker.objects.create(tenant=place.tenant, facility=place, tripped_at=NOW)
    breakers.deactivate_due(now=NOW + 91 * DAY, limit=10)
    breakers.resolve(facility_id=place.pk, actor=SYSTEM, now=NOW + 92 * DAY)
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

    assert steps(first) == [
        "joined", "hold_offered", "hold_reminded", "hold_expired", "auto_expired"
    ]  # fmt: skip
    assert steps(second) == ["joined", "hold_offered", "converted"]
    assert steps(third) == ["joined", "cancelled"]
    assert steps(fourth) == ["joined", "still_interested", "nudge_answered", "auto_expired"]
    assert steps(fifth) == ["joined", "still_interested", "auto_expired"]
    assert [body["event_type"] for body in told if body["event_type"] in OF_BREAKERS] == [
        "waitlist.deactivated", "waitlist.circuit_breaker_resolved"
    ]  # fmt: skip


OF_BREAKERS = {
    "waitlist.circuit_breaker_triggered", "waitlist.deactivated",
    "waitlist.circuit_breaker_resolved",
}  # fmt: skip


def test_queue_position_is_calculated_correctly_and_updates_when_people_ahead_leave(
    place: Facility,
) -> None:
    waiting = [asking.wait(place=place, at=NOW + n * HOUR) for n in range(4)]
    assert [ranking.position(entry=entry) for entry in waiting] == [1, 2, 3, 4]
    entries.cancel(entry_id=waiting[0].pk, reason="other", actor=STAFF, now=NOW + DAY)
    asking.convert(asking.offer(place=place, at=NOW + DAY), at=NOW + DAY)
    for entry in waiting:
        entry.refresh_from_db()
    assert [ranking.position(entry=entry) for entry in waiting] == [None, None, 1, 2]


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
        entries.answer_nudge(entry_id=entry.pk, interested=True, actor=STAFF, now=NOW + 68 * DAY)
