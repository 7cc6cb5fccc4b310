"""The pages of the demand: what they call, and what is refused."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from audit import clock
from audit.models import Event
from scheduling.models import Appointment, Patient, Slot
from tests import factories, venues
from tests.accounts.pages import act, send, url
from tests.accounts.seeds import Seed, plant
from tests.waitlist import asking
from waitlist.forms import EndForm
from waitlist.models import CircuitBreaker, EntryNote, Hold, WaitlistEntry, WaitlistPolicy

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 1, 2, 3, 4, 5, 678, UTC)


@pytest.fixture
def seed(client: Client) -> Seed:
    seed = plant(name="Apple")
    client.force_login(seed.staff)
    return seed


def form_of(client: Client, row: Any) -> dict[str, Any]:
    """Return what a browser would send back of a row's page, nothing having been typed."""
    context = client.get(url(type(row), "change", row.pk)).context
    forms = [context["adminform"].form]
    for inline in context["inline_admin_formsets"]:
        forms += [inline.formset.management_form, *inline.formset.forms]
    data: dict[str, Any] = {}
    for form in forms:
        for field in form:
            plain = getattr(field.field.widget, "widget", field.field.widget)
            widget = plain.get_context(field.html_name, field.value(), {})["widget"]
            parts = widget.get("subwidgets") or [widget]
            if len(parts) == 1 or "optgroups" in widget:
                data[field.html_name] = field.value()
            else:
                data |= {part["name"]: part["value"] for part in parts}
    return {name: value for name, value in data.items() if value is not None and value is not False}


# Policies


def test_admins_change_policies(client: Client, seed: Seed) -> None:
    """By the function, which re-ranks and tells."""
    client.force_login(seed.admin)
    policy = WaitlistPolicy.objects.get(facility=seed.facility)
    data = form_of(client, policy)
    assert send(client, url(WaitlistPolicy, "change", policy.pk), **data)[0] == {}
    changed = data | {"wait_per_day": "7", "hold_window": "12:00:00", "ordering": "fifo"}
    assert send(client, url(WaitlistPolicy, "change", policy.pk), **changed)[0] == {}
    policy.refresh_from_db()
    assert (policy.wait_per_day, policy.ordering) == (7, "fifo")
    event = Event.objects.filter(kind="waitlist.policy_changed").latest("pk")
    assert event.data == {"fields": ["hold_window", "ordering", "wait_per_day"]}
    assert event.actor_id == seed.admin.pk


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("wait_per_day", "much"),
        ("match_days", "11"),
        ("reminder_lead", "23:00:00"),
        ("quiet_until", ""),
        ("hold_window", "0:00:00"),
    ],
)
def test_a_bad_policy_is_refused(client: Client, seed: Seed, field: str, value: str) -> None:
    """The field is named and nothing changes."""
    client.force_login(seed.admin)
    policy = WaitlistPolicy.objects.get(facility=seed.facility)
    data = form_of(client, policy) | {field: value}
    errors, _ = send(client, url(WaitlistPolicy, "change", policy.pk), **data)
    assert field in errors
    assert WaitlistPolicy.objects.get(pk=policy.pk).version == policy.version


def test_admins_of_a_venue_read_what_is_the_same_at_every_venue(client: Client) -> None:
    place = venues.open_venue()
    admin = factories.MembershipFactory.create(tenant=place.tenant, role="admin").user
    client.force_login(admin)
    policy = WaitlistPolicy.objects.get(facility=place)
    data = form_of(client, policy) | {"breaker_threshold": "1", "min_notice": "02:00:00"}
    assert send(client, url(WaitlistPolicy, "change", policy.pk), **data)[0] == {}
    policy.refresh_from_db()
    assert (policy.breaker_threshold, policy.min_notice) == (3, timedelta(hours=2))


def test_staff_read_policies(client: Client, seed: Seed) -> None:
    policy = WaitlistPolicy.objects.get(facility=seed.facility)
    assert client.get(url(WaitlistPolicy, "change", policy.pk)).status_code == 200
    assert client.post(url(WaitlistPolicy, "change", policy.pk), {}).status_code == 403


