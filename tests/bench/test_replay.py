"""Replays of made-up sections and hotels: what is read, what is played, what is told."""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import transaction

from bench import bookings, casts, databases, enrolments, replays
from bench.answers import Answers
from bench.enrolments import Change, Sample
from bench.figures import Figures
from bench.players import Player
from bench.scripts import BadFile, Script
from scheduling.models import Appointment, Slot
from waitlist import invariants
from waitlist.models import WaitlistEntry

DATA = Path(__file__).parent.parent / "data"
ENROLMENTS = DATA / "enrolments.csv"
BOOKINGS = DATA / "bookings.csv"
ALL_ACCEPT = Answers(seed=1, accept=1, decline=0, median=timedelta(minutes=10), spread=0)
ALL_DECLINE = Answers(seed=1, accept=0, decline=1, median=timedelta(minutes=10), spread=0)
NOBODY = Answers(seed=1, accept=0, decline=0)


def _play(script: Script, answers: Answers, **changes: Any) -> Player:
    """Play in the test's database, and hold the player's mirror against the rows."""
    cast = casts.assemble(script=script)
    start = script.steps[0][0]
    policy = replays.set_policy(cast=cast, changes=changes, now=start)
    player = Player(script=script, cast=cast, policy=policy, answers=answers, start=start)
    player.run(progress=lambda done: None)
    assert invariants.breaches() == []
    _check_mirror(player)
    return player


def _check_mirror(player: Player) -> None:
    for place in player.places.values():
        mine = Slot.objects.filter(facility=place.facility_id)
        covered: set[Any] = set()
        if isinstance(place, bookings.Hotel):
            covered = covered.union(*place.covered.values())
        assert set(mine.filter(status="open").values_list("pk", flat=True)) == (
            set(place.open) | covered
        )
        assert set(mine.filter(status="held").values_list("pk", flat=True)) == set(place.held)
        booked = Appointment.objects.filter(facility=place.facility_id, status="booked")
        assert dict(booked.values_list("slot", "pk")) == place.booked
        for status, mirror in (("waiting", place.waiting), ("offered", place.offered)):
            found = WaitlistEntry.objects.filter(facility=place.facility_id, status=status)
            assert set(found.values_list("pk", flat=True)) == set(mirror)


def _section(tmp_path: Path, *samples: str) -> Script:
    """Read a section from samples `day time enrolled available waitlisted`."""
    lines = ["time_local,course,section,enrolled,available,waitlisted,total,marker"]
    for number, sample in enumerate(samples):
        at, enrolled, available, waitlisted = sample.split()
        total = int(enrolled) + int(available)
        marker = 1 if number == 0 else 2 if number == len(samples) - 1 else 0
        lines.append(
            f"2030-05-{at}:00,ART 200,A,{enrolled},{available},{waitlisted},{total},{marker}"
        )
    file = tmp_path / "section.csv"
    file.write_text("\n".join(lines) + "\n")
    return enrolments.read(path=file)


# Enrolments


def test_sections_are_read_with_what_the_data_observed() -> None:
    script = enrolments.read(path=ENROLMENTS)
    assert script.facilities == ["ART 200 A", "BIO 201 A"]
    assert script.remarks[0].startswith("3 sections, 2 played; 1 without a limit (total 9999)")
    observed = script.observed
    assert observed["spells a seat stood open while people waited"] == 2
    assert observed["minutes of a spell, median"] == (40 + 14 * 60) / 2
    assert observed["seats refilled"] == 2
    assert (observed["joined"], observed["left the waitlist"]) == (3, 1)
    assert (observed["booked directly"], observed["cancelled"]) == (4, 2)


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        ((5, 0, 2, 5), (4, 1, 2, 5), Change(1, 0, 0, 0, 0, 0)),
        ((4, 1, 2, 5), (5, 0, 1, 5), Change(0, 0, 0, 0, 0, 1)),
        ((4, 1, 2, 5), (7, 0, 1, 5), Change(0, 2, 2, 0, 0, 1)),
        ((4, 1, 3, 5), (5, 0, 0, 5), Change(0, 0, 0, 2, 0, 1)),
        ((4, 0, 3, 0), (3, 0, 4, 0), Change(1, -1, 0, 0, 1, 0)),
        ((0, 9, 3, 9), (0, 0, 2, 0), Change(0, -9, 0, 1, 0, 0)),
    ],
)
def test_a_change_is_told_from_two_samples(
    before: tuple[int, ...], after: tuple[int, ...], change: Change
) -> None:
    at = enrolments.read(path=ENROLMENTS).ends_at
    assert enrolments.change(before=Sample(at, *before), after=Sample(at, *after)) == change


