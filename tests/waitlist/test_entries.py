"""Joining, changing one's wishes, leaving, being asked, and running out of time."""

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

import pytest
from django.core.exceptions import ValidationError
from django.forms.models import model_to_dict

from audit.errors import NotFound, Refused
from audit.models import Event
from scheduling.models import Facility
from tests import factories
from tests.audit.log import brief, written
from tests.waitlist import asking, worlds
from tests.waitlist.worlds import DAY, HOUR, MINUTE, NOW, SECOND, STAFF, World
from waitlist import entries, nudges, queues
from waitlist.models import EntryNote, Hold, Queue, WaitlistEntry, WaitlistPolicy

Status = WaitlistEntry.Status


def _update(entry: WaitlistEntry, *, now: datetime = NOW, **wishes: Any) -> WaitlistEntry:
    return entries.update(entry_id=entry.pk, wishes=wishes, actor=STAFF, now=now)


def _cancel(entry: WaitlistEntry, *, now: datetime = NOW, notes: str = "") -> WaitlistEntry:
    return entries.cancel(
        entry_id=entry.pk, reason="no_longer_needed", notes=notes, actor=STAFF, now=now
    )


# Joining


def test_who_joins_waits_in_the_order_of_joining(clinic: World) -> None:
    patient = clinic.patient()
    with written() as events:
        entry = clinic.join(patient=patient, at=NOW)
    stored = WaitlistEntry.objects.get(pk=entry.pk)
    assert (stored.status, stored.joined_at, stored.patient_id) == ("waiting", NOW, patient.pk)
    assert (stored.tenant_id, stored.facility_id) == (clinic.tenant.pk, clinic.facility.pk)
    assert (stored.offers_made, stored.closed_at, stored.version) == (0, None, 1)
    [event] = events
    assert (event.kind, event.previous_status, event.new_status) == (
        "waitlist.joined", None, "waiting"
    )  # fmt: skip
    assert (event.entry_id, event.facility_id, event.tenant_id, event.actor_id) == (
        entry.pk, clinic.facility.pk, clinic.tenant.pk, STAFF.id
    )  # fmt: skip
    assert event.data == {"position": 1, "expires_at": (NOW + 90 * DAY).isoformat()}


def test_the_event_tells_the_place_that_was_got(clinic: World) -> None:
    clinic.join()
    with written() as events:
        clinic.join()
    assert events[0].data["position"] == 2


def _refusal(world: World, **arguments: Any) -> Refused:
    given = {"facility_id": world.facility.pk, "patient_id": None, **arguments}
    before = WaitlistEntry.objects.count(), Event.objects.count(), world.queue.revision
    with pytest.raises(Refused) as caught:
        entries.join(actor=STAFF, now=NOW, **given)
    assert (WaitlistEntry.objects.count(), Event.objects.count(), world.queue.revision) == before
    return caught.value


def test_an_unknown_facility_is_named(clinic: World) -> None:
    wrong = uuid4()
    refused = _refusal(clinic, facility_id=wrong, patient_id=clinic.patient().pk)
    assert (refused.code, refused.field) == ("not_found", "facility")
    assert str(wrong) in str(refused)


def test_an_unknown_patient_is_named(clinic: World) -> None:
    wrong = uuid4()
    refused = _refusal(clinic, patient_id=wrong)
    assert (refused.code, refused.field) == ("not_found", "patient")
    assert str(wrong) in str(refused)


def test_the_same_days_are_the_same_wish_however_they_are_named(clinic: World) -> None:
    assert clinic.join(preferred_days=[5, 1, 5]).preferred_days == [1, 5]


def test_another_tenants_patient_is_not_found(clinic: World) -> None:
    stranger = worlds.build().patient()
    refused = _refusal(clinic, patient_id=stranger.pk)
    assert (refused.code, refused.field) == ("not_found", "patient")


