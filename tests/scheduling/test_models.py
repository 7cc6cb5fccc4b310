"""What the tables of accounts and scheduling refuse, tried by raw SQL."""

from datetime import date
from typing import Any

import pytest

from tests import factories
from tests.audit import constraints
from tests.audit.refusals import refusal
from tests.waitlist import worlds
from tests.waitlist.worlds import DAY, HOUR, NOW

# Constraint → statements that it refuses. The ids are those of `rows`.
REFUSED: dict[str, list[str]] = {
    "tenant_kind": ["UPDATE accounts_tenant SET kind = 'hotel' WHERE id = %(tenant)s"],
    "user_email": [
        "UPDATE accounts_user SET email = 'ONE@example.com' WHERE id = %(user)s",
    ],
    "membership_once": [
        "INSERT INTO accounts_membership (tenant_id, user_id, role)"
        " VALUES (%(tenant)s, %(member)s, 'staff')"
    ],
    "membership_role": ["UPDATE accounts_membership SET role = 'owner' WHERE user_id = %(member)s"],
    "invitation_role": [
        "INSERT INTO accounts_invitation"
        " (tenant_id, email, role, name, language, patient_id, expires_at)"
        " VALUES (%(tenant)s, 'a@example.com', 'owner', '', 'en', NULL, now())"
    ],
    "invitation_patient": [
        "INSERT INTO accounts_invitation"
        " (tenant_id, email, role, name, language, patient_id, expires_at)"
        " VALUES (%(tenant)s, 'a@example.com', 'staff', '', 'en', uuidv7(), now())"
    ],
    "invitation_profile": [
        "INSERT INTO accounts_invitation"
        " (tenant_id, email, role, name, language, patient_id, expires_at)"
        " VALUES (%(tenant)s, 'a@example.com', 'patient', 'Ada', 'en', NULL, now())"
    ],
    "idempotency_key": [
        "INSERT INTO accounts_idempotencykey"
        " (caller, key, fingerprint, status, headers, created_at)"
        " SELECT 'me', 'once', '', 200, '{}', now() FROM generate_series(1, 2)"
    ],
    "facility_slug": ["UPDATE scheduling_facility SET slug = 'other' WHERE id = %(facility)s"],
    "facility_kind": ["UPDATE scheduling_facility SET kind = 'hotel' WHERE id = %(facility)s"],
    "provider_facility_once": [
        "INSERT INTO scheduling_providerfacility (tenant_id, provider_id, facility_id)"
        " VALUES (%(tenant)s, %(provider)s, %(facility)s)"
    ],
    "service_name": ["UPDATE scheduling_service SET name = 'other' WHERE id = %(service)s"],
    "service_duration": [
        "UPDATE scheduling_service SET duration = '0' WHERE id = %(service)s",
        "UPDATE scheduling_service SET duration = '-1 minute' WHERE id = %(service)s",
    ],
    "service_price": [
        "UPDATE scheduling_service SET price = 1 WHERE id = %(service)s",
        "UPDATE scheduling_service SET currency = 'EUR' WHERE id = %(service)s",
        "UPDATE scheduling_service SET price = -1, currency = 'EUR' WHERE id = %(service)s",
        "UPDATE scheduling_service SET price = 1, currency = 'eur' WHERE id = %(service)s",
    ],
    "patient_external_ref": [
        "UPDATE scheduling_patient SET external_ref = 'A1' WHERE id = %(patient)s"
    ],
    # The world's other patient has it, too.
    "patient_user": [
        "UPDATE scheduling_patient SET user_id = %(user)s WHERE tenant_id = %(tenant)s",
    ],
    "patient_tier": [
        "UPDATE scheduling_patient SET tier = 4 WHERE id = %(patient)s",
    ],
    "rule_weekday": [
        "UPDATE scheduling_availabilityrule SET weekday = 0 WHERE id = %(rule)s",
        "UPDATE scheduling_availabilityrule SET weekday = 8 WHERE id = %(rule)s",
    ],
    "rule_minutes": [
        "UPDATE scheduling_availabilityrule SET slot_minutes = 0 WHERE id = %(rule)s",
        "UPDATE scheduling_availabilityrule SET slot_minutes = 1441 WHERE id = %(rule)s",
        "UPDATE scheduling_availabilityrule SET buffer_minutes = 1441 WHERE id = %(rule)s",
    ],
    "rule_validity": [
        "UPDATE scheduling_availabilityrule"
        " SET valid_from = '2030-01-02', valid_until = '2030-01-01' WHERE id = %(rule)s",
    ],
    "exception_hours": [
        "UPDATE scheduling_availabilityexception SET start_time = '09:00' WHERE id = %(closed)s",
        "UPDATE scheduling_availabilityexception SET end_time = '09:00' WHERE id = %(closed)s",
        "UPDATE scheduling_availabilityexception SET kind = 'special_hours' WHERE id = %(closed)s",
        "UPDATE scheduling_availabilityexception SET kind = 'special_hours', start_time = '09:00'"
        " WHERE id = %(closed)s",
        "UPDATE scheduling_availabilityexception SET kind = 'party' WHERE id = %(closed)s",
    ],
    "exception_once": [
        "INSERT INTO scheduling_availabilityexception (tenant_id, facility_id, date, kind)"
        " VALUES (%(tenant)s, %(facility)s, '2030-03-05', 'closed')"
    ],
    "timeblock_period": [
        "UPDATE scheduling_timeblock SET period = 'empty' WHERE id = %(block)s",
        "UPDATE scheduling_timeblock SET period = '[2030-01-01,)' WHERE id = %(block)s",
    ],
    "slot_once": [
        # Nulls are equal: two slots without a service are two of the same.
        "UPDATE scheduling_slot SET service_id = NULL WHERE id IN (%(slot)s, %(twin)s)",
    ],
    "slot_provider_claimed_once": [
        "UPDATE scheduling_slot SET status = 'booked' WHERE id IN (%(slot)s, %(overlapping)s)",
        "UPDATE scheduling_slot SET status = 'held' WHERE id IN (%(slot)s, %(overlapping)s)",
        "UPDATE scheduling_slot SET status = 'reserved', reserved_until = now()"
        " WHERE id IN (%(slot)s, %(overlapping)s)",
        "UPDATE scheduling_slot SET status = CASE id WHEN %(slot)s THEN 'held' ELSE 'booked' END"
        " WHERE id IN (%(slot)s, %(overlapping)s)",
        "UPDATE scheduling_slot SET status = 'held' WHERE id IN (%(slot)s, %(elsewhere)s)",
        "UPDATE scheduling_slot SET status = 'held' WHERE id IN (%(slot)s, %(twin)s)",
    ],
    "slot_period": [
        "UPDATE scheduling_slot SET period = 'empty' WHERE id = %(slot)s",
        "UPDATE scheduling_slot SET period = '[2030-01-01,)' WHERE id = %(slot)s",
        "UPDATE scheduling_slot SET period = '(,2030-01-01)' WHERE id = %(slot)s",
        "UPDATE scheduling_slot SET period = '[2030-01-01,infinity)' WHERE id = %(slot)s",
        "UPDATE scheduling_slot SET period = '[-infinity,2030-01-01)' WHERE id = %(slot)s",
        "UPDATE scheduling_slot SET period = '[2030-01-01,2030-01-02]' WHERE id = %(slot)s",
        "UPDATE scheduling_slot SET period = '(2030-01-01,2030-01-02)' WHERE id = %(slot)s",
    ],
    "slot_reserved": [
        "UPDATE scheduling_slot SET status = 'reserved' WHERE id = %(slot)s",
        "UPDATE scheduling_slot SET reserved_until = now() WHERE id = %(slot)s",
        "UPDATE scheduling_slot SET reserved_by_id = %(patient)s WHERE id = %(slot)s",
        "UPDATE scheduling_slot SET status = 'booked', reserved_by_id = %(patient)s"
        " WHERE id = %(slot)s",
    ],
    "slot_superseded": [
        "UPDATE scheduling_slot SET superseded = true WHERE id = %(slot)s",
        "UPDATE scheduling_slot SET superseded = true, status = 'retired' WHERE id = %(slot)s",
        "UPDATE scheduling_slot SET superseded = true, status = 'blocked' WHERE id = %(slot)s",
    ],
    "appointment_slot": [
        "UPDATE scheduling_appointment SET slot_id = %(booked)s WHERE id = %(other_appointment)s",
    ],
    "appointment_patient_booked_once": [
        "UPDATE scheduling_appointment SET patient_id = %(patient)s"
        " WHERE id = %(other_appointment)s",
    ],
    "appointment_period": [
        "UPDATE scheduling_appointment SET period = 'empty' WHERE id = %(appointment)s",
        "UPDATE scheduling_appointment SET period = '(,)' WHERE id = %(appointment)s",
    ],
    "appointment_cancelled": [
        "UPDATE scheduling_appointment SET status = 'cancelled' WHERE id = %(appointment)s",
        "UPDATE scheduling_appointment SET cancelled_at = now() WHERE id = %(appointment)s",
        "UPDATE scheduling_appointment SET cancellation_reason = 'x' WHERE id = %(appointment)s",
        "UPDATE scheduling_appointment SET status = 'completed', cancelled_at = now()"
        " WHERE id = %(appointment)s",
    ],
    "appointment_source": [
        "UPDATE scheduling_appointment SET source = 'phone' WHERE id = %(appointment)s",
    ],
}