HEAD = "time_local,course,section,enrolled,available,waitlisted,total,marker\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n", "file.csv:1: there is no column time_local"),
        (HEAD, "file.csv:1: there is no section in it"),
        (HEAD + "soon,A,1,0,5,0,5,1\n", "file.csv:2: time_local is 'soon', not a time"),
        (HEAD + "2030-05-06T09:00:00,A,1,0,x,0,5,1\n", "file.csv:2: available is 'x'"),
        (HEAD + "2030-05-06T09:00:00,A,1,-1,5,0,5,1\n", "file.csv:2: enrolled is '-1'"),
        (HEAD + "2030-05-06T09:00:00,A,1\n", "file.csv:2: enrolled is ''"),
        (HEAD + "2030-05-06T09:00:00,A,1,0,5,0,5,7\n", "file.csv:2: marker is 7"),
        (HEAD + "2030-05-06T09:00:00,A,1,0,5,0,5,0\n", "file.csv:2: marker is 0, yet A 1 has 0"),
        (
            HEAD + "2030-05-06T09:00:00,A,1,0,5,0,5,1\n2030-05-06T08:00:00,A,1,0,5,0,5,0\n",
            "file.csv:3: time_local of A 1 goes back",
        ),
    ],
)
def test_a_wrong_line_of_a_section_is_named(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "file.csv"
    file.write_text(text)
    with pytest.raises(BadFile) as caught:
        enrolments.read(path=file)
    assert str(caught.value).startswith(said)


@pytest.mark.django_db
def test_a_freed_seat_goes_to_who_waits_and_at_night_in_the_morning() -> None:
    figures = _play(enrolments.read(path=ENROLMENTS), ALL_ACCEPT).figures
    # 10:00 and 12:20 by day; what is freed at 22:00 is offered at 08:00.
    assert sorted(figures.refill_minutes) == [10, 10, 10 * 60 + 10]
    assert sorted(figures.spell_minutes) == [10, 10, 10 * 60 + 10]
    assert figures.counts["offers"] == figures.counts["refills"] == 3
    assert figures.counts["nobody left"] == 1  # who left at noon had got a seat by then


@pytest.mark.django_db
def test_an_offer_that_is_declined_goes_to_the_next_and_to_nobody_twice(tmp_path: Path) -> None:
    script = _section(tmp_path, "06T09:00 2 0 3", "06T10:00 1 1 3", "07T10:00 1 1 3")
    figures = _play(script, ALL_DECLINE).figures
    assert figures.counts["declined"] == figures.counts["offers"] == 3
    assert figures.as_rows()["seats offered and not refilled"] == 1
    assert figures.as_rows()["offers per refill"] is None


@pytest.mark.django_db
def test_an_offer_that_nobody_answers_lapses_and_does_what_the_policy_says(tmp_path: Path) -> None:
    script = _section(tmp_path, "06T09:00 2 0 3", "06T10:00 1 1 3", "06T11:00 1 1 3")
    window = {"hold_window": timedelta(minutes=15), "reminder_lead": None}
    player = _play(script, NOBODY, on_hold_expiry="expire", **window)
    assert (player.figures.counts["lapsed"], player.figures.counts["expired"]) == (3, 3)
    assert player.figures.counts["waiting at the end"] == 0


@pytest.mark.django_db
def test_seats_that_go_take_their_offers_with_them(tmp_path: Path) -> None:
    script = _section(
        tmp_path, "06T09:00 2 0 2", "06T10:00 1 1 2", "06T11:00 1 0 2", "06T12:00 3 0 1",
        "06T13:00 3 0 1",
    )  # fmt: skip
    player = _play(script, Answers(seed=1, accept=1, decline=0, median=timedelta(days=1), spread=0))
    # One comes back for the direct enrolment, one for the match: the next in the queue is offered.
    assert player.figures.counts["withdrawn"] == 1
    assert player.figures.counts["booked"] == 3
    [place] = player.places.values()
    assert len(place.held) == 1


@pytest.mark.django_db
def test_a_direct_enrolment_finds_no_seat_that_is_kept_for_somebody(tmp_path: Path) -> None:
    script = _section(
        tmp_path, "06T09:00 2 0 1", "06T10:00 1 1 1", "06T11:00 2 0 1", "06T12:00 2 0 1"
    )
    figures = _play(script, ALL_ACCEPT).figures
    assert (figures.counts["refills"], figures.counts["turned away"]) == (1, 1)


@pytest.mark.django_db
def test_who_leaves_takes_no_offer_along(tmp_path: Path) -> None:
    script = _section(
        tmp_path, "06T09:00 1 0 1", "06T10:00 0 1 1", "06T10:05 0 1 0", "06T11:00 0 1 0"
    )
    figures = _play(script, ALL_ACCEPT).figures
    assert (figures.counts["withdrawn"], figures.counts["left"], figures.counts["refills"]) == (
        1, 1, 0,
    )  # fmt: skip
    assert figures.spell_minutes == [5]


@pytest.mark.django_db
def test_one_seed_has_one_outcome_and_another_seed_another() -> None:
    def played(seed: int) -> Figures:
        with transaction.atomic():
            script = enrolments.read(path=ENROLMENTS)
            figures = _play(script, Answers(seed=seed)).figures
            transaction.set_rollback(True)
        return figures

    assert played(1) == played(1)
    assert len({tuple(played(seed).refill_minutes) for seed in range(1, 5)}) > 1


def test_a_person_answers_the_same_whatever_the_policy() -> None:
    answers = Answers(seed=3)
    drawn = [answers.draw(person=n, number=1) for n in range(2000)]
    assert drawn == [answers.draw(person=n, number=1) for n in range(2000)]
    shares = [sum(one.accepts is said for one in drawn) / 2000 for said in (True, False, None)]
    assert shares == pytest.approx([0.6, 0.2, 0.2], abs=0.03)
    times = sorted(one.after for one in drawn)
    assert times[1000] / timedelta(minutes=1) == pytest.approx(30, rel=0.1)


# Bookings


def test_bookings_are_read_and_what_is_odd_is_counted() -> None:
    script = bookings.read(path=BOOKINGS, seed=1)
    assert script.facilities == ["Sea Hotel"]
    assert script.remarks[0] == "7 rows: 6 played, 1 stays of no nights left out."
    for odd in (
        "1 adr below 0",
        "1 children NA",
        "1 country NULL",
        "2 agent NULL",
        "7 company NULL",
    ):
        assert odd in script.remarks[1]
    assert "Sea Hotel 3," in script.assumptions[0]
    assert script.observed["joined"] == 3
    assert script.observed["seats refilled"] == 2  # the other was matched as it was cancelled


def test_bookings_may_be_packed(tmp_path: Path) -> None:
    packed = tmp_path / "bookings.csv.gz"
    packed.write_bytes(gzip.compress(BOOKINGS.read_bytes()))
    assert bookings.read(path=packed, seed=1).people == 6


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("lead_time", "lead", "b.csv:1: there is no column lead_time"),
        (",June,23,11,0,4", ",Juno,23,11,0,4", "b.csv:6: arrival_date_month is 'Juno'"),
        (",June,23,11,0,4", ",June,23,31,0,4", "b.csv:6: arrival_date_day_of_month: no 31 June"),
        (",June,23,11,0,4", ",June,23,11,0,-4", "b.csv:6: stays_in_week_nights is '-4'"),
        ("-6.38", "cheap", "b.csv:6: adr is 'cheap'"),
        ("Canceled,2030-05-20", "Gone,2030-05-20", "b.csv:2: reservation_status is 'Gone'"),
        ("Canceled,2030-05-20", "Canceled,soon", "b.csv:2: reservation_status_date is 'soon'"),
        ("Canceled,2030-05-20", "Canceled,2030-06-20", "b.csv:2: reservation_status_date 2030"),
    ],
)
def test_a_wrong_line_of_bookings_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    file = tmp_path / "b.csv"
    file.write_text(BOOKINGS.read_text().replace(old, new, 1))
    with pytest.raises(BadFile) as caught:
        bookings.read(path=file, seed=1)
    assert str(caught.value).startswith(said)


