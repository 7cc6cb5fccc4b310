"""The OpenAPI schema: what every operation shares, told once.

Each operation gets the problems that follow from its shape (who may call it, whether it has a body
or a version), the headers of writes, and examples made from the fields' names and types.
"""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

from drf_spectacular.openapi import AutoSchema
from rest_framework import serializers
from rest_framework.exceptions import APIException

from accounts.bodies import TIME, Body
from accounts.idempotency import MAX_LENGTH
from accounts.problems import MEDIA_TYPE, STATUS, Conflict
from accounts.roles import Role, roles
from accounts.routes import names
from accounts.views import PAGE, WITH_BODY, WRITES, ApiView, RowsView
from audit.errors import Refused

UPDATES = {"PUT", "PATCH", "DELETE"}
CODES: Mapping[int, str] = {
    400: "invalid", 401: "not_authenticated", 403: "permission_denied", 404: "not_found",
    409: "in_flight", 412: "stale", 413: "too_large", 415: "unsupported_media_type",
    422: "key_reused", 429: "throttled",
}  # fmt: skip
MEANS: Mapping[int, str] = {
    400: "The request is malformed, or values are not valid; `errors` names each field.",
    401: "Nobody is logged in, or the token does not count any longer.",
    403: "The caller's role may not do this, or the path names another tenant.",
    404: "There is no such row, or it is another tenant's; `errors` names the field, if one does.",
    409: "The state of the rows does not allow it; `code` says why.",
    412: "The row has another version than If-Match asks for.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    422: "The Idempotency-Key came with another request.",
    429: "There were too many requests, or one has too many entries.",
}

HTML = "<!doctype html>…"
ID = "019a1b2c-3d4e-7f50-8a9b-0c1d2e3f4a5b"
AT = "2030-03-04T09:00:00Z"  # a Monday to come, so that an example can be sent as it is
# Examples by the name of a member, where its type does not say enough.
NAMED: Mapping[str, Any] = {
    "email": "ada@example.org", "name": "Ada Lovelace", "phone": "+442071234567", "city": "London",
    "country": "GB", "currency": "EUR", "price": "45.00", "timezone": "Europe/London",
    "slug": "harley-street", "tenant": "harley-street", "tenant_name": "Harley Street",
    "tenant_slug": "harley-street", "password": "correct horse battery", "access": "eyJhbGciOi…",
    "refresh": "eyJhbGciOi…", "token": "IjAxOWExYjJj…", "starts_at": AT,
    "ends_at": "2030-03-04T09:30:00Z", "latest": "2030-03-08T17:00:00Z",
    "start_time": "09:00:00", "end_time": "12:00:00",
    "url": "https://example.org/hooks", "kinds": ["waitlist.joined"],
    "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwc5v8Hx2TjPo=",
    "slot_minutes": 30, "buffer_minutes": 0, "weekday": 1, "version": 1, "duration": "PT30M",
    "duration_minutes": 30, "valid_until": "2030-12-31", "external_ref": "P-1024",
    "preferred_days": [1, 3], "total": 1, "page": 1, "page_size": 25,
    "detail": "Follow the link in the mail that you get.", "title": "Spring gala",
    "event_type": "gala", "attendance_min": 80, "attendance_max": 120,
    "space_requirements": ["banquet", "theatre"], "preferred_dates_start": "2030-05-08",
    "preferred_dates_end": "2030-05-09", "period_days": 90, "unavailable_ratio": 0.5,
    "badge_label": "Accepting Events", "venue_name": "Guildhall", "organizer_name": "Gala House",
}  # fmt: skip


class Refusal(NamedTuple):
    """How something that is refused is answered."""

    status: int
    code: str
    means: str


