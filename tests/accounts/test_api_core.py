"""What every endpoint shares: problems, bodies that hurt, versions, keys that make writes safe."""

import threading
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, connections
from pytest_django import Settings
from rest_framework.exceptions import Throttled

from accounts import idempotency, limits, tasks
from accounts.idempotency import Answer
from accounts.models import IdempotencyKey
from accounts.roles import Caller, Role
from audit import clock
from scheduling.models import Facility, Service
from tests.api import Api, log_in
from tests.factories import FacilityFactory, PatientFactory, ServiceFactory

SERVICE = {"name": "Haircut", "duration": "PT30M", "price": "20.00", "currency": "EUR"}


@pytest.fixture
def facility() -> Facility:
    return FacilityFactory.create()


@pytest.fixture
def staff(facility: Facility) -> Api:
    return log_in(tenant=facility.tenant, role=Role.STAFF)


def problem(response: Any, status: int, code: str) -> dict[str, Any]:
    """Check that a response is a problem with this status and code, and return it."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    body = response.json()
    assert (body["status"], body["code"]) == (status, code)
    assert body["type"] == f"urn:backfill:problem:{code}"
    assert {"title", "detail"} <= set(body)
    return body  # type: ignore[no-any-return]


@pytest.mark.django_db
@pytest.mark.parametrize("method", ["get", "post", "options", "delete"])
@pytest.mark.parametrize("path", ["nowhere", "facilities/7", "/api/", "/api/v2/facilities/"])
def test_an_address_where_nothing_is(staff: Api, method: str, path: str) -> None:
    problem(staff.generic(method.upper(), path), 404, "not_found")


@pytest.mark.django_db
def test_a_method_that_is_not_there_names_those_that_are(staff: Api) -> None:
    response = staff.put("services/", {}, format="json")
    problem(response, 405, "method_not_allowed")
    assert response["Allow"] == "GET, HEAD, POST"
    problem(staff.options("services/"), 405, "method_not_allowed")


@pytest.mark.django_db
def test_who_is_not_known_is_asked_for_a_token() -> None:
    response = Api().get("services/")
    problem(response, 401, "not_authenticated")
    assert response["WWW-Authenticate"].startswith("Bearer")
    bad = Api()
    bad.credentials(HTTP_AUTHORIZATION="Bearer nonsense")
    problem(bad.get("services/"), 401, "not_authenticated")


@pytest.mark.django_db
@pytest.mark.parametrize(
    "body",
    [
        b"{", b"\xff", b"[" * 100_000, b'{"name": NaN}', b'{"name": 1e999}',
        b'{"name": "a\\u0000b"}', b'{"name": "\\ud800"}', b'{"\\u0000": 1}',
        b'{"name": %s}' % (b"9" * 5000),
    ],
    ids=range(9),
)  # fmt: skip
def test_a_body_that_is_not_to_be_kept_is_malformed(staff: Api, body: bytes) -> None:
    response = staff.post("services/", body, content_type="application/json")
    problem(response, 400, "malformed")


@pytest.mark.django_db
def test_a_body_of_another_kind_is_refused(
    staff: Api, facility: Facility, settings: Settings
) -> None:
    response = staff.post("services/", b"a=b", content_type="application/x-www-form-urlencoded")
    problem(response, 415, "unsupported_media_type")
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10
    problem(staff.post("services/", SERVICE, format="json"), 413, "too_large")
    service = ServiceFactory.create(tenant=facility.tenant)
    key = {"Idempotency-Key": "k1"}
    for method, status in (("GET", 200), ("DELETE", 204)):  # they take none, so none is too large
        answer = staff.generic(
            method, f"services/{service.pk}", b"x" * 11, "application/json", headers=key
        )
        assert answer.status_code == status, answer.content


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ([], [""]),
        ("text", [""]),
        ({}, ["duration", "name"]),
        ({**SERVICE, "name": 7}, ["name"]),
        ({**SERVICE, "name": None}, ["name"]),
        ({**SERVICE, "name": "x" * 201}, ["name"]),
        ({**SERVICE, "colour": "red"}, ["colour"]),
        ({**SERVICE, "duration": "half an hour"}, ["duration"]),
        ({**SERVICE, "duration": "-PT5M"}, ["duration"]),
        ({**SERVICE, "duration": "P999999999999D"}, ["duration"]),
        ({**SERVICE, "price": 20}, ["price"]),
        ({**SERVICE, "price": "1e99999999"}, ["price"]),
        ({**SERVICE, "price": "NaN"}, ["price"]),
        ({**SERVICE, "currency": "euro"}, ["currency"]),
    ],
)
def test_values_that_are_not_valid_are_named(staff: Api, body: Any, fields: list[str]) -> None:
    response = staff.post("services/", body, format="json")
    errors = problem(response, 400, "invalid")["errors"]
    assert sorted({error["field"] for error in errors}) == fields
    assert not Service.objects.exists()


@pytest.mark.django_db
def test_a_value_of_another_kind_is_told_what_is_wanted(staff: Api) -> None:
    response = staff.post("services/", {**SERVICE, "duration": "30"}, format="json")
    [error] = problem(response, 400, "invalid")["errors"]
    assert (error["field"], error["code"]) == ("duration", "type")
    assert error["detail"] == "Give a duration, such as PT30M."


@pytest.mark.django_db
@pytest.mark.parametrize("sort", ["", ",", "name,", ",name", "colour", "name,colour"])
def test_a_sort_that_says_nothing_or_too_much_is_refused(staff: Api, sort: str) -> None:
    response = staff.get("services/", {"sort": sort})
    assert problem(response, 400, "invalid")["errors"][0]["field"] == "sort"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("facilities/", "kind"),
        ("facilities/", "search"),
        ("facilities/", "sort"),
        ("facilities/", "page"),
        ("slots/", "from"),
        ("slots/", "status"),
        ("patients/", "page_size"),
        ("patients/", "tier"),
        ("patients/", "chronic_condition"),
        ("waitlists", "facility"),
    ],
)
def test_a_parameter_that_is_given_twice_is_refused(staff: Api, path: str, name: str) -> None:
    """Where one counts, the last would, and the other would be passed over."""
    response = staff.get(path, {name: ["1", "1"]})
    [error] = problem(response, 400, "invalid")["errors"]
    assert (error["field"], error["code"]) == (name, "repeated")


@pytest.mark.django_db
def test_a_filter_of_several_takes_several(staff: Api) -> None:
    assert staff.get("waitlists", {"status": ["waiting", "offered"]}).status_code == 200


@pytest.mark.django_db
def test_what_is_alike_has_one_order(staff: Api, facility: Facility) -> None:
    """So that no two pages overlap, and one way is the other's reverse."""
    for n in range(6):
        ServiceFactory.create(tenant=facility.tenant, name=f"S{n}")
    pages = [
        [
            row["id"]
            for page in (1, 2, 3)
            for row in staff.get("services/", {"sort": sort, "page": page, "page_size": 2}).json()[
                "results"
            ]
        ]
        for sort in ("duration", "-duration")
    ]
    assert len(set(pages[0])) == 6
    assert pages[0] == pages[1][::-1]


