"""The stage: what every story is told with, and how it sees what the processes make of it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar
from zoneinfo import ZoneInfo

from audit.models import JobRun
from config.demo import supervisor
from config.demo.catcher import Catcher, Caught
from config.demo.narrator import Narrator
from config.demo.supervisor import Child
from notifications.models import Channel
from scheduling.models import Facility
from waitlist.models import Hold

EXPIRE = ("waitlist.tasks.expire_holds",)

#: Seconds until a step that the processes take counts as not seen; they need far less.
PATIENCE = 30.0

Seen = TypeVar("Seen")


@dataclass(frozen=True, kw_only=True)
class Stage(ABC):
    """Who tells, the processes, and what they send."""

    narrator: Narrator
    children: Sequence[Child]
    catcher: Catcher

    @property
    @abstractmethod
    def zone(self) -> ZoneInfo:
        """The zone that times are told in."""

    def until(self, *, step: str, look: Callable[[], Seen | None], seconds: float) -> Seen:
        """Wait for a step: see `supervisor.until`."""
        return supervisor.until(step=step, look=look, children=self.children, seconds=seconds)

    def clock(self, at: datetime, *, form: str = "%H:%M") -> str:
        """Tell a time as the clock on the wall there shows it."""
        return at.astimezone(self.zone).strftime(form)

    def tell_offer(self, *, hold: Hold, who: object, what: str) -> None:
        """Tell who is offered what, and for how long."""
        window = (hold.expires_at - hold.offered_at).total_seconds()
        self.narrator.step(
            f"{who} is offered {what}, to be answered within {window:.0f} s"
            f" (by {self.clock(hold.expires_at, form='%H:%M:%S %Z')})."
        )

    def see_held(self, *, hold: Hold, tasks: Sequence[str], freed_at: datetime) -> None:
        """See the run of the worker that made an offer."""
        run = self.see_run(tasks=tasks, count="offers", at=hold.offered_at)
        waited = (hold.offered_at - freed_at).total_seconds()
        self.narrator.detail(
            f"Held by the worker's {short(run)}, {waited:.2f} s after it was free."
        )

    def see_swept(self, *, hold: Hold, at: datetime) -> None:
        """See the run of the worker that ended an offer which nobody answered."""
        run = self.see_run(tasks=EXPIRE, count="holds", at=at)
        late = (at - hold.expires_at).total_seconds()
        self.narrator.detail(
            f"Ended by the worker's {short(run)}, which beat calls,"
            f" {late:.1f} s after the time was up."
        )

    def see_run(self, *, tasks: Sequence[str], count: str, at: datetime) -> JobRun:
        """See the run of a task in the worker that did something at a time, and counted it."""
        return self.until(
            step=f"a run of {' or '.join(tasks)}",
            look=lambda: (
                JobRun.objects.filter(
                    task__in=tasks,
                    state=JobRun.State.SUCCEEDED,
                    started_at__lte=at,
                    finished_at__gte=at,
                    **{f"counts__{count}__gte": 1},
                )
                .exclude(worker="")
                .first()
            ),
            seconds=PATIENCE,
        )

    def see_mail(self, *, email: str, about: str, since: datetime) -> None:
        """See a mail arrive whose subject has these words."""

        def look() -> Caught | None:
            theirs = (
                mail
                for mail in self.catcher.newest()
                if (mail.channel, mail.address) == (Channel.EMAIL, email) and mail.at >= since
            )
            return next((mail for mail in theirs if about in mail.subject), None)

        mail = self.until(step=f"a mail to {email}: {about}", look=look, seconds=PATIENCE)
        self.narrator.detail(f"Email to {email}: {mail.subject}")


@dataclass(frozen=True, kw_only=True)
class Refill:
    """How quickly what was free was offered and filled again."""

    facility: Facility
    offers: int
    to_offer: timedelta
    to_refill: timedelta


def short(run: JobRun) -> str:
    """Shorten a task's name to that of its function."""
    return run.task.rpartition(".")[2]