class Schema(AutoSchema):
    """Adds the problems that an operation may answer, and the headers that writes take."""

    def get_operation(self, *args: Any, **kwargs: Any) -> Any:
        """Return the operation with what all share."""
        operation = super().get_operation(*args, **kwargs)
        if operation is None or not isinstance(self.view, ApiView):
            return operation
        headers = self._headers()
        if headers:
            operation["parameters"] = [*operation.get("parameters", ()), *headers]
        shaped = self._shaped(operation)
        refusals = self._refusals()
        for status in sorted(shaped | {one.status for one in refusals}):
            codes = {CODES[status]: MEANS[status]} if status in shaped else {}
            if status == HTTPStatus.BAD_REQUEST and self.method in WRITES:
                codes["malformed"] = "The body is not JSON that can be kept."
            codes |= {one.code: one.means for one in refusals if one.status == status}
            answer = _problem(status=status, codes=codes)
            if any(one.media_type == PAGE for one in self.view.renderer_classes):
                answer["content"][PAGE] = {"schema": {"type": "string"}}
            operation["responses"][str(int(status))] = answer
        for status, answer in operation["responses"].items():
            if status.startswith("2"):
                self._describe(int(status), answer)
        return operation

    def get_operation_id(self) -> str:
        """Name an operation after its route."""
        route = self._route().replace("-", "_")
        bare = route.removesuffix("_list").removesuffix("_detail")
        verb = {"GET": "list" if route.endswith("_list") else "get", "POST": "create"}
        if bare == route:  # an action
            return bare if self.method == "POST" else f"{self.method.lower()}_{bare}"
        return f"{verb.get(self.method, self.method.lower())}_{bare}"

    def get_summary(self) -> Any:
        """Take the first line of the method's docstring."""
        return None

    def get_auth(self) -> Any:
        """Ask for a token, unless anyone may call."""
        return [] if self._open() else [{"token": []}, {"session": []}]

    def _is_create_operation(self) -> bool:
        return self.method == "POST" and isinstance(self.view, RowsView)

    def map_renderers(self, attribute: str) -> Any:
        """Return an attribute of the view's renderers; no path ends in a format."""
        if attribute == "format":
            return []
        return super().map_renderers(attribute)

    def _route(self) -> str:
        return names().get(self.path, "")

    def _open(self) -> bool:
        return Role.NONE in roles(route=self._route(), method=self.method)

    def _updates(self) -> bool:
        assert isinstance(self.view, ApiView)
        return self.method in UPDATES or (self.method == "POST" and self.view.updates)

    def _refusals(self) -> list[Refusal]:
        """Return what the operation refuses besides."""
        assert isinstance(self.view, ApiView)
        classes = self.view.problems.get(self.method, ())
        if self.method in WRITES:
            classes = (*classes, Conflict)
        return [_refusal(one) for one in classes]

    def _shaped(self, operation: Mapping[str, Any]) -> set[int]:
        """Return the statuses that follow from who may call it and with what."""
        writes = self.method in WRITES
        assert isinstance(self.view, ApiView)
        found = set()
        if writes or any(one["in"] == "query" for one in operation.get("parameters", ())):
            found.add(400)
        if not self._open():
            found |= {401, 403}
        if "{" in self.path or (writes and not self._open()):
            found.add(404)
        if self._updates():
            found.add(412)
        if self.method in WITH_BODY:
            found |= {413, 415}
        if writes and self.view.idempotent:
            found |= {409, 422}
        return found

    def _headers(self) -> list[dict[str, Any]]:
        text = {"type": "string"}
        found: list[dict[str, Any]] = []
        assert isinstance(self.view, ApiView)
        if self.method in WRITES and self.view.idempotent:
            found.append({
                "name": "Idempotency-Key", "in": "header", "required": False,
                "description": "Sent again within a day, the same request is answered as it was and"
                " not done again.",
                "schema": text | {"minLength": 1, "maxLength": MAX_LENGTH, "pattern": "^[!-~]+$"},
                "example": "b1946ac9",
            })  # fmt: skip
        if self._updates():
            found.append({
                "name": "If-Match", "in": "header", "required": False,
                "description": "The ETag of the row as it was read; 412 if it changed since.",
                "schema": text | {"pattern": '^(\\*|"[0-9]{1,18}")$'},
                "example": '"1"',
            })  # fmt: skip
        return found

    def _describe(self, status: int, answer: dict[str, Any]) -> None:
        answer["description"] = answer.get("description") or HTTPStatus(status).phrase
        content = answer.get("content", {}).get("application/json")
        members = _members(self.registry, content)
        headers = answer.setdefault("headers", {})
        if "version" in members:
            headers["ETag"] = {
                "description": "The row's version.", "schema": {"type": "string"}, "example": '"1"',
            }  # fmt: skip
        if status == HTTPStatus.CREATED and "id" in members:
            headers["Location"] = {
                "description": "The row's address.", "schema": {"type": "string"},
            }  # fmt: skip
        if not headers:
            del answer["headers"]

    def _map_basic_serializer(self, serializer: Any, direction: Any) -> Any:
        found = super()._map_basic_serializer(serializer, direction)  # type: ignore[no-untyped-call]
        if direction == "request" and isinstance(serializer, Body):
            found["additionalProperties"] = False
        if direction == "response" and found.get("properties"):
            found["required"] = [*found["properties"]]  # an answer has all its members
        return found

    def _map_serializer_field(
        self, field: Any, direction: Any, bypass_extensions: bool = False
    ) -> Any:
        if isinstance(field, serializers.DurationField):
            found = {"type": "string", "format": "duration"}
            found |= self._get_serializer_field_meta(field, direction)  # type: ignore[no-untyped-call]
            return found | ({"type": ["string", "null"]} if field.allow_null else {})
        found = super()._map_serializer_field(field, direction, bypass_extensions)  # type: ignore[no-untyped-call]
        if isinstance(field, serializers.TimeField):  # local, while the format `time` has a zone
            found.pop("format", None)
            found["pattern"] = f"^{TIME}$"
        return found


