"""Bodies as they come in: JSON, and nothing in it that a database cannot keep."""

import json
import math
from http import HTTPStatus
from typing import Any, NoReturn

from django.conf import settings
from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import BaseParser


class TooLarge(APIException):
    """The body has more bytes than are read."""

    status_code = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    default_code = "too_large"
    default_detail = "The body is too large."


class JSONParser(BaseParser):
    """Reads UTF-8 JSON; what cannot be kept anywhere is refused here, once for all."""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        """Return the values.

        :raises TooLarge: if it has too many bytes.
        :raises ParseError: if it is not JSON, or has NUL, half a surrogate pair or infinity in it.
        """
        try:
            text = stream.read(settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1)
            if len(text) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
                raise TooLarge
            values = json.loads(text.decode(), parse_constant=_refuse)
            _check(values)
        except (ValueError, RecursionError) as error:
            raise ParseError("The body is not JSON that can be kept.") from error
        return values


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _check(value: Any) -> None:
    """:raises ValueError: if a text or a number in the value cannot be written down."""
    if isinstance(value, str):
        value.encode()  # UnicodeEncodeError for half a surrogate pair
        if "\0" in value:
            raise ValueError("NUL")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError("infinite")
    elif isinstance(value, list):
        for one in value:
            _check(one)
    elif isinstance(value, dict):
        for key, one in value.items():
            _check(key)
            _check(one)
