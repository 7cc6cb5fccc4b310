"""The policy of a facility: read, and replaced as a whole.

Durations are ISO 8601 in days, hours, minutes and seconds, `PT24H` or `P1D`; null means none, or no
limit.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError as FunctionRefused
from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_serializer
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, PermissionDenied, ValidationError
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import rows
from accounts.bodies import Body
from accounts.views import ApiView, wanted_version, with_etag
from audit import clock
from scheduling import scopes
from waitlist import policies
from waitlist.models import WaitlistPolicy

# What is nested in the API, by its column: (the object, its key).
NESTED: dict[str, tuple[str, str]] = {
    **{
        f"match_{key}": ("match_weights", key)
        for key in ("provider", "location", "service", "days")
    },
    **{
        key: ("priority_weights", key)
        for key in ("wait_per_day", "membership", "chronic", "short_window", "urgency")
    },
    "quiet_from": ("quiet_hours", "from"),
    "quiet_until": ("quiet_hours", "until"),
}
MOST = 2_147_483_647


def _limit(*, least: int = 0) -> serializers.IntegerField:
    return serializers.IntegerField(min_value=least, max_value=MOST, allow_null=True)


class MatchWeights(Body):
    """What a match is worth in each respect; they sum to 100."""

    provider = serializers.IntegerField(min_value=0, max_value=100)
    location = serializers.IntegerField(min_value=0, max_value=100)
    service = serializers.IntegerField(min_value=0, max_value=100)
    days = serializers.IntegerField(min_value=0, max_value=100)


class PriorityWeights(Body):
    """Points of priority: for each day of waiting and tier, and for each flag."""

    wait_per_day = serializers.IntegerField(min_value=0, max_value=MOST)
    membership = serializers.IntegerField(min_value=0, max_value=MOST)
    chronic = serializers.IntegerField(min_value=0, max_value=MOST)
    short_window = serializers.IntegerField(min_value=0, max_value=MOST)
    urgency = serializers.IntegerField(min_value=0, max_value=MOST)


class QuietHours(Body):
    """Local hours in which no offer is made."""

    until = serializers.TimeField()

    def get_fields(self) -> dict[str, Any]:
        """Return the fields; `from` is a word of Python's."""
        return {"from": serializers.TimeField(), **super().get_fields()}


# As a clinic begins.
EXAMPLE: dict[str, Any] = {
    "ordering": "score", "matching": "best_score", "hold_window": "P1D", "reminder_lead": "PT4H",
    "on_hold_expiry": "requeue", "on_decline": "requeue", "max_offers_per_entry": None,
    "max_queue_size": 250, "max_active_per_requester": None, "unique_per_service": False,
    "auto_invite": True, "min_notice": "PT30M", "look_ahead": "P30D", "min_hold": "PT5M",
    "entry_ttl": "P90D", "grace": "P0D", "nudge_after": "P60D", "nudge_grace": "P7D",
    "breaker_threshold": None, "breaker_timeout": None,
    "match_weights": {"provider": 40, "location": 30, "service": 20, "days": 10},
    "min_match_score": 50,
    "priority_weights": {
        "wait_per_day": 1, "membership": 2, "chronic": 3, "short_window": 1, "urgency": 5
    },
    "quiet_hours": {"from": "21:00:00", "until": "08:00:00"},
}  # fmt: skip


