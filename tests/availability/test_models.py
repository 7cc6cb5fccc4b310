"""What the database itself promises about RFPs, venues and signals."""

from datetime import date
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.utils import ProgrammingError

from availability.models import Rfp, RfpVenue, Signal, VenueAvailability
from scheduling.models import Facility
from tests import factories
from tests.audit.refusals import refusal, unguarded
from tests.venues import Scene, contents, open_venue, set_scene
from tests.waitlist.worlds import NOW

pytestmark = pytest.mark.django_db


@pytest.fixture
def scene() -> Scene:
    return set_scene()


def test_a_venue_is_made_with_its_availability_and_no_other_facility_is() -> None:
    venue = open_venue()
    factories.FacilityFactory.create(kind="clinic", tenant=venue.tenant)
    row = VenueAvailability.objects.get()
    assert (row.facility, row.tenant) == (venue, venue.tenant)
    assert (row.status, row.inferred_status, row.vacant_since) == ("not_set", None, None)
    assert row.version == 1


def test_venues_made_at_once_are_rated_at_once() -> None:
    tenant = factories.TenantFactory.create()
    Facility.objects.bulk_create(
        Facility(tenant=tenant, name=f"V{n}", slug=f"v{n}", kind="venue", timezone="UTC")
        for n in range(3)
    )
    assert VenueAvailability.objects.count() == 3


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({"attendance_min": 0}, "rfp_attendance"),
        ({"attendance_min": 200}, "rfp_attendance"),
        ({"preferred_dates_end": date(2030, 4, 30)}, "rfp_dates"),
        ({"preferred_dates_start": None}, "rfp_dates"),
        (
            {"preferred_dates_start": None, "preferred_dates_end": None},
            "rfp_dates_or_flexible",
        ),
        ({"space_requirements": {"a": 1}}, "rfp_space_requirements"),
    ],
)
def test_an_rfp_makes_sense(scene: Scene, changes: dict[str, Any], constraint: str) -> None:
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        Rfp.objects.create(tenant=scene.organizer, **contents(**changes))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("title", "Other"), ("event_type", "fair"), ("attendance_max", 500),
        ("preferred_dates_start", date(2030, 4, 1)), ("dates_flexible", True),
        ("space_requirements", []), ("response_deadline", NOW),
    ],
)  # fmt: skip
def test_a_sent_rfp_cannot_change(scene: Scene, column: str, value: Any) -> None:
    rfp = scene.draft()
    mine = Rfp.objects.filter(pk=rfp.pk)
    assert mine.update(**{column: value}) == 1
    mine.update(status="sent", sent_at=NOW)
    mine.update(**{column: value})  # as it is
    other = contents(dates_flexible=False)[column]
    with pytest.raises(ProgrammingError, match="Cannot update"), transaction.atomic():
        mine.update(**{column: other})


def test_the_venues_of_a_sent_rfp_stay(scene: Scene) -> None:
    rfp = scene.draft()
    other = open_venue()
    added = RfpVenue.objects.create(tenant=scene.organizer, rfp=rfp, facility=other)
    added.delete()
    Rfp.objects.filter(pk=rfp.pk).update(status="sent", sent_at=NOW)
    for change in (
        lambda: RfpVenue.objects.create(tenant=scene.organizer, rfp=rfp, facility=other),
        lambda: RfpVenue.objects.filter(rfp=rfp).delete(),
    ):
        with pytest.raises(IntegrityError, match="its venues stay"), transaction.atomic():
            change()
    with pytest.raises(ProgrammingError, match="Cannot update"), transaction.atomic():
        RfpVenue.objects.filter(rfp=rfp).update(facility=other)


