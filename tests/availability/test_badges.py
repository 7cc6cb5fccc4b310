"""The badge: kept for five minutes, dropped by every change."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.core.cache import cache
from django.db import transaction
from redis.connection import AbstractConnection
from redis.exceptions import ConnectionError

from audit.errors import NotFound
from availability import badges, statuses
from tests import factories
from tests.api import Api, log_in
from tests.availability.test_statuses import infer
from tests.graphql import ask
from tests.venues import OWNER, Scene, set_scene
from tests.waitlist.worlds import NOW

LOOKS = {
    "accepting_events": ("green", "Accepting Events"),
    "limited_availability": ("yellow", "Limited Availability"),
    "fully_booked": ("red", "Fully Booked"),
    "seasonal": ("blue", "Seasonal Venue"),
    "not_set": ("gray", "Status Unknown"),
}


@pytest.fixture
def scene(transactional_db: None) -> Scene:
    cache.clear()
    return set_scene()


@contextmanager
def valkey_calls() -> Iterator[list[str]]:
    """Collect the names of the commands that are sent to Valkey, those of pipelines in one."""
    said: list[str] = []
    send: Any = AbstractConnection.send_packed_command

    def listen(self: AbstractConnection, command: Any, **kwargs: Any) -> Any:
        packed = command if isinstance(command, bytes) else b"".join(command)
        said.append(packed.split(b"\r\n")[2].decode())  # *2 $3 GET …
        return send(self, command, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AbstractConnection, "send_packed_command", listen)
        yield said


def badge(scene: Scene) -> badges.Badge:
    pk = scene.venue.pk
    return badges.find(facility_id=pk) or badges.read(facility_id=pk)


def test_each_status_has_its_badge(scene: Scene) -> None:
    for status, look in LOOKS.items():
        one = badges.Badge(scene.venue.pk, status)
        assert (one.badge_color, one.badge_label) == look
    assert badge(scene).availability_status == "not_set"
    with pytest.raises(NotFound):
        badges.read(facility_id=uuid4())


def test_a_kept_badge_costs_one_call_of_valkey_and_no_query(
    scene: Scene, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(1):
        first = badge(scene)
    with valkey_calls() as calls, django_assert_num_queries(0):
        assert badges.find(facility_id=scene.venue.pk) == first
    assert calls == ["GET"]


def test_it_is_kept_for_five_minutes(scene: Scene) -> None:
    badge(scene)
    with valkey_calls():
        client = cache._cache.get_client(None)  # type: ignore[attr-defined]
        [key] = client.keys("*availability.badge*")
        assert 295 <= client.ttl(key) <= 300


CHANGES: dict[str, Callable[[Scene], Any]] = {
    "by hand": lambda scene: scene.set("fully_booked"),
    "inferred": lambda scene: infer(scene, "unavailable"),
    "cleared": lambda scene: statuses.clear_override(
        facility_id=scene.venue.pk, actor=OWNER, now=NOW
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_drops_it_once_it_is_committed(scene: Scene, change: str) -> None:
    if change == "cleared":
        scene.set("seasonal")
    before = badge(scene)
    with transaction.atomic():
        CHANGES[change](scene)
        assert badges.find(facility_id=scene.venue.pk) in (before, None)
    after = badge(scene)
    assert after.availability_status == scene.availability.status != before.availability_status


def test_a_change_that_is_undone_drops_nothing(scene: Scene) -> None:
    before = badge(scene)
    with transaction.atomic():
        scene.set("fully_booked")
        transaction.set_rollback(True)
    assert badges.find(facility_id=scene.venue.pk) == before


def test_who_read_before_a_change_does_not_put_the_old_badge_back(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = cache.add

    def late(*args: Any, **kwargs: Any) -> Any:
        scene.set("fully_booked")  # after the row was read, before the badge is kept
        return add(*args, **kwargs)

    monkeypatch.setattr(cache, "add", late)
    badges.read(facility_id=scene.venue.pk)
    monkeypatch.undo()
    assert badge(scene).availability_status == "fully_booked"


def test_without_valkey_it_comes_from_the_row_and_changes_go_on(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise ConnectionError

    for name in ("get", "add", "set_many", "incr"):
        monkeypatch.setattr(cache, name, away)
    assert badge(scene).availability_status == "not_set"
    scene.set("seasonal")
    infer(scene, "confirmed", at=NOW + timedelta(days=1))
    assert badge(scene).availability_status == "seasonal"


def test_public_availability_badge_endpoint_is_cached(
    scene: Scene, django_assert_num_queries: Any
) -> None:
    """The checklist's line of that name: a kept badge is one call of Valkey and no query.

    Of the whole request: for nobody in particular, somebody of the API, and a browser that is
    logged in. One that is not kept is counted besides.
    """
    path = f"venues/{scene.venue.pk}/availability/status"
    Api().get(f"venues/{uuid4()}/availability/status")  # which makes the connections
    with valkey_calls() as calls:
        first = Api().get(path)
    assert calls == ["GET", "EVALSHA", "SET"]
    browser = Api()
    browser.force_login(factories.UserFactory.create())
    for api in (Api(), log_in(tenant=scene.organizer, role="organizer"), browser):
        with valkey_calls() as calls, django_assert_num_queries(0):
            answer = api.get(path)
        assert (answer.status_code, answer.json()) == (200, first.json())
        assert calls == ["GET"]
    scene.set("seasonal")
    assert Api().get(path).json()["badge_label"] == "Seasonal Venue"


def test_a_kept_badge_by_graphql_is_counted_and_takes_no_query_either(
    scene: Scene, django_assert_num_queries: Any
) -> None:
    """An operation is counted by what it may cost before anything is read: a second call."""
    query = f'{{ venueAvailabilityBadge(venueId: "{scene.venue.pk}") {{ badgeColor }} }}'
    ask(Api(), query)
    with valkey_calls() as calls, django_assert_num_queries(0):
        assert not ask(Api(), query).errors
    assert calls == ["EVALSHA", "GET"]
