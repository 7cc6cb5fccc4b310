"""What operators run by hand: fill, expire_holds, release_reservations."""

import json
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from audit import clock
from scheduling.models import Slot
from tests.audit import elsewhere
from tests.waitlist import worlds
from tests.waitlist.worlds import DAY, HOUR, MINUTE, NOW, World
from waitlist.models import Hold


@pytest.fixture(autouse=True)
def _it_is_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)


def _call(name: str, *arguments: str) -> str:
    out = StringIO()
    call_command(name, *arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def two(clinic: World) -> tuple[World, World]:
    """Two facilities, each with a slot and somebody who fits; and a slot that nobody fits."""
    other = worlds.build()
    for world in (clinic, other):
        world.slot()
        world.join()
    clinic.slot(at=NOW + 2 * DAY, minutes=10)
    return clinic, other


def test_fill_offers_everywhere(two: tuple[World, World]) -> None:
    assert _call("fill") == "2 offers at 2 facilities; nobody fits 1 slot.\n"
    assert Hold.objects.count() == 2
    assert json.loads(_call("fill", "--json")) == {
        "facilities": 0, "offers": 0, "fruitless": 0, "busy": []
    }  # fmt: skip


def test_fill_offers_at_one_facility(two: tuple[World, World]) -> None:
    _, other = two
    counts = json.loads(_call("fill", "--facility", str(other.facility.pk), "--json"))
    assert counts == {"facilities": 1, "offers": 1, "fruitless": 0, "busy": []}
    assert Hold.objects.get().facility_id == other.facility.pk


def test_fill_names_a_facility_that_is_not_there(db: None) -> None:
    wrong = uuid4()
    with pytest.raises(CommandError, match=str(wrong)):
        _call("fill", "--facility", str(wrong))
    with pytest.raises(CommandError, match="no-id"):
        _call("fill", "--facility", "no-id")


def test_fill_names_a_facility_that_another_pass_is_filling(two: tuple[World, World]) -> None:
    busy, free = (str(world.facility.pk) for world in two)
    out = StringIO()
    with (
        elsewhere.locked(f"waitlist.fill:{busy}"),
        pytest.raises(CommandError, match=busy) as caught,
    ):
        call_command("fill", "--json", stdout=out)
    assert caught.value.returncode == 1
    assert free not in str(caught.value)
    assert json.loads(out.getvalue()) == {
        "facilities": 2, "offers": 1, "fruitless": 0, "busy": [busy]
    }  # fmt: skip


def test_expire_holds_ends_what_is_over(clinic: World) -> None:
    clinic.offer(slot=clinic.slot(at=NOW + HOUR), now=NOW - HOUR)
    clinic.offer(slot=clinic.slot(at=NOW + HOUR - 30 * MINUTE), now=NOW - HOUR)
    assert _call("expire_holds") == "Ended 1 holds.\n"
    assert json.loads(_call("expire_holds", "--json")) == {"holds": 0}


def test_release_reservations_frees_what_ran_out(clinic: World) -> None:
    for number in range(2):
        clinic.reserve(slot=clinic.slot(at=NOW + DAY + number * HOUR), now=NOW - 10 * MINUTE)
    assert _call("release_reservations") == "Released 2 expired reservations.\n"
    assert json.loads(_call("release_reservations", "--json")) == {"slots": 0}
    assert set(Slot.objects.values_list("status", flat=True)) == {"open"}


@pytest.mark.parametrize(
    "name", ["fill", "expire_holds", "release_reservations", "check_invariants", "failed_jobs"]
)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        call_command(name, "--help")
    assert caught.value.code == 0
    said = capsys.readouterr().out
    assert "--json" in said
    assert len(said.split("\n\n")[1].strip()) > 20


def test_the_tasks_clock_is_the_databases(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        [(at,)] = cursor.fetchall()
    difference: Any = abs(clock.now() - at)
    assert difference < 10 * MINUTE


@pytest.mark.parametrize(
    ("name", "shown"),
    [("expire_holds", "ended 2 holds"), ("release_reservations", "released 2")],
)
def test_a_terminal_sees_how_far_it_is(
    clinic: World,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    shown: str,
) -> None:
    for number in range(2):
        clinic.offer(slot=clinic.slot(at=NOW + number * HOUR), now=NOW - 3 * DAY)
        clinic.reserve(slot=clinic.slot(at=NOW + DAY + number * HOUR), now=NOW - DAY)
    monkeypatch.setenv("FORCE_COLOR", "1")  # what rich takes for a terminal
    _call(name)
    assert shown in capsys.readouterr().err
    monkeypatch.delenv("FORCE_COLOR")
    _call(name)
    assert capsys.readouterr().err == ""