def test_a_venue_is_asked_once_and_one_wins(scene: Scene) -> None:
    other = open_venue()
    rfp = scene.draft(to=[scene.venue, other])
    with pytest.raises(IntegrityError, match="rfpvenue_once"), transaction.atomic():
        RfpVenue.objects.create(tenant=scene.organizer, rfp=rfp, facility=other)
    answer = {"status": "responded", "response": "confirmed", "responded_at": NOW}
    RfpVenue.objects.filter(rfp=rfp).update(**answer)
    with pytest.raises(IntegrityError, match="rfpvenue_one_winner"), transaction.atomic():
        RfpVenue.objects.filter(rfp=rfp).update(status="awarded")


@pytest.mark.parametrize(
    ("was", "columns", "constraint"),
    [
        ("pending", {"status": "responded"}, "rfpvenue_response"),
        ("pending", {"response": "confirmed"}, "rfpvenue_response"),
        ("pending", {"response_notes": "soon"}, "rfpvenue_response"),
        ("pending", {"status": "no_response", "responded_at": NOW}, "rfpvenue_response"),
        ("pending", {"status": "responded", "response": "maybe", "responded_at": NOW},
         "rfpvenue_response"),
        ("responded", {"status": "shortlisted", "response": "unavailable"}, "rfpvenue_chosen"),
        ("responded", {"status": "awarded", "response": "unavailable"}, "rfpvenue_chosen"),
    ],
)  # fmt: skip
def test_an_answer_goes_with_its_status(
    scene: Scene, was: str, columns: dict[str, Any], constraint: str
) -> None:
    mine = RfpVenue.objects.filter(rfp=scene.draft())
    if was == "responded":
        mine.update(status="responded", response="confirmed", responded_at=NOW)
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        mine.update(**columns)


@pytest.mark.parametrize(
    ("columns", "constraint"),
    [
        ({"inferred_status": "seasonal", "last_inferred_at": NOW}, "availability_inferred"),
        ({"inferred_status": "fully_booked"}, "availability_inferred"),
        ({"status": "fully_booked"}, "availability_shown"),
        ({"manual_override_at": NOW}, "availability_shown"),
        ({"inferred_status": "fully_booked", "last_inferred_at": NOW}, "availability_shown"),
        ({"status": "accepting_events", "inferred_status": "limited_availability",
          "last_inferred_at": NOW}, "availability_shown"),
        ({"status": "sold_out", "manual_override_at": NOW}, "availability_shown"),
        ({"vacant_since": NOW}, "availability_vacant"),
        ({"status": "seasonal", "manual_override_at": NOW, "vacant_since": NOW},
         "availability_vacant"),
    ],
)  # fmt: skip
def test_what_is_shown_goes_with_where_it_comes_from(
    scene: Scene, columns: dict[str, Any], constraint: str
) -> None:
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        VenueAvailability.objects.filter(pk=scene.venue.pk).update(**columns)


def _signal(scene: Scene, **fields: Any) -> Signal:
    return Signal(
        tenant_id=scene.venue.tenant_id, facility_id=scene.venue.pk, recorded_at=NOW, **fields
    )


@pytest.mark.parametrize("type", ["confirmed", "sold", "manual_unavailable"])
def test_signals_are_of_a_known_type_and_say_what_they_come_from(scene: Scene, type: str) -> None:
    ids = {} if type == "confirmed" else {"rfp_id": scene.venue.pk, "rfp_venue_id": scene.venue.pk}
    with pytest.raises(IntegrityError, match="signal_type"), transaction.atomic():
        _signal(scene, type=type, **ids).save()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE availability_signal SET type = 'confirmed'",
        "DELETE FROM availability_signal",
        "TRUNCATE availability_signal",
    ],
)
def test_signals_are_append_only(scene: Scene, statement: str) -> None:
    _signal(scene, type="manual_available").save()
    assert "annot" in (refusal(statement) or "")
    if not statement.startswith("TRUNCATE"):
        unguarded(statement.replace("'confirmed'", "'manual_unavailable'"))


def test_signals_outlive_what_they_come_from() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_constraint WHERE contype = 'f'"
            " AND conrelid = 'availability_signal'::regclass"
        )
        assert cursor.fetchone() == (0,)
