"""A scanner: searches whatever the house writes down for words that only a person's data has.

What is written in another way is read: base64, percent signs, escapes of JSON.
"""

import base64
import binascii
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast
from urllib.parse import unquote_plus

import redis
from django.conf import settings
from django.db import connection

#: Where people's data is at home: their own rows, what they and the team wrote, and the answers
#: that a day of idempotency keeps. All other tables are searched.
HOMES = {
    "scheduling_patient", "scheduling_provider", "scheduling_timeblock", "accounts_user",
    "accounts_idempotencykey", "waitlist_waitlistentry", "waitlist_entrynote",
}  # fmt: skip

ENCODED = re.compile(r"[A-Za-z0-9+/_-]{12,}")
#: The servers of tests write down what they get.
STUBS = {"mail.log"}

Texts = Mapping[str, Sequence[str]]


def find(*, words: Sequence[str], texts: Texts) -> dict[str, set[str]]:
    """Return the words that are in texts, by the place in which they are."""
    found: dict[str, set[str]] = {}
    for place, said in texts.items():
        for text in said:
            read = "\n".join(_readings(text)).lower()
            if told := {word for word in words if word.lower() in read}:
                found.setdefault(place, set()).update(told)
    return found


def rows() -> Texts:
    """Return the rows of every table that is no home of people's data, by table."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        tables = {name for (name,) in cursor.fetchall()} - HOMES
        texts = {}
        for table in sorted(tables):
            cursor.execute(f'SELECT to_jsonb(t)::text FROM "{table}" AS t')  # noqa: S608
            texts[table] = [text for (text,) in cursor.fetchall()]
    return texts


def valkey() -> Texts:
    """Return all that Valkey holds: queues, caches, counts and streams, by key."""
    client = redis.Redis.from_url(settings.REDIS_URL)
    reads: Mapping[bytes, Any] = {
        b"string": client.get,
        b"list": lambda key: client.lrange(key, 0, -1),
        b"hash": client.hgetall,
        b"set": client.smembers,
        b"zset": lambda key: client.zrange(key, 0, -1),
        b"stream": client.xrange,
    }
    keys = cast(list[bytes], client.keys())
    texts = {
        f"valkey {key.decode()}": [key.decode(), _text(reads[cast(bytes, client.type(key))](key))]
        for key in keys
    }
    client.close()
    return texts


@contextmanager
def logs() -> Iterator[list[str]]:
    """Collect every line that is logged, down to the last detail, as production writes it."""
    options = dict(settings.LOGGING["formatters"]["lines"])
    formatter: logging.Formatter = options.pop("()")(**options)
    lines: list[str] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.name not in STUBS:
                lines.append(formatter.format(record))

    handler, loggers = Lines(), [logging.getLogger(), logging.getLogger("django")]
    levels = [logger.level for logger in loggers]
    loggers[0].addHandler(handler)
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    try:
        yield lines
    finally:
        loggers[0].removeHandler(handler)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _readings(text: str) -> Iterator[str]:
    """Yield a text as it stands, and as it reads."""
    yield text
    yield unquote_plus(text)
    yield text.encode("ascii", "backslashreplace").decode("unicode_escape", "replace")
    for encoded in ENCODED.findall(text):
        for spelling in (encoded, encoded.replace("-", "+").replace("_", "/")):
            try:
                yield base64.b64decode(spelling + "=" * (-len(spelling) % 4)).decode()
            except (binascii.Error, UnicodeDecodeError):
                continue


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, Mapping):
        return " ".join(_text(part) for item in value.items() for part in item)
    if isinstance(value, list | tuple | set):
        return " ".join(map(_text, value))
    return str(value)
