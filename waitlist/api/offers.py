"""The page and the endpoints behind an offer link, for whoever bears it.

A browser gets a small page with two forms, everything else gets JSON. A form needs the token that
its page came with.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar

from django.urls import reverse
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import Throttled
from rest_framework.parsers import FormParser
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import limits, links
from accounts.links import JSON, CsrfFailed
from accounts.parsers import JSONParser
from accounts.views import PAGE
from audit import clock
from availability import rfps
from scheduling import slots
from scheduling.appointments import PatientBusy
from waitlist import conversions, holds, offers
from waitlist.models import Hold


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


class LinkView(links.LinkView):
    """What the three addresses of an offer link share."""

    serializer_class = OfferAnswer
    parser_classes = (JSONParser, FormParser)
    idempotent = False  # a hold is answered once anyway
    template = "waitlist/offer.html"
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
        links.check_form(request=request)

    def show(self, *, hold: Hold) -> Response:
        """Answer the offer as it is now."""
        self.offer = offers.describe(hold=hold, now=clock.now())
        return Response(OfferAnswer(self.offer).data)

    def known(self, *, data: Any) -> Mapping[str, Any]:
        """Return the offer, where it was found, and the token for its forms."""
        return {"offer": getattr(self, "offer", None), "token": self.kwargs["token"]}

    def find(self, *, token: str) -> Hold:
        """Return the hold that a token names.

        :raises BadLink: if it is not one of ours.
        """
        hold = offers.read(token=token)
        self.language = hold.patient.language if hold.patient else ""
        return hold

    def answer(self, *, token: str, accept: bool) -> Response:
        """Say yes or no, then show what became of it; a form is sent on to the page that does.

        :raises HoldClosed: if it was over; the page of a form says so by itself.
        """
        hold = self.find(token=token)
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
        return self.show(hold=self.find(token=token))


# What answering tells: a program the offer, a form of the page where the offer is shown.
ANSWERED: Any = {
    "parameters": [
        OpenApiParameter(
            "Location", str, OpenApiParameter.HEADER, response=[303],
            description="The page of the offer.",
        )
    ],
    "responses": {
        (200, JSON): OfferAnswer,
        303: OpenApiResponse(description="To a form of the page, whether or not it was in time."),
    },
}  # fmt: skip


class OfferView(LinkView):
    """An offer, by its link."""

    problems: ClassVar = {"GET": (Throttled,)}

    @extend_schema(auth=[], responses={(200, JSON): OfferAnswer, (200, PAGE): str})
    def get(self, request: Request, token: str) -> Response:
        """Read an offer, or what became of it. Changes nothing."""
        return self.show(hold=self.find(token=token))


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

    @extend_schema(auth=[], request=None, **ANSWERED)
    def post(self, request: Request, token: str) -> Response:
        """Accept an offer. A second time is refused, telling the `state`.

        Its slot is booked; of a whole venue, a new RFP to it is drafted.
        """
        return self.answer(token=token, accept=True)


class OfferDeclineView(LinkView):
    """Saying no by a link."""

    problems: ClassVar = {"POST": (holds.HoldClosed, CsrfFailed, Throttled)}

    @extend_schema(auth=[], request=None, **ANSWERED)
    def post(self, request: Request, token: str) -> Response:
        """Decline an offer: the slot goes to the next. A second time is refused."""
        return self.answer(token=token, accept=False)