def test_a_patient_does_not_wait_at_a_venue_whatever_its_queue_is_like(venue: World) -> None:
    """A position, or that it is full or closed, would tell its owner who waits or how many."""
    patient = venue.patient()
    WaitlistPolicy.objects.filter(facility=venue.facility).update(max_queue_size=1)
    asking.wait(place=venue.facility)
    for _ in range(2):
        refused = _refusal(venue, patient_id=patient.pk)
        assert (refused.code, refused.field) == ("organizers_only", "facility")
        Queue.objects.filter(pk=venue.facility.pk).update(deactivated_at=NOW)


@pytest.mark.parametrize("wish", ["provider_id", "service_id"])
def test_an_unknown_wish_is_named(clinic: World, wish: str) -> None:
    wrong = uuid4()
    refused = _refusal(clinic, patient_id=clinic.patient().pk, wishes={wish: wrong})
    assert (refused.code, refused.field) == ("not_found", wish.removesuffix("_id"))
    assert str(wrong) in str(refused)


@pytest.mark.parametrize("any_facility", [False, True])
def test_another_tenants_provider_and_service_are_not_found(
    clinic: World, any_facility: bool
) -> None:
    other = worlds.build()
    for wish, row in (("provider_id", other.provider), ("service_id", other.service)):
        refused = _refusal(
            clinic,
            patient_id=clinic.patient().pk,
            wishes={wish: row.pk, "any_facility": any_facility},
        )
        assert (refused.code, refused.field) == ("not_found", wish.removesuffix("_id"))


def test_a_provider_of_another_facility_can_be_wished_with_any_facility_only(clinic: World) -> None:
    elsewhere = clinic.neighbour().provider
    wishes = {"provider_id": elsewhere.pk}
    refused = _refusal(clinic, patient_id=clinic.patient().pk, wishes=wishes)
    assert (refused.code, refused.field) == ("not_found", "provider")
    entry = clinic.join(provider_id=elsewhere.pk, any_facility=True)
    assert entry.provider_id == elsewhere.pk


def test_a_full_queue_takes_nobody(clinic: World) -> None:
    clinic.change(max_queue_size=2)
    clinic.join()
    leaving = clinic.join()
    clinic.neighbour().join()
    refused = _refusal(clinic, patient_id=clinic.patient().pk)
    assert (refused.code, refused.field) == ("queue_full", "facility")
    _cancel(leaving)
    assert clinic.join().status == Status.WAITING


def test_who_waits_already_is_told_so_wherever_there_is_no_room(clinic: World) -> None:
    clinic.change(max_queue_size=1, max_active_per_requester=1)
    patient = clinic.patient()
    clinic.join(patient=patient)
    again = {"service_id": clinic.service.pk}
    assert _refusal(clinic, patient_id=patient.pk, wishes=again).code == "already_waiting"


def test_an_offered_entry_fills_its_place_in_the_queue(clinic: World) -> None:
    clinic.change(max_queue_size=1)
    clinic.offer()
    assert _refusal(clinic, patient_id=clinic.patient().pk).code == "queue_full"


def test_a_clinic_may_limit_its_patients_too(clinic: World) -> None:
    clinic.change(max_active_per_requester=1)
    patient = clinic.patient()
    clinic.join(patient=patient)
    refused = _refusal(clinic, patient_id=patient.pk, wishes={"provider_id": clinic.provider.pk})
    assert refused.code == "too_many_entries"


def test_who_waits_for_a_provider_does_not_join_for_them_again(clinic: World) -> None:
    patient = clinic.patient()
    first = clinic.join(patient=patient)
    again = {"patient_id": patient.pk, "wishes": {"service_id": None}}
    refused = _refusal(clinic, **again)
    assert (refused.code, refused.field) == ("already_waiting", "facility")
    assert clinic.join(patient=patient, provider_id=clinic.provider.pk).status == Status.WAITING
    assert clinic.neighbour().join(patient=patient).status == Status.WAITING
    _cancel(first)
    assert clinic.join(patient=patient).status == Status.WAITING


def test_who_has_an_offer_does_not_join_for_the_same_again(clinic: World) -> None:
    hold = clinic.offer()
    assert _refusal(clinic, patient_id=hold.patient_id).code == "already_waiting"