ACCEPTED = [
    # Open slots may overlap, and a claim may begin when another ends.
    "UPDATE scheduling_slot SET status = 'held' WHERE id IN (%(slot)s, %(next)s)",
    # Another provider may be claimed at the same time.
    "UPDATE scheduling_slot SET status = 'held' WHERE id IN (%(slot)s, %(colleague)s)",
    # A claim may be superseded; so may what is claimed in another way next.
    "UPDATE scheduling_slot SET status = 'held', superseded = true WHERE id = %(slot)s",
    "UPDATE scheduling_appointment SET status = 'cancelled', cancelled_at = now()"
    " WHERE id = %(appointment)s",
    # Once one of two is cancelled, the patient may be booked in its time.
    "UPDATE scheduling_appointment SET status = 'cancelled', cancelled_at = now(),"
    " patient_id = %(patient)s WHERE id = %(other_appointment)s",
    "UPDATE scheduling_service SET price = 0, currency = 'EUR' WHERE id = %(service)s",
    "UPDATE scheduling_patient SET external_ref = '' WHERE tenant_id = %(tenant)s",
    "UPDATE scheduling_availabilityrule SET valid_from = '2030-01-01', valid_until = '2030-01-01'"
    " WHERE id = %(rule)s",
    "UPDATE scheduling_availabilityexception SET kind = 'emergency' WHERE id = %(closed)s",
    "UPDATE scheduling_availabilityexception"
    " SET kind = 'special_hours', start_time = '22:00', end_time = '02:00' WHERE id = %(closed)s",
]