@extend_schema_serializer(examples=[OpenApiExample("clinic", value=EXAMPLE, request_only=True)])
class Policy(Body):
    """How a queue behaves.

    At a venue all that shapes its offers and its caps is the same everywhere and cannot be changed:
    the ordering, the hold window and all about holds, reminders, declines and lapses, the limits,
    what may be waited for once, how long entries live, nudges, the breaker and the weights of
    priority. Send them as they are.
    """

    facility = serializers.UUIDField(source="facility_id", read_only=True)
    ordering = serializers.ChoiceField(choices=WaitlistPolicy.Ordering.choices)
    matching = serializers.ChoiceField(choices=WaitlistPolicy.Matching.choices)
    hold_window = serializers.DurationField()
    reminder_lead = serializers.DurationField(allow_null=True)
    on_hold_expiry = serializers.ChoiceField(choices=WaitlistPolicy.OnHoldExpiry.choices)
    on_decline = serializers.ChoiceField(choices=WaitlistPolicy.OnDecline.choices)
    max_offers_per_entry = _limit()
    max_queue_size = _limit()
    max_active_per_requester = _limit()
    unique_per_service = serializers.BooleanField()
    auto_invite = serializers.BooleanField()
    min_notice = serializers.DurationField()
    look_ahead = serializers.DurationField()
    min_hold = serializers.DurationField()
    entry_ttl = serializers.DurationField()
    grace = serializers.DurationField()
    nudge_after = serializers.DurationField(allow_null=True)
    nudge_grace = serializers.DurationField(allow_null=True)
    breaker_threshold = serializers.IntegerField(min_value=1, max_value=32_767, allow_null=True)
    breaker_timeout = serializers.DurationField(allow_null=True)
    match_weights = MatchWeights()
    min_match_score = serializers.IntegerField(min_value=0, max_value=100)
    priority_weights = PriorityWeights()
    quiet_hours = QuietHours(allow_null=True)
    version = serializers.IntegerField(read_only=True)
    updated_at = serializers.DateTimeField(read_only=True)

    def to_representation(self, policy: WaitlistPolicy) -> dict[str, Any]:
        """Write a policy, nesting what is nested."""
        for column, (name, key) in NESTED.items():
            policy.__dict__.setdefault(name, {})[key] = getattr(policy, column)
        if policy.quiet_from is None:
            policy.__dict__["quiet_hours"] = None
        return dict(super().to_representation(policy))


class PolicyView(ApiView, GenericAPIView[Any]):
    """The policy of a facility."""

    serializer_class = Policy

    def get(self, request: Request, id: UUID) -> Response:
        """Read how a facility's waitlist behaves."""
        self._check(facility_id=id)
        return _show(policy=WaitlistPolicy.objects.get(facility=id))

    @extend_schema(request=Policy, responses=Policy)
    def put(self, request: Request, id: UUID) -> Response:
        """Replace how a facility's waitlist behaves; if the order changes, so do the places.

        At a venue, another value of what is the same at every venue is refused, naming the field.
        """
        self._check(facility_id=id)
        body = Policy(data=request.data)
        body.is_valid(raise_exception=True)
        try:
            policy = policies.change(
                facility_id=id,
                changes=_columns(values=body.validated_data),
                actor=self.caller.actor,
                now=clock.now(),
                version=wanted_version(request=request),
            )
        except FunctionRefused as error:
            raise _renamed(error=error) from error
        return _show(policy=policy)

    def _check(self, *, facility_id: UUID) -> None:
        rows.find(rows=scopes.facilities(caller=self.caller), id=facility_id, field="facility")


class TenantPolicyView(PolicyView):
    """The same at another address."""

    @extend_schema(operation_id="tenant_waitlist_policy_retrieve")
    def get(self, request: Request, tenant: UUID, facility: UUID) -> Response:  # type: ignore[override]
        """Read how a facility's waitlist behaves."""
        self._check_tenant(tenant_id=tenant)
        return super().get(request, facility)

    @extend_schema(operation_id="tenant_waitlist_policy_update", request=Policy, responses=Policy)
    def put(self, request: Request, tenant: UUID, facility: UUID) -> Response:  # type: ignore[override]
        """Replace how a facility's waitlist behaves; if the order changes, so do the places.

        At a venue, another value of what is the same at every venue is refused, naming the field.
        """
        self._check_tenant(tenant_id=tenant)
        return super().put(request, facility)

    def _check_tenant(self, *, tenant_id: UUID) -> None:
        if tenant_id != self.caller.tenant_id:
            raise PermissionDenied("This is another tenant's.")


def _show(*, policy: WaitlistPolicy) -> Response:
    return with_etag(response=Response(Policy(policy).data), version=policy.version)


def _columns(*, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns that the values of a body stand for."""
    names = {name for name, _ in NESTED.values()}
    flat = {name: value for name, value in values.items() if name not in names}
    nested = {column: (values[name] or {}).get(key) for column, (name, key) in NESTED.items()}
    return flat | nested


def _renamed(*, error: FunctionRefused) -> ValidationError:
    """Return the errors under the names that the body has for the columns."""
    found: dict[str, Any] = {}
    for column, errors in error.error_dict.items():
        details = [
            ErrorDetail(text, one.code or "invalid") for one in errors for text in one.messages
        ]
        if column in NESTED:
            name, key = NESTED[column]
            found.setdefault(name, {})[key] = details
        else:
            found[column] = details
    return ValidationError(found)