def test_at_a_salon_one_may_wait_once_for_each_service(salon: World) -> None:
    patient = salon.patient()
    salon.join(patient=patient)
    other = factories.ServiceFactory.create(tenant=salon.tenant)
    assert salon.join(patient=patient, service_id=other.pk).status == Status.WAITING
    assert salon.join(patient=patient, service_id=None).status == Status.WAITING
    for service in (salon.service.pk, None):
        refused = _refusal(salon, patient_id=patient.pk, wishes={"service_id": service})
        assert refused.code == "already_waiting"


def test_an_inactive_facility_takes_nobody(clinic: World) -> None:
    Facility.objects.filter(pk=clinic.facility.pk).update(is_active=False)
    refused = _refusal(clinic, patient_id=clinic.patient().pk)
    assert (refused.code, refused.field) == (queues.QueueClosed.code, "facility")


def test_a_deactivated_queue_takes_nobody(clinic: World) -> None:
    Queue.objects.filter(pk=clinic.facility.pk).update(deactivated_at=NOW)
    assert _refusal(clinic, patient_id=clinic.patient().pk).code == queues.QueueClosed.code


BAD_WISHES: list[tuple[str, dict[str, Any]]] = [
    ("urgency", {"urgency": 4}),
    ("urgency", {"urgency": -1}),
    ("urgency", {"urgency": "very"}),
    ("urgency", {"urgency": 1.5}),
    ("urgency", {"urgency": float("inf")}),
    ("preferred_time", {"preferred_time": "night"}),
    ("preferred_time", {"preferred_time": None}),
    ("preferred_days", {"preferred_days": [0]}),
    ("preferred_days", {"preferred_days": [8]}),
    ("preferred_days", {"preferred_days": ["Monday"]}),
    ("preferred_days", {"preferred_days": None}),
    ("preferred_days", {"preferred_days": 3}),
    *(
        (name, {name: value})
        for name in ("earliest", "latest")
        for value in (
            "soon",
            5,
            datetime(2030, 3, 5),  # noqa: DTZ001
            datetime(1, 1, 1, tzinfo=timezone(14 * HOUR)),
            datetime(9999, 12, 31, tzinfo=timezone(-12 * HOUR)),
        )
    ),
    ("latest", {"latest": NOW - SECOND}),
    ("latest", {"latest": NOW}),
    ("latest", {"earliest": NOW + DAY, "latest": NOW + DAY}),
    ("latest", {"earliest": NOW + 2 * DAY, "latest": NOW + DAY}),
    ("provider_required", {"provider_required": True}),
    ("provider_required", {"provider_required": None}),
    ("provider_required", {"provider_required": "perhaps"}),
    ("any_facility", {"any_facility": None}),
    ("dates_flexible", {"dates_flexible": "perhaps"}),
    ("metadata", {"metadata": None}),
    ("metadata", {"metadata": ["list"]}),
    ("metadata", {"metadata": {"what": float("nan")}}),
    ("metadata", {"metadata": {"what": "a\x00b"}}),
    ("metadata", {"metadata": {"what": object()}}),
    ("provider_id", {"provider_id": "no id"}),
    ("service_id", {"service_id": "no id"}),
    ("status", {"status": "converted"}),
    ("rank_key", {"rank_key": 99}),
    ("joined_at", {"joined_at": NOW - DAY}),
    ("tenant_id", {"tenant_id": uuid4()}),
]


def _names(error: ValidationError) -> set[str]:
    return {name.removesuffix("_id") for name in error.message_dict}


@pytest.mark.parametrize(("field", "wishes"), BAD_WISHES)
def test_a_bad_wish_is_an_error_that_names_it_and_nobody_joins(
    clinic: World, field: str, wishes: dict[str, Any]
) -> None:
    patient = clinic.patient()
    with pytest.raises(ValidationError) as caught:
        clinic.join(patient=patient, at=NOW, **wishes)
    assert field.removesuffix("_id") in _names(caught.value)
    assert not WaitlistEntry.objects.exists()
    assert clinic.queue.revision == 0


