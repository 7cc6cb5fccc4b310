"""Joining, reading, changing and ending entries over HTTP."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import IdempotencyKey
from audit import clock
from audit.events import SYSTEM
from tests import factories
from tests.clinics import Clinic, open_clinic
from waitlist import entries, holds, invites
from waitlist.models import DailyMetric, EntryNote, WaitlistEntry, WaitlistPolicy

URL = "/api/v1/waitlists"


def test_patient_joins_for_themselves(clinic: Clinic) -> None:
    body = {
        "facility": str(clinic.facility.pk),
        "service": str(clinic.service.pk),
        "preferred_days": [1, 3],
        "preferred_time": "morning",
        "metadata": {"referral": "gp"},
    }
    answer = clinic.client("patient").post(URL, body, format="json")
    assert answer.status_code == 201, answer.data
    entry = WaitlistEntry.objects.get(pk=answer.data["id"])
    assert entry.patient == clinic.patient
    assert answer["Location"].endswith(f"{URL}/{entry.pk}")
    assert answer["ETag"] == f'"{entry.version}"'
    assert answer.data["status"] == "waiting"
    assert answer.data["position"] == 1
    assert answer.data["priority_score"] == pytest.approx(0, abs=0.01)
    assert answer.data["preferred_days"] == [1, 3]
    assert answer.data["hold"] is None
    assert answer.data["patient_name"] is None


def test_staff_joins_for_a_patient(clinic: Clinic) -> None:
    clinic.join(patient=clinic.other_patient())
    body = {
        "facility": str(clinic.facility.pk),
        "patient": str(clinic.patient.pk),
        "urgency": 3,
    }
    answer = clinic.client("staff").post(URL, body, format="json")
    assert answer.status_code == 201, answer.data
    assert answer.data["position"] == 1  # urgent, so before the one who came earlier
    assert answer.data["priority_score"] == pytest.approx(15, abs=0.01)
    assert answer.data["patient_name"] == clinic.patient.name


@pytest.mark.parametrize(
    ("change", "status", "code", "field"),
    [
        ({"urgency": 3}, 400, "invalid", "urgency"),
        ({"preferred_days": [8]}, 400, "invalid", "preferred_days.0"),
        ({"metadata": {"text": "x" * 5000}}, 400, "invalid", "metadata"),
        ({"earliest": "2030-01-02T00:00Z", "latest": "2030-01-01T00:00Z"}, 400, "invalid",
         "latest"),
        ({"latest": "2020-01-01T00:00Z"}, 400, "invalid", "latest"),
        ({"latest": "9999-12-31T23:59:59Z"}, 400, "invalid", "latest"),
        ({"latest": "9999-12-31T23:59:59-12:00"}, 400, "invalid", "latest"),
        ({"provider_required": True}, 400, "invalid", "provider_required"),
        ({"provider": str(uuid.uuid4())}, 404, "not_found", "provider"),
        ({"service": str(uuid.uuid4())}, 404, "not_found", "service"),
        ({"patient": str(uuid.uuid4())}, 404, "not_found", "patient"),
        ({"facility": str(uuid.uuid4())}, 404, "not_found", "facility"),
        ({"dates_flexible": "yes"}, 400, "invalid", "dates_flexible"),
        ({"servise": None}, 400, "invalid", "servise"),
    ],
)  # fmt: skip
def test_join_is_refused(
    clinic: Clinic, change: dict[str, Any], status: int, code: str, field: str
) -> None:
    body = {"facility": str(clinic.facility.pk), **change}
    answer = clinic.client("patient").post(URL, body, format="json")
    assert (answer.status_code, answer.data["code"]) == (status, code), answer.data
    assert [error["field"] for error in answer.data["errors"]] == [field]
    assert not WaitlistEntry.objects.exists()


def test_a_provider_who_is_gone_cannot_be_wished_for(clinic: Clinic) -> None:
    gone = factories.ProviderFactory.create(
        tenant=clinic.tenant, facilities=[clinic.facility], is_active=False
    )
    body = {
        "facility": str(clinic.facility.pk), "patient": str(clinic.patient.pk),
        "provider": str(gone.pk),
    }  # fmt: skip
    entry = clinic.join(patient=clinic.other_patient(), provider_id=clinic.provider.pk)
    staff = clinic.client("staff")
    changed = staff.patch(f"{URL}/{entry.pk}", {"provider": str(gone.pk)}, format="json")
    for answer in (staff.post(URL, body, format="json"), changed,
                   clinic.client("patient").post(URL, body, format="json")):  # fmt: skip
        assert (answer.status_code, answer.data["code"]) == (404, "not_found")
        assert [error["field"] for error in answer.data["errors"]] == ["provider"]
    clinic.provider.is_active = False
    clinic.provider.save()
    change = {"provider": str(clinic.provider.pk), "urgency": 1}  # the same as before
    assert staff.patch(f"{URL}/{entry.pk}", change, format="json").status_code == 200


def test_a_provider_wishes_only_for_whom_they_see(clinic: Clinic) -> None:
    elsewhere = factories.FacilityFactory.create(tenant=clinic.tenant)
    unseen = factories.ProviderFactory.create(tenant=clinic.tenant, facilities=[elsewhere])
    url = f"{URL}/{clinic.join(any_facility=True).pk}"
    change = {"provider": str(unseen.pk)}
    answer = clinic.client("provider").patch(url, change, format="json")
    assert (answer.status_code, answer.data["code"]) == (404, "not_found")
    assert [error["field"] for error in answer.data["errors"]] == ["provider"]
    assert clinic.client("staff").patch(url, change, format="json").status_code == 200


def test_join_twice_is_a_conflict(clinic: Clinic) -> None:
    clinic.join()
    body = {"facility": str(clinic.facility.pk)}
    answer = clinic.client("patient").post(URL, body, format="json")
    assert (answer.status_code, answer.data["code"]) == (409, "already_waiting")


def test_full_queue_is_a_conflict(clinic: Clinic) -> None:
    WaitlistPolicy.objects.update(max_queue_size=1)
    clinic.join(patient=clinic.other_patient())
    body = {"facility": str(clinic.facility.pk)}
    answer = clinic.client("patient").post(URL, body, format="json")
    assert (answer.status_code, answer.data["code"]) == (409, "queue_full")


def test_too_many_entries_of_one_patient(clinic: Clinic) -> None:
    WaitlistPolicy.objects.update(max_active_per_requester=1)
    clinic.join(provider_id=clinic.provider.pk)
    body = {"facility": str(clinic.facility.pk)}
    answer = clinic.client("patient").post(URL, body, format="json")
    assert (answer.status_code, answer.data["code"]) == (429, "too_many_entries")
    assert int(answer["Retry-After"]) > 0


def test_joins_are_limited(clinic: Clinic, settings: Any) -> None:
    settings.RATE_LIMITS = settings.RATE_LIMITS | {"join": "2/minute"}
    client = clinic.client("patient")
    body = {"facility": str(clinic.facility.pk)}
    statuses = [client.post(URL, body, format="json").status_code for _ in range(3)]
    assert statuses == [201, 409, 429]


def test_facility_of_another_tenant_is_not_found(clinic: Clinic) -> None:
    other = open_clinic()
    for role in ("patient", "staff"):
        body = {"facility": str(other.facility.pk), "patient": str(clinic.patient.pk)}
        answer = clinic.client(role).post(URL, body, format="json")
        assert (answer.status_code, answer.data["code"]) == (404, "not_found")


def test_staff_must_say_for_whom(clinic: Clinic) -> None:
    answer = clinic.client("staff").post(URL, {"facility": str(clinic.facility.pk)}, format="json")
    assert answer.status_code == 400
    assert answer.data["errors"][0]["field"] == "patient"


def test_list_is_in_the_order_of_the_queue(clinic: Clinic) -> None:
    late = clinic.join()
    urgent = clinic.join(patient=clinic.other_patient(), urgency=2)
    answer = clinic.client("staff").get(URL)
    assert answer.status_code == 200
    found = [(one["id"], one["position"]) for one in answer.data["results"]]
    assert found == [(str(urgent.pk), 1), (str(late.pk), 2)]
    answer = clinic.client("staff").get(URL, {"sort": "joined_at"})
    assert [one["id"] for one in answer.data["results"]] == [str(late.pk), str(urgent.pk)]


def test_positions_are_those_of_the_whole_queue(clinic: Clinic) -> None:
    """On every page, for each service, with ended and offered entries among them."""
    made = [
        clinic.join(
            patient=clinic.other_patient(),
            urgency=n % 3,
            service_id=clinic.service.pk if n % 4 else None,
        )
        for n in range(12)
    ]
    slot = clinic.slot()
    invites.invite(slot_id=slot.pk, entry_id=made[5].pk, actor=SYSTEM, now=clock.now())
    client = clinic.client("staff")
    client.patch(f"{URL}/{made[7].pk}", {"status": "cancelled", "reason": "other"}, format="json")
    want: dict[str, int] = {}
    for service in (None, clinic.service.pk):
        mine = [
            e for e in WaitlistEntry.objects.all() if e.service_id == service and not e.closed_at
        ]
        mine.sort(key=lambda e: (-e.rank_key, e.joined_at, e.pk))
        want |= {str(entry.pk): place for place, entry in enumerate(mine, 1)}
    got: dict[str, Any] = {}
    for page in (1, 2, 3, 4):
        answer = client.get(URL, {"page": page, "page_size": 3})
        got |= {one["id"]: one["position"] for one in answer.data["results"]}
    assert got.pop(str(made[7].pk)) is None
    assert got == want


@pytest.mark.parametrize(
    ("word", "found"),
    [("waiting", 2), ("active", 2), ("pending", 2), ("offered", 1), ("invited", 1),
     ("matched", 1), ("notified", 1), ("converted", 0), ("promoted", 0), ("booked", 0),
     ("cancelled", 0), ("expired", 0)],
)  # fmt: skip
def test_status_filter_knows_other_words(clinic: Clinic, word: str, found: int) -> None:
    offered = clinic.join()
    for _ in range(2):
        clinic.join(patient=clinic.other_patient())
    invites.invite(slot_id=clinic.slot().pk, entry_id=offered.pk, actor=SYSTEM, now=clock.now())
    answer = clinic.client("staff").get(URL, {"status": word})
    assert answer.data["total"] == found
    assert {one["status"] for one in answer.data["results"]} <= {"waiting", "offered"}


def test_filters_narrow_and_bad_ones_are_refused(clinic: Clinic) -> None:
    clinic.join(provider_id=clinic.provider.pk, service_id=clinic.service.pk)
    clinic.join(patient=clinic.other_patient())
    client = clinic.client("staff")
    for field, row in {
        "provider": clinic.provider.pk,
        "service": clinic.service.pk,
        "patient": clinic.patient.pk,
    }.items():
        assert client.get(URL, {field: str(row)}).data["total"] == 1, field
    assert client.get(URL, {"facility": str(clinic.facility.pk)}).data["total"] == 2
    assert client.get(URL, {"status": ["active", "invited"]}).data["total"] == 2
    for name, value in {"status": "lost", "sort": "name", "facility": "x", "colour": "red"}.items():
        answer = client.get(URL, {name: value})
        assert answer.status_code == 400, name
        assert answer.data["errors"][0]["field"] == name


def test_provider_sees_own_facilities_only(clinic: Clinic) -> None:
    mine = clinic.join()
    there = open_clinic().join()
    elsewhere = WaitlistEntry.objects.get(
        pk=clinic.client("staff")
        .post(
            URL,
            {
                "facility": str(second_facility(clinic)),
                "patient": str(clinic.patient.pk),
            },
            format="json",
        )
        .data["id"]
    )
    client = clinic.client("provider")
    assert [one["id"] for one in client.get(URL).data["results"]] == [str(mine.pk)]
    assert client.get(f"{URL}/{mine.pk}").status_code == 200
    for other in (there, elsewhere):
        assert client.get(f"{URL}/{other.pk}").status_code == 404


def second_facility(clinic: Clinic) -> uuid.UUID:
    """Open another place of the same tenant."""
    return factories.FacilityFactory.create(tenant=clinic.tenant).pk


def test_queries_do_not_grow_with_the_rows(clinic: Clinic) -> None:
    client = clinic.client("staff")
    for n in range(50):
        entry = clinic.join(patient=clinic.other_patient(), service_id=clinic.service.pk)
        if n in (0, 10, 20):
            slot = clinic.slot(starts_at=clock.now() + timedelta(days=2 + n))
            invites.invite(slot_id=slot.pk, entry_id=entry.pk, actor=SYSTEM, now=clock.now())
    counts = []
    for size in (1, 50):
        with CaptureQueriesContext(
            connection,
        ) as queries:
            answer = client.get(URL, {"page_size": size})
        assert len(answer.data["results"]) == size
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 9, [q["sql"][:200] for q in queries.captured_queries]


def test_patient_reads_only_their_own(clinic: Clinic) -> None:
    mine, other = clinic.join(), clinic.join(patient=clinic.other_patient())
    client = clinic.client("patient")
    assert client.get(f"{URL}/{mine.pk}").data["position"] == 1
    assert client.get(f"{URL}/{other.pk}").status_code == 404
    assert client.get(URL).status_code == 403
    assert clinic.client("none").get(URL).status_code == 401
    assert open_clinic().client("staff").get(f"{URL}/{mine.pk}").status_code == 404


def test_owner_changes_wishes(clinic: Clinic) -> None:
    entry = clinic.join()
    client = clinic.client("patient")
    answer = client.patch(
        f"{URL}/{entry.pk}",
        {"preferred_time": "evening"},
        format="json",
        HTTP_IF_MATCH=f'"{entry.version}"',
    )
    assert answer.status_code == 200, answer.data
    assert answer.data["preferred_time"] == "evening"
    assert answer["ETag"] == f'"{answer.data["version"]}"' != f'"{entry.version}"'
    stale = client.patch(
        f"{URL}/{entry.pk}",
        {"preferred_time": "any"},
        format="json",
        HTTP_IF_MATCH=f'"{entry.version}"',
    )
    assert (stale.status_code, stale.data["code"]) == (412, "stale")


def test_cancel_needs_a_reason_and_happens_once(clinic: Clinic) -> None:
    entry = clinic.join()
    client = clinic.client("patient")
    url = f"{URL}/{entry.pk}"
    answer = client.patch(url, {"status": "cancelled"}, format="json")
    assert (answer.status_code, answer.data["errors"][0]["field"]) == (400, "reason")
    answer = client.patch(url, {"status": "cancelled", "reason": "My knee hurts"}, format="json")
    assert answer.status_code == 400  # a text, which events must not tell
    body = {"status": "cancelled", "reason": "no_longer_needed", "notes": "Got well."}
    answer = client.patch(url, body, format="json")
    assert answer.status_code == 200, answer.data
    assert answer.data["status"] == "cancelled"
    assert answer.data["cancellation_reason"] == "no_longer_needed"
    assert answer.data["position"] is answer.data["priority_score"] is None
    assert clinic.client("staff").get(url).data["cancellation_notes"] == "Got well."
    answer = client.patch(url, body, format="json")
    assert (answer.status_code, answer.data["code"]) == (409, "entry_closed")


@pytest.mark.parametrize("reason", ["nudge_declined", "withdrawn_by_system", "", "x" * 51])
def test_a_reason_is_one_of_the_list(clinic: Clinic, reason: str) -> None:
    entry = clinic.join()
    body = {"status": "cancelled", "reason": reason}
    for role in ("patient", "staff"):
        answer = clinic.client(role).patch(f"{URL}/{entry.pk}", body, format="json")
        assert (answer.status_code, answer.data["errors"][0]["field"]) == (400, "reason")
    entry.refresh_from_db()
    assert entry.status == "waiting"


@pytest.mark.parametrize("reason", [code for code, _ in entries.REASONS])
def test_a_patient_gives_none_of_the_team_s_reasons(clinic: Clinic, reason: str) -> None:
    url = f"{URL}/{clinic.join().pk}"
    body = {"status": "cancelled", "reason": reason}
    answer = clinic.client("patient").patch(url, body, format="json")
    if reason in {"unreachable", "duplicate"}:
        [error] = answer.data["errors"]
        assert (answer.status_code, error["field"], error["code"]) == (400, "reason", "not_allowed")
        answer = clinic.client("staff").patch(url, body, format="json")
    assert (answer.status_code, answer.data["cancellation_reason"]) == (200, reason)


def test_patient_may_not_set_what_staff_set(clinic: Clinic) -> None:
    entry, slot = clinic.join(), clinic.slot()
    client = clinic.client("patient")
    for body in (
        {"urgency": 3},
        {"status": "converted", "slot": str(slot.pk)},
    ):
        answer = client.patch(f"{URL}/{entry.pk}", body, format="json")
        assert answer.status_code == 400
        assert {error["code"] for error in answer.data["errors"]} == {"not_allowed"}


def test_status_is_changed_alone(clinic: Clinic) -> None:
    entry = clinic.join()
    client = clinic.client("staff")
    for body, field in (
        ({"status": "cancelled", "reason": "other", "urgency": 1}, "urgency"),
        ({"status": "converted"}, "slot"),
        ({"reason": "other"}, "reason"),
        ({"status": "converted", "slot": str(clinic.slot().pk), "service": None}, "service"),
    ):
        answer = client.patch(f"{URL}/{entry.pk}", body, format="json")
        assert answer.status_code == 400
        assert [error["field"] for error in answer.data["errors"]] == [field]


def test_staff_converts_by_status(clinic: Clinic) -> None:
    entry, slot = clinic.join(), clinic.slot()
    body = {"status": "converted", "slot": str(slot.pk)}
    url = f"{URL}/{entry.pk}"
    stale = clinic.client("staff").patch(url, body, format="json", HTTP_IF_MATCH='"99"')
    assert stale.status_code == 412
    answer = clinic.client("staff").patch(url, body, format="json")
    assert answer.status_code == 200, answer.data
    assert answer.data["status"] == "converted"
    assert answer.data["appointment"]["slot"] == slot.pk


def test_provider_ends_no_entry_of_another_provider(clinic: Clinic) -> None:
    other = factories.ProviderFactory.create(tenant=clinic.tenant, facilities=[clinic.facility])
    theirs = clinic.join(provider_id=other.pk)
    mine = clinic.join(patient=clinic.other_patient(), provider_id=clinic.provider.pk)
    client = clinic.client("provider")
    body = {"status": "cancelled", "reason": "unreachable"}
    answer = client.patch(f"{URL}/{theirs.pk}", body, format="json")
    assert (answer.status_code, answer.data["code"]) == (403, "not_yours")
    assert client.patch(f"{URL}/{mine.pk}", body, format="json").status_code == 200


def test_patients_entries_active_first(clinic: Clinic) -> None:
    old = clinic.join()
    client = clinic.client("patient")
    client.patch(f"{URL}/{old.pk}", {"status": "cancelled", "reason": "other"}, format="json")
    active = clinic.join()
    hold = invites.invite(
        slot_id=clinic.slot().pk, entry_id=active.pk, actor=SYSTEM, now=clock.now()
    )
    clinic.join(patient=clinic.other_patient())
    for role in ("patient", "staff"):
        answer = clinic.client(role).get(f"/api/v1/patients/{clinic.patient.pk}/waitlists")
        assert [one["id"] for one in answer.data["results"]] == [str(active.pk), str(old.pk)]
        assert answer.data["results"][0]["hold"]["id"] == str(hold.pk)
        assert answer.data["results"][0]["position"] == 1
    other = clinic.other_patient()
    assert client.get(f"/api/v1/patients/{other.pk}/waitlists").status_code == 404
    foreign = open_clinic().client("staff")
    assert foreign.get(f"/api/v1/patients/{clinic.patient.pk}/waitlists").status_code == 404


def test_notes_and_history(clinic: Clinic) -> None:
    entry = clinic.join()
    staff, patient = clinic.client("staff"), clinic.client("patient")
    url = f"{URL}/{entry.pk}"
    answer = staff.post(f"{url}/notes", {"text": "Prefers a call."}, format="json")
    assert answer.status_code == 201, answer.data
    assert answer.data["author"] == clinic.users["staff"].pk
    assert staff.post(f"{url}/notes", {"text": "  "}, format="json").status_code == 400
    assert [one["text"] for one in staff.get(f"{url}/notes").data["results"]] == ["Prefers a call."]
    assert patient.get(f"{url}/notes").status_code == 403
    hold = invites.invite(
        slot_id=clinic.slot().pk, entry_id=entry.pk, actor=SYSTEM, now=clock.now()
    )
    holds.decline(hold_id=hold.pk, actor=SYSTEM, now=clock.now())
    mine = patient.get(f"{url}/history").data["results"]
    assert [fact["kind"] for fact in mine] == [
        "waitlist.joined", "waitlist.hold_offered", "waitlist.hold_declined", "waitlist.requeued",
    ]  # fmt: skip
    assert all(fact["actor"] is None for fact in mine)
    theirs = staff.get(f"{url}/history").data["results"]
    assert [fact["kind"] for fact in theirs][1] == "note"
    assert theirs[1]["text"] == "Prefers a call."
    assert len(theirs) == 5


def test_a_note_is_made_once_for_a_key_that_does_not_keep_what_it_says(clinic: Clinic) -> None:
    url = f"{URL}/{clinic.join().pk}/notes"
    staff = clinic.client("staff")
    key: dict[str, Any] = {"HTTP_IDEMPOTENCY_KEY": "k1"}
    first, again = (staff.post(url, {"text": "Limps."}, format="json", **key) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201), again.data
    assert first.json() == again.json()
    note = EntryNote.objects.get()
    assert IdempotencyKey.objects.get().body == {"id": str(note.pk)}
    assert staff.post(url, {"text": "Runs."}, format="json", **key).status_code == 422
    note.delete()
    gone = staff.post(url, {"text": "Limps."}, format="json", **key)
    assert (gone.status_code, gone.data["code"]) == (404, "not_found")


def test_a_history_comes_in_pages(clinic: Clinic) -> None:
    entry = clinic.join()
    for urgency in (1, 2, 3):
        entries.update(
            entry_id=entry.pk, wishes={"urgency": urgency}, actor=SYSTEM, now=clock.now()
        )
    client, url = clinic.client("patient"), f"{URL}/{entry.pk}/history"
    pages = [client.get(url, {"page": page, "page_size": 3}).data for page in (1, 2, 3)]
    assert [(page["total"], page["page"], len(page["results"])) for page in pages] == [
        (4, 1, 3), (4, 2, 1), (4, 3, 0)
    ]  # fmt: skip
    kinds = [fact["kind"] for page in pages for fact in page["results"]]
    assert kinds == ["waitlist.joined", *["waitlist.updated"] * 3]
    for bad in ({"page": 0}, {"page_size": 101}, {"kind": "waitlist.joined"}):
        assert client.get(url, bad).status_code == 400, bad


def test_still_interested(clinic: Clinic) -> None:
    entry = clinic.join()
    client = clinic.client("patient")
    url = f"{URL}/{entry.pk}/still-interested"
    answer = client.post(url, {"interested": True}, format="json")
    assert answer.status_code == 200, answer.data
    assert answer.data["nudge_answered_at"]
    assert client.post(url, {"interested": "yes"}, format="json").status_code == 400
    answer = client.post(url, {"interested": False}, format="json")
    assert answer.data["status"] == "cancelled"
    assert client.post(url, {"interested": True}, format="json").status_code == 409
    assert clinic.client("staff").post(url, {"interested": True}, format="json").status_code == 403


def test_join_is_done_once_for_a_key(clinic: Clinic) -> None:
    client = clinic.client("patient")
    body = {"facility": str(clinic.facility.pk)}
    first = client.post(URL, body, format="json", HTTP_IDEMPOTENCY_KEY="k1")
    again = client.post(URL, body, format="json", HTTP_IDEMPOTENCY_KEY="k1")
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert again["ETag"] == first["ETag"]
    assert WaitlistEntry.objects.count() == 1


def test_nothing_bookable_says_that_one_may_wait(clinic: Clinic) -> None:
    client = clinic.client("patient")
    asked = {"facility": str(clinic.facility.pk)}
    answer = client.get("/api/v1/slots/", asked)
    assert answer.data["waitlist"] == {"can_join": True, "recent_wait_minutes": None}
    for day, (minutes, served) in enumerate(((60.0, 1), (120.0, 2)), 1):
        DailyMetric.objects.create(
            tenant=clinic.tenant, facility=clinic.facility, queue_depth=0, offers=0, expired=0,
            day=clock.now().date() - timedelta(days=day), avg_wait_minutes=minutes,
            promotions=served, cancelled=0, slots_freed=0, slots_refilled=0,
        )  # fmt: skip
    assert client.get("/api/v1/slots/", asked).data["waitlist"]["recent_wait_minutes"] == 100
    WaitlistPolicy.objects.update(max_queue_size=0)
    assert client.get("/api/v1/slots/", asked).data["waitlist"]["can_join"] is False
    clinic.slot()
    answer = client.get("/api/v1/slots/", asked)
    assert (answer.data["total"], answer.data["waitlist"]) == (1, None)
