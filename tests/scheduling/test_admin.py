"""The pages of the supply: what they call, and what is refused."""

from datetime import date, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.test import Client

from accounts.models import User
from audit import clock
from audit.events import SYSTEM
from audit.models import Event
from scheduling import appointments, generation
from scheduling.models import (
    Appointment,
    AvailabilityException,
    AvailabilityRule,
    Facility,
    Patient,
    Provider,
    Service,
    Slot,
    TimeBlock,
)
from tests import factories
from tests.accounts.pages import act, send, url
from tests.accounts.seeds import Seed, plant
from waitlist.models import Queue, WaitlistPolicy

pytestmark = pytest.mark.django_db


@pytest.fixture
def seed(client: Client) -> Seed:
    seed = plant(name="Apple")
    client.force_login(seed.staff)
    return seed


def status(row: Slot | Appointment) -> str:
    row.refresh_from_db()
    return row.status


def begun(*, seed: Seed) -> Appointment:
    """An appointment that has begun: booked in time, and looked at later."""
    soon = clock.now() + timedelta(milliseconds=1)
    slot = factories.SlotFactory.create(facility=seed.facility, starts_at=soon)
    patient = factories.PatientFactory.create(tenant=seed.tenant)
    then = soon - timedelta(hours=1)
    return appointments.book(
        slot_id=slot.pk, patient_id=patient.pk, source="staff", actor=SYSTEM, now=then
    )


# Places and people


def test_facilities_come_with_queue_and_policy(client: Client, seed: Seed) -> None:
    new = {"tenant": seed.tenant.pk, "name": "New", "slug": "new", "kind": "salon",
           "timezone": "Europe/Paris", "is_active": "on"}  # fmt: skip
    assert send(client, url(Facility, "add"), **new)[0] == {}
    made = Facility.objects.get(slug="new")
    assert Queue.objects.filter(facility=made).exists()
    assert WaitlistPolicy.objects.get(facility=made).hold_window == timedelta(minutes=15)


def test_a_facility_needs_a_zone_and_a_slug_of_its_own(client: Client, seed: Seed) -> None:
    new = {"tenant": seed.tenant.pk, "name": "New", "slug": seed.facility.slug, "kind": "salon"}
    errors, _ = send(client, url(Facility, "add"), **new, timezone="Mars/Olympus")
    assert "Mars/Olympus" in errors["timezone"][0]
    errors, _ = send(client, url(Facility, "add"), **new, timezone="Europe/Paris")
    assert errors["slug"] == ["Another facility has this."]
    other = factories.FacilityFactory.create(tenant=seed.tenant)
    errors, _ = send(client, url(Facility, "change", other.pk), name="X", slug=seed.facility.slug)
    assert errors["slug"] == ["Another facility has this."]


def test_a_facility_keeps_its_kind_and_zone(client: Client, seed: Seed) -> None:
    """What follows from them was made already."""
    data = {"name": "Renamed", "slug": "renamed", "kind": "venue", "timezone": "Asia/Tokyo"}
    assert send(client, url(Facility, "change", seed.facility.pk), **data)[0] == {}
    seed.facility.refresh_from_db()
    assert (seed.facility.name, seed.facility.is_active) == ("Renamed", False)
    assert (seed.facility.kind, seed.facility.timezone) == ("clinic", "Europe/London")


def test_providers_are_posted(client: Client, seed: Seed) -> None:
    other = factories.FacilityFactory.create(tenant=seed.tenant)
    data = {
        "name": "Renamed", "user": seed.provider_user.pk,
        "providerfacility_set-TOTAL_FORMS": "1", "providerfacility_set-INITIAL_FORMS": "0",
        "providerfacility_set-0-facility": other.pk,
        "providerfacility_set-0-provider": seed.provider.pk,
    }  # fmt: skip
    assert send(client, url(Provider, "change", seed.provider.pk), **data)[0] == {}
    seed.provider.refresh_from_db()
    assert seed.provider.user == seed.provider_user
    assert set(seed.provider.facilities.all()) == {seed.facility, other}
    new = {"tenant": seed.tenant.pk, "name": "New", "is_active": "on"}
    assert send(client, url(Provider, "add"), **new)[0] == {}
    assert Provider.objects.get(name="New").tenant == seed.tenant