@pytest.mark.django_db
def test_an_update_asks_for_the_version_that_was_read(staff: Api) -> None:
    made = staff.post("services/", SERVICE, format="json")
    path = made["Location"]
    assert made["ETag"] == staff.get(path)["ETag"] == '"1"'
    first = staff.patch(path, {"name": "Cut"}, format="json", headers={"If-Match": '"1"'})
    assert (first.status_code, first["ETag"], first.json()["version"]) == (200, '"2"', 2)
    late = staff.patch(path, {"name": "Trim"}, format="json", headers={"If-Match": '"1"'})
    problem(late, 412, "stale")
    problem(staff.delete(path, headers={"If-Match": '"1"'}), 412, "stale")
    for bad in ("one", '"' + "9" * 30 + '"', 'W/"1"'):
        response = staff.patch(path, {}, format="json", headers={"If-Match": bad})
        assert problem(response, 400, "invalid")["errors"][0]["field"] == "If-Match"
    assert staff.delete(path, headers={"If-Match": "*"}).status_code == 204


@pytest.mark.django_db
def test_a_write_that_is_sent_again_is_not_done_again(staff: Api) -> None:
    key = {"Idempotency-Key": "k1"}
    first = staff.post("services/", SERVICE, format="json", headers=key)
    again = staff.post("services/", SERVICE, format="json", headers=key)
    assert first.status_code == again.status_code == 201
    assert first.json() == again.json()
    assert (first["ETag"], first["Location"]) == (again["ETag"], again["Location"])
    assert Service.objects.count() == 1
    other = staff.post("services/", {**SERVICE, "name": "Cut"}, format="json", headers=key)
    problem(other, 422, "key_reused")
    problem(staff.patch("services/", SERVICE, format="json", headers=key), 405,
            "method_not_allowed")  # fmt: skip
    stranger = log_in(tenant=FacilityFactory.create().tenant, role=Role.STAFF)
    assert stranger.post("services/", SERVICE, format="json", headers=key).status_code == 201