@pytest.mark.parametrize(("field", "wishes"), BAD_WISHES)
def test_a_bad_wish_changes_nothing_of_an_entry(
    clinic: World, field: str, wishes: dict[str, Any]
) -> None:
    entry = clinic.join(at=NOW)
    before, events = model_to_dict(entry), Event.objects.count()
    with pytest.raises(ValidationError) as caught:
        _update(entry, **wishes)
    assert field.removesuffix("_id") in _names(caught.value)
    assert model_to_dict(WaitlistEntry.objects.get(pk=entry.pk)) == before
    assert Event.objects.count() == events


def test_whoever_joins_counts_the_queue_on_and_visitors_only_if_one(clinic: World) -> None:
    clinic.join()
    assert (clinic.queue.revision, clinic.queue.visitors_revision) == (1, 0)
    clinic.join(any_facility=True)
    assert (clinic.queue.revision, clinic.queue.visitors_revision) == (2, 1)


# When an entry's time is over


@pytest.mark.parametrize(
    ("kind", "wishes", "expected"),
    [
        ("clinic", {}, NOW + 90 * DAY),
        ("clinic", {"earliest": NOW + 5 * DAY}, NOW + 90 * DAY),
        ("clinic", {"latest": NOW + 3 * DAY}, NOW + 3 * DAY),
        ("clinic", {"latest": NOW + 3 * DAY, "dates_flexible": True}, NOW + 90 * DAY),
        ("clinic", {"latest": NOW + 200 * DAY}, NOW + 200 * DAY),
        ("clinic", {"latest": NOW - DAY, "dates_flexible": True}, NOW + 90 * DAY),
        ("salon", {}, NOW + 30 * DAY),
        ("salon", {"latest": NOW + HOUR}, NOW + HOUR),
    ],
)
def test_an_entrys_end_follows_its_dates(
    db: None, kind: str, wishes: dict[str, Any], expected: datetime
) -> None:
    world = worlds.build(kind=kind)
    entry = world.join(at=NOW, **wishes)
    assert WaitlistEntry.objects.get(pk=entry.pk).expires_at == expected


def test_an_end_that_would_be_over_is_refused_whatever_gives_it(clinic: World) -> None:
    entry = clinic.join(at=NOW - 10 * DAY, latest=NOW - DAY, dates_flexible=True)
    for wishes in ({"dates_flexible": False}, {"latest": NOW, "dates_flexible": False}):
        with pytest.raises(ValidationError) as refused:
            _update(entry, **wishes)
        assert _names(refused.value) == {next(iter(wishes))}
    assert WaitlistEntry.objects.get(pk=entry.pk).dates_flexible
    assert _update(entry, urgency=1).expires_at == NOW + 80 * DAY


def test_new_dates_give_a_new_end_counted_from_joining(clinic: World) -> None:
    entry = clinic.join(at=NOW - 10 * DAY)
    assert _update(entry, latest=NOW + DAY).expires_at == NOW + DAY
    assert _update(entry, dates_flexible=True).expires_at == NOW + 80 * DAY
    assert _update(entry, latest=None, dates_flexible=False).expires_at == NOW + 80 * DAY


def test_entries_past_their_end_expire(clinic: World) -> None:
    due = clinic.join(latest=NOW)
    not_due = clinic.join(latest=NOW + SECOND)
    offered = clinic.offer(
        entry=clinic.join(latest=NOW + 3 * DAY), slot=clinic.slot(at=NOW + 2 * DAY)
    )
    with written() as events:
        assert entries.expire_due(now=NOW, limit=10) == 1
    due.refresh_from_db()
    not_due.refresh_from_db()
    assert (due.status, due.closed_at) == (Status.EXPIRED, NOW)
    assert not_due.status == Status.WAITING
    [event] = events
    assert (event.kind, event.previous_status, event.new_status, event.data) == (
        "waitlist.auto_expired", "waiting", "expired", {"reason": "time_over"}
    )  # fmt: skip
    assert (event.entry_id, event.tenant_id, event.actor_type) == (
        due.pk, clinic.tenant.pk, "system"
    )  # fmt: skip
    assert entries.expire_due(now=NOW, limit=10) == 0
    # Who has an offer may still answer it.
    assert entries.expire_due(now=NOW + 4 * DAY, limit=10) == 1
    offered.refresh_from_db()
    assert offered.status == Hold.Status.OFFERED


