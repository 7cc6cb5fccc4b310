from celery import shared_task

from audit import clock, jobs


@shared_task
def prune_job_runs() -> dict[str, int]:
    """Beat, daily. Keeps the table of runs small; failed ones stay."""
    return {"runs": jobs.prune(now=clock.now())}


@shared_task
def fail_lost_runs() -> dict[str, int]:
    """Beat, every 10 minutes. A run that nobody will end any more is told as a failed one."""
    return {"runs": jobs.fail_lost(now=clock.now())}
