"""What the lines of the log do not say."""

import json
import logging
import sys
import time
from typing import Any

import pytest
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from config.logs import RequestLogMiddleware, without_secrets

SECRET = "Key (email)=(jane@example.org) already exists"


def line(**record: Any) -> str:
    """Write a record as production does."""
    options = dict(settings.LOGGING["formatters"]["lines"])
    formatter: logging.Formatter = options.pop("()")(**options)
    defaults = {"name": "some.logger", "level": logging.ERROR, "pathname": "", "lineno": 1}
    given = {"exc_info": None, "args": (), **defaults, **record}
    made = logging.LogRecord(**given)
    if isinstance(made.msg, dict):  # as structlog hands its events over
        vars(made).update(_logger=None, _name="error")
    return formatter.format(made)


def failure() -> tuple[Any, Any, Any]:
    """Fail with a person's data in the text, and return what was raised."""
    try:
        raise ValueError(SECRET)
    except ValueError:
        return sys.exc_info()


def test_exception_has_its_class_and_place_but_no_text() -> None:
    text = line(msg="it failed", exc_info=failure())
    assert SECRET not in text
    found = json.loads(text)
    assert found["event"] == "it failed"
    assert found["exception_class"] == "builtins.ValueError"
    assert found["trace"][-1].endswith(" failure")


def test_exception_in_a_message_is_cut_to_its_class() -> None:
    text = line(msg="cannot do it: %s", args=(ValueError(SECRET),))
    assert json.loads(text)["event"] == "cannot do it: ValueError"


def test_celerys_account_of_a_failure_is_cut_to_the_class() -> None:
    context = {"name": "waitlist.tasks.fill", "id": "7", "exc": repr(ValueError(SECRET))}
    text = line(msg="Task %(name)s[%(id)s] raised: %(exc)s", args=(context,))
    assert json.loads(text)["event"] == "Task waitlist.tasks.fill[7] raised: ValueError"


@pytest.mark.parametrize("key", ["error", "exception", "reason", "user_agent"])
def test_keys_that_may_quote_a_row_are_dropped(key: str) -> None:
    text = line(msg={"event": "task_failed", key: SECRET})
    assert SECRET not in text
    assert json.loads(text)["event"] == "task_failed"


def test_request_is_logged_without_its_query() -> None:
    request = RequestFactory().get("/patients", {"name": "Jane"})
    assert RequestLogMiddleware.format_request(request) == "GET /patients"


@pytest.mark.parametrize(
    ("path", "logged"),
    [
        ("/api/v1/auth/invitations/SECRET", "/api/v1/auth/invitations/…"),
        ("/api/v1/offers/SE:CR-ET_/accept", "/api/v1/offers/…/accept"),
        ("/calendar/SECRET.ics", "/calendar/…"),
        ("/unsubscribe/SECRET/", "/unsubscribe/…/"),
        ("/api/v1/nudges/SECRET", "/api/v1/nudges/…"),
        ("/api/v1/Offers//SECRET", "/api/v1/Offers//…"),
        ("/api/v1/invitations/", "/api/v1/invitations/"),
        ("/api/v1/special-offers/7/8", "/api/v1/special-offers/7/8"),
    ],
)
def test_request_is_logged_without_a_links_secret(path: str, logged: str) -> None:
    assert RequestLogMiddleware.format_request(RequestFactory().get(path)) == f"GET {logged}"


SIGNATURE = "Ab_-" * 10 + "xyz"


@pytest.mark.parametrize(
    ("text", "logged"),
    [
        (
            "Forbidden (CSRF): /api/v1/offers/SECRET/accept",
            "Forbidden (CSRF): /api/v1/offers/…/accept",
        ),
        (
            '"GET /api/v1/auth/invitations/SECRET?a=b HTTP/1.1" 404',
            '"GET /api/v1/auth/invitations/…?a=b HTTP/1.1" 404',
        ),
        ('"GET /api/v1/invitations/ HTTP/1.1" 200', '"GET /api/v1/invitations/ HTTP/1.1" 200'),
        (f"GET /%6Fffers/AZ_-9.{SIGNATURE}/accept", "GET /%6Fffers/…/accept"),
        (f"bad token IjAx:1vN4sW:{SIGNATURE}", "bad token …"),
        (f"/x?t=IjAx%3a1vN4sW%3A{SIGNATURE}&u=1", "/x?t=…&u=1"),
        (f"Bearer eyJhbGciOi.eyJ0b2tlb.{SIGNATURE}", "Bearer …"),
        (
            f"{SIGNATURE} config/logs.py:120 config.logs",
            f"{SIGNATURE} config/logs.py:120 config.logs",
        ),
    ],
)
def test_any_line_is_written_without_secrets(text: str, logged: str) -> None:
    """Whoever logs it, and in whatever way; what only looks like it stays."""
    assert json.loads(line(msg=text))["event"] == logged
    assert json.loads(line(msg="%s", args=(text,)))["event"] == logged
    assert without_secrets(text=text) == logged


def test_a_long_line_takes_no_longer_than_it_is() -> None:
    for part in ("a.", "%3A", "a" * 43 + ".", "offers/"):
        start = time.perf_counter()
        without_secrets(text=part * 50_000)
        assert time.perf_counter() - start < 5


def test_no_line_of_a_request_holds_the_secret(caplog: pytest.LogCaptureFixture) -> None:
    def answer(_request: HttpRequest) -> HttpResponse:
        return HttpResponse()

    caplog.set_level(logging.DEBUG)
    RequestLogMiddleware(answer)(RequestFactory().get("/api/v1/offers/SECRET"))
    assert "request_started" in caplog.text
    assert "request_finished" in caplog.text
    assert "offers/…" in caplog.text
    assert "SECRET" not in caplog.text
