"""The summary: what the database holds of the plays."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from io import StringIO

from django.core.management import CommandError, call_command
from django.db.models import Count

from audit.models import Event, JobRun
from config.demo.narrator import Narrator
from config.demo.stage import Refill
from config.demo.supervisor import Unseen


def tell(*, narrator: Narrator, refills: Sequence[Refill], since: datetime) -> None:
    """Print how quick the refills were, which events and job runs there are, and the check.

    :raises Unseen: if an invariant is broken, or a job failed.
    """
    narrator.title("In the database")
    narrator.step("From what is free to ...")
    narrator.table(
        [
            ("", "the first offer", "the refill", "offers"),
            *(
                (
                    refill.facility.name,
                    f"{refill.to_offer.total_seconds():.2f} s",
                    f"{refill.to_refill.total_seconds():.2f} s",
                    refill.offers,
                )
                for refill in refills
            ),
        ]
    )
    narrator.step("Events, which cannot be changed or deleted:")
    here = [refill.facility.pk for refill in refills]
    kinds = Event.objects.filter(facility_id__in=here, at__gte=since).values_list("kind")
    narrator.table(sorted(kinds.annotate(count=Count("pk"))))
    narrator.step("Job runs of the worker:")
    runs = JobRun.objects.filter(started_at__gte=since)
    states = Counter(runs.values_list("task", "state"))
    narrator.table((task, state, count) for (task, state), count in sorted(states.items()))
    if failed := runs.filter(state=JobRun.State.FAILED).first():
        raise Unseen(f"every job run ending well: {failed.task} failed with {failed.error_class}")
    said = StringIO()
    try:
        call_command("check_invariants", stdout=said, no_color=True)
    except CommandError as error:
        raise Unseen(f"every invariant kept: {error}\n{said.getvalue()}") from None
    narrator.step(f"check_invariants: {said.getvalue().strip()}")
