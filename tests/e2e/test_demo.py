"""The demo as a person starts it: a process of its own, with servers of its own."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from subprocess import Popen

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings
from playwright.sync_api import expect, sync_playwright

from config.demo import database, hours, supervisor
from config.embedded import locks

ROOT = Path(__file__).resolve().parents[2]
END_SECONDS = 30.0

#: The lines of the story, in order: what a newcomer should be able to follow.
STORY = (
    r"All data is gone",
    r"They are up: http://127\.0\.0\.1:\d+/admin/",
    r"The API: http://127\.0\.0\.1:\d+/api/v1/docs/",
    r"demo-clinic@demo\.example +\S+ +demo-clinic +admin of Harbour Clinics",
    r"demo-venues@demo\.example +\S+ +demo-venues +admin of Quayside Venues, venue operator",
    r"demo-aster@demo\.example +\S+ +demo-aster +admin of Aster Events, organizer",
    r"What is sent by mail, SMS and WhatsApp: http://127\.0\.0\.1:\d+",
    r"is open on \w+days, 09:00-12:00\.",
    r"So there are \d+ slots in the next weeks, 6 on \w+ \d+ \w+ \d+:",
    r"09:00 09:30 10:00 10:30 11:00 11:30",
    r"6 people book\. The day is full\.",
    r"4 people join the waitlist for that day, one after the other\. The order:",
    r"1\.  \w+ \w+ +priority \d+  urgent",
    r"cancels 10:30\.",
    r"is offered 10:30, to be answered within 8 s \(by \d\d:\d\d:\d\d (GMT|IST)\)",
    r"Held by the worker's fill_facility",
    r"WhatsApp: A time is free at Harbour Street Clinic",
    r"answers by a button on WhatsApp\.",
    r"declines and is back on the list, at place 1",
    r"Nobody is asked twice about 10:30",
    r"is offered 10:30",
    r"lets the time run out and is back on the list, at place 2",
    r"Ended by the worker's expire_holds, which beat calls",
    r"is offered 10:30",
    r"SMS: Harbour Street Clinic: .* Responda SIM ou NAO",
    r"answers by an SMS that says SIM\.",
    r"accepts\. 10:30 is booked again: the day is full\.",
    r"an offer stands 5 s here",
    r"lets the time run out and is off the list",
    r"accepts\. 14:30 is booked again: the day is full\.",
    r"Quay Hall: an offer stands 5 s here",
    r"3 organizers send Quay Hall an RFP",
    r"Its owner answers each of them: unavailable",
    r"100% of its answers .* Its badge, for everybody to see: Fully Booked \(red\)",
    r"they join the waitlist of Quay Hall\. Each reads their own place:",
    r"1\.  Aster Events +Spring gala",
    r"3\.  Cedar Society +Annual congress",
    r"The owner reads what they read before anybody joined: neither who waits nor how many",
    r"Their list of who waits here: 0 entries",
    r"The owner shows that Quay Hall has room: Accepting Events \(green\)",
    r"Aster Events is offered Quay Hall, to be answered within 5 s \(by \d\d:\d\d:\d\d WES?T\)",
    r"Held by the worker's offer_vacancy",
    r"Email to demo-aster@demo\.example: Quay Hall has room again",
    r"Aster Events lets the time run out and is off the list",
    r"Ended by the worker's expire_holds, which beat calls",
    r"Birch and Partners is offered Quay Hall",
    r"Birch and Partners lets the time run out and is off the list",
    r"2 offers in a row had no answer: the breaker stops them, and the owner is asked",
    r"Email to demo-venues@demo\.example: Quay Hall: offers have stopped",
    r"Aster Events joins again, at place 2",
    r"The owner lets offers go on, .* not who that is, nor whether others wait",
    r"Cedar Society is offered Quay Hall",
    r"Cedar Society accepts: a new RFP, Annual congress, is drafted for Quay Hall alone",
    r"Only now the owner learns of Cedar Society",
    r"Email to demo-venues@demo\.example: Quay Hall: your offer was accepted",
    r"Cedar Society chooses Quay Hall for Annual congress",
    r"nobody else is asked: Aster Events goes on waiting, at place 1",
    r"Quay Hall +[\d.]+ s +[\d.]+ s +3",
    r"venue\.availability_improved +1",
    r"waitlist\.hold_expired +4",
    r"waitlist\.tasks\.fill_facility +succeeded +\d+",
    r"check_invariants: ",
    r"Serving http://",
)

Start = Callable[..., Popen[str]]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for the servers and logs of one demo, which any account can reach."""
    path = Path(tempfile.mkdtemp(prefix="backfill-demo-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Start the command as a developer does; what is still running ends with the test."""
    started: list[Popen[str]] = []

    def start(*options: str, **environment: str) -> Popen[str]:
        mine = {
            "BACKFILL_ENV": "development",
            "BACKFILL_VAR": str(folder),
            "DEBUG": "1",
            "DATABASE_URL": "",
            "REDIS_URL": "",
            "CELERY_BROKER_URL": "",
        }
        demo = Popen(
            [sys.executable, ROOT / "manage.py", "demo", "--port", "0", *options],
            env={**os.environ, **mine, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # What a shell runs in the background, and what that starts, ignores interrupts.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )
        started.append(demo)
        return demo

    yield start
    for demo in started:
        with demo:
            demo.kill()
    await_end(folder)


def await_end(folder: Path) -> None:
    """Wait until no process of a demo is left.

    :raises AssertionError: naming those that are.
    """
    deadline = time.monotonic() + END_SECONDS
    while left := [*processes(folder).values(), *servers(folder)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def processes(folder: Path) -> dict[int, str]:
    """Return ids and command lines of the processes that know of the folder."""
    mark = os.fsencode(folder)
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
            if mark in command or mark in (process / "environ").read_bytes():
                words = command.replace(b"\0", b" ")
                found[int(process.name)] = words.decode(errors="replace")
        except OSError:  # it ended meanwhile, or is somebody else's
            continue
    return found


def servers(folder: Path) -> list[str]:
    """Return the kinds of server of which a process lives, whatever it calls itself."""
    return [
        path.parent.name for path in folder.glob("*/processes.lock") if locks.is_held(path=path)
    ]


def test_tells_the_whole_story_and_leaves_nothing_running(folder: Path, start: Start) -> None:
    demo = start("--reset")
    said = read_until(demo, "Serving")
    at = 0
    for line in STORY:
        found = re.compile(line).search(said, at)
        assert found, f"{line} is missing after:\n{said[:at]}"
        at = found.end()
    assert "\x1b" not in said, "colours belong on a terminal"
    [catcher] = re.findall(r"What is sent by mail, SMS and WhatsApp: (\S+)", said)
    see_what_was_sent(url=catcher)
    demo.send_signal(signal.SIGINT)
    said, _ = demo.communicate(timeout=60)
    assert demo.returncode == 0, said
    assert not processes(folder)
    assert not servers(folder)


def see_what_was_sent(*, url: str) -> None:
    """Look at the catcher's page as somebody does who was sent something, and answer there."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        try:
            page = browser.new_page()
            page.goto(url)
            sent = {
                channel: page.get_by_role("region", name=channel)
                for channel in ("Email", "SMS", "WhatsApp")
            }
            joined = sent["Email"].get_by_role("heading", name="you are on the waitlist")
            expect(joined.first).to_be_visible()
            for subject in ("Quay Hall has room again", "Quay Hall: offers have stopped"):
                expect(sent["Email"].get_by_role("heading", name=subject).first).to_be_visible()
            with page.expect_download() as download:
                sent["Email"].get_by_role("link", name="appointment.ics").first.click()
            assert download.value.path().read_bytes().startswith(b"BEGIN:VCALENDAR")
            # The answers come from web, and those on WhatsApp only after the page was shown.
            expect(sent["WhatsApp"].get_by_text("Thank you.", exact=False)).to_have_count(1)
            sent["WhatsApp"].get_by_role("button", name="Reservar").click()
            expect(sent["WhatsApp"].get_by_text("Su cita:")).to_have_count(2)
            sent["SMS"].get_by_role("textbox").first.fill("stop")
            sent["SMS"].get_by_role("button", name="Send").first.click()
            expect(sent["SMS"].get_by_text("You get no more messages here")).to_be_visible()
            salon = sent["Email"].get_by_role("article").filter(has_text="Salon Lumiere")
            salon.get_by_role("link", name="Unsubscribe").first.click()
            expect(page.get_by_role("button")).to_have_text(re.compile("lista de espera"))
        finally:
            browser.close()


def test_leaves_nothing_running_when_it_is_killed(folder: Path, start: Start) -> None:
    demo = start()
    said = read_until(demo, "They are up")
    running = "\n".join(processes(folder).values())
    for name in ("uvicorn", "celery -A config worker", "celery -A config beat", "valkey-server"):
        assert name in running, said
    assert sorted(servers(folder)) == ["postgres", "valkey"]
    demo.kill()
    await_end(folder)


def test_a_process_that_ends_is_named_with_its_last_words(tmp_path: Path) -> None:
    child = supervisor.start(
        name="beat", command=["timeit", "-n1", "-r1", "raise SystemExit('no broker')"],
        log=tmp_path / "beat.log", environment={},
    )  # fmt: skip
    with pytest.raises(supervisor.ChildEnded, match=r"(?s)beat ended with exit code 1.*no broker"):
        supervisor.until(step="anything", look=lambda: None, children=[child], seconds=30)


def test_a_step_that_is_not_seen_is_named_with_what_the_processes_wrote(tmp_path: Path) -> None:
    commands = {"worker": ["http.server", "0"]}
    with (
        supervisor.running(folder=tmp_path, commands=commands, environment={}) as children,
        pytest.raises(supervisor.Unseen, match="Not seen within 0 s: the offer") as error,
    ):
        supervisor.until(step="the offer", look=lambda: None, children=children, seconds=0)
    assert str(tmp_path / "worker.log") in str(error.value)
    assert children[0].process.returncode == -signal.SIGTERM


def test_two_demos_do_not_play_on_the_same_servers(folder: Path) -> None:
    with (
        database.alone(folder=folder),
        pytest.raises(database.Refused, match="Another demo runs"),
        database.alone(folder=folder),
    ):
        pass


def test_reset_leaves_other_servers_alone(folder: Path) -> None:
    with pytest.raises(database.Refused, match="DATABASE_URL or REDIS_URL names others"):
        database.reset(folder=folder)


def test_names_a_file_that_is_not_there() -> None:
    with pytest.raises(hours.Unusable, match=r"There is no file /nowhere/hours\.csv"):
        hours.check(files=[Path("/nowhere/hours.csv")])


def test_makes_no_logins_outside_debug() -> None:
    with pytest.raises(CommandError, match="it runs with DEBUG only"):
        call_command("demo")


@pytest.mark.parametrize("port", ["-1", "65536", "99999", "9" * 5000, "x", "²"])
def test_names_a_port_that_there_cannot_be(port: str) -> None:
    with pytest.raises(CommandError, match=r"--port: .* give a number from 1 to 65535"):
        call_command("demo", f"--port={port}", "--once")


def test_wants_hours_with_the_practices() -> None:
    wanted = pytest.raises(CommandError, match=r"--practices: .* --hours, which is missing")
    with override_settings(DEBUG=True), wanted:
        call_command("demo", "--practices", "dentists.csv")


def read_until(demo: Popen[str], words: str) -> str:
    """Read what a demo says until it says these words; return all of it."""
    assert demo.stdout
    said = ""
    for line in demo.stdout:
        said += line
        if words in line:
            return said
    raise AssertionError(f"it never said {words!r}:\n{said}")