def no_postings(**more: object) -> dict[str, object]:
    """The part of a provider's form that adds no place of work, or what is given."""
    counts = {"TOTAL_FORMS": "0", "INITIAL_FORMS": "0"}
    return {f"providerfacility_set-{name}": value for name, value in (counts | more).items()}


def statuses(**where: object) -> set[str]:
    """What the slots of a rule, a facility or a provider are."""
    return set(Slot.objects.filter(**where).values_list("status", flat=True))


def test_who_or_what_closes_and_opens_takes_the_slots_along(client: Client, seed: Seed) -> None:
    assert send(client, url(AvailabilityRule, "add"), **rule(seed=seed))[0] == {}
    here = {"rule__weekday": 2, "rule__facility": seed.facility}
    assert statuses(**here) == {"open"}
    facility, provider = seed.facility, seed.provider
    closed = {"name": facility.name, "slug": facility.slug}
    away = {"name": provider.name, **no_postings()}
    for row, data in ((facility, closed), (provider, away)):
        address = url(type(row), "change", row.pk)
        assert send(client, address, **data)[0] == {}
        assert statuses(**here) == {"retired"}
        assert send(client, address, **data, is_active="on")[0] == {}
        assert statuses(**here) == {"open"}


def test_a_provider_at_a_new_place_has_slots_there(client: Client, seed: Seed) -> None:
    other = factories.FacilityFactory.create(tenant=seed.tenant)
    own = factories.AvailabilityRuleFactory.create(facility=other, provider=seed.provider)
    own.provider.facilities.remove(other)
    posting = {"TOTAL_FORMS": "1", "0-facility": other.pk, "0-provider": seed.provider.pk}
    data = {"name": seed.provider.name, "is_active": "on", **no_postings(**posting)}
    assert send(client, url(Provider, "change", seed.provider.pk), **data)[0] == {}
    assert set(seed.provider.facilities.all()) == {seed.facility, other}
    assert statuses(rule=own) == {"open"}


def test_a_place_is_the_tenants_and_a_user_its_member(client: Client, seed: Seed) -> None:
    """Also for who sees several tenants."""
    other = plant(name="Zebra")
    client.force_login(User.objects.create_superuser("root@example.com", "secret", name="Root"))
    address = url(Provider, "change", seed.provider.pk)
    posting = {"TOTAL_FORMS": "1", "0-facility": other.facility.pk, "0-provider": seed.provider.pk}
    data = {"name": seed.provider.name, "is_active": "on"}
    errors, _ = send(client, address, **data, **no_postings(**posting))
    assert str(other.facility.pk) in errors["__all__"][0]
    errors, _ = send(client, address, **data, **no_postings(), user=other.staff.pk)
    assert str(other.staff.pk) in errors["user"][0]
    assert list(seed.provider.facilities.all()) == [seed.facility]


def test_services(client: Client, seed: Seed) -> None:
    new = {"tenant": seed.tenant.pk, "name": "New", "duration": "0:45:00"}
    assert send(client, url(Service, "add"), **new)[0] == {}
    assert Service.objects.get(name="New").duration == timedelta(minutes=45)
    errors, _ = send(client, url(Service, "add"), **{**new, "name": "Y", "duration": "-1:00:00"})
    assert "duration" in errors


def test_patients_are_changed_by_their_function(client: Client, seed: Seed) -> None:
    """The event names the fields and never what they hold."""
    new = {"tenant": seed.tenant.pk, "name": "New", "language": "en", "tier": "0"}
    assert send(client, url(Patient, "add"), **new)[0] == {}
    patient = Patient.objects.get(name="New")
    data = {"name": "New", "language": "en", "tier": "2", "email": "new@example.com"}
    assert send(client, url(Patient, "change", patient.pk), **data)[0] == {}
    patient.refresh_from_db()
    assert (patient.tier, patient.email) == (2, "new@example.com")
    event = Event.objects.get(kind="patient.updated")
    assert (event.subject_id, event.data) == (patient.pk, {"fields": ["email", "tier"]})
    assert event.actor_id == seed.staff.pk
    errors, _ = send(client, url(Patient, "change", patient.pk), **{**data, "tier": "9"})
    assert "tier" in errors


# Openings