@pytest.mark.django_db
def test_an_answer_is_not_repeated_to_another_role(staff: Api, facility: Facility) -> None:
    assert staff.user is not None
    PatientFactory.create(tenant=facility.tenant, user=staff.user)
    other = PatientFactory.create(tenant=facility.tenant)
    body = {"facility": str(facility.pk), "patient": str(other.pk)}
    key = {"Idempotency-Key": "k2"}
    made = staff.post("waitlists", body, format="json", headers=key)
    assert made.status_code == 201
    same = Api(user=staff.user, tenant=facility.tenant, role="patient")
    problem(same.post("waitlists", body, format="json", headers=key), 404, "not_found")


@pytest.mark.django_db
def test_a_refusal_is_kept_and_its_work_undone(staff: Api, facility: Facility) -> None:
    ServiceFactory.create(tenant=facility.tenant, name="Haircut")
    key = {"Idempotency-Key": "k2"}
    first = staff.post("services/", SERVICE, format="json", headers=key)
    problem(first, 400, "invalid")
    Service.objects.all().delete()
    again = staff.post("services/", SERVICE, format="json", headers=key)
    assert problem(again, 400, "invalid") == first.json()
    assert not Service.objects.exists()


@pytest.mark.django_db
def test_no_cache_keeps_an_answer(staff: Api, facility: Facility) -> None:
    here = f"facilities/{facility.pk}"
    for path, status in (("services/", 200), (here, 200), (f"services/{uuid4()}", 404)):
        answer = staff.get(path)
        assert (answer.status_code, answer["Cache-Control"]) == (status, "no-store"), path
    assert Api().get("services/")["Cache-Control"] == "no-store"
    badge = f"venues/{FacilityFactory.create(kind='venue').pk}/availability/status"
    assert Api().get(badge)["Cache-Control"] == "public, max-age=60"
    gone = Api().get(f"venues/{uuid4()}/availability/status")
    assert (gone.status_code, gone["Cache-Control"]) == (404, "no-store")


@pytest.mark.django_db
def test_a_bad_key_is_refused(staff: Api) -> None:
    for key in ("", "x" * 201, "é"):
        response = staff.post("services/", SERVICE, format="json", headers={"Idempotency-Key": key})
        assert problem(response, 400, "invalid")["errors"][0]["field"] == "Idempotency-Key"


@pytest.mark.django_db
@pytest.mark.parametrize("status", [429, 500, 503])
def test_work_that_may_be_tried_again_is_not_kept(status: int) -> None:
    now = clock.now()
    made = []

    def work(status: int) -> Answer:
        ServiceFactory.create()
        made.append(status)
        return Answer(status=status, body={"n": len(made)}, headers={})

    failed = idempotency.once(caller="me", key="k", request="r", now=now, work=lambda: work(status))
    assert (failed.status, Service.objects.count()) == (status, 0)
    done = idempotency.once(caller="me", key="k", request="r", now=now, work=lambda: work(200))
    assert (done.status, Service.objects.count()) == (200, 1)