# Entries


def test_wishes_are_changed_and_notes_added(client: Client, seed: Seed) -> None:
    address = url(WaitlistEntry, "change", seed.entry.pk)
    data = form_of(client, seed.entry)
    assert send(client, address, **data)[0] == {}
    assert not Event.objects.filter(kind="waitlist.updated").exists()
    note = {"notes-TOTAL_FORMS": "2", "notes-1-text": "Called back", "notes-1-entry": seed.entry.pk}
    wishes = {"urgency": "2", "preferred_days": ["1", "3"], "provider": ""}
    assert send(client, address, **(data | note | wishes))[0] == {}
    seed.entry.refresh_from_db()
    assert (seed.entry.urgency, seed.entry.preferred_days) == (2, [1, 3])
    assert seed.entry.provider is None
    event = Event.objects.get(kind="waitlist.updated")
    assert event.data == {"fields": ["preferred_days", "provider_id", "urgency"]}
    assert event.actor_id == seed.staff.pk
    made = EntryNote.objects.get(text="Called back")
    assert (made.entry, made.author, made.tenant) == (seed.entry, seed.staff, seed.tenant)


def joining(**answers: Any) -> dict[str, Any]:
    """The form by which somebody joins."""
    return {"preferred_time": "any", "urgency": "0", **answers}


def test_somebody_is_let_join(client: Client, seed: Seed) -> None:
    patient = factories.PatientFactory.create(tenant=seed.tenant)
    data = joining(
        facility=seed.facility.pk, patient=patient.pk, service=seed.service.pk, urgency="2",
        preferred_days=["1", "5"],
    )  # fmt: skip
    assert send(client, url(WaitlistEntry, "add"), **data)[0] == {}
    made = WaitlistEntry.objects.get(patient=patient)
    assert (made.facility, made.service, made.urgency) == (seed.facility, seed.service, 2)
    assert (made.status, made.preferred_days) == ("waiting", [1, 5])
    event = Event.objects.get(kind="waitlist.joined", entry_id=made.pk)
    assert event.actor_id == seed.staff.pk


def test_who_may_not_join_is_told_why(client: Client, seed: Seed) -> None:
    other = plant(name="Zebra")
    patient = factories.PatientFactory.create(tenant=seed.tenant)
    here = {"facility": seed.facility.pk, "patient": patient.pk}
    waits = {"patient": seed.patient.pk, "provider": seed.provider.pk}
    for field, answers in (
        ("patient", {"patient": ""}),
        ("patient", {"patient": other.patient.pk}),
        ("facility", {"facility": other.facility.pk}),
        ("facility", waits),
        ("latest", {"latest_0": "2001-01-01", "latest_1": "00:00"}),
    ):
        errors, _ = send(client, url(WaitlistEntry, "add"), **joining(**{**here, **answers}))
        assert list(errors) == [field]
    assert WaitlistEntry.objects.filter(tenant=seed.tenant).count() == 1


def test_a_slot_is_offered_to_a_chosen_entry(client: Client, seed: Seed) -> None:
    """What it was offered before is taken back."""
    told = act(client, "offer", seed.entry, slot_id=seed.open_slot.pk)
    assert told == ["Offered: 1 of 1."]
    made = Hold.objects.get(slot=seed.open_slot)
    assert (made.entry, made.source, made.status) == (seed.entry, "staff", "offered")
    assert Hold.objects.get(pk=seed.hold.pk).status == "withdrawn"


def test_the_answer_of_who_was_asked_is_noted(client: Client, seed: Seed) -> None:
    assert act(client, "still_waits", seed.entry) == ["Noted: 1 of 1."]
    seed.entry.refresh_from_db()
    assert seed.entry.nudge_answered_at is not None
    assert act(client, "waits_no_longer", seed.entry) == ["Cancelled: 1 of 1."]
    seed.entry.refresh_from_db()
    assert (seed.entry.status, seed.entry.cancellation_reason) == ("cancelled", "nudge_declined")
    answers = Event.objects.filter(kind="waitlist.nudge_answered", actor_id=seed.staff.pk)
    assert [event.data["interested"] for event in answers.order_by("pk")] == [True, False]