@pytest.fixture
def rows(db: None) -> dict[str, Any]:
    """One row of each kind, and those it may clash with."""
    world = worlds.build()
    tenant, facility = world.tenant, world.facility
    neighbour = world.neighbour(slug="other")
    patient = world.patient()
    world.patient(external_ref="A1")
    factories.UserFactory.create(email="one@example.com")
    factories.ServiceFactory.create(tenant=tenant, name="other")
    at = NOW + DAY
    colleague = factories.ProviderFactory.create(tenant=tenant, facilities=[facility])
    appointment = world.book(slot=world.slot(at=NOW + 5 * DAY), patient=patient)
    colleagues = world.slot(at=NOW + 5 * DAY, provider=colleague)
    return {
        "tenant": tenant.pk,
        "facility": facility.pk,
        "provider": world.provider.pk,
        "service": world.service.pk,
        "patient": patient.pk,
        "user": factories.UserFactory.create().pk,
        "member": factories.MembershipFactory.create(tenant=tenant).user_id,
        "rule": factories.AvailabilityRuleFactory.create(facility=facility).pk,
        "closed": factories.AvailabilityExceptionFactory.create(
            facility=facility, date=date(2030, 3, 5)
        ).pk,
        "block": factories.TimeBlockFactory.create(facility=facility).pk,
        "slot": world.slot(at=at, minutes=60).pk,
        "twin": world.slot(
            at=at, minutes=60, service=factories.ServiceFactory.create(tenant=tenant)
        ).pk,
        "overlapping": world.slot(at=at + HOUR / 2).pk,
        "next": world.slot(at=at + HOUR).pk,
        "elsewhere": neighbour.slot(at=at, provider=world.provider).pk,
        "colleague": world.slot(at=at, provider=colleague).pk,
        "booked": appointment.slot_id,
        "appointment": appointment.pk,
        "other_appointment": world.book(slot=colleagues).pk,
    }


def test_each_constraint_refuses_what_breaks_it(rows: dict[str, Any]) -> None:
    expected = {statement: name for name, statements in REFUSED.items() for statement in statements}
    assert {statement: refusal(statement, rows) for statement in expected} == expected


def test_what_is_next_to_it_is_accepted(rows: dict[str, Any]) -> None:
    tried = {statement: refusal(statement, rows) for statement in ACCEPTED}
    assert tried == dict.fromkeys(ACCEPTED)


def test_no_constraint_is_left_out_here() -> None:
    assert constraints.names("accounts", "scheduling") == set(REFUSED)


def test_what_others_refer_to_cannot_be_deleted(rows: dict[str, Any]) -> None:
    tried = {
        table: refusal(f"DELETE FROM {table} WHERE id = %(id)s", {"id": rows[row]})  # noqa: S608
        for table, row in (
            ("scheduling_slot", "booked"),
            ("scheduling_patient", "patient"),
            ("scheduling_provider", "provider"),
            ("scheduling_facility", "facility"),
            ("accounts_tenant", "tenant"),
        )
    }
    assert {table: refused and "_fk_" in refused for table, refused in tried.items()} == (
        dict.fromkeys(tried, True)
    )
