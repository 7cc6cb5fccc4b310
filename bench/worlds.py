"""Worlds that benches run in, made by SQL: the same rows for the same sizes."""

from datetime import UTC, datetime

from django.db import connection

from audit import sql
from scheduling.models import Facility
from waitlist import ranking

NOW = datetime(2030, 3, 4, 10, tzinfo=UTC)  # a Monday, in no quiet hours


def make(
    *, facilities: int, slots: int, waiting: int, fit: str = "all", matching: str = "best_score",
    hidden: int = 0,
) -> None:  # fmt: skip
    """Make facilities with open slots and people who wait, each.

    `fit` says who fits: `all` with mixed wishes, `sparse` one in a thousand, `lower` as many
    who all want other days (than that of the first 64 slots), `none`.
    `hidden` is how many more slots of each facility are open, but hidden by a booking.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            sql.text(app="bench", name="make_world"),
            {
                "facilities": facilities,
                "slots": slots,
                "waiting": waiting,
                "fit": fit,
                "matching": matching,
                "hidden": hidden,
                "now": NOW,
            },
        )
        cursor.execute("ANALYZE")  # else what follows is planned for empty tables
    ranking.rerank(facility_ids=list(Facility.objects.values_list("pk", flat=True)))
