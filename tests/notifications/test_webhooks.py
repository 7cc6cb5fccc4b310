"""Webhooks: what endpoints are told, signed, until it is taken or given up."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.core.exceptions import ValidationError
from pytest_django import Settings
from standardwebhooks import Webhook, WebhookVerificationError

from accounts.models import Tenant
from audit import clock, events, locks
from audit.errors import NotFound
from audit.events import SYSTEM
from audit.models import Event
from notifications import relay, tasks, templates, webhook_deliveries, webhooks
from notifications.models import Message, WebhookDelivery, WebhookEndpoint
from notifications.outbound import Answer
from notifications.webhook_deliveries import NotFailed
from tests import factories
from tests.audit import broker, elsewhere
from tests.notifications import receivers
from tests.notifications.receivers import Receiver
from tests.notifications.told import messages, relayed
from tests.waitlist import asking
from tests.waitlist.worlds import DAY, HOUR, MINUTE, NOW, SECOND, STAFF, World
from waitlist import entries
from waitlist.models import WaitlistEntry

pytestmark = pytest.mark.django_db

KINDS = ["waitlist.joined", "waitlist.hold_offered"]
TAKEN = Answer(204, "")
DOWN = Answer(503, "refused")


@pytest.fixture(autouse=True)
def _near(settings: Settings) -> None:
    """Let webhooks go to this machine."""
    settings.WEBHOOKS_ALLOW_HTTP = settings.WEBHOOKS_ALLOW_PRIVATE = True


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receivers.opened() as opened:
        yield opened


def add(tenant: Tenant, url: str, kinds: list[str] = KINDS) -> tuple[WebhookEndpoint, str]:
    return webhooks.add(tenant_id=tenant.pk, url=url, kinds=kinds)


def send(endpoint: WebhookEndpoint) -> dict[str, int]:
    """Do what the task does."""
    return tasks.send_webhooks(str(endpoint.pk))


def statuses(endpoint: WebhookEndpoint) -> list[str]:
    return list(endpoint.deliveries.order_by("seq").values_list("status", flat=True))


def join(clinic: World, people: int = 1) -> list[str]:
    """Let people join at this very moment; return the ids of the events, in order."""
    for _ in range(people):
        entries.join(
            facility_id=clinic.facility.pk, patient_id=clinic.patient().pk, actor=STAFF,
            now=clock.now(),
        )  # fmt: skip
    relay.relay(limit=1000, now=clock.now())
    found = Event.objects.filter(kind="waitlist.joined").order_by("pk")
    return [str(id) for id in found.values_list("pk", flat=True)]


# The relay


def test_the_relay_writes_what_the_tenants_active_endpoints_chose(clinic: World) -> None:
    chosen, _ = add(clinic.tenant, "https://a.example/")
    other, _ = add(clinic.tenant, "https://b.example/", ["waitlist.cancelled"])
    off, _ = add(clinic.tenant, "https://c.example/")
    webhooks.change(tenant_id=clinic.tenant.pk, endpoint_id=off.pk, changes={"is_active": False})
    foreign, _ = add(factories.TenantFactory.create(), "https://d.example/")
    entry = clinic.join()
    clinic.offer(entry=entry)
    sends = relayed().sends
    assert ("notifications.tasks.send_webhooks", str(chosen.pk)) in sends
    kinds = chosen.deliveries.order_by("seq").values_list("kind", flat=True)
    assert list(kinds) == ["waitlist.joined", "waitlist.hold_offered"]
    for endpoint in (other, off, foreign):
        assert not endpoint.deliveries.exists()
        assert ("notifications.tasks.send_webhooks", str(endpoint.pk)) not in sends


def test_what_is_relayed_again_is_not_written_again(clinic: World) -> None:
    endpoint, _ = add(clinic.tenant, "https://a.example/")
    clinic.join()
    relayed()
    assert relayed().sends == frozenset()
    assert endpoint.deliveries.count() == 1


# Sending


def test_a_delivery_is_signed_as_the_standard_says_and_tells_ids_alone(
    clinic: World, receiver: Receiver
) -> None:
    endpoint, secret = add(clinic.tenant, receiver.url)
    [event_id] = join(clinic)
    assert send(endpoint) == {"delivered": 1, "failed": 0}
    [request] = receiver.requests
    body = Webhook(secret).verify(request.body, request.headers)
    event = Event.objects.get(pk=event_id)
    entry = WaitlistEntry.objects.get()
    assert request.path == "/hooks?from=backfill"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["webhook-id"] == event_id
    delivery = endpoint.deliveries.get()
    assert body == {
        "event_type": "waitlist.joined",
        "seq": delivery.seq,
        "tenant_id": str(clinic.tenant.pk),
        "waitlist_entry_id": str(entry.pk),
        "hold_id": None,
        "slot_id": None,
        "facility_id": str(clinic.facility.pk),
        "provider_id": None,
        "patient_id": str(entry.patient_id),
        "venue_id": None,
        "organization_id": None,
        "source_rfp_id": None,
        "previous_status": None,
        "new_status": "waiting",
        "metadata": {"queue_position": 1, "queue_depth": 1, "hold_expires_at": None},
        "timestamp": event.at.isoformat().replace("+00:00", "Z"),
    }
    assert (delivery.status, delivery.attempts, delivery.response_status) == ("delivered", 1, 204)
    with pytest.raises(WebhookVerificationError):
        Webhook(webhooks.new_secret()).verify(request.body, request.headers)


def test_what_fails_is_sent_again_with_the_same_id(clinic: World, receiver: Receiver) -> None:
    endpoint, _ = add(clinic.tenant, receiver.url)
    [event_id] = join(clinic)
    receiver.statuses = [500]
    assert send(endpoint) == {"delivered": 0, "failed": 1}
    assert send(endpoint) == {"delivered": 0, "failed": 0}  # it rests
    delivery = endpoint.deliveries.get()
    assert (delivery.status, delivery.response_status, delivery.reason) == (
        "pending", 500, "refused",
    )  # fmt: skip
    webhook_deliveries.retry(tenant_id=clinic.tenant.pk, delivery_id=delivery.pk, now=clock.now())
    assert webhooks.due(now=clock.now()) == [endpoint.pk]  # for the sweep
    assert send(endpoint) == {"delivered": 1, "failed": 0}
    assert receiver.ids == [event_id, event_id]
    endpoint.refresh_from_db()
    assert (endpoint.failing_since, endpoint.rests_until, endpoint.claimed_until) == (None,) * 3


def test_deliveries_are_attempted_in_the_order_of_events_and_stop_at_a_failure(
    clinic: World, receiver: Receiver
) -> None:
    endpoint, _ = add(clinic.tenant, receiver.url)
    ids = join(clinic, people=4)
    receiver.statuses = [200, 500]
    assert send(endpoint) == {"delivered": 1, "failed": 1}
    assert receiver.ids == ids[:2]
    assert statuses(endpoint) == ["delivered", "pending", "pending", "pending"]
    WebhookEndpoint.objects.update(rests_until=None)
    # What failed waits for its own time; it keeps nothing else.
    assert send(endpoint) == {"delivered": 2, "failed": 0}
    assert receiver.ids[2:] == ids[2:]


def test_an_endpoint_has_one_sender_and_one_that_is_lost_is_followed(clinic: World) -> None:
    endpoint, _ = add(clinic.tenant, "https://a.example/")
    claimed = webhooks.claim(endpoint_id=endpoint.pk, now=NOW)
    assert claimed is not None
    assert webhooks.claim(endpoint_id=endpoint.pk, now=NOW + SECOND) is None
    later = NOW + webhooks.LEASE
    follower = webhooks.claim(endpoint_id=endpoint.pk, now=later)
    assert follower is not None
    webhooks.release(endpoint=claimed)  # the one thought lost has nothing to give back
    assert webhooks.claim(endpoint_id=endpoint.pk, now=later) is None
    webhooks.release(endpoint=follower)
    assert webhooks.claim(endpoint_id=endpoint.pk, now=later) is not None


def test_an_answer_that_comes_late_is_not_heard(clinic: World) -> None:
    endpoint, _ = add(clinic.tenant, "https://a.example/")
    clinic.join()
    relayed()
    delivery = endpoint.deliveries.get()
    webhook_deliveries.note_answer(delivery=delivery, answer=TAKEN, now=NOW)
    webhook_deliveries.note_answer(delivery=delivery, answer=DOWN, now=NOW + MINUTE)
    delivery.refresh_from_db()
    assert (delivery.status, delivery.attempts, delivery.delivered_at) == ("delivered", 1, NOW)


@pytest.mark.django_db(transaction=True)
def test_what_is_left_after_a_turn_is_sent_for_and_the_sweep_finds_what_is_due(
    clinic: World, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint, _ = add(clinic.tenant, receiver.url)
    broker.empty()
    join(clinic)
    sent = ("notifications", "notifications.tasks.send_webhooks", [str(endpoint.pk)])
    tasks.retry_deliveries()
    assert sent in broker.messages()
    broker.empty()
    monkeypatch.setattr(tasks, "TURN", 0)
    assert send(endpoint) == {"delivered": 0, "failed": 0}
    assert sent in broker.messages()
    webhooks.note_failure(endpoint_id=endpoint.pk, answer=DOWN, now=clock.now())
    broker.empty()
    tasks.retry_deliveries()
    assert sent not in broker.messages()
    broker.empty()


# Giving up


def test_pauses_grow_until_a_day_is_over_and_then_the_endpoint_is_disabled(clinic: World) -> None:
    endpoint, _ = add(clinic.tenant, "https://a.example/")
    clinic.join()
    clinic.join()
    relayed()
    now, pauses = NOW, list[timedelta]()
    while True:
        delivery = webhook_deliveries.next_due(endpoint_id=endpoint.pk, now=now)
        assert delivery is not None
        webhook_deliveries.note_answer(delivery=delivery, answer=DOWN, now=now)
        endpoint.refresh_from_db()
        if not endpoint.is_active:
            break
        assert endpoint.rests_until is not None
        assert webhooks.due(now=endpoint.rests_until - SECOND) == []
        pauses.append(endpoint.rests_until - now)
        now = endpoint.rests_until
    assert now == NOW + DAY
    assert 15 * SECOND <= pauses[0] <= 30 * SECOND
    assert max(pauses) <= 3 * HOUR
    assert 10 <= len(pauses) <= 60
    assert (endpoint.disabled_at, endpoint.disabled_reason) == (now, "failing")
    assert statuses(endpoint) == ["failed", "failed"]
    assert webhooks.due(now=now + DAY) == []
    event = Event.objects.get(kind="webhook.disabled")
    assert (event.tenant_id, event.subject_id, event.data) == (
        clinic.tenant.pk, endpoint.pk, {"reason": "failing"},
    )  # fmt: skip
    on = webhooks.change(
        tenant_id=clinic.tenant.pk, endpoint_id=endpoint.pk, changes={"is_active": True}
    )
    assert (on.disabled_at, on.disabled_reason, on.failing_since) == (None, "", None)


def test_admins_are_told_of_an_endpoint_that_is_disabled(clinic: World) -> None:
    admin = factories.MembershipFactory.create(tenant=clinic.tenant, role="admin").user
    factories.MembershipFactory.create(tenant=clinic.tenant, role="staff")
    factories.MembershipFactory.create(role="admin")
    endpoint, _ = add(clinic.tenant, "https://a.example/")
    gone = Answer(webhooks.GONE, "refused")
    assert webhooks.note_failure(endpoint_id=endpoint.pk, answer=gone, now=NOW)
    relayed()
    assert messages(to=admin) == {"webhook.disabled": {"in_app delivered", "email queued"}}
    assert Message.objects.count() == 2
    said = templates.render(message=Message.objects.get(channel="email"), now=NOW)
    assert said.subject == f"{clinic.tenant.name}: a webhook was switched off"


def test_one_event_that_is_never_taken_fails_alone(clinic: World) -> None:
    endpoint, _ = add(clinic.tenant, "https://a.example/")
    clinic.join()
    relayed()
    delivery = endpoint.deliveries.get()
    webhook_deliveries.note_answer(delivery=delivery, answer=DOWN, now=NOW)
    webhooks.note_success(endpoint_id=endpoint.pk)
    delivery.refresh_from_db()
    webhook_deliveries.note_answer(delivery=delivery, answer=DOWN, now=NOW + DAY)
    endpoint.refresh_from_db()
    assert endpoint.is_active
    assert statuses(endpoint) == ["failed"]


def test_a_receiver_that_is_gone_is_believed(clinic: World, receiver: Receiver) -> None:
    endpoint, _ = add(clinic.tenant, receiver.url)
    join(clinic)
    receiver.status = webhooks.GONE
    assert send(endpoint) == {"delivered": 0, "failed": 1}
    endpoint.refresh_from_db()
    assert (endpoint.is_active, endpoint.disabled_reason) == (False, "gone")


def test_a_dead_endpoint_delays_no_other(clinic: World, receiver: Receiver) -> None:
    dead, _ = add(clinic.tenant, "http://127.0.0.1:1/")
    alive, _ = add(clinic.tenant, receiver.url)
    ids = join(clinic, people=3)
    assert send(dead) == {"delivered": 0, "failed": 1}
    assert send(alive) == {"delivered": 3, "failed": 0}
    assert receiver.ids == ids


# Staff


def test_staff_retry_and_dismiss_what_failed(clinic: World) -> None:
    endpoint, _ = add(clinic.tenant, "https://a.example/")
    clinic.join()
    relayed()
    delivery = endpoint.deliveries.get()
    known = {"tenant_id": clinic.tenant.pk, "delivery_id": delivery.pk}
    with pytest.raises(NotFailed):
        webhook_deliveries.dismiss(**known)
    gone = Answer(webhooks.GONE, "refused")
    webhook_deliveries.note_answer(delivery=delivery, answer=gone, now=NOW)
    assert webhook_deliveries.retry(**known, now=NOW).status == "pending"
    delivery.refresh_from_db()
    webhook_deliveries.note_answer(delivery=delivery, answer=DOWN, now=NOW)
    delivery.refresh_from_db()
    webhook_deliveries.note_answer(delivery=delivery, answer=DOWN, now=NOW + DAY)
    assert webhook_deliveries.dismiss(**known).status == "dismissed"
    for function in (
        webhook_deliveries.dismiss,
        lambda **k: webhook_deliveries.retry(**k, now=NOW),
    ):
        with pytest.raises(NotFailed):
            function(**known)


def test_a_retry_wakes_its_own_endpoint_alone_and_none_that_is_off(clinic: World) -> None:
    mine, _ = (add(clinic.tenant, f"https://{name}.example/")[0] for name in "ab")
    clinic.join()
    relayed()
    for delivery in WebhookDelivery.objects.all():
        webhook_deliveries.note_answer(delivery=delivery, answer=DOWN, now=NOW)
    delivery = mine.deliveries.get()
    assert webhooks.due(now=NOW) == []
    stranger = factories.TenantFactory.create()
    with pytest.raises(NotFound):
        webhook_deliveries.retry(tenant_id=stranger.pk, delivery_id=delivery.pk, now=NOW)
    assert webhooks.due(now=NOW) == []
    webhook_deliveries.retry(tenant_id=clinic.tenant.pk, delivery_id=delivery.pk, now=NOW)
    assert webhooks.due(now=NOW) == [mine.pk]
    mine.refresh_from_db()
    assert mine.failing_since == NOW  # a retry is no success
    webhooks.change(tenant_id=clinic.tenant.pk, endpoint_id=mine.pk, changes={"is_active": False})
    webhook_deliveries.retry(tenant_id=clinic.tenant.pk, delivery_id=delivery.pk, now=NOW)
    assert webhooks.due(now=NOW) == []


@pytest.mark.parametrize(
    ("url", "kinds", "fields"),
    [
        ("ftp://a.example/", KINDS, {"url"}),
        ("https://a.example/", [], {"kinds"}),
        ("https://a.example/", ["waitlist.joined"] * 2, {"kinds"}),
        ("", ["nothing.known"], {"url", "kinds"}),
    ],
)
def test_an_endpoint_that_will_not_do_is_refused(
    clinic: World, url: str, kinds: list[str], fields: set[str]
) -> None:
    with pytest.raises(ValidationError) as refused:
        add(clinic.tenant, url, kinds)
    assert set(refused.value.message_dict) == fields


def test_a_secret_is_kept_encrypted_and_an_old_one_signs_for_a_day(
    clinic: World, receiver: Receiver
) -> None:
    endpoint, first = add(clinic.tenant, receiver.url)
    assert first not in endpoint.secret
    now = clock.now()
    endpoint, second = webhooks.rotate(tenant_id=clinic.tenant.pk, endpoint_id=endpoint.pk, now=now)
    assert second not in endpoint.secret
    webhooks.probe(endpoint=endpoint, message_id="msg_1", now=now)
    [request] = receiver.requests
    for secret in (first, second):
        assert Webhook(secret).verify(request.body, request.headers)["seq"] == 0
    endpoint.old_secret_until = now
    webhooks.probe(endpoint=endpoint, message_id="msg_2", now=now)
    request = receiver.requests[-1]
    Webhook(second).verify(request.body, request.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(first).verify(request.body, request.headers)


def test_a_new_secret_key_reads_what_the_old_one_encrypted(
    clinic: World, receiver: Receiver, settings: Settings
) -> None:
    endpoint, secret = add(clinic.tenant, receiver.url)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another"
    assert webhooks.probe(endpoint=endpoint, message_id="msg_1", now=clock.now()).is_taken
    Webhook(secret).verify(receiver.requests[0].body, receiver.requests[0].headers)
    settings.SECRET_KEY_FALLBACKS = []
    answer = webhooks.probe(endpoint=endpoint, message_id="msg_2", now=clock.now())
    assert answer == Answer(None, "secret_unreadable")


def test_a_test_that_is_taken_ends_the_rest(clinic: World, receiver: Receiver) -> None:
    endpoint, _ = add(clinic.tenant, receiver.url)
    webhooks.note_failure(endpoint_id=endpoint.pk, answer=DOWN, now=NOW)
    receiver.statuses = [500]
    assert not webhooks.probe(endpoint=endpoint, message_id="msg_1", now=NOW).is_taken
    endpoint.refresh_from_db()
    assert (endpoint.failing_since, endpoint.is_active) == (NOW, True)
    assert webhooks.probe(endpoint=endpoint, message_id="msg_2", now=NOW).is_taken
    assert not WebhookEndpoint.objects.exclude(failing_since=None, rests_until=None).exists()
    assert json.loads(receiver.requests[0].body)["event_type"] == "webhook.test"


def test_what_a_sender_notes_is_no_new_version(clinic: World) -> None:
    endpoint, _ = add(clinic.tenant, "https://a.example/")
    webhooks.claim(endpoint_id=endpoint.pk, now=NOW)
    webhooks.note_failure(endpoint_id=endpoint.pk, answer=DOWN, now=NOW)
    endpoint.refresh_from_db()
    assert endpoint.version == 1
    changes: dict[str, Any] = {"kinds": ["waitlist.joined"]}
    known: dict[str, UUID] = {"tenant_id": clinic.tenant.pk, "endpoint_id": endpoint.pk}
    assert webhooks.change(**known, changes=changes, version=1).version == 2


@pytest.mark.django_db(transaction=True)
def test_an_endpoint_is_removed_with_its_deliveries_and_under_no_relay(clinic: World) -> None:
    endpoint, _ = add(clinic.tenant, "https://a.example/")
    clinic.join()
    relayed()
    with elsewhere.locked(locks.RELAY):
        assert relay.relay(limit=1, now=NOW).events == 0
    webhooks.remove(tenant_id=clinic.tenant.pk, endpoint_id=endpoint.pk)
    assert not WebhookEndpoint.objects.exists()
    assert not WebhookDelivery.objects.exists()


def test_an_organizers_endpoint_is_not_told_how_many_wait_at_a_venue(receiver: Receiver) -> None:
    organizer = factories.TenantFactory.create(kind=Tenant.Kind.ORGANIZER)
    venue = factories.FacilityFactory.create(kind="venue")
    endpoint, _ = add(organizer, receiver.url)
    owners, _ = add(venue.tenant, "https://venue.example/")
    now: datetime = clock.now()
    entry = asking.wait(place=venue, by=organizer, at=now)
    relay.relay(limit=10, now=now)
    send(endpoint)
    body = json.loads(receiver.requests[0].body)
    assert (body["venue_id"], body["organization_id"]) == (str(venue.pk), str(organizer.pk))
    assert entry.rfp_venue is not None
    assert body["source_rfp_id"] == str(entry.rfp_venue.rfp_id)
    assert body["metadata"]["queue_depth"] is None
    assert not owners.deliveries.exists()


def test_an_owner_is_not_told_how_many_organizers_wait_by_what_befalls_a_patient(
    receiver: Receiver,
) -> None:
    """Who waits at a clinic of the same owner may get a slot at the venue."""
    venue = factories.FacilityFactory.create(kind="venue")
    owners, _ = add(venue.tenant, receiver.url, ["waitlist.joined", "waitlist.converted"])
    now: datetime = clock.now()
    asking.wait(place=venue, by=factories.TenantFactory.create(kind="organizer"), at=now)
    clinic = factories.FacilityFactory.create(tenant=venue.tenant)
    patient = factories.PatientFactory.create(tenant=venue.tenant)
    entry = entries.join(
        facility_id=clinic.pk, patient_id=patient.pk, wishes={}, actor=SYSTEM, now=now
    )
    events.record(
        kind="waitlist.converted", tenant_id=venue.tenant_id, subject_type="entry",
        subject_id=entry.pk, entry_id=entry.pk, facility_id=venue.pk, actor=SYSTEM, at=now,
    )  # fmt: skip
    relay.relay(limit=10, now=now)
    send(owners)
    bodies = [json.loads(request.body) for request in receiver.requests]
    told = {body["event_type"]: body for body in bodies}
    assert told["waitlist.joined"]["metadata"]["queue_depth"] == 1
    assert told["waitlist.converted"]["metadata"]["queue_depth"] == 0
