"""The caller's own calendar feed, and the calendar at its address for whoever bears it."""

from collections.abc import Callable
from typing import Any, ClassVar

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response, set_response_etag
from django.utils.module_loading import import_string
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import NotFound, Throttled
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import limits, rows
from accounts.views import ApiView, wanted_version, with_etag
from audit import clock
from notifications import feeds
from notifications.models import CalendarFeed

ICALENDAR = "text/calendar"
EXAMPLE = (
    "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Backfill//Backfill//EN\r\nBEGIN:VEVENT\r\n"
    "SUMMARY:Appointment with Dr Grey\r\nDTSTART:20260302T090000Z\r\nDTEND:20260302T093000Z\r\n"
    "DTSTAMP:20260227T120000Z\r\nUID:019a1b2c-3d4e-7f50-8a9b-0c1d2e3f4a5b@backfill\r\n"
    "SEQUENCE:1\r\nLOCATION:Harley Street\\, London\r\nSTATUS:CONFIRMED\r\nEND:VEVENT\r\n"
    "END:VCALENDAR\r\n"
)


class FeedSerializer(serializers.ModelSerializer[CalendarFeed]):
    class Meta:
        model = CalendarFeed
        fields: tuple[str, ...] = ("version", "created_at", "rotated_at")
        read_only_fields = fields


class NewFeedSerializer(FeedSerializer):
    url = serializers.CharField(help_text="shown this once: whoever knows it sees the calendar")

    class Meta(FeedSerializer.Meta):
        fields = ("url", *FeedSerializer.Meta.fields)


class FeedView(ApiView):
    """The caller's own feed, in this tenant."""

    idempotent: ClassVar[bool] = False
    problems: ClassVar = {"GET": (NotFound,)}

    @extend_schema(responses=FeedSerializer)
    def get(self, request: Request) -> Response:
        """Say since when one's calendar has an address; which, nobody can tell any more."""
        feed = self._find()
        return with_etag(response=Response(FeedSerializer(feed).data), version=feed.version)

    @extend_schema(request=None, responses={201: NewFeedSerializer})
    def post(self, request: Request) -> Response:
        """Give one's calendar an address, or another one: the last is dead at once."""
        feed, url = feeds.rotate(caller=self.caller, now=clock.now())
        answer = {"url": url, **FeedSerializer(feed).data}
        return with_etag(response=Response(answer, status=201), version=feed.version)

    @extend_schema(responses={204: None})
    def delete(self, request: Request) -> Response:
        """Take the address away."""
        rows.remove(
            rows=feeds.of(caller=self.caller),
            id=self._find().pk,
            version=wanted_version(request=request),
        )
        return Response(status=204)

    def _find(self) -> CalendarFeed:
        feed = feeds.of(caller=self.caller).first()
        if feed is None:
            raise NotFound("Your calendar has no address.")
        return feed


class CalendarView(ApiView):
    """The calendar at an address."""

    authentication_classes = ()
    problems: ClassVar = {"GET": (Throttled,)}

    @extend_schema(
        auth=[],
        parameters=[
            OpenApiParameter(
                "If-None-Match", str, OpenApiParameter.HEADER,
                description="The ETag of the calendar as it was got before; 304 if it is the same.",
            )
        ],
        responses={
            (200, ICALENDAR): {"type": "string", "example": EXAMPLE},
            304: OpenApiResponse(description="It is as it was."),
        },
    )  # fmt: skip
    def get(self, request: Request, token: str) -> HttpResponseBase:
        """Get one's appointments to show in a calendar program, which asks again by itself."""
        feed = feeds.find(token=token)
        # By feed: those who run calendars get many from one address.
        limits.check(
            limit="calendar",
            who=str(feed.pk) if feed else limits.address(request=request),
            tenant=feed.tenant_id if feed else None,
        )
        if feed is None:
            raise NotFound("There is no calendar at this address.")
        # By name: icalendar takes long to load.
        subscription: Callable[..., Any] = import_string("notifications.calendars.subscription")
        calendar = subscription(feed=feed, now=clock.now())
        response = HttpResponse(calendar.to_ical(), content_type=f"{ICALENDAR}; charset=utf-8")
        response["Cache-Control"] = "private, no-cache"  # kept, but asked for again each time
        set_response_etag(response)
        known = get_conditional_response(request._request, response["ETag"], response=response)
        return known or response
