"""The routes of calendar feeds."""

from collections.abc import Iterator

import pytest
from django.conf import settings
from django.test import Client
from pytest_django import Settings
from redis import Redis

from accounts.roles import Role
from audit import clock
from notifications.models import CalendarFeed
from scheduling import appointments
from scheduling.models import Appointment
from tests import factories
from tests.api import Api, log_in, patient_of
from tests.notifications import ical
from tests.waitlist.worlds import STAFF, World

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _uncounted(settings: Settings) -> Iterator[None]:
    """Forget what was counted."""
    with Redis.from_url(settings.REDIS_URL) as valkey:
        yield
        valkey.flushdb()


@pytest.fixture
def api(clinic: World) -> Api:
    return log_in(tenant=clinic.tenant, role=Role.PATIENT)


def _subscribe(api: Api) -> str:
    """Return the path of the calendar."""
    answer = api.post("calendar-feed")
    assert answer.status_code == 201, answer.data
    return str(answer.data["url"]).removeprefix(settings.SITE_URL)


def _book(world: World, api: Api) -> Appointment:
    slot = world.slot(at=factories.tomorrow())
    return world.book(slot=slot, patient=patient_of(api=api), now=clock.now())


def test_an_address_is_shown_once_renewed_and_taken_away(clinic: World, api: Api) -> None:
    assert api.get("calendar-feed").status_code == 404
    assert api.delete("calendar-feed").status_code == 404
    first = _subscribe(api)
    shown = api.get("calendar-feed")
    assert (shown.status_code, set(shown.data)) == (200, {"version", "created_at", "rotated_at"})
    second = _subscribe(api)
    assert [Client().get(path).status_code for path in (first, second)] == [404, 200]
    assert api.delete("calendar-feed", headers={"If-Match": '"1"'}).status_code == 412
    assert api.delete("calendar-feed", headers={"If-Match": '"2"'}).status_code == 204
    assert Client().get(second).status_code == 404


def test_the_bearer_gets_a_calendar_that_they_alone_may_keep(clinic: World, api: Api) -> None:
    booked = _book(clinic, api)
    answer = Client().get(_subscribe(api))
    assert answer["Content-Type"] == "text/calendar; charset=utf-8"
    assert answer["Cache-Control"] == "private, no-cache"
    assert ical.only(answer.content).uid == f"{booked.pk}@backfill"


def test_it_is_sent_again_only_when_it_changed(clinic: World, api: Api) -> None:
    booked = _book(clinic, api)
    path = _subscribe(api)
    tag = Client().get(path)["ETag"]
    again = Client().get(path, headers={"If-None-Match": tag})
    assert (again.status_code, again.content, again["ETag"]) == (304, b"", tag)
    assert again["Cache-Control"] == "private, no-cache"
    appointments.cancel(
        appointment_id=booked.pk, reason="patient_request", actor=STAFF, now=clock.now()
    )
    changed = Client().get(path, headers={"If-None-Match": tag})
    assert changed.status_code == 200
    assert ical.only(changed.content).status == "CANCELLED"


def test_a_provider_has_one_as_well(clinic: World) -> None:
    api = log_in(tenant=clinic.tenant, role=Role.PROVIDER)
    clinic.provider.user = api.user
    clinic.provider.save()
    clinic.book(slot=clinic.slot(at=factories.tomorrow()), now=clock.now())
    assert ical.summaries(Client().get(_subscribe(api)).content) == [
        f"Booked: {clinic.service.name}"
    ]


@pytest.mark.parametrize("token", ["x", "A" * 43, "%00", "é", "a.ics"])
def test_where_there_is_no_calendar(token: str, db: None) -> None:
    answer = Client().get(f"/api/v1/calendar/{token}.ics")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert answer["Content-Type"] == "application/problem+json"
    assert token not in answer.content.decode()


def test_a_write_that_is_sent_twice_is_not_answered_from_what_was_kept(api: Api) -> None:
    """An answer that is kept would be a secret that is kept."""
    for _ in range(2):
        api.post("calendar-feed", headers={"Idempotency-Key": "1"})
    assert CalendarFeed.objects.get().version == 2


def test_each_calendar_has_a_share_of_its_own(clinic: World, api: Api, settings: Settings) -> None:
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "calendar": "2/minute"}
    mine = _subscribe(api)
    other = _subscribe(log_in(tenant=clinic.tenant, role=Role.PATIENT))
    statuses = [Client().get(path).status_code for path in (mine, mine, mine, other)]
    assert statuses == [200, 200, 429, 200]
    wrong = [Client().get("/api/v1/calendar/x.ics").status_code for _ in range(3)]
    assert wrong == [404, 404, 429]