def rule(*, seed: Seed, **changes: object) -> dict[str, object]:
    return {
        "facility": seed.facility.pk, "provider": seed.provider.pk, "service": seed.service.pk,
        "weekday": "2", "start_time": "09:00", "end_time": "11:00", "slot_minutes": "30",
        "buffer_minutes": "0",
    } | changes  # fmt: skip


def test_rules_make_slots(client: Client, seed: Seed) -> None:
    """A rule's coming slots follow it at once, when it is added, changed or ends."""
    assert send(client, url(AvailabilityRule, "add"), **rule(seed=seed))[0] == {}
    made = AvailabilityRule.objects.get(weekday=2)
    slots = Slot.objects.filter(rule=made)
    before = slots.filter(status="open").count()
    assert before > 0
    change = url(AvailabilityRule, "change", made.pk)
    changed = rule(seed=seed, end_time="10:00", is_active="on")
    assert send(client, change, **changed)[0] == {}
    assert slots.filter(status="open").count() == before / 2
    assert act(client, "deactivate", made) == ["Deactivated: 1 of 1."]
    assert not slots.exclude(status="retired").exists()


def test_a_rule_that_overlaps_is_refused(client: Client, seed: Seed) -> None:
    """The field is named, and nothing is made."""
    own = AvailabilityRule.objects.get(facility=seed.facility)
    data = rule(seed=seed, weekday="1", start_time="10:00")
    errors, _ = send(client, url(AvailabilityRule, "add"), **data)
    assert str(own.pk) in errors["start_time"][0]
    errors, _ = send(client, url(AvailabilityRule, "add"), **rule(seed=seed, slot_minutes="500"))
    assert "slot_minutes" in errors
    assert AvailabilityRule.objects.count() == 1


def test_exceptions_close_a_date(client: Client, seed: Seed) -> None:
    """Its slots retire, and come back when it is removed."""
    send(client, url(AvailabilityRule, "add"), **rule(seed=seed))
    slot = Slot.objects.filter(rule__weekday=2).order_by("period")[1]
    day = slot.period.lower.date()
    data = {"facility": seed.facility.pk, "date": day.isoformat(), "kind": "closed"}
    assert send(client, url(AvailabilityException, "add"), **data)[0] == {}
    assert status(slot) == "retired"
    assert "date" in send(client, url(AvailabilityException, "add"), **data)[0]
    special = {**data, "kind": "special_hours"}
    assert "start_time" in send(client, url(AvailabilityException, "add"), **special)[0]
    made = AvailabilityException.objects.get(date=day, kind="closed", provider=None)
    assert act(client, "remove", made) == ["Removed: 1 of 1."]
    assert status(slot) == "open"


def block(*, seed: Seed, hours: int) -> dict[str, object]:
    """The form of a block around the seed's slots, by the facility's clock."""
    zone = ZoneInfo(seed.facility.timezone)
    start = seed.appointment.period.lower.astimezone(zone)
    end = start + timedelta(hours=hours)
    return {
        "facility": seed.facility.pk, "reason": "away",
        "starts_at_0": f"{start:%Y-%m-%d}", "starts_at_1": f"{start:%H:%M}",
        "ends_at_0": f"{end:%Y-%m-%d}", "ends_at_1": f"{end:%H:%M}",
    }  # fmt: skip


def test_blocks_name_what_is_booked(client: Client, seed: Seed) -> None:
    """Open slots are blocked, and what is booked is for people to settle."""
    errors, told = send(client, url(TimeBlock, "add"), **block(seed=seed, hours=3))
    assert errors == {}
    assert url(Appointment, "change", seed.appointment.pk) in told[0]
    made = TimeBlock.objects.get(reason="away")
    assert made.period.lower == seed.appointment.period.lower
    assert status(seed.open_slot) == "blocked"
    assert status(seed.appointment) == "booked"
    assert act(client, "remove", made) == ["Removed: 1 of 1."]
    assert status(seed.open_slot) == "open"
    assert not TimeBlock.objects.filter(reason="away").exists()


