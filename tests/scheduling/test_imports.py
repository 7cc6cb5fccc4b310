"""Imports: what a file becomes, what is said of bad rows, and that it may come twice."""

import csv
import json
import os
from collections.abc import Callable, Sequence
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import pytest
from django.contrib.postgres.aggregates import ArrayAgg
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from accounts.models import Tenant
from scheduling import generation, imports, practices, rules
from scheduling.models import (
    AvailabilityException,
    AvailabilityRule,
    Facility,
    Provider,
    ProviderFacility,
    Slot,
)
from scheduling.practices import BadFile
from tests import factories
from tests.scheduling.opening_hours import slot_starts
from tests.waitlist.worlds import MINUTE, NOW, STAFF
from waitlist.models import Queue, WaitlistPolicy

DATA = Path(__file__).parent.parent / "data"
HOURS, DIRECTORY = DATA / "opening_hours.csv", DATA / "practices.csv"
REAL = Path(os.environ.get("BACKFILL_NHS_DENTISTS", "../shared/data/nhs_dentists")).resolve()
FIRST, LAST = date(2014, 3, 24), date(2014, 4, 20)  # clocks change on 30 March

pytestmark = pytest.mark.django_db


def load(hours: Path = HOURS, directory: Path = DIRECTORY, **fields: Any) -> imports.Report:
    """Load a file, the made-up one unless another is given."""
    given: dict[str, Any] = {
        "tenant": "nhs", "timezone": "Europe/London", "slot_minutes": 30, "strict": False,
    }  # fmt: skip
    return imports.load(hours=hours, directory=directory, **{**given, **fields})


def counts() -> list[int]:
    """Count the rows of every table that an import writes."""
    tables = (
        Tenant.objects, Facility.objects, Provider.objects, ProviderFacility.objects,
        AvailabilityRule.objects, AvailabilityException.objects,
    )  # fmt: skip
    return [rows.count() for rows in tables]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write(*rows: str | bytes, header: str = ",".join(practices.HOURS)) -> Path:
        path = tmp_path / "hours.csv"
        lines = [row if isinstance(row, bytes) else row.encode() for row in (header, *rows)]
        path.write_bytes(b"\r\n".join(lines))
        return path

    return write


Write = Callable[..., Path]


# What a file becomes


def test_each_practice_is_a_facility_with_a_provider() -> None:
    report = load()
    assert (report.facilities, report.rules, report.exceptions) == (3, 9, 5)
    tenant = Tenant.objects.get()
    assert (tenant.slug, tenant.kind) == ("nhs", "clinic")
    rows = Facility.objects.order_by("slug").values_list("slug", "name", "city", "timezone", "kind")
    assert list(rows) == [
        ("101", "Ångström Dental", "Northtown", "Europe/London", "clinic"),
        ("102", "Low Road Practice", "Southtown", "Europe/London", "clinic"),
        ("103", "103", "", "Europe/London", "clinic"),
    ]
    for facility in Facility.objects.all():
        assert [provider.name for provider in facility.providers.all()] == [facility.name]
    assert Queue.objects.count() == WaitlistPolicy.objects.count() == 3


def test_rows_become_rules_and_exceptions() -> None:
    load()
    first = AvailabilityRule.objects.filter(facility__slug="101").order_by("weekday", "start_time")
    assert list(first.values_list("weekday", "start_time", "end_time", "slot_minutes")) == [
        (1, time(9), time(12, 30), 30),
        (1, time(13, 30), time(17, 15), 30),
        (3, time(9), time(13), 30),
        (7, time(0), time(3), 30),
    ]
    found = AvailabilityException.objects.filter(provider=None).order_by(
        "facility__slug", "date", "start_time"
    )
    assert list(found.values_list("facility__slug", "date", "kind", "start_time", "end_time")) == [
        ("101", date(2014, 3, 26), "special_hours", time(10), time(12)),
        ("101", date(2014, 3, 26), "special_hours", time(14), time(15)),
        ("101", date(2014, 4, 18), "closed", None, None),
        ("101", date(2014, 4, 21), "closed", None, None),
        ("102", date(2014, 4, 5), "special_hours", time(8), time(20)),
    ]