def test_a_sweep_ends_no_more_than_its_limit(clinic: World) -> None:
    for _ in range(3):
        clinic.join(latest=NOW)
    assert [entries.expire_due(now=NOW, limit=2) for _ in range(3)] == [2, 1, 0]


# Editing


def test_an_edit_is_written_with_its_event_and_keeps_the_place(clinic: World) -> None:
    entry = clinic.join(at=NOW - DAY)
    revision = clinic.queue.revision
    with written() as events:
        edited = _update(entry, preferred_days=[1, 5], preferred_time="morning", metadata={"a": 1})
    assert (edited.preferred_days, edited.preferred_time, edited.metadata) == (
        [1, 5], "morning", {"a": 1}
    )  # fmt: skip
    assert (edited.joined_at, edited.rank_key) == (entry.joined_at, entry.rank_key)
    assert brief(events) == [("waitlist.updated", "waiting", "waiting")]
    assert events[0].data == {"fields": ["metadata", "preferred_days", "preferred_time"]}
    assert clinic.queue.revision == revision + 1
    stored = WaitlistEntry.objects.get(pk=entry.pk)
    assert stored.version == entry.version + 1


@pytest.mark.parametrize(("before", "after"), [(True, False), (False, True), (True, True)])
def test_an_edit_of_a_visitor_counts_the_visitors_on(
    clinic: World, before: bool, after: bool
) -> None:
    entry = clinic.join(any_facility=before)
    visitors = clinic.queue.visitors_revision
    _update(entry, any_facility=after)
    assert clinic.queue.visitors_revision == visitors + 1


def test_an_edit_lets_a_live_offer_stand(clinic: World) -> None:
    hold = clinic.offer()
    _update(hold.entry, preferred_days=[7], latest=NOW + HOUR)
    hold.refresh_from_db()
    hold.entry.refresh_from_db()
    assert (hold.status, hold.entry.status) == ("offered", "offered")
    assert worlds.accept(hold).status == "booked"


def test_an_edit_into_what_one_waits_for_already_is_refused(clinic: World) -> None:
    patient = clinic.patient()
    clinic.join(patient=patient)
    other = clinic.join(patient=patient, provider_id=clinic.provider.pk)
    with pytest.raises(entries.AlreadyWaiting):
        _update(other, provider_id=None)
    other.refresh_from_db()
    assert other.provider_id == clinic.provider.pk


def test_a_required_provider_cannot_be_taken_away(clinic: World) -> None:
    entry = clinic.join(provider_id=clinic.provider.pk, provider_required=True)
    with pytest.raises(ValidationError) as caught:
        _update(entry, provider_id=None)
    assert set(caught.value.message_dict) == {"provider_required"}


@pytest.mark.parametrize("way", ["cancelled", "expired", "converted"])
def test_an_ended_entry_can_no_longer_be_changed(clinic: World, way: str) -> None:
    entry = clinic.join(latest=NOW + 2 * DAY)
    if way == "cancelled":
        _cancel(entry)
    elif way == "expired":
        entries.expire_due(now=NOW + 2 * DAY, limit=10)
    else:
        worlds.accept(clinic.offer(entry=entry))
    entry.refresh_from_db()
    assert entry.status == way
    before, events = model_to_dict(entry), Event.objects.count()
    changes: list[Callable[[], Any]] = [
        lambda: _update(entry, urgency=1),
        lambda: _cancel(entry),
        lambda: nudges.answer(entry_id=entry.pk, interested=True, actor=STAFF, now=NOW),
    ]
    for change in changes:
        with pytest.raises(entries.EntryClosed) as caught:
            change()
        assert caught.value.field == "entry"
    entry.refresh_from_db()
    assert model_to_dict(entry) == before
    assert Event.objects.count() == events


