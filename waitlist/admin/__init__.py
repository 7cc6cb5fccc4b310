"""Pages of the demand: `queues`, who is `waiting`, and what that adds to the pages of the `supply`.

A row's tenant is the one that may see it: an organizer's entries and holds are on the organizer's
pages, and on none of the venue's.
"""

from waitlist.admin import queues, supply, waiting

__all__ = ("queues", "supply", "waiting")
