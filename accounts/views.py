"""What every view of the API shares: who asks, writes that are done once, and versions."""

from functools import partial
from typing import Any

from django.db import transaction
from django.http.response import HttpResponseBase
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import idempotency
from accounts.idempotency import Answer
from accounts.roles import Caller
from audit import clock

WRITES = {"POST", "PUT", "PATCH", "DELETE"}
KEPT_HEADERS = ("ETag", "Location", "Retry-After")


class ApiView(APIView):
    """A view that knows its caller, and does a write with an Idempotency-Key once."""

    @property
    def caller(self) -> Caller:
        """Who asks; only where `roles.ROUTES` lets nobody in without a token."""
        assert isinstance(self.request.auth, Caller)
        return self.request.auth

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
        handler = getattr(self, (request.method or "").lower(), self.http_method_not_allowed)
        work = partial(handler, request, *self.args, **self.kwargs)
        key = request.headers.get("Idempotency-Key")
        if request.method not in WRITES or key is None:
            return work()  # type: ignore[no-any-return]
        if not 0 < len(key) <= idempotency.MAX_LENGTH:
            raise exceptions.ValidationError({"Idempotency-Key": "Give 1 to 200 characters."})
        answer = idempotency.once(
            caller=str(request.user.pk or request.META.get("REMOTE_ADDR")),
            key=key,
            request=idempotency.fingerprint(
                method=request.method, path=request.get_full_path(), body=request.body
            ),
            now=clock.now(),
            work=lambda: self._answer(work),
        )
        headers = dict(answer.headers)
        content_type = headers.pop("Content-Type", None)
        return Response(
            answer.body, status=answer.status, headers=headers, content_type=content_type
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
        return Answer(status=response.status_code, body=response.data, headers=headers)


def wanted_version(*, request: Request) -> int | None:
    """Read the version that If-Match asks for; None if it asks for none.

    :raises ValidationError: if it is not an ETag that this API gave.
    """
    text = request.headers.get("If-Match")
    if text is None or text == "*":
        return None
    bare = text.strip().removeprefix('"').removesuffix('"')
    if not bare.isdigit():
        raise exceptions.ValidationError({"If-Match": "Give the ETag of the row."})
    return int(bare)


def with_etag(*, response: Response, version: int) -> Response:
    """Put a row's version on an answer."""
    response["ETag"] = f'"{version}"'
    return response
