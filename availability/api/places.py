"""Views below an organisation or a venue, which is the caller's own."""

from typing import Any
from uuid import UUID

from rest_framework.request import Request

from accounts.views import ApiView
from availability import scopes
from scheduling.models import Facility


class OfOrganization(ApiView):
    """A view below `organizations/{organization}/`."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """:raises NotYours: if it is another organisation than the caller's."""
        super().initial(request, *args, **kwargs)
        organization_id: UUID = self.kwargs.pop("organization")
        scopes.check_organization(caller=self.caller, organization_id=organization_id)


class OfVenue(ApiView):
    """A view below `venues/{venue}/`."""

    venue: Facility

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """:raises NotFound, NotYours: see `scopes.find_venue`."""
        super().initial(request, *args, **kwargs)
        venue_id: UUID = self.kwargs.pop("venue")
        self.venue = scopes.find_venue(caller=self.caller, venue_id=venue_id)