def _refusal(error: type[Exception]) -> Refusal:
    """Say how an exception of a function or of the framework is answered."""
    if issubclass(error, Refused):
        means = (error.__doc__ or error.code).splitlines()[0]
        return Refusal(STATUS.get(error.code, HTTPStatus.CONFLICT), error.code, means)
    assert issubclass(error, APIException)
    return Refusal(error.status_code, str(error.default_code), str(error.default_detail))


def _problem(*, status: int, codes: Mapping[str, str]) -> dict[str, Any]:
    """Describe an answer with an example for each code."""
    examples = {
        code: {
            "value": {
                "type": f"urn:backfill:problem:{code}",
                "title": HTTPStatus(status).phrase,
                "status": int(status),
                "detail": means,
                "code": code,
            }
        }
        for code, means in codes.items()
    }
    if status == HTTPStatus.BAD_REQUEST:
        examples["invalid"]["value"]["errors"] = [
            {"field": "email", "code": "required", "detail": "This field is required."}
        ]
    answer: dict[str, Any] = {
        "description": MEANS[status],
        "content": {
            MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": examples}
        },
    }
    if status in {409, 429}:
        answer["headers"] = {
            "Retry-After": {
                "description": "Seconds after which to try again, where that may help.",
                "schema": {"type": "integer"},
                "example": 1,
            }
        }
    if status == HTTPStatus.UNAUTHORIZED:
        answer["headers"] = {
            "WWW-Authenticate": {"schema": {"type": "string"}, "example": 'Bearer realm="api"'}
        }
    return answer


PROBLEM: Mapping[str, Any] = {
    "type": "object",
    "description": "What was not done, and why (RFC 9457).",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "description": "Stable; for programs."},
        "state": {"type": "string", "description": "What became of an offer that is over."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "code", "detail"],
                "properties": {
                    "field": {"type": "string"},
                    "code": {"type": "string"},
                    "detail": {"type": "string"},
                },
            },
        },
    },
}


def finish(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Add what operations refer to, and an example to each body and answer. A hook at the end."""
    components = result.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas["Problem"] = PROBLEM
    components["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
        "session": {"type": "apiKey", "in": "cookie", "name": "sessionid"},
    }
    for operations in result["paths"].values():
        for operation in operations.values():
            bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
            for body in bodies:
                for kind, content in body.get("content", {}).items():
                    if kind == PAGE:
                        content["example"] = HTML
                    elif "example" not in content and "examples" not in content:
                        content["example"] = _example(content["schema"], schemas)
            for parameter in operation.get("parameters", ()):
                if not parameter.get("description"):
                    parameter["description"] = _meaning(parameter)
                if "example" not in parameter and "examples" not in parameter:
                    parameter["example"] = _example(
                        parameter["schema"], schemas, name=parameter["name"]
                    )
    return result


def _meaning(parameter: Mapping[str, Any]) -> str:
    name = parameter["name"].replace("_", " ")
    if parameter["in"] == "query":
        return f"Only rows with this {name}."
    return "From the link." if name == "token" else f"The {name} of the row, a UUID."


def _example(schema: Mapping[str, Any], schemas: Mapping[str, Any], name: str = "") -> Any:
    """Make a value that a schema allows."""
    if "$ref" in schema:
        return _example(schemas[schema["$ref"].rsplit("/", 1)[1]], schemas, name)
    for key in ("example", "default", "const"):
        if key in schema:
            return schema[key]
    if "examples" in schema:
        return schema["examples"][0]
    for key in ("oneOf", "anyOf", "allOf"):
        if key in schema:
            return _example(schema[key][0], schemas, name)
    if "enum" in schema:
        return schema["enum"][0]
    kinds = schema.get("type", "object")
    kind = kinds if isinstance(kinds, str) else kinds[0]
    if kind == "object":
        return {
            key: _example(one, schemas, key) for key, one in schema.get("properties", {}).items()
        }
    if name in NAMED and schema.get("format") != "uuid" and kind != "boolean":
        return NAMED[name]
    if kind == "array":
        return [_example(schema.get("items", {}), schemas)]
    formats = {
        "uuid": ID, "date-time": AT, "date": AT[:10], "time": "09:00:00", "duration": "PT30M",
        "email": "ada@example.org", "decimal": "45.00",
    }  # fmt: skip
    if schema.get("pattern") == f"^{TIME}$":
        return formats["time"]
    plain: Mapping[str, Any] = {
        "string": formats.get(schema.get("format", ""), "text"),
        "integer": max(1, schema.get("minimum", 1)),
        "number": 1.5,
        "boolean": True,
    }
    return plain.get(kind)


def _members(registry: Any, content: Mapping[str, Any] | None) -> set[str]:
    """Return the names of an answer's members, of a row and not of a page."""
    found = re.search(r"schemas/([\w.-]+)$", str((content or {}).get("schema", {}).get("$ref", "")))
    for (name, _), component in registry._components.items() if found else ():
        if found and name == found[1]:
            return set((component.schema or {}).get("properties", ()))
    return set()