@pytest.mark.django_db
def test_a_cancelled_stay_goes_to_who_waits_for_its_nights() -> None:
    figures = _play(bookings.read(path=BOOKINGS, seed=1), ALL_ACCEPT).figures
    counts = figures.counts
    # Two wait for these nights, of whom one gets them; the third wants another night besides.
    assert (counts["joined"], counts["refills"], counts["offers"]) == (3, 1, 1)
    assert figures.refill_minutes == [10]
    assert counts["booked"] == 3
    assert counts["expired"] + counts["left"] == 2


@pytest.mark.django_db
def test_what_a_waiter_gives_back_goes_to_the_next(tmp_path: Path) -> None:
    """The first who waits is the one who cancels later."""
    lines = BOOKINGS.read_text().splitlines()
    lines[2] = lines[2].replace("Hotel,0,25", "Hotel,0,23")
    file = tmp_path / "bookings.csv"
    file.write_text("\n".join(lines) + "\n")
    counts = _play(bookings.read(path=file, seed=1), ALL_ACCEPT).figures.counts
    assert (counts["refills"], counts["cancelled"], counts["left"]) == (2, 2, 0)


# The command


@contextmanager
def _world() -> Iterator[None]:
    yield


@contextmanager
def _copy() -> Iterator[None]:
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