def test_overlaps_are_merged_and_what_touches_is_not() -> None:
    report = load()
    times = AvailabilityRule.objects.filter(facility__slug="102").order_by("weekday", "start_time")
    assert [(rule.start_time.hour, rule.end_time.hour) for rule in times] == [
        (9, 13), (14, 20), (9, 13), (13, 17),
    ]  # fmt: skip
    assert [str(remark) for remark in report.warnings] == [
        "opening_hours.csv:12: overlaps line 11: made one of the two",
        "opening_hours.csv:16: practice 103 is not in practices.csv: named by its id",
    ]
    assert report.bad_rows == []


def test_a_second_time_changes_nothing() -> None:
    load()
    before = counts()
    report = load()
    assert (report.facilities, report.rules, report.exceptions) == (0, 0, 0)
    assert report.bad_rows == []
    assert counts() == before


def test_what_staff_changed_meanwhile_stays() -> None:
    load()
    ended, moved = AvailabilityRule.objects.filter(facility__slug="101", weekday=1)
    rules.deactivate(rule_id=ended.pk, actor=STAFF, now=NOW)
    hours = {"start_time": time(14), "end_time": time(17, 15)}
    rules.change(rule_id=moved.pk, changes=hours, actor=STAFF, now=NOW)
    before = counts()
    report = load()
    assert counts() == before
    assert [str(remark) for remark in report.bad_rows] == [
        f"opening_hours.csv:3: overlaps rule {moved.pk}"
    ]


def test_slots_of_another_length_are_not_laid_over_those_there() -> None:
    load()
    before = counts()
    report = load(slot_minutes=20)
    assert len(report.bad_rows) == 9
    assert counts() == before


def test_special_hours_that_overlap_others_are_left_out(write: Write) -> None:
    load()
    report = load(write("101,,11:00-13:00,True,Additional,Mar 26 2014"))
    there = AvailabilityException.objects.get(start_time=time(10))
    assert [str(remark) for remark in report.bad_rows] == [
        f"hours.csv:2: overlaps exception {there.pk}"
    ]


def test_an_import_grows_by_what_is_new(write: Write) -> None:
    load()
    report = load(
        write("101,Friday,09:00-12:00,True,General,", "7,Friday,09:00-12:00,True,General,")
    )
    assert (report.facilities, report.rules) == (1, 2)


def test_the_time_it_takes_is_not_one_query_per_row(write: Write) -> None:
    def queries(number: int) -> int:
        rows = [f"{n},Friday,09:00-12:00,True,General," for n in range(number, 2 * number)]
        with CaptureQueriesContext(connection) as found:
            load(write(*rows))
        return len(found)

    load()
    assert queries(1) == queries(100)


# Bad rows


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("1,Moonday,09:00-12:00,True,General,", "there is no weekday 'Moonday'"),
        ("1,,09:00-12:00,True,General,", "there is no weekday ''"),
        ("1,Monday,9-12,True,General,", "'9-12' is not HH:MM-HH:MM"),
        ("1,Monday,09:00-24:30,True,General,", "'09:00-24:30' is not HH:MM-HH:MM"),
        ("1,Monday,09:00-09:29,True,General,", "09:00-09:29 is shorter than a slot of 30 minutes"),
        ("1,Monday,,True,General,", "open without times"),
        ("1,Monday,09:00-12:00,False,General,", "closed with times"),
        ("1,Monday,09:00-12:00,Yes,General,", "IsOpen is 'Yes', not True or False"),
        ("1,Monday,09:00-12:00,True,Special,", "OpeningTimeType is 'Special'"),
        ("1,,,False,Additional,", "'' is not a date like Apr 18 2014"),
        (
            "1,,,False,Additional,Apr 18 20144444444444",
            "'Apr 18 20144444444444' is not a date like Apr 18 2014",
        ),
        ("1,,,False,Additional,18 Apr 2014", "'18 Apr 2014' is not a date like Apr 18 2014"),
        ("1,,,False,Additional,Feb 30 2014", "'Feb 30 2014' is not a date: day"),
        (",Monday,09:00-12:00,True,General,", "there can be no practice ''"),
        ("a b,Monday,09:00-12:00,True,General,", "there can be no practice 'a b'"),
        ("1,Monday,09:00-12:00,True,General", "5 columns instead of 6"),
        (b"1,Monday,09:00-12:00,True,G\xe9n\xe9ral,", "not UTF-8 text"),
        ("1,Monday,09:00-12:00,True,Gen\0eral,", "not UTF-8 text"),
    ],
)
def test_a_bad_row_is_told_and_the_others_are_loaded(
    write: Write, row: str | bytes, reason: str
) -> None:
    good = "2,Monday,09:00-12:00,True,General,"
    report = load(write(good, row, "3,Tuesday,22:00-24:00,True,General,"))
    [remark] = report.bad_rows
    assert str(remark).startswith(f"hours.csv:3: {reason}")
    assert (report.facilities, report.rules) == (2, 2)


