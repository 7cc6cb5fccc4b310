"""Holds, and the answers to offers by those who are logged in."""

from typing import Any, ClassVar
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import rows
from accounts.roles import Caller
from accounts.views import ApiView
from audit import clock
from scheduling import slots
from scheduling.appointments import PatientBusy
from waitlist import holds, scopes
from waitlist.api.answers import HoldAnswer


class HoldView(ApiView, GenericAPIView[Any]):
    """One hold."""

    serializer_class = HoldAnswer

    def get(self, request: Request, id: UUID) -> Response:
        """Read a hold: what is offered, until when, and what became of it."""
        return show(hold_id=id, caller=self.caller)


class HoldAcceptView(ApiView, GenericAPIView[Any]):
    """Saying yes."""

    serializer_class = HoldAnswer
    problems: ClassVar = {"POST": (*slots.UNCLAIMABLE, holds.HoldClosed, PatientBusy)}

    @extend_schema(request=None, responses=HoldAnswer)
    def post(self, request: Request, id: UUID) -> Response:
        """Accept an offer: its slot is booked. Only once; a refusal's `state` says what became."""
        rows.find(rows=scopes.holds(caller=self.caller), id=id, field="hold")
        holds.accept(hold_id=id, actor=self.caller.actor, now=clock.now())
        return show(hold_id=id, caller=self.caller)


class HoldDeclineView(ApiView, GenericAPIView[Any]):
    """Saying no."""

    serializer_class = HoldAnswer
    problems: ClassVar = {"POST": (holds.HoldClosed,)}

    @extend_schema(request=None, responses=HoldAnswer)
    def post(self, request: Request, id: UUID) -> Response:
        """Decline an offer: the slot goes to the next, the entry does what the policy says."""
        rows.find(rows=scopes.holds(caller=self.caller), id=id, field="hold")
        holds.decline(hold_id=id, actor=self.caller.actor, now=clock.now())
        return show(hold_id=id, caller=self.caller)


def show(*, hold_id: UUID, caller: Caller, status: int = 200) -> Response:
    """Answer a hold as it is.

    :raises NotFound: if the caller does not see it.
    """
    found = scopes.holds(caller=caller).select_related("entry__appointment")
    hold = rows.find(rows=found, id=hold_id, field="hold")
    return Response(HoldAnswer(hold).data, status=status)