@pytest.fixture
def here(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Play in the test's own database."""
    monkeypatch.setattr(databases, "world", _world)
    monkeypatch.setattr(databases, "copy", _copy)
    monkeypatch.setattr(databases, "settle", lambda: None)


def _replay(*arguments: object) -> str:
    out = StringIO()
    call_command("replay", *map(str, arguments), stdout=out)
    return out.getvalue()


@pytest.mark.usefixtures("here")
def test_policies_are_told_side_by_side(tmp_path: Path) -> None:
    file = tmp_path / "fast.json"
    file.write_text('[{"hold_window": "PT15M", "reminder_lead": null}, {"ordering": "fifo"}]')
    said = _replay(ENROLMENTS, "--policy", file)
    [head] = [line for line in said.splitlines() if line.split()[:1] == ["observed"]]
    assert head.split() == ["observed", "clinic", "fast", "1", "fast", "2"]
    assert "1 without a limit (total 9999) left out" in said
    assert "accepted by 60%, declined by 20%" in said
    assert "seed 1" in said
    [bars] = [line for line in said.splitlines() if line.startswith("30 minutes")]
    assert bars.count("#") == 2 * 24
    assert said.endswith("Every invariant holds.\n")
    assert settings.EVENT_TASKS


@pytest.mark.usefixtures("here")
def test_a_broken_invariant_ends_with_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = invariants.Breach(3, "slot held without a live hold", UUID(int=7))
    monkeypatch.setattr(invariants, "breaches", lambda: [broken])
    with pytest.raises(CommandError, match="clinic: invariant 3: slot held") as caught:
        _replay(ENROLMENTS, "--json")
    assert caught.value.returncode == 1


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"hold_window": "soon"}', "--policy fast: hold_window: "),
        ('{"hold_widow": "PT15M"}', "fast: hold_widow: A policy has no such field"),
        ('{"hold_window": "PT5M"}', "fast: reminder_lead: A reminder comes"),
        ('{\n"hold_window": PT5M}', "fast.json: .* line 2"),
        ("7", "fast.json: a policy is an object"),
    ],
)
def test_a_wrong_policy_is_named(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "fast.json"
    file.write_text(text)
    with pytest.raises(CommandError, match=said):
        _replay(ENROLMENTS, "--policy", file)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.csv"], "nowhere.csv"),
        ([ENROLMENTS, "--format", "hotel"], "enrolments.csv:1: there is no column hotel"),
        ([ENROLMENTS, "--policy", "nowhere.json"], "nowhere.json"),
        (
            [ENROLMENTS, "--policy", DATA / "fifo.json", "--policy", DATA / "fifo.json"],
            "--policy: two are called fifo",
        ),
        ([ENROLMENTS, "--accept", "0.7", "--decline", "0.4"], "--accept and --decline"),
        ([ENROLMENTS, "--accept", "60"], "'60' is not a share"),
        ([ENROLMENTS, "--answer-minutes", "0"], "'0' is not a number of minutes"),
    ],
)
def test_what_is_wrong_is_said(arguments: list[object], said: str) -> None:
    with pytest.raises(CommandError, match=said):
        _replay(*arguments)
