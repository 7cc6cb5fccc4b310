"""The pages and endpoints behind the links in mails, for whoever bears them.

Reading one changes nothing, since scanners of mail follow links. A POST needs no other token than
the link's own: that of one-click unsubscribing comes from the mail's reader, not from our page.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import Throttled
from rest_framework.parsers import FormParser, MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import limits, links
from accounts.links import JSON
from accounts.parsers import JSONParser
from accounts.views import PAGE
from audit import clock
from audit.events import Actor
from notifications import nudges, preferences, unsubscribes
from waitlist import entries
from waitlist import nudges as questions
from waitlist.models import WaitlistEntry

BEARER = Actor("link")


class LinkView(links.LinkView):
    """What the addresses of links in mails share; `page` names which it is."""

    parser_classes = (JSONParser, FormParser, MultiPartParser)
    idempotent = False  # twice is as good as once
    problems: ClassVar = {"GET": (Throttled,), "POST": (Throttled,)}
    template = "notifications/link.html"
    page: ClassVar[str]

    def known(self, *, data: Any) -> Mapping[str, Any]:
        """Say which page it is, too."""
        return {"page": self.page, "answer": data}


class SubscriptionAnswer(serializers.Serializer[Any]):
    """Whether the bearer of the link is told of the waitlist."""

    waitlist_reminders = serializers.BooleanField()


class UnsubscribeView(LinkView):
    """Unsubscribing by the link in a mail."""

    serializer_class = SubscriptionAnswer
    page = "unsubscribe"

    @extend_schema(auth=[], responses={(200, JSON): SubscriptionAnswer, (200, PAGE): str})
    def get(self, request: Request, token: str) -> Response:
        """Say whether one is told of the waitlist. Changes nothing."""
        whose = self._read(token=token)
        wants = preferences.get(
            tenant_id=whose.tenant_id, patient_id=whose.patient_id, user_id=whose.user_id
        )
        return Response(SubscriptionAnswer(wants).data)

    @extend_schema(
        auth=[],
        request=None,
        responses={(200, JSON): SubscriptionAnswer, (200, PAGE): str},
    )
    def post(self, request: Request, token: str) -> Response:
        """Be told no more of the waitlist (RFC 8058); what is booked one is told still."""
        whose = self._read(token=token)
        return Response(SubscriptionAnswer(unsubscribes.unsubscribe(subscriber=whose)).data)

    def _read(self, *, token: str) -> unsubscribes.Subscriber:
        """Return whom the link names, and count the request as theirs.

        Providers of mail send the clicks of many from a few addresses.
        """
        try:
            whose = unsubscribes.read(token=token)
        except unsubscribes.BadLink:
            address = limits.address(request=self.request)
            limits.check(limit="unsubscribe", who=address, tenant=None)
            raise
        who = str(whose.patient_id or whose.user_id)
        limits.check(limit="unsubscribe", who=who, tenant=whose.tenant_id)
        self.language = whose.language
        return whose


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

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Count the request.

        :raises Throttled: if there were too many from its address.
        """
        super().initial(request, *args, **kwargs)
        limits.check(limit="offer", who=limits.address(request=request), tenant=None)

    @extend_schema(auth=[], responses={(200, JSON): NudgeAnswer, (200, PAGE): str})
    def get(self, request: Request, token: str) -> Response:
        """Say whether one still waits. Changes nothing."""
        return self._show(entry=self._read(token=token))

    @extend_schema(  # the form is the page's own
        auth=[],
        request={JSON: NudgeReply},
        responses={(200, JSON): NudgeAnswer, (200, PAGE): str},
    )
    def post(self, request: Request, token: str) -> Response:
        """Answer; who does not wait any longer leaves the queue."""
        entry_id = self._read(token=token).pk
        body = NudgeReply(data=request.data)
        body.is_valid(raise_exception=True)
        entry = questions.answer(
            entry_id=entry_id,
            interested=body.validated_data["interested"],
            actor=BEARER,
            now=clock.now(),
        )
        return self._show(entry=entry)

    def _read(self, *, token: str) -> WaitlistEntry:
        entry = entries.get(entry_id=nudges.read(token=token))
        self.language = entry.patient.language if entry.patient else ""
        return entry

    def _show(self, *, entry: WaitlistEntry) -> Response:
        answered = entry.nudge_answered_at is not None
        return Response(NudgeAnswer({"status": entry.status, "answered": answered}).data)
