"""Organizers' entries by HTTP: what each address answers, and what it refuses."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from accounts.models import Tenant
from accounts.roles import Role
from audit import clock
from availability import rfps
from scheduling.models import Facility
from tests import venues
from tests.api import Api, log_in
from tests.waitlist import asking
from tests.waitlist.worlds import DAY, NOW, STAFF
from waitlist import entries, holds, nudges
from waitlist.models import CircuitBreaker, Hold, WaitlistEntry

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _it_is_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)


def at(organizer: Tenant, *rest: object) -> str:
    """Return an address of an organizer's waitlists."""
    return "/".join(map(str, ("organizations", organizer.pk, "waitlists", *rest)))


def post(api: Api, path: str, body: Any = None) -> Any:
    return api.post(path, body if body is not None else {}, format="json")


def refusal(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


# Joining


def test_one_id_is_all_it_takes_to_join(place: Facility, organizer: Tenant, api: Api) -> None:
    [source] = asking.refused(places=[place], by=organizer)
    answer = post(api, at(organizer), {"source_rfp_venue_id": str(source.pk)})
    assert answer.status_code == 201
    entry = WaitlistEntry.objects.get()
    assert answer["Location"].endswith(at(organizer, entry.pk))
    assert answer.json() == {
        "id": str(entry.pk),
        "organization_id": str(organizer.pk),
        "venue_id": str(place.pk),
        "venue_name": "Great Hall",
        "venue_slug": "great-hall",
        "venue_city": "Leeds",
        "venue_country": "GB",
        "venue_availability_status": "not_set",
        "source_rfp_id": str(source.rfp_id),
        "source_rfp_title": "Spring gala",
        "source_rfp_venue_id": str(source.pk),
        "desired_dates_start": "2030-05-01",
        "desired_dates_end": "2030-05-03",
        "dates_flexible": False,
        "attendance_min": 50,
        "attendance_max": 120,
        "event_type": "gala",
        "space_requirements": ["banquet", "theatre"],
        "status": "waiting",
        "queue_position": 1,
        "hold_offered_at": None,
        "hold_expires_at": None,
        "hold_remaining_seconds": None,
        "hold_reminder_sent": False,
        "converted_rfp_id": None,
        "cancellation_reason": "",
        "cancellation_notes": "",
        "expires_at": "2030-06-02T23:00:00Z",
        "still_interested_sent_at": None,
        "still_interested_responded": False,
        "joined_at": "2030-03-04T10:00:00Z",
        "closed_at": None,
        "version": 1,
        "created_at": answer.json()["created_at"],
        "updated_at": answer.json()["updated_at"],
    }
    assert refusal(post(api, at(organizer), {"source_rfp_venue_id": str(source.pk)})) == (
        409, "already_waiting"
    )  # fmt: skip


def test_nothing_else_is_taken(place: Facility, organizer: Tenant, api: Api) -> None:
    [source] = asking.refused(places=[place], by=organizer)
    for body in ({}, {"source_rfp_venue_id": str(source.pk), "dates_flexible": True}):
        assert refusal(post(api, at(organizer), body)) == (400, "invalid")


def test_five_and_no_more(organizer: Tenant, api: Api) -> None:
    sources = asking.refused(places=[venues.open_venue() for _ in range(6)], by=organizer)
    answers = [
        post(api, at(organizer), {"source_rfp_venue_id": str(source.pk)}) for source in sources
    ]
    assert [answer.status_code for answer in answers] == [201] * 5 + [429]
    assert refusal(answers[5]) == (429, "too_many_entries")
    assert answers[5]["Retry-After"]
    again = post(api, at(organizer), {"source_rfp_venue_id": str(sources[0].pk)})
    assert refusal(again) == (409, "already_waiting")
    assert WaitlistEntry.objects.count() == 5


def test_what_cannot_be_waited_for(place: Facility, organizer: Tenant, api: Api) -> None:
    def join(source: Any) -> tuple[int, str]:
        return refusal(post(api, at(organizer), {"source_rfp_venue_id": str(source)}))

    assert join(uuid4()) == (404, "not_found")
    [others] = asking.refused(places=[place], by=asking.organizer())
    assert join(others.pk) == (404, "not_found")
    rfp = rfps.add(
        organizer_id=organizer.pk, values=venues.contents(), venue_ids=[place.pk], actor=STAFF,
        now=NOW,
    )  # fmt: skip
    assert join(rfp.targets.get().pk) == (409, "not_unavailable")
    over: dict[str, Any] = {
        "preferred_dates_start": NOW.date() - 40 * DAY,
        "preferred_dates_end": None,
    }
    [late] = asking.refused(places=[place], by=organizer, **over)
    answer = post(api, at(organizer), {"source_rfp_venue_id": str(late.pk)})
    assert refusal(answer) == (400, "invalid")
    assert [error["field"] for error in answer.json()["errors"]] == ["source_rfp_venue_id"]


# Reading


def test_the_list_is_in_pages_with_its_counts(organizer: Tenant, api: Api) -> None:
    made = [asking.wait(place=venues.open_venue(), by=organizer, at=NOW + n * DAY)
            for n in range(4)]  # fmt: skip
    entries.cancel(entry_id=made[0].pk, reason="other", actor=STAFF, now=NOW)
    asking.wait(place=venues.open_venue())  # another's

    def listed(**query: Any) -> tuple[list[int], dict[str, int]]:
        body = api.get(at(organizer), query).json()
        assert set(body) == {"waitlist_entries", "pagination"}
        order = {str(entry.pk): n for n, entry in enumerate(made)}
        return [order[one["id"]] for one in body["waitlist_entries"]], body["pagination"]

    assert listed() == (
        [3, 2, 1, 0], {"page": 1, "page_size": 10, "total_count": 4, "total_pages": 1}
    )  # fmt: skip
    assert listed(page=2, page_size=3) == (
        [0], {"page": 2, "page_size": 3, "total_count": 4, "total_pages": 2}
    )  # fmt: skip
    assert listed(active="true")[0] == [3, 2, 1]
    assert listed(active="false")[0] == listed(status="cancelled")[0] == [0]
    assert listed(status="pending")[0] == [3, 2, 1]
    for bad in ({"page_size": 51}, {"status": "gone"}, {"active": "maybe"}, {"venue": "x"}):
        assert refusal(api.get(at(organizer), bad)) == (400, "invalid")


def test_a_list_takes_the_same_few_statements_for_any_number(
    organizer: Tenant, api: Api, django_assert_max_num_queries: Callable[..., Any]
) -> None:
    for _ in range(5):
        asking.offer(place=asking.wait(place=venues.open_venue(), by=organizer).facility)
    with django_assert_max_num_queries(8):
        body = api.get(at(organizer)).json()
    assert [one["status"] for one in body["waitlist_entries"]] == ["offered"] * 5


def test_an_offer_is_shown_with_the_time_that_is_left(
    organizer: Tenant, api: Api, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW + DAY)
    body = api.get(at(organizer, hold.entry_id)).json()
    assert (body["status"], body["hold_offered_at"], body["hold_expires_at"]) == (
        "offered", "2030-03-04T10:00:00Z", "2030-03-06T10:00:00Z"
    )  # fmt: skip
    assert (body["hold_remaining_seconds"], body["venue_availability_status"]) == (
        86400, "accepting_events"
    )  # fmt: skip
    monkeypatch.setattr(clock, "now", lambda: NOW + 3 * DAY)
    assert api.get(at(organizer, hold.entry_id)).json()["hold_remaining_seconds"] == 0


# Converting


def test_an_offer_is_converted_to_a_draft(organizer: Tenant, api: Api, hold: Hold) -> None:
    answer = post(api, at(organizer, hold.entry_id, "convert"))
    assert answer.status_code == 201
    body = answer.json()
    new = WaitlistEntry.objects.get().converted_rfp
    assert new is not None
    assert (body["waitlist_entry"]["status"], body["waitlist_entry"]["converted_rfp_id"]) == (
        "converted", str(new.pk)
    )  # fmt: skip
    assert body["waitlist_entry"]["queue_position"] is None
    assert body["new_rfp"] == {
        "id": str(new.pk),
        "title": "Spring gala",
        "status": "draft",
        "venue_count": 1,
        "message": body["new_rfp"]["message"],
    }
    again = post(api, at(organizer, hold.entry_id, "convert"))
    assert refusal(again) == (409, "hold_closed")


def test_what_cannot_be_converted(
    organizer: Tenant, api: Api, entry: WaitlistEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert = at(organizer, entry.pk, "convert")
    assert refusal(post(api, convert)) == (409, "not_offered")
    hold = asking.offer(place=entry.facility)
    for _ in range(5):
        rfps.add(organizer_id=organizer.pk, values=venues.contents(), venue_ids=[], actor=STAFF,
                 now=NOW)  # fmt: skip
    full = post(api, convert)
    assert refusal(full) == (429, "too_many_rfps")
    assert full["Retry-After"]
    monkeypatch.setattr(clock, "now", lambda: hold.expires_at)
    assert refusal(post(api, convert)) == (422, "hold_lapsed")
    holds.expire_due(now=hold.expires_at, limit=10)
    assert refusal(post(api, convert)) == (422, "hold_lapsed")


# Leaving, and the question


def test_an_entry_is_cancelled_with_a_reason(
    organizer: Tenant, api: Api, entry: WaitlistEntry
) -> None:
    cancel = at(organizer, entry.pk, "cancel")
    for bad in ("nudge_declined", "booked_elsewhere", ""):
        assert refusal(post(api, cancel, {"reason": bad})) == (400, "invalid")
    answer = post(api, cancel, {"reason": "found_alternative", "notes": "in York"})
    assert answer.status_code == 200
    body = answer.json()
    assert (body["status"], body["cancellation_reason"], body["cancellation_notes"]) == (
        "cancelled", "found_alternative", "in York"
    )  # fmt: skip
    assert refusal(post(api, cancel, {"reason": "other"})) == (409, "entry_closed")


def test_a_stale_version_is_refused(organizer: Tenant, api: Api, entry: WaitlistEntry) -> None:
    answer = api.post(
        at(organizer, entry.pk, "cancel"), {"reason": "other"}, format="json",
        headers={"If-Match": '"7"'},
    )  # fmt: skip
    assert refusal(answer) == (412, "stale")


@pytest.mark.parametrize(("interested", "status"), [(True, "waiting"), (False, "cancelled")])
def test_the_question_is_answered(
    place: Facility, organizer: Tenant, api: Api, interested: bool, status: str
) -> None:
    entry = asking.wait(place=place, by=organizer, at=NOW - 60 * DAY, dates_flexible=True)
    nudges.ask_due(now=NOW, limit=10)
    answer = post(api, at(organizer, entry.pk, "still-interested"), {"interested": interested})
    body = answer.json()
    assert (answer.status_code, body["status"]) == (200, status)
    assert body["still_interested_sent_at"] == "2030-03-04T10:00:00Z"
    assert body["still_interested_responded"] == interested


# Whose it is


def test_the_addresses_are_its_members_alone(
    place: Facility, organizer: Tenant, entry: WaitlistEntry
) -> None:
    stranger = log_in(tenant=asking.organizer(), role=Role.ORGANIZER)
    owner = log_in(tenant=place.tenant, role=Role.ADMIN)
    own = at(Tenant.objects.get(pk=stranger_tenant(stranger)), entry.pk)
    for method, path in (("get", ""), ("get", str(entry.pk)), ("post", f"{entry.pk}/convert")):
        address = at(organizer, path).rstrip("/")
        assert getattr(Api(), method)(address).status_code == 401
        assert getattr(stranger, method)(address).status_code == 403
        assert getattr(owner, method)(address).status_code == 403
    assert stranger.get(own).status_code == 404


def stranger_tenant(api: Api) -> Any:
    """Return the tenant that a client's user is a member of."""
    assert api.user is not None
    return api.user.memberships.get().tenant_id


# The owner's answer to the breaker


def _tripped(place: Facility) -> None:
    CircuitBreaker.objects.create(tenant=place.tenant, facility=place, tripped_at=NOW - DAY)


def test_the_owner_lets_offers_go_on(place: Facility, entry: WaitlistEntry) -> None:
    asking.free(place=place)
    _tripped(place)
    resolve = f"venues/{place.pk}/waitlist-circuit-breaker/resolve"
    owner = log_in(tenant=place.tenant, role=Role.ADMIN)
    assert refusal(post(owner, resolve, {"action": "stop"})) == (400, "invalid")
    for role in (Role.STAFF, Role.PROVIDER):
        other = log_in(tenant=place.tenant, role=role)
        assert post(other, resolve, {"action": "resume"}).status_code == 403
    stranger = log_in(tenant=venues.open_venue().tenant, role=Role.ADMIN)
    assert refusal(post(stranger, resolve, {"action": "resume"})) == (403, "permission_denied")
    answer = post(owner, resolve, {"action": "resume"})
    assert answer.json() == {
        "circuit_breaker_resolved": True, "cascade_resumed": True, "next_entry_offered": True
    }  # fmt: skip
    assert refusal(post(owner, resolve, {"action": "resume"})) == (409, "no_breaker")
    nowhere = f"venues/{uuid4()}/waitlist-circuit-breaker/resolve"
    assert refusal(post(owner, nowhere, {"action": "resume"})) == (404, "not_found")
