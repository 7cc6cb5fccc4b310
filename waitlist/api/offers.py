"""The page and the endpoints behind an offer link, for whoever bears it.

A browser gets a small page with two forms, everything else gets JSON. A form needs the token that
its page came with; JSON cannot be sent across sites without asking first, so it needs none.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar

from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.authentication import CSRFCheck
from rest_framework.exceptions import PermissionDenied, Throttled
from rest_framework.generics import GenericAPIView
from rest_framework.parsers import FormParser
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import limits
from accounts.parsers import JSONParser
from accounts.views import PAGE, ApiView, PageOrJson
from audit import clock
from availability import rfps
from scheduling import slots
from scheduling.appointments import PatientBusy
from waitlist import conversions, holds, offers
from waitlist.models import Hold

FORM = "application/x-www-form-urlencoded"
JSON = JSONParser.media_type


class CsrfFailed(PermissionDenied):
    """A form did not come from our page."""

    default_code = "csrf_failed"
    default_detail = "Open the link again and answer there."


class OfferAnswer(serializers.Serializer[offers.Offer]):
    """An offer as the bearer of its link sees it. Who it is for is not said."""

    state = serializers.ChoiceField(choices=Hold.Status.choices)
    expires_at = serializers.DateTimeField()
    facility = serializers.CharField()
    timezone = serializers.CharField()
    provider = serializers.CharField(allow_null=True)
    service = serializers.CharField(allow_null=True)
    starts_at = serializers.DateTimeField(allow_null=True)
    ends_at = serializers.DateTimeField(allow_null=True)


class Page(BaseRenderer):
    """The page of an offer, or of what went wrong with it."""

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
        view = renderer_context["view"]
        request = renderer_context["request"]
        known = {"offer": getattr(view, "offer", None), "problem": data if "code" in data else None}
        known |= {"token": view.kwargs["token"]}
        return render_to_string("waitlist/offer.html", known, request=request._request)


class LinkView(ApiView, GenericAPIView[Any]):
    """What the three addresses of an offer link share."""

    authentication_classes = ()
    serializer_class = OfferAnswer
    parser_classes = (JSONParser, FormParser)
    renderer_classes = (JSONRenderer, Page)
    content_negotiation_class = PageOrJson
    idempotent = False  # a hold is answered once anyway
    offer: offers.Offer

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Count the request, and check that a form is ours.

        :raises Throttled: if there were too many from its address.
        :raises CsrfFailed: if it is a form of another site's.
        """
        super().initial(request, *args, **kwargs)
        limits.check(
            limit="offer",
            who=limits.address(request=request),
            tenant=offers.tenant_of(token=kwargs["token"]),
        )
        kind = request.content_type or ""
        if kind.startswith(FORM) or ("Origin" in request.headers and not kind.startswith(JSON)):
            _check_form(request=request._request)

    def show(self, *, hold: Hold) -> Response:
        """Answer the offer as it is now."""
        self.offer = offers.describe(hold=hold, now=clock.now())
        return Response(OfferAnswer(self.offer).data)

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Keep it out of caches; a problem on a page is a page."""
        answer = super().finalize_response(request, response, *args, **kwargs)
        answer["Cache-Control"] = "no-store"
        answer["Vary"] = "Accept, Accept-Language, Cookie"
        if getattr(request, "accepted_renderer", None) and answer.accepted_media_type == PAGE:
            answer.content_type = None
        return answer

    def answer(self, *, token: str, accept: bool) -> Response:
        """Say yes or no, then show what became of it; a form is sent on to the page that does.

        :raises HoldClosed: if it was over; the page of a form says so by itself.
        """
        hold = offers.read(token=token)
        self.offer = offers.describe(hold=hold, now=clock.now())
        form = self.request.accepted_renderer.media_type == PAGE
        try:
            if accept:
                offers.accept(hold_id=hold.pk, actor=offers.BEARER, now=clock.now())
            else:
                holds.decline(hold_id=hold.pk, actor=offers.BEARER, now=clock.now())
        except holds.HoldClosed:
            if not form:
                raise
        if form:
            place = reverse("offer", kwargs={"token": token})
            return Response(status=HTTPStatus.SEE_OTHER, headers={"Location": place})
        return self.show(hold=offers.read(token=token))


class OfferView(LinkView):
    """An offer, by its link."""

    problems: ClassVar = {"GET": (Throttled,)}

    @extend_schema(auth=[], responses={(200, "application/json"): OfferAnswer, (200, PAGE): str})
    def get(self, request: Request, token: str) -> Response:
        """Read an offer, or what became of it. Changes nothing."""
        return self.show(hold=offers.read(token=token))


class OfferAcceptView(LinkView):
    """Saying yes by a link."""

    problems: ClassVar = {
        "POST": (
            *slots.UNCLAIMABLE,
            holds.HoldClosed,
            conversions.HoldLapsed,
            PatientBusy,
            rfps.TooManyRfps,
            CsrfFailed,
            Throttled,
        )
    }

    @extend_schema(auth=[], request=None, responses=OfferAnswer)
    def post(self, request: Request, token: str) -> Response:
        """Accept an offer. A second time is refused, telling the `state`.

        Its slot is booked; of a whole venue, a new RFP to it is drafted.
        """
        return self.answer(token=token, accept=True)


class OfferDeclineView(LinkView):
    """Saying no by a link."""

    problems: ClassVar = {"POST": (holds.HoldClosed, CsrfFailed, Throttled)}

    @extend_schema(auth=[], request=None, responses=OfferAnswer)
    def post(self, request: Request, token: str) -> Response:
        """Decline an offer: the slot goes to the next. A second time is refused."""
        return self.answer(token=token, accept=False)


def _check_form(*, request: HttpRequest) -> None:
    """:raises CsrfFailed: if a form did not come from our page."""
    check = CSRFCheck(lambda _request: None)  # type: ignore[arg-type]
    check.process_request(request)
    reason = check.process_view(request, None, (), {})  # type: ignore[arg-type]
    if reason:
        raise CsrfFailed
