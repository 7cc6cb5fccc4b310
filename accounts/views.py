"""What every view of the API shares: who asks, writes that are done once, and versions."""

import re
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.http.response import HttpResponseBase
from rest_framework import exceptions
from rest_framework.generics import GenericAPIView
from rest_framework.mixins import ListModelMixin
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.status import is_success
from rest_framework.views import APIView

from accounts import idempotency, rows
from accounts.idempotency import Answer
from accounts.parsers import TooLarge
from accounts.roles import Caller
from audit import clock, events

WRITES = {"POST", "PUT", "PATCH", "DELETE"}
WITH_BODY = WRITES - {"DELETE"}
PAGE = "text/html"
KEPT_HEADERS = ("ETag", "Location", "Retry-After")


class Negotiation(BaseContentNegotiation):
    """Takes JSON in and gives JSON out, whatever the client would rather have."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        """Return the parser of the body's media type, if there is one."""
        media_type = request.content_type.split(";")[0].strip().lower()
        return next((one for one in parsers if one.media_type == media_type), None)

    def select_renderer(self, request: Request, renderers: Any, format_suffix: Any = None) -> Any:
        """Return the only renderer."""
        return renderers[0], renderers[0].media_type


class PageOrJson(Negotiation):
    """A page for those that ask for one by name, as browsers do; JSON for all others."""

    def select_renderer(self, request: Request, renderers: Any, format_suffix: Any = None) -> Any:
        """Return the renderer."""
        wants_page = PAGE in request.headers.get("Accept", "")
        renderer = next(one for one in renderers if (one.media_type == PAGE) == wants_page)
        return renderer, renderer.media_type


class ApiView(APIView):
    """A view that knows its caller, and does a write with an Idempotency-Key once."""

    http_method_names: ClassVar[list[str]] = ["get", "head", "post", "put", "patch", "delete"]  # type: ignore[misc]
    content_negotiation_class = Negotiation
    # Answers that hold secrets are not kept, so such a write takes no Idempotency-Key.
    idempotent: ClassVar[bool] = True
    # Whether a POST changes the row that its path names, so that it takes If-Match as a PATCH does.
    updates: ClassVar[bool] = False
    # What is refused besides what follows from a route's shape, by method: for the schema alone.
    problems: ClassVar[Mapping[str, tuple[type[Exception], ...]]] = {}

    @property
    def caller(self) -> Caller:
        """Who asks; only where `roles.ROUTES` lets nobody in without a token."""
        assert isinstance(self.request.auth, Caller)
        return self.request.auth

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Keep it out of caches, unless the view says how long it may be kept."""
        answer = super().finalize_response(request, response, *args, **kwargs)
        answer.headers.setdefault("Cache-Control", "no-store")
        return answer

    def keep(self, *, body: Any) -> Any:
        """Return what is stored of what a write answered, for when it is sent again."""
        return body

    def recall(self, *, kept: Any) -> Any:
        """Return the answer of which this was stored."""
        return kept

    def permission_denied(
        self, request: Request, message: str | None = None, code: str | None = None
    ) -> Any:
        """Refuse, and note it of those who are known.

        :raises NotAuthenticated, PermissionDenied: the first if it is not known who asks.
        """
        match = request.resolver_match
        if isinstance(request.auth, Caller) and match is not None:
            events.record(
                kind="access.denied",
                tenant_id=request.auth.tenant_id,
                subject_type="user",
                subject_id=request.auth.user_id,
                actor=request.auth.actor,
                at=clock.now(),
                data={
                    "reason": "role",
                    "route": match.url_name,
                    "method": str(request.method).lower(),
                },
            )
        return super().permission_denied(request, message, code)

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Answer a request: as the framework does, but once for each Idempotency-Key."""
        self.args, self.kwargs = args, kwargs
        self.request = request = self.initialize_request(request, *args, **kwargs)
        self.headers = self.default_response_headers
        try:
            self.initial(request, *args, **kwargs)
            response = self._handle(request)
        except Exception as error:  # whatever it is, the handler makes a problem of it
            response = self.handle_exception(error)
        self.response = self.finalize_response(request, response, *args, **kwargs)
        return self.response

    def _handle(self, request: Request) -> Response:
        length = int(request.META.get("CONTENT_LENGTH") or 0)
        takes_body = request.method in WITH_BODY
        if takes_body and length > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            raise TooLarge
        handler = getattr(self, (request.method or "").lower(), self.http_method_not_allowed)
        work = partial(handler, request, *self.args, **self.kwargs)
        key = request.headers.get("Idempotency-Key")
        if request.method not in WRITES or key is None or not self.idempotent:
            return work()
        if not re.fullmatch(rf"[!-~]{{1,{idempotency.MAX_LENGTH}}}", key):
            raise exceptions.ValidationError(
                {"Idempotency-Key": [f"Give 1 to {idempotency.MAX_LENGTH} plain characters."]}
            )
        who = request.auth
        answer = idempotency.once(
            caller=idempotency.name(caller=who)
            if isinstance(who, Caller)
            else str(request.META.get("REMOTE_ADDR")),
            key=key,
            request=idempotency.fingerprint(
                method=request.method,
                path=request.get_full_path(),
                body=request.body if takes_body else b"",
            ),
            now=clock.now(),
            work=lambda: self._answer(work),
        )
        headers = dict(answer.headers)
        return Response(
            self.recall(kept=answer.body) if is_success(answer.status) else answer.body,
            status=answer.status,
            headers=headers,
            content_type=headers.pop("Content-Type", None),
        )

    def _answer(self, work: Any) -> Answer:
        """Do the work; what it refuses is undone and is an answer, too."""
        try:
            with transaction.atomic():
                response = work()
        except Exception as error:  # as in `dispatch`
            response = self.handle_exception(error)
        headers = {name: response[name] for name in KEPT_HEADERS if name in response}
        if response.content_type:
            headers["Content-Type"] = response.content_type
        status, body = response.status_code, response.data
        kept = self.keep(body=body) if is_success(status) else body
        return Answer(status=status, body=kept, headers=headers)