def test_hours_across_midnight(write: Write) -> None:
    report = load(
        write(
            "1,Sunday,20:00-02:00,True,General,",
            "1,Monday,01:30-03:00,True,General,",
            "1,Monday,02:00-03:00,True,General,",
            "1,Tuesday,00:00-00:00,True,General,",
            "1,Tuesday,20:00-08:00,True,General,",
        )
    )
    assert [(remark.line, remark.reason) for remark in report.bad_rows] == [
        (3, "begins before the hours of the evening before end"),
        (6, "with line 5, which it overlaps, over a day"),
    ]
    assert AvailabilityRule.objects.count() == 3


def test_bad_rows_of_the_directory_are_told(tmp_path: Path) -> None:
    directory = tmp_path / "names.csv"
    directory.write_text(
        ",".join(practices.DIRECTORY)
        + f"\n101,,Town\n102,Low Road,{'x' * 101}\n103,Good,Town\n103,Twice,Town\n"
    )
    report = load(directory=directory)
    assert [remark.line for remark in report.bad_rows] == [2, 3, 5]
    assert set(Facility.objects.values_list("name", flat=True)) == {"101", "102", "Good"}


def test_a_file_without_the_columns_is_refused(write: Write, tmp_path: Path) -> None:
    for header in ("", "a,b", "OrganisationId,WeekDay,Times,IsOpen,OpeningTimeType"):
        with pytest.raises(BadFile, match=r"hours\.csv has no column .*AdditonalOpeningDate"):
            load(write(header=header))
    with pytest.raises(BadFile, match="has no column OrganisationID"):
        load(directory=HOURS)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none.csv")
    assert counts() == [0] * 6


def test_what_is_given_is_checked_and_named() -> None:
    wrong: list[dict[str, Any]] = [
        {"timezone": "Europe/Atlantis"}, {"slot_minutes": 0}, {"tenant": "n h s"},
    ]  # fmt: skip
    for given in wrong:
        with pytest.raises(ValidationError) as refused:
            load(**given)
        assert list(refused.value.message_dict) == list(given)
    assert counts() == [0] * 6
    load()
    with pytest.raises(ValidationError) as refused:
        load(timezone="Europe/Paris")
    assert refused.value.message_dict == {"timezone": ["Practice 101 is in Europe/London already."]}


def test_a_facility_where_nobody_works_is_told() -> None:
    tenant = factories.TenantFactory.create(slug="nhs")
    place = factories.FacilityFactory.create(tenant=tenant, slug="103")
    report = load()
    assert [str(remark) for remark in report.bad_rows] == [
        f"opening_hours.csv:16: nobody works at facility {place.pk}"
    ]


# The command


ARGUMENTS = [str(HOURS), "--practices", str(DIRECTORY), "--tenant", "nhs",
             "--timezone", "Europe/London", "--slot-minutes", "30"]  # fmt: skip


