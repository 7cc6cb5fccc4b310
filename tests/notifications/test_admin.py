"""The pages of what people are told."""

import pytest
from django.test import Client

from accounts.models import User
from notifications import messages
from notifications.models import (
    CalendarFeed,
    ChannelSwitch,
    InboundMessage,
    Message,
    Preference,
    Template,
)
from tests.accounts.pages import act, send, url
from tests.accounts.seeds import Seed, plant
from tests.waitlist.worlds import DAY, NOW

pytestmark = pytest.mark.django_db


@pytest.fixture
def seed() -> Seed:
    return plant(name="Apple")


@pytest.fixture
def admin_client(client: Client, seed: Seed) -> Client:
    client.force_login(seed.admin)
    return client


TEXT = {
    "kind": "waitlist.joined", "channel": "sms", "language": "es", "subject": "",
    "body": "{patient_name}, así es",
}  # fmt: skip


def test_an_own_text_is_written_and_shown_with_values_and_length(
    admin_client: Client, seed: Seed
) -> None:
    errors, _ = send(admin_client, url(Template, "add"), tenant=seed.tenant.pk, **TEXT)
    assert errors == {}
    template = Template.objects.get(language="es")
    page = admin_client.get(url(Template, "change", template.pk)).content.decode()
    assert "Ada Byron, así es" in page
    assert "UCS-2, 17 long, 1 segments, because of í" in page
    assert "lista de espera" in page  # what it is in place of


def test_an_unknown_placeholder_is_refused_at_its_field(admin_client: Client, seed: Seed) -> None:
    given = {**TEXT, "body": "{nobody}"}
    errors, _ = send(admin_client, url(Template, "add"), tenant=seed.tenant.pk, **given)
    assert errors == {"body": ["There is no placeholder {nobody}."]}


def test_texts_are_the_admins_and_messages_the_staffs(client: Client, seed: Seed) -> None:
    client.force_login(seed.staff)
    assert client.get(url(Template, "changelist")).status_code == 403
    assert client.get(url(ChannelSwitch, "changelist")).status_code == 403
    assert client.get(url(Message, "changelist")).status_code == 200
    assert client.get(url(Preference, "changelist")).status_code == 200


def test_staff_take_a_calendars_address_away_and_do_not_see_it(client: Client, seed: Seed) -> None:
    feed = CalendarFeed.objects.get()
    client.force_login(seed.staff)
    for page in (url(CalendarFeed, "changelist"), url(CalendarFeed, "change", feed.pk)):
        shown = client.get(page).content.decode()
        assert seed.admin.name in shown or seed.admin.email in shown
        assert feed.digest not in shown
    assert act(client, "revoke", feed) == ["Taken away: 1 of 1."]
    assert not CalendarFeed.objects.exists()


def test_what_came_in_is_for_operators_and_has_no_text(client: Client, seed: Seed) -> None:
    for user in (seed.staff, seed.admin):
        client.force_login(user)
        assert client.get(url(InboundMessage, "changelist")).status_code == 403
    client.force_login(User.objects.create_superuser("root@example.com", "secret", name="Root"))
    inbound = InboundMessage.objects.get()
    shown = client.get(url(InboundMessage, "change", inbound.pk)).content.decode()
    assert inbound.digest in shown
    assert {field.name for field in InboundMessage._meta.fields} == {
        "id", "created_at", "updated_at", "channel", "digest", "patient", "hold",
        "asked", "outcome", "at",
    }  # fmt: skip


def test_staff_send_again_and_dismiss_what_failed(client: Client, seed: Seed) -> None:
    client.force_login(seed.staff)
    claimed = messages.claim(channel="email", now=NOW + DAY * 3650, limit=2)
    for message in claimed:
        messages.note_failure(message=message, permanent=True, code="refused", now=NOW)
    first, second = claimed
    assert act(client, "retry", first) == ["Queued: 1 of 1."]
    assert act(client, "dismiss", second) == ["Dismissed: 1 of 1."]
    assert Message.objects.get(pk=first.pk).status == "queued"
    assert Message.objects.get(pk=second.pk).status == "dismissed"