def test_a_block_ends_after_it_starts(client: Client, seed: Seed) -> None:
    errors, _ = send(client, url(TimeBlock, "add"), **block(seed=seed, hours=-1))
    assert list(errors) == ["ends_at"]
    for field, day in (("starts_at", "0001-01-01"), ("ends_at", "9999-12-31")):
        data = block(seed=seed, hours=1) | {f"{field}_0": day, f"{field}_1": "23:00"}
        errors, _ = send(client, url(TimeBlock, "add"), **data)
        assert list(errors) == [field]
    stranger = factories.ProviderFactory.create(tenant=seed.tenant)
    data = block(seed=seed, hours=1) | {"provider": stranger.pk}
    errors, _ = send(client, url(TimeBlock, "add"), **data)
    assert str(stranger.pk) in errors["provider"][0]
    assert not TimeBlock.objects.filter(reason="away").exists()


# Slots and appointments


def test_slots_are_reserved_released_and_booked(client: Client, seed: Seed) -> None:
    patient = factories.PatientFactory.create(tenant=seed.tenant)
    assert act(client, "reserve", seed.open_slot, patient_id=patient.pk) == ["Reserved: 1 of 1."]
    assert status(seed.open_slot) == "reserved"
    assert act(client, "release", seed.open_slot) == ["Released: 1 of 1."]
    assert status(seed.open_slot) == "open"
    assert act(client, "book", seed.open_slot, patient_id=patient.pk) == ["Booked: 1 of 1."]
    made = Appointment.objects.get(slot=seed.open_slot)
    assert (made.patient, made.source, made.status) == (patient, "staff", "booked")
    event = Event.objects.get(kind="appointment.booked", subject_id=made.pk)
    assert (event.actor_type, event.actor_id) == ("user", seed.staff.pk)


def test_each_row_of_an_action_is_its_own(client: Client, seed: Seed) -> None:
    """What fails is named with the reason, and the others are done."""
    patient = factories.PatientFactory.create(tenant=seed.tenant)
    told = act(client, "book", seed.open_slot, seed.held_slot, patient_id=patient.pk)
    assert told[0] == f"slot: Slot {seed.held_slot.pk} is taken."
    assert told[1] == "Booked: 1 of 2."
    assert (status(seed.open_slot), status(seed.held_slot)) == ("booked", "held")


def test_a_slot_is_booked_for_the_tenants_patients(client: Client, seed: Seed) -> None:
    other = plant(name="Zebra")
    assert act(client, "book", seed.open_slot, patient_id=other.patient.pk) == []
    assert act(client, "book", seed.open_slot, patient_id="nobody") == []
    assert status(seed.open_slot) == "open"


def test_appointments_are_cancelled_with_a_reason(client: Client, seed: Seed) -> None:
    """Without one the form is shown again and nothing happens."""
    assert act(client, "cancel", seed.appointment) == []
    assert act(client, "cancel", seed.appointment, reason="because") == []
    assert status(seed.appointment) == "booked"
    assert act(client, "cancel", seed.appointment, reason="other") == ["Cancelled: 1 of 1."]
    assert status(seed.appointment) == "cancelled"
    assert seed.appointment.cancellation_reason == "other"
    told = act(client, "cancel", seed.appointment, reason="other")
    assert told[1] == "Cancelled: 0 of 1."


def test_appointments_end(client: Client, seed: Seed) -> None:
    """Only those that have begun."""
    came, missed = begun(seed=seed), begun(seed=seed)
    assert act(client, "complete", came, seed.appointment)[1] == "Completed: 1 of 2."
    assert act(client, "miss", missed) == ["Missed: 1 of 1."]
    assert status(came) == "completed"
    assert status(missed) == "no_show"
    assert status(seed.appointment) == "booked"


def test_appointments_are_moved(client: Client, seed: Seed) -> None:
    """To a slot from the list, or to another by its id."""
    row, was = seed.appointment, seed.appointment.slot
    page = client.post(
        url(Appointment, "changelist"), {"action": "reschedule", "_selected_action": row.pk}
    ).content.decode()
    assert str(seed.open_slot.pk) in page
    assert str(seed.held_slot.pk) not in page
    assert act(client, "reschedule", row, slot_id=seed.open_slot.pk) == ["Moved: 1 of 1."]
    row.refresh_from_db()
    assert row.slot == seed.open_slot
    assert status(was) == "open"
    assert act(client, "reschedule", row, other=was.pk) == ["Moved: 1 of 1."]
    assert act(client, "reschedule", row, other=seed.held_slot.pk)[1] == "Moved: 0 of 1."
    assert act(client, "reschedule", row, slot_id="", other="") == []


