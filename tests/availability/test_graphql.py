"""What GraphQL tells of venues, and what owners set: the same as by REST, and as refused."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from strawberry.utils.str_converters import to_camel_case

from accounts.roles import Role
from audit import clock
from availability.badges import LOOKS
from tests.api import Api, log_in
from tests.factories import FacilityFactory
from tests.graphql import Answer, all_of, ask, types
from tests.venues import Scene, open_venue, set_scene
from tests.waitlist.worlds import NOW

pytestmark = pytest.mark.django_db

SHOWN = all_of("VenueAvailabilityType")
GET = f"query ($id: UUID!) {{ done: venueAvailability(venueId: $id) {SHOWN} }}"
BADGE = f"""query ($id: UUID!) {{
    done: venueAvailabilityBadge(venueId: $id) {all_of("AvailabilityBadge")} }}"""
SET = f"""mutation ($id: UUID!, $status: AvailabilityStatus!) {{
    done: setVenueAvailability(venueId: $id, status: $status) {SHOWN} }}"""
CLEAR = f"mutation ($id: UUID!) {{ done: clearVenueAvailabilityOverride(venueId: $id) {SHOWN} }}"
VENUE = "id name slug city country availabilityStatus availabilityBadgeColor availabilityBadgeLabel"
ONE = f"query ($id: UUID!) {{ done: venue(id: $id) {{ {VENUE} }} }}"
MANY = f"""query ($page: Int! = 1, $pageSize: Int! = 10) {{
    done: venues(page: $page, pageSize: $pageSize) {{ venues {{ {VENUE} }}
        pagination {all_of("Pagination")} }} }}"""


@pytest.fixture(autouse=True)
def _it_is_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)


@pytest.fixture
def scene() -> Scene:
    return set_scene(
        venue=open_venue(name="Great Hall", slug="great-hall", city="Leeds", country="GB")
    )


@pytest.fixture
def owner(scene: Scene) -> Api:
    return log_in(tenant=scene.venue.tenant, role=Role.ADMIN)


@pytest.fixture
def organizer(scene: Scene) -> Api:
    return log_in(tenant=scene.organizer, role=Role.ORGANIZER)


def refused(answer: Answer) -> str:
    assert answer.data is None or set(answer.data.values()) == {None}
    [error] = answer.errors
    return f"{error['extensions']['status']} {error['extensions']['code']}"


def by_rest(api: Api, scene: Scene) -> dict[str, Any]:
    """Read what is shown by REST, as GraphQL writes it."""
    body = api.get(f"venues/{scene.venue.pk}/availability").json()
    summary = body["signal_summary"]
    for name in ("availability_status", "inferred_status"):
        body[name] = body[name] and body[name].upper()
    for name in ("manual_override_at", "last_inferred_at", "updated_at"):
        body[name] = body[name] and body[name].replace("Z", "+00:00")
    body["signal_summary"] = {
        "periodDays": summary["period_days"],
        "counts": [{"type": one.upper(), "count": n} for one, n in summary["counts"].items()],
        "unavailableRatio": summary["unavailable_ratio"],
    }
    return {to_camel_case(name): value for name, value in body.items()}


def test_what_is_shown_is_told_as_by_rest(scene: Scene, owner: Api) -> None:
    """With the counts of each type of signal."""
    for response in ("confirmed", "unavailable", "unavailable"):
        scene.asked(response)
    scene.set("limited_availability")
    answer = ask(owner, GET, id=str(scene.venue.pk))
    assert not answer.errors
    done = answer.data["done"]
    assert done == by_rest(owner, scene)
    assert set(types()["VenueAvailabilityType"].fields) == set(done)
    counts = {one["type"]: one["count"] for one in done["signalSummary"]["counts"]}
    assert counts == {
        "CONFIRMED": 1, "TENTATIVE": 0, "UNAVAILABLE": 2, "NO_RESPONSE": 0, "AWARDED": 0,
        "LOST_TO_COMPETITOR": 0, "RFP_CANCELLED": 3, "MANUAL_AVAILABLE": 1,
        "MANUAL_UNAVAILABLE": 0,
    }  # fmt: skip
    assert done["signalSummary"]["unavailableRatio"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    "status", ["ACCEPTING_EVENTS", "LIMITED_AVAILABILITY", "FULLY_BOOKED", "SEASONAL"]
)
def test_the_owner_sets_each_status_and_clears_it(scene: Scene, owner: Api, status: str) -> None:
    answer = ask(owner, SET, id=str(scene.venue.pk), status=status)
    assert not answer.errors
    assert answer.data["done"] == by_rest(owner, scene)
    assert answer.data["done"]["availabilityStatus"] == status
    assert answer.data["done"]["isManualOverride"] is True
    cleared = ask(owner, CLEAR, id=str(scene.venue.pk))
    assert cleared.data["done"] == by_rest(owner, scene)
    assert cleared.data["done"]["availabilityStatus"] == "NOT_SET"
    assert cleared.data["done"]["manualOverrideAt"] is None


def test_what_cannot_be_set(scene: Scene, owner: Api, organizer: Api) -> None:
    answer = ask(owner, SET, id=str(scene.venue.pk), status="NOT_SET")
    assert refused(answer) == "400 invalid"
    assert answer.errors[0]["extensions"]["errors"][0]["field"] == "availabilityStatus"
    assert refused(ask(owner, SET, id=str(scene.venue.pk), status="seasonal")) == "400 invalid"
    stranger = log_in(tenant=open_venue().tenant, role=Role.ADMIN)
    for text, more in ((GET, {}), (SET, {"status": "SEASONAL"}), (CLEAR, {})):
        assert (
            refused(ask(stranger, text, id=str(scene.venue.pk), **more)) == "403 permission_denied"
        )
        assert refused(ask(owner, text, id=str(uuid4()), **more)) == "404 not_found"
        assert (
            refused(ask(owner, text, id=str(FacilityFactory.create().pk), **more))
            == "404 not_found"
        )
    staff = log_in(tenant=scene.venue.tenant, role=Role.STAFF)
    assert not ask(staff, GET, id=str(scene.venue.pk)).errors
    assert set(ask(staff, CLEAR, id=str(scene.venue.pk)).codes) == {"permission_denied"}
    assert scene.availability.manual_override_at is None


# The badge, and venues


@pytest.mark.parametrize("status", LOOKS)
def test_the_badge_is_everybodys(scene: Scene, status: str) -> None:
    if status != "not_set":
        scene.set(status)
    answer = ask(Api(), BADGE, id=str(scene.venue.pk))
    assert not answer.errors
    color, label = LOOKS[status]
    assert answer.data["done"] == {
        "venueId": str(scene.venue.pk), "availabilityStatus": status.upper(),
        "badgeColor": color, "badgeLabel": label,
    }  # fmt: skip
    assert refused(ask(Api(), BADGE, id=str(uuid4()))) == "404 not_found"


def test_a_kept_badge_takes_no_statement(
    scene: Scene, django_assert_num_queries: Callable[..., Any]
) -> None:
    ask(Api(), BADGE, id=str(scene.venue.pk))
    with django_assert_num_queries(0):
        assert not ask(Api(), BADGE, id=str(scene.venue.pk)).errors


def test_many_badges_in_one_request_are_counted_one_by_one(settings: Any) -> None:
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "badge": "3/minute"}
    several = " ".join(
        f'b{n}: venueAvailabilityBadge(venueId: "{uuid4()}") {{ badgeColor }}' for n in range(10)
    )
    answer = ask(Api(), f"{{ {several} }}")
    assert answer.codes == ["not_found"] * 3 + ["throttled"] * 7
    assert answer.errors[5]["extensions"]["status"] == 429
    assert answer.errors[5]["extensions"]["retryAfter"] > 0


def test_a_venue_is_shown_with_its_badge(scene: Scene, owner: Api, organizer: Api) -> None:
    scene.set("seasonal")
    for api in (owner, organizer):
        answer = ask(api, ONE, id=str(scene.venue.pk))
        assert not answer.errors
        assert answer.data["done"] == {
            "id": str(scene.venue.pk), "name": "Great Hall", "slug": "great-hall", "city": "Leeds",
            "country": "GB", "availabilityStatus": "SEASONAL", "availabilityBadgeColor": "blue",
            "availabilityBadgeLabel": "Seasonal Venue",
        }  # fmt: skip


@pytest.mark.parametrize("status", LOOKS)
def test_availability_badge_is_included_in_venue_list_and_detail_graphql_responses(
    scene: Scene, organizer: Api, status: str
) -> None:
    """The checklist's line of that name."""
    if status != "not_set":
        scene.set(status)
    [listed] = ask(organizer, MANY).data["done"]["venues"]
    for shown in (listed, ask(organizer, ONE, id=str(scene.venue.pk)).data["done"]):
        badge = shown["availabilityBadgeColor"], shown["availabilityBadgeLabel"]
        assert badge == LOOKS[status]