def test_bad_wishes_are_refused(client: Client, seed: Seed) -> None:
    address, data = url(WaitlistEntry, "change", seed.entry.pk), form_of(client, seed.entry)
    seed.entry.refresh_from_db()
    for field, value in (
        ("provider_required", {"provider_required": "on", "provider": ""}),
        ("urgency", {"urgency": "7"}),
        ("latest", {"latest_0": "2001-01-01", "latest_1": "00:00"}),
        ("preferred_days", {"preferred_days": ["8"]}),
    ):
        errors, _ = send(client, address, **(data | value))
        assert field in errors
    stranger = factories.ProviderFactory.create(tenant=seed.tenant)
    errors, _ = send(client, address, **(data | {"provider": stranger.pk}))
    assert str(stranger.pk) in errors["provider"][0]
    assert WaitlistEntry.objects.get(pk=seed.entry.pk).version == seed.entry.version


def test_entries_are_cancelled_with_a_reason(client: Client, seed: Seed) -> None:
    """What they were offered is withdrawn; notes stay on the row and out of the log."""
    told = act(client, "cancel", seed.entry, reason="duplicate", notes="Said so")
    assert told == ["Cancelled: 1 of 1."]
    seed.entry.refresh_from_db()
    assert (seed.entry.status, seed.entry.cancellation_reason) == ("cancelled", "duplicate")
    assert seed.entry.cancellation_notes == "Said so"
    assert Hold.objects.get(pk=seed.hold.pk).status == "withdrawn"
    assert Event.objects.get(kind="waitlist.cancelled").data == {"reason": "duplicate"}
    assert act(client, "cancel", seed.entry, reason="duplicate")[1] == "Cancelled: 0 of 1."


def test_an_entry_that_has_ended_can_be_noted_on(client: Client, seed: Seed) -> None:
    act(client, "cancel", seed.entry, reason="duplicate")
    data = form_of(client, seed.entry)
    note = {"notes-TOTAL_FORMS": "2", "notes-1-text": "Later", "notes-1-entry": seed.entry.pk}
    address = url(WaitlistEntry, "change", seed.entry.pk)
    assert send(client, address, **(data | note | {"urgency": "3"}))[0] == {}
    assert EntryNote.objects.filter(text="Later").exists()
    seed.entry.refresh_from_db()
    assert seed.entry.urgency == 0


def test_entries_are_promoted(client: Client, seed: Seed) -> None:
    """One at a time, to a slot of the list or another by its id."""
    assert act(client, "promote", seed.entry, other=seed.appointment.slot.pk)[1] == (
        "Booked: 0 of 1."
    )
    assert act(client, "promote", seed.entry, slot_id=seed.open_slot.pk) == ["Booked: 1 of 1."]
    seed.entry.refresh_from_db()
    assert seed.entry.status == "converted"
    assert seed.entry.appointment is not None
    assert seed.entry.appointment.slot == seed.open_slot
    assert Hold.objects.get(pk=seed.hold.pk).status == "withdrawn"


def test_a_slot_of_another_tenant_is_refused(client: Client, seed: Seed) -> None:
    other = plant(name="Zebra")
    told = act(client, "promote", seed.entry, other=other.open_slot.pk)
    assert told[-1] == "Booked: 0 of 1."
    assert act(client, "promote", seed.entry, slot_id=other.open_slot.pk) == []
    assert Slot.objects.get(pk=other.open_slot.pk).status == "open"


# Offers


def test_holds_are_accepted(client: Client, seed: Seed) -> None:
    assert act(client, "accept", seed.hold) == ["Accepted: 1 of 1."]
    seed.hold.refresh_from_db()
    assert seed.hold.status == "accepted"
    assert Appointment.objects.get(slot=seed.held_slot).source == "waitlist"
    told = act(client, "accept", seed.hold)
    assert told == [
        f"hold: The offer {seed.hold.pk} is over.",
        "Accepted: 0 of 1.",
    ]