def test_a_row_offers_what_its_status_allows(client: Client, seed: Seed) -> None:
    """From its own page, to which the action comes back."""
    address = url(Slot, "change", seed.open_slot.pk)
    page = client.get(address).content.decode()
    assert 'value="reserve"' in page
    assert 'value="release"' not in page
    patient = factories.PatientFactory.create(tenant=seed.tenant)
    data = {
        "action": "reserve", "_selected_action": seed.open_slot.pk, "back": "row", "answered": "1",
        "patient_id": patient.pk,
    }  # fmt: skip
    response = client.post(url(Slot, "changelist"), data)
    assert response.headers["Location"] == address
    page = client.get(address).content.decode()
    assert 'value="release"' in page


def test_status_is_never_written_by_a_form(client: Client, seed: Seed) -> None:
    for row in (seed.open_slot, seed.appointment):
        was = status(row)
        data = {"status": "cancelled", "_save": "Save"}
        assert client.post(url(type(row), "change", row.pk), data).status_code == 403
        assert status(row) == was


def test_slots_are_found_by_day_and_id(client: Client, seed: Seed) -> None:
    day: date = seed.open_slot.period.lower.date()
    found = client.get(url(Slot, "changelist", period_from=day, period_to=day)).context["cl"]
    assert found.result_count == 3
    later = day + timedelta(days=1)
    assert client.get(url(Slot, "changelist", period_from=later)).context["cl"].result_count == 0
    found = client.get(url(Slot, "changelist", q=seed.open_slot.pk)).context["cl"]
    assert [row.pk for row in found.result_list] == [seed.open_slot.pk]


def test_slots_follow_a_facility_and_a_provider_that_close(client: Client, seed: Seed) -> None:
    """Saved on a page as by the API: what nobody claimed is not open any longer."""
    for row, data in (
        (seed.provider, {"name": "Gone", "providerfacility_set-TOTAL_FORMS": "0",
                         "providerfacility_set-INITIAL_FORMS": "0"}),
        (seed.facility, {"name": "Closed", "slug": "closed"}),
    ):  # fmt: skip
        factories.AvailabilityRuleFactory.create(facility=seed.facility, provider=seed.provider)
        generation.generate(now=clock.now(), facility_id=seed.facility.pk)
        made = Slot.objects.filter(rule__isnull=False)
        assert made.filter(status="open").exists() or row is seed.facility
        assert send(client, url(type(row), "change", row.pk), **data)[0] == {}
        row.refresh_from_db()
        assert not row.is_active
        assert not made.filter(status="open").exists()


def test_a_slot_and_an_appointment_are_named_by_their_times_and_no_person(seed: Seed) -> None:
    for row in (seed.open_slot, seed.appointment):
        period = row.period
        assert (
            str(row) == f"{row.status} {period.lower:%a %d %b %Y %H:%M} – {period.upper:%H:%M} UTC"
        )
    block = factories.TimeBlockFactory.create(facility=seed.facility, minutes=36 * 60)
    end = block.period.upper
    assert str(block) == f"{block.period.lower:%a %d %b %Y %H:%M} – {end:%a %d %b %Y %H:%M} UTC"


def test_slots_are_listed_by_time(client: Client, seed: Seed) -> None:
    """The latest first, for the staff of a tenant and for an operator who chose one."""
    start = factories.tomorrow() + timedelta(days=9)
    early = factories.SlotFactory.create(facility=seed.facility, starts_at=start)
    factories.SlotFactory.create(facility=seed.facility, starts_at=start + timedelta(hours=2))
    factories.SlotFactory.create(facility=seed.facility, starts_at=start + timedelta(hours=1))

    def listed(**query: object) -> list[Slot]:
        return list(client.get(url(Slot, "changelist", **query)).context["cl"].result_list)

    by_time = list(Slot.objects.order_by("-period__startswith"))
    assert by_time[2] == early
    assert listed() == by_time
    client.force_login(User.objects.create_superuser("root@example.com", "secret", name="Root"))
    assert listed(tenant__id__exact=seed.tenant.pk) == by_time
    assert listed() == list(Slot.objects.order_by("-pk"))
