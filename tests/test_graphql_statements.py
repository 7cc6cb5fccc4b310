"""What each field of GraphQL takes of the database: as many statements for 50 rows as for one.

There are no loaders: a list reads with its rows what the fields below it show, all of them. Each
field is asked for with all that is below it.
"""

from typing import Any, NamedTuple

import pytest
from django.core.cache import cache
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from graphql import get_named_type, get_nullable_type, is_list_type, is_object_type

from accounts import costs
from accounts.roles import Role
from audit import clock
from availability import rfps, statuses
from scheduling.models import Facility
from tests import venues
from tests.api import Api, log_in
from tests.graphql import all_of, arguments, ask, types
from tests.waitlist import asking
from tests.waitlist.worlds import DAY, NOW, STAFF
from waitlist import entries
from waitlist.models import CircuitBreaker, WaitlistEntry

pytestmark = pytest.mark.django_db

#: Each field of Query and Mutation, who asks, and how many statements that takes.
STATEMENTS: dict[str, tuple[str, int]] = {
    "myWaitlistEntries": ("organizer", 6),
    "waitlistEntry": ("organizer", 5),
    "venueAvailability": ("admin", 5),
    "venueAvailabilityBadge": ("nobody", 0),
    "venue": ("admin", 3),
    "venues": ("admin", 4),
    "joinVenueWaitlist": ("organizer", 19),
    "convertWaitlistHold": ("organizer", 57),
    "cancelWaitlistEntry": ("organizer", 24),
    "respondStillInterested": ("organizer", 19),
    "setVenueAvailability": ("admin", 13),
    "clearVenueAvailabilityOverride": ("admin", 10),
    "resolveWaitlistCircuitBreaker": ("admin", 16),
}


class Scene(NamedTuple):
    """A venue that an organizer is offered and for which others wait, and who asks."""

    place: Facility
    entry: WaitlistEntry
    given: dict[str, str]
    apis: dict[str, Api]


@pytest.fixture
def scene(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Scene:
    settings.RATE_LIMITS = dict.fromkeys(settings.RATE_LIMITS, "100000/minute")
    monkeypatch.setattr(clock, "now", lambda: NOW)
    cache.clear()
    place, organizer = venues.open_venue(), asking.organizer()
    entry = asking.wait(place=place, by=organizer)
    asking.offer(place=place)
    [source] = asking.refused(places=[venues.open_venue(tenant=place.tenant)], by=organizer)
    CircuitBreaker.objects.create(tenant=place.tenant, facility=place, tripped_at=NOW - DAY)
    given = {
        "venueId": str(place.pk), "waitlistId": str(entry.pk), "sourceRfpVenueId": str(source.pk),
    }  # fmt: skip
    apis = {
        "organizer": log_in(tenant=organizer, role=Role.ORGANIZER),
        "admin": log_in(tenant=place.tenant, role=Role.ADMIN),
        "nobody": Api(),
    }
    return Scene(place, entry, given, apis)


def grow(scene: Scene) -> None:
    """Let there be 50 rows of all that a list or a nested field shows."""
    organizer = scene.entry.tenant
    places = [venues.open_venue(tenant=scene.place.tenant) for _ in range(48)]
    for start in range(0, len(places), 12):
        for source in asking.refused(places=places[start : start + 12], by=organizer):
            entry = asking.join(source=source)
            if WaitlistEntry.objects.filter(status="offered").count() < 4:
                asking.offer(place=entry.facility)
            else:  # five may be active, one of which joins below
                entries.cancel(entry_id=entry.pk, reason="other", actor=STAFF, now=NOW)
    for _ in range(20):
        asking.wait(place=scene.place)
    for response in ("confirmed", "tentative", "unavailable"):
        asked = venues.set_scene(venue=scene.place)
        rfp = asked.send(to=[scene.place, *places[:5]])
        for target in rfp.targets.all():
            rfps.respond(rfp_venue_id=target.pk, response=response, actor=STAFF, now=NOW)
    statuses.infer(now=NOW)


def operation(scene: Scene, name: str, shown: str = "") -> str:
    """Write one that asks for a field and all or what is `shown` below it, for many rows."""
    root = "Mutation" if name in types()["Mutation"].fields else "Query"
    field = types()[root].fields[name]
    who = scene.apis[STATEMENTS[name][0]]
    given = {argument: f'"{id}"' for argument, id in scene.given.items()}
    given |= {"id": given["venueId" if name == "venue" else "waitlistId"]}
    given |= {"status": "SEASONAL", "reason": "OTHER", "interested": "true"}
    asked = arguments(field, given)
    if "pageSize" in field.args:
        asked = "(pageSize: 50)"
    role = Role.ADMIN if who is scene.apis["admin"] else None
    shown = shown or all_of(get_named_type(field.type).name, role)
    return f"{root.lower()} {{ {name}{asked} {shown} }}"


def statements(scene: Scene, name: str, shown: str = "") -> tuple[int, int]:
    """Ask, and undo it; return how many statements that took, and how much was answered."""
    api, text = scene.apis[STATEMENTS[name][0]], operation(scene, name, shown)
    with transaction.atomic():
        with CaptureQueriesContext(connection) as captured:
            answer = ask(api, text)
        transaction.set_rollback(True)
    assert not answer.errors, answer.errors
    return len(captured), len(str(answer.data))


def test_every_field_of_query_and_mutation_is_counted() -> None:
    known = {name for root in ("Query", "Mutation") for name in types()[root].fields}
    assert set(STATEMENTS) == known


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_field_with_all_below_it_takes_the_same_statements_for_50_rows(
    scene: Scene, name: str
) -> None:
    statements(scene, name)  # the first one fills caches
    few, shown = statements(scene, name)
    assert few == STATEMENTS[name][1]
    grow(scene)
    many, more = statements(scene, name)
    assert many == few
    if name in {"venues", "myWaitlistEntries"}:
        assert more > 20 * shown


def reading(kind: str) -> int:
    """Count the fields below a type that are weighed as going to the database for themselves."""
    below = types().get(kind)
    fields = below.fields.values() if below else ()
    return sum(costs.reads(field=one) + reading(get_named_type(one.type).name) for one in fields)


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_field_below_takes_a_statement_only_if_it_is_weighed_so(scene: Scene, name: str) -> None:
    statements(scene, name)
    [bare, whole] = [statements(scene, name, shown)[0] for shown in ("{ __typename }", "")]
    root = "Mutation" if name in types()["Mutation"].fields else "Query"
    assert whole - bare == reading(get_named_type(types()[root].fields[name].type).name)


def test_every_list_is_one_of_those_above() -> None:
    """Each list of the schema is below a field that was counted, with 50 rows or all there are."""
    lists = {
        f"{kind}.{name}"
        for kind, type in types().items()
        for name, field in type.fields.items()
        if is_list_type(get_nullable_type(field.type))
        and is_object_type(get_named_type(field.type))
    }
    assert lists == {
        "WaitlistEntryListResult.waitlistEntries", "VenueListResult.venues",
        "AvailabilitySignalSummary.counts",
    }  # fmt: skip