def test_holds_are_declined(client: Client, seed: Seed) -> None:
    assert act(client, "decline", seed.hold) == ["Declined: 1 of 1."]
    seed.hold.refresh_from_db()
    assert seed.hold.status == "declined"
    assert Slot.objects.get(pk=seed.held_slot.pk).status == "open"
    event = Event.objects.get(kind="waitlist.hold_declined")
    assert event.actor_id == seed.staff.pk


def test_holds_are_withdrawn_with_a_reason(client: Client, seed: Seed) -> None:
    assert act(client, "withdraw", seed.hold) == []
    assert act(client, "withdraw", seed.hold, reason="slot_needed") == ["Withdrawn: 1 of 1."]
    seed.hold.refresh_from_db()
    seed.entry.refresh_from_db()
    assert (seed.hold.status, seed.entry.status) == ("withdrawn", "waiting")
    assert seed.entry.offers_made == 0
    assert Slot.objects.get(pk=seed.held_slot.pk).status == "open"
    event = Event.objects.get(kind="waitlist.hold_withdrawn")
    assert (event.actor_id, event.data) == (seed.staff.pk, {"reason": "slot_needed"})
    assert act(client, "withdraw", seed.hold, reason="other")[1] == "Withdrawn: 0 of 1."


def test_slots_are_offered_to_the_best_match(client: Client, seed: Seed) -> None:
    told = act(client, "offer", seed.open_slot)
    assert told[1] == "Offered: 0 of 1."  # who waits has an offer
    act(client, "decline", seed.hold)
    assert act(client, "offer", seed.open_slot) == ["Offered: 1 of 1."]
    made = Hold.objects.get(slot=seed.open_slot)
    assert (made.entry, made.source) == (seed.entry, "staff")


def test_vacancies_are_offered(client: Client, seed: Seed) -> None:
    """The appointment is cancelled and its slot offered, both or neither."""
    told = act(client, "offer", seed.appointment, reason="patient_request")
    assert told[1] == "Offered: 0 of 1."
    assert Appointment.objects.get(pk=seed.appointment.pk).status == "booked"
    booked = factories.PatientFactory.create(tenant=seed.tenant)
    act(client, "book", seed.open_slot, patient_id=booked.pk)
    act(client, "decline", seed.hold)
    row = Appointment.objects.get(slot=seed.open_slot)
    assert act(client, "offer", row, reason="patient_request") == ["Offered: 1 of 1."]
    row.refresh_from_db()
    assert (row.status, row.cancellation_reason) == ("cancelled", "patient_request")
    assert Hold.objects.get(slot=seed.open_slot).entry == seed.entry


def test_links_lead_on(client: Client, seed: Seed) -> None:
    """From an entry to its holds, from a slot to its appointments, from a patient to both."""
    for row, address in (
        (seed.entry, url(Hold, "changelist", entry__id__exact=seed.entry.pk)),
        (seed.held_slot, url(Hold, "changelist", slot__id__exact=seed.held_slot.pk)),
        (seed.held_slot, url(Appointment, "changelist", slot__id__exact=seed.held_slot.pk)),
        (seed.patient, url(WaitlistEntry, "changelist", patient__id__exact=seed.patient.pk)),
        (seed.hold, url(WaitlistEntry, "change", seed.entry.pk)),
        (seed.hold, url(Slot, "change", seed.held_slot.pk)),
        (seed.appointment, url(Slot, "change", seed.appointment.slot.pk)),
    ):
        page = client.get(url(type(row), "change", row.pk)).content.decode()
        assert address in page
        assert client.get(address).status_code == 200


def test_people_are_found_by_name(client: Client, seed: Seed) -> None:
    for model in (Patient, WaitlistEntry, Hold, Appointment):
        for term, found in (("apple", 1), ("nobody", 0), (str(seed.patient.pk), 1)):
            page = client.get(url(model, "changelist", q=term))
            assert page.context["cl"].result_count == found, (model, term)


