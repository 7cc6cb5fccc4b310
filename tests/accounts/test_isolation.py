"""Nothing of one tenant reaches the staff of another, whatever they ask for."""

from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from django.contrib import admin
from django.db.models import ForeignKey, Model
from django.test import Client
from django.urls import reverse

from accounts.models import Membership, Tenant, User
from audit import clock
from audit.models import Event
from scheduling.models import Facility, TimeBlock
from tests import factories
from tests.accounts.pages import act, send, url
from tests.accounts.seeds import MODELS, Seed, plant
from tests.waitlist import asking
from waitlist.models import Fruitless, Hold, Queue, WaitlistEntry

pytestmark = pytest.mark.django_db


@pytest.fixture
def seed() -> Seed:
    return plant(name="Apple")


@pytest.fixture
def other() -> Seed:
    return plant(name="Zebra")


def rows_of(model: type[Model], tenant: Tenant) -> list[Model]:
    rows = model._default_manager.all()
    if hasattr(model, "tenant_id"):
        return list(rows.filter(tenant_id=tenant.pk))
    if model is Tenant:
        return [tenant]
    return list(rows.filter(memberships__tenant=tenant)) if model is User else []


def urls_of(*, model: type[Model], seed: Seed, other: Seed) -> Iterator[str]:
    """Every way to ask for a row of the other tenant."""
    yield url(model, "changelist")
    yield url(model, "changelist", q="ebr")
    yield url(model, "changelist", tenant__id__exact=other.tenant.pk)
    yield url(model, "add")
    for mine in rows_of(model, seed.tenant)[:2]:
        yield url(model, "change", mine.pk)
        yield url(model, "history", mine.pk)
    for field in model._meta.fields:
        if isinstance(field, ForeignKey):
            foreign = [str(row.pk) for row in rows_of(field.related_model, other.tenant)[:1]]
            for id in foreign:
                yield url(model, "changelist", **{f"{field.name}__id__exact": id})
                yield url(model, "add", **{field.name: id})
            asked = {
                "app_label": model._meta.app_label,
                "model_name": model._meta.model_name,
                "field_name": field.name,
            }
            for term in ("", "ebr", *foreign):
                yield f"{reverse('admin:autocomplete')}?{urlencode({**asked, 'term': term})}"


@pytest.mark.parametrize("app", sorted({model._meta.app_label for model in MODELS}))
def test_nothing_of_another_tenant(client: Client, seed: Seed, other: Seed, app: str) -> None:
    """No list, form, filter, choice, search or history shows another tenant's names or ids."""
    client.force_login(seed.admin)
    foreign = {str(row.pk) for model in MODELS for row in rows_of(model, other.tenant)}
    for model in MODELS:
        if model._meta.app_label != app:
            continue
        for address in urls_of(model=model, seed=seed, other=other):
            response = client.get(address, follow=True)
            assert response.status_code in (200, 403, 404), address
            text = response.content.decode()
            assert "Zebra" not in text, address
            assert not {id for id in foreign if id in text and id not in address}, address
        for row in rows_of(model, other.tenant):
            for name in ("change", "history", "delete"):
                response = client.get(url(model, name, row.pk), follow=True)
                if response.status_code != 403:
                    assert response.redirect_chain == [(reverse("admin:index"), 302)]
                assert "Zebra" not in response.content.decode()
            response = client.post(url(model, "change", row.pk), {}, follow=True)
            assert response.redirect_chain or response.status_code == 403


def test_no_action_reaches_another_tenant(client: Client, seed: Seed, other: Seed) -> None:
    client.force_login(seed.admin)
    data = {"answered": "1", "reason": "other"}
    for model in MODELS:
        for name in map(str, admin.site._registry[model].actions or ()):
            for row in rows_of(model, other.tenant):
                rows = model._default_manager.filter(pk=row.pk).values()
                before, events = list(rows.all()), Event.objects.count()
                data |= {"action": name, "_selected_action": str(row.pk)}
                response = client.post(url(model, "changelist"), data, follow=True)
                told = f"There is no {model._meta.verbose_name} {row.pk}."
                assert told in response.content.decode()
                assert list(rows.all()) == before
                assert Event.objects.count() == events


