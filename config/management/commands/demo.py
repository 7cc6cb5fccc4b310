import logging
import signal
import time
import urllib.request
from argparse import ArgumentTypeError
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import Language, Tenant
from audit import clock, events
from audit.errors import Refused
from audit.models import JobRun
from config import terminal
from config.demo import (
    clients,
    database,
    hours,
    page,
    seed,
    story,
    summary,
    supervisor,
    venues,
)
from config.demo.catcher import Catcher
from config.demo.narrator import Narrator
from config.demo.stage import Refill
from config.demo.story import Joiner, Scene
from config.demo.supervisor import Child, ChildEnded, Unseen
from notifications.models import Channel
from scheduling import patients

PORT = 8000
CATCHER_PORT = 8025
START_SECONDS = 60.0
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

#: How long the offers stand; a real clinic's 24 hours, salon's 15 minutes and venue's 48 hours.
CLINIC_HOLD = timedelta(seconds=8)
SALON_HOLD = timedelta(seconds=5)
VENUE_HOLD = timedelta(seconds=5)


class Command(BaseCommand):
    help = (
        "Start web, worker and beat, and play the stories of cancelled appointments and of a venue"
        " that are filled from the waitlist, with made-up people. Then serve until Ctrl-C."
    )
    # The tables that checks may look at are made here first.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options."""
        parser.add_argument(
            "--once",
            action="store_true",
            help="end after the story: 0 if all of it was seen in the database, else 1",
        )
        parser.add_argument(
            "--reset", action="store_true", help="empty the embedded servers first: all data goes"
        )
        parser.add_argument(
            "--hours",
            type=Path,
            metavar="FILE",
            help="play on opening hours from a CSV file: OrganisationId, WeekDay, Times, IsOpen, "
            "OpeningTimeType, AdditonalOpeningDate (as published by NHS Choices)",
        )
        parser.add_argument(
            "--practices",
            type=Path,
            metavar="FILE",
            help="with --hours: the practices' names (dentists.csv beside it)",
        )
        parser.add_argument(
            "--port",
            type=_port,
            default=PORT,
            help=f"where web listens on 127.0.0.1 ({PORT}; another one if it is taken, or for 0)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Play, and serve unless told to end.

        :raises CommandError: naming what was not seen, or the process that ended.
        """
        if not settings.DEBUG:
            raise CommandError("The demo makes logins and prints them: it runs with DEBUG only.")
        if options["practices"] and not options["hours"]:
            raise CommandError("--practices: it names the practices of --hours, which is missing.")
        logging.getLogger().setLevel(logging.WARNING)  # the narrator tells what matters
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, interrupt)
        folder = terminal.var_folder()
        try:
            with database.alone(folder=folder):
                perform(
                    folder=folder,
                    once=options["once"],
                    reset=options["reset"],
                    port=options["port"],
                    hours_file=options["hours"],
                    practices_file=options["practices"],
                )
        except (database.Refused, hours.Unusable, Unseen, ChildEnded) as error:
            raise CommandError(str(error)) from None
        except (Refused, ValidationError) as error:
            raise CommandError(f"The story cannot go on: {error}") from error
        except KeyboardInterrupt:
            raise CommandError("Ended before the story was over.", returncode=130) from None


def perform(
    *,
    folder: Path,
    once: bool,
    reset: bool,
    port: int,
    hours_file: Path | None,
    practices_file: Path | None,
) -> None:
    """Load what is played with, start the processes, play, and serve unless `once`."""
    tell = Narrator()
    tell.title("Backfill: who waits gets what is cancelled")
    if hours_file:
        practices_file = practices_file or hours_file.with_name(hours.PRACTICES)
        hours.check(files=[hours_file, practices_file])
    if reset:
        database.reset(folder=folder)
        tell.step("All data is gone (--reset).")
    call_command("migrate", verbosity=0)
    since = clock.now()
    tell.step("PostgreSQL and Valkey run, the tables are there.")
    if database.is_embedded(folder=folder):
        seed.hurry_beat()
    clinic = seed.tenant(slug="demo-clinic", name="Harbour Clinics", kind=Tenant.Kind.CLINIC)
    salon = seed.tenant(slug="demo-salon", name="Salon Lumiere", kind=Tenant.Kind.SALON)
    owner = seed.tenant(slug="demo-venues", name="Quayside Venues", kind=Tenant.Kind.VENUE_OPERATOR)
    organizers = seed.organizers(owner=owner)
    tenants = [clinic, salon, owner, *organizers]
    if hours_file and practices_file:
        clinic = seed.tenant(slug="demo-nhs", name="Dentists", kind=Tenant.Kind.CLINIC)
        tenants.append(clinic)
    logins, password = seed.logins(tenants=tenants)
    chosen = supervisor.free_port(wanted=port)
    if port and chosen != port:
        tell.step(f"Port {port} is taken; {chosen} is free.")
    logs = folder / "demo"
    catcher = Catcher(site=f"http://127.0.0.1:{chosen}")
    wanted = supervisor.free_port(wanted=CATCHER_PORT if port else 0)
    with (
        page.running(catcher=catcher, port=wanted),
        supervisor.running(
            folder=logs,
            commands=supervisor.commands(port=chosen),
            environment=catcher.environment,
        ) as children,
    ):
        tell.step(f"Starting web, worker and beat; what they write is in {logs}.")
        if hours_file and practices_file:
            place = hours.load(
                tenant=clinic,
                hours=hours_file,
                practices=practices_file,
                narrator=tell,
                now=clock.now(),
            )
        else:
            place = seed.clinic(tenant=clinic, now=clock.now())
        await_ready(port=chosen, children=children, since=since)
        tell.step(f"They are up: http://127.0.0.1:{chosen}/admin/")
        tell.step(f"The API: http://127.0.0.1:{chosen}/api/v1/docs/; a token names a tenant.")
        tell.table(
            [
                ("login", "password", "tenant", ""),
                *((login.email, password, login.tenant, login.what) for login in logins),
            ]
        )
        tell.step(f"What is sent by mail, SMS and WhatsApp: {catcher.url}")
        refills = [
            play_clinic(
                scene=Scene(place=place, narrator=tell, children=children, catcher=catcher)
            ),
            play_salon(
                scene=Scene(
                    place=seed.salon(tenant=salon, now=clock.now()),
                    narrator=tell,
                    children=children,
                    catcher=catcher,
                )
            ),
            play_venue(
                scene=venues.Scene(
                    venue=seed.venue(tenant=owner),
                    owner=clients.log_in(site=catcher.site, tenant=owner),
                    organizers=venues.with_wishes(organizers=organizers, site=catcher.site),
                    narrator=tell,
                    children=children,
                    catcher=catcher,
                )
            ),
        ]
        summary.tell(narrator=tell, refills=refills, since=since)
        if once:
            tell.step("Every step was seen. Ending.")
        else:
            serve(catcher=catcher, narrator=tell, children=children)


def await_ready(*, port: int, children: Sequence[Child], since: datetime) -> None:
    """Wait until web answers, and the worker has run something that beat sent."""

    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
                return True
        except OSError:
            return False

    runs = JobRun.objects.filter(started_at__gte=since, state=JobRun.State.SUCCEEDED)
    supervisor.until(step="web answering", look=answers, children=children, seconds=START_SECONDS)
    supervisor.until(
        step="a job that beat sent and the worker ran",
        look=runs.exists,
        children=children,
        seconds=START_SECONDS,
    )


def play_clinic(*, scene: Scene) -> Refill:
    """Play at a clinic: who is more in need goes first, and nobody loses their place."""
    place = scene.place
    seed.hurry(place=place, hold=CLINIC_HOLD, now=clock.now())
    scene.narrator.title(
        f"{place.facility}: an offer stands {CLINIC_HOLD.seconds} s here, not 24 hours"
    )
    first, second, third, fourth = seed.people(tenant=place.facility.tenant, count=4)
    patients.update(patient_id=second.pk, changes={"tier": 1}, actor=events.SYSTEM, now=clock.now())
    patients.update(
        patient_id=third.pk,
        changes={"chronic_condition": True},
        actor=events.SYSTEM,
        now=clock.now(),
    )
    return story.play(
        scene=scene,
        joiners=[
            Joiner(patient=first, why="joined first", answer="accept"),
            Joiner(
                patient=second,
                why="member (+2)",
                answer="accept",
                channel=Channel.SMS,
                language=Language.PT,
            ),
            Joiner(
                patient=third,
                why="chronic condition (+3)",
                answer="lapse",
                language=Language.FR,
            ),
            Joiner(
                patient=fourth,
                why="urgent (+5)",
                urgency=1,
                answer="decline",
                channel=Channel.WHATSAPP,
            ),
        ],
    )


def play_salon(*, scene: Scene) -> Refill:
    """Play at a salon: first come, first served, and who does not answer is out."""
    place = scene.place
    seed.hurry(place=place, hold=SALON_HOLD, now=clock.now())
    scene.narrator.title(
        f"{place.facility}: an offer stands {SALON_HOLD.seconds} s here, not 15 minutes"
    )
    first, second, third = seed.people(tenant=place.facility.tenant, count=3)
    return story.play(
        scene=scene,
        joiners=[
            Joiner(patient=first, why="first come", answer="lapse", channel=Channel.SMS),
            Joiner(patient=second, answer="accept", channel=Channel.WHATSAPP, language=Language.ES),
            Joiner(patient=third, answer="accept"),
        ],
    )


def play_venue(*, scene: venues.Scene) -> Refill:
    """Play at a venue: one after the other is offered the whole of it, and nobody answers twice."""
    scene.narrator.title(
        f"{scene.venue}: an offer stands {VENUE_HOLD.seconds} s here, not 48 hours;"
        f" {venues.LAPSES} in a row without an answer stop them, not 3"
    )
    venues.hurry(scene=scene, hold=VENUE_HOLD)
    return venues.play(scene=scene)


def serve(*, catcher: Catcher, narrator: Narrator, children: Sequence[Child]) -> None:
    """Go on until Ctrl-C.

    :raises ChildEnded: if a process ends before.
    """
    try:
        narrator.step(f"Serving {catcher.site}/admin/ and {catcher.url} until Ctrl-C.")
        while True:
            supervisor.check(children=children)
            time.sleep(supervisor.POLL_SECONDS)
    except KeyboardInterrupt:
        narrator.step("Ending.")


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text[:6]) < 1 << 16):
        raise ArgumentTypeError(f"{text!r} is not a port: give a number from 1 to 65535")
    return int(text)


def interrupt(*_: Any) -> NoReturn:
    """End as Ctrl-C does."""
    raise KeyboardInterrupt
