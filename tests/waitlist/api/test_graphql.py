"""Organizers' entries and the owner's breaker by GraphQL: the same as by REST, and as refused."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from strawberry.utils.str_converters import to_camel_case

from accounts.models import Tenant
from accounts.roles import Role
from audit import clock
from availability import rfps
from scheduling.models import Facility
from tests import venues
from tests.api import Api, log_in
from tests.graphql import Answer, all_of, ask, types
from tests.waitlist import asking
from tests.waitlist.worlds import DAY, NOW, STAFF
from waitlist import entries, holds, nudges
from waitlist.models import CircuitBreaker, Hold, WaitlistEntry

pytestmark = pytest.mark.django_db

ENTRY = all_of("VenueWaitlistEntryType")
LIST = all_of("WaitlistEntryListResult")
JOIN = f"mutation ($id: UUID!) {{ done: joinVenueWaitlist(sourceRfpVenueId: $id) {ENTRY} }}"
CONVERT = f"""mutation ($id: UUID!) {{
    done: convertWaitlistHold(waitlistId: $id) {{ waitlistEntry {ENTRY}
        newRfp {all_of("NewRfp")} }} }}"""
CANCEL = f"""mutation ($id: UUID!, $reason: CancellationReason!, $notes: String! = "") {{
    done: cancelWaitlistEntry(waitlistId: $id, reason: $reason, notes: $notes) {ENTRY} }}"""
ANSWER = f"""mutation ($id: UUID!, $interested: Boolean!) {{
    done: respondStillInterested(waitlistId: $id, interested: $interested) {ENTRY} }}"""
RESOLVE = f"""mutation ($id: UUID!) {{
    done: resolveWaitlistCircuitBreaker(venueId: $id) {all_of("CircuitBreakerResult")} }}"""
READ = f"query ($id: UUID!) {{ done: waitlistEntry(id: $id) {ENTRY} }}"


@pytest.fixture(autouse=True)
def _it_is_now(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)
    settings.RATE_LIMITS = dict.fromkeys(settings.RATE_LIMITS, "100000/minute")


def refused(answer: Answer) -> str:
    """Return the only code of what was refused, with the status that it has in REST."""
    assert answer.data is None or set(answer.data.values()) == {None}
    [error] = answer.errors
    return f"{error['extensions']['status']} {error['extensions']['code']}"


def as_rest(shown: dict[str, Any]) -> dict[str, Any]:
    """Write what GraphQL says as REST does: statuses in lower case, no reason as an empty one."""
    known = {"status", "venueAvailabilityStatus", "cancellationReason"}
    return {
        name: (value or "").lower() if name in known
        else value.replace("+00:00", "Z") if isinstance(value, str) else value
        for name, value in shown.items()
    }  # fmt: skip


def by_rest(api: Api, entry: WaitlistEntry) -> dict[str, Any]:
    """Read an entry by REST, with its names in camelCase."""
    body = api.get(f"organizations/{entry.tenant_id}/waitlists/{entry.pk}").json()
    return {to_camel_case(name): value for name, value in body.items()}


# Reading


def test_an_entry_is_told_as_by_rest(api: Api, hold: Hold) -> None:
    """Each field of each state."""
    entry = WaitlistEntry.objects.get()
    answer = ask(api, READ, id=str(entry.pk))
    assert not answer.errors
    assert as_rest(answer.data["done"]) == by_rest(api, entry)
    assert answer.data["done"]["status"] == "OFFERED"
    assert answer.data["done"]["venueAvailabilityStatus"] == "ACCEPTING_EVENTS"
    assert answer.data["done"]["holdRemainingSeconds"] == 2 * 86400
    entries.cancel(entry_id=entry.pk, reason="declined_offer", notes="?", actor=STAFF, now=NOW)
    shown = ask(api, READ, id=str(entry.pk)).data["done"]
    assert as_rest(shown) == by_rest(api, entry)
    assert (shown["cancellationReason"], shown["queuePosition"]) == ("DECLINED_OFFER", None)


def test_no_field_of_rest_is_missing(api: Api, entry: WaitlistEntry) -> None:
    assert set(types()["VenueWaitlistEntryType"].fields) == set(by_rest(api, entry))


def test_a_reason_that_only_staff_give_is_another(api: Api, entry: WaitlistEntry) -> None:
    entries.cancel(entry_id=entry.pk, reason="duplicate", actor=STAFF, now=NOW)
    assert ask(api, READ, id=str(entry.pk)).data["done"]["cancellationReason"] == "OTHER"


def test_the_list_is_in_pages_with_its_counts(organizer: Tenant, api: Api) -> None:
    made = [asking.wait(place=venues.open_venue(), by=organizer, at=NOW + n * DAY)
            for n in range(4)]  # fmt: skip
    entries.cancel(entry_id=made[0].pk, reason="other", actor=STAFF, now=NOW)
    asking.wait(place=venues.open_venue())  # another's
    order = {str(entry.pk): n for n, entry in enumerate(made)}

    def listed(arguments: str = "") -> tuple[list[int], list[int]]:
        answer = ask(api, f"{{ done: myWaitlistEntries{arguments} {LIST} }}")
        assert not answer.errors
        done = answer.data["done"]
        shown = [order[one["id"]] for one in done["waitlistEntries"]]
        return shown, [*done["pagination"].values()]

    assert listed() == ([3, 2, 1, 0], [1, 10, 4, 1])
    assert listed("(page: 2, pageSize: 3)") == ([0], [2, 3, 4, 2])
    assert listed("(page: 9)") == ([], [9, 10, 4, 1])
    assert listed("(activeOnly: true)")[0] == [3, 2, 1]
    assert listed("(activeOnly: false)")[0] == [3, 2, 1, 0]
    assert listed("(status: CANCELLED)")[0] == [0]
    assert listed("(status: WAITING, activeOnly: true)")[0] == [3, 2, 1]
    assert listed("(status: OFFERED)")[0] == []
    for bad in ("page: 0", "page: 1000001", "pageSize: 0", "pageSize: 51"):
        answer = ask(api, f"{{ myWaitlistEntries({bad}) {{ pagination {{ page }} }} }}")
        assert refused(answer) == "400 invalid"
        [error] = answer.errors[0]["extensions"]["errors"]
        assert error["field"] == bad.split(":")[0]
    for bad in ("status: waiting", "status: GONE", "activeOnly: 1", "page: 1.5", "venue: 1"):
        answer = ask(api, f"{{ myWaitlistEntries({bad}) {{ pagination {{ page }} }} }}")
        assert refused(answer) == "400 invalid"


def test_a_list_takes_as_many_statements_for_50_rows_as_for_1(
    organizer: Tenant, api: Api, django_assert_num_queries: Callable[..., Any]
) -> None:
    """With all fields, of entries that are offered their venue."""
    places = [venues.open_venue() for _ in range(50)]

    def wait(places: list[Facility]) -> None:
        for source in asking.refused(places=places, by=organizer):
            entry = asking.join(source=source)
            if WaitlistEntry.objects.count() <= 45:  # five may be active
                entries.cancel(entry_id=entry.pk, reason="other", actor=STAFF, now=NOW)
            else:
                asking.offer(place=entry.facility)

    def listed(statements: int) -> int:
        with django_assert_num_queries(statements):
            answer = ask(api, f"{{ done: myWaitlistEntries(pageSize: 50) {LIST} }}")
        assert not answer.errors
        return len(answer.data["done"]["waitlistEntries"])

    wait(places[:1])
    assert listed(6) == 1
    for start in range(1, 50, 10):  # an RFP goes to so many
        wait(places[start : start + 10])
    assert listed(6) == 50
    assert WaitlistEntry.objects.filter(status="offered").count() == 5


# Joining


def test_an_organizer_joins_with_one_id(place: Facility, organizer: Tenant, api: Api) -> None:
    [source] = asking.refused(places=[place], by=organizer)
    answer = ask(api, JOIN, id=str(source.pk))
    assert not answer.errors
    entry = WaitlistEntry.objects.get()
    assert answer.data["done"]["queuePosition"] == 1
    assert as_rest(answer.data["done"]) == by_rest(api, entry)
    assert refused(ask(api, JOIN, id=str(source.pk))) == "409 already_waiting"
    [others] = asking.refused(places=[place], by=asking.organizer())
    for strange in (uuid4(), others.pk):
        assert refused(ask(api, JOIN, id=str(strange))) == "404 not_found"
    assert refused(ask(api, JOIN, id="x")) == "400 invalid"


def test_five_and_no_more_however_they_are_asked_for(organizer: Tenant, api: Api) -> None:
    sources = asking.refused(places=[venues.open_venue() for _ in range(6)], by=organizer)
    several = " ".join(
        f'j{n}: joinVenueWaitlist(sourceRfpVenueId: "{source.pk}") {{ id }}'
        for n, source in enumerate(sources)
    )
    answer = ask(api, f"mutation {{ {several} }}")
    assert answer.codes == ["too_many_entries"]
    assert answer.errors[0]["path"] == ["j5"]
    assert answer.errors[0]["extensions"]["retryAfter"] == 3600
    assert answer.errors[0]["extensions"]["status"] == 429
    assert [one and bool(one["id"]) for one in answer.data.values()] == [True] * 5 + [None]
    assert refused(ask(api, JOIN, id=str(sources[0].pk))) == "409 already_waiting"
    assert WaitlistEntry.objects.count() == 5


def test_dates_that_are_over_are_refused_by_the_name_of_the_argument(
    place: Facility, organizer: Tenant, api: Api
) -> None:
    over: dict[str, Any] = {
        "preferred_dates_start": NOW.date() - 40 * DAY,
        "preferred_dates_end": None,
    }
    [late] = asking.refused(places=[place], by=organizer, **over)
    answer = ask(api, JOIN, id=str(late.pk))
    assert refused(answer) == "400 invalid"
    [error] = answer.errors[0]["extensions"]["errors"]
    assert error["field"] == "sourceRfpVenueId"


# Converting


def test_an_offer_is_converted_to_a_draft(api: Api, hold: Hold) -> None:
    answer = ask(api, CONVERT, id=str(hold.entry_id))
    assert not answer.errors
    entry = WaitlistEntry.objects.get()
    new = entry.converted_rfp
    assert new is not None
    assert answer.data["done"]["newRfp"] == {
        "id": str(new.pk), "title": "Spring gala", "status": "DRAFT", "venueCount": 1,
        "message": "A new RFP to this venue was drafted. Check it and send it.",
    }  # fmt: skip
    assert as_rest(answer.data["done"]["waitlistEntry"]) == by_rest(api, entry)
    assert answer.data["done"]["waitlistEntry"]["status"] == "CONVERTED"
    again = ask(api, CONVERT, id=str(hold.entry_id))
    assert refused(again) == "409 hold_closed"
    assert again.errors[0]["extensions"]["state"] == "accepted"


def test_what_cannot_be_converted(
    organizer: Tenant, api: Api, entry: WaitlistEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def convert() -> str:
        return refused(ask(api, CONVERT, id=str(entry.pk)))

    assert convert() == "409 not_offered"
    hold = asking.offer(place=entry.facility)
    for _ in range(5):
        rfps.add(organizer_id=organizer.pk, values=venues.contents(), venue_ids=[], actor=STAFF,
                 now=NOW)  # fmt: skip
    assert convert() == "429 too_many_rfps"
    monkeypatch.setattr(clock, "now", lambda: hold.expires_at)
    assert convert() == "422 hold_lapsed"
    holds.expire_due(now=hold.expires_at, limit=10)
    assert convert() == "422 hold_lapsed"


# Leaving, and the question


@pytest.mark.parametrize(
    "reason", ["NO_LONGER_NEEDED", "FOUND_ALTERNATIVE", "DECLINED_OFFER", "OTHER"]
)
def test_an_entry_is_cancelled_with_each_reason(
    api: Api, entry: WaitlistEntry, reason: str
) -> None:
    answer = ask(api, CANCEL, id=str(entry.pk), reason=reason, notes="in York")
    assert not answer.errors
    shown = answer.data["done"]
    assert (shown["status"], shown["cancellationReason"], shown["cancellationNotes"]) == (
        "CANCELLED", reason, "in York"
    )  # fmt: skip
    assert as_rest(shown) == by_rest(api, entry)
    assert refused(ask(api, CANCEL, id=str(entry.pk), reason=reason)) == "409 entry_closed"


def test_what_is_no_reason(api: Api, entry: WaitlistEntry) -> None:
    """The one that the system gives among them; notes are as REST takes them."""
    for bad in ("NUDGE_DECLINED", "BOOKED_ELSEWHERE", "other", ""):
        assert refused(ask(api, CANCEL, id=str(entry.pk), reason=bad)) == "400 invalid"
    long = ask(api, CANCEL, id=str(entry.pk), reason="OTHER", notes="x" * 2001)
    assert refused(long) == "400 invalid"
    text = f'mutation {{ cancelWaitlistEntry(waitlistId: "{entry.pk}", reason: OTHER,'
    assert refused(ask(api, text + ' notes: "\\u0000") { id } }')) == "400 invalid"
    entry.refresh_from_db()
    assert entry.status == "waiting"


@pytest.mark.parametrize(("interested", "status"), [(True, "WAITING"), (False, "CANCELLED")])
def test_the_question_is_answered(
    place: Facility, organizer: Tenant, api: Api, interested: bool, status: str
) -> None:
    entry = asking.wait(place=place, by=organizer, at=NOW - 60 * DAY, dates_flexible=True)
    nudges.ask_due(now=NOW, limit=10)
    answer = ask(api, ANSWER, id=str(entry.pk), interested=interested)
    assert not answer.errors
    shown = answer.data["done"]
    assert shown["status"] == status
    assert shown["cancellationReason"] == (None if interested else "NUDGE_DECLINED")
    assert as_rest(shown) == by_rest(api, entry)


# Whose it is


def test_another_organizers_entry_is_not_there(hold: Hold) -> None:
    stranger = log_in(tenant=asking.organizer(), role=Role.ORGANIZER)
    given = {"id": str(hold.entry_id), "reason": "OTHER", "interested": False}
    for text in (READ, CONVERT, CANCEL, ANSWER):
        wanted = {name: value for name, value in given.items() if f"${name}:" in text}
        theirs = ask(stranger, text, **wanted)
        nobodys = ask(stranger, text, **{**wanted, "id": str(uuid4())})
        assert refused(theirs) == refused(nobodys) == "404 not_found"
        assert len(str(theirs)) == len(str(nobodys))
    answer = ask(stranger, f"{{ done: myWaitlistEntries {LIST} }}")
    assert answer.data["done"]["waitlistEntries"] == []
    assert Hold.objects.get().status == "offered"


# The owner's answer to the breaker


def test_the_owner_lets_offers_go_on(place: Facility, entry: WaitlistEntry) -> None:
    asking.free(place=place)
    owner = log_in(tenant=place.tenant, role=Role.ADMIN)
    assert refused(ask(owner, RESOLVE, id=str(place.pk))) == "409 no_breaker"
    CircuitBreaker.objects.create(tenant=place.tenant, facility=place, tripped_at=NOW - DAY)
    stranger = log_in(tenant=venues.open_venue().tenant, role=Role.ADMIN)
    assert refused(ask(stranger, RESOLVE, id=str(place.pk))) == "403 permission_denied"
    assert refused(ask(owner, RESOLVE, id=str(uuid4()))) == "404 not_found"
    answer = ask(owner, RESOLVE, id=str(place.pk))
    assert answer.data["done"] == {
        "circuitBreakerResolved": True, "cascadeResumed": True, "nextEntryOffered": True
    }  # fmt: skip
    assert str(entry.pk) not in str(answer)
