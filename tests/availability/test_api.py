"""RFPs over the API: what organizers and venues may, see and are told."""

from typing import Any

import pytest

from accounts.models import Tenant
from accounts.roles import Role
from audit import clock
from audit.models import Event
from availability.models import Rfp, RfpVenue
from tests.api import Api, log_in
from tests.venues import Scene, contents, open_venue, set_scene

pytestmark = pytest.mark.django_db

BODY = {
    **contents(),
    "preferred_dates_start": "2030-05-01",
    "preferred_dates_end": "2030-05-03",
    "response_deadline": "2030-03-11T10:00:00Z",
}


@pytest.fixture
def scene() -> Scene:
    return set_scene()


@pytest.fixture
def organizer(scene: Scene) -> Api:
    return log_in(tenant=scene.organizer, role=Role.ORGANIZER)


@pytest.fixture
def owner(scene: Scene) -> Api:
    return log_in(tenant=scene.venue.tenant, role=Role.ADMIN)


def rfps_of(tenant: Tenant, *parts: Any) -> str:
    return "/".join(map(str, ("organizations", tenant.pk, "rfps", *parts)))


def venue_of(scene: Scene, *parts: Any) -> str:
    return "/".join(map(str, ("venues", scene.venue.pk, *parts)))


def post(api: Api, path: str, body: Any = None, **headers: Any) -> Any:
    return api.post(path, body or {}, format="json", **headers)


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


# Organizers


def test_the_life_of_an_rfp(scene: Scene, organizer: Api, owner: Api) -> None:
    mine = rfps_of(scene.organizer)
    made = post(organizer, mine, {**BODY, "venues": [str(scene.venue.pk)]})
    assert made.status_code == 201, made.content
    rfp = made.json()
    assert (rfp["status"], rfp["version"], made["ETag"]) == ("draft", 1, '"1"')
    assert made["Location"].endswith(f"{mine}/{rfp['id']}")
    assert {name: rfp[name] for name in BODY} == BODY
    [target] = rfp["rfp_venues"]
    assert (target["venue"], target["status"], target["response"]) == (
        str(scene.venue.pk), "pending", None
    )  # fmt: skip
    edited = organizer.patch(
        f"{mine}/{rfp['id']}", {"title": "Autumn gala"}, format="json", HTTP_IF_MATCH='"1"'
    )
    assert (edited.status_code, edited.json()["title"]) == (200, "Autumn gala")
    assert owner.get(venue_of(scene, "rfps")).json()["total"] == 0
    sent = post(organizer, f"{mine}/{rfp['id']}/send", HTTP_IF_MATCH=edited["ETag"])
    assert (sent.status_code, sent.json()["status"]) == (200, "sent")
    [received] = owner.get(venue_of(scene, "rfps")).json()["results"]
    assert (received["id"], received["title"]) == (target["id"], "Autumn gala")
    assert received["organizer_name"] == scene.organizer.name
    answer = post(
        owner, venue_of(scene, "rfps", target["id"], "respond"),
        {"availability": "tentative", "notes": "The small hall"}, HTTP_IF_MATCH='"1"',
    )  # fmt: skip
    assert (answer.status_code, answer.json()["status"]) == (200, "responded")
    chosen = {"rfp_venue": target["id"]}
    listed = post(organizer, f"{mine}/{rfp['id']}/shortlist", chosen)
    assert listed.json()["rfp_venues"][0]["status"] == "shortlisted"
    awarded = post(organizer, f"{mine}/{rfp['id']}/award", chosen).json()
    assert (awarded["status"], awarded["rfp_venues"][0]["status"]) == ("awarded", "awarded")
    assert awarded["rfp_venues"][0]["response_notes"] == "The small hall"
    assert code(post(organizer, f"{mine}/{rfp['id']}/close")) == (409, "rfp_ended")


