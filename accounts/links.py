"""What the addresses of links share, which somebody opens without logging in.

A browser gets a page in the language of whom the link was sent to, everything else gets JSON.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from django.template.loader import render_to_string
from django.utils import translation
from rest_framework.authentication import CSRFCheck
from rest_framework.exceptions import PermissionDenied
from rest_framework.generics import GenericAPIView
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request

from accounts.parsers import JSONParser
from accounts.views import PAGE, ApiView, PageOrJson

FORM = "application/x-www-form-urlencoded"
JSON = JSONParser.media_type


class CsrfFailed(PermissionDenied):
    """A form did not come from our page."""

    default_code = "csrf_failed"
    default_detail = "Open the link again and answer there."


class Page(BaseRenderer):
    """The page of a link, or of what went wrong with it."""

    media_type = PAGE
    charset = "utf-8"

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> str:
        """Write the page."""
        if data is None or renderer_context is None:
            return ""
        view, request = renderer_context["view"], renderer_context["request"]
        known = {"problem": data if "code" in data else None, **view.known(data=data)}
        with translation.override(view.language or translation.get_language()):
            return render_to_string(view.template, known, request=request._request)


class LinkView(ApiView, GenericAPIView[Any]):
    """The address of a link; `language` is that of whom it was sent to, once that is known."""

    authentication_classes = ()
    renderer_classes = (JSONRenderer, Page)
    content_negotiation_class = PageOrJson
    template: ClassVar[str]
    language = ""

    def known(self, *, data: Any) -> Mapping[str, Any]:
        """Return what the template is given of an answer, besides the problem."""
        return {"answer": data}

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Say what it depends on; a problem on a page is a page."""
        answer = super().finalize_response(request, response, *args, **kwargs)
        answer["Vary"] = "Accept, Accept-Language, Cookie"
        if getattr(request, "accepted_renderer", None) and answer.accepted_media_type == PAGE:
            answer.content_type = None
            if self.language:
                answer["Content-Language"] = self.language
        return answer


def check_form(*, request: Request) -> None:
    """Let JSON pass, which cannot be sent across sites without asking first.

    :raises CsrfFailed: if a form did not come from our page.
    """
    kind = request.content_type or ""
    if not kind.startswith(FORM) and ("Origin" not in request.headers or kind.startswith(JSON)):
        return
    check = CSRFCheck(lambda _request: None)  # type: ignore[arg-type]
    check.process_request(request._request)
    reason = check.process_view(request._request, None, (), {})  # type: ignore[arg-type]
    if reason:
        raise CsrfFailed
