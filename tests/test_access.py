"""Every route of the API × every role × own and foreign tenant.

The routes come from the URL resolver, so one that nobody decided about fails here. What may be
called answers neither 401 nor 403; what may not, does; and what is another tenant's is not there.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from django.conf import settings

from accounts import routes
from accounts.roles import ROUTES, Role, roles
from accounts.routes import Route
from audit import clock
from config import docs
from tests.api import log_in, patient_of
from tests.places import Place, call, fill, kind_of, make_place

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

pytestmark = pytest.mark.django_db


# What gets past the checks of a body, so that the row is what a request fails for.
PASSING: Mapping[str, Callable[[Place], dict[str, Any]]] = {
    "waitlist-notes": lambda place: {"text": "called"},
    "rfp-shortlist": lambda place: {"rfp_venue": str(place.rows["rfp_venue"].pk)},
    "rfp-award": lambda place: {"rfp_venue": str(place.rows["rfp_venue"].pk)},
    "appointment-invite": lambda place: {"reason": "patient_request"},
    "waitlist-still-interested": lambda place: {"interested": True},
    "waitlist-promote": lambda place: {"slot": str(place.rows["slot"].pk)},
    "template-list": lambda place: {
        "facility": str(place.rows["facility"].pk),
        "kind": "waitlist.joined",
        "channel": "sms",
        "language": "fr",
        "body": "Bonjour",
    },
}


# The kinds of rows that every patient of a tenant sees.
EVERYBODYS = {"facility", "provider", "service"}


@pytest.fixture
def own() -> Place:
    return make_place()


@pytest.fixture(autouse=True)
def no_limits(settings: Any) -> None:  # the fixture, which is undone after the test
    settings.RATE_LIMITS = dict.fromkeys(settings.RATE_LIMITS, "100000/minute")


def test_every_route_was_decided_about() -> None:
    known = {route.name: route for route in routes.walk()}
    assert len(known) == len(routes.walk()), "two routes of one name"
    assert set(known) == set(ROUTES)
    for name, route in known.items():
        assert {*route.methods} == {*ROUTES[name]} - {"HEAD"} - _refused(name), name


def _refused(name: str) -> set[str]:
    return {method for method, who in ROUTES[name].items() if not who}


def test_a_route_that_nobody_decided_about_lets_nobody_in() -> None:
    assert not roles(route="new", method="GET")
    assert not roles(route=None, method=None)


def test_each_role_gets_where_it_may_and_nowhere_else(own: Place) -> None:
    wrong = []
    for route in routes.walk():
        path = fill(route=route, place=own)
        for method in METHODS:
            allowed = roles(route=route.name, method=method)
            for role, api in own.apis.items():
                status = call(api=api, method=method, path=path).status_code
                if not allowed:
                    right = status == 405
                elif role in allowed:
                    right = status not in {401, 403, 405} and status < 500
                    right = right or status == _asks(route)
                else:
                    right = status == (401 if role == Role.NONE else 403)
                if not right:
                    wrong.append((route.name, method, str(role), status))
    assert not wrong


def _asks(route: Route) -> int | None:
    """Return what a route answers that itself is where one proves who one is."""
    if route.name in {"token", "token-refresh"}:
        return 401
    return 403 if route.name.startswith("inbound-") else None


def test_another_tenants_rows_are_not_there(own: Place) -> None:
    foreign = make_place()
    wrong = []
    for route in routes.walk():
        parts = {"{id}", "{tenant}", "{organization}", "{venue}"} & set(route.path.split("/"))
        if not parts or route.name == "venue-badge":  # which is everybody's
            continue
        path = fill(route=route, place=foreign)
        wanted = 404 if parts == {"{id}"} else 403
        for method in METHODS:
            for role in roles(route=route.name, method=method):
                body = PASSING[route.name](own) if route.name in PASSING else {}
                api = own.apis[role]
                status = call(api=api, method=method, path=path, body=body).status_code
                if status != wanted:
                    wrong.append((route.name, method, str(role), status))
    assert not wrong


def test_another_patients_rows_are_not_there(own: Place) -> None:
    """Whose row it is finds it by the same request, so that none is another's by mistake."""
    other = log_in(tenant=own.tenant, role=Role.PATIENT)
    own.rows = {**own.rows, "slot": own.rows["appointment"].slot}  # an open one is everybody's
    wrong = []
    for route in routes.walk():
        for method in METHODS:
            who = roles(route=route.name, method=method)
            named = re.findall("{.+?}", route.path)
            if Role.PATIENT not in who or Role.NONE in who or not named:
                continue
            assert named == ["{id}"], f"Say here whose {route.path} is."
            is_everybodys = kind_of(route=route, place=own) in EVERYBODYS
            path = fill(route=route, place=own)
            body = PASSING[route.name](own) if route.name in PASSING else {}
            mine, others = (
                call(api=api, method=method, path=path, body=body).status_code
                for api in (own.apis[Role.PATIENT], other)
            )
            if mine == 404 or (others == 404) == is_everybodys:
                wrong.append((route.name, method, mine, others))
    assert not wrong


def test_another_facilitys_rows_are_not_there_for_a_provider(own: Place) -> None:
    elsewhere = make_place(tenant=own.tenant)
    wrong = []
    for route in routes.walk():
        named = "{facility}" in route.path or "{venue}" in route.path
        if "{id}" in route.path:
            named = kind_of(route=route, place=own) != "service"  # which is of the whole tenant
        for method in METHODS if named else ():
            who = roles(route=route.name, method=method)
            if Role.PROVIDER in who and Role.NONE not in who:
                path = fill(route=route, place=elsewhere)
                body = PASSING[route.name](own) if route.name in PASSING else {}
                api = own.apis[Role.PROVIDER]
                status = call(api=api, method=method, path=path, body=body).status_code
                if status != 404:
                    wrong.append((route.name, method, status))
    assert not wrong


def test_lists_hold_nothing_of_another_tenant(own: Place) -> None:
    foreign = make_place()
    theirs = {str(row.pk) for row in foreign.rows.values()} | {str(foreign.tenant.pk)}
    for route in routes.walk():
        if not route.name.endswith("-list"):
            continue
        path = fill(route=route, place=own)
        for role in roles(route=route.name, method="GET") - {Role.NONE}:
            text = own.apis[role].get(path).content.decode()
            assert not [id for id in theirs if id in text], (route.name, role)


def test_who_is_removed_is_out_at_once(own: Place) -> None:
    api = own.apis[Role.STAFF]
    assert api.get("services/").status_code == 200
    assert api.user is not None
    api.user.memberships.all().delete()
    assert api.get("services/").status_code == 401


def test_a_patient_who_was_erased_is_out(own: Place) -> None:
    api = own.apis[Role.PATIENT]
    assert api.get("services/").status_code == 200
    patient = patient_of(api=api)
    patient.erased_at = clock.now()
    patient.save()
    assert api.get("services/").status_code == 401


def test_the_page_of_docs_is_as_made() -> None:
    page = settings.BASE_DIR / "docs/access.md"
    assert page.read_text() == docs.access(), "Run manage.py write_docs."