def test_an_unknown_entry_is_named(clinic: World) -> None:
    wrong = uuid4()
    author = factories.UserFactory.create()
    for call in (
        lambda: entries.update(entry_id=wrong, wishes={}, actor=STAFF, now=NOW),
        lambda: entries.cancel(entry_id=wrong, reason="x", actor=STAFF, now=NOW),
        lambda: nudges.answer(entry_id=wrong, interested=True, actor=STAFF, now=NOW),
        lambda: entries.add_note(entry_id=wrong, author=author, text="x", now=NOW),
    ):
        with pytest.raises(NotFound) as caught:
            call()
        assert caught.value.field == "entry"
        assert str(wrong) in str(caught.value)


# Leaving


def test_who_leaves_while_waiting_is_written_with_the_reason(clinic: World) -> None:
    entry = clinic.join()
    with written() as events:
        left = _cancel(entry, notes="Moves to Leeds")
    assert (left.status, left.closed_at) == (Status.CANCELLED, NOW)
    assert (left.cancellation_reason, left.cancellation_notes) == (
        "no_longer_needed", "Moves to Leeds"
    )  # fmt: skip
    [event] = events
    assert brief(events) == [("waitlist.cancelled", "waiting", "cancelled")]
    assert event.data == {"reason": "no_longer_needed"}


def test_who_leaves_with_an_offer_gives_the_slot_back(clinic: World) -> None:
    hold = clinic.offer()
    with written() as events:
        left = _cancel(hold.entry)
    hold.refresh_from_db()
    assert hold.slot is not None
    assert (hold.status, hold.closed_at, hold.slot.status) == ("withdrawn", NOW, "open")
    assert (left.status, left.offers_made) == (Status.CANCELLED, 0)
    assert brief(events) == [
        ("waitlist.hold_withdrawn", "offered", "withdrawn"),
        ("slot.opened", "held", "open"),
        ("waitlist.cancelled", "offered", "cancelled"),
    ]
    assert events[0].data == {"reason": "cancelled"}


def test_leaving_needs_a_reason(clinic: World) -> None:
    entry = clinic.join()
    with pytest.raises(ValidationError) as caught:
        entries.cancel(entry_id=entry.pk, reason="", actor=STAFF, now=NOW)
    assert set(caught.value.message_dict) == {"reason"}


@pytest.mark.parametrize("reason", ["Mrs Smith has died", "x" * 51])
def test_the_reason_is_a_code_since_the_event_tells_it(clinic: World, reason: str) -> None:
    entry = clinic.join()
    with pytest.raises(ValidationError) as caught:
        entries.cancel(entry_id=entry.pk, reason=reason, actor=STAFF, now=NOW)
    assert set(caught.value.message_dict) == {"reason"}


# Notes


def test_a_note_is_kept_with_its_author_and_tells_no_event(clinic: World) -> None:
    entry, author = clinic.join(), factories.UserFactory.create()
    with written() as events:
        entries.add_note(entry_id=entry.pk, author=author, text="Prefers a call", now=NOW)
        entries.add_note(entry_id=entry.pk, author=author, text="Called", now=NOW + MINUTE)
    notes = list(EntryNote.objects.filter(entry=entry).values_list("text", "author", "at"))
    assert notes == [("Prefers a call", author.pk, NOW), ("Called", author.pk, NOW + MINUTE)]
    assert events == []