class RowsView(ApiView, ListModelMixin, GenericAPIView[Any]):
    """A list of rows that the caller may see: filtered, sorted, in pages."""

    def rows(self) -> QuerySet[Any]:
        """Return what the caller may see, in the order of pages."""
        raise NotImplementedError

    def get_queryset(self) -> QuerySet[Any]:
        """Return the rows; none while the schema is made, when nobody asks."""
        if getattr(self, "swagger_fake_view", False):
            model = self.get_serializer_class().Meta.model  # type: ignore[attr-defined]
            return model.objects.none()  # type: ignore[no-any-return]
        return self.rows()

    def get(self, request: Request) -> Response:
        """Answer a page."""
        return self.list(request)

    def made(self, *, row: Any) -> Response:
        """Answer a new row, with its address and its version."""
        response = Response(self.get_serializer(row).data, status=201)
        response["Location"] = f"{self.request.path}{row.pk}"
        return with_etag(response=response, version=row.version) if _counts(row) else response


class RowView(ApiView, GenericAPIView[Any]):
    """One row that the caller may see; `noun` is what a 404 calls it."""

    lookup_field = "id"
    filter_backends = ()
    pagination_class = None
    noun: ClassVar[str]

    def rows(self) -> QuerySet[Any]:
        """Return what the caller may see."""
        raise NotImplementedError

    def get_queryset(self) -> QuerySet[Any]:
        """Return the rows; none while the schema is made, when nobody asks."""
        if getattr(self, "swagger_fake_view", False):
            model = self.get_serializer_class().Meta.model  # type: ignore[attr-defined]
            return model.objects.none()  # type: ignore[no-any-return]
        return self.rows()

    def get(self, request: Request, id: UUID) -> Response:
        """Answer the row."""
        return self.show(row=self.find(id))

    def find(self, id: UUID) -> Any:
        """Return the row.

        :raises NotFound: if the caller does not see it.
        """
        return rows.find(rows=self.get_queryset(), id=id, field=self.noun)

    def show(self, *, row: Any, status: int = 200) -> Response:
        """Answer a row as it is, with its version."""
        response = Response(self.get_serializer(row).data, status=status)
        return with_etag(response=response, version=row.version) if _counts(row) else response

    def read(self, *, partial: bool = False) -> dict[str, Any]:
        """Return the values of the body.

        :raises ValidationError: naming each field with a bad value.
        """
        return read(view=self, partial=partial)


class UnknownView(ApiView):
    """An address under /api/ where nothing is."""

    authentication_classes = ()
    permission_classes = ()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """:raises NotFound: always, whatever the method."""
        raise exceptions.NotFound("There is nothing at this address.")


def read(*, view: GenericAPIView[Any], partial: bool = False) -> dict[str, Any]:
    """Return the values of the body, as the view's serializer reads them.

    :raises ValidationError: naming each field with a bad value.
    """
    body = view.get_serializer(data=view.request.data, partial=partial)
    body.is_valid(raise_exception=True)
    return dict(body.validated_data)


def wanted_version(*, request: Request) -> int | None:
    """Read the version that If-Match asks for; None if it asks for none.

    :raises ValidationError: if it is not an ETag that this API gave.
    """
    text = request.headers.get("If-Match")
    if text is None or text.strip() == "*":
        return None
    bare = text.strip().removeprefix('"').removesuffix('"')
    if not (bare.isascii() and bare.isdigit() and len(bare) < 19):
        raise exceptions.ValidationError({"If-Match": ["Give the ETag of the row."]})
    return int(bare)


def with_etag(*, response: Response, version: int) -> Response:
    """Put a row's version on an answer."""
    response["ETag"] = f'"{version}"'
    return response


def _counts(row: Any) -> bool:
    return isinstance(getattr(row, "version", None), int)