def test_whether_it_was_set_by_hand_is_for_its_owner_alone(
    scene: Scene, owner: Api, organizer: Api
) -> None:
    text = f'{{ venue(id: "{scene.venue.pk}") {{ availabilityIsManualOverride }} }}'
    assert ask(owner, text).data["venue"] == {"availabilityIsManualOverride": False}
    scene.set("fully_booked")
    assert ask(owner, text).data["venue"] == {"availabilityIsManualOverride": True}
    assert ask(organizer, text).codes == ["permission_denied"]
    other = log_in(tenant=open_venue().tenant, role=Role.ADMIN)
    assert refused(ask(other, text)) == "404 not_found"


def test_who_sees_which_venues(scene: Scene, owner: Api, organizer: Api) -> None:
    """Organizers all that are open; others those of their facilities that are venues."""
    another, closed = open_venue(name="A Barn"), open_venue(name="Closed", is_active=False)
    own_closed = open_venue(name="Old Hall", tenant=scene.venue.tenant, is_active=False)
    clinic = FacilityFactory.create(tenant=scene.venue.tenant)
    patient = log_in(tenant=scene.venue.tenant, role=Role.PATIENT)
    provider = log_in(tenant=scene.venue.tenant, role=Role.PROVIDER)
    seen = {
        organizer: ["A Barn", "Great Hall"], owner: ["Great Hall", "Old Hall"],
        patient: ["Great Hall"], provider: [],
    }  # fmt: skip
    for api, names in seen.items():
        answer = ask(api, MANY)
        assert not answer.errors
        assert [one["name"] for one in answer.data["done"]["venues"]] == names
        assert answer.data["done"]["pagination"]["totalCount"] == len(names)
        for one in (another, closed, own_closed, scene.venue, clinic):
            found = ask(api, ONE, id=str(one.pk))
            wanted = None if one.name in names else "404 not_found"
            assert (refused(found) if found.errors else None) == wanted
    page = ask(organizer, MANY, page=2, pageSize=1).data["done"]
    assert [one["name"] for one in page["venues"]] == ["Great Hall"]
    assert page["pagination"] == {"page": 2, "pageSize": 1, "totalCount": 2, "totalPages": 2}
    assert refused(ask(organizer, MANY, pageSize=51)) == "400 invalid"


def test_a_list_takes_as_many_statements_for_50_venues_as_for_1(
    scene: Scene, organizer: Api, owner: Api, django_assert_num_queries: Callable[..., Any]
) -> None:
    def listed(api: Api, statements: int) -> int:
        more = "availabilityIsManualOverride" if api is owner else ""
        text = f"{{ venues(pageSize: 50) {{ venues {{ {VENUE} {more} }} }} }}"
        with django_assert_num_queries(statements):
            return len(ask(api, text).data["venues"]["venues"])

    for api in (organizer, owner):
        listed(api, 4)
    for n in range(49):
        open_venue(name=f"Hall {n}", tenant=scene.venue.tenant)
    assert {listed(api, 4) for api in (organizer, owner)} == {50}