@pytest.mark.parametrize("text", ["", "  \n"])
def test_an_empty_note_is_refused(clinic: World, text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        entries.add_note(
            entry_id=clinic.join().pk, author=factories.UserFactory.create(), text=text, now=NOW
        )
    assert set(caught.value.message_dict) == {"text"}
    assert not EntryNote.objects.exists()


# Still interested?


def _nudged(world: World) -> WaitlistEntry:
    entry = world.join(at=NOW - 60 * DAY, dates_flexible=True)
    assert nudges.ask_due(now=NOW, limit=10) == 1
    entry.refresh_from_db()
    return entry


def test_who_waited_long_with_flexible_dates_is_asked_once(clinic: World) -> None:
    entry = clinic.join(at=NOW - 60 * DAY, dates_flexible=True)
    clinic.join(at=NOW - 60 * DAY + SECOND, dates_flexible=True)
    clinic.join(at=NOW - 60 * DAY)
    with written() as events:
        assert nudges.ask_due(now=NOW, limit=10) == 1
    entry.refresh_from_db()
    assert (entry.nudged_at, entry.status) == (NOW, Status.WAITING)
    assert brief(events) == [("waitlist.still_interested", "waiting", "waiting")]
    assert events[0].entry_id == entry.pk
    assert nudges.ask_due(now=NOW, limit=10) == 0


def test_what_was_said_before_being_asked_is_no_answer(clinic: World) -> None:
    entry = clinic.join(at=NOW - 60 * DAY, dates_flexible=True)
    nudges.answer(entry_id=entry.pk, interested=True, actor=STAFF, now=NOW - 30 * DAY)
    assert nudges.ask_due(now=NOW, limit=10) == 1
    assert nudges.expire_due(now=NOW + 7 * DAY, limit=10) == 1


def test_a_salon_asks_nobody(salon: World) -> None:
    salon.join(at=NOW - 29 * DAY, dates_flexible=True)
    assert nudges.ask_due(now=NOW + 90 * DAY, limit=10) == 0


def test_who_says_yes_waits_on_and_is_not_asked_again(clinic: World) -> None:
    entry = _nudged(clinic)
    with written() as events:
        nudges.answer(entry_id=entry.pk, interested=True, actor=STAFF, now=NOW + DAY)
    assert brief(events) == [("waitlist.nudge_answered", "waiting", "waiting")]
    assert events[0].data == {"interested": True}
    assert nudges.expire_due(now=NOW + 30 * DAY, limit=10) == 0
    assert nudges.ask_due(now=NOW + 29 * DAY, limit=10) == 0
    entry.refresh_from_db()
    assert (entry.status, entry.nudge_answered_at) == (Status.WAITING, NOW + DAY)


def test_who_says_no_is_cancelled(clinic: World) -> None:
    entry = _nudged(clinic)
    with written() as events:
        nudges.answer(entry_id=entry.pk, interested=False, actor=STAFF, now=NOW + DAY)
    entry.refresh_from_db()
    assert (entry.status, entry.cancellation_reason) == (Status.CANCELLED, "nudge_declined")
    assert brief(events) == [
        ("waitlist.nudge_answered", "waiting", "waiting"),
        ("waitlist.cancelled", "waiting", "cancelled"),
    ]
    assert events[0].data == {"interested": False}


def test_who_says_no_while_offered_gives_the_slot_back(clinic: World) -> None:
    hold = clinic.offer(entry=_nudged(clinic))
    nudges.answer(entry_id=hold.entry_id, interested=False, actor=STAFF, now=NOW)
    hold.refresh_from_db()
    assert hold.slot is not None
    assert (hold.status, hold.slot.status) == ("withdrawn", "open")


def test_who_stays_silent_expires_after_the_grace(clinic: World) -> None:
    entry = _nudged(clinic)
    assert nudges.expire_due(now=NOW + 7 * DAY - SECOND, limit=10) == 0
    with written() as events:
        assert nudges.expire_due(now=NOW + 7 * DAY, limit=10) == 1
    entry.refresh_from_db()
    assert (entry.status, entry.closed_at) == (Status.EXPIRED, NOW + 7 * DAY)
    assert brief(events) == [("waitlist.auto_expired", "waiting", "expired")]
    assert events[0].data == {"reason": "nudge_unanswered"}


def test_who_was_asked_and_has_an_offer_is_not_ended_before_it_is_answered(clinic: World) -> None:
    entry = _nudged(clinic)
    clinic.offer(entry=entry, slot=clinic.slot(at=NOW + 20 * DAY))
    assert nudges.expire_due(now=NOW + 8 * DAY, limit=10) == 0


def test_a_nudge_changes_no_place(clinic: World) -> None:
    entry = clinic.join(at=NOW - 60 * DAY, dates_flexible=True)
    key = entry.rank_key
    nudges.ask_due(now=NOW, limit=10)
    entry.refresh_from_db()
    assert (entry.rank_key, entry.joined_at) == (key, NOW - 60 * DAY)
    assert timedelta(0) < NOW - entry.joined_at
