"""The policy of a facility over HTTP."""

from typing import Any

import pytest

from accounts.roles import Role
from tests import venues
from tests.api import log_in
from tests.clinics import Clinic, open_clinic
from waitlist.models import WaitlistPolicy


def url(clinic: Clinic) -> str:
    """Return the address of a clinic's policy."""
    return f"/api/v1/facilities/{clinic.facility.pk}/waitlist-policy"


def test_policy_is_read_by_the_team_and_written_by_admins(clinic: Clinic) -> None:
    for role, status in (("admin", 200), ("staff", 200), ("provider", 200), ("patient", 403),
                         ("none", 401)):  # fmt: skip
        answer = clinic.client(role).get(url(clinic))
        assert answer.status_code == status
    policy = clinic.client("admin").get(url(clinic))
    assert policy.data["match_weights"] == {
        "provider": 40, "location": 30, "service": 20, "days": 10,
    }  # fmt: skip
    assert policy.data["hold_window"] == "P1DT00H00M00S"
    assert policy.data["quiet_hours"] is None
    for role, status in (("admin", 200), ("staff", 403), ("provider", 403)):
        answer = clinic.client(role).put(url(clinic), policy.json(), format="json")
        assert answer.status_code == status, answer.data
    assert open_clinic().client("admin").get(url(clinic)).status_code == 404


def test_policy_under_the_tenant(clinic: Clinic) -> None:
    other = open_clinic()
    path = f"/api/v1/tenants/{clinic.tenant.pk}/clinics/{clinic.facility.pk}/waitlist-policy"
    assert clinic.client("admin").get(path).data == clinic.client("admin").get(url(clinic)).data
    assert other.client("admin").get(path).status_code == 403
    mixed = f"/api/v1/tenants/{other.tenant.pk}/clinics/{clinic.facility.pk}/waitlist-policy"
    assert other.client("admin").get(mixed).status_code == 404


def test_new_weights_put_the_queue_in_a_new_order(clinic: Clinic) -> None:
    first = clinic.join()
    chronic = clinic.join(patient=clinic.other_patient(chronic_condition=True))
    client = clinic.client("admin")

    def queue() -> list[str]:
        return [one["id"] for one in client.get("/api/v1/waitlists").data["results"]]

    assert queue() == [str(chronic.pk), str(first.pk)]
    policy = client.get(url(clinic))
    body = policy.json()
    body["priority_weights"]["chronic"] = 0
    answer = client.put(url(clinic), body, format="json", HTTP_IF_MATCH=policy["ETag"])
    assert answer.status_code == 200, answer.data
    assert answer.data["priority_weights"]["chronic"] == 0
    assert queue() == [str(first.pk), str(chronic.pk)]
    stale = client.put(url(clinic), body, format="json", HTTP_IF_MATCH=policy["ETag"])
    assert (stale.status_code, stale.data["code"]) == (412, "stale")


def test_quiet_hours_and_durations_are_replaced(clinic: Clinic) -> None:
    client = clinic.client("admin")
    body = client.get(url(clinic)).json()
    body |= {
        "hold_window": "PT90M",
        "reminder_lead": None,
        "quiet_hours": {"from": "22:00", "until": "07:30"},
        "max_queue_size": 10,
    }
    answer = client.put(url(clinic), body, format="json")
    assert answer.status_code == 200, answer.data
    assert answer.data["hold_window"] == "P0DT01H30M00S"
    assert answer.data["quiet_hours"] == {"from": "22:00:00", "until": "07:30:00"}
    assert WaitlistPolicy.objects.get().max_queue_size == 10


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"match_weights": {"provider": 50, "location": 30, "service": 20, "days": 10}},
         "match_weights.provider"),
        ({"match_weights": {"provider": 40, "location": 30, "service": 20}}, "match_weights.days"),
        ({"priority_weights": {"wait_per_day": -1, "membership": 2, "chronic": 3,
                               "short_window": 1, "urgency": 5}}, "priority_weights.wait_per_day"),
        ({"hold_window": "P0D"}, "hold_window"),
        ({"hold_window": 5}, "hold_window"),
        ({"entry_ttl": "P99999D"}, "entry_ttl"),
        ({"reminder_lead": "PT23H"}, "reminder_lead"),
        ({"nudge_after": None}, "nudge_after"),
        ({"quiet_hours": {"from": "22:00", "until": "22:00"}}, "quiet_hours.until"),
        ({"ordering": "random"}, "ordering"),
        ({"min_match_score": 101}, "min_match_score"),
        ({"autoExpiryHours": 4}, "autoExpiryHours"),
        ({"max_queue_size": 3_000_000_000}, "max_queue_size"),
    ],
)  # fmt: skip
def test_bad_values_are_named(clinic: Clinic, change: dict[str, Any], field: str) -> None:
    client = clinic.client("admin")
    body = client.get(url(clinic)).json() | change
    answer = client.put(url(clinic), body, format="json")
    assert answer.status_code == 400, answer.data
    assert field in [error["field"] for error in answer.data["errors"]]


def test_put_replaces_all(clinic: Clinic) -> None:
    client = clinic.client("admin")
    body = client.get(url(clinic)).json()
    del body["grace"]
    answer = client.put(url(clinic), body, format="json")
    assert (answer.status_code, answer.data["errors"][0]["field"]) == (400, "grace")


def test_what_is_the_same_at_every_venue_is_refused_by_its_name(clinic: Clinic) -> None:
    place = venues.open_venue()
    owner = log_in(tenant=place.tenant, role=Role.ADMIN)
    path = f"/api/v1/facilities/{place.pk}/waitlist-policy"
    body = owner.get(path).json()
    assert owner.put(path, body, format="json").status_code == 200
    other = body | {"breaker_threshold": 1, "hold_window": "P3D"}
    other["priority_weights"] = body["priority_weights"] | {"urgency": 1}
    answer = owner.put(path, other, format="json")
    assert answer.status_code == 400
    assert {one["field"] for one in answer.data["errors"]} == {
        "breaker_threshold", "hold_window", "priority_weights.urgency"
    }  # fmt: skip
    allowed = body | {"auto_invite": False}
    assert owner.put(path, allowed, format="json").data["auto_invite"] is False
