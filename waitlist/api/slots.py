"""The list of slots, which tells those who find nothing whether waiting is possible."""

from typing import Any
from uuid import UUID

from rest_framework.request import Request
from rest_framework.response import Response

from accounts.pages import Pages
from audit import clock
from scheduling import scopes
from scheduling.api.slots import SlotsView
from waitlist import entries, metrics

HINT: dict[str, Any] = {
    "type": ["object", "null"],
    "description": "When nothing is found at a facility that was asked for: whether its waitlist"
    " can be joined, and how many minutes those waited who were served in the last 30 days, null"
    " while nobody was.",
    "required": ["can_join", "recent_wait_minutes"],
    "properties": {
        "can_join": {"type": "boolean", "examples": [True]},
        "recent_wait_minutes": {"type": ["integer", "null"], "minimum": 0, "examples": [2880]},
    },
}


class SlotPages(Pages):
    """A page with a hint."""

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Say so in the schema."""
        page = super().get_paginated_response_schema(schema)
        page["required"] = [*page["required"], "waitlist"]
        page["properties"]["waitlist"] = HINT
        return page


class SlotsOrWaitlistView(SlotsView):
    """What can be booked, or else how to wait for it."""

    pagination_class = SlotPages

    def get(self, request: Request) -> Response:
        """List slots; for patients those that they may book, or a hint that they may wait."""
        response = super().get(request)
        facility = request.query_params.get("facility")
        found = None
        if facility and response.data["total"] == 0:
            found = scopes.facilities(caller=self.caller).filter(pk=facility).first()
        response.data["waitlist"] = _hint(facility_id=found.pk) if found else None
        return response


def _hint(*, facility_id: UUID) -> dict[str, Any] | None:
    can_join = entries.can_join(facility_id=facility_id)
    waited = metrics.recent_wait(facility_id=facility_id, now=clock.now())
    return {"can_join": can_join, "recent_wait_minutes": waited}
