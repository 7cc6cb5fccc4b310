"""The pages of RFPs and of what venues show."""

import pytest
from django.test import Client

from accounts.roles import Role
from availability.models import ReceivedRfp, Rfp, RfpVenue, Signal, VenueAvailability
from tests import factories
from tests.accounts.pages import act, send, url
from tests.api import log_in
from tests.venues import Scene, set_scene

pytestmark = pytest.mark.django_db


@pytest.fixture
def scene() -> Scene:
    return set_scene()


def test_an_organizer_sends_and_closes(client: Client, scene: Scene) -> None:
    client.force_login(factories.MembershipFactory.create(tenant=scene.organizer).user)
    rfp, empty = scene.draft(), scene.draft(to=[])
    told = act(client, "send", rfp, empty)
    assert any("Choose venues" in text for text in told)
    assert told[-1] == "Sent: 1 of 2."
    assert act(client, "close", rfp) == ["Closed: 1 of 1."]
    assert set(Rfp.objects.values_list("status", flat=True)) == {"closed", "draft"}
    target = scene.target(rfp)
    page = client.get(url(RfpVenue, "change", target.pk)).content.decode()
    assert scene.venue.name in page
    for model in (Signal, VenueAvailability):  # are the venue's
        assert client.get(url(model, "changelist")).status_code in {200, 403}
        assert scene.venue.name not in client.get(url(model, "changelist")).content.decode()


def test_a_venues_admin_sets_and_clears_what_is_shown(client: Client, scene: Scene) -> None:
    tenant = scene.venue.tenant
    client.force_login(factories.MembershipFactory.create(tenant=tenant, role="admin").user)
    page = url(VenueAvailability, "change", scene.venue.pk)
    assert send(client, page, status="fully_booked")[0] == {}
    assert (scene.availability.status, scene.availability.version) == ("fully_booked", 2)
    assert "status" in send(client, page, status="not_set")[0]
    assert act(client, "clear_override", scene.availability) == ["Cleared: 1 of 1."]
    assert scene.availability.status == "not_set"
    scene.asked("confirmed")
    text = client.get(url(Signal, "changelist")).content.decode()
    assert str(scene.venue.pk) in text
    # What an organizer drafts or keeps is on none of the venue's pages.
    for model in (Rfp, RfpVenue):
        assert "Spring gala" not in client.get(url(model, "changelist")).content.decode()


def test_staff_of_a_venue_do_not_set_it(client: Client, scene: Scene) -> None:
    client.force_login(factories.MembershipFactory.create(tenant=scene.venue.tenant).user)
    page = url(VenueAvailability, "change", scene.venue.pk)
    assert client.post(page, {"status": "fully_booked"}).status_code == 403
    assert client.get(url(VenueAvailability, "changelist")).status_code == 403
    assert scene.availability.status == "not_set"


@pytest.mark.parametrize("role", [Role.ADMIN, Role.STAFF])
def test_a_venues_people_read_what_was_sent_to_it(client: Client, scene: Scene, role: Role) -> None:
    """What REST shows them, and no more: no draft, and nothing of other venues."""
    other = set_scene(organizer=scene.organizer)
    rfp = scene.send(to=[scene.venue, other.venue], title="Autumn ball")
    scene.answer(rfp)
    scene.draft(title="Not yet sent")
    other.send(title="For others")
    owner = log_in(tenant=scene.venue.tenant, role=role)
    received = owner.get(f"venues/{scene.venue.pk}/rfps").json()["results"]
    assert owner.user is not None
    client.force_login(owner.user)
    page = client.get(url(ReceivedRfp, "changelist"))
    assert [str(row.pk) for row in page.context["cl"].result_list] == [
        one["id"] for one in received
    ]
    assert len(received) == 1
    target = scene.target(rfp)
    address = url(ReceivedRfp, "change", target.pk)
    for text in (page.content.decode(), client.get(address).content.decode()):
        assert "Autumn ball" in text
        assert scene.organizer.name in text
        assert other.venue.name not in text
    assert client.post(address, {"status": "awarded"}).status_code == 403
    assert client.get(url(ReceivedRfp, "add")).status_code == 403
    elsewhere = url(ReceivedRfp, "change", scene.target(rfp, other.venue).pk)
    assert client.get(elsewhere).status_code == 302
    searched = client.get(url(ReceivedRfp, "changelist", q="others")).content.decode()
    assert "For others" not in searched


def test_an_organizer_received_nothing(client: Client, scene: Scene) -> None:
    target = scene.target(scene.send())
    client.force_login(factories.MembershipFactory.create(tenant=scene.organizer).user)
    assert not client.get(url(ReceivedRfp, "changelist")).context["cl"].result_list
    assert client.get(url(ReceivedRfp, "change", target.pk)).status_code == 302