def test_the_command_tells_what_came_of_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    call_command("import_availability", *ARGUMENTS)
    out, err = capsys.readouterr()
    assert out == "Loaded 3 facilities, 9 rules and 5 exceptions; 0 bad rows, 2 warnings.\n"
    assert "opening_hours.csv:12: overlaps line 11: made one of the two (warning)\n" in err
    assert "importing" not in err
    monkeypatch.setenv("FORCE_COLOR", "1")  # what rich takes for a terminal
    call_command("import_availability", *ARGUMENTS, "--json", "--strict")
    out, err = capsys.readouterr()
    assert "importing" in err
    told = json.loads(out)
    assert told["rules"] == 0
    assert told["warnings"][0] == {
        "file": "opening_hours.csv", "line": 12, "reason": "overlaps line 11: made one of the two",
    }  # fmt: skip


def test_strict_leaves_nothing_behind(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(write("1,Monday,09:00-12:00,True,General,", "1,Monday,x,True,General,"))
    with pytest.raises(CommandError, match="1 bad rows: nothing was loaded"):
        call_command("import_availability", path, *ARGUMENTS[1:], "--strict")
    out, err = capsys.readouterr()
    assert "hours.csv:3: 'x' is not HH:MM-HH:MM" in err
    assert out.startswith("Loaded 0 facilities, 0 rules")
    assert counts() == [0] * 6
    call_command("import_availability", path, *ARGUMENTS[1:])
    assert AvailabilityRule.objects.count() == 1


@pytest.mark.parametrize(
    ("place", "value", "named"),
    [(0, "nowhere.csv", r"^There is no file nowhere\.csv\.$"), (2, "/", "^/ cannot be read: "),
     (2, str(HOURS), "OrganisationName"),
     (6, "Europe/Atlantis", "timezone"), (8, "0", "slot_minutes")],
)  # fmt: skip
def test_the_command_names_what_is_wrong(place: int, value: str, named: str) -> None:
    arguments = [*ARGUMENTS]
    arguments[place] = value
    with pytest.raises(CommandError, match=named):
        call_command("import_availability", *arguments)


# What is then made


def made() -> dict[str, list[datetime]]:
    """Return the starts of the slots of each facility; each lasts half an hour."""
    half_hours = Slot.objects.filter(period__endswith=F("period__startswith") + 30 * MINUTE)
    assert half_hours.count() == Slot.objects.count()
    none: dict[str, list[datetime]] = {
        slug: [] for slug in Facility.objects.values_list("slug", flat=True)
    }
    starts = ArrayAgg("period__startswith", order_by="period")
    return none | dict(Slot.objects.values_list("facility__slug").annotate(starts=starts))


def check_slots(hours: Path, directory: Path) -> int:
    """Import and generate a file; compare with what it calls for and return how many slots."""
    load(hours, directory)
    outcome = generation.generate(now=NOW, first=FIRST, last=LAST)
    wanted = slot_starts(hours=hours, zone="Europe/London", slot_minutes=30, first=FIRST, last=LAST)
    assert made() == wanted
    assert outcome.created == sum(map(len, wanted.values()))
    assert generation.generate(now=NOW, first=FIRST, last=LAST) == generation.Outcome()
    return outcome.created


def test_the_slots_are_those_the_file_calls_for() -> None:
    assert check_slots(HOURS, DIRECTORY) == 336
    night = Slot.objects.filter(facility__slug="101", period__startswith__date=date(2014, 3, 30))
    assert night.count() == 4  # from one to two o'clock there was no time


def test_the_slots_of_real_practices_are_those_the_file_calls_for(tmp_path: Path) -> None:
    """Take those with exceptions, Sundays or an overlap, and each hundredth of the others."""
    hours, directory = REAL / "dentist_opening_times.csv", REAL / "dentists.csv"
    if not hours.exists():
        pytest.skip(f"the opening times of NHS Choices are not in {REAL}")
    with hours.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    chosen = choose(rows)
    part = tmp_path / "part.csv"
    with part.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *(row for row in rows if row[0] in chosen)])
    assert len(chosen) > 150
    assert check_slots(part, directory) > 40_000


def choose(rows: Sequence[Sequence[str]]) -> set[str]:
    """Choose practices by the rows of their hours."""
    ids = sorted({row[0] for row in rows})
    odd = {row[0] for row in rows if row[1] in ("Sunday", "")}
    return {*odd, "37727", *ids[::100]}