def test_rows_are_not_made_for_another_tenant(client: Client, seed: Seed, other: Seed) -> None:
    """An id of another tenant is refused, and the field that gave it is named."""
    client.force_login(seed.admin)
    facility = {"name": "New", "slug": "new", "kind": "clinic", "timezone": "Europe/London"}
    for model, data, field in (
        (Facility, {**facility, "tenant": other.tenant.pk}, "tenant"),
        (Membership, {"tenant": other.tenant.pk, "email": "x@x.example", "name": "X",
                      "role": "staff"}, "tenant"),
        (TimeBlock, {"facility": other.facility.pk}, "facility"),
        (TimeBlock, {"facility": seed.facility.pk, "provider": other.provider.pk}, "provider"),
    ):  # fmt: skip
        before = model._default_manager.count()
        errors, _ = send(client, url(model, "add"), **data)
        assert field in errors
        assert model._default_manager.count() == before


def test_choices_are_of_the_own_tenants(client: Client, seed: Seed, other: Seed) -> None:
    """Somebody who works for two tenants sees both, and nothing goes from one to the other."""
    factories.MembershipFactory.create(tenant=other.tenant, user=seed.staff)
    client.force_login(seed.staff)
    page = client.get(url(Facility, "changelist")).content.decode()
    assert seed.facility.name in page
    assert other.facility.name in page
    address = url(type(seed.provider), "change", seed.provider.pk)
    data = {
        "name": "Same",
        "user": other.admin.pk,
        "providerfacility_set-TOTAL_FORMS": "1",
        "providerfacility_set-INITIAL_FORMS": "0",
        "providerfacility_set-0-facility": other.facility.pk,
        "providerfacility_set-0-provider": seed.provider.pk,
    }
    errors, _ = send(client, address, **data)
    assert errors == {"user": [f"There is no user {other.admin.pk}."]}
    errors, _ = send(client, address, **{**data, "user": ""})
    seed.provider.refresh_from_db()
    assert seed.provider.name != "Same"
    assert not other.facility.providers.filter(pk=seed.provider.pk).exists()


def test_venues_see_nothing_of_who_waits(client: Client, other: Seed) -> None:
    """An organizer's entry is on the organizer's pages, and on none of the venue's."""
    venue = factories.FacilityFactory.create(tenant=other.tenant, kind="venue", name="Great hall")
    organizer = factories.TenantFactory.create(kind=Tenant.Kind.ORGANIZER, name="Quiet organizer")
    member = factories.MembershipFactory.create(tenant=organizer).user
    entry = asking.wait(place=venue, by=organizer, at=clock.now())
    slot = factories.SlotFactory.create(facility=venue)
    client.force_login(other.admin)
    for model in (WaitlistEntry, Event, Hold):
        page = client.get(url(model, "changelist")).content.decode()
        assert str(entry.pk) not in page
        assert "Quiet organizer" not in page
    assert client.get(url(WaitlistEntry, "change", entry.pk)).status_code == 302
    # Nor that somebody has come to wait: what changed with it is on none of their pages.
    assert Queue.objects.get(pk=venue.pk).revision == 1
    tried = Fruitless.objects.create(
        tenant=venue.tenant, slot=slot, tried_at=clock.now(), revision=1, visitors_revision=0
    )
    for row in (tried, Queue.objects.get(pk=venue.pk)):
        for address in (url(type(row), "changelist"), url(type(row), "change", row.pk)):
            assert "revision" not in client.get(address).content.decode()
    client.force_login(member)
    page = client.get(url(WaitlistEntry, "changelist")).content.decode()
    assert "Great hall" in page
    assert url(Facility, "change", venue.pk) not in page
    assert client.get(url(WaitlistEntry, "change", entry.pk)).status_code == 200
    data = {"action": "promote", "_selected_action": entry.pk}
    page = client.post(url(WaitlistEntry, "changelist"), data).content.decode()
    assert str(slot.pk) not in page
    told = act(client, "promote", entry, other=slot.pk)
    assert told == [f"entry: There is no entry {entry.pk}.", "Booked: 0 of 1."]
    assert client.get(url(Facility, "change", venue.pk)).status_code == 302
