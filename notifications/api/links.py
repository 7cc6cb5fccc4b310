"""The pages and endpoints behind the links in mails, for whoever bears them.

Reading one changes nothing, since scanners of mail follow links. A POST needs no other token than
the link's own: that of one-click unsubscribing comes from the mail's reader, not from our page.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from django.template.loader import render_to_string
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import Throttled
from rest_framework.generics import GenericAPIView
from rest_framework.parsers import FormParser, MultiPartParser
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import limits
from accounts.parsers import JSONParser
from accounts.views import PAGE, ApiView, PageOrJson
from audit import clock
from audit.events import Actor
from notifications import nudges, preferences, unsubscribes
from waitlist import entries
from waitlist.models import WaitlistEntry

BEARER = Actor("link")


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
        known = {"page": view.page, "answer": data, "is_problem": "code" in data}
        return render_to_string("notifications/link.html", known, request=request._request)


class LinkView(ApiView, GenericAPIView[Any]):
    """What the addresses of links share; `page` names which it is."""

    authentication_classes = ()
    parser_classes = (JSONParser, FormParser, MultiPartParser)
    renderer_classes = (JSONRenderer, Page)
    content_negotiation_class = PageOrJson
    idempotent = False  # twice is as good as once
    problems: ClassVar = {"GET": (Throttled,), "POST": (Throttled,)}
    page: ClassVar[str]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Count the request.

        :raises Throttled: if there were too many from its address.
        """
        super().initial(request, *args, **kwargs)
        limits.check(limit="offer", who=limits.address(request=request), tenant=None)

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Keep it out of caches; a problem on a page is a page."""
        answer = super().finalize_response(request, response, *args, **kwargs)
        answer["Cache-Control"] = "no-store"
        answer["Vary"] = "Accept, Accept-Language, Cookie"
        if getattr(request, "accepted_renderer", None) and answer.accepted_media_type == PAGE:
            answer.content_type = None
        return answer


class SubscriptionAnswer(serializers.Serializer[Any]):
    """Whether the bearer of the link is told of the waitlist."""

    waitlist_reminders = serializers.BooleanField()


class UnsubscribeView(LinkView):
    """Unsubscribing by the link in a mail."""

    serializer_class = SubscriptionAnswer
    page = "unsubscribe"

    @extend_schema(
        auth=[], responses={(200, "application/json"): SubscriptionAnswer, (200, PAGE): str}
    )
    def get(self, request: Request, token: str) -> Response:
        """Say whether one is told of the waitlist. Changes nothing."""
        whose = unsubscribes.read(token=token)
        wants = preferences.get(
            tenant_id=whose.tenant_id, patient_id=whose.patient_id, user_id=whose.user_id
        )
        return Response(SubscriptionAnswer(wants).data)

    @extend_schema(auth=[], request=None, responses=SubscriptionAnswer)
    def post(self, request: Request, token: str) -> Response:
        """Be told no more of the waitlist (RFC 8058); what is booked one is told still."""
        return Response(SubscriptionAnswer(unsubscribes.unsubscribe(token=token)).data)


class NudgeReply(serializers.Serializer[Any]):
    """The answer to the question whether they still wait."""

    interested = serializers.BooleanField()


class NudgeAnswer(serializers.Serializer[Any]):
    """What the entry is, and whether its question was answered."""

    status = serializers.ChoiceField(choices=WaitlistEntry.Status.choices)
    answered = serializers.BooleanField()


class NudgeView(LinkView):
    """Whether somebody still waits, by the link in a mail."""

    serializer_class = NudgeReply
    problems: ClassVar = {"GET": (Throttled,), "POST": (entries.EntryClosed, Throttled)}
    page = "nudge"

    @extend_schema(auth=[], responses={(200, "application/json"): NudgeAnswer, (200, PAGE): str})
    def get(self, request: Request, token: str) -> Response:
        """Say whether one still waits. Changes nothing."""
        return self._show(entry=entries.get(entry_id=nudges.read(token=token)))

    @extend_schema(auth=[], request=NudgeReply, responses=NudgeAnswer)
    def post(self, request: Request, token: str) -> Response:
        """Answer; who does not wait any longer leaves the queue."""
        entry_id = nudges.read(token=token)
        body = NudgeReply(data=request.data)
        body.is_valid(raise_exception=True)
        entry = entries.answer_nudge(
            entry_id=entry_id,
            interested=body.validated_data["interested"],
            actor=BEARER,
            now=clock.now(),
        )
        return self._show(entry=entry)

    def _show(self, *, entry: WaitlistEntry) -> Response:
        answered = entry.nudge_answered_at is not None
        return Response(NudgeAnswer({"status": entry.status, "answered": answered}).data)
