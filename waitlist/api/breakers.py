"""The owner's answer when a venue's offers have stopped."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.bodies import Body
from audit import clock
from availability.api.places import OfVenue
from waitlist import breakers


class Resolve(Body):
    """What is to happen: offers go on."""

    action = serializers.ChoiceField(choices=["resume"])


class ResolvedAnswer(serializers.Serializer[Any]):
    """What followed: whether the venue has room to offer, and whether somebody was offered it.

    Who that is, or how many wait, is not said.
    """

    circuit_breaker_resolved = serializers.BooleanField()
    cascade_resumed = serializers.BooleanField()
    next_entry_offered = serializers.BooleanField()


class ResolveBreakerView(OfVenue, GenericAPIView[Any]):
    """Letting offers go on."""

    serializer_class = ResolvedAnswer
    problems: ClassVar = {"POST": (breakers.NoBreaker,)}

    @extend_schema(request=Resolve, responses=ResolvedAnswer)
    def post(self, request: Request) -> Response:
        """Let offers go on after several in a row were not answered; a closed waitlist opens."""
        body = Resolve(data=request.data)
        body.is_valid(raise_exception=True)
        resumed = breakers.resolve(
            facility_id=self.venue.pk, actor=self.caller.actor, now=clock.now()
        )
        answer = {
            "circuit_breaker_resolved": True,
            "cascade_resumed": resumed.cascade_resumed,
            "next_entry_offered": resumed.next_entry_offered,
        }
        return Response(ResolvedAnswer(answer).data)