def test_entries_and_patients_are_found_by_their_level(client: Client, seed: Seed) -> None:
    """The levels are known: the table is not asked which there are."""
    urgent = factories.WaitlistEntryFactory.create(facility=seed.facility, urgency=2)
    tiered = factories.PatientFactory.create(tenant=seed.tenant, tier=2)
    for row, name in ((urgent, "urgency__exact"), (tiered, "tier__exact")):
        with CaptureQueriesContext(connection) as queries:
            found = client.get(url(type(row), "changelist", **{name: "2"}))
        assert list(found.context["cl"].result_list) == [row]
        assert f"?{name}=3" in found.content.decode()
        assert not any("DISTINCT" in query["sql"] for query in queries.captured_queries)
        bad = client.get(url(type(row), "changelist", **{name: "high"}), follow=True)
        assert bad.status_code == 200


def test_titles_are_plain(client: Client, seed: Seed) -> None:
    """A page names what it is about by words, not by ids."""
    policy = WaitlistPolicy.objects.get(facility=seed.facility)
    assert f"policy of {seed.facility.name}" in page_of(client, policy)
    entry = WaitlistEntry(status="converted", joined_at=NOW)
    assert str(entry) == "converted, joined 2026-01-02"
    assert str(Hold(status="accepted", offered_at=NOW)) == "accepted, offered 2026-01-02 03:04 UTC"


def test_offers_passed_are_called_so(client: Client, seed: Seed) -> None:
    """What the column counts: offers that were declined or lapsed, not the live one."""
    listed = client.get(url(WaitlistEntry, "changelist")).content.decode()
    for page in (listed, page_of(client, seed.entry)):
        assert "Offers passed" in page
        assert "Offers made" not in page


def test_a_venues_admin_lets_offers_go_on_and_is_not_told_to_whom(client: Client) -> None:
    place = venues.open_venue()
    admin, staff = (
        factories.MembershipFactory.create(tenant=place.tenant, role=role).user
        for role in ("admin", "staff")
    )
    entry = asking.wait(place=place)
    asking.free(place=place)
    breaker = CircuitBreaker.objects.create(
        tenant=place.tenant, facility=place, tripped_at=NOW, status="tripped"
    )
    client.force_login(staff)
    assert client.get(url(CircuitBreaker, "changelist")).status_code == 403
    client.force_login(admin)
    assert place.name in page_of(client, breaker)
    assert act(client, "resolve", breaker) == ["Resolved: 1 of 1."]
    assert "resolved already" in act(client, "resolve", breaker)[0]
    breaker.refresh_from_db()
    entry.refresh_from_db()
    assert (breaker.status, breaker.resolved_by, entry.status) == ("resolved", admin, "offered")
    assert str(entry.pk) not in page_of(client, breaker)


def test_an_organizers_staff_accept_for_it(client: Client) -> None:
    entry = asking.wait(place=venues.open_venue(), at=clock.now())
    hold = asking.offer(place=entry.facility, at=clock.now())
    client.force_login(factories.MembershipFactory.create(tenant=hold.tenant).user)
    assert act(client, "accept", hold) == ["Accepted: 1 of 1."]
    entry.refresh_from_db()
    assert entry.status == "converted"
    assert "Spring gala" in page_of(client, entry)


def test_an_organizers_entry_is_cancelled_for_a_reason_of_organizers(client: Client) -> None:
    entry = asking.wait(place=venues.open_venue(), at=clock.now())
    client.force_login(factories.MembershipFactory.create(tenant=entry.tenant).user)
    assert act(client, "cancel", entry, reason="duplicate") == []
    assert act(client, "cancel", entry, reason="found_alternative") == ["Cancelled: 1 of 1."]
    entry.refresh_from_db()
    assert (entry.status, entry.cancellation_reason) == ("cancelled", "found_alternative")


def test_entries_of_both_kinds_are_cancelled_for_what_both_may_say(seed: Seed) -> None:
    entry = asking.wait(place=venues.open_venue(), at=clock.now())
    for rows in ([entry, seed.entry], [seed.entry, entry]):
        reasons: Any = EndForm(rows=rows).fields["reason"]
        assert {code for code, _ in reasons.choices} == {"no_longer_needed", "other"}


def page_of(client: Client, row: Any) -> str:
    """Return the page of a row."""
    return client.get(url(type(row), "change", row.pk)).content.decode()