def test_rfps_are_listed(scene: Scene, organizer: Api) -> None:
    first, second = scene.draft(to=[scene.venue, open_venue()]), scene.send()
    path = rfps_of(scene.organizer)
    page = organizer.get(path).json()
    assert [one["id"] for one in page["results"]] == [str(second.pk), str(first.pk)]
    found = organizer.get(path, {"status": "draft"}).json()["results"]
    assert [one["id"] for one in found] == [str(first.pk)]
    assert code(organizer.get(path, {"status": "new"})) == (400, "invalid")
    assert code(organizer.get(path, {"state": "draft"})) == (400, "invalid")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"title": ""}, "title"),
        ({"attendance_max": 10}, "attendance_max"),
        ({"attendance_min": 0}, "attendance_min"),
        ({"attendance_min": "5"}, "attendance_min"),
        ({"preferred_dates_end": "2030-04-01"}, "preferred_dates_end"),
        ({"preferred_dates_start": None}, "preferred_dates_start"),
        ({"space_requirements": "banquet"}, "space_requirements"),
        ({"space_requirements": [{"a": 1}]}, "space_requirements"),
        ({"response_deadline": "tomorrow"}, "response_deadline"),
        ({"status": "sent"}, "status"),
        ({"venues": ["x"]}, "venues"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_a_bad_value_is_named(
    scene: Scene, organizer: Api, changes: dict[str, Any], field: str
) -> None:
    answer = post(organizer, rfps_of(scene.organizer), {**BODY, **changes})
    if field == "status":  # what one may not set is passed over
        assert answer.json()["status"] == "draft"
        return
    assert code(answer) == (400, "invalid"), answer.content
    assert {error["field"].split(".")[0] for error in answer.json()["errors"]} == {field}
    assert not Rfp.objects.exists()


def test_an_rfp_that_asks_for_nothing_in_particular(scene: Scene, organizer: Api) -> None:
    plain = {
        "title": "Some day", "event_type": "gala", "dates_flexible": True, "attendance_min": 1,
        "attendance_max": 2, "response_deadline": "2030-03-11T10:00:00Z",
    }  # fmt: skip
    made = post(organizer, rfps_of(scene.organizer), plain).json()
    assert (made["rfp_venues"], made["space_requirements"]) == ([], [])
    sent = post(organizer, rfps_of(scene.organizer, made["id"], "send"))
    assert code(sent) == (400, "invalid")
    assert [error["field"] for error in sent.json()["errors"]] == ["venues"]


def test_a_sixth_rfp_is_too_many(scene: Scene, organizer: Api) -> None:
    drafts = [scene.draft() for _ in range(5)]
    answer = post(organizer, rfps_of(scene.organizer), BODY)
    assert code(answer) == (429, "too_many_rfps")
    assert answer["Retry-After"] == "3600"
    assert organizer.delete(rfps_of(scene.organizer, drafts[0].pk)).status_code == 204
    assert post(organizer, rfps_of(scene.organizer), BODY).status_code == 201


def test_the_same_request_drafts_once(scene: Scene, organizer: Api) -> None:
    path = rfps_of(scene.organizer)
    first, again = (post(organizer, path, BODY, HTTP_IDEMPOTENCY_KEY="one") for _ in range(2))
    assert first.json() == again.json()
    assert Rfp.objects.count() == 1
    other = post(organizer, path, {**BODY, "title": "Other"}, HTTP_IDEMPOTENCY_KEY="one")
    assert code(other) == (422, "key_reused")


def test_what_is_refused_of_an_rfp(scene: Scene, organizer: Api) -> None:
    draft, sent, elsewhere = scene.draft(), scene.send(), scene.send()

    def of(rfp: Rfp, step: str) -> str:
        return rfps_of(scene.organizer, rfp.pk, step)

    target = {"rfp_venue": str(scene.target(sent).pk)}
    title = {"title": "Autumn gala"}
    path = rfps_of(scene.organizer, sent.pk)
    assert code(organizer.patch(path, title, format="json")) == (409, "rfp_not_draft")
    assert code(organizer.delete(path)) == (409, "rfp_not_draft")
    assert code(post(organizer, of(sent, "send"))) == (409, "rfp_not_draft")
    assert code(post(organizer, of(sent, "award"), target)) == (409, "venue_not_eligible")
    assert code(post(organizer, of(sent, "shortlist"), target)) == (409, "venue_not_eligible")
    assert code(post(organizer, of(sent, "award"))) == (400, "invalid")
    theirs = {"rfp_venue": str(scene.target(elsewhere).pk)}
    answer = post(organizer, of(sent, "award"), theirs)
    assert code(answer) == (404, "not_found")
    assert answer.json()["errors"][0]["field"] == "rfp_venue"
    assert code(post(organizer, of(draft, "award"), target)) == (409, "rfp_not_sent")
    assert code(post(organizer, of(sent, "close"), HTTP_IF_MATCH='"1"')) == (412, "stale")


def test_an_organizer_sees_its_own_rfps_only(scene: Scene, organizer: Api) -> None:
    other = set_scene(venue=scene.venue)
    theirs = other.send()
    assert organizer.get(rfps_of(scene.organizer)).json()["total"] == 0
    for answer in (
        organizer.get(rfps_of(scene.organizer, theirs.pk)),
        organizer.patch(rfps_of(scene.organizer, theirs.pk), {}, format="json"),
        organizer.delete(rfps_of(scene.organizer, theirs.pk)),
        post(organizer, rfps_of(scene.organizer, theirs.pk, "close")),
        post(organizer, rfps_of(scene.organizer, theirs.pk, "send")),
    ):
        assert code(answer) == (404, "not_found")
    for answer in (
        organizer.get(rfps_of(other.organizer)),
        organizer.get(rfps_of(other.organizer, theirs.pk)),
        post(organizer, rfps_of(other.organizer), BODY),
    ):
        assert code(answer) == (403, "permission_denied")
    foreign = post(organizer, rfps_of(scene.organizer), {**BODY, "venues": [str(theirs.pk)]})
    assert code(foreign) == (404, "not_found")
    assert foreign.json()["errors"][0]["field"] == "venues"


# Venues


def test_a_venue_sees_only_what_was_sent_to_it(scene: Scene, owner: Api, organizer: Api) -> None:
    """Not drafts, not those closed as drafts, not those of other venues; and its own row of one."""
    other = open_venue()
    scene.draft()
    discarded, shared, elsewhere = scene.draft(), scene.draft(to=[scene.venue, other]), None
    organizer.delete(rfps_of(scene.organizer, discarded.pk))
    scene.send(shared)
    elsewhere = scene.send(to=[other])
    scene.answer(shared, venue=other)
    text = owner.get(venue_of(scene, "rfps")).content.decode()
    for hidden in (other.pk, elsewhere.pk, discarded.pk, scene.target(shared, other).pk):
        assert str(hidden) not in text
    [received] = owner.get(venue_of(scene, "rfps")).json()["results"]
    assert (received["rfp"], received["status"]) == (str(shared.pk), "pending")
    assert owner.get(venue_of(scene, "rfps"), {"status": "responded"}).json()["total"] == 0
    unsent = RfpVenue.objects.get(rfp=discarded)
    for pk in (unsent.pk, scene.target(elsewhere, other).pk):
        answer = post(owner, venue_of(scene, "rfps", pk, "respond"), {"availability": "confirmed"})
        assert code(answer) == (404, "not_found")


def test_what_is_refused_of_an_answer(scene: Scene, owner: Api) -> None:
    rfp = scene.send()
    path = venue_of(scene, "rfps", scene.target(rfp).pk, "respond")
    for body in ({}, {"availability": "maybe"}, {"availability": "confirmed", "notes": 1}):
        assert code(post(owner, path, body)) == (400, "invalid")
    yes = {"availability": "confirmed"}
    assert code(post(owner, path, yes, HTTP_IF_MATCH='"7"')) == (412, "stale")
    assert post(owner, path, yes).status_code == 200
    assert code(post(owner, path, yes)) == (409, "already_answered")
    closed = scene.send()
    Rfp.objects.filter(pk=closed.pk).update(status="closed")
    path = venue_of(scene, "rfps", scene.target(closed).pk, "respond")
    assert code(post(owner, path, yes)) == (409, "rfp_ended")


@pytest.mark.parametrize("path", ["rfps", "availability", "availability/override"])
def test_a_venue_is_its_owners(scene: Scene, owner: Api, path: str) -> None:
    """A venue's id is public, so that another's is 403; what is no venue is 404."""
    stranger = log_in(tenant=open_venue().tenant, role=Role.ADMIN)
    method = "delete" if path.endswith("override") else "get"
    assert code(getattr(stranger, method)(venue_of(scene, path))) == (403, "permission_denied")
    elsewhere = f"venues/{scene.organizer.pk}/{path}"
    assert code(getattr(owner, method)(elsewhere)) == (404, "not_found")


# What is shown


def test_the_owner_reads_sets_and_clears_what_is_shown(scene: Scene, owner: Api) -> None:
    scene.asked("unavailable", at=clock.now())
    path = venue_of(scene, "availability")
    shown = owner.get(path)
    assert shown["ETag"] == '"1"'
    body = shown.json()
    assert body.pop("updated_at")
    assert body == {
        "venue_id": str(scene.venue.pk),
        "availability_status": "not_set",
        "is_manual_override": False,
        "manual_override_at": None,
        "inferred_status": None,
        "last_inferred_at": None,
        "signal_summary": {
            "period_days": 90,
            "counts": {
                "confirmed": 0, "tentative": 0, "unavailable": 1, "no_response": 0, "awarded": 0,
                "lost_to_competitor": 0, "rfp_cancelled": 1, "manual_available": 0,
                "manual_unavailable": 0,
            },
            "unavailable_ratio": 1.0,
        },
        "version": 1,
    }  # fmt: skip
    change = {"availability_status": "seasonal"}
    for stale in (
        owner.put(path, change, format="json", HTTP_IF_MATCH='"9"'),
        owner.delete(f"{path}/override", HTTP_IF_MATCH='"9"'),
    ):
        assert code(stale) == (412, "stale")
    done = owner.put(path, change, format="json", HTTP_IF_MATCH='"1"')
    assert (done.status_code, done["ETag"]) == (200, '"2"')
    assert (done.json()["availability_status"], done.json()["is_manual_override"]) == (
        "seasonal", True
    )  # fmt: skip
    cleared = owner.delete(f"{path}/override")
    assert (cleared.status_code, cleared.json()["availability_status"]) == (200, "not_set")
    assert owner.delete(f"{path}/override").json()["version"] == cleared.json()["version"]
    assert Event.objects.get(kind="venue.override_cleared").actor_id == owner.user.pk  # type: ignore[union-attr]


@pytest.mark.parametrize("status", ["not_set", "open", None, 1])
def test_a_bad_status_is_400(scene: Scene, owner: Api, status: Any) -> None:
    body = {"availability_status": status}
    answer = owner.put(venue_of(scene, "availability"), body, format="json")
    assert code(answer) == (400, "invalid")
    assert answer.json()["errors"][0]["field"] == "availability_status"


def test_staff_of_a_venue_read_what_its_admins_set(scene: Scene) -> None:
    staff = log_in(tenant=scene.venue.tenant, role=Role.STAFF)
    assert staff.get(venue_of(scene, "availability")).status_code == 200
    body = {"availability_status": "seasonal"}
    answer = staff.put(venue_of(scene, "availability"), body, format="json")
    assert code(answer) == (403, "permission_denied")


# The badge


def test_the_badge_is_everybodys(scene: Scene) -> None:
    scene.set("limited_availability")
    answer = Api().get(venue_of(scene, "availability/status"))
    assert answer.status_code == 200
    assert answer.json() == {
        "venue_id": str(scene.venue.pk),
        "availability_status": "limited_availability",
        "badge_color": "yellow",
        "badge_label": "Limited Availability",
    }
    assert code(Api().get(f"venues/{scene.organizer.pk}/availability/status")) == (
        404, "not_found"
    )  # fmt: skip


def test_a_token_that_is_over_does_not_keep_one_from_the_badge(scene: Scene) -> None:
    api = Api()
    api.credentials(HTTP_AUTHORIZATION="Bearer nonsense")
    assert api.get(venue_of(scene, "availability/status")).status_code == 200


def test_badges_that_are_not_kept_are_counted(scene: Scene, settings: Any) -> None:
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "badge": "2/minute"}
    address = {"REMOTE_ADDR": f"192.0.2.{scene.venue.pk.int % 250}"}
    path = venue_of(scene, "availability/status")
    for _ in range(5):
        assert Api().get(path, **address).status_code == 200
    unknown = f"venues/{scene.organizer.pk}/availability/status"
    assert Api().get(unknown, **address).status_code == 404
    limited = Api().get(unknown, **address)
    assert (code(limited), limited["Retry-After"].isdigit()) == ((429, "throttled"), True)
    assert Api().get(path, **address).status_code == 200
