"""The pages of every table, and of people."""

import html
import re

import pytest
from django.apps import apps
from django.contrib.staticfiles import finders
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils.text import capfirst
from django_celery_beat.models import PeriodicTask

from accounts.models import IdempotencyKey, Invitation, Membership, Tenant, User
from audit import clock
from audit.models import Event, EventSeq, JobRun, Unrelayed
from availability.models import VenueAvailability
from config.sidebar import navigation
from notifications.models import (
    ChannelSwitch,
    InboundMessage,
    StreamCursor,
    Template,
    WebhookDelivery,
    WebhookEndpoint,
)
from scheduling.models import (
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
from tests.accounts.seeds import MODELS, OWN, Seed, grow, plant
from waitlist.models import CircuitBreaker, Hold, Queue, Uncounted, WaitlistEntry

pytestmark = pytest.mark.django_db

ADDED_BY_STAFF: set[type[Model]] = {
    Facility, Provider, Service, Patient, AvailabilityRule, AvailabilityException, TimeBlock,
    WaitlistEntry,
}  # fmt: skip
ADDED_BY_ADMINS = ADDED_BY_STAFF | {Membership, Template, ChannelSwitch, WebhookEndpoint}
ADDED = ADDED_BY_ADMINS | {Tenant, User}
OPERATED: set[type[Model]] = {
    Tenant, User, IdempotencyKey, JobRun, EventSeq, Unrelayed, StreamCursor, InboundMessage,
    Uncounted,
}  # fmt: skip


@pytest.fixture
def seed() -> Seed:
    return plant(name="Apple")


@pytest.fixture
def superuser() -> User:
    return User.objects.create_superuser("root@example.com", "secret", name="Root")


def test_every_table_has_pages() -> None:
    tables = {
        model
        for app in OWN
        for model in apps.get_app_config(app).get_models()
        if not model._meta.proxy and "pgtrigger" not in model._meta.label_lower
    }
    assert {model for model in MODELS if not model._meta.proxy} == tables


@pytest.mark.parametrize("who", ["superuser", "admin", "staff"])
def test_pages(client: Client, seed: Seed, superuser: User, who: str) -> None:
    """Every list, add and change page opens for those who may, and for nobody else."""
    client.force_login(superuser if who == "superuser" else getattr(seed, who))
    hidden: dict[str, set[type[Model]]] = {
        "admin": OPERATED,
        "staff": OPERATED
        | {
            VenueAvailability,
            CircuitBreaker,
            Membership,
            Invitation,
            Template,
            ChannelSwitch,
            WebhookEndpoint,
            WebhookDelivery,
        },
    }
    added: dict[str, set[type[Model]]] = {"admin": ADDED_BY_ADMINS, "staff": ADDED_BY_STAFF}
    for model in MODELS:
        seen = 403 if model in hidden.get(who, ()) else 200
        assert client.get(url(model, "changelist")).status_code == seen, model
        opens = 200 if model in added.get(who, ADDED) else 403
        assert client.get(url(model, "add")).status_code == opens, model
        row = model._default_manager.first()
        assert row is not None, model
        assert client.get(url(model, "change", row.pk)).status_code == seen, model
        assert client.get(url(model, "history", row.pk)).status_code in {seen, 302}, model
        assert client.get(url(model, "delete", row.pk)).status_code == 403, model


def test_no_list_tells_whether_there_are_rows_behind_it(client: Client, seed: Seed) -> None:
    """They may be another tenant's: who waits for a venue is not its owner's to know."""
    client.force_login(seed.admin)
    asked = 0
    for model in set(MODELS) - OPERATED:
        for relation in model._meta.related_objects:
            name = relation.field.related_query_name()
            for lookup in (f"{name}__isnull", f"{name}__pk__gte", name):
                response = client.get(url(model, "changelist", **{lookup: "False"}))
                assert response.status_code == 302, (model, lookup)
                assert response.headers["Location"].endswith("?e=1")
                asked += 1
    assert asked > 50


@pytest.mark.parametrize("column", ["revision", "supply_revision", "version", "updated_at__gt"])
def test_no_list_is_narrowed_by_what_it_does_not_show(
    client: Client, seed: Seed, column: str
) -> None:
    client.force_login(seed.admin)
    assert client.get(url(Queue, "changelist", **{column: "1"})).status_code == 302


def test_links_to_lists_are_followed(client: Client, seed: Seed, superuser: User) -> None:
    """Each narrows its list, and none leads back to the whole of it."""
    client.force_login(superuser)
    links: set[str] = set()
    for model in MODELS:
        row = model._default_manager.first()
        assert row is not None
        page = client.get(url(model, "change", row.pk)).content.decode()
        links |= {
            html.unescape(link) for link in re.findall(r'href="(/admin/[a-z_/]+/\?[^"]+)"', page)
        }
        history = client.get(url(model, "history", row.pk))
        links |= {history.headers["Location"]} if history.status_code == 302 else set()
    assert len(links) > 20
    for link in links:
        assert client.get(link).status_code == 200, link


def test_beat_schedule_is_for_superusers(client: Client, seed: Seed, superuser: User) -> None:
    client.force_login(superuser)
    assert client.get(url(PeriodicTask, "changelist")).status_code == 200
    assert client.get(url(PeriodicTask, "add")).status_code == 200
    client.force_login(seed.admin)
    assert client.get(url(PeriodicTask, "changelist")).status_code == 403


def test_who_gets_in(client: Client, seed: Seed) -> None:
    for user in (seed.provider_user, factories.UserFactory.create()):
        client.force_login(user)
        assert client.get(reverse("admin:index")).status_code == 302
    client.force_login(seed.staff)
    assert client.get(reverse("admin:index")).status_code == 200
    Membership.objects.filter(user=seed.staff).delete()
    assert client.get(reverse("admin:index")).status_code == 302


def test_lists_ask_as_often_for_many_rows(client: Client, seed: Seed, superuser: User) -> None:
    """A list asks the database equally often for one row and for thirty."""

    def queries() -> dict[str, int]:
        asked = {}
        for model in MODELS:
            client.force_login(superuser if model in OPERATED else seed.admin)
            with CaptureQueriesContext(connection) as context:
                client.get(url(model, "changelist"))
            asked[model.__name__] = len(context)
        return asked

    few = queries()
    for _ in range(29):
        grow(seed=seed, name="Apple")
    assert queries() == few
    assert max(few.values()) < 15


def test_bad_queries(client: Client, superuser: User, seed: Seed) -> None:
    """What is not an id, a date or a field leads back to the list, never to an error."""
    client.force_login(superuser)
    queries = (
        {"q": "not-an-id"},
        {"q": str(seed.tenant.pk)},
        {"tenant__id__exact": "x"},
        {"facility__id__exact": "x"},
        {"period_from": "x", "period_to": "2025-99-99"},
        {"at_from": "2025-13-01"},
        {"nothing": "x"},
        {"p": "9999"},
    )
    for model in (Slot, WaitlistEntry, Event, JobRun, Membership):
        for query in queries:
            response = client.get(url(model, "changelist", **query), follow=True)
            assert response.status_code == 200, query
        for name in ("change", "history"):
            assert client.get(url(model, name, "not-an-id")).status_code == 302
        data = {"action": "none", "_selected_action": "not-an-id"}
        assert client.post(url(model, "changelist"), data).status_code in (200, 302)


def test_admins_add_members(client: Client, seed: Seed) -> None:
    """A member is found by address, or gets an account without a password."""
    client.force_login(seed.admin)
    known = factories.UserFactory.create(email="known@example.com", name="Known")
    new = {"tenant": seed.tenant.pk, "email": "Known@example.com", "name": "X", "role": "staff"}
    assert send(client, url(Membership, "add"), **new)[0] == {}
    assert Membership.objects.get(user=known).tenant == seed.tenant
    assert "email" in send(client, url(Membership, "add"), **new)[0]
    assert send(client, url(Membership, "add"), **{**new, "email": "new@example.com"})[0] == {}
    made = User.objects.get(email="new@example.com")
    assert (made.name, made.has_usable_password(), made.is_staff) == ("X", False, True)
    told = Event.objects.filter(
        kind="access.joined", actor_id=seed.admin.pk, tenant_id=seed.tenant.pk
    )
    assert list(told.order_by("pk").values_list("subject_id", flat=True)) == [known.pk, made.pk]


def test_admins_change_and_remove_members(client: Client, seed: Seed) -> None:
    """At once, and each change is in the log; somebody stays admin."""
    client.force_login(seed.admin)
    staff = Membership.objects.get(user=seed.staff)
    own = Membership.objects.get(user=seed.admin)
    assert send(client, url(Membership, "change", staff.pk), role="provider")[0] == {}
    staff.refresh_from_db()
    assert staff.role == "provider"
    errors, _ = send(client, url(Membership, "change", own.pk), role="staff")
    assert errors == {"__all__": ["member: This is the tenant's only admin."]}
    told = act(client, "remove", own, staff)
    assert told[0].endswith("member: This is the tenant's only admin.")
    assert told[1] == "Removed: 1 of 2."
    assert list(Membership.objects.filter(user__in=[seed.staff, seed.admin])) == [own]
    events = Event.objects.filter(subject_id=seed.staff.pk, actor_id=seed.admin.pk)
    assert [(one.kind, one.data) for one in events.order_by("pk")] == [
        ("access.changed", {"role": "provider"}), ("access.removed", {"role": "provider"})
    ]  # fmt: skip


def test_staff_know_no_members(client: Client, seed: Seed) -> None:
    client.force_login(seed.staff)
    own = Membership.objects.get(user=seed.staff)
    assert client.get(url(Membership, "changelist")).status_code == 403
    assert client.post(url(Membership, "change", own.pk), {"role": "admin"}).status_code == 403
    own.refresh_from_db()
    assert own.role == "staff"


def test_superusers_make_users_and_tenants(client: Client, superuser: User) -> None:
    client.force_login(superuser)
    password = {"password1": "a-long-Secret-1", "password2": "a-long-Secret-1"}
    new = {"email": "one@example.com", "name": "One", "usable_password": "true", **password}
    assert send(client, url(User, "add"), **new)[0] == {}
    made = User.objects.get(email="one@example.com")
    assert made.check_password("a-long-Secret-1")
    assert client.get(reverse("admin:auth_user_password_change", args=[made.pk])).status_code == 200
    other = factories.TenantFactory.create()
    inline = {"memberships-TOTAL_FORMS": "1", "memberships-INITIAL_FORMS": "0",
              "memberships-0-tenant": other.pk, "memberships-0-role": "staff",
              "memberships-0-user": made.pk}  # fmt: skip
    data = {"email": made.email, "name": "One", "language": "en", "is_active": "on", **inline}
    assert send(client, url(User, "change", made.pk), **data)[0] == {}
    assert Membership.objects.get(user=made).tenant == other
    assert Event.objects.get(kind="access.joined").subject_id == made.pk
    tenant = {"name": "New", "slug": "new", "kind": "salon"}
    assert send(client, url(Tenant, "add"), **tenant)[0] == {}
    assert "slug" in send(client, url(Tenant, "add"), **tenant)[0]


def test_the_sidebar_leads_where_one_may_go(client: Client, seed: Seed, superuser: User) -> None:
    """To every table, for superusers; to none that refuses, for anybody."""
    for user in (superuser, seed.admin, seed.staff):
        client.force_login(user)
        request = client.get(reverse("admin:index")).wsgi_request
        pages = [item for group in navigation(request) for item in group["items"]]
        links = [page["link"] for page in pages]
        for page in pages:
            shown = client.get(page["link"])
            assert shown.status_code == 200
            assert capfirst(shown.context["cl"].opts.verbose_name_plural) == page["title"]
        if user == superuser:
            assert {url(model, "changelist") for model in MODELS} <= set(links)


def test_erased_patients_and_select_all(client: Client, seed: Seed) -> None:
    """An erased patient cannot be written again; what is not selected is not acted on."""
    client.force_login(seed.staff)
    Patient.objects.filter(pk=seed.patient.pk).update(erased_at=clock.now())
    data = {"name": "Back", "language": "en", "tier": "0"}
    assert client.post(url(Patient, "change", seed.patient.pk), data).status_code == 403
    grow(seed=seed, name="Apple")
    told = act(client, "decline", seed.hold, select_across="1")
    assert told == ["Declined: 1 of 1."]
    assert Hold.objects.filter(status="offered").count() == 1


def test_the_root_leads_to_the_admin_and_icons_are_there(client: Client) -> None:
    assert client.get("/").headers["Location"] == reverse("admin:index")
    assert client.get("/favicon.ico").headers["Location"] == "/static/config/favicon.svg"
    assert finders.find("config/favicon.svg")
