"""Logs that hold no patient's data: one JSON object per line, or readable lines while developing.

What could carry a person's data never reaches a line: query strings, secrets of links, bodies,
addresses, what tasks were called with, and the text of exceptions, since PostgreSQL quotes the row
in it. Ids and places in the code stay, by which an error is found. Readable logs show exceptions in
full.
"""

import copy
import logging
import re
import sys
import traceback
from typing import Any

import structlog
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject
from django_structlog.middlewares import RequestMiddleware
from structlog.typing import EventDict, Processor, WrappedLogger

#: Keys of django-structlog's events whose value may quote a row or describe a person.
UNSAFE_KEYS = frozenset({"error", "exception", "reason", "user_agent"})

#: What follows one of these in a path may be a link's secret, which whoever holds it may use.
BEARER = re.compile(
    r"""(?i)(?<![^/])((?:invitations|offers|calendar|unsubscribe|nudges)/+)[^/\s"'\\?#]+"""
)
#: What we signed, wherever it stands: it ends in 43 characters of base64, the signature.
SIGNED = re.compile(r"(?i)(?<![\w.:%-])[\w.:%-]*(?:[.:]|%3A|%2E)[\w-]{43}(?![\w-])")


class RequestLogMiddleware(RequestMiddleware):
    """Log each request with its id, without what may be a search or a token: the query string, and
    the part of the path that is a link's secret.
    """

    @staticmethod
    def format_request(request: HttpRequest) -> str:
        return f"{request.method} {without_secrets(text=request.path)}"

    @staticmethod
    def bind_user_id(request: HttpRequest) -> None:
        """Say who asks once something has looked: looking only for the log would take queries."""
        user = getattr(request, "user", None)
        if not isinstance(user, SimpleLazyObject) or hasattr(request, "_cached_user"):
            RequestMiddleware.bind_user_id(request)


class LineFormatter(structlog.stdlib.ProcessorFormatter):
    """Write a record without the secrets of links, whoever logged it."""

    def format(self, record: logging.LogRecord) -> str:
        return without_secrets(text=super().format(record))


class PrivateFormatter(LineFormatter):
    """Write a record without the values that its message would quote, either."""

    def format(self, record: logging.LogRecord) -> str:
        return super().format(without_values(record=record))


def settings(*, level: str, readable: bool) -> dict[str, Any]:
    """Set up structlog and return Django's LOGGING; `readable` is for a developer's terminal."""
    always: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *always,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    strip = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    last: list[Processor] = (
        [
            strip,
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                # The other ones break lines, and so the secrets that would be cut out of them.
                exception_formatter=structlog.dev.plain_traceback,
            ),
        ]
        if readable
        else [strip, drop_unsafe_keys, trace_without_text, structlog.processors.JSONRenderer()]
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "lines": {
                "()": LineFormatter if readable else PrivateFormatter,
                "foreign_pre_chain": always,
                "processors": last,
            },
        },
        "handlers": {
            "stderr": {"class": "logging.StreamHandler", "formatter": "lines"},
            # Without any handler, Python would write warnings to stderr by itself.
            "nowhere": {"class": "logging.NullHandler"},
        },
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            # django-structlog has a line of its own for what these would repeat.
            "django": {"handlers": [], "propagate": True, "level": level},
            "django.request": {"level": "CRITICAL"},
            "django.server": {"handlers": ["nowhere"], "propagate": False},
            "celery.app.trace": {"level": "CRITICAL"},
            "celery.beat": {"level": "WARNING"},
            "celery.worker.strategy": {"level": "WARNING"},
            "django.security.DisallowedHost": {"handlers": ["nowhere"], "propagate": False},
            # These write down requests, with addresses and texts in them.
            **{
                name: {"level": "WARNING"}
                for name in ("httpcore", "httpx", "pywa", "twilio.http_client", "urllib3")
            },
            "uvicorn": {"handlers": [], "propagate": True, "level": level},
            "uvicorn.access": {"handlers": ["nowhere"], "propagate": False},
        },
    }


def without_secrets(*, text: str) -> str:
    """Cut the secrets of links, and tokens, out of a text."""
    return SIGNED.sub("…", BEARER.sub(r"\1…", text))


def without_values(*, record: logging.LogRecord) -> logging.LogRecord:
    """Copy a record with exceptions among its arguments cut down to their class.

    Celery hands over a mapping whose `exc` is an exception's repr and `return_value` a result.
    """
    private = copy.copy(record)
    if isinstance(record.args, tuple):
        private.args = tuple(
            type(value).__name__ if isinstance(value, BaseException) else value
            for value in record.args
        )
    elif record.args and "exc" in record.args:
        private.args = {**record.args, "exc": str(record.args["exc"]).partition("(")[0]}
    return private


def drop_unsafe_keys(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Drop what may quote a row."""
    return {key: value for key, value in event.items() if key not in UNSAFE_KEYS}


def trace_without_text(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace an exception by its class and the places in the code that it came through."""
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    error = info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        event["exception_class"] = f"{type(error).__module__}.{type(error).__qualname__}"
        event["trace"] = [
            f"{frame.filename}:{frame.lineno} {frame.name}"
            for frame in traceback.extract_tb(error.__traceback__)
        ]
    return event
