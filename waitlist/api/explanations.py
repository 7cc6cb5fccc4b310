"""Why a slot is offered to whom, and which slots an entry could get."""

from typing import Any, ClassVar
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import Throttled
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import limits, rows
from accounts.roles import Caller
from accounts.views import ApiView
from audit import clock
from scheduling import scopes as supply
from waitlist import explanations, scopes


class MatchesAnswer(serializers.Serializer[Any]):
    """Which wishes are met; who has no wish is content."""

    provider = serializers.BooleanField()
    location = serializers.BooleanField()
    service = serializers.BooleanField()
    days = serializers.BooleanField()


class LeaderAnswer(serializers.Serializer[Any]):
    """Somebody who fits, with the entry that would get the slot; rank 1 is offered first."""

    entry = serializers.UUIDField()
    rank = serializers.IntegerField(min_value=1)
    score = serializers.IntegerField(min_value=0, max_value=100)
    matches = MatchesAnswer()


class SlotExplanationAnswer(serializers.Serializer[Any]):
    """Who fits a slot, and by which rule the others are kept from it, each entry counted once.

    `closed` says what keeps the scan from offering the slot to anybody, as codes; `tried_in_vain`:
    nobody fitted, and it waits until the queue changes or a day has gone; `overlapped`: another
    open slot of the provider, which ends first and which somebody fits, goes before it. `leaders`
    are who would be offered it first if it were the only slot, each once.
    """

    slot = serializers.UUIDField()
    closed = serializers.ListField(child=serializers.CharField())
    waiting = serializers.IntegerField(min_value=0)
    fitting = serializers.IntegerField(min_value=0)
    kept_out = serializers.DictField(child=serializers.IntegerField(min_value=1))
    leaders = LeaderAnswer(many=True)


class ChanceAnswer(serializers.Serializer[Any]):
    """A coming slot that the entry fits.

    `closed` says what keeps the scan from offering it to anybody at present, as codes.
    """

    slot = serializers.UUIDField()
    facility = serializers.UUIDField()
    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField()
    score = serializers.IntegerField(min_value=0, max_value=100)
    matches = MatchesAnswer()
    closed = serializers.ListField(child=serializers.CharField())


class EntryExplanationAnswer(serializers.Serializer[Any]):
    """The coming slots that an entry could get, the next 50, or by which rule it gets none.

    `closed` says what keeps the facility from offering anything at present, as codes.
    """

    entry = serializers.UUIDField()
    status = serializers.CharField()
    closed = serializers.ListField(child=serializers.CharField())
    open = serializers.IntegerField(min_value=0)
    kept_out = serializers.DictField(child=serializers.IntegerField(min_value=1))
    chances = ChanceAnswer(many=True)


class SlotExplanationView(ApiView, GenericAPIView[Any]):
    """Who would be offered a slot, and who not, and why."""

    serializer_class = SlotExplanationAnswer
    problems: ClassVar = {"GET": (Throttled,)}

    @extend_schema(responses=SlotExplanationAnswer)
    def get(self, request: Request, id: UUID) -> Response:
        """Count everybody who waits by the rule that keeps them from the slot; name who leads."""
        _count(caller=self.caller)
        slot = rows.find(rows=supply.slots(caller=self.caller), id=id, field="slot")
        found = explanations.explain_slot(slot_id=slot.pk, now=clock.now())
        return Response(SlotExplanationAnswer(found).data)


class EntryExplanationView(ApiView, GenericAPIView[Any]):
    """Which coming slots an entry could get."""

    serializer_class = EntryExplanationAnswer
    problems: ClassVar = {"GET": (Throttled,)}

    @extend_schema(responses=EntryExplanationAnswer)
    def get(self, request: Request, id: UUID) -> Response:
        """Name the coming slots that the entry fits, or count by the rules that keep it away."""
        _count(caller=self.caller)
        entry = rows.find(rows=scopes.entries(caller=self.caller), id=id, field="entry")
        found = explanations.explain_entry(entry_id=entry.pk, now=clock.now())
        return Response(EntryExplanationAnswer(found).data)


def _count(*, caller: Caller) -> None:
    """Let nobody ask without end: an answer reads all that waits, or all that is open.

    :raises Throttled: if they asked too often.
    """
    limits.check(limit="explain", who=str(caller.user_id), tenant=caller.tenant_id)