@pytest.mark.django_db
def test_keys_are_forgotten_after_a_day() -> None:
    now = clock.now()
    answer = Answer(status=200, body=None, headers={})
    for age in (0, 25):
        idempotency.once(
            caller="me", key=f"{age}", request="r", now=now - timedelta(hours=age),
            work=lambda: answer,
        )  # fmt: skip
    assert tasks.prune_idempotency_keys() == {"keys": 1}
    assert IdempotencyKey.objects.get().key == "0"


@pytest.mark.django_db(transaction=True)
def test_a_twin_in_flight_is_told_to_wait(facility: Facility, staff: Api) -> None:
    """Two requests at once with one key: the second finds the first at work and does nothing."""
    assert staff.user is not None
    who = Caller(user_id=staff.user.pk, tenant_id=facility.tenant_id, role=Role.STAFF)
    caller = idempotency.name(caller=who)
    begun, end = threading.Event(), threading.Event()

    def work() -> Answer:
        begun.set()
        assert end.wait(10)
        return Answer(status=200, body={}, headers={})

    def first() -> None:
        try:
            idempotency.once(caller=caller, key="k", request="r", now=clock.now(), work=work)
        finally:
            connections.close_all()

    thread = threading.Thread(target=first)
    thread.start()
    try:
        assert begun.wait(10)
        response = staff.post("services/", SERVICE, format="json", headers={"Idempotency-Key": "k"})
        problem(response, 409, "in_flight")
        assert response["Retry-After"] == "1"
    finally:
        end.set()
        thread.join()
    assert not Service.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_parallel_twins_make_one_row(facility: Facility, staff: Api) -> None:
    barrier, answers = threading.Barrier(6), []

    def send() -> None:
        try:
            barrier.wait()
            answers.append(
                staff.post("services/", SERVICE, format="json", headers={"Idempotency-Key": "k"})
            )
        finally:
            connection.close()

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len({answer.json()["id"] for answer in answers if answer.status_code == 201}) == 1
    assert Service.objects.count() == 1


@pytest.mark.django_db
def test_a_limit_counts_in_valkey(settings: Settings) -> None:
    small, big = uuid4(), uuid4()
    settings.RATE_LIMITS = {"token": "2/minute", f"token:{big}": "9/minute"}
    for tenant in (None, small):  # who have no share of their own share one
        limits.check(limit="token", who="somebody", tenant=tenant)
    with pytest.raises(Throttled) as refused:
        limits.check(limit="token", who="somebody", tenant=small)
    assert 1 <= vars(refused.value)["wait"] <= 60
    limits.check(limit="token", who="somebody else", tenant=None)
    for _ in range(9):
        limits.check(limit="token", who="somebody", tenant=big)
    assert limits.count(limit="token", who="somebody", tenant=big)
    limits.forget(limit="token", who="somebody", tenant=big)
    assert not limits.count(limit="token", who="somebody", tenant=big)


@pytest.mark.django_db
def test_without_valkey_requests_pass_and_it_is_logged(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.REDIS_URL = "unix:///nowhere/valkey.sock?db=0"
    settings.RATE_LIMITS = {"token": "1/minute"}
    for _ in range(3):
        limits.check(limit="token", who="somebody", tenant=None)
        limits.forget(limit="token", who="somebody", tenant=None)
    assert "requests are not counted" in caplog.text
    assert "somebody" not in caplog.text


@pytest.mark.django_db
def test_the_pages_session_needs_the_csrf_token(facility: Facility, staff: Api) -> None:
    page = Api()
    page.handler.enforce_csrf_checks = True
    assert staff.user is not None
    page.force_login(staff.user)
    assert page.get("services/").status_code == 200
    problem(page.post("services/", SERVICE, format="json"), 403, "permission_denied")
